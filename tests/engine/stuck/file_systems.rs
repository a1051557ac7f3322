//! File systems of their own kind: what can never be renamed or deleted whole is a reason to keep, told once and shown from then on, and
//! never a step that fails each time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use harness::{PrivateEngine, Version, Volgc, on_each_engine, show, text, tree_listing};
use serde_json::Value;

use super::{config, succeed};

/// Inodes too small for a birth time.
const NO_BIRTH_TIME: &str = r#"truncate -s 32M "$1/image"; mkfs.ext4 -q -F -I 128 "$1/image" 2>/dev/null; mount -o loop "$1/image" "$1/d""#;

/// And a little more.
const A_SECOND: Duration = Duration::from_millis(1100);

/// A volume in the lower layer, as in an image or a live system.
const OVERLAY: &str = r#"mkdir -p "$1/lower/volumes/old/_data" "$1/upper" "$1/work"; echo old >"$1/lower/volumes/old/_data/file"
    mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work,redirect_dir=off" overlay "$1/d""#;

/// Its renames take no flags.
const FUSE: &str = r#"mkdir "$1/source"; bindfs "$1/source" "$1/d""#;

/// A kernel without quotas has projects all the same, on XFS.
const ONE_PROJECT: &str = r#"truncate -s 320M "$1/image"; mkfs.xfs -q "$1/image"
    mount -o loop "$1/image" "$1/d"; chattr +P -p 42 "$1/d""#;

const BTRFS: &str =
    r#"truncate -s 160M "$1/image"; mkfs.btrfs -q "$1/image"; mount -o loop "$1/image" "$1/d""#;

fn engine_on(version: Version, disk: &str) -> PrivateEngine {
    PrivateEngine::builder(version).root_on(disk).storage_driver("vfs").without_images().start()
}

fn volume(engine: &PrivateEngine, name: &str) -> Vec<String> {
    engine.create_volume(name, &[]);
    engine.fill_volume(name, 7);
    tree_listing(&engine.volume_data(name))
}

/// Sweeps that leave the volume, and say why: first the sweep that tries it, then every look.
#[track_caller]
fn assert_kept(volgc: &Volgc, name: &str, reason: &str) {
    let mut tried = 0;
    for _ in 0..4 {
        let told = volgc.ok(&["sweep"]);
        tried += usize::from(told.contains(&format!("left volume {name}")));
    }
    assert_eq!(tried, 1, "tried again and again");
    assert_eq!(volgc.reason_of(name), reason);
    let story = volgc.ok(&["explain", name]);
    let spoken = reason.replace('_', " ");
    assert!(story.contains("it was tried") && story.contains(&format!("({spoken})")), "{story}");
    // Whoever orders it by hand has it tried once more.
    let output = volgc.run(&["quarantine", name]);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(output.stdout.contains(&format!("left volume {name}: it was tried")), "{output:?}");
}

