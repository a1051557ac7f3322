//! The quarantine directory and the manifests in it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::damage::state::cases::{Case, Comes, Told, try_all};
use crate::damage::state::site::{Site, run};
use harness::on_each_engine;

fn change_manifest(site: &Site<'_>, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(site.manifest()).unwrap();
    fs::create_dir_all(site.aside()).unwrap();
    fs::write(site.aside().join("manifest.json"), &text).unwrap();
    fs::write(site.manifest(), change(text)).unwrap();
}

fn mend_manifest(site: &Site<'_>) {
    if let Ok(meta) = site.manifest().symlink_metadata() {
        if meta.is_dir() {
            fs::remove_dir(site.manifest()).unwrap();
        } else {
            fs::remove_file(site.manifest()).unwrap();
        }
    }
    fs::copy(site.aside().join("manifest.json"), site.manifest()).unwrap();
}

const MANIFEST_IS_DAMAGED: &[Told] = &[
    ("report", 0, &["ENTRY", "damaged", "MANIFEST", "its data is kept. Mend the file"]),
    ("list", 0, &["ENTRY", "damaged", "MANIFEST"]),
    ("sweep", 0, &["quarantined volume ORPHAN"]),
    ("restore ENTRY", 1, &["ENTRY", "volgc list"]),
    ("restore KEPT", 1, &["KEPT", "volgc list"]),
    ("delete --yes ENTRY", 4, &["kept entry ENTRY", "MANIFEST"]),
];

const QUARANTINE_IS_NONE: &[Told] = &[
    ("report", 4, &["QUARANTINE", "Not a directory"]),
    ("list", 4, &["QUARANTINE", "Not a directory"]),
    ("sweep", 4, &["QUARANTINE", "Not a directory"]),
    ("quarantine ORPHAN", 4, &["QUARANTINE"]),
    ("restore ENTRY", 4, &["QUARANTINE"]),
    ("delete --yes ENTRY", 4, &["QUARANTINE"]),
];

/// Of the quarantine directory and of manifests.
const MANIFESTS: &[Case] = &[
    Case {
        what: "the quarantine directory is moved away by hand",
        damage: |site| {
            fs::create_dir(site.aside()).unwrap();
            fs::rename(site.quarantine(), site.aside().join("volgc")).unwrap();
        },
        told: &[
            ("report", 0, &["ORPHAN", "0 in quarantine"]),
            ("restore ENTRY", 1, &["there is no entry ENTRY", "volgc list"]),
            ("delete --yes ENTRY", 1, &["there is no entry ENTRY"]),
            ("history", 0, &["KEPT"]),
        ],
        mend: |site| fs::rename(site.aside().join("volgc"), site.quarantine()).unwrap(),
        comes_back: Comes::Back,
    },
    Case {
        what: "the quarantine directory is a file",
        damage: |site| {
            fs::create_dir(site.aside()).unwrap();
            fs::rename(site.quarantine(), site.aside().join("volgc")).unwrap();
            fs::write(site.quarantine(), "").unwrap();
        },
        told: QUARANTINE_IS_NONE,
        mend: |site| {
            fs::remove_file(site.quarantine()).unwrap();
            fs::rename(site.aside().join("volgc"), site.quarantine()).unwrap();
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "the quarantine directory is a link to where it is now",
        damage: |site| {
            fs::create_dir(site.aside()).unwrap();
            fs::rename(site.quarantine(), site.aside().join("volgc")).unwrap();
            symlink(site.aside().join("volgc"), site.quarantine()).unwrap();
        },
        told: QUARANTINE_IS_NONE,
        mend: |site| {
            fs::remove_file(site.quarantine()).unwrap();
            fs::rename(site.aside().join("volgc"), site.quarantine()).unwrap();
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is lost",
        damage: |site| {
            change_manifest(site, |text| text);
            fs::remove_file(site.manifest()).unwrap();
        },
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is empty",
        damage: |site| change_manifest(site, |_| String::new()),
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is cut short",
        damage: |site| change_manifest(site, |text| text[..text.len() / 2].to_owned()),
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is of another entry",
        damage: |site| change_manifest(site, |text| text.replace(&site.entry, "20200101-000000-00000000")),
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest has a state that is unknown",
        damage: |site| change_manifest(site, |text| text.replace("\"quarantined\"", "\"melting\"")),
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is a directory",
        damage: |site| {
            change_manifest(site, |text| text);
            fs::remove_file(site.manifest()).unwrap();
            fs::create_dir(site.manifest()).unwrap();
        },
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is a FIFO",
        damage: |site| {
            change_manifest(site, |text| text);
            fs::remove_file(site.manifest()).unwrap();
            run("mkfifo", &[&site.manifest()]);
        },
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is a link",
        damage: |site| {
            change_manifest(site, |text| text);
            fs::remove_file(site.manifest()).unwrap();
            symlink(site.aside().join("manifest.json"), site.manifest()).unwrap();
        },
        told: MANIFEST_IS_DAMAGED,
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
    Case {
        what: "the manifest is of a newer volgc",
        damage: |site| {
            change_manifest(site, |text| text.replace("\"manifest_version\": 2", "\"manifest_version\": 99"));
        },
        told: &[
            ("report", 4, &["MANIFEST", "version 99", "newer volgc"]),
            ("list", 4, &["MANIFEST", "version 99", "newer volgc"]),
            ("sweep", 4, &["MANIFEST", "version 99", "newer volgc"]),
            ("quarantine ORPHAN", 4, &["MANIFEST", "newer volgc"]),
            ("restore ENTRY", 4, &["MANIFEST", "newer volgc"]),
            ("delete --yes ENTRY", 4, &["MANIFEST", "newer volgc"]),
        ],
        mend: mend_manifest,
        comes_back: Comes::Back,
    },
];

on_each_engine! {
    fn a_damaged_manifest_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, MANIFESTS);
    }
}
