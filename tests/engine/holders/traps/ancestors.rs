//! Backup agents and monitors bind `/`, the docker root or all volumes. That is no use of any one volume: who takes it for one
//! never collects anything on such a host.

use harness::{NO_GRACE, Volgc, on_each_engine, text};

/// What `report` says of a quarantine entry of this volume, or that there is none.
fn reason_in_quarantine(volgc: &Volgc, volume: &str) -> Option<String> {
    let entries = volgc.entries();
    entries.iter().find(|entry| entry["name"] == volume).map(|entry| text(&entry["reason"]))
}

on_each_engine! {
    fn binds_of_ancestors_are_noted_and_do_not_stop_collection(engine: PrivateEngine) {
        let root = engine.root();
        let above = [
            ("monitor", "/".to_owned()),
            ("agent", root.display().to_string()),
            ("backup", engine.volumes_dir().display().to_string()),
        ];
        for (name, source) in &above {
            engine.docker(&["run", "-d", "--name", name, "-v", &format!("{source}:/host"), "bb", "sleep", "1000"]);
            let stopped = format!("stopped-{name}");
            engine.docker(&["create", "--name", &stopped, "-v", &format!("{source}:/host:ro"), "bb", "true"]);
        }
        for volume in ["orphan", "held"] {
            engine.create_volume(volume, &[]);
            engine.fill_volume(volume, 7);
        }
        engine.docker(&["create", "--name", "app", "-v", "held:/data", "bb", "cat", "/data/PG_VERSION"]);
        let data = engine.volume_data("orphan");

        let volgc = Volgc::configured(&engine, NO_GRACE);
        let report = volgc.report();
        let notes: Vec<String> = report["notes"].as_array().unwrap().iter().map(text).collect();
        for (name, source) in &above {
            for name in [(*name).to_owned(), format!("stopped-{name}")] {
                let is_it = |note: &&String| note.contains(&name) && note.contains(&format!(" binds {source}, "));
                let note = notes.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {notes:#?}"));
                assert!(note.contains("above every volume"), "{note}");
            }
        }
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.reason_of("orphan"), "grace_over");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["held"]);
        assert!(!data.exists());
        assert_eq!(reason_in_quarantine(&volgc, "orphan").as_deref(), Some("grace_over"));
        let entry = engine.quarantined_data(&volgc.entry_id_of("orphan"));
        assert!(entry.join("PG_VERSION").exists());
        volgc.ok(&["sweep"]);
        assert_eq!(reason_in_quarantine(&volgc, "orphan"), None);
        assert!(!entry.exists(), "deleted for good");
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.reason_of("held"), "held");
        assert_eq!(engine.docker(&["start", "--attach", "app"]), "15");
    }
}
