//! Directories among the volumes that the engine does not list: shown, kept unless a rule names their class, and then moved like
//! any volume, without a word to the engine but the question whether it knows the name.

use std::fs;
use std::process::{Child, Output};

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine, wait_until};

const TAKE: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[[rule]]
name = "strays"
match = { class = "unlisted" }
quarantine_after = "0s"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
"#;

/// A volume that stays: it proves that the root is the engine's.
fn anchor(engine: &PrivateEngine) {
    engine.create_volume("anchor", &[("volgc.keep", "true")]);
}

/// Starts an order that waits at a fault point for so long, and returns when it is there.
fn stopped_at(
    engine: &PrivateEngine,
    volgc: &Volgc,
    point: &str,
    milliseconds: u32,
    order: &[&str],
) -> Child {
    let trace = engine.dir().join("trace");
    fs::remove_file(&trace).ok();
    let child = volgc
        .clone()
        .env("VOLGC_FAULT", format!("{point}=delay:{milliseconds}"))
        .env("VOLGC_FAULT_TRACE", &trace)
        .spawn(order);
    wait_until(point, || fs::read_to_string(&trace).unwrap_or_default().lines().any(|line| line == point));
    child
}

#[track_caller]
fn ended(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code().is_some(), "{output:?}");
    output
}

