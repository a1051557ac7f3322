//! The renames between a volume and its entry, and the end of an entry.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Uid};
use rustix::io::Errno;

use super::{DATA, QuarantineDir, QuarantineError, exchange, manifest};
use crate::gc::entry::{EntryId, Manifest, Ownership};
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::directory::{self, Facts};
use crate::host::fault::{self, Point};
use crate::host::volumes_dir::{DATA as VOLUME_DATA, VolumesDir};

/// The mode that the local driver gives to `<volumes>/<name>`: 0701 (moby `volume/local`, 20.10 to 29).
pub(super) const VOLUME_MODE: Mode = Mode::RWXU.union(Mode::XOTH);

impl QuarantineDir {
    /// Renames the data back to where it came from. The entry and its manifest stay until [`Self::drop_entry`], so that the data
    /// has a manifest at every instant.
    pub fn put_back(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = volumes.path_of(&manifest.name);
        let volume = self.open_volume(volumes, &manifest.name)?;
        let facts =
            directory::facts(volume.as_fd()).map_err(|source| self.io("look at", path.clone(), source))?;
        if !facts.identity.is_same_inode(&manifest.volume_directory) {
            // I11: the name is another volume's now.
            return Err(QuarantineError::NotTheSame { path });
        }
        let failed = |source| self.io("rename back the data of", path.clone(), source);
        fault::at(Point::PutBackRename).map_err(failed)?;
        self.place(&manifest.entry, volume.as_fd(), &path, "rename back the data of")?;
        self.sync_put_back(volumes, manifest)
    }

