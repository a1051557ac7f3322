//! The quarantine directory, `<docker root>/volgc`: on the file system of the volumes, and outside `volumes/`, where an engine
//! before 29.4 takes every directory for a volume when it starts.
//!
//! ```text
//! volgc/                    0711 root: who may read a volume by its path goes through while its link leads here
//!   lock                    held by whoever changes something
//!   ledger.json             which ledger was used last; see `note`
//!   20261124-021500-1f/     one entry: manifest.json, and data/, the renamed `_data`
//!   20261124-021800-4b/     one on its way: the data is where the volume's link leads; see `exchange`
//!   20261124-022000-9c/     one in place: manifest.json alone
//!   deleting-20261124-.../  an entry whose deletion was begun; where a disk had no room for that name, one with the sticky bit
//!   unsafe.NAME/            an order for this name may still be on its way; see `names`
//! ```
//!
//! Every effect is by descriptor below this directory or below one volume's (I6).

mod ending;
mod exchange;
mod lock;
mod manifest;
mod moving;
mod names;
mod note;

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::covers::{Cover, Covers};
use super::directory::{self, Facts};
use super::fault::{self, Point};
use super::volumes_dir::VolumesDir;
use crate::gc::entry::{Entry, EntryId};
use crate::gc::volume::Unmovable;

pub use ending::DeletionError;
pub use exchange::Changed;
pub use lock::{Lock, LockError};
pub use manifest::{BadManifest, parse as parse_manifest};

/// Its name below the docker root.
pub const DIRECTORY: &str = "volgc";
const DIRECTORY_C: &CStr = c"volgc";
const DATA: &CStr = c"data";
/// The mode of the quarantine and of an entry in it.
const MODE: Mode = Mode::RWXU.union(Mode::XGRP).union(Mode::XOTH);
const DELETING: &str = "deleting-";

/// Why something in the quarantine directory could not be done. Each names the path.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// A system call failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's words.
        source: Errno,
    },
    /// A manifest that a newer program wrote.
    #[error(
        "{path} has manifest version {version}, and this volgc knows {known} at most; use the newer volgc that wrote it"
    )]
    NewerManifest {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// Ours.
        known: u32,
    },
    /// A manifest that is damaged, where it is needed.
    #[error("{path} is damaged: {why}; its data is kept. Mend the file, or move the data away by hand")]
    DamagedManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A place that is taken.
    #[error("{path} exists already; nothing was overwritten (I7)")]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// An entry with more in it than is ours.
    #[error(
        "{path} holds something that is not volgc's, which is left alone; move it away, and it ends with the next sweep"
    )]
    NotEmpty {
        /// The entry's directory.
        path: PathBuf,
    },
    /// A mount where none may be.
    #[error(
        "something is mounted on {path}, so nothing in it was deleted (I6); unmount it, and the next sweep goes on"
    )]
    Mounted {
        /// The directory.
        path: PathBuf,
    },
    /// The mount table cannot be read, without which no directory is looked into.
    #[error("{0}")]
    Covers(String),
    /// A mount on what is to be looked at.
    #[error(
        "something is mounted on {path}, which is not looked into, as what is mounted may never answer; unmount it, and the next \
         sweep goes on"
    )]
    Covered {
        /// The directory.
        path: PathBuf,
    },
    /// The file system does not rename the data, and never will.
    #[error("the data of {path} was not moved: {}", .why.sentence())]
    NotRenamed {
        /// The volume's directory.
        path: PathBuf,
        /// Why, as a reason to keep it.
        why: Unmovable,
    },
    /// The data is not what the manifest says.
    #[error(
        "{path} is not the directory that the manifest names; something exchanged it, so nothing was done"
    )]
    NotTheSame {
        /// The directory.
        path: PathBuf,
    },
}

/// The entry whose directory has, or had, this name.
#[expect(
    clippy::disallowed_methods,
    reason = "a name that is not ours is no entry's; the listing reports it as damaged"
)]
pub fn entry_of(directory: &str) -> Option<EntryId> {
    EntryId::new(directory.strip_prefix(DELETING).unwrap_or(directory)).ok()
}

/// The names that an entry's directory has: in quarantine, and once its deletion was begun.
pub fn directories_of(entry: &EntryId) -> [String; 2] {
    [entry.to_string(), format!("{DELETING}{entry}")]
}

/// The quarantine directory, held open.
#[derive(Debug)]
pub struct QuarantineDir {
    path: PathBuf,
    directory: OwnedFd,
}

