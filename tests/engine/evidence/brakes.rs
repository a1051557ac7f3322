//! The brakes, as an administrator meets them: the whole picture looks wrong, and nothing is moved until it is right again or
//! somebody says that it is right.

use std::fs;
use std::path::Path;

use harness::fake::Fake;
use harness::{
    Contents, KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, on_each_engine, text, tree_listing,
};
use serde_json::{Value, json};

/// How many containers lose their volumes: more than the ten (`sudden_orphans`) that a brake lets pass.
const MANY: usize = 12;

fn name(number: usize) -> String {
    format!("v{number:02}")
}

fn names() -> Vec<String> {
    (0..MANY).map(name).collect()
}

fn create_containers(engine: &PrivateEngine) {
    for volume in names() {
        let mount = format!("{volume}:/data");
        engine.docker(&[
            "create",
            "--name",
            &format!("app-{volume}"),
            "-v",
            &mount,
            "bb",
            "cat",
            "/data/PG_VERSION",
        ]);
    }
}

/// Removes them so that nobody can know: the engine has forgotten its events, and nothing of them is left on the disk.
fn lose_containers(engine: &PrivateEngine) {
    let containers: Vec<String> = names().iter().map(|volume| format!("app-{volume}")).collect();
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(containers.iter().map(String::as_str)).collect();
    engine.docker(&words);
    engine.restart();
}

/// Volumes with content, each with a container, and one sweep that has seen them so.
fn seen_held<'a>(engine: &'a PrivateEngine, volgc: &Volgc) -> Contents<'a> {
    let mut contents = Contents::new(engine);
    for volume in names() {
        contents.volume(&volume);
    }
    create_containers(engine);
    volgc.ok(&["sweep"]);
    contents
}

/// The reasons that the report gives for the volumes, each once.
#[track_caller]
fn reasons(volgc: &Volgc) -> Vec<String> {
    let report = volgc.report();
    let lines = report["volumes"].as_array().unwrap();
    let mut reasons: Vec<String> = lines
        .iter()
        .filter(|line| names().contains(&text(&line["name"])))
        .map(|line| text(&line["reason"]))
        .collect();
    assert_eq!(reasons.len(), MANY, "{report:#}");
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Nothing holds them, and nothing brakes any more: they go for good.
#[track_caller]
fn assert_collected(engine: &PrivateEngine, volgc: &Volgc) {
    for _ in 0..4 {
        volgc.ok(&["sweep"]);
    }
    assert_eq!(engine.volume_names(), Vec::<String>::new());
    assert_eq!(volgc.entries(), Vec::<Value>::new());
}

on_each_engine! {
    fn an_empty_container_list_is_not_believed_until_acknowledged(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let contents = seen_held(&engine, &volgc);
        lose_containers(&engine);
        for _ in 0..4 {
            let output = volgc.run(&["sweep"]);
            assert_eq!(output.status, Some(4), "{output:?}");
            for part in ["no container at all", "there were 12 at the last sweep", "volgc acknowledge"] {
                assert!(output.stderr.contains(part) || output.stdout.contains(part), "no {part}: {output:?}");
            }
        }
        let refusals = &volgc.report()["refusals"];
        assert_eq!(refusals[0]["reason"], "empty_container_list", "{refusals:#}");
        let output = volgc.run(&["quarantine", &name(0)]);
        assert_eq!(output.status, Some(4), "{output:?}");
        contents.assert_untouched();
        assert_eq!(volgc.entries(), Vec::<Value>::new());

        // Whoever says that they were removed on purpose is not asked a second time.
        volgc.ok(&["acknowledge"]);
        assert_collected(&engine, &volgc);
    }

    fn many_volumes_that_lose_their_holders_at_once_are_held_until_acknowledged(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        engine.docker(&["create", "--name", "other", "bb", "true"]);
        let contents = seen_held(&engine, &volgc);
        lose_containers(&engine);
        for _ in 0..4 {
            volgc.refused(&["sweep"]);
            assert_eq!(reasons(&volgc), ["sudden_orphan"]);
        }
        let story = volgc.ok(&["explain", &name(0)]);
        assert!(story.contains("together with many others") && story.contains("volgc acknowledge"), "{story}");
        contents.assert_untouched();
        assert_eq!(volgc.entries(), Vec::<Value>::new());

        let told = volgc.ok(&["acknowledge"]);
        assert!(told.contains("12 volumes released from the sudden-orphan brake"), "{told}");
        assert_collected(&engine, &volgc);
    }

    fn holders_that_come_back_release_the_brake(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        engine.docker(&["create", "--name", "other", "bb", "true"]);
        let contents = seen_held(&engine, &volgc);
        lose_containers(&engine);
        volgc.refused(&["sweep"]);
        assert_eq!(reasons(&volgc), ["sudden_orphan"]);
        create_containers(&engine);
        volgc.ok(&["sweep"]);
        assert_eq!(reasons(&volgc), ["held"]);
        contents.assert_untouched();
        assert_eq!(engine.docker(&["start", "-a", &format!("app-{}", name(3))]), "15");

        // Few at once, as when one application goes: no brake.
        engine.docker(&["rm", "-f", "app-v00", "app-v01"]);
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
        }
        let left: Vec<String> = names().split_off(2);
        assert_eq!(engine.volume_names(), left);
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }
}

/// Puts an empty directory in the place of the one that has the containers' files, as a disk that is mounted late or a mistake does. What
/// was there is beside it.
fn replace_containers(engine: &PrivateEngine, make: impl FnOnce(&Path)) {
    let containers = engine.root().join("containers");
    engine.stop();
    fs::rename(&containers, containers.with_extension("old")).unwrap();
    make(&containers);
    engine.restart();
}

