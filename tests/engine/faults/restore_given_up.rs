//! A restore that cannot be finished, whose volume somebody has begun to use meanwhile: the engine takes a directory that lies there
//! for the volume of its name, so a container may run on the data already. It keeps it (I1), and the next sweep finishes the restore.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{PrivateEngine, Resting, Volgc, on_each_engine};

const BY_HAND: &str = "[docker]\nhost = \"unix://{socket}\"\n[limits]\nmin_grace = \"0s\"\n";

/// A restore that rests before an effect, which then fails; a container is started on the volume while it rests.
fn used_before_it_fails(engine: &PrivateEngine, point: &str, more: &[&str]) {
    let volgc = Volgc::configured(engine, BY_HAND);
    let db = Treasure::make(engine, "db");
    volgc.ok(&["quarantine", "db"]);
    let entry = volgc.entry_id_of("db");
    if more == ["--replace"] {
        Treasure::make(engine, "db");
    }
    let restore =
        Resting::start(&volgc, point, &format!("{point}=EIO"), &[&["restore", &entry], more].concat());
    engine.docker(&["run", "-d", "--name", "app", "-v", "db:/data", "bb", "sleep", "1000"]);
    assert_eq!(engine.docker(&["exec", "app", "cat", "/data/id"]), "db");
    let output = restore.end();
    assert!(matches!(output.status.code(), Some(1 | 3)), "{output:?}");
    assert_eq!(db.assert_whole(engine, point), Place::Volume("db".to_owned()), "{output:?}");
    assert_no_husk(engine, point);
    volgc.ok(&["sweep"]);
    db.assert_content(engine, "db", point);
    engine.docker(&["restart", "app"]);
    assert_eq!(engine.docker(&["exec", "app", "cat", "/data/id"]), "db");
    let unfinished: Vec<_> =
        volgc.entries().into_iter().filter(|entry| entry["state"] != "quarantined").collect();
    assert!(unfinished.is_empty(), "{unfinished:#?}");
}

on_each_engine! {
    fn because_the_directories_cannot_be_synced(engine: PrivateEngine) {
        used_before_it_fails(&engine, "restore.sync", &[]);
    }

    fn because_the_volumes_directory_cannot_be_synced(engine: PrivateEngine) {
        used_before_it_fails(&engine, "restore.sync_volumes", &[]);
    }

    fn because_the_engine_was_not_asked(engine: PrivateEngine) {
        used_before_it_fails(&engine, "engine.create", &[]);
    }

    fn because_its_owner_cannot_be_set(engine: PrivateEngine) {
        used_before_it_fails(&engine, "restore.ownership", &[]);
    }

    fn in_the_place_of_another_one(engine: PrivateEngine) {
        used_before_it_fails(&engine, "restore.sync", &["--replace"]);
    }

    /// Nobody has it: it is in quarantine again, as if nothing had been tried.
    fn it_is_in_quarantine_again_when_nobody_came(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, BY_HAND);
        let db = Treasure::make(&engine, "db");
        volgc.ok(&["quarantine", "db"]);
        let output = volgc.clone().env("VOLGC_FAULT", "engine.create=EIO").run(&["restore", "db"]);
        assert_eq!(output.status, Some(1), "{output:?}");
        match db.assert_whole(&engine, "given up") {
            Place::Entry(_, manifest) => assert_eq!(manifest["state"], "quarantined"),
            place @ (Place::Volume(_) | Place::Deleting(_)) => panic!("{place:?}"),
        }
        assert!(!engine.volumes_dir().join("db").exists());
        volgc.ok(&["restore", "db"]);
        db.assert_back(&engine, "db", "restored");
    }

    /// What was made for it is gone, too: an engine before 29.4 would take it for a volume when it starts.
    fn nothing_is_left_of_a_directory_that_could_not_be_used(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, BY_HAND);
        let db = Treasure::make(&engine, "db");
        volgc.ok(&["quarantine", "db"]);
        for point in ["restore.make_directory", "restore.directory_mode", "restore.rename"] {
            let output = volgc.clone().env("VOLGC_FAULT", format!("{point}=EIO")).run(&["restore", "db"]);
            assert_eq!(output.status, Some(1), "{point}: {output:?}");
            assert!(!engine.volumes_dir().join("db").exists(), "{point}");
        }
        volgc.ok(&["restore", "db"]);
        db.assert_back(&engine, "db", "restored");
    }

    /// A place that cannot be looked at is not one from which the volume was removed: the manifest is all that is known of it.
    fn because_its_place_cannot_be_looked_at(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, BY_HAND);
        Treasure::make(&engine, "db");
        volgc.ok(&["quarantine", "db"]);
        let entry = volgc.entry_id_of("db");
        let directory = engine.quarantined_data(&entry).parent().unwrap().to_owned();
        fs::rename(directory.join("data"), engine.root().join("aside")).unwrap();
        symlink(engine.root().join("aside"), engine.volumes_dir().join("elsewhere")).unwrap();
        let manifest = directory.join("manifest.json");
        let text: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
        let broken = engine.volumes_dir().join("broken");
        make_unreadable(&broken);
        for name in ["broken", "elsewhere"] {
            let mut text = text.clone();
            text["state"] = "restoring".into();
            text["restoring_to"] = name.into();
            fs::write(&manifest, text.to_string()).unwrap();
            let output = volgc.run(&["sweep"]);
            assert_eq!(output.status, Some(3), "{output:?}");
            assert!(show_all(&output).contains("cannot be looked at"), "{output:?}");
            assert!(manifest.exists(), "{output:?}");
        }
        assert!(Command::new("umount").arg(&broken).status().unwrap().success());
        fs::remove_file(engine.volumes_dir().join("elsewhere")).unwrap();
        volgc.ok(&["sweep"]);
        assert!(!manifest.exists(), "it is proven that nothing is there");
    }
}

/// A directory that is there and cannot be opened, as on a broken disk: what `/proc` had of a process that is gone.
fn make_unreadable(at: &Path) {
    fs::create_dir(at).unwrap();
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let shown = format!("/proc/{}", process.id());
    assert!(Command::new("mount").args(["--bind", &shown]).arg(at).status().unwrap().success());
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(at.exists() && fs::read_dir(at).is_err());
}

fn show_all(output: &harness::Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}
