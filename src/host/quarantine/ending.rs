//! The end of an entry: taken out of the quarantine, its data deleted, and last its directory with the manifest, which proves what
//! it was until the history says so.
//!
//! None of it needs room (I15). Another name for the entry may need some, in the directory that holds it, or a flag that the file
//! system does not take: then a mark in its mode takes the place of the name.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Mode, RenameFlags};
use rustix::io::Errno;

use super::{DATA, QuarantineDir, QuarantineError, directories_of};
use crate::gc::entry::{Entry, EntryId, Manifest};
use crate::host::directory::{self, Facts, is_without_room};
use crate::host::fault::{self, Point};
use crate::host::unlink::{self, DeleteOptions, Deleted, UnlinkError};

/// The mode of an entry's directory whose deletion was begun, and which kept its name: 0700 and the sticky bit, which means nothing
/// where nobody but root may write.
const MARKED: Mode = Mode::RWXU.union(Mode::SVTX);

/// Why a deletion was not finished.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// Around the data.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// In the data.
    #[error("cannot delete everything in {path}: {source}")]
    Unlink {
        /// The data directory.
        path: PathBuf,
        /// What stood in the way.
        source: UnlinkError,
    },
}

/// An entry whose deletion was begun.
struct Begun {
    name: CString,
    path: PathBuf,
    directory: OwnedFd,
}

/// Whether the facts of an entry's directory say that its deletion was begun.
pub(super) fn is_marked(facts: &Facts) -> bool {
    facts.ownership.mode & Mode::SVTX.as_raw_mode() != 0
}

