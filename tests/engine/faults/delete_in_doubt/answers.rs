//! Its answer is lost or made up, and so is that to the order to make a volume again.

use std::fs;
use std::os::unix::fs::symlink;

use harness::proxy::{Proxy, Treat};
use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{PrivateEngine, Resting, Volgc, on_each_engine};

use super::{DELETE, assert_kept, by, ended, impatient, resolved, state};

const CREATE: &str = "POST /volumes/create";

on_each_engine! {
    fn it_is_not_sent_to_an_engine_that_was_not_looked_at(engine: PrivateEngine) {
        let other = harness::pool::take(engine.version());
        // The second manifest says that it may be sent; then the engine is asked who it is.
        for point in ["exchange.look_again", "manifest.sync_directory@2"] {
            exchange_the_engine(&engine, &other, point);
        }
    }

    fn its_answer_is_lost(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::LoseAnswer);
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_eq!((proxy.delivered(DELETE), state(&volgc).as_str()), (vec![204], "forgetting"));
        assert_kept(&engine, &db, "after the lost answer");
        resolved(&engine, &volgc, &db);
        assert_eq!(proxy.seen(DELETE), 1, "the engine does not know the volume: nothing to ask for");
    }

    fn it_never_arrives(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::Close);
        ended(&volgc.run(&["quarantine", "db"]), 3);
        assert_eq!(state(&volgc), "forgetting");
        assert_kept(&engine, &db, "after the broken connection");
        // Meanwhile the name leads to the data.
        assert_eq!(engine.docker(&["run", "--rm", "-v", "db:/d", "bb", "sh", "-c", "ls /d | wc -l"]), entries_of(&engine, "db"));
        volgc.ok(&["sweep"]);
        db.assert_back(&engine, "db", "undone");
        assert_eq!(proxy.seen(DELETE), 1, "nothing was ordered twice");
    }

    fn a_gateway_answers_in_its_place(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        let treats = [
            Treat::Answer(503),
            Treat::AnswerInstead(504),
            Treat::AnswerInstead(502),
        ];
        for (number, treat) in treats.into_iter().enumerate() {
            let name = format!("db{number}");
            let db = Treasure::make(&engine, &name);
            proxy.next(&format!("DELETE /volumes/{name}"), treat);
            ended(&volgc.run(&["quarantine", &name]), 3);
            assert_kept(&engine, &db, &format!("{treat:?}"));
            volgc.ok(&["sweep"]);
            if !matches!(db.assert_whole(&engine, &format!("{treat:?}")), Place::Volume(_)) {
                volgc.ok(&["restore", &name]);
            }
            db.assert_back(&engine, &name, &format!("{treat:?}"));
        }
        assert_no_husk(&engine, "at the end");
    }

    fn a_restore_whose_answer_is_lost_or_made_up(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
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

    fn a_restore_that_is_refused_leaves_what_a_container_uses_by_then(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        // With 500 it may be done, and then it is: the engine lists the volume, which the container has made.
        for (code, status) in [(409, 1), (500, 0)] {
            let name = format!("db{code}");
            let db = Treasure::make(&engine, &name);
            volgc.ok(&["quarantine", &name]);
            let before = proxy.seen(CREATE);
            proxy.next(CREATE, Treat::Answer(code));
            let restore = Resting::start(&volgc, "engine.create", "", &["restore", &name]);
            assert!(engine.volume_data(&name).exists());
            let mount = format!("{name}:/data");
            let app = format!("app-{name}");
            engine.docker(&["run", "-d", "--name", &app, "-v", &mount, "bb", "sleep", "1000"]);
            let output = restore.end();
            assert_eq!(output.status.code(), Some(status), "{}", harness::show(&output));
            assert_eq!(proxy.seen(CREATE), before + 1);
            assert!(matches!(db.assert_whole(&engine, "refused"), Place::Volume(_)), "taken from a container");
            volgc.run(&["sweep"]);
            assert!(matches!(db.assert_whole(&engine, "swept"), Place::Volume(_)));
            assert_eq!(volgc.json(&["list", "--format", "json"]).as_array().unwrap().len(), 0);
            engine.docker(&["restart", "-t", "0", &app]);
        }
    }
}

fn entries_of(engine: &PrivateEngine, name: &str) -> String {
    fs::read_dir(engine.volume_data(name)).unwrap().count().to_string()
}

/// The engine is another one by the time that a step comes to ask it, which has other data under the same names.
#[track_caller]
fn exchange_the_engine(engine: &PrivateEngine, other: &PrivateEngine, point: &str) {
    let address = engine.dir().join("address");
    symlink(engine.socket(), &address).unwrap();
    let volgc = by(&Volgc::new(engine), &address);
    let name = format!("db-{}", point.replace(['.', '_', '@'], "-"));
    let (ours, theirs) = (Treasure::make(engine, &name), Treasure::make(other, &name));
    let resting = Resting::start(&volgc, point, "", &["quarantine", &name]);
    fs::remove_file(&address).unwrap();
    symlink(other.socket(), &address).unwrap();
    let output = resting.end();
    assert!(harness::show(&output).contains("by now, and it was"), "{point}: {}", harness::show(&output));
    assert_eq!(other.volume_names().iter().filter(|there| **there == name).count(), 1, "{point}: removed");
    theirs.assert_back(other, &name, point);
    ours.assert_back(engine, &name, point);
    fs::remove_file(&address).unwrap();
}
