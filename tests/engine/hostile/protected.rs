//! Files that even root may not delete: the deletion says so with the remedy, goes on with all else, and is taken up again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hostile::trees::Canary;
use harness::treasure::Treasure;
use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, on_each_engine};

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
    let data = engine.root().join("volgc").join(format!("deleting-{entry}")).join("data");
    (entry, data)
}

fn files(path: &Path) -> Vec<String> {
    let output = Command::new("find").arg(path).args(["-mindepth", "1", "-printf", "%P\n"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut files: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    files.sort();
    files
}

const LEFT: [&str; 8] = ["7", "7/below", "7/below/file", "8", "8/below", "8/below/file", "9", "9/below"];

on_each_engine! {
    fn protected_files_are_named_the_rest_is_deleted_and_it_is_taken_up_again(engine: PrivateEngine) {
        let canary = Canary::new(&engine);
        let _protected = Protected::new(engine.root());
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let (entry, data) = quarantined(&engine, &volgc);

        let output = volgc.run(&["delete", "--yes", &entry]);
        assert_eq!(output.status, Some(3), "{output:?}");
        for part in [
            entry.as_str(),
            "4 not deleted",
            "`7/below/file` is protected: clear the attribute with `chattr -i` on `7/below/file`",
            "`8/below/file` is protected: clear the attribute with `chattr -i` on `8/below`",
            "`9/below/file` is protected: clear the attribute with `chattr -a` on `9/below/file`",
        ] {
            assert!(output.stdout.contains(part), "no {part:?}: {output:?}");
        }
        let mut left: Vec<&str> = LEFT.to_vec();
        left.push("9/below/file");
        assert_eq!(files(&data), left);

        // Neither forgotten nor told as if it could be restored.
        let line = volgc.entries().into_iter().find(|line| line["entry"] == entry.as_str()).unwrap();
        assert_eq!((&line["state"], &line["action"]), (&"deleting".into(), &"delete".into()), "{line:#}");
        let restored = volgc.run(&["restore", &entry]);
        assert_ne!(restored.status, Some(0), "{restored:?}");

        // It does not stand in the way of others, and each sweep says it again.
        let other = Treasure::make(&engine, "other");
        volgc.ok(&["quarantine", "other"]);
        let output = volgc.run(&["sweep"]);
        assert_eq!(output.status, Some(3), "{output:?}");
        assert!(output.stdout.contains("chattr -i"), "{output:?}");
        volgc.run(&["sweep"]);
        assert!(other.places(&engine).is_empty(), "the other entry was not deleted");

        for (path, attribute) in [("7/below/file", "-i"), ("8/below", "-i"), ("9/below/file", "-a")] {
            Protected::with(&data.join(path), attribute);
        }
        assert!(volgc.ok(&["sweep"]).contains(&format!("deleted entry {entry}")));
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
        canary.assert_sings();
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
