//! Two services on one state directory, and the service against a restore of the very entry that it deletes.

use std::fs;

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{on_each_engine, wait_until};

use super::{Beside, Host, end};

on_each_engine! {
    /// One of them rests inside of each step in turn, while the other one sweeps as fast as it can.
    fn two_services_on_one_state_directory(engine: PrivateEngine) {
        for point in ["exchange.swap", "exchange.look_again", "engine.deleted", "ledger.start_entry", "delete.rename"] {
            let host = Host::new(&engine);
            let gone = Treasure::make(&engine, "gone");
            host.volgc.ok(&["sweep"]);
            if point == "delete.rename" {
                host.volgc.ok(&["quarantine", "gone"]);
            }
            let first = host.service(point);
            let trace = engine.dir().join("trace-of-second");
            fs::remove_file(&trace).ok();
            let second = Beside::start(&host.volgc.clone().env("VOLGC_FAULT_TRACE", &trace), &["run"]);
            wait_until("the second one waits for the first, or sweeps", || {
                let passed = fs::read_to_string(&trace).unwrap_or_default();
                second.says().contains("waiting for") || passed.matches("ledger.write").count() > 1
            });
            let first = first.go_on();
            // The history is written when the data is gone; a service that shall end in between leaves that to the next sweep.
            let is_told = || host.volgc.ok(&["history", "--volume", "gone"]).contains("deleted");
            wait_until("all is done", || gone.places(&engine).is_empty() && host.has_moved() && is_told());
            let logs = [
                String::from_utf8_lossy(&end(first).stderr).into_owned(),
                second.terminate(),
            ];
            for log in logs {
                let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
                // Of two with one ledger, one may have to look again.
                assert!(
                    errors.iter().all(|line| line.contains("was changed by another process")),
                    "{point}: {errors:#?}"
                );
            }
            host.assert_all_whole(point);
            assert_no_husk(&engine, point);
            let history = host.volgc.ok(&["history", "--volume", "gone"]);
            let deleted = history.lines().filter(|line| line.contains("deleted")).count();
            assert_eq!(deleted, 1, "{point}: deleted once: {history}");
            host.volgc.ok(&["restore", "moved"]);
            host.moved.assert_back(&engine, "moved", point);
            host.volgc.ok(&["restore", "entry"]);
            host.clear();
        }
    }

    /// Restored, or deleted as a whole: whoever is first under the lock.
    fn the_service_and_a_restore_of_the_entry_it_deletes(engine: PrivateEngine) {
        for (point, more) in [
            ("lock.write", &[][..]),
            ("ledger.write", &[]),
            ("delete.rename", &["--as", "other"]),
            ("delete.sync", &[]),
            ("ledger.end_entry", &["--replace"]),
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
            let mut restore = Beside::start(&host.volgc, &[&["restore", id.as_str()], more].concat());
            restore.await_wait_or_end();
            let service = service.go_on();
            let output = restore.end();
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
            end(service);
            host.volgc.ok(&["sweep"]);
            assert!(!host.volgc.entries().iter().any(|entry| entry["state"] != "quarantined"), "{point}");
            host.assert_all_whole(point);
            host.clear();
        }
    }
}
