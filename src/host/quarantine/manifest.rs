//! Manifests on disk: written whole and synced before the data they describe moves (I4).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::{DATA, MODE, QuarantineDir, QuarantineError, ending, exchange};
use crate::gc::entry::{Entry, EntryId, MANIFEST_VERSION, Manifest};
use crate::host::directory::{self, is_without_room};
use crate::host::fault::{self, Point};

pub(super) const FILE: &CStr = c"manifest.json";
const TEMPORARY: &CStr = c"manifest.json.new";

/// The largest manifest that is read, in bytes. Labels are its only part without a bound: engines take some of megabytes, of which
/// JSON makes six times as much when they are control characters.
const LARGEST: usize = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// What a manifest may grow by while its entry lives: a later state, and times.
const GROWTH: usize = 4 << 10;

/// Removes what a crash may have left of an unfinished manifest.
pub(super) fn unlink_temporary(entry: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fault::at(Point::DropTemporary)?;
    match rustix::fs::unlinkat(entry, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

impl QuarantineDir {
    /// Makes an entry: its directory and its manifest, durable when this returns. What could not be read again is not written: data
    /// must not move that no restore could bring back (I4).
    pub fn make_entry(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = self.path_of(&manifest.entry);
        let failed = |source| self.io("make the entry", path.clone(), source);
        if encode(manifest).map_err(failed)?.len() > LARGEST - GROWTH {
            return Err(failed(Errno::FBIG));
        }
        fault::at(Point::EntryMakeDirectory).map_err(failed)?;
        let name = directory::c_name(manifest.entry.as_str()).map_err(failed)?;
        rustix::fs::mkdirat(self.directory.as_fd(), &name, MODE).map_err(failed)?;
        fault::at(Point::EntryMode).map_err(failed)?;
        rustix::fs::chmodat(self.directory.as_fd(), &name, MODE, AtFlags::empty()).map_err(failed)?;
        self.write_manifest(manifest)
    }

    /// Replaces an entry's manifest, durable when this returns: a reader finds the old one or the new one, whole.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = self.path_of(&manifest.entry).join("manifest.json");
        let failed = |source| self.io("write", path.clone(), source);
        let entry = self.open_entry(&manifest.entry)?;
        let text = encode(manifest).map_err(failed)?;
        match write_temporary(entry.as_fd(), &text) {
            Ok(()) => {}
            // There is no data that it would be the way back of (I4), so a power cut that tears it in two loses nothing.
            Err(errno) if is_without_room(errno) && manifest.state.is_in_place() => {
                return match overwrite(entry.as_fd(), &text) {
                    // The entry is only being made.
                    Err(Errno::NOENT) => Err(failed(errno)),
                    overwritten => overwritten.map_err(failed),
                };
            }
            Err(errno) => return Err(failed(errno)),
        }
        fault::at(Point::ManifestRename).map_err(failed)?;
        rustix::fs::renameat(entry.as_fd(), TEMPORARY, entry.as_fd(), FILE).map_err(failed)?;
        // I4: the name is durable only when the directories that hold it are.
        fault::at(Point::ManifestSyncDirectory).map_err(failed)?;
        rustix::fs::fsync(&entry).map_err(failed)?;
        fault::at(Point::ManifestSyncQuarantine).map_err(failed)?;
        rustix::fs::fsync(&self.directory).map_err(failed)
    }

    /// Reads one entry directory. None when there is nothing in it.
    pub(super) fn read_entry(&self, name: &CStr, shown: &str) -> Result<Option<Entry>, QuarantineError> {
        let path = self.path.join(shown);
        match directory::open_child(self.directory.as_fd(), name) {
            Ok(entry) => self.read_manifest(entry.as_fd(), shown, &path),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(self.io("open", path, source)),
        }
    }

    /// Reads the manifest in an open entry directory, which is that of the entry `id`.
    pub(super) fn read_manifest(
        &self,
        entry: BorrowedFd<'_>,
        id: &str,
        path: &Path,
    ) -> Result<Option<Entry>, QuarantineError> {
        let file_path = path.join("manifest.json");
        let damaged = |why: String| Entry::Damaged {
            directory: id.to_owned(),
            problem: format!(
                "{} {why}; its data is kept. Mend the file, or move {}/data away by hand",
                file_path.display(),
                path.display()
            ),
        };
        let text = match directory::read_file(entry, FILE, LARGEST) {
            Ok(text) => text,
            Err(Errno::NOENT) => {
                let has_data =
                    || Ok(directory::child_exists(entry, DATA)? || exchange::has_linked_data(entry)?);
                let has_data =
                    has_data().map_err(|source: Errno| self.io("look at", path.to_owned(), source))?;
                return Ok(has_data.then(|| damaged("is missing".to_owned())));
            }
            Err(error) => return Ok(Some(damaged(format!("cannot be read ({error})")))),
        };
        match parse(&text, id) {
            Ok(manifest) => Ok(Some(Entry::Known(Box::new(manifest)))),
            Err(BadManifest::Damaged(why)) => Ok(Some(damaged(why))),
            Err(BadManifest::Newer(version)) => {
                Err(QuarantineError::NewerManifest { path: file_path, version, known: MANIFEST_VERSION })
            }
        }
    }

    /// Reads the manifest of one entry, which has to be there.
    pub fn manifest(&self, id: &EntryId) -> Result<Manifest, QuarantineError> {
        let path = self.path_of(id).join("manifest.json");
        let name = directory::c_name(id.as_str()).map_err(|source| self.io("open", path.clone(), source))?;
        let is_begun = match directory::facts_of_child(self.directory.as_fd(), &name) {
            Ok(facts) => ending::is_marked(&facts),
            Err(Errno::NOENT) => false,
            Err(source) => return Err(self.io("look at", path, source)),
        };
        match self.read_entry(&name, id.as_str())?.filter(|_| !is_begun) {
            Some(Entry::Known(manifest)) => Ok(*manifest),
            Some(Entry::Damaged { problem, .. }) => {
                Err(QuarantineError::DamagedManifest { path, why: problem })
            }
            Some(Entry::Deleting(_)) | None => Err(self.io("open", path, Errno::NOENT)),
        }
    }
}

/// The whole text in a file beside the manifest, durable.
fn write_temporary(entry: BorrowedFd<'_>, text: &[u8]) -> rustix::io::Result<()> {
    fault::at(Point::ManifestMake)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(entry, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?;
    fault::at(Point::ManifestWrite)?;
    write_all(&file, text)?;
    fault::at(Point::ManifestSync)?;
    rustix::fs::fsync(&file)
}

/// The whole text in place of the old one, in the blocks that the file has: that needs no room (I15). It is one write, blank where
/// the old text was longer, so whoever dies around it leaves one of the two.
fn overwrite(entry: BorrowedFd<'_>, text: &[u8]) -> rustix::io::Result<()> {
    unlink_temporary(entry)?;
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(entry, FILE, flags, Mode::empty())?;
    let old = rustix::fs::fstat(&file)?;
    let length = usize::try_from(old.st_size).map_err(|_| Errno::FBIG)?;
    let block = usize::try_from(old.st_blksize).map_err(|_| Errno::INVAL)?.max(1);
    if text.len() > length.next_multiple_of(block) {
        return Err(Errno::NOSPC);
    }
    let mut whole = text.to_vec();
    whole.resize(length.max(text.len()), b' ');
    fault::at(Point::ManifestOverwrite)?;
    write_all(&file, &whole)?;
    fault::at(Point::ManifestOverwriteSync)?;
    rustix::fs::fsync(&file)
}

fn encode(manifest: &Manifest) -> rustix::io::Result<Vec<u8>> {
    serde_json::to_vec_pretty(manifest).map_err(|_| Errno::INVAL)
}

/// Why a text is no manifest that can be used.
#[derive(Debug, PartialEq, Eq)]
pub enum BadManifest {
    /// In these words.
    Damaged(String),
    /// A newer program wrote it.
    Newer(u32),
}

/// Reads the text of a manifest found in the directory of that name.
///
/// # Errors
///
/// A newer version is told apart from damage, whatever the rest of the text is.
pub fn parse(text: &[u8], directory: &str) -> Result<Manifest, BadManifest> {
    #[derive(Deserialize)]
    struct Version {
        manifest_version: u32,
    }
    let damaged = |why: String| BadManifest::Damaged(why);
    // The version first: the rest of a newer format need not be readable.
    let version: Version =
        serde_json::from_slice(text).map_err(|error| damaged(format!("is not a manifest ({error})")))?;
    if version.manifest_version > MANIFEST_VERSION {
        return Err(BadManifest::Newer(version.manifest_version));
    }
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|error| damaged(format!("is not understood ({error})")))?;
    if manifest.entry.as_str() != directory {
        return Err(damaged(format!("is the manifest of another entry ({})", manifest.entry)));
    }
    Ok(manifest)
}

pub(super) fn write_all(file: &OwnedFd, mut text: &[u8]) -> rustix::io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(file, text) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => text = text.get(written..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I15: in the blocks that it has, and whole whatever is longer.
    #[test]
    fn a_manifest_is_written_over_in_place() {
        let text = include_bytes!("../../../tests/corpus/manifest/quarantined");
        let mut manifest = parse(text, "20261124-021500-0000001f").unwrap();
        let root = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(root.path()).unwrap();
        let quarantine = QuarantineDir::open_or_make(open.as_fd(), root.path()).unwrap();
        quarantine.make_entry(&manifest).unwrap();
        let file = quarantine.path_of(&manifest.entry).join("manifest.json");
        let entry = std::fs::File::open(quarantine.path_of(&manifest.entry)).unwrap();
        for length in [0, 9, 300, 2] {
            manifest.labels.insert("label".to_owned(), "x".repeat(length));
            overwrite(entry.as_fd(), &encode(&manifest).unwrap()).unwrap();
            assert_eq!(quarantine.manifest(&manifest.entry).unwrap(), manifest);
        }
        manifest.labels.insert("label".to_owned(), "x".repeat(1 << 20));
        let before = std::fs::read(&file).unwrap();
        assert_eq!(overwrite(entry.as_fd(), &encode(&manifest).unwrap()), Err(Errno::NOSPC));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    /// I4: data that moved under a manifest which cannot be read again could not be brought back.
    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let text = include_bytes!("../../../tests/corpus/manifest/quarantined");
        let mut manifest = parse(text, "20261124-021500-0000001f").unwrap();
        let root = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(root.path()).unwrap();
        let quarantine = QuarantineDir::open_or_make(open.as_fd(), root.path()).unwrap();
        for (length, is_taken) in [(LARGEST / 6 - GROWTH, true), (LARGEST / 6, false)] {
            manifest.labels.insert("huge".to_owned(), "\u{1b}".repeat(length));
            let made = quarantine.make_entry(&manifest);
            let entry = quarantine.path_of(&manifest.entry);
            if is_taken {
                made.unwrap();
                assert_eq!(quarantine.manifest(&manifest.entry).unwrap(), manifest);
                std::fs::remove_dir_all(entry).unwrap();
            } else {
                assert!(made.unwrap_err().to_string().contains("File too large"));
                assert!(!entry.exists());
            }
        }
    }
}