fn put_containers_back(engine: &PrivateEngine) {
    let containers = engine.root().join("containers");
    engine.stop();
    fs::remove_dir_all(&containers).unwrap();
    fs::rename(containers.with_extension("old"), &containers).unwrap();
    engine.restart();
}

#[track_caller]
fn assert_containers_are_missed(volgc: &Volgc) {
    for _ in 0..4 {
        let told = volgc.refused(&["sweep"]);
        for part in ["root copied", "/containers is another directory", "volgc acknowledge"] {
            assert!(told.contains(part), "no {part}: {told}");
        }
    }
    assert_eq!(volgc.report()["refusals"][0]["reason"], "root_copied");
    assert_eq!(volgc.entries(), Vec::<Value>::new());
}

on_each_engine! {
    /// One container, so the list is not suddenly empty of many.
    fn containers_whose_directory_was_replaced_are_missed_until_acknowledged(version: Version) {
        let engine = PrivateEngine::start(version);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let mut contents = Contents::new(&engine);
        contents.volume("data");
        engine.docker(&["create", "--name", "app", "-v", "data:/data", "bb", "cat", "/data/PG_VERSION"]);
        volgc.ok(&["sweep"]);
        replace_containers(&engine, |path| fs::create_dir(path).unwrap());
        assert_eq!(engine.docker(&["ps", "-aq"]), "");
        assert_containers_are_missed(&volgc);
        contents.assert_untouched();

        put_containers_back(&engine);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.reason_of("data"), "held");
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15");

        // Whoever says that they are gone for good is not asked a second time.
        replace_containers(&engine, |path| fs::create_dir(path).unwrap());
        volgc.refused(&["sweep"]);
        volgc.ok(&["acknowledge"]);
        assert_collected(&engine, &volgc);
    }

    /// The engine makes the directory itself when it starts without one, and follows a link.
    fn a_link_or_nothing_in_place_of_the_containers_is_missed_too(version: Version) {
        let engine = PrivateEngine::start(version);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let mut contents = Contents::new(&engine);
        contents.volume("data");
        engine.docker(&["create", "--name", "app", "-v", "data:/data", "bb", "cat", "/data/PG_VERSION"]);
        volgc.ok(&["sweep"]);
        let elsewhere = engine.dir().join("other-disk");
        fs::create_dir(&elsewhere).unwrap();
        replace_containers(&engine, |path| std::os::unix::fs::symlink(&elsewhere, path).unwrap());
        assert_containers_are_missed(&volgc);
        let containers = engine.root().join("containers");
        fs::remove_file(&containers).unwrap();
        fs::create_dir(&containers).unwrap();
        put_containers_back(&engine);
        volgc.ok(&["sweep"]);
        replace_containers(&engine, |_| {});
        assert_containers_are_missed(&volgc);
        contents.assert_untouched();
        put_containers_back(&engine);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15");
    }

    /// As the README says of it: what was in quarantine is gone, and nothing else happens.
    fn a_quarantine_that_was_deleted_whole_is_no_brake(version: Version) {
        let engine = PrivateEngine::start(version);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        for name in ["gone", "held", "next"] {
            engine.create_volume(name, &[]);
        }
        volgc.ok(&["hold", "held", "--reason", "audit"]);
        volgc.ok(&["quarantine", "gone"]);
        volgc.ok(&["sweep"]);
        fs::remove_dir_all(engine.root().join("volgc")).unwrap();
        volgc.ok(&["quarantine", "next"]);
        assert_eq!(volgc.quarantined_names(), ["next"]);
        fs::remove_dir_all(engine.root().join("volgc")).unwrap();
        engine.create_volume("later", &[]);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.quarantined_names(), ["later"]);
        assert_eq!((engine.volume_names(), volgc.reason_of("held").as_str()), (vec!["held".to_owned()], "held"));
    }

    fn an_engine_that_was_stopped_and_started_again_misses_nothing(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        engine.create_volume("free", &[]);
        engine.docker(&["create", "--name", "app", "bb", "true"]);
        volgc.ok(&["sweep"]);
        engine.restart();
        for _ in 0..2 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }
}

/// The bug is in no engine that can be had as a package any more.
#[test]
fn an_engine_that_loses_references_under_live_restore_is_refused() {
    let fake = Fake::start();
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(NO_GRACE);
    let before = tree_listing(&fake.root());
    let set = |version: &str, live_restore: Value| {
        fake.set(|world| {
            world.info["ServerVersion"] = json!(version);
            world.info["LiveRestoreEnabled"] = live_restore;
        });
    };
    for (version, live_restore) in
        [("20.10.18", json!(true)), ("20.10.5+dfsg1", json!(true)), ("20.10.5", Value::Null)]
    {
        set(version, live_restore);
        for words in [&["sweep"][..], &["sweep"], &["sweep"], &["quarantine", "orphan"]] {
            let output = volgc.run(words);
            assert_eq!(output.status, Some(4), "{version}: {output:?}");
            let told = format!("{}{}", output.stdout, output.stderr);
            assert!(
                told.contains(version) && told.contains("switch live-restore off"),
                "{version}: {output:?}"
            );
        }
        assert_eq!(volgc.report()["refusals"][0]["reason"], "live_restore");
    }
    assert!(fake.take().iter().all(|line| line.starts_with("GET ")), "the engine was told to do something");
    assert_eq!(tree_listing(&fake.root()), before);

    set("20.10.24", json!(true));
    for _ in 0..2 {
        volgc.ok(&["sweep"]);
    }
    assert!(
        fake.take().iter().any(|line| line.starts_with("DELETE ")),
        "nothing was moved without the bug either"
    );
}