impl QuarantineDir {
    /// Takes an entry out of the quarantine: from here on it can only be deleted.
    pub fn begin_deletion(&self, id: &EntryId) -> Result<(), QuarantineError> {
        let path = self.path_of(id);
        let failed = |source| self.io("begin the deletion of", path.clone(), source);
        let from = directory::c_name(id.as_str()).map_err(failed)?;
        let to = directory::c_name(&deleting_name(id)).map_err(failed)?;
        let here = self.directory.as_fd();
        let renamed = fault::at(Point::DeleteRename)
            .and_then(|()| rustix::fs::renameat_with(here, &from, here, &to, RenameFlags::NOREPLACE));
        match renamed {
            Ok(()) => {
                fault::at(Point::DeleteSync).map_err(failed)?;
                rustix::fs::fsync(&self.directory).map_err(failed)
            }
            Err(errno) if is_without_room(errno) || directory::takes_no_flags(errno) => {
                self.mark(&from).map_err(failed)
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// A mode is in the inode: to change it takes no room.
    fn mark(&self, name: &CStr) -> rustix::io::Result<()> {
        let entry = directory::open_child(self.directory.as_fd(), name)?;
        fault::at(Point::DeleteMark)?;
        rustix::fs::fchmod(&entry, MARKED)?;
        fault::at(Point::DeleteMarkSync)?;
        rustix::fs::fsync(&entry)
    }

    /// What the manifest of an entry says whose deletion was begun; none when the entry is gone, or its manifest is not understood.
    pub fn deleting_manifest(&self, id: &EntryId) -> Result<Option<Manifest>, QuarantineError> {
        let Some(begun) = self.open_begun(id)? else { return Ok(None) };
        Ok(match self.read_manifest(begun.directory.as_fd(), id.as_str(), &begun.path)? {
            Some(Entry::Known(manifest)) => Some(*manifest),
            Some(Entry::Damaged { .. } | Entry::Deleting(_)) | None => None,
        })
    }

    /// When the last of the data of such an entry was deleted, as far as its directory tells; none while there is data.
    pub fn emptied_at(&self, id: &EntryId) -> Result<Option<DateTime<Utc>>, QuarantineError> {
        let Some(begun) = self.open_begun(id)? else { return Ok(None) };
        let failed = |source| self.io("look at", begun.path.clone(), source);
        if directory::child_exists(begun.directory.as_fd(), DATA).map_err(failed)? {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&begun.directory).map_err(failed)?;
        Ok(DateTime::from_timestamp(stat.st_mtime, 0))
    }

    /// Deletes the data of an entry whose deletion was begun; none when another process has ended it. Can be called again after a
    /// stop or a crash.
    pub fn delete_data(
        &self,
        id: &EntryId,
        options: &DeleteOptions,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Deleted>, DeletionError> {
        let Some(Begun { path, directory: entry, .. }) = self.open_begun(id)? else { return Ok(None) };
        let failed = |source| self.io("delete", path.clone(), source);
        let data = match directory::open_child(entry.as_fd(), DATA) {
            Ok(data) => data,
            Err(Errno::NOENT) => return Ok(Some(Deleted::default())),
            Err(source) => return Err(failed(source).into()),
        };
        self.check_unmounted(entry.as_fd(), data.as_fd(), &path)?;
        fault::at(Point::DeleteContents).map_err(failed)?;
        let deleted = unlink::delete_contents(data.as_fd(), options, stop)
            .map_err(|source| DeletionError::Unlink { path: path.join("data"), source })?;
        if !deleted.stopped {
            fault::at(Point::DeleteData).map_err(failed)?;
            match rustix::fs::unlinkat(entry.as_fd(), DATA, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => return Err(failed(source).into()),
            }
        }
        Ok(Some(deleted))
    }

    /// Takes away what is left of an entry whose data is deleted.
    pub fn drop_deleted(&self, id: &EntryId) -> Result<(), QuarantineError> {
        let Some(Begun { name, path, directory }) = self.open_begun(id)? else { return Ok(()) };
        let failed = |source| self.io("remove the entry", path.clone(), source);
        if directory::child_exists(directory.as_fd(), DATA).map_err(failed)? {
            // I4: a manifest is never taken from data.
            return Err(QuarantineError::Exists { path: path.join("data") });
        }
        self.remove_entry_directory(&name, &path)
    }

    /// The directory of an entry whose deletion was begun, under its new name, or marked under its own.
    fn open_begun(&self, id: &EntryId) -> Result<Option<Begun>, QuarantineError> {
        let [own, deleting] = directories_of(id);
        for (shown, needs_mark) in [(deleting, false), (own, true)] {
            let path = self.path.join(&shown);
            let failed = |source| self.io("open", path.clone(), source);
            let name = directory::c_name(&shown).map_err(failed)?;
            let directory = match directory::open_child(self.directory.as_fd(), &name) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => continue,
                Err(source) => return Err(failed(source)),
            };
            if !needs_mark || is_marked(&directory::facts(directory.as_fd()).map_err(failed)?) {
                return Ok(Some(Begun { name, path, directory }));
            }
        }
        Ok(None)
    }

    /// I6: the walk stays on the mount that it begins on, so that must be the quarantine's own.
    fn check_unmounted(
        &self,
        entry: BorrowedFd<'_>,
        data: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), QuarantineError> {
        let facts = |of| directory::facts(of).map_err(|source| self.io("look at", path.to_owned(), source));
        let own = facts(self.directory.as_fd())?;
        for (descriptor, shown) in [(entry, path.to_owned()), (data, path.join("data"))] {
            let facts = facts(descriptor)?;
            let is_elsewhere = facts.mount_id != own.mount_id || facts.identity.device != own.identity.device;
            if facts.is_mount_root || is_elsewhere {
                return Err(QuarantineError::Mounted { path: shown });
            }
        }
        Ok(())
    }
}

fn deleting_name(id: &EntryId) -> String {
    let [_, deleting] = directories_of(id);
    deleting
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn mount(words: &[&str], at: &Path) {
        let status = Command::new(words[0]).args(&words[1..]).arg(at).status().unwrap();
        assert!(status.success(), "{words:?} {}", at.display());
    }

    /// I6: what is mounted exactly on what is to be emptied is somebody else's, on another file system or on the same one.
    #[test]
    #[ignore = "needs root"]
    fn what_is_mounted_on_the_data_is_not_deleted() {
        let root = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(root.path()).unwrap();
        let quarantine = QuarantineDir::open_or_make(open.as_fd(), root.path()).unwrap();
        let id = EntryId::new("20261124-021500-0000001f").unwrap();
        let entry = quarantine.path().join(deleting_name(&id));
        let (data, precious) = (entry.join("data"), root.path().join("precious"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(data.join("own"), "own").unwrap();
        std::fs::write(precious.join("file"), "precious").unwrap();
        let delete = || quarantine.delete_data(&id, &DeleteOptions::default(), &|| false);
        let bind = ["mount", "--bind", precious.to_str().unwrap()];
        for words in [bind.as_slice(), &["mount", "-t", "tmpfs", "tmpfs"]] {
            mount(words, &data);
            std::fs::write(data.join("file"), "precious").unwrap();
            let result = delete();
            let left = std::fs::read_to_string(data.join("file"));
            mount(&["umount"], &data);
            assert_eq!(left.unwrap(), "precious", "{words:?}");
            assert!(
                matches!(result, Err(DeletionError::Quarantine(QuarantineError::Mounted { .. }))),
                "{result:?}"
            );
        }
        assert_eq!(delete().unwrap().unwrap().files, 1);
        quarantine.drop_deleted(&id).unwrap();
        assert!(!entry.exists() && precious.join("file").exists());
    }
}
