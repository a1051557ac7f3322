//! A host whose state is damaged, and what must be true of it after everything that is run there.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::damage::state::cases::Told;
use harness::{KEEP_IN_QUARANTINE, Output, PrivateEngine, Volgc, tree_listing};

/// A host whose state is damaged: a volume that the next sweep quarantines, and one that is in quarantine.
pub(crate) struct Site<'a> {
    pub(crate) engine: &'a PrivateEngine,
    pub(crate) volgc: Volgc,
    pub(crate) orphan: String,
    kept: String,
    pub(crate) entry: String,
    pub(crate) contents: [Vec<String>; 2],
    pub(crate) mounted: Cell<bool>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(engine: &'a PrivateEngine, number: usize) -> Self {
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

    pub(crate) fn ledger(&self) -> PathBuf {
        self.volgc.state_dir().join("ledger.db")
    }

    pub(crate) fn note(&self) -> PathBuf {
        self.quarantine().join("ledger.json")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.engine.root().join("volgc")
    }

    pub(crate) fn entry(&self) -> PathBuf {
        self.quarantine().join(&self.entry)
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.entry().join("manifest.json")
    }

    /// Where a test puts aside what it damages.
    pub(crate) fn aside(&self) -> PathBuf {
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
    pub(crate) fn run(&self, what: &str, (command, status, parts): Told) -> Output {
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
    pub(crate) fn assert_whole(&self, when: &str) {
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

    /// The names in quarantine. What is being deleted has none any more.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.volgc.entries();
        entries.iter().filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect()
    }

    /// Leaves the engine as it was found.
    pub(crate) fn clear(&self) {
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
pub(crate) fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}
