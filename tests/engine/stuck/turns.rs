//! A step that is left uses up no limit: the next in line has its turn.

use std::fs::File;
use std::process::{Child, Command};

use harness::{Volgc, on_each_engine};

use super::config;

/// One step a sweep.
const ONE: &str = "max_share_per_sweep = \"0%\"\n";

fn one_a_sweep(mode: &str) -> String {
    config(mode, ONE).replace("max_per_sweep = 1000", "max_per_sweep = 1")
}

/// A process in a directory, which no list shows: it is only found right before a step.
struct Visitor(Child);

impl Visitor {
    fn of(directory: &std::path::Path) -> Self {
        Self(Command::new("sleep").arg("600").current_dir(directory).spawn().unwrap())
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

on_each_engine! {
    fn volumes_that_are_left_keep_none_behind_them_waiting(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &one_a_sweep("quarantine"));
        // The oldest, and by name the first.
        for name in ["a1", "a2"] {
            engine.create_volume(name, &[]);
        }
        let visitors = ["a1", "a2"].map(|name| Visitor::of(&engine.volume_data(name)));
        volgc.ok(&["sweep"]);
        for name in ["b1", "b2"] {
            engine.create_volume(name, &[]);
        }
        volgc.ok(&["sweep"]);
        let first = volgc.ok(&["sweep"]);
        assert!(first.contains("left volume a1") && first.contains("quarantined volume b1"), "{first}");
        assert_eq!(volgc.quarantined_names(), ["b1"], "more than one a sweep: {first}");
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["b1", "b2"]);
        drop(visitors);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn entries_that_are_kept_keep_none_behind_them_waiting(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        for name in ["a1", "a2"] {
            engine.create_volume(name, &[]);
        }
        volgc.sweep_twice();
        let visitors = ["a1", "a2"].map(|name| Visitor::of(&engine.quarantined_data(&volgc.entry_id_of(name))));
        for name in ["b1", "b2"] {
            engine.create_volume(name, &[]);
            File::create(engine.volume_data(name).join("file")).unwrap();
        }
        volgc.sweep_twice();
        volgc.config(&one_a_sweep("enforce"));
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("kept entry"), "{told}");
        assert_eq!(volgc.entries().len(), 3, "not one a sweep: {told}");
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["a1", "a2"]);
        drop(visitors);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }
}
