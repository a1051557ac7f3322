//! The quarantine directory and the manifests in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::state::Mounted;
use super::{Fake, Volgc, due, fails, text};
use harness::{tree_digest, tree_listing};

/// Two entries, `orphan` and `second`, and what the data of each is.
fn two_entries() -> (Fake, Volgc, [PathBuf; 2]) {
    let (fake, volgc) = due();
    fake.add_volume("second");
    volgc.ok(&["quarantine", "orphan"]);
    volgc.ok(&["quarantine", "second"]);
    let list = volgc.json(&["list", "--format", "json"]);
    let entry = |name: &str| {
        let lines = list.as_array().unwrap();
        let line = lines.iter().find(|line| line["name"] == name).unwrap();
        fake.root().join("volgc").join(line["entry"].as_str().unwrap())
    };
    let entries = [entry("orphan"), entry("second")];
    (fake, volgc, entries)
}

#[test]
fn a_damaged_manifest_keeps_its_entry_and_hinders_no_other() {
    let (fake, volgc, [damaged, other]) = two_entries();
    let data = tree_digest(&damaged.join("data"));
    let manifest = damaged.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();
    let foreign = fs::read_to_string(other.join("manifest.json")).unwrap();
    let name = damaged.file_name().unwrap().to_string_lossy().into_owned();
    for content in ["", "{", "\0\0\0", &good[..good.len() / 2], &foreign, "[]", r#"{"manifest_version":1}"#] {
        fs::write(&manifest, content).unwrap();
        let list = volgc.json(&["list", "--format", "json"]);
        let line = list.as_array().unwrap().iter().find(|line| line["entry"] == name.as_str()).unwrap();
        assert_eq!(
            (&line["state"], &line["action"]),
            (&"damaged".into(), &"keep".into()),
            "{content:?}: {line}"
        );
        assert!(line["detail"].as_str().unwrap().contains(&text(&manifest)), "{content:?}: {line}");
        volgc.ok(&["sweep"]);
        for words in [&["restore", name.as_str()][..], &["delete", "--yes", &name]] {
            let output = volgc.run(words);
            assert!(
                output.status == Some(1) || output.stdout.contains("kept entry"),
                "{words:?}: {output:?}"
            );
        }
        assert_eq!(tree_digest(&damaged.join("data")), data, "{content:?}");
        assert_eq!(fs::read_to_string(&manifest).unwrap(), content);
    }
    fs::remove_file(&manifest).unwrap();
    volgc.ok(&["sweep"]);
    assert_eq!(tree_digest(&damaged.join("data")), data, "without a manifest");

    // The other one is as usable as before.
    let second = other.file_name().unwrap().to_string_lossy().into_owned();
    volgc.ok(&["delete", "--yes", &second]);
    assert!(!other.exists() && damaged.exists());
    fs::write(&manifest, good).unwrap();
    assert!(volgc.ok(&["list"]).contains("orphan"));
    drop(fake);
}

#[test]
fn a_newer_manifest_stops_everything() {
    let (fake, volgc, [newer, _]) = two_entries();
    let manifest = newer.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, r#"{"manifest_version":99,"everything":"else"}"#).unwrap();
    for words in [
        &["report"][..],
        &["list"],
        &["sweep"],
        &["quarantine", "used"],
        &["restore", "second"],
        &["delete", "--yes", "20200101-000000-00"],
    ] {
        fails(&fake, &volgc, words, 4, &[&text(&manifest), "version 99", "newer volgc"]);
    }
    fs::write(&manifest, good).unwrap();
    volgc.ok(&["sweep"]);
}

