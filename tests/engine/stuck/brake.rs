//! The sudden-orphan brake holds no volume whose last holder was seen to end, and whatever it holds is said loudly.

use std::fs;

use harness::{PrivateEngine, Volgc, on_each_engine, text};

use super::config;

/// More than the ten (`sudden_orphans`) that a brake lets pass.
const MANY: usize = 12;

/// Containers of one round, each with an anonymous volume.
fn run(engine: &PrivateEngine, round: usize) -> Vec<String> {
    (0..MANY)
        .map(|number| {
            let name = format!("job-{round}-{number}");
            engine.docker(&["create", "--name", &name, "-v", "/data", "bb", "true"]);
            name
        })
        .collect()
}

/// As `docker rm` does: the containers go, and their volumes stay.
fn remove(engine: &PrivateEngine, containers: &[String]) {
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(containers.iter().map(String::as_str)).collect();
    engine.docker(&words);
}

on_each_engine! {
    fn short_lived_containers_leave_volumes_that_are_collected(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        for round in 0..4 {
            let jobs = run(&engine, round);
            volgc.ok(&["sweep"]);
            remove(&engine, &jobs);
        }
        // Even with none left, as in the night.
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }

    /// An engine that was started anew remembers no event; but the directories of what was removed are gone.
    fn an_engine_that_forgot_its_events_is_believed_as_far_as_directories_go(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        let jobs = run(&engine, 0);
        volgc.ok(&["sweep"]);
        let volumes = engine.volume_names();
        remove(&engine, &jobs);
        run(&engine, 1);
        engine.restart();
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        let left = engine.volume_names();
        assert!(volumes.iter().all(|volume| !left.contains(volume)), "{left:?}");
        assert_eq!(left.len(), MANY);
    }

    fn what_nobody_saw_is_held_and_said_loudly(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        engine.docker(&["create", "--name", "other", "bb", "true"]);
        let jobs = run(&engine, 0);
        volgc.ok(&["sweep"]);
        let volumes = engine.volume_names();
        remove(&engine, &jobs);
        engine.restart();
        for _ in 0..3 {
            let told = volgc.refused(&["sweep"]);
            assert!(told.contains("held back (sudden_orphans)") && told.contains("12 volumes"), "{told}");
            assert!(told.contains("volgc acknowledge") && !told.contains("nothing was due"), "{told}");
        }
        let report = volgc.report();
        assert_eq!(report["held_back"][0]["reason"], "sudden_orphans", "{report:#}");
        assert_eq!(report["held_back"][0]["volumes"], MANY, "{report:#}");
        assert_eq!(volgc.run(&["report", "--no-sizes", "--detailed-exit-code"]).status, Some(4));
        assert!(volgc.ok(&["report", "--no-sizes"]).contains("Held back (sudden_orphans)"));
        assert!(volgc.ok(&["check"]).contains("sudden_orphans: 12 volumes"));
        // It holds these and no others (I14).
        engine.create_volume("free", &[]);
        for _ in 0..3 {
            volgc.refused(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), volumes);
        assert!(volumes.iter().all(|volume| text(&volgc.told_of(volume)["reason"]) == "sudden_orphan"));
        volgc.ok(&["acknowledge"]);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    /// Somebody emptied `containers`, and the engine started anew with nothing. The directory itself is the same.
    fn what_few_containers_held_whose_records_are_gone_is_held_until_somebody_acknowledges_it(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        for name in ["db", "web", "log"] {
            engine.docker(&["create", "--name", name, "-v", &format!("{name}:/data"), "bb", "true"]);
        }
        engine.create_volume("free", &[]);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), ["db", "log", "web"]);
        engine.stop();
        for entry in fs::read_dir(engine.root().join("containers")).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        engine.restart();
        engine.create_volume("other", &[]);
        for _ in 0..3 {
            let told = volgc.refused(&["sweep"]);
            assert!(told.contains("held back (sudden_orphans)") && told.contains("3 volumes"), "{told}");
        }
        assert_eq!(engine.volume_names(), ["db", "log", "web"], "it holds these and no others (I14)");
        // A holder that comes back ends it for its volume.
        engine.docker(&["create", "--name", "db", "-v", "db:/data", "bb", "true"]);
        assert!(volgc.refused(&["sweep"]).contains("2 volumes"));
        volgc.ok(&["acknowledge"]);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), ["db"]);
    }

    /// One that was moved away, and an engine that was started by somebody before anybody looked.
    fn what_one_container_held_whose_record_was_moved_away_is_held_until_it_is_back(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        let id = engine.docker(&["create", "--name", "db", "-v", "db:/data", "bb", "true"]);
        volgc.ok(&["sweep"]);
        let (record, aside) = (engine.root().join("containers").join(id.trim()), engine.dir().join("aside"));
        engine.stop();
        fs::rename(&record, &aside).unwrap();
        engine.restart();
        for _ in 0..3 {
            assert!(volgc.refused(&["sweep"]).contains("1 volume "));
        }
        engine.stop();
        fs::rename(&aside, &record).unwrap();
        engine.restart();
        volgc.ok(&["sweep"]);
        assert_eq!(text(&volgc.told_of("db")["reason"]), "held");
    }

    /// On purpose, on a host with few: the engine that runs on tells of it.
    fn what_few_containers_held_that_were_all_removed_is_collected(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        for name in ["db", "web", "log"] {
            engine.docker(&["create", "--name", name, "-v", &format!("{name}:/data"), "bb", "true"]);
        }
        volgc.ok(&["sweep"]);
        remove(&engine, &["db", "web", "log"].map(str::to_owned));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }
}
