//! Damaged state: whatever happened to the ledger, the quarantine directory, an entry or a manifest, no data is lost, the outcome
//! is a defined one with its exit code, and the message names the file and the way out (I4, I9).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "tests have effects, and fail loudly"
)]

mod harness;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::fake::Fake;
use harness::{KEEP_IN_QUARANTINE, Output, PrivateEngine, Volgc, on_each_engine, tree_listing};

/// A host whose state is damaged: a volume that the next sweep quarantines, and one that is in quarantine.
struct Site<'a> {
    engine: &'a PrivateEngine,
    volgc: Volgc,
    orphan: String,
    kept: String,
    entry: String,
    contents: [Vec<String>; 2],
    mounted: Cell<bool>,
}

/// A command with what must come of it: its exit code, and words that it must say.
type Told = (&'static str, i32, &'static [&'static str]);

/// One damage.
struct Case {
    what: &'static str,
    /// What is done to the host.
    damage: fn(&Site<'_>),
    /// What each command says of it. `ORPHAN`, `KEPT`, `ENTRY`, `LEDGER`, `QUARANTINE` and `MANIFEST` stand for the site's own.
    told: &'static [Told],
    /// What the message said to do.
    mend: fn(&Site<'_>),
    /// Whether the entry is to be restored in the end, under the name it had.
    comes_back: Comes,
}

enum Comes {
    /// By `volgc restore`, under its name.
    Back,
    /// It was restored, or its data was moved by hand, within the case.
    Otherwise,
}

impl<'a> Site<'a> {
    fn new(engine: &'a PrivateEngine, number: usize) -> Self {
        let (orphan, kept) = (format!("orphan-{number}"), format!("kept-{number}"));
        for (seed, name) in [(1, &orphan), (2, &kept)] {
            engine.create_volume(name, &[("com.example.kept", name)]);
            engine.fill_volume(name, seed);
        }
        let contents = [&orphan, &kept].map(|name| tree_listing(&engine.volume_data(name)));
        let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["sweep"]);
        volgc.ok(&["quarantine", &kept]);
        let entry = volgc.entry_id_of(&kept);
        Self { engine, volgc, orphan, kept, entry, contents, mounted: Cell::new(false) }
    }

    fn ledger(&self) -> PathBuf {
        self.volgc.state_dir().join("ledger.db")
    }

    fn quarantine(&self) -> PathBuf {
        self.engine.root().join("volgc")
    }

    fn entry(&self) -> PathBuf {
        self.quarantine().join(&self.entry)
    }

    fn manifest(&self) -> PathBuf {
        self.entry().join("manifest.json")
    }

    /// Lets the entry have been in quarantine for so long: its clock, and when its manifest says that it began. Says which bits of the
    /// ledger are its row's.
    fn age(&self, watched: Duration) -> Vec<usize> {
        let since = chrono::Utc::now() - watched;
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(self.manifest()).unwrap()).unwrap();
        manifest["quarantined_at"] = since.to_rfc3339().into();
        fs::write(self.manifest(), manifest.to_string()).unwrap();
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        let ledger = rusqlite::Connection::open(self.ledger()).unwrap();
        let change = "UPDATE entries SET watched_ms = ?1, quarantined_since = ?2 WHERE entry = ?3";
        let watched = i64::try_from(watched.as_millis()).unwrap();
        assert_eq!(ledger.execute(change, (watched, &since, &self.entry)).unwrap(), 1);
        drop(ledger);
        let (bytes, row) = (fs::read(self.ledger()).unwrap(), format!("{}{since}", self.entry));
        let at = bytes.windows(row.len()).position(|window| window == row.as_bytes()).unwrap();
        // A record has its length and types before it; behind the texts are the watched time and the sightings.
        let numbers = at + row.len();
        let is_digit = |bit: &usize| (at..numbers).contains(&(bit / 8));
        // Every bit of them, and a few of the texts.
        ((at - 8) * 8..(numbers + 5) * 8).filter(|bit| !is_digit(bit) || bit % 29 == 0).collect()
    }

    /// Where a test puts aside what it damages.
    fn aside(&self) -> PathBuf {
        self.engine.root().join("aside")
    }

    fn filled(&self, text: &str) -> String {
        let replacements = [
            ("LEDGER", self.ledger().display().to_string()),
            ("MANIFEST", self.manifest().display().to_string()),
            ("QUARANTINE", self.quarantine().display().to_string()),
            ("STATE", self.volgc.state_dir().display().to_string()),
            ("ORPHAN", self.orphan.clone()),
            ("KEPT", self.kept.clone()),
            ("ENTRY", self.entry.clone()),
        ];
        replacements.iter().fold(text.to_owned(), |text, (name, is)| text.replace(name, is))
    }

    #[track_caller]
    fn run(&self, what: &str, (command, status, parts): Told) -> Output {
        let words: Vec<String> = command.split(' ').map(|word| self.filled(word)).collect();
        let output = self.volgc.run(&words);
        assert_eq!(output.status, Some(status), "{what}: {words:?}: {output:?}");
        let told = format!("{}{}", output.stdout, output.stderr);
        assert!(!told.contains("panicked"), "{what}: {words:?}: {told}");
        for part in parts {
            let part = self.filled(part);
            assert!(told.contains(&part), "{what}: {words:?}: no {part:?} in\n{told}");
        }
        self.assert_whole(&format!("{what}: after {words:?}"));
        output
    }

    /// Both are somewhere, as they were: in a volume, in an entry, or where the test put it aside.
    #[track_caller]
    fn assert_whole(&self, when: &str) {
        let places = self.places();
        for contents in &self.contents {
            let whole = places.iter().filter(|place| tree_listing(place)[1..] == contents[1..]).count();
            assert_eq!(whole, 1, "{when}: data is not whole in one place: {places:?}");
        }
    }

    fn places(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        let roots = [self.engine.volumes_dir(), self.quarantine(), self.aside(), self.aside().join("volgc")];
        for root in roots.iter().filter(|root| !root.is_symlink()) {
            for entry in fs::read_dir(root).into_iter().flatten().flatten() {
                for data in ["_data", "data"] {
                    let path = entry.path().join(data);
                    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                        places.push(path);
                    }
                }
            }
        }
        places
    }

    /// Everything works again: what was in quarantine comes back, what is due goes there, and comes back too.
    #[track_caller]
    fn assert_works(&self, case: &Case) {
        let what = case.what;
        match case.comes_back {
            Comes::Back => {
                self.run(what, ("restore ENTRY", 0, &["restored volume KEPT"]));
            }
            Comes::Otherwise => {}
        }
        let mut names = self.names();
        // A new ledger sees everything for the first time.
        for _ in 0..2 {
            if !names.contains(&self.orphan) {
                self.run(what, ("sweep", 0, &[]));
                names = self.names();
            }
        }
        assert!(names.contains(&self.orphan), "{what}: nothing is collected any more: {names:?}");
        self.run(what, ("restore ORPHAN", 0, &[]));
        assert_eq!(tree_listing(&self.engine.volume_data(&self.orphan)), self.contents[0], "{what}");
    }

    /// The names in quarantine. What is being deleted has none any more.
    fn names(&self) -> Vec<String> {
        let entries = self.volgc.entries();
        entries.iter().filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect()
    }

    /// Leaves the engine as it was found.
    fn clear(&self) {
        if self.mounted.get() {
            run("umount", &[&self.volgc.state_dir()]);
        }
        for name in self.engine.volume_names() {
            self.engine.json("DELETE", &format!("/volumes/{name}"), None);
        }
        for path in [self.quarantine(), self.aside()] {
            if path.symlink_metadata().is_ok() {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

fn nothing(_: &Site<'_>) {}

/// Moves the ledger away, as each message about a damaged one says.
fn move_ledger_away(site: &Site<'_>) {
    fs::rename(site.ledger(), site.ledger().with_extension("damaged")).unwrap();
}

fn change_ledger(site: &Site<'_>, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(site.ledger()).unwrap();
    fs::write(site.ledger(), change(bytes)).unwrap();
}

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

/// A tmpfs over the state directory, with the ledger in it.
fn mount_state(site: &Site<'_>, then: impl FnOnce(&Path)) {
    let state = site.volgc.state_dir();
    let ledger = fs::read(site.ledger()).unwrap();
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&state).status();
    assert!(output.unwrap().success());
    site.mounted.set(true);
    fs::write(site.ledger(), ledger).unwrap();
    then(&state);
}

fn unmount_state(site: &Site<'_>) {
    run("umount", &[&site.volgc.state_dir()]);
    site.mounted.set(false);
}

const LEDGER_IS_DAMAGED: &[Told] = &[
    ("report", 1, &["LEDGER", "is damaged", "mv "]),
    ("list", 1, &["LEDGER", "is damaged", "mv "]),
    ("explain ORPHAN", 1, &["LEDGER", "mv "]),
    ("history", 1, &["LEDGER", "mv "]),
    ("sweep", 1, &["LEDGER", "is damaged", "mv "]),
    ("quarantine ORPHAN", 1, &["LEDGER", "mv "]),
    ("restore ENTRY", 1, &["LEDGER", "mv "]),
    ("delete --yes ENTRY", 1, &["LEDGER", "mv "]),
];

const LEDGER_ONLY_DELAYS: &[Told] = &[
    ("report", 0, &["ORPHAN", "KEPT"]),
    ("list", 0, &["ENTRY", "KEPT"]),
    ("sweep", 0, &["nothing was due"]),
];

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

/// Of the ledger and its disk.
const LEDGERS: &[Case] = &[
    Case {
        what: "the ledger is lost",
        damage: |site| fs::remove_file(site.ledger()).unwrap(),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the state directory is lost",
        damage: |site| fs::remove_dir_all(site.volgc.state_dir()).unwrap(),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is emptied",
        damage: |site| change_ledger(site, |_| Vec::new()),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is cut short",
        damage: |site| change_ledger(site, |bytes| bytes[..bytes.len() / 2].to_vec()),
        told: LEDGER_IS_DAMAGED,
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is noise after its head",
        damage: |site| {
            change_ledger(site, |mut bytes| {
                bytes[4096..].fill(0xa5);
                bytes
            });
        },
        told: LEDGER_IS_DAMAGED,
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is something else",
        damage: |site| change_ledger(site, |_| b"Nov 24 03:00:00 host volgc: sweep done\n".repeat(300)),
        told: &[
            ("report", 1, &["LEDGER", "is not a ledger", "mv "]),
            ("sweep", 1, &["LEDGER", "is not a ledger", "mv "]),
            ("restore ENTRY", 1, &["LEDGER", "is not a ledger", "mv "]),
        ],
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is newer",
        // `user_version` is at byte 60 of the header (SQLite file format, 1.3).
        damage: |site| {
            change_ledger(site, |mut bytes| {
                bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
                bytes
            });
        },
        told: &[
            ("report", 1, &["LEDGER", "newer volgc", "version is 99", "mv "]),
            ("sweep", 1, &["LEDGER", "newer volgc", "Nothing was changed"]),
            ("delete --yes ENTRY", 1, &["LEDGER", "newer volgc"]),
        ],
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is a directory",
        damage: |site| {
            fs::remove_file(site.ledger()).unwrap();
            fs::create_dir(site.ledger()).unwrap();
        },
        told: &[
            ("report", 1, &["LEDGER", "Check that it is a plain file"]),
            ("sweep", 1, &["LEDGER", "Check that it is a plain file"]),
        ],
        mend: |site| fs::remove_dir(site.ledger()).unwrap(),
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is of another engine",
        damage: |site| {
            let fake = Fake::start();
            let other = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
            other.config(KEEP_IN_QUARANTINE);
            other.ok(&["sweep"]);
            fs::copy(other.state_dir().join("ledger.db"), site.ledger()).unwrap();
        },
        told: &[
            ("report", 0, &["would refuse", "FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("sweep", 4, &["refused to act", "FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("quarantine ORPHAN", 4, &["FAKE:ENGINE:ID"]),
            ("restore ENTRY", 4, &["FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("delete --yes ENTRY", 4, &["FAKE:ENGINE:ID"]),
        ],
        mend: |site| {
            site.volgc.ok(&["acknowledge"]);
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "the disk of the ledger is full",
        damage: |site| {
            mount_state(site, |state| {
                let mut filler = fs::File::create(state.join("filler")).unwrap();
                while std::io::Write::write_all(&mut filler, &[0; 512]).is_ok() {}
            });
        },
        told: &[
            ("report", 0, &["ORPHAN", "KEPT"]),
            ("sweep", 1, &["LEDGER", "full", "Make room"]),
            ("quarantine ORPHAN", 1, &["LEDGER", "full", "Make room"]),
        ],
        mend: unmount_state,
        comes_back: Comes::Back,
    },
    Case {
        what: "the disk of the ledger is read-only",
        damage: |site| {
            mount_state(site, |state| run("mount", &["-o".as_ref(), "remount,ro".as_ref(), state]));
        },
        told: &[
            ("report", 0, &["ORPHAN", "KEPT"]),
            ("list", 0, &["ENTRY"]),
            ("sweep", 1, &["LEDGER", "read-only"]),
            ("quarantine ORPHAN", 1, &["LEDGER", "read-only"]),
            ("restore ENTRY", 1, &["LEDGER", "read-only"]),
            ("delete --yes ENTRY", 1, &["LEDGER", "read-only"]),
        ],
        mend: unmount_state,
        comes_back: Comes::Back,
    },
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
            change_manifest(site, |text| text.replace("\"manifest_version\": 1", "\"manifest_version\": 99"));
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

/// Flips one bit, at a place that differs each time and is the same in each run.
fn flipped(mut bytes: Vec<u8>, nth: usize) -> Vec<u8> {
    let at = nth * 7919 % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    bytes
}

const FLIPS: usize = 24;

/// Tries each case, and tells all that are wrong.
fn try_all(engine: &PrivateEngine, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let site = Site::new(engine, number);
            (case.damage)(&site);
            site.assert_whole(case.what);
            for told in case.told {
                site.run(case.what, *told);
            }
            (case.mend)(&site);
            site.assert_works(case);
            site.clear();
        }));
        if tried.is_err() {
            wrong.push(case.what);
            clear_by_force(engine);
        }
    }
    assert!(wrong.is_empty(), "of {} cases these are wrong: {wrong:#?}", cases.len());
    println!("damage: {} inputs tried, {} losses", cases.len(), wrong.len());
}

/// So that one case that is wrong says nothing of the others.
fn clear_by_force(engine: &PrivateEngine) {
    for volgc in fs::read_dir(engine.dir()).unwrap().flatten() {
        Command::new("umount").arg("-q").arg(volgc.path().join("state")).status().unwrap();
    }
    for path in [engine.root().join("volgc"), engine.root().join("aside")] {
        Command::new("rm").arg("-rf").arg(path).status().unwrap();
    }
    for name in engine.volume_names() {
        engine.json("DELETE", &format!("/volumes/{name}"), None);
    }
}

on_each_engine! {
    fn a_damaged_ledger_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, LEDGERS);
    }

    fn a_damaged_manifest_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, MANIFESTS);
    }

    fn a_damaged_entry_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, ENTRIES);
    }

    /// A bit that changed is not always seen; whatever follows, no data is lost by it.
    fn a_flipped_bit_loses_nothing(engine: PrivateEngine) {
        let site = Site::new(&engine, 0);
        let (ledger, manifest) = (fs::read(site.ledger()).unwrap(), fs::read(site.manifest()).unwrap());
        let mut refused = 0;
        for nth in 0..FLIPS {
            fs::write(site.ledger(), flipped(ledger.clone(), nth)).unwrap();
            let output = site.volgc.run(&["report", "--no-sizes"]);
            assert!(matches!(output.status, Some(0 | 1 | 4)), "{nth}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{nth}: {output:?}");
            let is_named = output.stderr.contains(&site.ledger().display().to_string());
            assert!(output.status != Some(1) || is_named, "{nth}: {output:?}");
            refused += usize::from(output.status != Some(0));
        }
        fs::write(site.ledger(), &ledger).unwrap();
        for nth in 0..FLIPS {
            fs::write(site.manifest(), flipped(manifest.clone(), nth)).unwrap();
            for words in [&["list"][..], &["sweep"]] {
                let output = site.volgc.run(words);
                assert!(matches!(output.status, Some(0 | 3 | 4)), "{nth}: {words:?}: {output:?}");
                assert!(!output.stderr.contains("panicked"), "{nth}: {output:?}");
                site.assert_whole(&format!("bit {nth} of the manifest, {words:?}"));
            }
            let list = site.volgc.run(&["list"]).stdout;
            refused += usize::from(list.contains("damaged"));
        }
        fs::write(site.manifest(), &manifest).unwrap();
        assert!(refused > FLIPS / 2, "hardly any was noticed: {refused}");
        site.run("flipped bits", ("restore ENTRY", 0, &["restored volume KEPT"]));
        site.clear();
        println!("damage: {} inputs tried, 0 losses", 2 * FLIPS);
    }

    /// What is in quarantine is deleted by its clock, and its clock is in the ledger: a bit of it that changed must not end what has
    /// time left (I3, I9).
    fn a_flipped_bit_of_a_ledger_deletes_nothing_before_its_time(engine: PrivateEngine) {
        let site = Site::new(&engine, 0);
        site.volgc.config(&KEEP_IN_QUARANTINE.replace("\"quarantine\"", "\"enforce\""));
        // The other volume goes into quarantine too, and both clocks run.
        (0..3).for_each(|_| drop(site.volgc.ok(&["sweep"])));
        let row = site.age(Duration::from_mins(40));
        let ledger = fs::read(site.ledger()).unwrap();
        let mut flips = row;
        flips.extend((0..FLIPS).map(|nth| nth * 7919 % (ledger.len() * 8)));
        let (mut early, mut refused) = (Vec::new(), 0);
        for bit in &flips {
            let mut bytes = ledger.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(site.ledger(), bytes).unwrap();
            let output = site.volgc.run(&["sweep"]);
            assert!(matches!(output.status, Some(0 | 1 | 3 | 4)), "bit {bit}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "bit {bit}: {output:?}");
            refused += usize::from(output.status != Some(0));
            if !site.entry().is_dir() {
                early.push((bit, output));
                break;
            }
            site.assert_whole(&format!("bit {bit} of the ledger"));
        }
        assert!(early.is_empty(), "deleted 20 minutes before its time: {early:#?}");
        assert!(refused > 0, "no bit of them was ever noticed");
        // With the ledger as it was, and its time over, it goes: the flips were of a ledger that decides.
        fs::write(site.ledger(), &ledger).unwrap();
        site.age(Duration::from_mins(61));
        site.volgc.ok(&["sweep"]);
        assert!(!site.entry().exists(), "it is not deleted when it is due");
        println!("damage: {} inputs tried, {} losses", flips.len(), early.len());
        site.clear();
    }
}
