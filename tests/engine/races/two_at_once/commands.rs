//! Every command while the service is inside of a step.

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{Resting, Volgc, on_each_engine, wait_until};

use super::{CONFIG, Host, end, waits, works_at_once};

on_each_engine! {
    /// The data of the volume is away, and the lock is held.
    fn reading_and_holding_while_the_service_moves_a_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let mut service = host.service("exchange.look_again");
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
        host.moved.assert_whole(&engine, "meanwhile");
        // This one waits: no deletion of the entry may be under way.
        let (service, _) = waits(&host, service, &["hold", &host.id, "--reason", "an entry"]);
        host.await_moved();
        end(service);
        host.assert_all_whole("at the end");
        host.volgc.ok(&["restore", "moved"]);
        host.moved.assert_back(&engine, "moved", "restored");
    }

    /// The operator was told that it is held: so it is brought back, or at least never deleted.
    fn a_hold_that_is_given_while_the_service_moves_the_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let gone = Treasure::make(&engine, "gone");
        host.volgc.ok(&["hold", "moved", "--reason", "not of interest"]);
        host.volgc.ok(&["sweep"]);
        for point in ["exchange.swap", "exchange.look_again", "engine.delete"] {
            let mut service = host.service(point);
            works_at_once(&host, &mut service, &["hold", "gone", "--reason", "wanted"], 0);
            let service = service.go_on();
            // Each of which would delete what is due.
            host.await_sweeps(3);
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
        let mut service = host.service("exchange.sync");
        works_at_once(&host, &mut service, &["acknowledge"], 0);
        let service = service.go_on();
        host.await_moved();
        end(service);
        host.volgc.ok(&["sweep"]);
        host.volgc.ok(&["restore", "moved"]);
        host.moved.assert_back(&engine, "moved", "restored");
    }

    fn changing_something_while_the_service_moves_a_volume(engine: PrivateEngine) {
        for (point, words) in [
            ("exchange.sync", &["sweep"][..]),
            ("exchange.look_again", &["quarantine", "kept"]),
            ("engine.deleted", &["restore", "ENTRY"]),
            ("engine.delete", &["restore", "ENTRY", "--as", "other"]),
        ] {
            let host = Host::new(&engine);
            host.volgc.ok(&["release", "kept"]);
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "ENTRY" { host.id.as_str() } else { word }).collect();
            let service = host.service(point);
            let (service, output) = waits(&host, service, &words);
            assert!(output.stderr.contains("/lock"), "{words:?}: {output:?}");
            host.await_moved();
            end(service);
            host.assert_all_whole(point);
            match words[0] {
                "quarantine" => assert!(host.volgc.quarantined_names().contains(&"kept".to_owned())),
                "restore" => host.entry.assert_back(&engine, words.get(3).unwrap_or(&"entry"), point),
                _ => {}
            }
            assert_no_husk(&engine, point);
            host.clear();
        }
    }

    fn a_deletion_while_the_service_moves_a_volume(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let service = host.service("exchange.sync");
        let (service, output) = waits(&host, service, &["delete", "--yes", &host.id]);
        assert!(output.stderr.contains("/lock"), "{output:?}");
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
        let service = service.go_on();
        wait_until("it is gone", || gone.places(&engine).is_empty());
        end(service);
        host.assert_all_whole("at the end");
        assert_eq!(host.volgc.quarantined_names(), ["entry"]);
    }

    /// A sweep by cron and one by hand: the later one has written to the ledger when the earlier one wants to.
    fn a_sweep_that_is_overtaken_looks_again(engine: PrivateEngine) {
        Treasure::make(&engine, "kept");
        let volgc = Volgc::configured(&engine, CONFIG);
        volgc.ok(&["sweep"]);
        let slow = Resting::start(&volgc, "lock.file", "", &["sweep"]);
        volgc.ok(&["sweep"]);
        let output = slow.end();
        assert!(output.status.success(), "{}", harness::show(&output));
    }
}
