//! A proxy holds it, and may deliver it long after its sender died: nothing is put back as long as it may come.

use std::thread;
use std::time::Duration;

use harness::proxy::{Proxy, Treat};
use harness::treasure::{Place, Treasure};
use harness::{Volgc, on_each_engine};

use super::{
    DELETE, SOON, assert_kept, by, delivered_and_resolved, ended, impatient, killed_with_delete_on_its_way,
    resolved, state,
};

on_each_engine! {
    fn it_arrives_three_seconds_after_its_sender_died(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        let next = volgc.spawn(&["sweep"]);
        thread::sleep(Duration::from_secs(3));
        proxy.release(DELETE);
        assert!(next.wait_with_output().unwrap().status.success());
        resolved(&engine, &volgc, &db);
    }

    fn no_rollback_because_a_proxy_answers_500(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::AnswerAndHold(500));
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_kept(&engine, &db, "answered by the proxy");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_while_a_proxy_may_deliver_it(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        let output = volgc.run(&["sweep"]);
        ended(&output, 3);
        assert!(output.stdout.contains("in doubt") && output.stdout.contains("may still arrive"), "{output:?}");
        assert_kept(&engine, &db, "held");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_because_the_wall_clock_was_set_forward(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        ended(&volgc.run_at("+2h", &["sweep"]), 3);
        assert_kept(&engine, &db, "held, two hours later by the wall clock");
        proxy.release(DELETE);
        volgc.ok(&["release", "db"]);
        volgc.ok(&["sweep"]);
        assert_eq!(state(&volgc), "quarantined");
        ended(&volgc.run_at("+2h", &["restore", "db"]), 4);
        volgc.ok(&["restore", "db", "--as", "db-back"]);
        // The entry that said so is gone, and the name is closed all the same.
        volgc.ok(&["quarantine", "db-back"]);
        ended(&volgc.run_at("+2h", &["restore", "db-back", "--as", "db"]), 4);
        volgc.ok(&["restore", "db-back"]);
        db.assert_back(&engine, "db-back", "restored");
    }

    fn no_rollback_because_the_next_run_speaks_to_the_engine_directly(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        by(&volgc, &engine.socket());
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.run(&["sweep"]);
        assert_kept(&engine, &db, "held, on the engine's own socket");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_because_the_engine_was_restarted_behind_the_proxy(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        engine.restart();
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.run(&["sweep"]);
        assert_kept(&engine, &db, "held, engine restarted");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_when_recovery_itself_fails(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        for fault in ["manifest.write=ENOSPC", "manifest.sync_directory=EIO", "engine.delete=EIO"] {
            let output = volgc.clone().env("VOLGC_FAULT", format!("{fault},{SOON}")).run(&["sweep"]);
            assert_ne!(output.status, Some(0), "{fault}: {output:?}");
            assert_kept(&engine, &db, fault);
        }
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_after_a_direct_recovery_that_failed(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        by(&volgc, &engine.socket());
        for fault in ["engine.delete=kill", "engine.delete=EIO"] {
            let output = volgc.clone().env("VOLGC_FAULT", format!("{fault},{SOON}")).run(&["sweep"]);
            assert_ne!(output.status, Some(0), "{fault}: {output:?}");
            assert_kept(&engine, &db, fault);
        }
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.run(&["sweep"]);
        assert_kept(&engine, &db, "held");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_because_a_second_one_was_refused(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        proxy.next(DELETE, Treat::Answer(409));
        volgc.run(&["sweep"]);
        assert_eq!(proxy.seen(DELETE), 2);
        assert_kept(&engine, &db, "the second DELETE was refused");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn nothing_is_restored_under_one_that_may_still_come(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = impatient(&engine);
        let older = Treasure::make(&engine, "db");
        volgc.ok(&["quarantine", "db"]);
        let Place::Entry(older_entry, _) = older.assert_whole(&engine, "older") else { panic!("not quarantined") };
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        // Another DELETE is answered, so the engine has forgotten the volume; the first is still on its way.
        by(&volgc, &engine.socket());
        volgc.ok(&["sweep"]);
        let Place::Entry(entry, _) = db.assert_whole(&engine, "swept") else { panic!("not quarantined") };
        for (entry, more) in [(&entry, [].as_slice()), (&older_entry, &[]), (&older_entry, &["--as", "db"])] {
            let output = volgc.run(&[&["restore", entry], more].concat());
            ended(&output, 4);
        }
        proxy.release(DELETE);
        db.assert_whole(&engine, "after the late DELETE");
        older.assert_whole(&engine, "after the late DELETE");
    }
}
