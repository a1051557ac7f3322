//! Freeing space needs no space (I15): a disk that is full to the last byte or inode, with the ledger on it, is freed by what is due or
//! ordered; nothing is moved meanwhile, and the history catches up.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{config, succeed};
use harness::{Output, PrivateEngine, Version, Volgc, on_each_engine, text};
use rustix::fs::statvfs;
use serde_json::Value;

const EXT4: &str =
    r#"truncate -s 24M "$1/image"; mkfs.ext4 -q -F -b 1024 "$1/image"; mount -o loop "$1/image" "$1/d""#;
const FEW_INODES: &str = r#"truncate -s 24M "$1/image"; mkfs.ext4 -q -F -b 1024 -N 160 "$1/image"; mount -o loop "$1/image" "$1/d""#;
const IN_MEMORY: &str = r#"mount -t tmpfs -o size=24m,nr_inodes=200 tmpfs "$1/d""#;

/// An engine whose root is on a small disk, and volgc with its ledger on the same one; two volumes in quarantine that are due, and one
/// that is due to be moved.
struct Site {
    volgc: Volgc,
    engine: PrivateEngine,
}

impl Site {
    fn new(version: Version, disk: &str) -> Self {
        let engine =
            PrivateEngine::builder(version).root_on(disk).storage_driver("vfs").without_images().start();
        let volgc = Volgc::beside(&engine.root(), &engine.socket(), &engine.root());
        Self::with(engine, volgc)
    }

    fn with(engine: PrivateEngine, volgc: Volgc) -> Self {
        volgc.config(&config("quarantine", ""));
        for name in ["one", "two"] {
            engine.create_volume(name, &[]);
            fs::write(engine.volume_data(name).join("file"), vec![7; 1 << 20]).unwrap();
        }
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["one", "two"]);
        engine.create_volume("late", &[]);
        volgc.ok(&["sweep"]);
        volgc.config(&config("enforce", ""));
        Self { volgc, engine }
    }

    /// To the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.engine.root().join("ballast")).unwrap();
        for size in [1 << 20, 1 << 10, 1] {
            while ballast.write_all(&vec![1; size]).and_then(|()| ballast.sync_data()).is_ok() {}
        }
        assert_eq!(statvfs(self.engine.root()).unwrap().f_bavail, 0);
    }

    /// To the last inode.
    fn fill_inodes(&self) {
        let many = self.engine.root().join("many");
        fs::create_dir(&many).unwrap();
        for number in 0.. {
            if File::create(many.join(number.to_string())).is_err() {
                break;
            }
        }
        assert_eq!(statvfs(self.engine.root()).unwrap().f_ffree, 0);
    }

    fn free(&self) -> (u64, u64) {
        let stat = statvfs(self.engine.root()).unwrap();
        (stat.f_bfree * stat.f_frsize, stat.f_ffree)
    }

    /// What the history says was deleted: the volumes, sorted.
    fn deleted(&self) -> Vec<String> {
        let history = self.volgc.json(&["history", "--format", "json"]);
        let lines = history.as_array().unwrap().iter().filter(|line| line["happening"] == "deleted");
        let mut names: Vec<String> = lines.map(|line| text(&line["volume"])).collect();
        names.sort();
        names
    }

    fn assert_freed(&self) {
        assert_eq!(self.volgc.entries(), Vec::<Value>::new());
        assert_eq!(self.deleted(), ["one", "two"]);
        assert_eq!(self.engine.left_in_quarantine(), Vec::<String>::new());
    }
}

