//! I11: a name used again never inherits the clock, the hold or the quarantine of the volume before. And the clocks themselves.

use std::thread::sleep;
use std::time::Duration;

use crate::life::set_aside;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use harness::{Contents, KEEP_IN_QUARANTINE, NO_GRACE, Volgc, on_each_engine, text, tree_digest, wait_until};
use serde_json::Value;

fn time(value: &Value) -> DateTime<Utc> {
    text(value).parse().unwrap()
}

/// The time as the product writes it, which is without fractions.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(0)
}

fn reasons(volgc: &Volgc, volume: &str) -> (String, String) {
    let told = volgc.told_of(volume);
    (text(&told["reason"]), text(&told["detail"]))
}

on_each_engine! {
    fn a_volume_made_again_starts_a_clock_of_its_own(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for _ in 0..3 {
            engine.create_volume("db", &[]);
            volgc.ok(&["sweep"]);
            assert_eq!(volgc.reason_of("db"), "grace_over", "due with the next sweep");
            engine.docker(&["volume", "rm", "db"]);
        }
        kept.volume("db");
        assert_eq!(volgc.reason_of("db"), "first_sighting");
        volgc.ok(&["sweep"]);
        kept.assert_untouched();
    }

    fn a_name_in_use_keeps_the_old_data_and_says_how_to_get_it(engine: PrivateEngine) {
        let (volgc, entry, mut kept) = set_aside(&engine);
        engine.docker(&["run", "-d", "--name", "app", "-v", "db:/data", "bb", "sleep", "1000"]);
        kept.note_volume("db");
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        kept.assert_untouched();
        let told = volgc.entry_of("db");
        assert_eq!((&told["reason"], &told["name_in_use"]), (&"name_in_use".into(), &true.into()));
        assert!(told["delete_at"].is_null(), "its clock stands still: {told:#}");
        let command = format!("volgc restore {entry} --replace");
        assert!(text(&told["detail"]).contains(&command), "{told:#}");
        for page in ["report", "list"] {
            assert!(volgc.ok(&[page]).contains(&command), "{page} does not tell");
        }

        engine.docker(&["rm", "-f", "app"]);
        engine.docker(&["volume", "rm", "db"]);
        volgc.sweep_twice();
        assert_eq!(volgc.entries(), Vec::<Value>::new(), "its name is free, and its grace period over");
    }

    fn a_clock_stands_still_while_the_name_is_in_use(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        engine.create_volume("db", &[("volgc.keep", "true")]);
        volgc.ok(&["sweep"]);
        sleep(Duration::from_millis(2500));
        let still_in_use = now();
        volgc.ok(&["sweep"]);
        engine.docker(&["volume", "rm", "db"]);
        volgc.ok(&["sweep"]);
        let told = volgc.entry_of("db");
        assert_eq!(told["reason"], "in_quarantine");
        assert!(time(&told["delete_at"]) >= still_in_use + TimeDelta::hours(1), "{told:#}");
    }

    fn the_clock_of_an_entry_starts_with_its_quarantine(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["sweep"]);
        sleep(Duration::from_millis(2500));
        let before = now();
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        let told = volgc.entry_of("db");
        assert!(time(&told["quarantined_at"]) >= before, "{told:#}");
        assert!(time(&told["delete_at"]) >= before + TimeDelta::hours(1), "{told:#}");
    }

    fn a_hold_keeps_a_volume_until_it_is_released(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["hold", "db", "--reason", "audit of March"]);
        kept.assert_survive_sweeps_of(&volgc);
        let (reason, detail) = reasons(&volgc, "db");
        assert!(reason == "held" && detail.contains("audit of March"), "{reason}: {detail}");
        let output = volgc.refused(&["quarantine", "db"]);
        assert!(output.contains("kept volume db") && output.contains("audit of March"), "{output}");
        assert!(output.contains("`volgc release db` ends that"), "{output}");
        assert!(volgc.ok(&["holds"]).contains("audit of March"));

        volgc.ok(&["release", "db"]);
        assert_eq!(volgc.reason_of("db"), "first_sighting", "it was held until now");
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["db"]);
        assert_eq!(volgc.run(&["release", "db"]).status, Some(1));
    }

    fn a_hold_keeps_an_entry_until_it_is_released(engine: PrivateEngine) {
        let (volgc, entry, kept) = set_aside(&engine);
        volgc.ok(&["hold", &entry, "--reason", "audit"]);
        kept.assert_survive_sweeps_of(&volgc);
        assert_eq!(volgc.entry_of("db")["reason"], "hold");
        let output = volgc.refused(&["delete", "--yes", &entry]);
        assert!(output.contains("kept entry") && output.contains("audit"), "{output}");
        assert!(output.contains(&format!("`volgc release {entry}` ends that")), "{output}");
        kept.assert_untouched();

        volgc.ok(&["release", &entry]);
        volgc.sweep_twice();
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    /// Who asks for an entry to be kept wants what is in it to be kept.
    fn a_hold_on_an_entry_goes_with_it_when_it_is_restored(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.sweep_twice();
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        volgc.ok(&["restore", "db", "--as", "old-db"]);
        let held = volgc.json(&["holds", "--format", "json"]);
        assert_eq!((&held[0]["kind"], &held[0]["name"]), (&"volume".into(), &"old-db".into()), "{held:#}");
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["old-db"]);
        volgc.ok(&["release", "old-db"]);
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["old-db"]);

        volgc.ok(&["hold", "old-db", "--reason", "audit"]);
        volgc.ok(&["release", "old-db"]);
        assert_eq!(volgc.ok(&["holds"]), "nothing is held\n", "released by the name that it was given by");
    }

    fn a_hold_ends_when_it_said(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["hold", "db", "--for", "3s", "--reason", "for now"]);
        volgc.ok(&["hold", "db", "--for", "1s", "--reason", "shorter"]);
        assert_eq!(volgc.reason_of("db"), "held");
        wait_until("the holds are over", || volgc.ok(&["holds"]) == "nothing is held\n");
        kept.assert_untouched();
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["db"]);
    }

    fn a_hold_is_not_on_another_volume_of_the_name(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        volgc.ok(&["sweep"]);
        engine.docker(&["volume", "rm", "db"]);
        engine.create_volume("db", &[]);
        assert_eq!(volgc.reason_of("db"), "first_sighting");
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["db"]);
    }

    fn what_names_a_missing_volume_keeps_its_data(engine: PrivateEngine) {
        let (volgc, entry, kept) = set_aside(&engine);
        let bind = format!("{}:/data", engine.volume_data("db").display());
        engine.docker(&["create", "--name", "app", "-v", &bind, "bb", "cat", "/data/PG_VERSION"]);
        kept.assert_survive_sweeps_of(&volgc);
        let told = volgc.entry_of("db");
        assert!(told["reason"] == "held" && text(&told["detail"]).contains("app"), "{told:#}");
        let output = volgc.refused(&["delete", "--yes", &entry]);
        assert!(output.contains("kept entry"), "{output}");
        kept.assert_untouched();
        volgc.ok(&["restore", "db"]);
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15");
    }

    fn two_commands_at_once_lose_nothing(engine: PrivateEngine) {
        engine.create_volume("db", &[("a", "b")]);
        let digest = engine.fill_volume("db", 1);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        for round in 0..20 {
            let sweep = volgc.spawn(&["sweep"]);
            let restore = volgc.spawn(&["restore", "db"]);
            let outputs = [sweep, restore].map(|child| child.wait_with_output().unwrap());
            for output in &outputs {
                assert!(output.status.success(), "round {round}: {}", harness::show(output));
            }
            // The sweep before it, or the one in the same moment, may have been the restored volume's first sighting.
            let there = engine.volume_names();
            let kept_in = if there.is_empty() {
                engine.quarantined_data(&volgc.entry_id_of("db"))
            } else {
                assert_eq!((there, volgc.entries()), (vec!["db".to_owned()], Vec::new()));
                engine.volume_data("db")
            };
            assert_eq!(tree_digest(&kept_in), digest, "round {round}");
            while volgc.entries().is_empty() {
                volgc.ok(&["sweep"]);
            }
        }
        volgc.ok(&["restore", "db"]);
        assert_eq!(engine.json("GET", "/volumes/db", None)["Labels"], serde_json::json!({"a": "b"}));
    }
}
