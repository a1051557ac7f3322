//! The service: it ends in good order in the middle of a step, shares the quarantine with a second one and with commands, and goes
//! on where a killed one stopped.

use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{PrivateEngine, Volgc, on_each_engine};
use rustix::process::{Pid, Signal, kill_process};

/// How long the service may take to end: the step in hand, and no other.
const SECONDS_TO_END: Duration = Duration::from_secs(8);

fn config(mode: &str, delete_after: &str) -> String {
    format!(
        r#"
mode = "{mode}"
[docker]
host = "unix://{{socket}}"
[schedule]
interval = "1s"
[[rule]]
name = "everything"
match = {{ volume = "*" }}
quarantine_after = "0s"
delete_after = "{delete_after}"
[limits]
min_grace = "0s"
min_sightings = 2
max_per_sweep = 1000
sudden_orphans = 1000
"#
    )
}

fn volgc(engine: &PrivateEngine, mode: &str, delete_after: &str) -> Volgc {
    Volgc::configured(engine, &config(mode, delete_after))
}

fn treasures(engine: &PrivateEngine, count: usize) -> Vec<Treasure> {
    (0..count).map(|number| Treasure::make(engine, &format!("v{number:02}"))).collect()
}

#[track_caller]
fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks a service to end, as systemd does; it ends with 0, soon.
#[track_caller]
fn terminate(service: Child) -> Output {
    let started = Instant::now();
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    let output = service.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(started.elapsed() < SECONDS_TO_END, "it took {:?} to end:\n{log}", started.elapsed());
    assert!(log.contains("stopped"), "{log}");
    output
}

/// The volume whose entry it is, by state; none while it is at its place.
fn state(engine: &PrivateEngine, treasure: &Treasure) -> Option<String> {
    match treasure.places(engine).as_slice() {
        [Place::Entry(_, manifest)] => manifest["state"].as_str().map(str::to_owned),
        [Place::Deleting(_)] => Some("deleting".to_owned()),
        _ => None,
    }
}

fn is_quarantined(engine: &PrivateEngine, treasure: &Treasure) -> bool {
    state(engine, treasure).as_deref() == Some("quarantined")
}

/// A service that goes on where another one ended.
#[track_caller]
fn quarantines_and_restores(engine: &PrivateEngine, volgc: &Volgc, volumes: &[Treasure]) {
    let service = volgc.spawn(&["run"]);
    await_that("all are in quarantine", || volumes.iter().all(|volume| is_quarantined(engine, volume)));
    terminate(service);
    for volume in volumes {
        volgc.ok(&["restore", &volume.name]);
        volume.assert_back(engine, &volume.name, "restored");
    }
}

/// The entry of a volume that is in quarantine.
fn entry(engine: &PrivateEngine, treasure: &Treasure) -> String {
    match treasure.assert_whole(engine, "in quarantine") {
        Place::Entry(entry, _) => entry,
        place @ (Place::Volume(_) | Place::Deleting(_)) => panic!("{} is in {place:?}", treasure.name),
    }
}

