//! It was sent to the engine directly, which has it in hand when its sender dies.

use std::fs;
use std::thread;
use std::time::Duration;

use harness::treasure::{Place, Treasure};
use harness::{PrivateEngine, Resting, Volgc, on_each_engine, wait_until};

use super::assert_kept;

on_each_engine! {
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
            let resting = Resting::start(&volgc, "engine.delete", "", &["quarantine", "db"]);
            engine.pause();
            let mut child = resting.go_on();
            // Time to send the DELETE.
            thread::sleep(Duration::from_millis(500));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_kept(&engine, &db, "killed");
            let next = if wanted {
                engine.resume();
                volgc.ok(&["hold", "db", "--reason", "wanted after all"]);
                volgc.spawn(&["sweep"])
            } else {
                // The next run finds the engine frozen, too.
                let next = volgc.spawn(&["sweep"]);
                thread::sleep(Duration::from_millis(500));
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
        let resting = Resting::start(&volgc, "engine.delete", "", &["quarantine", "db"]);
        thread::scope(|scope| {
            let removal = scope.spawn(|| engine.json("DELETE", "/volumes/big", None));
            wait_until("the removal begins", || {
                fs::read_dir(engine.volume_data("big")).map_or(0, Iterator::count) < BIG
            });
            // The removal is held up until the DELETE is on its way, so that it has enough left to do.
            engine.pause();
            let mut child = resting.go_on();
            thread::sleep(Duration::from_millis(300));
            engine.resume();
            thread::sleep(Duration::from_millis(50));
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
}

/// How many directories it has, of a thousand files each.
const BIG: usize = 80;

/// A volume whose removal takes the engine some time, in which it removes no other.
fn fill_big(engine: &PrivateEngine) {
    engine.create_volume("big", &[]);
    for directory in 0..BIG {
        let directory = engine.volume_data("big").join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            fs::File::create(directory.join(file.to_string())).unwrap();
        }
    }
}
