//! What `volgc holds` shows, and what `volgc release` says of the time after it.

use harness::{KEEP_IN_QUARANTINE, NO_GRACE, Volgc, on_each_engine};

on_each_engine! {
    /// Given and released between two sweeps: the clocks went on, and the next sweep takes what is due.
    fn a_release_says_that_the_next_sweep_takes_what_is_overdue(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        let told = volgc.ok(&["release", "db"]);
        assert!(told.contains("volume db is overdue, and the next sweep takes it; to be quarantined: "), "{told}");
        volgc.ok(&["sweep"]);
        let entry = volgc.entry_id_of("db");
        volgc.ok(&["hold", &entry, "--reason", "audit"]);
        let told = volgc.ok(&["release", &entry]);
        assert!(told.contains(&format!("entry {entry} is overdue, and the next sweep takes it; to be deleted: ")), "{told}");
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
    }

    fn a_release_says_when_what_is_not_overdue_will_be(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        volgc.ok(&["sweep"]);
        let told = volgc.ok(&["release", "db"]);
        assert!(!told.contains("overdue") && told.contains("volume db; to be quarantined: "), "{told}");
        volgc.sweep_twice();
        let entry = volgc.entry_id_of("db");
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        // In this mode nothing is deleted, however long it is due.
        volgc.config(&NO_GRACE.replace("\"enforce\"", "\"quarantine\""));
        volgc.ok(&["sweep"]);
        let told = volgc.ok(&["release", &entry]);
        assert!(!told.contains("overdue"), "{told}");
        assert!(told.contains(&format!("entry {entry}; to be deleted: not in mode \"quarantine\"")), "{told}");
        // The release is done where the engine does not tell.
        volgc.ok(&["hold", &entry, "--reason", "audit"]);
        engine.stop();
        let told = volgc.ok(&["release", &entry]);
        assert!(told.contains(&format!("released {entry}\n")) && told.contains("when it is due is not known"), "{told}");
        assert_eq!(volgc.ok(&["holds"]), "nothing is held\n");
        engine.restart();
    }

    fn a_hold_without_an_end_is_not_shown_as_one_that_was_released(engine: PrivateEngine) {
        for name in ["one", "two"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["hold", "one", "--reason", "audit"]);
        volgc.ok(&["hold", "two", "--reason", "audit", "--for", "60d"]);
        let told = volgc.ok(&["holds"]);
        assert!(!told.contains("released"), "{told}");
        let line = |name: &str| told.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("one").contains("Z  no end ") && line("two").matches(':').count() == 2, "{told}");
    }
}
