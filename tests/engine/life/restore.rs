//! Restore: everything comes back as it was, and nothing is ever overwritten (I7).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use harness::{
    Contents, KEEP_IN_QUARANTINE, PrivateEngine, Version, Volgc, on_each_engine, text, tree_digest,
    tree_listing,
};
use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::json;

/// `u::rwx,u:999:rwx,g::r-x,m::rwx,o::r-x` as the kernel keeps it (`linux/posix_acl_xattr.h`).
const ACL: &[u8] = &[
    2, 0, 0, 0, //
    1, 0, 7, 0, 255, 255, 255, 255, //
    2, 0, 7, 0, 231, 3, 0, 0, //
    4, 0, 5, 0, 255, 255, 255, 255, //
    16, 0, 7, 0, 255, 255, 255, 255, //
    32, 0, 5, 0, 255, 255, 255, 255,
];
/// `cap_net_bind_service=ep` as the kernel keeps it (`linux/capability.h`, version 2).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Quarantines all that nothing holds, and leaves it there.
fn quarantine_all(engine: &PrivateEngine) -> Volgc {
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), Vec::<String>::new());
    volgc
}

fn labels(engine: &PrivateEngine, volume: &str) -> serde_json::Value {
    engine.json("GET", &format!("/volumes/{volume}"), None)["Labels"].clone()
}

fn cat_version(engine: &PrivateEngine, volume: &str) -> String {
    engine.docker(&["run", "--rm", "-v", &format!("{volume}:/data"), "bb", "cat", "/data/PG_VERSION"])
}

