//! A container that begins to use a volume while the volume is being moved finds it whole: at every instant of the move the
//! witnesses or the engine say no, and the move is undone.

use std::fs;

use harness::{Contents, NO_GRACE, PrivateEngine, Resting, Volgc, on_each_engine, show};

/// A volume that is due.
pub(super) fn due(engine: &PrivateEngine) -> (Volgc, Contents<'_>) {
    let mut kept = Contents::new(engine);
    kept.volume("db");
    let volgc = Volgc::configured(engine, NO_GRACE);
    volgc.ok(&["sweep"]);
    (volgc, kept)
}

/// A sweep that rests before a point of its move of the volume.
pub(super) fn sweep_until(volgc: &Volgc, point: &str) -> Resting {
    Resting::start(volgc, point, "", &["sweep"])
}

/// It ended well, and left the volume for the reason.
pub(super) fn assert_left(sweep: Resting, why: &str) {
    let output = sweep.end();
    let text = show(&output);
    assert!(output.status.success() && text.contains("left volume db") && text.contains(why), "{text}");
}

fn create(engine: &PrivateEngine, volume: &str) -> String {
    engine.docker(&["create", "--name", "app", "-v", volume, "bb", "cat", "/data/PG_VERSION"])
}

/// The sweep found a container that was made while it rested; everything is as if it had not been.
fn assert_undone(engine: &PrivateEngine, volgc: &Volgc, kept: &Contents<'_>) {
    kept.assert_untouched();
    assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    assert_eq!(engine.docker(&["start", "-a", "app"]), "15");
    for _ in 0..3 {
        volgc.ok(&["sweep"]);
    }
    kept.assert_untouched();
}