on_each_engine! {
    /// Its times are in whole seconds: what was written in the second in which a clock starts may have been written after that, and counts as
    /// a use.
    fn without_birth_times_everything_goes_its_way(version: Version) {
        let engine = engine_on(version, NO_BIRTH_TIME);
        let born = Command::new("stat").args(["-c", "%W"]).arg(engine.volumes_dir()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&born.stdout).trim(), "0", "it has birth times: {}", show(&born));
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        let before = volume(&engine, "db");
        sleep(A_SECOND);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        volgc.ok(&["restore", "db"]);
        assert_eq!(tree_listing(&engine.volume_data("db")), before);
        sleep(A_SECOND);
        volgc.sweep_twice();
        volgc.ok(&["restore", "db", "--as", "other"]);
        assert_eq!(tree_listing(&engine.volume_data("other")), before);
        volume(&engine, "db");
        sleep(A_SECOND);
        volgc.ok(&["quarantine", "other"]);
        volgc.ok(&["restore", "other", "--as", "db", "--replace"]);
        assert_eq!(tree_listing(&engine.volume_data("db")), before);
        sleep(A_SECOND);
        volgc.config(&config("enforce", ""));
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!((engine.volume_names(), volgc.entries()), (Vec::new(), Vec::<Value>::new()));
    }

    /// There, too, what something used in quarantine stays (I3).
    fn without_birth_times_what_is_used_in_quarantine_is_kept(version: Version) {
        let engine = engine_on(version, NO_BIRTH_TIME);
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        for name in ["used", "quiet"] {
            volume(&engine, name);
        }
        sleep(A_SECOND);
        volgc.ok(&["quarantine", "used", "quiet"]);
        sleep(A_SECOND);
        let used = engine.quarantined_data(&volgc.entry_id_of("used"));
        fs::write(used.join("PG_VERSION"), "16\n").unwrap();
        for _ in 0..2 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.quarantined_names(), ["used"]);
        assert_eq!(volgc.entry_of("used")["reason"], "touched");
    }

    /// A move that is undone leaves the volume what it was, for whoever had a crash in the middle of it.
    fn without_birth_times_an_interrupted_move_is_undone(version: Version) {
        let engine = engine_on(version, NO_BIRTH_TIME);
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        let before = volume(&engine, "db");
        let killed = volgc.clone().env("VOLGC_FAULT", "exchange.look_again=kill").run(&["quarantine", "db"]);
        assert_eq!(killed.status, None, "{killed:?}");
        // Its times are in seconds, and a sweep in the same one would find it due.
        volgc.config(&config("observe", ""));
        volgc.ok(&["sweep"]);
        assert_eq!(tree_listing(&engine.volume_data("db")), before);
    }

    fn what_an_overlay_does_not_rename_is_kept_with_its_reason(version: Version) {
        let engine = engine_on(version, OVERLAY);
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        volume(&engine, "new");
        assert!(engine.volume_names().contains(&"old".to_owned()), "the engine took no volume from the lower layer");
        assert_kept(&volgc, "old", "rename_refused");
        assert_eq!(engine.volume_names(), ["old"]);
        assert_eq!(fs::read_to_string(engine.volume_data("old").join("file")).unwrap(), "old\n");
    }

    fn a_file_system_that_renames_without_care_moves_nothing(version: Version) {
        let engine = engine_on(version, FUSE);
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        let before = volume(&engine, "db");
        assert_kept(&volgc, "db", "rename_unsafe");
        assert_eq!(tree_listing(&engine.volume_data("db")), before);
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    fn one_project_over_the_whole_root_is_collected(version: Version) {
        let engine = engine_on(version, ONE_PROJECT);
        let volgc = Volgc::configured(&engine, &config("enforce", ""));
        volume(&engine, "db");
        volume(&engine, "other");
        succeed("chattr", &["-p".as_ref(), "7".as_ref(), engine.volume_data("other").as_os_str()]);
        assert_kept(&volgc, "other", "rename_refused");
        assert_eq!(engine.volume_names(), ["other"]);
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    fn a_subvolume_and_a_snapshot_in_it_keep_an_entry_whole(version: Version) {
        let engine = engine_on(version, BTRFS);
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        for (name, kind) in [("with-subvolume", "create"), ("with-snapshot", "snapshot")] {
            volume(&engine, name);
            let inside = engine.volume_data(name).join("deep/er");
            fs::create_dir_all(&inside).unwrap();
            let mut words = vec!["subvolume", kind];
            let root = engine.root().display().to_string();
            words.extend((kind == "snapshot").then_some(root.as_str()));
            let at = inside.join("sub").display().to_string();
            words.push(&at);
            succeed("btrfs", &words);
            fs::write(inside.join("sub/precious"), name).unwrap();
        }
        let told = [volgc.ok(&["sweep"]), volgc.ok(&["sweep"])];
        assert_eq!(volgc.quarantined_names(), ["with-snapshot", "with-subvolume"], "{told:?}");
        volgc.config(&config("enforce", ""));
        let data = |name: &str| engine.quarantined_data(&volgc.entry_id_of(name));
        let before = ["with-subvolume", "with-snapshot"].map(|name| count(&data(name)));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(["with-subvolume", "with-snapshot"].map(|name| count(&data(name))), before, "half deleted");
        for name in ["with-subvolume", "with-snapshot"] {
            let entry = volgc.entry_of(name);
            assert_eq!((text(&entry["action"]).as_str(), text(&entry["reason"]).as_str()), ("keep", "undeletable"));
            let whole = data(name);
            let command = format!("btrfs subvolume delete {}", whole.join("deep/er/sub").display());
            assert!(text(&entry["detail"]).contains(&command), "{entry:#}");
            let output = volgc.run(&["delete", "--yes", &text(&entry["entry"])]);
            assert_eq!(output.status, Some(4), "{output:?}");
            succeed("sh", &["-c", &command]);
            let deleted = assert_used_by_the_remedy(&volgc, &entry);
            assert!(!whole.exists(), "{deleted}");
        }
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    /// What is in a subvolume is data like any other.
    fn a_use_in_a_subvolume_starts_the_clock_anew(version: Version) {
        let engine = engine_on(version, BTRFS);
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        for name in ["used", "quiet"] {
            volume(&engine, name);
            let at = engine.volume_data(name).join("sub");
            succeed("btrfs", &["subvolume".as_ref(), "create".as_ref(), at.as_os_str()]);
            fs::write(at.join("file"), name).unwrap();
        }
        volgc.ok(&["sweep"]);
        sleep(Duration::from_millis(20));
        fs::write(engine.volume_data("used").join("sub/file"), "more").unwrap();
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("left volume used: sub/file was changed at"), "{told}");
        assert_eq!(volgc.quarantined_names(), ["quiet"], "{told}");
    }

    fn attributes_and_swap_keep_an_entry_whole_until_they_are_mended(version: Version) {
        let engine = PrivateEngine::builder(version).without_images().start();
        let volgc = Volgc::configured(&engine, &config("quarantine", ""));
        let cases: [(&str, &str, &str); 4] = [
            ("immutable", "chattr +i", "chattr -i"),
            ("append", "chattr +a", "chattr -a"),
            ("late", "chattr +i", "chattr -i"),
            ("swap", "mkswap -q", "swapoff"),
        ];
        for (name, spoil, _) in cases {
            volume(&engine, name);
            let file = engine.volume_data(name).join("it's a file");
            fs::write(&file, vec![0; 1 << 20]).unwrap();
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            if name != "late" {
                spoiled(spoil, &file);
            }
        }
        volgc.sweep_twice();
        let file = |name: &str| engine.quarantined_data(&volgc.entry_id_of(name)).join("it's a file");
        succeed("swapon", &[file("swap").as_os_str()]);
        let _swapped = Swapped(file("swap"));
        sleep(Duration::from_millis(20));
        spoiled("chattr +i", &file("late"));
        volgc.config(&config("enforce", ""));
        let before = cases.map(|(name, ..)| count(file(name).parent().unwrap()));
        for _ in 0..2 {
            volgc.ok(&["sweep"]);
        }
        // What an administrator does in quarantine is a use, which comes first.
        for (name, mend) in [("late", "chattr -i"), ("swap", "swapoff")] {
            let used = volgc.entry_of(name);
            assert_eq!(used["reason"], "touched", "{used:#}");
            let refused = volgc.refused(&["delete", "--yes", "--touched", &text(&used["entry"])]);
            assert!(refused.contains(&format!("`{mend} ")), "{refused}");
        }
        assert_eq!(cases.map(|(name, ..)| count(file(name).parent().unwrap())), before, "half deleted");
        for (name, _, mend) in cases {
            let entry = volgc.entry_of(name);
            assert_eq!(text(&entry["reason"]), "undeletable", "{entry:#}");
            let detail = text(&entry["detail"]);
            let command = detail.split('`').find(|part| part.starts_with(mend)).unwrap_or_else(|| panic!("{detail}"));
            succeed("sh", &["-c", command]);
            assert_used_by_the_remedy(&volgc, &entry);
        }
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }
}

/// What helped was a use of the data in quarantine: the entry is kept until an operator says as he was told to. Says what became of it then.
#[track_caller]
fn assert_used_by_the_remedy(volgc: &Volgc, entry: &Value) -> String {
    let id = text(&entry["entry"]);
    let order = format!("volgc delete --touched {id}");
    assert!(text(&entry["detail"]).contains(&order), "{entry:#}");
    volgc.ok(&["sweep"]);
    let kept = volgc.entry_of(&text(&entry["name"]));
    assert_eq!(text(&kept["reason"]), "touched", "{kept:#}");
    assert!(text(&kept["detail"]).contains(&order), "{kept:#}");
    volgc.ok(&["delete", "--yes", "--touched", &id])
}

/// Swapping ends with the test, however that ends.
struct Swapped(std::path::PathBuf);

impl Drop for Swapped {
    fn drop(&mut self) {
        if self.0.exists() {
            Command::new("swapoff").arg(&self.0).status().unwrap();
        }
    }
}

fn spoiled(command: &str, file: &Path) {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let mut arguments: Vec<&std::ffi::OsStr> = words.map(AsRef::as_ref).collect();
    arguments.push(file.as_os_str());
    succeed(program, &arguments);
}

/// How many names there are below a directory.
fn count(directory: &Path) -> usize {
    let output = Command::new("find").arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    output.stdout.split(|byte| *byte == b'\n').count() - 1
}
