//! Volumes whose content must stay as it is.

use std::path::{Path, PathBuf};

use super::{NO_GRACE, PrivateEngine, Volgc, tree};

/// An unreferenced volume that a sweep takes, as proof that it acts at all.
const CANARY: &str = "canary";

/// Volumes and directories of an engine's host, each with its content as it must stay.
#[derive(Debug)]
pub struct Contents<'a> {
    engine: &'a PrivateEngine,
    noted: Vec<(PathBuf, Vec<String>)>,
    volumes: Vec<String>,
}

impl<'a> Contents<'a> {
    /// None yet.
    pub fn new(engine: &'a PrivateEngine) -> Self {
        Self { engine, noted: Vec::new(), volumes: Vec::new() }
    }

    /// Makes a volume with content that no other has.
    #[track_caller]
    pub fn volume(&mut self, name: &str) {
        self.engine.create_volume(name, &[]);
        self.engine.fill_volume(name, 1000 + self.noted.len() as u64);
        self.note_volume(name);
    }

    /// Takes the content of a volume as it is now.
    #[track_caller]
    pub fn note_volume(&mut self, name: &str) {
        self.volumes.push(name.to_owned());
        self.note(&self.engine.volume_data(name));
    }

    /// Takes the content of a directory or file of the host as it is now.
    pub fn note(&mut self, path: &Path) {
        self.noted.push((path.to_owned(), tree::tree_listing(path)));
    }

    /// Every volume is there, and everything is as it was.
    #[track_caller]
    pub fn assert_untouched(&self) {
        let there = self.engine.volume_names();
        for name in &self.volumes {
            assert!(there.contains(name), "volume {name} is gone; there are {there:?}");
        }
        for (path, before) in &self.noted {
            assert!(path.symlink_metadata().is_ok(), "{} is gone", path.display());
            let now = tree::tree_listing(path);
            let missing: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
            let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
            assert!(*before == now, "{} changed\nbefore: {missing:#?}\nnow: {new:#?}", path.display());
        }
    }

    /// Sweeps several times without any grace, sees that an unreferenced volume goes for good, and that nothing else does.
    #[track_caller]
    pub fn assert_survive_sweeps(&self) {
        let volgc = Volgc::configured(self.engine, NO_GRACE);
        self.assert_survive_sweeps_of(&volgc);
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }

    /// The same with a runner that has swept before, whose quarantine may hold something.
    #[track_caller]
    pub fn assert_survive_sweeps_of(&self, volgc: &Volgc) {
        self.engine.create_volume(CANARY, &[]);
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
        }
        let is_there = self.engine.volume_names().contains(&CANARY.to_owned());
        assert!(!is_there, "the sweeps took nothing: {}", volgc.ok(&["explain", CANARY]));
        assert!(!volgc.quarantined_names().contains(&CANARY.to_owned()), "the sweeps deleted nothing");
        self.assert_untouched();
    }
}
