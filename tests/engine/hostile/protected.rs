//! Files that even root may not delete: nothing of the entry is deleted, and the remedy is told until somebody applies it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hostile::trees::Canary;
use harness::treasure::Treasure;
use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, on_each_engine, tree_listing};

/// The attributes that a test gave, taken back when it ends, however it ends: nothing could be deleted else.
struct Protected(PathBuf);

impl Protected {
    fn new(root: PathBuf) -> Self {
        Self(root)
    }

    fn with(path: &Path, attribute: &str) {
        let status = Command::new("chattr").arg(attribute).arg(path).status().unwrap();
        assert!(status.success(), "chattr {attribute} {}", path.display());
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        // What has gone cannot be changed, which is no failure here.
        _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(&self.0).status();
    }
}

/// A volume in quarantine with protected files among others.
fn quarantined(engine: &PrivateEngine, volgc: &Volgc) -> (String, PathBuf) {
    engine.create_volume("locked", &[]);
    let data = engine.volume_data("locked");
    for number in 0..50 {
        fs::create_dir_all(data.join(format!("{number}/below"))).unwrap();
        fs::write(data.join(format!("{number}/below/file")), "x").unwrap();
    }
    std::os::unix::fs::symlink(engine.dir().join("canary"), data.join("7/canary")).unwrap();
    Protected::with(&data.join("7/below/file"), "+i");
    Protected::with(&data.join("8/below"), "+i");
    Protected::with(&data.join("9/below/file"), "+a");
    volgc.ok(&["quarantine", "locked"]);
    let entry = volgc.entry_id_of("locked");
    let data = engine.root().join("volgc").join(&entry).join("data");
    (entry, data)
}

/// The first protected path that an output tells of, with the command that it gives for it.
#[track_caller]
fn remedy(told: &str, data: &Path) -> (PathBuf, &'static str) {
    let candidates = [("7/below/file", "-i"), ("8/below", "-i"), ("9/below/file", "-a")];
    let found = candidates.into_iter().find_map(|(path, attribute)| {
        let path = data.join(path);
        told.contains(&format!("run `chattr {attribute} {}`", path.display())).then_some((path, attribute))
    });
    found.unwrap_or_else(|| panic!("no remedy: {told}"))
}

on_each_engine! {
    fn what_is_protected_stays_whole_until_the_remedy_was_applied(engine: PrivateEngine) {
        let canary = Canary::new(&engine);
        let _protected = Protected::new(engine.root());
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let (entry, data) = quarantined(&engine, &volgc);
        let before = tree_listing(&data);

        let output = volgc.run(&["delete", "--yes", &entry]);
        assert_eq!(output.status, Some(4), "{output:?}");
        assert!(output.stdout.contains(&format!("kept entry {entry}")), "{output:?}");
        remedy(&output.stdout, &data);
        assert_eq!(tree_listing(&data), before, "something was deleted");

        // It is as it was: nothing is half done, and it can be brought back.
        let line = volgc.entries().into_iter().find(|line| line["entry"] == entry.as_str()).unwrap();
        assert_eq!((&line["state"], &line["reason"]), (&"quarantined".into(), &"undeletable".into()), "{line:#}");

        // It does not stand in the way of others, and a step that cannot succeed is no failure of each sweep.
        let other = Treasure::make(&engine, "other");
        volgc.ok(&["quarantine", "other"]);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert!(other.places(&engine).is_empty(), "the other entry was not deleted");
        assert_eq!(tree_listing(&data), before, "something was deleted");

        // One after the other, as they are told. What helps changes the data, so that an operator has to say that it may go.
        let mut told = volgc.ok(&["explain", "locked"]);
        let order = ["delete", "--yes", "--touched", &entry];
        for number in 1..=3 {
            let (path, attribute) = remedy(&told, &data);
            assert!(told.contains(&format!("volgc delete --touched {entry}")), "{told}");
            Protected::with(&path, attribute);
            volgc.ok(&["sweep"]);
            let kept = volgc.ok(&["explain", "locked"]);
            assert!(kept.contains("keep (touched)"), "{kept}");
            told = if number < 3 { volgc.refused(&order) } else { volgc.ok(&order) };
        }
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
        let history = volgc.ok(&["history"]);
        let is_told = history.lines().any(|line| line.contains(" deleted ") && line.contains(&entry));
        assert!(is_told && told.contains(&format!("deleted entry {entry}")), "{told}{history}");
        canary.assert_sings();
    }

    fn what_is_protected_is_restored_like_anything_else(engine: PrivateEngine) {
        let _protected = Protected::new(engine.root());
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let (entry, data) = quarantined(&engine, &volgc);
        let before = tree_listing(&data);
        assert_eq!(volgc.run(&["delete", "--yes", &entry]).status, Some(4));
        volgc.ok(&["restore", &entry]);
        assert_eq!(tree_listing(&engine.volume_data("locked")), before);
    }

    /// The directory that would have to move is itself protected: nothing happens, and that is said.
    fn a_protected_data_directory_stays_a_volume(engine: PrivateEngine) {
        let _protected = Protected::new(engine.root());
        let treasure = Treasure::make(&engine, "locked");
        Protected::with(&engine.volume_data("locked"), "+i");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["sweep"]);
        for (words, status) in [(&["sweep"][..], 0), (&["quarantine", "locked"], 4)] {
            let output = volgc.run(words);
            assert_eq!(output.status, Some(status), "{words:?}: {output:?}");
            assert!(status == 0 || output.stdout.contains("kept volume locked: cannot be moved: an immutable"), "{output:?}");
            treasure.assert_back(&engine, "locked", "while it is protected");
            assert!(volgc.entries().is_empty(), "{:?}", volgc.entries());
        }
        assert!(volgc.ok(&["explain", "locked"]).contains("immutable"));
        Protected::with(&engine.volume_data("locked"), "-i");
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["locked"]);
        volgc.ok(&["restore", "locked"]);
        treasure.assert_back(&engine, "locked", "restored");
    }
}
