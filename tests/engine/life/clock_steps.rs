//! I8 through the program itself: a wall clock that is set deletes and moves nothing early. Only this program sees the other
//! time: `faketime` gives it a wall clock of its own, and leaves it the host's monotonic clock.

use harness::treasure::Treasure;
use harness::{PrivateEngine, Volgc, on_each_engine};

/// Grace periods of days, and the usual limit for gaps.
const CONFIG: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "7d"
delete_after = "14d"
[limits]
min_grace = "1s"
min_sightings = 2
"#;

/// Runs a command that must succeed, with a wall clock so many days off.
#[track_caller]
fn at(volgc: &Volgc, days: i32, words: &[&str]) -> String {
    let output = volgc.run_at(&format!("{days:+}d"), words);
    assert_eq!(output.status, Some(0), "{days} days off, {words:?}: {output:?}");
    output.stdout
}

/// The year that a report says it is.
fn year(report: &str) -> i32 {
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    report["taken_at"].as_str().unwrap()[..4].parse().unwrap()
}

/// A volume that nothing holds and one in quarantine, both with their clocks running.
fn watched(engine: &PrivateEngine) -> (Volgc, [Treasure; 2]) {
    let treasures = ["orphan", "kept"].map(|name| Treasure::make(engine, name));
    let volgc = Volgc::configured(engine, CONFIG);
    volgc.ok(&["sweep"]);
    volgc.ok(&["quarantine", "kept"]);
    volgc.ok(&["sweep"]);
    (volgc, treasures)
}

#[track_caller]
fn assert_nothing_happened(engine: &PrivateEngine, volgc: &Volgc, treasures: &[Treasure; 2], when: &str) {
    assert_eq!(engine.volume_names(), ["orphan"], "{when}");
    assert_eq!(volgc.quarantined_names(), ["kept"], "{when}");
    for treasure in treasures {
        treasure.assert_whole(engine, when);
    }
}

on_each_engine! {
    fn a_wall_clock_a_year_ahead_moves_and_deletes_nothing(engine: PrivateEngine) {
        let (volgc, treasures) = watched(&engine);
        let now = year(&volgc.ok(&["report", "--format", "json", "--no-sizes"]));
        assert_eq!(year(&at(&volgc, 365, &["report", "--format", "json", "--no-sizes"])), now + 1, "no other time");
        for round in 0..3 {
            let told = at(&volgc, 365, &["sweep"]);
            assert!(!told.contains("quarantined") && !told.contains("deleted"), "{told}");
            assert_nothing_happened(&engine, &volgc, &treasures, &format!("a year ahead, sweep {round}"));
        }
        // And when it is set right again.
        for round in 0..3 {
            volgc.ok(&["sweep"]);
            assert_nothing_happened(&engine, &volgc, &treasures, &format!("set right, sweep {round}"));
        }
        volgc.ok(&["restore", "kept"]);
        treasures[1].assert_back(&engine, "kept", "restored");
    }

    fn a_wall_clock_a_year_behind_moves_and_deletes_nothing(engine: PrivateEngine) {
        let (volgc, treasures) = watched(&engine);
        let now = year(&volgc.ok(&["report", "--format", "json", "--no-sizes"]));
        assert!(year(&at(&volgc, -366, &["report", "--format", "json", "--no-sizes"])) < now, "no other time");
        for round in 0..3 {
            at(&volgc, -366, &["sweep"]);
            assert_nothing_happened(&engine, &volgc, &treasures, &format!("a year behind, sweep {round}"));
        }
        for round in 0..3 {
            volgc.ok(&["sweep"]);
            assert_nothing_happened(&engine, &volgc, &treasures, &format!("set right, sweep {round}"));
        }
        volgc.ok(&["restore", "kept"]);
        treasures[1].assert_back(&engine, "kept", "restored");
    }

    /// Time that was watched does count, or the tests above would say nothing.
    fn watched_time_counts_whatever_the_wall_clock_says(engine: PrivateEngine) {
        let (volgc, treasures) = watched(&engine);
        volgc.config(&CONFIG.replace("\"7d\"", "\"2s\""));
        let mut told = at(&volgc, -366, &["sweep"]);
        std::thread::sleep(std::time::Duration::from_millis(2500));
        told.push_str(&at(&volgc, -366, &["sweep"]));
        assert!(told.contains("quarantined volume orphan"), "{told}");
        treasures[0].assert_whole(&engine, "quarantined");
    }

    /// A hold that a wrong clock ended is there again when the clock is right, whatever was swept meanwhile.
    fn a_wall_clock_a_year_ahead_ends_no_hold(engine: PrivateEngine) {
        let (volgc, treasures) = watched(&engine);
        for what in ["orphan", "kept"] {
            volgc.ok(&["hold", what, "--for", "30d", "--reason", "until the audit"]);
        }
        volgc.config(&CONFIG.replace("\"7d\"", "\"2s\"").replace("\"14d\"", "\"2s\""));
        volgc.ok(&["sweep"]);
        at(&volgc, 365, &["sweep"]);
        assert_nothing_happened(&engine, &volgc, &treasures, "a year ahead");
        let told = volgc.ok(&["history"]);
        assert_eq!(told.matches("hold expired").count(), 2, "{told}");
        assert!(!at(&volgc, 365, &["holds"]).contains("until the audit"), "they have expired there");
        for round in 0..4 {
            volgc.ok(&["sweep"]);
            assert_nothing_happened(&engine, &volgc, &treasures, &format!("set right, sweep {round}"));
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        assert_eq!(volgc.ok(&["holds"]).matches("until the audit").count(), 2);
    }
}