on_each_engine! {
    fn the_step_in_hand_is_finished_or_undone(engine: PrivateEngine) {
        let volumes = treasures(&engine, 3);
        let volgc = volgc(&engine, "quarantine", "1h");
        let service = volgc.clone().env("VOLGC_FAULT", "exchange.sync@1=delay:1500").spawn(&["run"]);
        await_that("the first volume moves", || state(&engine, &volumes[0]).is_some());
        terminate(service);
        for volume in &volumes {
            let is_as_before = volume.assert_whole(&engine, "stopped") == Place::Volume(volume.name.clone());
            assert!(is_as_before || is_quarantined(&engine, volume), "{:?}", volume.places(&engine));
        }
        assert_no_husk(&engine, "stopped");
        // The next one goes on.
        quarantines_and_restores(&engine, &volgc, &volumes);
    }

    fn a_deletion_is_stopped_and_taken_up_again(engine: PrivateEngine) {
        let volumes = treasures(&engine, 1);
        let volgc = volgc(&engine, "enforce", "0s");
        let service = volgc.clone().env("VOLGC_FAULT", "delete.contents@1=delay:1000").spawn(&["run"]);
        await_that("its deletion begins", || state(&engine, &volumes[0]).as_deref() == Some("deleting"));
        terminate(service);
        volgc.ok(&["sweep"]);
        assert_eq!(volumes[0].places(&engine), []);
        assert_eq!(volgc.json(&["list", "--format", "json"]), serde_json::json!([]));
    }

    fn a_killed_one_is_followed_by_one_that_recovers(engine: PrivateEngine) {
        let volumes = treasures(&engine, 2);
        let volgc = volgc(&engine, "quarantine", "1h");
        for fault in ["exchange.look_again@1=kill", "engine.deleted@1=kill"] {
            let killed = volgc.clone().env("VOLGC_FAULT", fault).spawn(&["run"]);
            assert_eq!(killed.wait_with_output().unwrap().status.code(), None, "{fault}");
            for volume in &volumes {
                volume.assert_whole(&engine, fault);
            }
        }
        quarantines_and_restores(&engine, &volgc, &volumes);
    }

    fn two_at_once_do_everything_once(engine: PrivateEngine) {
        let volumes = treasures(&engine, 30);
        let one = volgc(&engine, "quarantine", "1h");
        let other = volgc(&engine, "quarantine", "1h");
        // Two with one ledger, one with a ledger of its own.
        let services = [one.spawn(&["run"]), one.spawn(&["run"]), other.spawn(&["run"])];
        await_that("all are in quarantine", || volumes.iter().all(|volume| is_quarantined(&engine, volume)));
        for service in services {
            let output = terminate(service);
            let log = String::from_utf8_lossy(&output.stderr);
            // Of two with one ledger, one may have to look again.
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
            assert!(errors.iter().all(|line| line.contains("was changed by another process")), "{errors:#?}");
        }
        assert_eq!(one.json(&["list", "--format", "json"]).as_array().unwrap().len(), volumes.len());
        for volume in &volumes {
            volume.assert_whole(&engine, "both ended");
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn a_restore_of_what_is_being_deleted_is_refused(engine: PrivateEngine) {
        let volumes = treasures(&engine, 2);
        let volgc = volgc(&engine, "enforce", "0s");
        for (volume, point) in volumes.iter().zip(["delete.rename", "delete.contents"]) {
            volgc.ok(&["quarantine", &volume.name]);
            let entry = entry(&engine, volume);
            let service =
                volgc.clone().env("VOLGC_FAULT", format!("{point}=delay:1200")).spawn(&["delete", "--yes", &entry]);
            thread::sleep(Duration::from_millis(700));
            let output = volgc.run(&["restore", &entry]);
            assert!(matches!(output.status, Some(1 | 4)), "{point}: {output:?}");
            assert!(output.stderr.contains(&entry), "{point}: {output:?}");
            assert!(service.wait_with_output().unwrap().status.success());
            assert_eq!(volume.places(&engine), [], "{point}");
        }
        assert_eq!(volgc.json(&["list", "--format", "json"]), serde_json::json!([]));
        assert_no_husk(&engine, "deleted");
    }

    fn a_service_that_deletes_leaves_what_is_being_restored(engine: PrivateEngine) {
        let volumes = treasures(&engine, 1);
        let calm = volgc(&engine, "quarantine", "0s");
        calm.ok(&["quarantine", "v00"]);
        let entry = entry(&engine, &volumes[0]);
        // Seen twice, so it is due at once.
        calm.ok(&["sweep"]);
        let restore =
            calm.clone().env("VOLGC_FAULT", "restore.rename=delay:2500").spawn(&["restore", "--as", "back", &entry]);
        await_that("it is being restored", || state(&engine, &volumes[0]).as_deref() == Some("restoring"));
        calm.config(&config("enforce", "0s").replace("volume = \"*\"", "volume = \"v*\""));
        let service = calm.spawn(&["run"]);
        let deletion = calm.run(&["delete", "--yes", &entry]);
        assert!(deletion.stdout.contains("there is no entry"), "{deletion:?}");
        assert!(restore.wait_with_output().unwrap().status.success());
        thread::sleep(Duration::from_secs(2));
        terminate(service);
        volumes[0].assert_back(&engine, "back", "restored");
        assert_no_husk(&engine, "restored");
    }
}