fn set_owner_and_mode(directory: &Path, owner: u32, group: u32, mode: u32) {
    chown(directory, Some(owner), Some(group)).unwrap();
    fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

/// A volume, taken while its name was free, and another of that name since.
fn with_name_in_use(engine: &PrivateEngine) -> (Volgc, Contents<'_>, String) {
    engine.create_volume("db", &[("which", "old")]);
    engine.fill_volume("db", 1);
    let volgc = quarantine_all(engine);
    let entry = volgc.entry_id_of("db");
    let mut kept = Contents::new(engine);
    kept.note(&engine.quarantined_data(&entry));
    engine.create_volume("db", &[("which", "new")]);
    engine.fill_volume("db", 2);
    kept.note_volume("db");
    (volgc, kept, entry)
}

on_each_engine! {
    fn everything_comes_back_as_it_was(engine: PrivateEngine) {
        let given = [("a", "b"), ("com.example", "x y"), ("empty", ""), ("quoted", "\"\\\n\u{1f433}")];
        engine.create_volume("db", &given);
        engine.fill_volume("db", 2);
        let data = engine.volume_data("db");
        let set = |path: &Path, name: &str, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
        set(&data.join("README"), "system.posix_acl_access", ACL);
        set(&data.join("uploads"), "system.posix_acl_default", ACL);
        set(&data.join("base/1/16385"), "security.capability", CAPABILITY);
        set(&data.join("PG_VERSION"), "trusted.overlay.origin", b"\0\xfb");
        for (name, value) in [("system.posix_acl_default", ACL), ("system.posix_acl_access", ACL), ("user.x", b"y")] {
            set(&data, name, value);
        }
        let before = tree_listing(&data);
        let facts = |path: &Path| {
            let meta = fs::metadata(path).unwrap();
            (meta.ino(), meta.created().ok(), meta.blocks())
        };
        let (place, sparse) = (facts(&data), facts(&data.join("sparse.img")));
        assert!(sparse.2 * 512 < fs::metadata(data.join("sparse.img")).unwrap().len(), "it has a hole");

        let volgc = quarantine_all(&engine);
        assert_eq!(tree_listing(&engine.quarantined_data(&volgc.entry_id_of("db"))), before);
        let output = volgc.ok(&["restore", "db"]);
        assert!(output.contains("restored volume db"), "{output}");
        assert_eq!(engine.volume_names(), ["db"]);
        assert_eq!(tree_listing(&data), before);
        assert_eq!((facts(&data), facts(&data.join("sparse.img"))), (place, sparse));
        assert_eq!(labels(&engine, "db"), json!(given.into_iter().collect::<std::collections::BTreeMap<_, _>>()));
        let told = engine.json("GET", "/volumes/db", None);
        assert_eq!(text(&told["Mountpoint"]), data.display().to_string());
        assert_eq!((&told["Driver"], &told["Options"]), (&json!("local"), &json!(null)));
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }

    fn odd_owners_and_modes_of_the_data_come_back(engine: PrivateEngine) {
        let odd = [
            ("postgres", 999, 999, 0o700),
            ("shared", 0, 33, 0o2775),
            ("sticky", 0, 0, 0o1777),
            ("locked", 1000, 1000, 0o000),
            ("set-user", 65534, 65534, 0o4750),
        ];
        let mut kept = Contents::new(&engine);
        for (name, owner, group, mode) in odd {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 1);
            set_owner_and_mode(&engine.volume_data(name), owner, group, mode);
            kept.note_volume(name);
        }
        let volgc = quarantine_all(&engine);
        for (name, ..) in odd {
            volgc.ok(&["restore", name]);
        }
        kept.assert_untouched();
        for (name, owner, group, mode) in odd {
            let meta = fs::metadata(engine.volume_data(name)).unwrap();
            assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (owner, group, mode), "{name}");
        }
        // The engine itself changes them when it makes a volume around a directory; not when it only uses one.
        engine.docker(&["run", "--rm", "-v", "postgres:/data", "bb", "true"]);
        kept.assert_untouched();
    }

    fn under_another_name(engine: PrivateEngine) {
        engine.create_volume("db", &[("a", "b")]);
        let digest = engine.fill_volume("db", 1);
        let volgc = quarantine_all(&engine);
        for bad in ["x", "a/b", "..", "-x", "a b"] {
            let output = volgc.run(&["restore", "db", "--as", bad]);
            assert!(matches!(output.status, Some(2 | 4)), "{bad}: {output:?}");
        }
        assert_eq!(volgc.entry_of("db")["state"], "quarantined");
        volgc.ok(&["restore", "db", "--as", "db-of-march"]);
        assert_eq!(engine.volume_names(), ["db-of-march"]);
        assert_eq!(tree_digest(&engine.volume_data("db-of-march")), digest);
        assert_eq!(labels(&engine, "db-of-march"), json!({"a": "b"}));
    }

    fn a_name_in_use_is_refused_with_the_ways_out(engine: PrivateEngine) {
        let (volgc, kept, entry) = with_name_in_use(&engine);
        for what in ["db", &entry] {
            let output = volgc.run(&["restore", what]);
            assert_eq!(output.status, Some(4), "{output:?}");
            for way in [format!("volgc restore {entry} --as"), format!("volgc restore {entry} --replace")] {
                assert!(output.stderr.contains(&way), "{output:?}");
            }
        }
        kept.assert_untouched();
        // The first way.
        volgc.ok(&["restore", &entry, "--as", "old"]);
        assert_eq!(labels(&engine, "old"), json!({"which": "old"}));
        assert_eq!(labels(&engine, "db"), json!({"which": "new"}));
    }

    fn a_directory_in_the_way_is_not_used(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        let volgc = quarantine_all(&engine);
        let mut kept = Contents::new(&engine);
        let entry = volgc.entry_id_of("db");
        kept.note(&engine.quarantined_data(&entry));
        // The engine does not know it: it looks for directories only when it starts.
        let stray = engine.volumes_dir().join("db");
        fs::create_dir(&stray).unwrap();
        fs::write(stray.join("somebody's"), "own").unwrap();
        kept.note(&stray);
        let output = volgc.run(&["restore", "db"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        kept.assert_untouched();
        assert_eq!(volgc.entry_of("db")["state"], "quarantined");
    }

    fn replacing_swaps_both(engine: PrivateEngine) {
        let (volgc, _, _) = with_name_in_use(&engine);
        let old = tree_digest(&engine.quarantined_data(&volgc.entry_id_of("db")));
        let new = tree_digest(&engine.volume_data("db"));
        volgc.ok(&["restore", "db", "--replace"]);
        assert_eq!(tree_digest(&engine.volume_data("db")), old);
        assert_eq!(labels(&engine, "db"), json!({"which": "old"}));
        assert_eq!(tree_digest(&engine.quarantined_data(&volgc.entry_id_of("db"))), new);
        // What is in quarantine now is the newer data.
        let detail = text(&volgc.entry_of("db")["detail"]);
        assert!(detail.contains("puts the data of this entry there and what is there now into quarantine"), "{detail}");
        assert!(!detail.contains("old"), "{detail}");
        // And back.
        volgc.ok(&["restore", "db", "--replace"]);
        assert_eq!(tree_digest(&engine.volume_data("db")), new);
        assert_eq!(labels(&engine, "db"), json!({"which": "new"}));
    }

    fn a_volume_that_is_there_is_no_entry_and_whoever_restores_it_is_told(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.create_volume("other", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "other"]);
        for words in [&["restore", "db"][..], &["restore", "db", "--as", "again"], &["restore", "db", "--replace"]] {
            let output = volgc.run(words);
            assert_eq!(output.status, Some(1), "{output:?}");
            for part in ["volume db is there", "nothing to restore", "volgc history --volume db", "--as db --replace"] {
                assert!(output.stderr.contains(part), "no {part}: {output:?}");
            }
        }
        // As it says.
        let entry = volgc.entry_id_of("other");
        volgc.ok(&["restore", &entry, "--as", "db", "--replace"]);
        let output = volgc.run(&["restore", "neither"]);
        assert!(output.stderr.contains("there is no entry neither in quarantine"), "{output:?}");
    }

    fn what_is_held_is_not_replaced(engine: PrivateEngine) {
        let (volgc, kept, _) = with_name_in_use(&engine);
        engine.docker(&["create", "--name", "app", "-v", "db:/data", "bb", "true"]);
        let output = volgc.run(&["restore", "db", "--replace"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        assert!(output.stderr.contains("held by container app"), "{output:?}");
        kept.assert_untouched();
        engine.docker(&["rm", "app"]);
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        let output = volgc.run(&["restore", "db", "--replace"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        kept.assert_untouched();
    }

    fn a_swap_that_fails_is_undone(engine: PrivateEngine) {
        let (volgc, kept, _) = with_name_in_use(&engine);
        for point in ["restore.make_directory", "restore.rename"] {
            let output = volgc.clone().env("VOLGC_FAULT", format!("{point}@1=EIO")).run(&["restore", "db", "--replace"]);
            assert_eq!(output.status, Some(1), "{output:?}");
            assert_eq!(engine.volume_names(), ["db"], "{output:?}");
            kept.assert_untouched();
        }
    }

    fn by_entry_and_by_volume(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let mut digests = Vec::new();
        for seed in [1, 2] {
            engine.create_volume("db", &[]);
            digests.push(engine.fill_volume("db", seed));
            volgc.ok(&["quarantine", "db"]);
        }
        let entries: Vec<String> = volgc.entries().iter().map(|entry| text(&entry["entry"])).collect();
        let output = volgc.run(&["restore", "db"]);
        assert_eq!(output.status, Some(2), "{output:?}");
        for entry in &entries {
            assert!(output.stderr.contains(entry), "{output:?}");
        }
        let output = volgc.run(&["restore", "nothing"]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert_eq!(engine.volume_names(), Vec::<String>::new());

        let holds = |entry: &str, digest: &str| tree_digest(&engine.quarantined_data(entry)) == digest;
        let first = entries.iter().find(|entry| holds(entry, &digests[0])).unwrap();
        volgc.ok(&["restore", first]);
        assert_eq!(tree_digest(&engine.volume_data("db")), digests[0]);
        volgc.ok(&["restore", "db", "--as", "other"]);
        assert_eq!(tree_digest(&engine.volume_data("other")), digests[1]);
    }

    fn after_the_engine_was_started_again(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let volgc = quarantine_all(&engine);
        engine.restart();
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "the engine adopted the quarantine");
        volgc.ok(&["restore", "db"]);
        kept.assert_untouched();
        engine.restart();
        kept.assert_untouched();
        assert_eq!(cat_version(&engine, "db"), "15");
    }

    fn an_anonymous_volume_stays_one(engine: PrivateEngine) {
        let name = engine.docker(&["volume", "create"]);
        let digest = engine.fill_volume(&name, 1);
        let before = labels(&engine, &name).as_object().cloned().unwrap_or_default();
        let volgc = quarantine_all(&engine);
        volgc.ok(&["restore", &name]);
        assert_eq!(engine.volume_names(), std::slice::from_ref(&name));
        assert!(name.len() == 64 && tree_digest(&engine.volume_data(&name)) == digest);
        assert_eq!(before.contains_key("com.docker.volume.anonymous"), engine.version() != Version::V20_10);
        assert_eq!(labels(&engine, &name).as_object().cloned().unwrap_or_default(), before);
        assert_eq!(volgc.told_of(&name)["class"], "anonymous");
        // What the engine itself calls anonymous, it takes: so it knows it as that again.
        engine.docker(&["volume", "prune", "-f"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn a_container_starts_with_the_restored_data(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        engine.create_volume("seeded", &[]);
        fs::write(engine.volume_data("seeded").join("hello"), "from the volume\n").unwrap();
        let volgc = quarantine_all(&engine);
        volgc.ok(&["restore", "db"]);
        volgc.ok(&["restore", "seeded"]);
        assert_eq!(cat_version(&engine, "db"), "15");
        // An image's own content is copied into an empty volume only.
        let seeded = engine.docker(&["run", "--rm", "-v", "seeded:/seed", "bbseed", "cat", "/seed/hello"]);
        assert_eq!(seeded, "from the volume");
    }
}