on_each_engine! {
    fn it_is_shown_and_kept_whatever_the_rules_say_of_its_name(engine: PrivateEngine) {
        anchor(&engine);
        let stray = Treasure::stray(&engine, "stray");
        fs::create_dir(engine.volumes_dir().join(".hidden")).unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(stray.assert_whole(&engine, "after sweeps"), Place::Volume("stray".to_owned()));
        let told = volgc.told_of("stray");
        assert_eq!((&told["class"], &told["action"], &told["reason"]), (&"unlisted".into(), &"keep".into(), &"not_listed".into()));
        assert_eq!(volgc.told_of(".hidden")["class"], "unlisted");
        assert!(volgc.ok(&["report"]).contains("unlisted"));
        let story = volgc.ok(&["explain", "stray"]);
        assert!(story.contains("stray (unlisted") && story.contains("Docker does not list it"), "{story}");
        // Not even by hand.
        volgc.refused(&["quarantine", "stray"]);
        assert_eq!(stray.assert_whole(&engine, "after an order"), Place::Volume("stray".to_owned()));
    }

    fn its_life_ends_with_a_listed_volume_or_with_nothing(engine: PrivateEngine) {
        anchor(&engine);
        let (back, gone) = (Treasure::stray(&engine, "back"), Treasure::stray(&engine, "gone"));
        // A name that the API would not take again.
        let hidden = Treasure::stray(&engine, ".hidden");
        let volgc = Volgc::configured(&engine, TAKE);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new(), "at first sight");
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["back", "gone"]);
        assert_eq!(volgc.reason_of(".hidden"), "name_not_accepted");
        hidden.assert_whole(&engine, "it cannot be moved");
        assert!(matches!(back.assert_whole(&engine, "in quarantine"), Place::Entry(..)));
        assert!(!engine.volumes_dir().join("back").exists(), "an engine before 29.4 would take it for a volume");
        engine.restart();
        assert_eq!(engine.volume_names(), [".hidden", "anchor"], "what lay there is adopted, what was moved is not");
        assert_eq!(volgc.entry_of("back")["state"], "quarantined");
        volgc.ok(&["restore", "back"]);
        assert!(engine.volume_names().contains(&"back".to_owned()), "a restore makes a volume of it");
        back.assert_content(&engine, "back", "restored");
        volgc.ok(&["delete", "--yes", &volgc.entry_id_of("gone")]);
        assert_eq!(gone.places(&engine), []);
        let history = volgc.ok(&["history"]);
        assert!(history.contains("quarantined") && history.contains("restored") && history.contains("deleted"), "{history}");
    }

    fn what_binds_its_path_holds_it(engine: PrivateEngine) {
        anchor(&engine);
        let stray = Treasure::stray(&engine, "stray");
        let bind = format!("{}:/data", engine.volume_data("stray").display());
        engine.docker(&["create", "--name", "app", "--network", "none", "-v", &bind, "bb"]);
        let volgc = Volgc::configured(&engine, TAKE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(stray.assert_whole(&engine, "held"), Place::Volume("stray".to_owned()));
        assert_eq!(volgc.reason_of("stray"), "held");
        engine.docker(&["rm", "app"]);
        volgc.ok(&["hold", "stray", "--reason", "a test"]);
        volgc.sweep_twice();
        assert_eq!(stray.assert_whole(&engine, "held by hand"), Place::Volume("stray".to_owned()));
        volgc.ok(&["release", "stray"]);
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["stray"]);
    }

    /// Nothing is listed and nothing runs: then what the engine has open proves the root.
    fn an_engine_that_shows_nothing_has_its_list_open(engine: PrivateEngine) {
        let stray = Treasure::stray(&engine, "stray");
        let volgc = Volgc::configured(&engine, TAKE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.quarantined_names(), ["stray"]);
        stray.assert_whole(&engine, "proven");
    }

    /// The engine adopts the directory, or makes another, at every instant of the move.
    fn a_volume_of_its_name_is_made_meanwhile(engine: PrivateEngine) {
        anchor(&engine);
        let volgc = Volgc::configured(&engine, TAKE);
        // Whether the data is in the volume or in the quarantine afterwards.
        let points = [
            ("entry.make_directory", true),
            ("exchange.swap", true),
            ("exchange.look_again", true),
            ("recovery.remove_empty_volume", false),
        ];
        for (number, (point, is_put_back)) in points.into_iter().enumerate() {
            let name = format!("stray-{number}");
            let stray = Treasure::stray(&engine, &name);
            let child = stopped_at(&engine, &volgc, point, 4_000, &["quarantine", &name]);
            engine.create_volume(&name, &[]);
            let output = ended(child);
            assert_no_husk(&engine, point);
            assert!(engine.volume_names().contains(&name), "{point}: {output:?}");
            match stray.assert_whole(&engine, point) {
                Place::Volume(_) => assert!(is_put_back, "{point}: {output:?}"),
                Place::Entry(entry, manifest) => {
                    assert!(!is_put_back, "{point}: {output:?}");
                    assert_eq!(manifest["state"], "quarantined", "{point}: {output:?}");
                    assert!(fs::read_dir(engine.volume_data(&name)).unwrap().next().is_none(), "{point}: never merged");
                    let other = format!("{name}-back");
                    volgc.ok(&["restore", &entry, "--as", &other]);
                    stray.assert_content(&engine, &other, point);
                }
                Place::Deleting(entry) => panic!("{point}: {entry} is being deleted"),
            }
            assert_eq!(volgc.entries().len(), 0, "{point}: {output:?}");
        }
    }

    fn killed_at_any_step_it_is_whole_and_recovered(engine: PrivateEngine) {
        anchor(&engine);
        let volgc = Volgc::configured(&engine, TAKE);
        let points = [
            "entry.make_directory", "manifest.rename@1", "exchange.swap", "exchange.sync", "exchange.look_again", "hide.rename", "engine.ask_name",
            "recovery.remove_empty_volume", "engine.ask_name@2", "manifest.rename@3", "manifest.sync_directory@3",
        ];
        let (mut moved, mut left) = (0, 0);
        for (number, point) in points.into_iter().enumerate() {
            let name = format!("stray-{number}");
            let stray = Treasure::stray(&engine, &name);
            let output = volgc.clone().env("VOLGC_FAULT", format!("{point}=kill")).run(&["quarantine", &name]);
            assert_eq!(output.status, None, "{point}: {output:?}");
            stray.assert_whole(&engine, point);
            if point == "exchange.look_again" || point == "recovery.remove_empty_volume" {
                // It takes the empty directory for a volume.
                engine.restart();
                assert!(engine.volume_names().contains(&name), "{point}");
            }
            volgc.ok(&["sweep", "--plan", &nothing(&engine)]);
            match stray.assert_whole(&engine, point) {
                Place::Volume(_) => left += 1,
                Place::Entry(entry, manifest) => {
                    assert_eq!(manifest["state"], "quarantined", "{point}");
                    assert!(!engine.volumes_dir().join(&name).exists(), "{point}: the directory is left");
                    volgc.ok(&["restore", &entry]);
                    moved += 1;
                }
                Place::Deleting(entry) => panic!("{point}: {entry} is being deleted"),
            }
            stray.assert_content(&engine, &name, point);
        }
        assert_eq!((moved, left), (4, 7));
    }

    /// Started between the question and the removal of the directory, an engine before 29.4 lists a volume without one.
    fn an_engine_that_is_restarted_in_between_gets_the_data_back(engine: PrivateEngine) {
        anchor(&engine);
        let stray = Treasure::stray(&engine, "stray");
        let volgc = Volgc::configured(&engine, TAKE);
        let child = stopped_at(&engine, &volgc, "recovery.remove_empty_volume", 15_000, &["quarantine", "stray"]);
        engine.restart();
        assert_eq!(engine.volume_names(), ["anchor", "stray"]);
        let output = ended(child);
        assert_no_husk(&engine, "restarted in between");
        assert_eq!(stray.assert_whole(&engine, "restarted in between"), Place::Volume("stray".to_owned()), "{output:?}");
        stray.assert_content(&engine, "stray", "restarted in between");
        assert_eq!(volgc.entries().len(), 0, "{output:?}");
    }
}

/// A plan with no step in it: such a sweep only recovers.
fn nothing(engine: &PrivateEngine) -> String {
    let volgc = Volgc::configured(engine, "[docker]\nhost = \"unix://{socket}\"\n");
    let path = engine.dir().join("nothing.json");
    fs::write(&path, volgc.ok(&["report", "--format", "json", "--no-sizes"])).unwrap();
    path.display().to_string()
}
