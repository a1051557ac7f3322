//! `volgc explain ENTRY`: where it is, since when, when it is due, what keeps it, and how to bring it back.

use std::fs;

use harness::{KEEP_IN_QUARANTINE, NO_GRACE, Volgc, on_each_engine};

#[track_caller]
fn line(story: &str, topic: &str) -> String {
    let line = story.lines().find_map(|line| line.strip_prefix(topic));
    line.unwrap_or_else(|| panic!("nothing on {topic:?} in\n{story}")).trim().to_owned()
}

on_each_engine! {
    fn an_entry_is_explained_by_its_id_and_by_how_that_begins(engine: PrivateEngine) {
        for name in ["db", "other"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 1);
        }
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        let entry = volgc.entry_id_of("db");
        let story = volgc.ok(&["explain", &entry]);
        assert!(line(&story, "entry").starts_with(&format!("{entry} in quarantine since 20")), "{story}");
        assert!(line(&story, "volume").starts_with("was db (named, driver local); no volume has the name now"), "{story}");
        assert_eq!(line(&story, "where"), engine.quarantined_data(&entry).display().to_string(), "{story}");
        assert!(line(&story, "verdict").starts_with("keep (in quarantine)"), "{story}");
        assert!(line(&story, "to be deleted").contains("not in mode"), "{story}");
        assert_eq!(line(&story, "way back"), format!("volgc restore {entry}"));
        // All but the last digit is enough, and what both begin with is not.
        let shorter = volgc.ok(&["explain", &entry[..entry.len() - 1]]);
        for topic in ["entry", "volume", "where", "way back"] {
            assert_eq!(line(&shorter, topic), line(&story, topic));
        }
        let both = volgc.run(&["explain", &entry[..4]]);
        assert_eq!(both.status, Some(2), "{both:?}");
        assert!(both.stderr.contains("several entries") && both.stderr.contains(&volgc.entry_id_of("other")), "{both:?}");
        let none = volgc.run(&["explain", "19990101-000000-00000000"]);
        assert_eq!(none.status, Some(1), "{none:?}");
        assert!(none.stderr.contains("no entry that begins so"), "{none:?}");

        volgc.ok(&["hold", &entry, "--reason", "audit"]);
        engine.create_volume("db", &[]);
        let story = volgc.ok(&["explain", &entry]);
        assert!(line(&story, "volume").ends_with("another volume has the name now"), "{story}");
        assert!(line(&story, "verdict").contains(&format!("`volgc release {entry}` ends that")), "{story}");
        // The story of the volume of that name goes first.
        engine.create_volume(&entry, &[]);
        assert!(volgc.ok(&["explain", &entry]).starts_with("volume"), "a volume has that name");
    }

    fn what_is_left_of_an_entry_is_explained_too(engine: PrivateEngine) {
        for name in ["damaged", "deleting"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 1);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.sweep_twice();
        let [damaged, deleting] = ["damaged", "deleting"].map(|name| volgc.entry_id_of(name));
        fs::write(engine.quarantined_data(&damaged).with_file_name("manifest.json"), "{").unwrap();
        volgc.clone().env("VOLGC_FAULT", "delete.contents=kill").run(&["delete", "--yes", &deleting]);
        let story = volgc.ok(&["explain", &damaged]);
        assert!(line(&story, "entry").ends_with("(damaged)") && line(&story, "verdict").contains("manifest.json"), "{story}");
        let story = volgc.ok(&["explain", &deleting]);
        assert!(line(&story, "way back").starts_with("none: its deletion has begun"), "{story}");
    }
}
