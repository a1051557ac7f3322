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

    /// What a backup read in the quarantine stays, and its administrator is told how to have it otherwise; nothing else stops.
    fn an_agent_that_reads_everything_stops_nothing_and_is_told_how(engine: PrivateEngine) {
        let root = engine.root().display().to_string();
        // Through a mount that is read-only it would leave no trace.
        let source = format!("{root}:/host");
        engine.docker(&["run", "-d", "--name", "agent", "-v", &source, "bb", "sleep", "1000"]);
        let read = || engine.docker(&["exec", "agent", "tar", "-cf", "/dev/null", "/host/volumes", "/host/volgc"]);
        for volume in ["one", "two"] {
            engine.create_volume(volume, &[]);
            engine.fill_volume(volume, 7);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        volgc.ok(&["quarantine", "two"]);
        read();
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "a backup of a volume does not start its clock anew");
        volgc.ok(&["sweep"]);
        let entries = volgc.entries();
        let kept = entries.iter().find(|entry| entry["name"] == "two").expect("what was read in quarantine");
        assert_eq!(kept["reason"], "touched");
        assert!(text(&kept["detail"]).contains("a backup"), "{kept}");
        assert_eq!(reason_in_quarantine(&volgc, "one"), None, "what nothing read is deleted");
        let notes = volgc.ok(&["check"]);
        assert!(notes.contains("leave the quarantine out of it"), "{notes}");
        volgc.config(&NO_GRACE.replace("[limits]", "[limits]\nreads_hold = false"));
        volgc.ok(&["sweep"]);
        assert_eq!(reason_in_quarantine(&volgc, "two"), None);
    }
}
