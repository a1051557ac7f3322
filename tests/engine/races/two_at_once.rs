//! Two at once: every command while the service is inside of a step, two services on one state directory, and the service against a
//! restore of the very entry that it deletes. Each either waits and says for what, or works; nothing is lost.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output as Ended};
use std::thread;
use std::time::{Duration, Instant};

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{Output, PrivateEngine, Volgc, on_each_engine, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// How long the service rests inside of its step: much longer than a command that need not wait takes on a busy machine.
const REST_MS: u64 = 8000;

/// `moved*` goes into quarantine and stays; `gone*` is deleted; all else is kept.
const CONFIG: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1s"
[[rule]]
name = "moved"
match = { volume = "moved*" }
quarantine_after = "0s"
delete_after = "52w"
[[rule]]
name = "gone"
match = { volume = "gone*" }
quarantine_after = "0s"
delete_after = "0s"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
sudden_orphans = 1000
"#;

/// An engine with a volume that is due, one that is kept, and one in quarantine.
struct Host {
    volgc: Volgc,
    trace: PathBuf,
    moved: Treasure,
    kept: Treasure,
    entry: Treasure,
    id: String,
}

impl Host {
    fn new(engine: &PrivateEngine) -> Self {
        let volgc = Volgc::configured(engine, CONFIG);
        let entry = Treasure::make(engine, "entry");
        volgc.ok(&["quarantine", "entry"]);
        let id = volgc.entry_id_of("entry");
        let kept = Treasure::make(engine, "kept");
        let moved = Treasure::make(engine, "moved");
        volgc.ok(&["sweep"]);
        volgc.ok(&["hold", "kept", "--reason", "for release"]);
        let trace = engine.dir().join("trace");
        Self { volgc, trace, moved, kept, entry, id }
    }

    /// Starts the service, which rests before a point.
    fn service(&self, point: &str) -> Child {
        fs::remove_file(&self.trace).ok();
        let service = self
            .volgc
            .clone()
            .env("VOLGC_FAULT", format!("{point}@1=delay:{REST_MS}"))
            .env("VOLGC_FAULT_TRACE", &self.trace)
            .spawn(&["run"]);
        wait_until(point, || {
            fs::read_to_string(&self.trace).unwrap_or_default().lines().any(|passed| passed == point)
        });
        service
    }
}

/// Ends a service as systemd does; it says nothing of a panic.
#[track_caller]
fn end(service: Child) -> Ended {
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    let output = service.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    output
}

/// A command that needs nothing that the service has: it ends well while the service still rests.
#[track_caller]
fn works_at_once(host: &Host, service: &mut Child, words: &[&str], status: i32) -> Output {
    let output = host.volgc.run(words);
    assert_eq!(output.status, Some(status), "{words:?}: {output:?}");
    assert!(!output.stderr.contains("waiting for"), "{words:?}: {output:?}");
    assert!(service.try_wait().unwrap().is_none(), "{words:?}: the service ended");
    output
}

/// A command that changes something: it says whom it waits for, and is done after that one.
#[track_caller]
fn waits(host: &Host, service: &Child, words: &[&str]) -> Output {
    let output = host.volgc.run(words);
    assert_eq!(output.status, Some(0), "{words:?}: {output:?}");
    let holder = format!("waiting for volgc run (process {})", service.id());
    assert!(output.stderr.contains(&holder) && output.stderr.contains("/lock"), "{words:?}: {output:?}");
    output
}

on_each_engine! {
    /// The data of the volume is away, and the lock is held.
    fn reading_and_holding_while_the_service_moves_a_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let mut service = host.service("take.ask_again");
        let began = Instant::now();
        for words in [
            &["report", "--format", "json", "--no-sizes"][..],
            &["report"],
            &["explain", "moved"],
            &["list"],
            &["history"],
            &["holds"],
            &["check"],
            &["release", "kept"],
            &["hold", "kept", "--reason", "again"],
        ] {
            works_at_once(&host, &mut service, words, 0);
        }
        // Nothing of that may have waited for the end of the step.
        let in_time = began.elapsed() < Duration::from_millis(REST_MS);
        host.moved.assert_whole(&engine, "meanwhile");
        // This one waits: no deletion of the entry may be under way.
        host.volgc.ok(&["hold", &host.id, "--reason", "an entry"]);
        wait_until("it is in quarantine", || host.volgc.quarantined_names().contains(&"moved".to_owned()));
        end(service);
        assert!(in_time, "the commands took {:?}", began.elapsed());
        for treasure in [&host.moved, &host.kept, &host.entry] {
            treasure.assert_whole(&engine, "at the end");
        }
        host.volgc.ok(&["restore", "moved"]);
        host.moved.assert_back(&engine, "moved", "restored");
    }

    /// The operator was told that it is held: so it is brought back, or at least never deleted.
    fn a_hold_that_is_given_while_the_service_moves_the_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let gone = Treasure::make(&engine, "gone");
        host.volgc.ok(&["hold", "moved", "--reason", "not of interest"]);
        host.volgc.ok(&["sweep"]);
        for point in ["take.rename", "take.ask_again", "engine.delete"] {
            let mut service = host.service(point);
            works_at_once(&host, &mut service, &["hold", "gone", "--reason", "wanted"], 0);
            thread::sleep(Duration::from_millis(REST_MS));
            // Several sweeps, each of which would delete what is due.
            thread::sleep(Duration::from_secs(5));
            end(service);
            let place = gone.assert_whole(&engine, point);
            if let Place::Entry(entry, _) = place {
                host.volgc.ok(&["restore", &entry]);
            }
            gone.assert_back(&engine, "gone", point);
            host.volgc.ok(&["release", "gone"]);
            host.volgc.ok(&["sweep"]);
            if let Place::Entry(entry, _) = gone.assert_whole(&engine, point) {
                host.volgc.ok(&["restore", &entry]);
            }
        }
        assert_no_husk(&engine, "at the end");
    }

    fn an_acknowledgement_while_the_service_moves_a_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let mut service = host.service("take.sync");
        works_at_once(&host, &mut service, &["acknowledge"], 0);
        wait_until("it is in quarantine", || host.volgc.quarantined_names().contains(&"moved".to_owned()));
        end(service);
        host.volgc.ok(&["sweep"]);
        host.volgc.ok(&["restore", "moved"]);
        host.moved.assert_back(&engine, "moved", "restored");
    }

    fn changing_something_while_the_service_moves_a_volume(engine: PrivateEngine) {
        for (point, words) in [
            ("take.sync", &["sweep"][..]),
            ("take.ask_again", &["quarantine", "kept"]),
            ("engine.deleted", &["restore", "ENTRY"]),
            ("engine.delete", &["restore", "ENTRY", "--as", "other"]),
        ] {
            let host = Host::new(&engine);
            host.volgc.ok(&["release", "kept"]);
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "ENTRY" { host.id.as_str() } else { word }).collect();
            let service = host.service(point);
            waits(&host, &service, &words);
            wait_until("it is in quarantine", || host.volgc.quarantined_names().contains(&"moved".to_owned()));
            end(service);
            for treasure in [&host.moved, &host.kept, &host.entry] {
                treasure.assert_whole(&engine, point);
            }
            match words[0] {
                "quarantine" => assert!(host.volgc.quarantined_names().contains(&"kept".to_owned())),
                "restore" => host.entry.assert_back(&engine, words.get(3).unwrap_or(&"entry"), point),
                _ => {}
            }
            assert_no_husk(&engine, point);
            // The next one begins with an engine that knows none of them.
            for name in host.volgc.quarantined_names() {
                host.volgc.ok(&["delete", "--yes", &host.volgc.entry_id_of(&name)]);
            }
            for name in engine.volume_names() {
                engine.json("DELETE", &format!("/volumes/{name}"), None);
            }
        }
    }

    fn a_deletion_while_the_service_moves_a_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let service = host.service("take.sync");
        waits(&host, &service, &["delete", "--yes", &host.id]);
        end(service);
        assert_eq!(host.entry.places(&engine), []);
        host.moved.assert_whole(&engine, "at the end");
        host.kept.assert_whole(&engine, "at the end");
    }

    /// The walk holds no lock: everything else goes on beside it.
    fn everything_while_the_service_deletes(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let gone = Treasure::make(&engine, "gone");
        host.volgc.ok(&["quarantine", "gone"]);
        host.volgc.ok(&["hold", "moved", "--reason", "not of interest"]);
        let id = host.volgc.entry_id_of("gone");
        let mut service = host.service("delete.contents");
        let began = Instant::now();
        for (words, status) in [
            (&["report", "--no-sizes"][..], 0),
            (&["list"], 0),
            (&["restore", &id], 1),
            (&["hold", &id, "--reason", "too late"], 1),
            (&["delete", "--yes", &id], 0),
            (&["restore", &host.id], 0),
            (&["quarantine", "entry"], 0),
            (&["history"], 0),
        ] {
            let output = works_at_once(&host, &mut service, words, status);
            assert!(status == 0 || output.stderr.contains(&id), "{words:?}: {output:?}");
        }
        let in_time = began.elapsed();
        wait_until("it is gone", || gone.places(&engine).is_empty());
        thread::sleep(Duration::from_millis(REST_MS).saturating_sub(began.elapsed()));
        end(service);
        assert!(in_time < Duration::from_millis(REST_MS), "the commands took {in_time:?}");
        for treasure in [&host.moved, &host.kept, &host.entry] {
            treasure.assert_whole(&engine, "at the end");
        }
        assert_eq!(host.volgc.quarantined_names(), ["entry"]);
    }

    /// One of them rests inside of each step in turn, while the other one sweeps as fast as it can.
    fn two_services_on_one_state_directory(engine: PrivateEngine) {
        for point in ["take.rename", "take.ask_again", "engine.deleted", "ledger.start_entry", "delete.rename"] {
            let host = Host::new(&engine);
            let gone = Treasure::make(&engine, "gone");
            host.volgc.ok(&["sweep"]);
            if point == "delete.rename" {
                host.volgc.ok(&["quarantine", "gone"]);
            }
            let first = host.service(point);
            let second = host.volgc.spawn(&["run"]);
            wait_until("all is done", || {
                gone.places(&engine).is_empty()
                    && matches!(host.moved.places(&engine).as_slice(),
                        [Place::Entry(_, manifest)] if manifest["state"] == "quarantined")
            });
            for service in [first, second] {
                let output = end(service);
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
                // Of two with one ledger, one may have to look again.
                assert!(
                    errors.iter().all(|line| line.contains("was changed by another process")),
                    "{point}: {errors:#?}"
                );
            }
            for treasure in [&host.moved, &host.kept, &host.entry] {
                treasure.assert_whole(&engine, point);
            }
            assert_no_husk(&engine, point);
            let history = host.volgc.ok(&["history", "--volume", "gone"]);
            let deleted = history.lines().filter(|line| line.contains("deleted")).count();
            assert_eq!(deleted, 1, "{point}: deleted once: {history}");
            host.volgc.ok(&["restore", "moved"]);
            host.moved.assert_back(&engine, "moved", point);
            host.volgc.ok(&["restore", "entry"]);
            for name in engine.volume_names() {
                engine.json("DELETE", &format!("/volumes/{name}"), None);
            }
        }
    }

    /// Restored, or deleted as a whole: whoever is first under the lock.
    fn the_service_and_a_restore_of_the_entry_it_deletes(engine: PrivateEngine) {
        for (point, more) in [
            ("lock.write", &[][..]),
            ("ledger.write", &[]),
            ("delete.rename", &["--as", "other"]),
            ("delete.sync", &[]),
            ("ledger.forget_entry", &["--replace"]),
            ("delete.contents", &[]),
            ("delete.file", &["--as", "other"]),
            ("delete.data", &[]),
            ("drop.unlink", &[]),
        ] {
            let host = Host::new(&engine);
            let gone = Treasure::make(&engine, "gone");
            host.volgc.ok(&["hold", "moved", "--reason", "not of interest"]);
            host.volgc.ok(&["quarantine", "gone"]);
            let id = host.volgc.entry_id_of("gone");
            let service = host.service(point);
            let words = [&["restore", id.as_str()], more].concat();
            let output = host.volgc.run(&words);
            let places = gone.places(&engine);
            match output.status {
                Some(0) => assert!(matches!(places.as_slice(), [Place::Volume(_)]), "{point}: {places:?}"),
                Some(1 | 4) => {
                    assert!(matches!(places.as_slice(), [] | [Place::Deleting(_)]), "{point}: {places:?}");
                    assert!(output.stderr.contains(&id), "{point}: {output:?}");
                }
                _ => panic!("{point}: {output:?}"),
            }
            wait_until("the deletion is over", || {
                !matches!(gone.places(&engine).as_slice(), [Place::Deleting(_)])
            });
            thread::sleep(Duration::from_millis(300));
            end(service);
            host.volgc.ok(&["sweep"]);
            assert!(!host.volgc.entries().iter().any(|entry| entry["state"] != "quarantined"), "{point}");
            for treasure in [&host.moved, &host.kept, &host.entry] {
                treasure.assert_whole(&engine, point);
            }
            for name in host.volgc.quarantined_names() {
                host.volgc.ok(&["delete", "--yes", &host.volgc.entry_id_of(&name)]);
            }
            for name in engine.volume_names() {
                engine.json("DELETE", &format!("/volumes/{name}"), None);
            }
        }
    }
    /// A sweep by cron and one by hand: the later one has written to the ledger when the earlier one wants to.
    fn a_sweep_that_is_overtaken_looks_again(engine: PrivateEngine) {
        Treasure::make(&engine, "kept");
        let volgc = Volgc::configured(&engine, CONFIG);
        volgc.ok(&["sweep"]);
        let trace = engine.dir().join("overtaken");
        let slow = volgc.clone().env("VOLGC_FAULT", "ledger.write@1=delay:3000").env("VOLGC_FAULT_TRACE", &trace);
        let child = slow.spawn(&["sweep"]);
        wait_until("it is about to write", || fs::read_to_string(&trace).unwrap_or_default().contains("ledger.write"));
        volgc.ok(&["sweep"]);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", harness::show(&output));
    }
}