fn names(directory: &Path) -> Vec<String> {
    let found = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_done(output: &Output) {
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(!output.stderr.contains("cannot note which ledger"), "{output:?}");
}

on_each_engine! {
    fn to_the_last_byte_what_is_due_is_freed(version: Version) {
        let site = Site::new(version, EXT4);
        site.fill();
        let (bytes, _) = site.free();
        let output = site.volgc.run(&["sweep"]);
        assert_done(&output);
        let told = "nothing is moved while the ledger cannot be written";
        assert!(output.stdout.contains(told) && output.stdout.contains("disk or quota is full"), "{output:?}");
        assert!(site.free().0 >= bytes + (2 << 20), "{:?} after {bytes}", site.free());
        assert_eq!(site.engine.volume_names(), ["late"], "moved without a ledger");
        site.assert_freed();
        // With room everything goes on.
        site.volgc.ok(&["sweep"]);
        assert_eq!(site.engine.volume_names(), Vec::<String>::new());
    }

    fn to_the_last_inode_what_is_ordered_is_freed(version: Version) {
        let site = Site::new(version, FEW_INODES);
        site.fill_inodes();
        for name in ["one", "two"] {
            assert_done(&site.volgc.run(&["delete", "--yes", &site.volgc.entry_id_of(name)]));
        }
        assert!(site.free().1 >= 2, "{:?}", site.free());
        site.assert_freed();
    }

    fn a_full_disk_in_memory_is_freed(version: Version) {
        let site = Site::new(version, IN_MEMORY);
        site.fill();
        site.fill_inodes();
        assert_done(&site.volgc.run(&["sweep"]));
        site.assert_freed();
    }

    /// In a directory that is full another name needs another block.
    fn without_room_for_another_name_an_entry_is_deleted_under_its_own(version: Version) {
        let site = Site::new(version, EXT4);
        site.fill();
        let quarantine = site.engine.root().join("volgc");
        let (one, two) = (site.volgc.entry_id_of("one"), site.volgc.entry_id_of("two"));
        let pads: Vec<PathBuf> = (0..1000).map(|number| quarantine.join(format!("pad.{number:03}"))).collect();
        let made = pads.iter().take_while(|pad| File::create(pad).is_ok()).count();
        assert!(made < pads.len(), "its directory takes ever more names");
        // Killed in the middle, it is known for what it is.
        let killed = site.volgc.clone().env("VOLGC_FAULT", "delete.contents=kill").run(&["delete", "--yes", &one]);
        assert_eq!(killed.status, None, "{killed:?}");
        assert!(quarantine.join(&one).is_dir(), "there was room for another name");
        let states: Vec<String> = site.volgc.entries().iter().map(|entry| text(&entry["state"])).collect();
        assert!(states.contains(&"deleting".to_owned()), "{states:?}");
        let refused = site.volgc.run(&["restore", &one]);
        assert_ne!(refused.status, Some(0), "half of it was restored: {refused:?}");
        assert_done(&site.volgc.run(&["delete", "--yes", &one, &two]));
        for pad in &pads[..made] {
            fs::remove_file(pad).unwrap();
        }
        site.assert_freed();
    }

    /// The ledger is on a file system that was mounted read-only: what is due goes all the same, and the history says so later.
    fn the_history_of_a_ledger_that_is_read_only_catches_up(version: Version) {
        let engine = PrivateEngine::builder(version).without_images().start();
        let state = engine.dir().join("state");
        fs::create_dir(&state).unwrap();
        succeed("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), state.as_os_str()]);
        let volgc = Volgc::beside(&state, &engine.socket(), &engine.root());
        let site = Site::with(engine, volgc);
        succeed("mount", &["-o".as_ref(), "remount,ro".as_ref(), state.as_os_str()]);
        for _ in 0..2 {
            let output = site.volgc.run(&["sweep"]);
            assert_eq!(output.status, Some(3), "{output:?}");
            assert!(output.stdout.contains("is not written down") && output.stdout.contains("read-only"), "{output:?}");
            assert_eq!(site.engine.volume_names(), ["late"], "moved without a ledger");
        }
        let husks = site.engine.left_in_quarantine();
        assert!(husks.iter().filter(|name| name.starts_with("deleting-")).count() == 2, "{husks:?}");
        for husk in husks.iter().filter(|name| name.starts_with("deleting-")) {
            assert_eq!(names(&site.engine.root().join("volgc").join(husk)), ["manifest.json"]);
        }
        succeed("mount", &["-o".as_ref(), "remount,rw".as_ref(), state.as_os_str()]);
        assert_done(&site.volgc.run(&["sweep"]));
        assert_eq!(site.deleted(), ["one", "two"]);
        assert!(!site.engine.volume_names().contains(&"late".to_owned()));
    }
}
