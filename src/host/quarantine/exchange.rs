//! What the quarantine protocol does on disk: the exchange of a volume's `_data` with a link, and the names of the data in its entry. Which
//! of them comes next is for [`crate::gc::protocol`] to say.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::moving::{VOLUME_MODE, never_renamed, rename_directory, sync_both};
use super::{DATA, QuarantineDir, QuarantineError};
use crate::gc::entry::Manifest;
use crate::gc::protocol::{EntryShows, NameShows, Names};
use crate::host::directory::{self, Facts};
use crate::host::fault::{self, Point};
use crate::host::volumes_dir::{DATA as VOLUME_DATA, VolumesDir};

/// The name of the data while the volume's link leads to it. An engine that is ordered to remove such a volume refuses, and shows it.
pub(super) const LINKED: &CStr = c"use-volgc-restore-or-delete";

/// What became of taking the link away, or of leading it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is done.
    Done,
    /// There is something else by now, which is left alone.
    NotOurs,
}

impl QuarantineDir {
    /// Makes the link in an entry that [`Self::make_entry`] has made, and makes it durable.
    pub fn make_link(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<(), QuarantineError> {
        let failed = |source| self.io("make the link in", self.path_of(&manifest.entry), source);
        let text = self.link_text(volumes, manifest)?;
        let entry = self.open_entry(&manifest.entry)?;
        fault::at(Point::LinkMake).map_err(failed)?;
        rustix::fs::symlinkat(&text, &entry, LINKED).map_err(failed)?;
        fault::at(Point::LinkSync).map_err(failed)?;
        rustix::fs::fsync(&entry).map_err(failed)
    }

    /// Exchanges `_data` of the volume with the link. Both names lead to something at every instant.
    pub fn exchange(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = volumes.path_of(&manifest.name);
        let volume = self.open_volume(volumes, &manifest.name)?;
        self.check_same(volume.as_fd(), manifest, &path)?;
        let entry = self.open_entry(&manifest.entry)?;
        let before = modified(volume.as_fd(), VOLUME_DATA);
        let swapped = fault::at(Point::ExchangeSwap)
            .and_then(|()| swap(volume.as_fd(), entry.as_fd()))
            .and_then(|()| keep_modified(entry.as_fd(), LINKED, before?));
        swapped.map_err(|source| match never_renamed(source) {
            Some(why) => QuarantineError::NotRenamed { path, why },
            None => self.io("exchange with a link the data of", path, source),
        })
    }

    /// Exchanges them back, whosever data it is.
    pub fn exchange_back(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<(), QuarantineError> {
        let path = volumes.path_of(&manifest.name);
        let failed = |source| self.io("exchange back the data of", path.clone(), source);
        let volume = self.open_volume(volumes, &manifest.name)?;
        let entry = self.open_entry(&manifest.entry)?;
        let is_there = directory::facts_of_child(entry.as_fd(), LINKED).map_err(failed)?.is_directory;
        if !is_there || !self.is_our_link(volumes, manifest, volume.as_fd(), VOLUME_DATA)? {
            return Err(QuarantineError::NotTheSame { path });
        }
        let before = modified(entry.as_fd(), LINKED).map_err(failed)?;
        fault::at(Point::ExchangeBack).map_err(failed)?;
        swap(volume.as_fd(), entry.as_fd()).map_err(failed)?;
        keep_modified(volume.as_fd(), VOLUME_DATA, before).map_err(failed)
    }

    /// Makes an exchange durable: one of the two directories is enough.
    pub fn sync_exchange(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        let failed = |source| self.io("sync", self.path_of(&manifest.entry), source);
        fault::at(Point::ExchangeSync).map_err(failed)?;
        rustix::fs::fsync(self.open_entry(&manifest.entry)?).map_err(failed)
    }

    /// Gives the data the name that the link does not lead to, durably. Never over anything (I7).
    pub fn hide(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        let failed = |source| self.io("rename the data in", self.path_of(&manifest.entry), source);
        let entry = self.open_entry(&manifest.entry)?;
        fault::at(Point::HideRename).map_err(failed)?;
        rename_directory(entry.as_fd(), LINKED, entry.as_fd(), DATA).map_err(failed)?;
        fault::at(Point::HideSync).map_err(failed)?;
        rustix::fs::fsync(&entry).map_err(failed)
    }

    /// Gives it the name back that the link leads to.
    pub fn show(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        let failed = |source| self.io("rename the data in", self.path_of(&manifest.entry), source);
        let entry = self.open_entry(&manifest.entry)?;
        fault::at(Point::ShowRename).map_err(failed)?;
        rename_directory(entry.as_fd(), DATA, entry.as_fd(), LINKED).map_err(failed)?;
        fault::at(Point::ShowSync).map_err(failed)?;
        rustix::fs::fsync(&entry).map_err(failed)
    }

    /// Removes our link, and the volume's directory if there is nothing else in it.
    pub fn take_link_away(
        &self,
        volumes: &VolumesDir,
        manifest: &Manifest,
    ) -> Result<Changed, QuarantineError> {
        let path = volumes.path_of(&manifest.name);
        let failed = |source| self.io("remove the link of", path.clone(), source);
        let volume = match self.open_volume(volumes, &manifest.name) {
            Ok(volume) => volume,
            Err(QuarantineError::Io { source: Errno::NOENT | Errno::NOTDIR | Errno::LOOP, .. }) => {
                return Ok(Changed::NotOurs);
            }
            Err(error) => return Err(error),
        };
        if !self.is_our_link(volumes, manifest, volume.as_fd(), VOLUME_DATA)? {
            return Ok(Changed::NotOurs);
        }
        fault::at(Point::LinkTakeAway).map_err(failed)?;
        rustix::fs::unlinkat(&volume, VOLUME_DATA, AtFlags::empty()).map_err(failed)?;
        self.remove_empty_volume_directory(volumes, &manifest.name)?;
        Ok(Changed::Done)
    }

    /// Makes the volume's directory and the link in it anew, durably. What has the name is left alone.
    pub fn lead_back(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<Changed, QuarantineError> {
        let failed = |source| self.io("make the link in", volumes.path_of(&manifest.name), source);
        let text = self.link_text(volumes, manifest)?;
        let name = directory::c_name(manifest.name.as_str()).map_err(failed)?;
        fault::at(Point::LinkLeadBack).map_err(failed)?;
        match rustix::fs::mkdirat(volumes.volumes(), &name, VOLUME_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(source) => return Err(failed(source)),
        }
        let volume = self.open_volume(volumes, &manifest.name)?;
        fault::at(Point::LinkLeadBackMake).map_err(failed)?;
        match rustix::fs::symlinkat(&text, &volume, VOLUME_DATA) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Changed::NotOurs),
            Err(source) => return Err(failed(source)),
        }
        fault::at(Point::LinkLeadBackSync).map_err(failed)?;
        sync_both(volume.as_fd(), volumes.volumes()).map_err(failed)?;
        Ok(Changed::Done)
    }

    /// Makes it durable which names the volumes directory has: the engine's answer is not (seen on btrfs).
    pub fn sync_names(&self, volumes: &VolumesDir) -> Result<(), QuarantineError> {
        let failed = |source| self.io("sync", volumes.root_path().join("volumes"), source);
        fault::at(Point::NamesSync).map_err(failed)?;
        rustix::fs::fsync(volumes.volumes()).map_err(failed)
    }

    /// What the two names of an entry's data show.
    pub fn names(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<Names, QuarantineError> {
        Ok(Names { name: self.name_shows(volumes, manifest)?, entry: self.entry_shows(volumes, manifest)? })
    }

    fn name_shows(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<NameShows, QuarantineError> {
        let volume = match self.open_volume(volumes, &manifest.name) {
            Ok(volume) => volume,
            Err(QuarantineError::Io { source: Errno::NOENT, .. }) => return Ok(NameShows::Nothing),
            Err(QuarantineError::Io { source: Errno::NOTDIR | Errno::LOOP, .. }) => {
                return Ok(NameShows::Other);
            }
            Err(error) => return Err(error),
        };
        let path = || volumes.path_of(&manifest.name);
        Ok(match child(volume.as_fd(), VOLUME_DATA).map_err(|source| self.io("look at", path(), source))? {
            None => NameShows::Nothing,
            Some(facts) if is_data(&facts, manifest) => NameShows::Data,
            Some(_) if self.is_our_link(volumes, manifest, volume.as_fd(), VOLUME_DATA)? => NameShows::Link,
            Some(_) => NameShows::Other,
        })
    }

    fn entry_shows(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<EntryShows, QuarantineError> {
        let entry = match self.open_entry(&manifest.entry) {
            Ok(entry) => entry,
            // It was not made, or was dropped.
            Err(QuarantineError::Io { source: Errno::NOENT, .. }) => return Ok(EntryShows::Nothing),
            Err(error) => return Err(error),
        };
        let look = |name| {
            child(entry.as_fd(), name)
                .map_err(|source| self.io("look at", self.path_of(&manifest.entry), source))
        };
        Ok(match (look(LINKED)?, look(DATA)?) {
            (None, None) => EntryShows::Nothing,
            (None, Some(kept)) if is_data(&kept, manifest) => EntryShows::Kept,
            (Some(linked), None) if is_data(&linked, manifest) => EntryShows::Linked,
            (Some(linked), None) if linked.is_directory => EntryShows::Caught,
            (Some(_), None) if self.is_our_link(volumes, manifest, entry.as_fd(), LINKED)? => {
                EntryShows::Link
            }
            (Some(_), _) | (None, Some(_)) => EntryShows::Other,
        })
    }

    /// Whether a volume's link leads to an entry. Nothing that is mounted there is asked.
    pub fn is_led_to(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<bool, QuarantineError> {
        match self.open_volume(volumes, &manifest.name) {
            Ok(volume) => self.is_our_link(volumes, manifest, volume.as_fd(), VOLUME_DATA),
            Err(QuarantineError::Io { source: Errno::NOENT | Errno::NOTDIR | Errno::LOOP, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_our_link(
        &self,
        volumes: &VolumesDir,
        manifest: &Manifest,
        parent: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<bool, QuarantineError> {
        match rustix::fs::readlinkat(parent, name, Vec::new()) {
            Ok(text) => {
                // Where `volumes` was moved since, the text is the one of that time: the entry's name in it is what makes it ours.
                let ours = self.link_text(volumes, manifest)?;
                let end = Path::new(manifest.entry.as_str()).join(LINKED.to_string_lossy().as_ref());
                let text = PathBuf::from(text.to_string_lossy().into_owned());
                Ok(text == ours || text.ends_with(end))
            }
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(source) => Err(self.io("read the link of", volumes.path_of(&manifest.name), source)),
        }
    }

    /// From a volume's directory to where the entry has its data linked. Relative: an engine in a mount namespace of its own, or one
    /// whose root is mounted elsewhere some day, follows it as well.
    fn link_text(&self, volumes: &VolumesDir, manifest: &Manifest) -> Result<PathBuf, QuarantineError> {
        let failed = |source| self.io("find the way to", self.path_of(&manifest.entry), source);
        let from = directory::path(volumes.volumes()).map_err(failed)?.join(manifest.name.as_str());
        let to = directory::path(self.descriptor()).map_err(failed)?.join(manifest.entry.as_str());
        Ok(way(&from, &to.join(LINKED.to_string_lossy().as_ref())))
    }
}

/// The relative path from one directory to another place; both are absolute and without links.
fn way(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

fn is_data(facts: &Facts, manifest: &Manifest) -> bool {
    facts.is_directory && facts.identity.is_same_inode(&manifest.data_directory)
}

fn child(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Facts>> {
    match directory::facts_of_child(parent, name) {
        Ok(facts) => Ok(Some(facts)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn swap(volume: BorrowedFd<'_>, entry: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(volume, VOLUME_DATA, entry, LINKED, RenameFlags::EXCHANGE)
}

fn modified(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Timespec> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0) })
}

/// XFS takes the exchange for a change of the directory that has another parent now (`xfs_cross_rename`). It would count as a use of the
/// data (I3), and a volume that comes back shall be as it was.
fn keep_modified(parent: BorrowedFd<'_>, name: &CStr, before: Timespec) -> rustix::io::Result<()> {
    if modified(parent, name)? == before {
        return Ok(());
    }
    let times =
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: before };
    fault::at(Point::ExchangeTimes)?;
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether a directory in the quarantine has something linked of which it must not lose the manifest (I4).
pub(super) fn has_linked_data(entry: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    Ok(child(entry, LINKED)?.is_some_and(|facts| facts.is_directory))
}

/// Removes a link that was not exchanged, or was exchanged back.
pub(super) fn unlink_link(entry: &OwnedFd) -> rustix::io::Result<()> {
    match child(entry.as_fd(), LINKED)? {
        Some(facts) if !facts.is_directory => {
            fault::at(Point::DropLink)?;
            rustix::fs::unlinkat(entry, LINKED, AtFlags::empty())
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_from_one_directory_to_the_other() {
        let cases = [
            ("/d/volumes/v", "/d/volgc/e/x", "../../volgc/e/x"),
            ("/srv/volumes/v", "/d/volgc/e/x", "../../../d/volgc/e/x"),
            ("/d/a/b/volumes/v", "/d/volgc/e/x", "../../../../volgc/e/x"),
        ];
        for (from, to, expected) in cases {
            assert_eq!(way(Path::new(from), Path::new(to)), Path::new(expected), "{from} {to}");
        }
    }
}