on_each_engine! {
    fn a_container_made_before_the_entry(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "entry.make_directory");
        create(&engine, "db:/data");
        assert_left(sweep, "held by container app");
        assert_undone(&engine, &volgc, &kept);
    }

    fn a_container_made_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        create(&engine, "db:/data");
        assert_left(sweep, "held by container app");
        assert_undone(&engine, &volgc, &kept);
    }

    fn a_container_that_binds_the_path_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        create(&engine, &format!("{}:/data", engine.volume_data("db").display()));
        assert_left(sweep, "held by container app");
        assert_undone(&engine, &volgc, &kept);
    }

    fn a_container_started_before_the_rename(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.swap");
        engine.docker(&["run", "-d", "--name", "app", "-v", "db:/data", "bb", "sleep", "1000"]);
        assert_left(sweep, "held by container app");
        kept.assert_untouched();
        let write = "cat /data/PG_VERSION && echo more > /data/new && cat /data/new";
        assert_eq!(engine.docker(&["exec", "app", "sh", "-c", write]), "15\nmore");
        assert_eq!(fs::read_to_string(engine.volume_data("db").join("new")).unwrap(), "more\n");
        engine.docker(&["restart", "app"]);
        assert_eq!(engine.docker(&["exec", "app", "cat", "/data/new"]), "more");
    }

    fn a_container_made_while_the_link_is_in_place(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.look_again");
        create(&engine, "db:/data");
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15", "the link leads to the data");
        assert_left(sweep, "held by container app");
        assert_undone(&engine, &volgc, &kept);
    }

    fn a_container_made_before_the_engine_is_asked(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "engine.delete");
        create(&engine, "db:/data");
        assert_left(sweep, "the engine refused to forget it");
        assert_undone(&engine, &volgc, &kept);
        assert!(volgc.ok(&["history", "--volume", "db"]).contains("refused to forget it"));
    }

    /// The engine would remove it with the directory that it thinks is the volume's.
    fn a_file_put_beside_the_data_while_it_is_away(engine: PrivateEngine) {
        let (volgc, mut kept) = due(&engine);
        let beside = engine.volumes_dir().join("db/notes");
        let sweep = sweep_until(&volgc, "exchange.look_again");
        fs::write(&beside, "of an administrator").unwrap();
        assert_left(sweep, "something else lies beside `_data`");
        kept.note(&beside);
        kept.assert_untouched();
        // The same for an order that may have been sent.
        let aside = engine.root().join("notes");
        fs::rename(&beside, &aside).unwrap();
        let output = volgc.clone().env("VOLGC_FAULT", "engine.delete=kill").run(&["sweep"]);
        assert_eq!(output.status, None, "{output:?}");
        assert!(!engine.volume_data("db").exists());
        fs::rename(&aside, &beside).unwrap();
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        kept.assert_untouched();
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }

    /// The engine counts no binds, so it does not refuse: but the data is in quarantine, and what names it keeps it there.
    fn a_container_that_binds_the_path_before_the_engine_is_asked(engine: PrivateEngine) {
        let (volgc, _) = due(&engine);
        let data = engine.volume_data("db");
        let before = harness::tree_listing(&data);
        let sweep = sweep_until(&volgc, "engine.delete");
        create(&engine, &format!("{}:/data", data.display()));
        let output = sweep.end();
        assert!(output.status.success(), "{}", show(&output));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        if !data.exists() {
            volgc.ok(&["restore", "db"]);
        }
        assert_eq!(harness::tree_listing(&data), before);
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15");
    }

    fn a_volume_made_again_while_the_data_is_away(engine: PrivateEngine) {
        let (volgc, _) = due(&engine);
        let before = harness::tree_digest(&engine.volume_data("db"));
        let sweep = sweep_until(&volgc, "hide.sync");
        engine.docker(&["volume", "rm", "db"]);
        engine.create_volume("db", &[]);
        let after = engine.fill_volume("db", 2);
        create(&engine, "db:/data");
        let output = sweep.end();
        assert_eq!(harness::tree_digest(&engine.volume_data("db")), after, "{}", show(&output));
        let entry = volgc.entry_id_of("db");
        assert_eq!(harness::tree_digest(&engine.quarantined_data(&entry)), before);
        volgc.ok(&["restore", &entry, "--as", "old"]);
        assert_eq!(harness::tree_digest(&engine.volume_data("old")), before);
    }

    /// A DELETE names no volume but the one that has the name by then: this one was never in quarantine, and would be gone.
    fn a_volume_made_again_and_held_by_nothing_while_the_data_is_away(engine: PrivateEngine) {
        let (volgc, _) = due(&engine);
        let before = harness::tree_digest(&engine.volume_data("db"));
        let sweep = sweep_until(&volgc, "hide.sync");
        engine.docker(&["volume", "rm", "db"]);
        engine.create_volume("db", &[]);
        let after = engine.fill_volume("db", 2);
        let output = sweep.end();
        assert_eq!(harness::tree_digest(&engine.volume_data("db")), after, "{}", show(&output));
        let entry = volgc.entry_id_of("db");
        volgc.ok(&["restore", &entry, "--as", "old"]);
        assert_eq!(harness::tree_digest(&engine.volume_data("old")), before);
    }

    /// The engine has forgotten it unasked: there is nothing to ask for.
    fn a_volume_removed_while_the_data_is_away(engine: PrivateEngine) {
        let (volgc, kept) = due(&engine);
        let sweep = sweep_until(&volgc, "exchange.look_again");
        let refused = engine.try_docker(&["volume", "rm", "db"]);
        assert!(show(&refused).contains("use-volgc-restore-or-delete"), "{}", show(&refused));
        let forced = engine.try_docker(&["volume", "rm", "-f", "db"]);
        assert!(!forced.status.success(), "{}", show(&forced));
        let output = sweep.end();
        assert!(output.status.success(), "{}", show(&output));
        // With force the engine may have dropped the labels: then it is left.
        if !engine.volume_data("db").exists() {
            volgc.ok(&["restore", "db"]);
        }
        kept.assert_untouched();
        volgc.ok(&["sweep"]);
        let sweep = sweep_until(&volgc, "hide.sync");
        engine.docker(&["volume", "rm", "db"]);
        let output = sweep.end();
        assert!(output.status.success(), "{}", show(&output));
        volgc.ok(&["restore", "db"]);
        kept.assert_untouched();
    }

    /// What an image has at the path is copied into an empty volume when the container is made.
    fn a_container_of_an_image_with_content_while_the_data_is_away(engine: PrivateEngine) {
        engine.create_volume("seeded", &[]);
        let mut kept = Contents::new(&engine);
        kept.note_volume("seeded");
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        let sweep = sweep_until(&volgc, "exchange.look_again");
        let create = ["create", "--name", "app", "-v", "seeded:/seed", "bbseed", "cat", "/seed/hello"];
        let made = engine.try_docker(&create).status.success();
        let output = sweep.end();
        assert!(output.status.success(), "{}", show(&output));
        if !made {
            engine.docker(&create);
        }
        assert_eq!(engine.docker(&["start", "-a", "app"]), "hello from the image");
    }
}