    /// Syncs a rename back that is done, if there is still a volume to sync.
    pub fn sync_put_back(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = volumes.path_of(&manifest.name);
        let failed = |source| self.io("rename back the data of", path.clone(), source);
        let volume = match self.open_volume(volumes, &manifest.name) {
            Ok(volume) => volume,
            Err(QuarantineError::Io { source: Errno::NOENT, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        fault::at(Point::PutBackSync).map_err(failed)?;
        match self.open_entry(&manifest.entry) {
            Ok(entry) => sync_both(volume.as_fd(), entry.as_fd()).map_err(failed),
            // It was never made: nothing was renamed.
            Err(QuarantineError::Io { source: Errno::NOENT, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes `<volumes>/<name>` for a restore. A directory that exists is never used (I7).
    pub fn make_volume_directory(
        &self,
        volumes: &VolumesDir,
        name: &VolumeName,
    ) -> Result<(), QuarantineError> {
        let path = volumes.path_of(name);
        let failed = |source| self.io("make", path.clone(), source);
        fault::at(Point::RestoreMakeDirectory).map_err(failed)?;
        let c_name = directory::c_name(name.as_str()).map_err(failed)?;
        match rustix::fs::mkdirat(volumes.volumes(), &c_name, VOLUME_MODE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(QuarantineError::Exists { path }),
            Err(source) => return Err(failed(source)),
        }
        // mkdir(2) takes the umask off.
        fault::at(Point::RestoreDirectoryMode).map_err(failed)?;
        rustix::fs::chmodat(volumes.volumes(), &c_name, VOLUME_MODE, AtFlags::empty()).map_err(failed)?;
        // I4: data is renamed into it next, and must not lie in a directory that a power cut takes away.
        fault::at(Point::RestoreSyncDirectory).map_err(failed)?;
        rustix::fs::fsync(volumes.volumes()).map_err(failed)
    }

    /// Renames the data into the directory of a volume that is being restored.
    pub fn give_data(
        &self,
        volumes: &VolumesDir,
        id: &EntryId,
        name: &VolumeName,
    ) -> Result<(), QuarantineError> {
        let path = volumes.path_of(name);
        let failed = |source| self.io("rename the data back to", path.clone(), source);
        let volume = self.open_volume(volumes, name)?;
        fault::at(Point::RestoreRename).map_err(failed)?;
        self.place(id, volume.as_fd(), &path, "rename the data back to")?;
        self.sync_given(volumes, id, name)
    }

    /// Syncs both directories of a restore's rename, and the one that names the volume.
    pub fn sync_given(
        &self,
        volumes: &VolumesDir,
        id: &EntryId,
        name: &VolumeName,
    ) -> Result<(), QuarantineError> {
        let path = volumes.path_of(name);
        let failed = |source| self.io("rename the data back to", path.clone(), source);
        let volume = self.open_volume(volumes, name)?;
        fault::at(Point::RestoreSync).map_err(failed)?;
        sync_both(volume.as_fd(), self.open_entry(id)?.as_fd()).map_err(failed)?;
        fault::at(Point::RestoreSyncVolumes).map_err(failed)?;
        rustix::fs::fsync(volumes.volumes()).map_err(failed)
    }

    /// Takes the data of a restore that failed back into its entry; never what somebody put in its place (I11).
    pub fn retake_data(
        &self,
        volumes: &VolumesDir,
        manifest: &Manifest,
        name: &VolumeName,
    ) -> Result<(), QuarantineError> {
        let path = volumes.path_of(name);
        let failed = |source| self.io("take back the data of", path.clone(), source);
        let volume = self.open_volume(volumes, name)?;
        let data = directory::facts_of_child(volume.as_fd(), VOLUME_DATA).map_err(failed)?;
        if !data.identity.is_same_inode(&manifest.data_directory) {
            return Err(QuarantineError::NotTheSame { path: path.join("_data") });
        }
        let entry = self.open_entry(&manifest.entry)?;
        fault::at(Point::RetakeRename).map_err(failed)?;
        rename_directory(volume.as_fd(), VOLUME_DATA, entry.as_fd(), DATA).map_err(failed)?;
        fault::at(Point::RetakeSync).map_err(failed)?;
        sync_both(volume.as_fd(), entry.as_fd()).map_err(failed)
    }

    fn place(
        &self,
        id: &EntryId,
        volume: BorrowedFd<'_>,
        path: &Path,
        action: &'static str,
    ) -> Result<(), QuarantineError> {
        let entry = self.open_entry(id)?;
        match rename_directory(entry.as_fd(), DATA, volume, VOLUME_DATA) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(QuarantineError::Exists { path: path.join("_data") }),
            Err(source) => Err(self.io(action, path.to_owned(), source)),
        }
    }

    /// Sets owner, group and mode of a restored `_data`, which the engine resets to 0755 root when it makes the volume.
    pub fn set_ownership(
        &self,
        volumes: &VolumesDir,
        name: &VolumeName,
        manifest: &Manifest,
    ) -> Result<Facts, QuarantineError> {
        let path = volumes.path_of(name).join("_data");
        let failed = |source| self.io("set owner and mode of", path.clone(), source);
        let volume = self.open_volume(volumes, name)?;
        let data = directory::open_child(volume.as_fd(), VOLUME_DATA).map_err(failed)?;
        let facts = directory::facts(data.as_fd()).map_err(failed)?;
        if !facts.identity.is_same_inode(&manifest.data_directory) {
            return Err(QuarantineError::NotTheSame { path });
        }
        fault::at(Point::RestoreOwnership).map_err(failed)?;
        let Ownership { uid, gid, mode } = manifest.ownership;
        // Owner before mode: chown(2) may clear the set-ID bits.
        rustix::fs::fchown(&data, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        fault::at(Point::RestoreMode).map_err(failed)?;
        rustix::fs::fchmod(&data, Mode::from_raw_mode(mode)).map_err(failed)?;
        fault::at(Point::RestoreSyncData).map_err(failed)?;
        rustix::fs::fsync(&data).map_err(failed)?;
        let facts = directory::facts(data.as_fd()).map_err(failed)?;
        if facts.ownership != manifest.ownership {
            // chmod(2): without the capability the set-group-ID bit is dropped, and the call succeeds.
            let action = "give its set-ID bits, which takes CAP_FSETID, back to";
            return Err(self.io(action, path, Errno::PERM));
        }
        Ok(facts)
    }

    /// Takes away an entry that holds no data any more: manifest first, directory last.
    pub fn drop_entry(&self, id: &EntryId) -> Result<(), QuarantineError> {
        let path = self.path_of(id);
        let failed = |source| self.io("remove the entry", path.clone(), source);
        let entry = match self.open_uncovered(id) {
            Ok(entry) => entry,
            Err(QuarantineError::Io { source: Errno::NOENT, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        // I4: a manifest is never taken from data.
        if self.data_facts(id)?.is_some() || exchange::has_linked_data(entry.as_fd()).map_err(failed)? {
            return Err(QuarantineError::Exists { path: path.join("data") });
        }
        exchange::unlink_link(&entry).map_err(failed)?;
        let name = directory::c_name(id.as_str()).map_err(failed)?;
        match self.remove_entry_directory(&name, &path) {
            // What others put into it is theirs, and left alone; without data and manifest it is no entry any more.
            Err(QuarantineError::NotEmpty { .. }) => Ok(()),
            result => result,
        }
    }

    /// Removes the manifest and the directory of an entry, or of one whose deletion was begun.
    pub(super) fn remove_entry_directory(&self, name: &CStr, path: &Path) -> Result<(), QuarantineError> {
        let failed = |source| self.io("remove the entry", path.to_owned(), source);
        let entry = directory::open_child(self.directory.as_fd(), name).map_err(failed)?;
        manifest::unlink_temporary(entry.as_fd()).map_err(failed)?;
        fault::at(Point::DropUnlink).map_err(failed)?;
        match rustix::fs::unlinkat(entry.as_fd(), manifest::FILE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(source) => return Err(failed(source)),
        }
        fault::at(Point::DropDirectory).map_err(failed)?;
        match rustix::fs::unlinkat(self.directory.as_fd(), name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY) => {
                return Err(QuarantineError::NotEmpty { path: path.to_owned() });
            }
            Err(source) => return Err(failed(source)),
        }
        fault::at(Point::DropSync).map_err(failed)?;
        rustix::fs::fsync(&self.directory).map_err(failed)
    }

    /// Removes a volume's directory that holds nothing and that the engine does not know. `rmdir` refuses anything else. An
    /// engine before 29.4 would take it for a volume at its next start.
    pub fn remove_empty_volume_directory(
        &self,
        volumes: &VolumesDir,
        name: &VolumeName,
    ) -> Result<(), QuarantineError> {
        let path = volumes.path_of(name);
        let failed = |source| self.io("remove the empty directory", path.clone(), source);
        fault::at(Point::RemoveEmptyVolume).map_err(failed)?;
        let c_name = directory::c_name(name.as_str()).map_err(failed)?;
        match rustix::fs::unlinkat(volumes.volumes(), &c_name, AtFlags::REMOVEDIR) {
            Ok(()) => {
                fault::at(Point::SyncEmptyVolume).map_err(failed)?;
                rustix::fs::fsync(volumes.volumes()).map_err(failed)
            }
            Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    pub(super) fn open_volume(
        &self,
        volumes: &VolumesDir,
        name: &VolumeName,
    ) -> Result<OwnedFd, QuarantineError> {
        let path = volumes.path_of(name);
        directory::c_name(name.as_str())
            .and_then(|c_name| directory::open_child(volumes.volumes(), &c_name))
            .map_err(|source| self.io("open", path, source))
    }

    pub(super) fn check_same(
        &self,
        volume: BorrowedFd<'_>,
        manifest: &Manifest,
        path: &Path,
    ) -> Result<(), QuarantineError> {
        let failed = |source| self.io("look at", path.to_owned(), source);
        let directory = directory::facts(volume).map_err(failed)?;
        let data = directory::facts_of_child(volume, VOLUME_DATA).map_err(failed)?;
        if directory.identity.is_same(&manifest.volume_directory)
            && data.is_directory
            && data.identity.is_same(&manifest.data_directory)
        {
            Ok(())
        } else {
            Err(QuarantineError::NotTheSame { path: path.to_owned() })
        }
    }
}

/// Whether a rename that failed so would fail each time, and why.
pub(super) fn never_renamed(errno: Errno) -> Option<Unmovable> {
    match errno {
        Errno::XDEV => Some(Unmovable::RenameRefused),
        errno if directory::takes_no_flags(errno) => Some(Unmovable::RenameUnsafe),
        _ => None,
    }
}

pub(super) fn rename_directory(
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE)
}

pub(super) fn sync_both(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fsync(one)?;
    rustix::fs::fsync(other)
}
