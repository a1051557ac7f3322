//! The DELETE in trouble: its answer is lost, it never arrives, or it arrives when its sender is long dead. The data stays in
//! quarantine until the fate of the DELETE is known (I5), and is never lost.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use harness::proxy::{Proxy, Treat};
use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{Output, PrivateEngine, Volgc, on_each_engine};

/// How long recovery leaves an entry in doubt alone.
const SETTLED: Duration = Duration::from_secs(3);
const DELETE: &str = "DELETE /volumes/db";
const CREATE: &str = "POST /volumes/create";

/// volgc by way of a socket; nothing happens unasked.
fn by(volgc: &Volgc, socket: &Path) -> Volgc {
    volgc
        .config(&format!("[docker]\nhost = \"unix://{}\"\n[limits]\nmin_grace = \"0s\"\n", socket.display()));
    volgc.clone()
}

/// The state of the only entry, as `list` shows it.
#[track_caller]
fn state(volgc: &Volgc) -> String {
    let list = volgc.json(&["list", "--format", "json"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
    list[0]["state"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_kept(engine: &PrivateEngine, db: &Treasure, when: &str) {
    match db.assert_whole(engine, when) {
        Place::Entry(_, manifest) => assert_eq!(manifest["state"], "in_doubt", "{when}: {manifest:#}"),
        place @ (Place::Volume(_) | Place::Deleting(_)) => {
            panic!("{when}: rolled back under a DELETE that may still come: {place:?}")
        }
    }
}

#[track_caller]
fn ended(output: &Output, status: i32) {
    assert_eq!(output.status, Some(status), "{output:?}");
}

/// A quarantine whose DELETE is on its way, held by the proxy, and whose program was killed.
fn killed_with_delete_on_its_way(engine: &PrivateEngine, proxy: &Proxy, volgc: &Volgc) -> Treasure {
    let db = Treasure::make(engine, "db");
    proxy.next(DELETE, Treat::Hold);
    let mut child = by(volgc, proxy.socket()).spawn(&["quarantine", "db"]);
    proxy.await_request(DELETE);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_kept(engine, &db, "killed");
    db
}

/// The DELETE arrives at last; then everything is resolved, and the data comes back.
fn delivered_and_resolved(engine: &PrivateEngine, proxy: &Proxy, volgc: &Volgc, db: &Treasure) {
    proxy.release(DELETE);
    db.assert_whole(engine, "after the late DELETE");
    resolved(engine, volgc, db);
}

/// A sweep resolves it; its name stays closed as long as the DELETE could still come.
fn resolved(engine: &PrivateEngine, volgc: &Volgc, db: &Treasure) {
    volgc.run(&["release", "db"]);
    volgc.ok(&["sweep"]);
    assert_eq!(state(volgc), "quarantined");
    let refused = volgc.run(&["restore", "db"]);
    ended(&refused, 4);
    assert!(refused.stderr.contains("may still arrive") && refused.stderr.contains("--as"), "{refused:?}");
    volgc.ok(&["restore", "db", "--as", "db-back"]);
    db.assert_back(engine, "db-back", "restored");
    assert_no_husk(engine, "restored");
    // The entry that said so is gone, and the name is closed all the same.
    volgc.ok(&["quarantine", "db-back"]);
    let refused = volgc.run(&["restore", "db-back", "--as", "db"]);
    ended(&refused, 4);
    assert!(refused.stderr.contains("may still arrive"), "{refused:?}");
    volgc.ok(&["restore", "db-back"]);
    db.assert_back(engine, "db-back", "restored again");
}

on_each_engine! {
    fn it_is_not_sent_to_an_engine_that_was_not_looked_at(engine: PrivateEngine) {
        let other = PrivateEngine::start(engine.version());
        // The second manifest says that it may be sent; then the engine is asked who it is.
        for point in ["take.ask_again", "manifest.sync_directory@2"] {
            exchange_the_engine(&engine, &other, point);
        }
    }

    fn its_answer_is_lost(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::LoseAnswer);
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_eq!((proxy.delivered(DELETE), state(&volgc).as_str()), (vec![204], "in_doubt"));
        assert_kept(&engine, &db, "after the lost answer");
        resolved(&engine, &volgc, &db);
        assert_eq!(proxy.seen(DELETE), 1, "the engine does not know the volume: nothing to ask for");
    }

    fn it_never_arrives(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::Close);
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_eq!(state(&volgc), "in_doubt");
        assert_kept(&engine, &db, "after the broken connection");
        resolved(&engine, &volgc, &db);
        assert_eq!(proxy.seen(DELETE), 2, "a second DELETE that is answered resolves it");
    }

    fn a_gateway_answers_in_its_place(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        let treats = [
            Treat::Answer(503),
            Treat::AnswerInstead(504),
            Treat::AnswerInstead(502),
            Treat::Answer(500),
            Treat::AnswerInstead(500),
        ];
        for (number, treat) in treats.into_iter().enumerate() {
            let name = format!("db{number}");
            let db = Treasure::make(&engine, &name);
            proxy.next(&format!("DELETE /volumes/{name}"), treat);
            ended(&volgc.run(&["quarantine", &name]), 3);
            assert_kept(&engine, &db, &format!("{treat:?}"));
            volgc.ok(&["sweep"]);
            let back = format!("{name}-back");
            volgc.ok(&["restore", &name, "--as", &back]);
            db.assert_back(&engine, &back, &format!("{treat:?}"));
        }
        assert_no_husk(&engine, "at the end");
    }

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

    /// A proxy that timed out says 500 itself; the engine still gets the DELETE.
    fn no_rollback_because_a_proxy_answers_500(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::AnswerAndHold(500));
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_kept(&engine, &db, "answered by the proxy");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_while_a_proxy_may_deliver_it(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
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
        let volgc = Volgc::new(&engine);
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
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        by(&volgc, &engine.socket());
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.run(&["sweep"]);
        assert_kept(&engine, &db, "held, on the engine's own socket");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_because_the_engine_was_restarted_behind_the_proxy(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        engine.restart();
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.run(&["sweep"]);
        assert_kept(&engine, &db, "held, engine restarted");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_when_recovery_itself_fails(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        for fault in ["manifest.write=ENOSPC", "manifest.sync_directory=EIO", "engine.delete=EIO"] {
            let output = volgc.clone().env("VOLGC_FAULT", fault).run(&["sweep"]);
            assert_ne!(output.status, Some(0), "{fault}: {output:?}");
            assert_kept(&engine, &db, fault);
        }
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn no_rollback_after_a_direct_recovery_that_failed(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        by(&volgc, &engine.socket());
        for fault in ["engine.delete=kill", "engine.delete=EIO"] {
            let output = volgc.clone().env("VOLGC_FAULT", fault).run(&["sweep"]);
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
        let volgc = Volgc::new(&engine);
        let db = killed_with_delete_on_its_way(&engine, &proxy, &volgc);
        proxy.next(DELETE, Treat::Answer(409));
        volgc.run(&["sweep"]);
        assert_eq!(proxy.seen(DELETE), 2);
        assert_kept(&engine, &db, "the second DELETE was refused");
        delivered_and_resolved(&engine, &proxy, &volgc, &db);
    }

    fn nothing_is_restored_under_one_that_may_still_come(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::new(&engine);
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

    fn a_direct_one_that_was_never_sent_is_rolled_back_for_a_holder(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let db = Treasure::make(&engine, "db");
        let output = volgc.clone().env("VOLGC_FAULT", "engine.delete=kill").run(&["quarantine", "db"]);
        assert_eq!(output.status, None, "{output:?}");
        assert_kept(&engine, &db, "killed");
        volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
        volgc.ok(&["sweep"]);
        db.assert_back(&engine, "db", "rolled back");
    }

    fn the_engine_is_frozen_with_it(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let db = Treasure::make(&engine, "db");
        for wanted in [true, false] {
            let mut child = volgc.clone().env("VOLGC_FAULT", "engine.delete=delay:700").spawn(&["quarantine", "db"]);
            await_in_doubt(&engine, &db);
            engine.pause();
            thread::sleep(Duration::from_millis(1500));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_kept(&engine, &db, "killed");
            // The next run also finds the engine frozen, and is old enough to trust it when it wakes.
            thread::sleep(SETTLED);
            let next = if wanted {
                engine.resume();
                volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
                volgc.spawn(&["sweep"])
            } else {
                let next = volgc.spawn(&["sweep"]);
                thread::sleep(Duration::from_millis(700));
                engine.resume();
                next
            };
            assert!(next.wait_with_output().unwrap().status.success());
            thread::sleep(Duration::from_millis(500));
            db.assert_whole(&engine, "recovered");
            volgc.run(&["release", "db"]);
            if !matches!(db.assert_whole(&engine, "recovered"), Place::Volume(_)) {
                volgc.ok(&["restore", "db"]);
            }
            db.assert_back(&engine, "db", "restored");
        }
    }

    fn it_waits_behind_the_removal_of_a_big_volume(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let db = Treasure::make(&engine, "db");
        fill_big(&engine);
        let mut child = volgc.clone().env("VOLGC_FAULT", "engine.delete=delay:400").spawn(&["quarantine", "db"]);
        await_in_doubt(&engine, &db);
        thread::scope(|scope| {
            let removal = scope.spawn(|| engine.json("DELETE", "/volumes/big", None));
            thread::sleep(Duration::from_millis(700));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!removal.is_finished(), "the removal was too fast: nothing waited behind it");
            assert_kept(&engine, &db, "killed");
            volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
            volgc.ok(&["sweep"]);
        });
        thread::sleep(Duration::from_secs(1));
        volgc.ok(&["release", "db"]);
        if !matches!(db.assert_whole(&engine, "recovered"), Place::Volume(_)) {
            volgc.ok(&["restore", "db"]);
        }
        db.assert_back(&engine, "db", "restored");
    }

    fn a_restore_whose_answer_is_lost_or_made_up(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        for (number, treat) in [
            Treat::LoseAnswer,
            Treat::Close,
            Treat::Answer(503),
            Treat::AnswerInstead(504),
            Treat::Answer(500),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("db{number}");
            let db = Treasure::make(&engine, &name);
            volgc.ok(&["quarantine", &name]);
            proxy.next(CREATE, treat);
            let output = volgc.run(&["restore", &name]);
            assert!(matches!(output.status, Some(1 | 3 | 4)), "{treat:?}: {output:?}");
            db.assert_whole(&engine, &format!("{treat:?}"));
            assert_no_husk(&engine, &format!("{treat:?}"));
            volgc.ok(&["sweep"]);
            if !matches!(db.assert_whole(&engine, &format!("{treat:?}")), Place::Volume(_)) {
                volgc.ok(&["restore", &name]);
            }
            db.assert_back(&engine, &name, &format!("{treat:?}"));
            assert_no_husk(&engine, &format!("{treat:?}, recovered"));
        }
    }

    /// The engine takes the placed data for a volume when it makes the container; that volgc's own order is refused changes nothing.
    fn a_restore_that_is_refused_leaves_what_a_container_uses_by_then(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&Volgc::new(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        volgc.ok(&["quarantine", "db"]);
        proxy.next(CREATE, Treat::Answer(500));
        let restore = volgc.clone().env("VOLGC_FAULT", "engine.create@1=delay:5000").spawn(&["restore", "db"]);
        harness::wait_until("placed", || engine.volume_data("db").exists());
        engine.docker(&["run", "-d", "--name", "app", "-v", "db:/data", "bb", "sleep", "1000"]);
        let output = restore.wait_with_output().unwrap();
        assert!(!output.status.success(), "{}", harness::show(&output));
        assert_eq!(proxy.seen(CREATE), 1);
        assert!(matches!(db.assert_whole(&engine, "refused"), Place::Volume(_)), "taken from a container");
        volgc.run(&["sweep"]);
        assert!(matches!(db.assert_whole(&engine, "swept"), Place::Volume(_)));
        assert_eq!(volgc.json(&["list", "--format", "json"]).as_array().unwrap().len(), 0);
        engine.docker(&["restart", "-t", "0", "app"]);
    }
}

/// The engine is another one by the time that a step comes to ask it, which has other data under the same names.
#[track_caller]
fn exchange_the_engine(engine: &PrivateEngine, other: &PrivateEngine, point: &str) {
    let address = engine.dir().join("address");
    symlink(engine.socket(), &address).unwrap();
    let volgc = by(&Volgc::new(engine), &address);
    let name = format!("db-{}", point.replace(['.', '_', '@'], "-"));
    let (ours, theirs) = (Treasure::make(engine, &name), Treasure::make(other, &name));
    let child = volgc.clone().env("VOLGC_FAULT", format!("{point}=delay:3000")).spawn(&["quarantine", &name]);
    if point.starts_with("manifest") {
        await_in_doubt(engine, &ours);
    } else {
        harness::wait_until("moved", || !engine.volume_data(&name).exists());
    }
    std::fs::remove_file(&address).unwrap();
    symlink(other.socket(), &address).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(harness::show(&output).contains("by now, and it was"), "{point}: {}", harness::show(&output));
    assert_eq!(other.volume_names().iter().filter(|there| **there == name).count(), 1, "{point}: removed");
    theirs.assert_back(other, &name, point);
    ours.assert_back(engine, &name, point);
    std::fs::remove_file(&address).unwrap();
}

/// Waits until the manifest says that the DELETE may be sent.
fn await_in_doubt(engine: &PrivateEngine, db: &Treasure) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let places = db.places(engine);
        if let [Place::Entry(_, manifest)] = places.as_slice()
            && manifest["state"] == "in_doubt"
        {
            return;
        }
        assert!(Instant::now() < deadline, "never in doubt: {places:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A volume whose removal takes the engine seconds, in which it removes no other.
fn fill_big(engine: &PrivateEngine) {
    engine.create_volume("big", &[]);
    for directory in 0..200 {
        let directory = engine.volume_data("big").join(directory.to_string());
        std::fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            std::fs::File::create(directory.join(file.to_string())).unwrap();
        }
    }
}
