//! Containers that a rule lets pass, and that come and go between two sweeps: the service hears of them, and no clock begins anew.

use std::thread::sleep;
use std::time::Duration;

use harness::daemon::Daemon;
use harness::{PrivateEngine, Volgc, on_each_engine, wait_until};
use volgc::gc::ledger::VolumeRecord;
use volgc::gc::volume::VolumeName;
use volgc::host::ledger::LedgerReader;

/// Nothing is swept while a test runs, unless it says so.
const CONFIG: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1d"
[[passing]]
label = "com.example.role=backup"
[[passing]]
image = "b*"
container = "scan-*"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "1h"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
"#;

/// As the ledger has it: a report sees what is there also when nobody has written of it.
#[track_caller]
fn record(volgc: &Volgc, volume: &str) -> VolumeRecord {
    let ledger = LedgerReader::open(&volgc.state_dir()).unwrap().unwrap().read().unwrap();
    ledger.volumes[&VolumeName::new(volume).unwrap()].clone()
}

fn run(engine: &PrivateEngine, name: &str, label: &str, volume: &str) {
    let mount = format!("{volume}:/data");
    engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        name,
        "--label",
        label,
        "-v",
        &mount,
        "bb",
        "true",
    ]);
}

/// Whoever uses the second volume afterwards was heard of, so whoever came before was heard of too.
#[track_caller]
fn await_use(engine: &PrivateEngine, volgc: &Volgc, name: &str) {
    run(engine, name, "com.example.role=application", "other");
    wait_until(&format!("{name} is the last holder of `other`"), || {
        record(volgc, "other").last_holder.is_some_and(|last| last.holder.name == name)
    });
}

on_each_engine! {
    fn whoever_passes_between_two_sweeps_starts_no_clock_anew(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, CONFIG);
        for volume in ["db", "other"] {
            engine.create_volume(volume, &[]);
        }
        volgc.sweep_twice();
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        daemon.await_message("next sweep");
        // The subscription is made beside the first look.
        sleep(Duration::from_millis(500));
        let before = ["db", "other"].map(|volume| record(&volgc, volume));
        let since = before.each_ref().map(|record| record.unreferenced.as_ref().unwrap().since);

        run(&engine, "backup", "com.example.role=backup", "db");
        run(&engine, "scan-1", "com.example.role=scanner", "db");
        await_use(&engine, &volgc, "application");
        assert_eq!(record(&volgc, "db"), before[0], "what only passes by was heeded");
        let used = record(&volgc, "other").unreferenced.unwrap();
        assert!(used.since > since[1] && used.sightings == 0, "{used:?}");

        // The image alone is no match of the second rule, so it is a use as any other.
        run(&engine, "job", "com.example.role=scanner", "db");
        wait_until("`job` is the last holder", || {
            record(&volgc, "db").last_holder.is_some_and(|last| last.holder.name == "job")
        });
        assert!(record(&volgc, "db").unreferenced.unwrap().since > since[0]);
    }
}
