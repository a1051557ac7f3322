//! I8: time that nobody watched does not count, and what happened in it is taken up first.

use std::thread::sleep;
use std::time::Duration;

use harness::{PrivateEngine, Resting, Volgc, on_each_engine};
use rusqlite::Connection;

/// A grace period of seconds, which stand for days.
const SECONDS: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "4s"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
"#;

fn ledger(volgc: &Volgc) -> Connection {
    Connection::open(volgc.state_dir().join("ledger.db")).unwrap()
}

/// Watched milliseconds of a volume.
fn watched(volgc: &Volgc, volume: &str) -> u64 {
    let query = "SELECT watched_ms FROM volumes WHERE name = ?1";
    let watched: i64 = ledger(volgc).query_row(query, [volume], |row| row.get(0)).unwrap();
    u64::try_from(watched).unwrap()
}

/// Makes the engine forget what happened before: it keeps 256 events.
fn overrun(engine: &PrivateEngine) {
    for number in 0..130 {
        let name = format!("overrun-{number}");
        engine.create_volume(&name, &[]);
        engine.json("DELETE", &format!("/volumes/{name}"), None);
    }
}

on_each_engine! {
    /// The walks through what is due may take hours, and others may have the lock.
    fn a_use_between_a_look_and_its_steps_sets_the_clock_back(engine: PrivateEngine) {
        for name in ["used", "quiet"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, &SECONDS.replace("\"4s\"", "\"10s\""));
        volgc.sweep_twice();
        sleep(Duration::from_secs(11));
        let resting = Resting::start(&volgc, "lock.file", "", &["sweep"]);
        engine.docker(&["run", "--rm", "--network", "none", "-v", "used:/data:ro", "bb", "true"]);
        let output = resting.end();
        assert!(output.status.success(), "{}", harness::show(&output));
        assert_eq!(engine.volume_names(), ["used"], "{}", harness::show(&output));
    }

    /// Nobody watched for longer than the grace period, and the volume was used a moment ago.
    fn a_use_between_two_sweeps_sets_the_clock_back(engine: PrivateEngine) {
        for name in ["used", "quiet"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, SECONDS);
        volgc.sweep_twice();
        sleep(Duration::from_secs(5));
        engine.docker(&["run", "--rm", "--network", "none", "--name", "visitor", "-v", "used:/data", "bb", "true"]);
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("quarantined volume quiet"), "{told}");
        assert_eq!(engine.volume_names(), ["used"], "moved a moment after its last use: {told}");
        assert_eq!(volgc.reason_of("used"), "within_grace");
        assert_eq!(volgc.told_of("used")["last_holder"]["name"], "visitor");
        sleep(Duration::from_secs(5));
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["quiet", "used"], "nobody used it any more");
    }

    /// An anonymous volume of a container that came and went leaves no trace in any list either.
    fn a_name_that_was_used_between_two_sweeps_stops_the_clock_of_its_old_data(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, &SECONDS.replace("\"quarantine\"", "\"enforce\"").replace("1h", "4s"));
        volgc.ok(&["quarantine", "db"]);
        volgc.ok(&["sweep"]);
        sleep(Duration::from_secs(5));
        engine.create_volume("db", &[]);
        engine.json("DELETE", "/volumes/db", None);
        let told = volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["db"], "{told}");
        assert!(volgc.ok(&["history"]).contains("name used again"));
    }

    fn time_counts_whole_while_the_engine_knows_it_and_else_up_to_max_gap(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let config = SECONDS.replace("[limits]", "[limits]\nmax_gap = \"1s\"").replace("4s", "1h");
        let volgc = Volgc::configured(&engine, &config);
        volgc.sweep_twice();
        let before = watched(&volgc, "db");
        sleep(Duration::from_secs(3));
        volgc.ok(&["sweep"]);
        let known = watched(&volgc, "db") - before;
        assert!(known >= 3_000, "{known} ms");
        overrun(&engine);
        sleep(Duration::from_secs(1));
        volgc.ok(&["sweep"]);
        let forgotten = watched(&volgc, "db") - before - known;
        assert_eq!(forgotten, 1_000);
        // A restart of the engine forgets them all.
        engine.restart();
        sleep(Duration::from_secs(1));
        volgc.ok(&["sweep"]);
        assert_eq!(watched(&volgc, "db") - before - known - forgotten, 1_000);
    }

    /// Of the two days that a host was off, no more counts than it has been up since.
    fn a_host_that_was_off_watched_nothing(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.create_volume("aside", &[]);
        let grace = harness::grace_of_a_host_that_was_off();
        let config = SECONDS.replace("4s", &grace).replace("\"1h\"", &format!("\"{grace}\"")).replace("\"quarantine\"", "\"enforce\"");
        let volgc = Volgc::configured(&engine, &config);
        volgc.ok(&["quarantine", "aside"]);
        volgc.sweep_twice();
        let uptime = volgc.host_was_off();
        volgc.ok(&["sweep"]);
        let counted = Duration::from_millis(watched(&volgc, "db"));
        assert!(counted < uptime + Duration::from_mins(10), "{counted:?}, up for {uptime:?}");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["db"], "moved for the time that the host was off");
        assert_eq!(volgc.quarantined_names(), ["aside"], "deleted for the time that the host was off");
    }
}