/// Whether what is mounted on an entry is in the way of reading its manifest.
fn is_in_the_way(cover: &Cover) -> bool {
    cover.is_whole || cover.inside.iter().any(|name| name != DATA.to_bytes())
}

fn mounted_on(path: &Path) -> String {
    format!(
        "something is mounted on {} or on what is in it, which is not looked into, as what is mounted may never answer; its data is \
         kept. Unmount it, and the next sweep goes on",
        path.display()
    )
}

/// What is in quarantine below a docker root; nothing where that is not on this machine, or nothing was ever set aside.
///
/// # Errors
///
/// When any of it cannot be read.
pub fn entries_below(root: Option<&VolumesDir>) -> Result<Vec<Entry>, QuarantineError> {
    let Some(root) = root else { return Ok(Vec::new()) };
    match QuarantineDir::open_existing(root.root(), root.root_path())? {
        Some(quarantine) => quarantine.entries(),
        None => Ok(Vec::new()),
    }
}

impl QuarantineDir {
    /// Opens it if it exists. Nothing is made (I10).
    pub fn open_existing(root: BorrowedFd<'_>, root_path: &Path) -> Result<Option<Self>, QuarantineError> {
        let path = root_path.join(DIRECTORY);
        match directory::open_child(root, DIRECTORY_C) {
            Ok(directory) => Ok(Some(Self { path, directory })),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(QuarantineError::Io { action: "open", path, source }),
        }
    }

