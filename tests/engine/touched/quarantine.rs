//! Before a quarantine: what was changed after the clock had started has its clock started anew.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use harness::{NO_GRACE, Volgc, on_each_engine};

on_each_engine! {
    fn a_volume_that_was_changed_between_two_sweeps_has_its_clock_started_anew(engine: PrivateEngine) {
        for name in ["changed", "quiet", "read"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 1);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        sleep(Duration::from_millis(20));
        fs::write(engine.volume_data("changed").join("base/1/16384"), "other").unwrap();
        // A backup may read every volume each night.
        fs::read(engine.volume_data("read").join("base/1/16384")).unwrap();
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("left volume changed: base/1/16384 was changed at "), "{told}");
        assert_eq!(volgc.quarantined_names(), ["quiet", "read"]);
        assert_eq!(volgc.reason_of("changed"), "grace_over", "it would be due with the next sweep");
        // Nobody changes it any more.
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("quarantined volume changed"), "{told}");
    }

    fn a_volume_that_is_changed_again_and_again_is_never_taken(engine: PrivateEngine) {
        engine.create_volume("log", &[]);
        engine.create_volume("quiet", &[]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for round in 0..6 {
            volgc.ok(&["sweep"]);
            sleep(Duration::from_millis(20));
            fs::write(engine.volume_data("log").join("log"), format!("{round}")).unwrap();
        }
        assert_eq!(engine.volume_names(), ["log"], "the other one went");
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
        // An order by hand skips the clock, and so this.
        volgc.ok(&["quarantine", "log"]);
        assert_eq!(volgc.quarantined_names(), ["log"]);
    }

    /// What is written after it was looked through and before it was moved is found when it is to be deleted.
    fn a_change_between_the_look_and_the_move_keeps_the_entry(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        sleep(Duration::from_millis(20));
        let trace = volgc.state_dir().join("trace");
        let slow = volgc
            .clone()
            .env("VOLGC_FAULT", "entry.make_directory=delay:2000")
            .env("VOLGC_FAULT_TRACE", &trace);
        let sweep = slow.spawn(&["sweep"]);
        harness::wait_until("the sweep moves", || {
            fs::read_to_string(&trace).unwrap_or_default().contains("entry.make_directory")
        });
        fs::write(engine.volume_data("db").join("PG_VERSION"), "16\n").unwrap();
        assert!(sweep.wait_with_output().unwrap().status.success());
        let entry = volgc.entry_id_of("db");
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.entry_of("db")["reason"], "touched");
        volgc.ok(&["restore", &entry]);
        assert_eq!(fs::read_to_string(engine.volume_data("db").join("PG_VERSION")).unwrap(), "16\n");
    }
}
