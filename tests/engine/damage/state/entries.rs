//! What is in an entry, and what others put there.

use std::fs;
use std::os::unix::fs::symlink;

use crate::damage::state::cases::{Case, Comes, nothing, try_all};
use harness::on_each_engine;

/// Of what is in an entry, and of what others put there.
const ENTRIES: &[Case] = &[
    Case {
        what: "the data was taken out by hand",
        damage: |site| {
            fs::create_dir_all(site.aside().join("by-hand")).unwrap();
            fs::rename(site.entry().join("data"), site.aside().join("by-hand/data")).unwrap();
        },
        told: &[
            ("list", 0, &["ENTRY", "KEPT"]),
            ("restore ENTRY", 4, &["ENTRY/data is not there", "volgc delete ENTRY"]),
            ("sweep", 0, &["quarantined volume ORPHAN"]),
        ],
        mend: |site| fs::rename(site.aside().join("by-hand/data"), site.entry().join("data")).unwrap(),
        comes_back: Comes::Back,
    },
    Case {
        what: "the data was taken out by hand, and the entry is not needed any more",
        damage: |site| {
            fs::create_dir_all(site.aside().join("by-hand")).unwrap();
            fs::rename(site.entry().join("data"), site.aside().join("by-hand/data")).unwrap();
        },
        told: &[("delete --yes ENTRY", 0, &["deleted entry ENTRY"]), ("list", 0, &[])],
        mend: nothing,
        comes_back: Comes::Otherwise,
    },
    Case {
        what: "the data is another directory",
        damage: |site| {
            fs::create_dir_all(site.aside().join("by-hand")).unwrap();
            fs::rename(site.entry().join("data"), site.aside().join("by-hand/data")).unwrap();
            fs::create_dir(site.entry().join("data")).unwrap();
            fs::write(site.entry().join("data/file"), "of somebody").unwrap();
        },
        told: &[
            ("list", 0, &["ENTRY", "KEPT"]),
            ("restore ENTRY", 1, &["ENTRY/data", "is not the directory that the manifest names"]),
            ("delete --yes ENTRY", 4, &["kept entry ENTRY", "ENTRY/data", "exchanged"]),
            ("sweep", 0, &["quarantined volume ORPHAN"]),
        ],
        mend: |site| {
            assert_eq!(fs::read_to_string(site.entry().join("data/file")).unwrap(), "of somebody");
            fs::remove_dir_all(site.entry().join("data")).unwrap();
            fs::rename(site.aside().join("by-hand/data"), site.entry().join("data")).unwrap();
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "the data is a link",
        damage: |site| {
            fs::create_dir_all(site.aside().join("by-hand")).unwrap();
            fs::rename(site.entry().join("data"), site.aside().join("by-hand/data")).unwrap();
            symlink(site.aside().join("by-hand/data"), site.entry().join("data")).unwrap();
        },
        told: &[
            ("report", 0, &["ENTRY", "KEPT"]),
            ("restore ENTRY", 1, &["ENTRY/data", "is not the directory that the manifest names"]),
            ("delete --yes ENTRY", 4, &["kept entry ENTRY", "ENTRY/data", "exchanged"]),
            ("sweep", 0, &["quarantined volume ORPHAN"]),
        ],
        mend: |site| {
            fs::remove_file(site.entry().join("data")).unwrap();
            fs::rename(site.aside().join("by-hand/data"), site.entry().join("data")).unwrap();
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "there are directories without anything, and foreign ones",
        damage: |site| {
            fs::create_dir(site.quarantine().join("20200101-000000-00000000")).unwrap();
            fs::create_dir(site.quarantine().join("deleting-20200101-000000-00000001")).unwrap();
            fs::create_dir_all(site.quarantine().join("lost+found")).unwrap();
            fs::write(site.quarantine().join("README"), "by hand").unwrap();
        },
        told: &[
            ("list", 0, &["ENTRY", "KEPT"]),
            ("sweep", 0, &["quarantined volume ORPHAN"]),
            ("list", 0, &["ENTRY", "ORPHAN"]),
        ],
        mend: |site| {
            assert_eq!(fs::read_to_string(site.quarantine().join("README")).unwrap(), "by hand");
            assert!(site.quarantine().join("lost+found").is_dir());
            assert!(!site.quarantine().join("20200101-000000-00000000").exists(), "an empty entry is left");
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "there are unknown files in the entry",
        damage: |site| {
            fs::write(site.entry().join("notes.txt"), "by hand").unwrap();
            fs::write(site.entry().join("manifest.json.new"), "{\"manifest_ver").unwrap();
        },
        told: &[
            ("list", 0, &["ENTRY", "KEPT"]),
            ("sweep", 0, &["quarantined volume ORPHAN"]),
            ("restore ENTRY", 0, &["restored volume KEPT"]),
            ("list", 0, &["ORPHAN"]),
        ],
        mend: |site| assert_eq!(fs::read_to_string(site.entry().join("notes.txt")).unwrap(), "by hand"),
        comes_back: Comes::Otherwise,
    },
    Case {
        what: "there are unknown files in an entry that is deleted",
        damage: |site| {
            fs::create_dir_all(site.aside().join("by-hand")).unwrap();
            fs::rename(site.entry().join("data"), site.aside().join("by-hand/data")).unwrap();
            fs::create_dir(site.entry().join("backup")).unwrap();
            fs::write(site.entry().join("backup/file"), "by hand").unwrap();
        },
        told: &[
            ("delete --yes ENTRY", 3, &["deleting-ENTRY", "not volgc's", "move it away"]),
            ("list", 0, &["ENTRY", "deleting"]),
            ("delete --yes ENTRY", 3, &["deleting-ENTRY", "move it away"]),
        ],
        mend: |site| {
            let entry = site.quarantine().join(format!("deleting-{}", site.entry));
            assert_eq!(fs::read_to_string(entry.join("backup/file")).unwrap(), "by hand");
            fs::rename(entry.join("backup"), site.aside().join("backup")).unwrap();
        },
        comes_back: Comes::Otherwise,
    },
    Case {
        what: "the lock is a directory",
        damage: |site| {
            fs::remove_file(site.quarantine().join("lock")).unwrap();
            fs::create_dir(site.quarantine().join("lock")).unwrap();
        },
        told: &[
            ("report", 0, &["ENTRY", "KEPT"]),
            ("sweep", 1, &["QUARANTINE/lock", "Is a directory"]),
            ("restore ENTRY", 1, &["QUARANTINE/lock"]),
        ],
        mend: |site| fs::remove_dir(site.quarantine().join("lock")).unwrap(),
        comes_back: Comes::Back,
    },
    Case {
        what: "the lock is a link",
        damage: |site| {
            fs::create_dir_all(site.aside()).unwrap();
            fs::write(site.aside().join("precious"), "precious").unwrap();
            fs::remove_file(site.quarantine().join("lock")).unwrap();
            symlink(site.aside().join("precious"), site.quarantine().join("lock")).unwrap();
        },
        told: &[("sweep", 1, &["QUARANTINE/lock"]), ("restore ENTRY", 1, &["QUARANTINE/lock"])],
        mend: |site| {
            assert_eq!(fs::read_to_string(site.aside().join("precious")).unwrap(), "precious");
            fs::remove_file(site.quarantine().join("lock")).unwrap();
        },
        comes_back: Comes::Back,
    },
];

on_each_engine! {
    fn a_damaged_entry_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, ENTRIES);
    }
}