#[test]
fn what_others_put_into_the_quarantine_directory_is_left_alone() {
    let (fake, volgc, [_, second]) = two_entries();
    let quarantine = fake.root().join("volgc");
    let foreign = quarantine.join("backup of old volumes");
    fs::create_dir_all(foreign.join("data/deep")).unwrap();
    fs::write(foreign.join("data/deep/file"), "precious").unwrap();
    fs::create_dir(quarantine.join("empty")).unwrap();
    fs::write(quarantine.join("notes.txt"), "precious").unwrap();
    symlink("/etc", quarantine.join("20200101-000000-00000000")).unwrap();
    symlink("/etc", quarantine.join("deleting-20200101-000000-00000000")).unwrap();
    let before = (tree_listing(&foreign), fs::read(quarantine.join("notes.txt")).unwrap());
    let second = second.file_name().unwrap().to_string_lossy().into_owned();
    for words in [&["list"][..], &["sweep"], &["sweep"], &["delete", "--yes", &second]] {
        volgc.ok(words);
    }
    let output = volgc.run(&["delete", "--yes", "20200101-000000-00000000"]);
    assert!(output.stdout.contains("no entry"), "{output:?}");
    assert_eq!((tree_listing(&foreign), fs::read(quarantine.join("notes.txt")).unwrap()), before);
    assert!(quarantine.join("20200101-000000-00000000").is_symlink());
    assert!(quarantine.join("empty").exists(), "an empty directory is not volgc's");
    assert!(volgc.ok(&["list"]).contains("backup of old volumes"), "it is shown");
}

#[test]
fn a_quarantine_directory_that_is_a_link_or_a_file_is_refused() {
    let (fake, volgc) = due();
    let quarantine = fake.root().join("volgc");
    let elsewhere = fake.dir().join("elsewhere");
    fs::rename(&quarantine, &elsewhere).unwrap();
    symlink(&elsewhere, &quarantine).unwrap();
    let before = tree_listing(&elsewhere);
    for words in [&["report"][..], &["sweep"], &["quarantine", "orphan"]] {
        fails(&fake, &volgc, words, 4, &[&text(&quarantine)]);
    }
    assert_eq!(tree_listing(&elsewhere), before);
    fs::remove_file(&quarantine).unwrap();
    fs::write(&quarantine, "").unwrap();
    for words in [&["report"][..], &["sweep"], &["quarantine", "orphan"]] {
        fails(&fake, &volgc, words, 4, &[&text(&quarantine), "Not a directory"]);
    }
}

#[test]
fn a_full_or_read_only_disk_leaves_the_volume_where_it_is() {
    let (fake, volgc) = due();
    let root = fake.root();
    // The root on a small file system of its own, then full to the last byte.
    let content = fake.dir().join("content");
    fs::rename(&root, &content).unwrap();
    fs::create_dir(&root).unwrap();
    let mount = Mounted::tmpfs("size=6m,nr_inodes=200", &root);
    let copied =
        std::process::Command::new("cp").arg("-a").arg(content.join(".")).arg(&root).status().unwrap();
    assert!(copied.success());
    // The directories are others now.
    volgc.ok(&["acknowledge"]);
    volgc.ok(&["sweep"]);
    let before = tree_listing(&fake.volume_data("orphan"));
    let filler = root.join("filler");
    fs::create_dir(&filler).unwrap();
    for number in 0.. {
        if fs::write(filler.join(number.to_string()), "").is_err() {
            break;
        }
    }
    let quarantine = text(&root.join("volgc"));
    for words in [&["sweep"][..], &["quarantine", "orphan"]] {
        let output = volgc.run(words);
        assert!(matches!(output.status, Some(1 | 3)), "{words:?}: {output:?}");
        let told = output.stderr.clone() + &output.stdout;
        assert!(told.contains(&quarantine) && told.contains("No space left"), "{words:?}: {output:?}");
        assert_eq!(tree_listing(&fake.volume_data("orphan")), before, "{words:?}");
    }
    fs::remove_dir_all(&filler).unwrap();
    mount.make_read_only();
    for words in [&["sweep"][..], &["quarantine", "orphan"]] {
        let output = volgc.run(words);
        assert!(matches!(output.status, Some(1 | 3)), "{words:?}: {output:?}");
        let told = output.stderr.clone() + &output.stdout;
        assert!(told.contains(&quarantine) && told.contains("Read-only"), "{words:?}: {output:?}");
    }
    volgc.ok(&["report"]);
    assert_eq!(tree_listing(&fake.volume_data("orphan")), before);
    assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")));
    drop(mount);
}
