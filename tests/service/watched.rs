//! I8: the service counts the time through which it followed the engine's events, and no other.

use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::daemon::Daemon;
use harness::{Volgc, on_each_engine, wait_until};
use rusqlite::{Connection, OpenFlags};

/// A sweep each second, and a grace period of seconds that stand for days.
const CONFIG: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1s"
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

/// Watched milliseconds of a volume.
fn watched(volgc: &Volgc, volume: &str) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let ledger = Connection::open_with_flags(volgc.state_dir().join("ledger.db"), flags).unwrap();
    let query = "SELECT watched_ms FROM volumes WHERE name = ?1";
    let watched: i64 = ledger.query_row(query, [volume], |row| row.get(0)).unwrap();
    u64::try_from(watched).unwrap()
}

/// Runs the service until it has swept so often; says how long it ran.
fn serve(volgc: &Volgc, sweeps: usize) -> Duration {
    let began = Instant::now();
    let daemon = Daemon::start(volgc);
    wait_until("it sweeps", || daemon.log().matches("sweep done").count() >= sweeps);
    daemon.terminate();
    began.elapsed()
}

on_each_engine! {
    fn a_service_that_was_stopped_counts_none_of_that_time_unless_the_engine_knows_it(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, &CONFIG.replace("4s", "1h"));
        serve(&volgc, 2);
        // Nothing happened that the engine would not remember.
        let before = watched(&volgc, "db");
        sleep(Duration::from_secs(3));
        serve(&volgc, 1);
        let known = watched(&volgc, "db") - before;
        assert!(known >= 3_000, "{known} ms");
        // It remembers its last 256 events.
        let before = watched(&volgc, "db");
        sleep(Duration::from_secs(3));
        for number in 0..130 {
            let name = format!("overrun-{number}");
            engine.create_volume(&name, &[]);
            engine.json("DELETE", &format!("/volumes/{name}"), None);
        }
        let ran = serve(&volgc, 1);
        let forgotten = Duration::from_millis(watched(&volgc, "db") - before);
        assert!(forgotten <= ran, "{forgotten:?} of the {ran:?} that it ran");
    }

    /// Days off are no days of watching, for a volume as for an entry.
    fn a_service_on_a_host_that_was_off_counts_none_of_that_time(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.create_volume("aside", &[]);
        let grace = harness::grace_of_a_host_that_was_off();
        let config = CONFIG.replace("4s", &grace).replace("\"1h\"", &format!("\"{grace}\"")).replace("\"quarantine\"", "\"enforce\"");
        let volgc = Volgc::configured(&engine, &config);
        volgc.ok(&["quarantine", "aside"]);
        serve(&volgc, 2);
        let uptime = volgc.host_was_off();
        serve(&volgc, 3);
        let counted = Duration::from_millis(watched(&volgc, "db"));
        assert!(counted < uptime + Duration::from_mins(10), "{counted:?}, up for {uptime:?}");
        assert_eq!(engine.volume_names(), ["db"], "moved for the time that the host was off");
        assert_eq!(volgc.quarantined_names(), ["aside"], "deleted for the time that the host was off");
    }

    /// What held a volume while nobody followed the events is as good as what the service hears.
    fn a_use_while_the_service_was_stopped_sets_the_clock_back(engine: PrivateEngine) {
        for name in ["used", "quiet"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, &CONFIG.replace("4s", "8s"));
        serve(&volgc, 2);
        sleep(Duration::from_secs(9));
        engine.docker(&["run", "--rm", "--network", "none", "--name", "visitor", "-v", "used:/data", "bb", "true"]);
        serve(&volgc, 1);
        assert_eq!(engine.volume_names(), ["used"], "moved a moment after its last use");
        assert_eq!(volgc.told_of("used")["last_holder"]["name"], "visitor");
    }

    /// The time without a stream does not count; the time with one before it does.
    fn an_engine_that_is_away_stops_the_clocks_for_as_long(version: Version) {
        let engine = harness::PrivateEngine::start(version);
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, &CONFIG.replace("4s", "1h").replace("\"1s\"", "\"6s\""));
        volgc.sweep_twice();
        let before = watched(&volgc, "db");
        let began = Instant::now();
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        sleep(Duration::from_secs(2));
        let away = Instant::now();
        engine.restart();
        daemon.await_log("looked");
        let away = away.elapsed();
        wait_until("it sweeps", || daemon.log().contains("sweep done"));
        let counted = Duration::from_millis(watched(&volgc, "db") - before);
        let (status, _) = daemon.terminate();
        assert!(status.success());
        assert!(counted >= Duration::from_secs(2), "{counted:?}");
        assert!(counted <= began.elapsed(), "{counted:?}, {away:?} away");
    }
}
