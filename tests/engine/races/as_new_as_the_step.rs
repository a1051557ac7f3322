//! A step is as good as the look before it: what was made since the plan is in that look, and what came after it is in the one after
//! the move.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Contents, PrivateEngine, Volgc, on_each_engine};
use serde_json::{Value, json};

use super::started_meanwhile::{assert_left, due, sweep_until};

/// A volume that is a bind mount of a directory.
fn alias(engine: &PrivateEngine, device: &Path) {
    let options = json!({ "type": "none", "o": "bind", "device": device.display().to_string() });
    let body = json!({ "Name": "alias", "Driver": "local", "DriverOpts": options }).to_string();
    engine.json("POST", "/volumes/create", Some(&body));
}

/// Everything is where it was, and a container on the alias reads it.
#[track_caller]
fn assert_alias_works(engine: &PrivateEngine, volgc: &Volgc, kept: &Contents<'_>) {
    kept.assert_untouched();
    assert_eq!(volgc.entries(), Vec::<Value>::new());
    let run = ["run", "--rm", "--network", "none", "-v", "alias:/data", "bb", "cat", "/data/PG_VERSION"];
    assert_eq!(engine.docker(&run), "15");
}

#[track_caller]
fn assert_undone(volgc: &Volgc, kept: &Contents<'_>) {
    kept.assert_untouched();
    assert_eq!(volgc.entries(), Vec::<Value>::new());
    assert!(volgc.ok(&["history"]).contains("rolled back"));
}

/// A process in a directory, with no file open there.
struct Resident(Child);

impl Resident {
    fn enter(directory: &Path) -> Self {
        let sleep = Command::new("sleep").arg("1000").current_dir(directory).stdout(Stdio::null()).spawn();
        Self(sleep.unwrap())
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

on_each_engine! {
    fn a_volume_that_leads_into_it_made_since_the_plan(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        // The plan is made, and nothing of it is done.
        let sweep = sweep_until(&volgc, "ledger.commit");
        alias(&engine, &engine.volume_data("db"));
        assert_left(sweep, "held by volume alias");
        assert_alias_works(&engine, &volgc, &kept);
    }

    fn a_volume_that_leads_into_it_made_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        alias(&engine, &engine.volume_data("db"));
        assert_left(sweep, "held by volume alias");
        assert_alias_works(&engine, &volgc, &kept);
    }

    /// By way of a link, which leads nowhere once the data is renamed away.
    fn a_volume_that_leads_there_through_a_link_made_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let link = engine.dir().join("link");
        symlink(engine.volume_data("db").join("base"), &link).unwrap();
        let sweep = sweep_until(&volgc, "exchange.swap");
        let options = json!({ "type": "none", "o": "bind", "device": link.display().to_string() });
        let body = json!({ "Name": "alias", "Driver": "local", "DriverOpts": options }).to_string();
        engine.json("POST", "/volumes/create", Some(&body));
        assert_left(sweep, "held by volume alias");
        kept.assert_untouched();
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    fn a_process_that_opens_a_file_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        let file = File::open(engine.volume_data("db").join("PG_VERSION")).unwrap();
        assert_left(sweep, "is in it");
        drop(file);
        assert_undone(&volgc, &kept);
    }

    fn a_process_that_enters_a_directory_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        let resident = Resident::enter(&engine.volume_data("db").join("base"));
        assert_left(sweep, "is in it");
        drop(resident);
        assert_undone(&volgc, &kept);
    }

    /// A volume that leads elsewhere, or is gone by the last look, is in the way of nothing.
    fn a_volume_that_leads_elsewhere_holds_nothing(engine: PrivateEngine) {
        let (volgc, _) = due(&engine);
        let elsewhere = engine.dir().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let sweep = sweep_until(&volgc, "exchange.swap");
        alias(&engine, &elsewhere);
        engine.create_volume("passing", &[]);
        engine.json("DELETE", "/volumes/passing", None);
        let output = sweep.end();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(engine.volume_names(), ["alias"]);
    }
}
