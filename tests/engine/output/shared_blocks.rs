//! Sizes on file systems whose files share blocks: deleting gives back no more, and perhaps less.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Version, Volgc, on_each_engine};

/// A file system in a file, and a data root on it. Unmounted when dropped.
struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    fn new(make: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("volgc-disk-").tempdir().unwrap();
        let disk = Self { home };
        let image = disk.home.path().join("image");
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        fs::create_dir(disk.root()).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.root()));
        disk
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.root()).output().ok();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Two volumes with one file of 8 MB, whose blocks both have.
fn make(engine: &PrivateEngine, copy: impl Fn(&Path, &Path)) {
    for volume in ["one", "two"] {
        engine.create_volume(volume, &[]);
    }
    let file = engine.volume_data("one").join("file");
    fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    copy(&file, &engine.volume_data("two").join("file"));
    rustix::fs::sync();
}

fn reflink(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--reflink=always").arg(from).arg(to));
}

#[track_caller]
fn assert_at_most(engine: &PrivateEngine) {
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    let text = volgc.ok(&["report"]);
    assert!(text.lines().filter(|line| line.contains("at most 8.3 MB")).count() == 2, "{text}");
    assert!(text.contains("2 unreferenced (at most 16.7 MB)"), "{text}");
    let report = volgc.json(&["report", "--format", "json"]);
    assert!(report["volumes"][0]["size_bytes"].as_u64() >= Some(8 << 20), "{report:#}");
    assert_eq!(report["volumes"][0]["size_is_at_most"], true);
    assert_eq!(report["totals"]["sizes_are_at_most"], true);
    volgc.ok(&["quarantine", "one"]);
    let list = volgc.ok(&["list"]);
    assert!(list.contains("at most 8.3 MB"), "{list}");
    assert_eq!(volgc.entries()[0]["size_is_at_most"], true);
    let entry = volgc.entry_id_of("one");
    let told = volgc.ok(&["delete", &entry, "--yes"]);
    assert!(told.contains(", at most 8.3 MB"), "{told}");
}

fn engine_on(version: Version, disk: &Disk) -> PrivateEngine {
    PrivateEngine::builder(version).data_root(disk.root()).storage_driver("vfs").without_images().start()
}

on_each_engine! {
    fn on_btrfs(version: Version) {
        let disk = Disk::new(&["mkfs.btrfs", "-q"]);
        let engine = engine_on(version, &disk);
        make(&engine, reflink);
        assert_at_most(&engine);
    }

    fn on_xfs(version: Version) {
        let disk = Disk::new(&["mkfs.xfs", "-q", "-m", "reflink=1"]);
        let engine = engine_on(version, &disk);
        make(&engine, reflink);
        assert_at_most(&engine);
    }

    /// Where each block is one file's, a size is what deleting gives back.
    fn on_ext4_they_are_exact(version: Version) {
        let disk = Disk::new(&["mkfs.ext4", "-q", "-F"]);
        let engine = engine_on(version, &disk);
        make(&engine, |from, to| run(Command::new("cp").arg(from).arg(to)));
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let text = volgc.ok(&["report"]);
        assert!(text.contains("8.3 MB") && !text.contains("at most"), "{text}");
        let report = volgc.json(&["report", "--format", "json"]);
        assert_eq!((&report["volumes"][0]["size_is_at_most"], &report["totals"]["sizes_are_at_most"]), (&false.into(), &false.into()));
    }
}
