//! Directories and records that do not match. Nothing of it is moved; the report has each, in its table and its notes, with one
//! sentence on what it means, and the engine shows that it means that.

use std::fs;
use std::path::Path;

use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine, show, tree_listing};

/// The note with all of these words, which stands in the table as well.
#[track_caller]
fn assert_note(volgc: &Volgc, words: &[&str]) {
    let report = volgc.report();
    let notes: Vec<&str> =
        report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    let found: Vec<&&str> =
        notes.iter().filter(|note| words.iter().all(|word| note.contains(word))).collect();
    assert_eq!(found.len(), 1, "{words:?} in {notes:#?}");
    let table = volgc.ok(&["report", "--no-sizes"]);
    assert!(table.contains(&format!("\nNote: {}\n", found[0])), "{table}");
}

/// Sweeps without any grace leave the volumes directory as it is.
#[track_caller]
fn assert_left_alone(engine: &PrivateEngine, volgc: &Volgc) {
    let listing = |path: &Path| {
        tree_listing(path).into_iter().filter(|line| !line.contains("metadata.db")).collect::<Vec<_>>()
    };
    let before = (engine.volume_names(), listing(&engine.volumes_dir()));
    for _ in 0..3 {
        volgc.ok(&["sweep"]);
    }
    assert_eq!((engine.volume_names(), listing(&engine.volumes_dir())), before);
    assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
}

/// The engine cannot start a container with the volume.
#[track_caller]
fn assert_does_not_start(engine: &PrivateEngine, volume: &str) {
    let output = engine.try_docker(&["run", "--rm", "-v", &format!("{volume}:/data"), "bb", "true"]);
    assert!(!output.status.success(), "{}", show(&output));
}

fn create_with_options(engine: &PrivateEngine, name: &str, options: &[&str]) {
    let options: Vec<&str> = options.iter().flat_map(|option| ["--opt", option]).collect();
    engine.docker(&[&["volume", "create"][..], &options, &[name]].concat());
}

on_each_engine! {
    fn a_directory_that_the_engine_does_not_list(engine: PrivateEngine) {
        let data = engine.volume_data("behind-its-back");
        fs::create_dir_all(&data).unwrap();
        harness::fill(&data, 1);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert_note(&volgc, &["volumes/behind-its-back", "not listed by the engine", "behind its back"]);
        let story = volgc.ok(&["explain", "behind-its-back"]);
        assert!(story.contains("behind-its-back (unlisted"), "{story}");
        assert!(story.contains("the engine does not list this directory: it was made behind its back"), "{story}");
        let output = engine.try_docker(&["volume", "inspect", "behind-its-back"]);
        assert!(show(&output).contains("o such volume"), "{}", show(&output));
        assert_left_alone(&engine, &volgc);
    }

    fn a_record_without_a_directory_or_without_data(engine: PrivateEngine) {
        for name in ["vanished", "hollow"] {
            engine.create_volume(name, &[]);
        }
        fs::remove_dir_all(engine.volumes_dir().join("vanished")).unwrap();
        fs::remove_dir(engine.volume_data("hollow")).unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let meaning = "its data was taken away behind the engine's back, and no container can start with it";
        assert_note(&volgc, &["volume vanished ", "volumes/vanished does not exist", meaning, "docker volume rm vanished"]);
        assert_note(&volgc, &["volume hollow ", "volumes/hollow/_data does not exist", meaning, "docker volume rm hollow"]);
        assert_eq!(volgc.reason_of("vanished"), "no_directory");
        assert_eq!(volgc.reason_of("hollow"), "no_data");
        assert_does_not_start(&engine, "vanished");
        assert_does_not_start(&engine, "hollow");
        assert_left_alone(&engine, &volgc);
        // The way out that the note names.
        engine.docker(&["volume", "rm", "vanished", "hollow"]);
        assert_eq!(volgc.report()["notes"], serde_json::json!([]));
    }

    fn a_volume_whose_device_is_gone(engine: PrivateEngine) {
        let disk = engine.dir().join("disk");
        fs::create_dir(&disk).unwrap();
        let bind = ["type=none", "o=bind", &format!("device={}", disk.display())];
        create_with_options(&engine, "bound", &bind);
        create_with_options(&engine, "bound-too", &bind);
        create_with_options(&engine, "disk", &["type=ext4", "device=/dev/no-such-disk"]);
        create_with_options(&engine, "share", &["type=cifs", "o=addr=127.0.0.1", "device=//127.0.0.1/share"]);
        create_with_options(&engine, "export", &["type=nfs", "o=addr=127.0.0.1", "device=:/export"]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert_note(&volgc, &["volume disk ", "/dev/no-such-disk, which does not exist", "no container can start with it"]);
        assert_eq!(volgc.report()["notes"].as_array().unwrap().len(), 1, "the other devices are there, or on another host");
        fs::remove_dir(&disk).unwrap();
        for volume in ["bound", "bound-too"] {
            let name = format!("volume {volume} name {}", disk.display());
            assert_note(&volgc, &[&name, "which does not exist: no container can start with it"]);
            assert_does_not_start(&engine, volume);
        }
        assert_does_not_start(&engine, "disk");
        assert_left_alone(&engine, &volgc);
    }

    fn a_container_that_names_a_missing_volume(engine: PrivateEngine) {
        for name in ["missing", "set-aside"] {
            engine.create_volume(name, &[]);
        }
        // The engine lets a volume be removed that a container has from another one, as long as it was not started.
        engine.docker(&["create", "--name", "donor", "-v", "missing:/data", "bb", "true"]);
        engine.docker(&["create", "--name", "heir", "--volumes-from", "donor", "bb", "cat", "/data/PG_VERSION"]);
        engine.docker(&["create", "--name", "heir-too", "--volumes-from", "donor", "bb", "true"]);
        engine.docker(&["rm", "donor"]);
        engine.docker(&["volume", "rm", "missing"]);
        let bind = format!("{}:/data", engine.volume_data("nowhere").display());
        engine.docker(&["create", "--name", "binder", "-v", &bind, "bb", "touch", "/data/file"]);

        let volgc = Volgc::configured(&engine, &NO_GRACE.replace("delete_after = \"0s\"", "delete_after = \"1h\""));
        assert_note(&volgc, &["volume missing does not exist, but container heir, container heir-too name it", "does not start"]);
        assert_note(&volgc, &["lists no volume nowhere, but container binder uses a path in its directory", "is in no volume"]);
        let story = volgc.ok(&["explain", "missing"]);
        assert!(story.contains("missing does not exist") && story.contains("held by container heir"), "{story}");
        let output = engine.try_docker(&["start", "--attach", "heir"]);
        assert!(!output.status.success(), "{}", show(&output));
        engine.docker(&["start", "--attach", "binder"]);
        assert!(engine.volume_data("nowhere").join("file").exists());
        assert!(!engine.volume_names().contains(&"nowhere".to_owned()));
        assert_note(&volgc, &["the directory volumes/nowhere is not listed by the engine", "container binder uses a path in it"]);

        // What volgc itself set aside and a container names since: the note tells the way back.
        volgc.ok(&["quarantine", "set-aside"]);
        engine.docker(&["create", "--name", "late", "-v", "set-aside:/data", "bb", "true"]);
        engine.docker(&["create", "--name", "late-heir", "--volumes-from", "late", "bb", "true"]);
        engine.docker(&["rm", "late"]);
        engine.docker(&["volume", "rm", "set-aside"]);
        let entry = volgc.entry_id_of("set-aside");
        assert_note(&volgc, &["volume set-aside does not exist, but container late-heir names it", &format!("`volgc restore {entry}`")]);
    }
}