    /// Opens it, and makes it first where it does not exist: nobody but root lists it.
    pub fn open_or_make(root: BorrowedFd<'_>, root_path: &Path) -> Result<Self, QuarantineError> {
        let path = root_path.join(DIRECTORY);
        let failed = |source| QuarantineError::Io {
            action: "make the quarantine directory",
            path: path.clone(),
            source,
        };
        let existing = Self::open_existing(root, root_path)?;
        if existing.is_none() {
            fault::at(Point::QuarantineMakeDirectory).map_err(failed)?;
            match rustix::fs::mkdirat(root, DIRECTORY_C, MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        // mkdir(2) takes the umask off, and volgc 0.1 made it 0700.
        fault::at(Point::QuarantineMode).map_err(failed)?;
        rustix::fs::chmodat(root, DIRECTORY_C, MODE, AtFlags::empty()).map_err(failed)?;
        // I4: also where it exists, because whoever made it may have been killed before it had synced that.
        fault::at(Point::QuarantineSync).map_err(failed)?;
        rustix::fs::fsync(root).map_err(failed)?;
        match existing {
            Some(existing) => Ok(existing),
            None => Ok(Self { directory: directory::open_child(root, DIRECTORY_C).map_err(failed)?, path }),
        }
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub fn path_of(&self, entry: &EntryId) -> PathBuf {
        self.path.join(entry.as_str())
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Everything in quarantine. A damaged manifest is an entry that is kept; a newer one is an error, because this program
    /// cannot know what it means.
    pub fn entries(&self) -> Result<Vec<Entry>, QuarantineError> {
        let names = directory::list(self.directory.as_fd())
            .map_err(|source| self.io("list", self.path.clone(), source))?;
        let covers = self.covers()?;
        let mut entries = Vec::new();
        for (name, _) in names {
            let shown = directory::shown(&name);
            let path = self.path.join(&shown);
            if covers.on(name.to_bytes()).is_some_and(is_in_the_way) {
                entries.push(Entry::Damaged { directory: shown, problem: mounted_on(&path) });
                continue;
            }
            let facts = match directory::facts_of_child(self.directory.as_fd(), &name) {
                Ok(facts) => facts,
                // Another process took it away meanwhile.
                Err(Errno::NOENT) => continue,
                Err(source) => return Err(self.io("look at", path, source)),
            };
            if !facts.is_directory {
                continue;
            }
            let is_begun = shown.starts_with(DELETING) || ending::is_marked(&facts);
            if let (true, Some(id)) = (is_begun, entry_of(&shown)) {
                entries.push(Entry::Deleting(id));
                continue;
            }
            entries.extend(self.read_entry(&name, &shown)?);
        }
        entries.sort_by_key(|entry| match entry {
            Entry::Known(manifest) => manifest.entry.to_string(),
            Entry::Deleting(id) => id.to_string(),
            Entry::Damaged { directory, .. } => directory.clone(),
        });
        Ok(entries)
    }

    /// What is mounted on the entries' directories, and on what is directly in them.
    fn covers(&self) -> Result<Covers, QuarantineError> {
        Covers::in_directory(self.directory.as_fd())
            .map_err(|error| QuarantineError::Covers(error.to_string()))
    }

    /// The entries by the names of their directories, whatever their manifests say, and whether or not their deletion was begun.
    pub fn entry_ids(&self) -> Result<BTreeSet<EntryId>, QuarantineError> {
        let names = directory::list(self.directory.as_fd())
            .map_err(|source| self.io("list", self.path.clone(), source))?;
        Ok(names.iter().filter_map(|(name, _)| entry_of(&directory::shown(name))).collect())
    }

    /// What the data directory of an entry is; none when the data is not there.
    pub fn data_facts(&self, entry: &EntryId) -> Result<Option<Facts>, QuarantineError> {
        let failed = |source| self.io("look at the data of", self.path_of(entry), source);
        let directory = self.open_uncovered(entry)?;
        match directory::facts_of_child(directory.as_fd(), DATA) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Opens the data of an entry, or of one whose deletion was begun, and says where it is; none when it has none.
    pub fn open_any_data(&self, entry: &EntryId) -> Result<Option<(OwnedFd, PathBuf)>, QuarantineError> {
        for shown in directories_of(entry) {
            let path = self.path.join(&shown).join("data");
            let failed = |source| self.io("open", path.clone(), source);
            let opened = directory::c_name(&shown)
                .and_then(|name| directory::open_child(self.directory.as_fd(), &name))
                .and_then(|entry| directory::open_child(entry.as_fd(), DATA));
            match opened {
                Ok(data) => return Ok(Some((data, path))),
                Err(Errno::NOENT) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(None)
    }

    /// Opens the data of an entry, to measure it.
    pub fn open_data(&self, entry: &EntryId) -> Result<OwnedFd, QuarantineError> {
        let directory = self.open_uncovered(entry)?;
        directory::open_child(directory.as_fd(), DATA)
            .map_err(|source| self.io("open the data of", self.path_of(entry), source))
    }

    /// Opens an entry to look at its data, unless something is mounted on either.
    fn open_uncovered(&self, entry: &EntryId) -> Result<OwnedFd, QuarantineError> {
        match self.covers()?.on(entry.as_str().as_bytes()) {
            Some(cover) if cover.is_whole => Err(QuarantineError::Covered { path: self.path_of(entry) }),
            Some(cover) if cover.has(DATA.to_bytes()) => {
                Err(QuarantineError::Covered { path: self.path_of(entry).join("data") })
            }
            Some(_) | None => self.open_entry(entry),
        }
    }

    fn open_entry(&self, entry: &EntryId) -> Result<OwnedFd, QuarantineError> {
        let path = self.path_of(entry);
        directory::c_name(entry.as_str())
            .and_then(|name| directory::open_child(self.directory.as_fd(), &name))
            .map_err(|source| self.io("open", path, source))
    }

    /// Takes away the entry directories that hold nothing: a crash came between making one and writing its manifest, or between
    /// removing its manifest and itself. `rmdir` refuses whatever holds data.
    pub fn drop_empty_entries(&self) -> Result<(), QuarantineError> {
        let names = directory::list(self.directory.as_fd())
            .map_err(|source| self.io("list", self.path.clone(), source))?;
        let covers = self.covers()?;
        for (name, _) in names {
            let Ok(id) = EntryId::new(directory::shown(&name)) else { continue };
            if covers.on(name.to_bytes()).is_some() {
                continue;
            }
            let failed = |source| self.io("tidy", self.path_of(&id), source);
            let entry = match directory::open_child(self.directory.as_fd(), &name) {
                Ok(entry) => entry,
                // No entry but something of that name, or gone meanwhile.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue,
                Err(source) => return Err(failed(source)),
            };
            if directory::child_exists(entry.as_fd(), manifest::FILE).map_err(failed)?
                || directory::child_exists(entry.as_fd(), DATA).map_err(failed)?
                || exchange::has_linked_data(entry.as_fd()).map_err(failed)?
            {
                continue;
            }
            exchange::unlink_link(&entry).map_err(failed)?;
            manifest::unlink_temporary(entry.as_fd()).map_err(failed)?;
            fault::at(Point::RemoveEmptyEntry).map_err(failed)?;
            match rustix::fs::unlinkat(self.directory.as_fd(), &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads as an error of this directory")]
    fn io(&self, action: &'static str, path: PathBuf, source: Errno) -> QuarantineError {
        QuarantineError::Io { action, path, source }
    }
}
