//! Looks into the directories of volumes, each by descriptor. Where a cover says that something is mounted, nothing is touched.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{DATA, Observed};
use crate::gc::volume::{DirectoryIdentity, Unmovable, VolumeName};
use crate::host::covers::{Cover, Covers};
use crate::host::directory::{self, Facts};

/// The options of a volume, present only when it was made with some.
const OPTIONS: &CStr = c"opts.json";

/// `FS_PROJINHERIT_FL` (linux/fs.h), which the local driver sets on `_data` of a volume with a quota.
const PROJECT_INHERIT: u32 = 0x2000_0000;

/// The largest `opts.json` that is read, in bytes.
const LARGEST_OPTIONS: usize = 1 << 20;

/// What a look into the volumes directory needs, for a thread of its own.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    pub(super) volumes: Arc<OwnedFd>,
    pub(super) root_facts: Facts,
}

/// One volume's directory, and what is mounted there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    name: CString,
    cover: Cover,
}

impl Place {
    pub(super) fn new(name: &VolumeName, cover: Cover) -> rustix::io::Result<Self> {
        Ok(Self { name: directory::c_name(name.as_str())?, cover })
    }
}

impl Inside {
    /// The directories among the volumes; else what could not be read, and why.
    pub(super) fn names(&self, covers: &Covers) -> Result<Vec<CString>, (String, Errno)> {
        let listed = directory::list(self.volumes.as_fd()).map_err(|error| (String::new(), error))?;
        let mut names = Vec::new();
        for (name, kind) in listed {
            let is_directory = match kind {
                FileType::Directory => true,
                // A mount point is told, and not touched.
                FileType::Unknown if covers.on(name.to_bytes()).is_some_and(|cover| cover.is_whole) => true,
                FileType::Unknown => {
                    directory::facts_of_child(self.volumes.as_fd(), &name)
                        .map_err(|error| (directory::shown(&name), error))?
                        .is_directory
                }
                FileType::RegularFile
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => false,
            };
            if is_directory {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Looks at one volume's directory, but not at what else lies in it: that takes a list, which is half of the time.
    pub(super) fn glance(&self, place: &Place) -> Observed {
        if place.cover.is_whole {
            return Observed::nothing(Unmovable::Mounted);
        }
        match directory::pin_child(self.volumes.as_fd(), &place.name) {
            Ok(volume) => self.seen(volume.as_fd(), &place.cover).unwrap_or_else(Observed::nothing),
            Err(error) => Observed::nothing(not_opened(error)),
        }
    }

    /// Looks at one volume's directory, and at everything that lies in it.
    pub(super) fn observe(&self, place: &Place) -> Observed {
        let volume = match self.open(place) {
            Ok(volume) => volume,
            Err(error) => return Observed::nothing(not_opened(error)),
        };
        let mut is_foreign = false;
        let beside = |child: &CStr, _| is_foreign |= child != OPTIONS && child != DATA;
        if directory::list_once(&volume, beside).is_err() {
            return Observed::nothing(Unmovable::Unreadable);
        }
        let mut seen = match self.seen(volume.as_fd(), &place.cover) {
            Ok(seen) => seen,
            Err(why) => return Observed::nothing(why),
        };
        if is_foreign {
            seen.unmovable.push(Unmovable::ForeignContent);
            seen.unmovable.sort();
        }
        seen
    }

    /// Whether it is still that very directory. What cannot be looked at is taken to be there.
    pub(super) fn is_still(&self, place: &Place, before: &DirectoryIdentity) -> bool {
        if place.cover.is_whole {
            return true;
        }
        match directory::facts_of_child(self.volumes.as_fd(), &place.name) {
            Ok(facts) => facts.identity.is_same(before),
            Err(error) => error != Errno::NOENT,
        }
    }

    pub(super) fn open(&self, place: &Place) -> rustix::io::Result<OwnedFd> {
        if place.cover.is_whole {
            return Err(Errno::BUSY);
        }
        directory::open_child(self.volumes.as_fd(), &place.name)
    }

    pub(super) fn open_data(&self, place: &Place) -> rustix::io::Result<OwnedFd> {
        let volume = self.open(place)?;
        if place.cover.has(DATA.to_bytes()) {
            return Err(Errno::BUSY);
        }
        directory::open_child(volume.as_fd(), DATA)
    }

    /// Whether what is made in the data belongs to its project.
    pub(super) fn inherits_project(&self, place: &Place) -> rustix::io::Result<bool> {
        inherits_project(self.open_data(place)?.as_fd())
    }

    pub(super) fn options_file(&self, place: &Place) -> rustix::io::Result<Vec<u8>> {
        let volume = self.open(place)?;
        if place.cover.has(OPTIONS.to_bytes()) {
            return Err(Errno::BUSY);
        }
        directory::read_file(volume.as_fd(), OPTIONS, LARGEST_OPTIONS)
    }

    pub(super) fn is_mount_point_empty(&self, place: &Place) -> rustix::io::Result<bool> {
        let data = self.open_data(place)?;
        if directory::facts(data.as_fd())?.is_mount_root {
            return Err(Errno::BUSY);
        }
        Ok(directory::list(data.as_fd())?.is_empty())
    }

    /// What is in an open volume's directory under the names that the engine gives.
    fn seen(&self, volume: BorrowedFd<'_>, cover: &Cover) -> Result<Observed, Unmovable> {
        let facts = directory::facts(volume).map_err(|_| Unmovable::Unreadable)?;
        let mut unmovable = self.reasons_against(&facts);
        if !cover.inside.is_empty() {
            unmovable.push(Unmovable::Mounted);
        }
        // A mount point is there.
        if cover.has(OPTIONS.to_bytes())
            || directory::child_exists(volume, OPTIONS).map_err(|_| Unmovable::Unreadable)?
        {
            unmovable.push(Unmovable::OptionsFile);
        }
        let data = if cover.has(DATA.to_bytes()) { None } else { self.data(volume, &mut unmovable) };
        unmovable.sort();
        unmovable.dedup();
        Ok(Observed { directory: Some(facts), data, unmovable })
    }

    fn data(&self, volume: BorrowedFd<'_>, unmovable: &mut Vec<Unmovable>) -> Option<Facts> {
        match directory::facts_of_child(volume, DATA) {
            Ok(data) => {
                unmovable.extend(self.reasons_against(&data));
                Some(data)
            }
            Err(Errno::NOENT) => {
                unmovable.push(Unmovable::NoData);
                None
            }
            Err(_) => {
                unmovable.push(Unmovable::Unreadable);
                None
            }
        }
    }

    /// What forbids renaming this directory below the docker root.
    fn reasons_against(&self, facts: &Facts) -> Vec<Unmovable> {
        let same_mount = match (facts.mount_id, self.root_facts.mount_id) {
            (Some(here), Some(root)) => here == root,
            // Before Linux 5.8 the kernel does not say; then the rename itself fails with EXDEV.
            (None, _) | (_, None) => true,
        };
        let checks = [
            (!facts.is_directory, Unmovable::NotADirectory),
            (facts.is_mount_root, Unmovable::Mounted),
            (facts.is_immutable, Unmovable::Immutable),
            (
                facts.is_directory
                    && !facts.is_mount_root
                    && (facts.identity.device != self.root_facts.identity.device || !same_mount),
                Unmovable::OtherFileSystem,
            ),
        ];
        checks.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why).collect()
    }
}

/// Why nothing is known of a directory that cannot be opened.
fn not_opened(error: Errno) -> Unmovable {
    match error {
        Errno::NOENT => Unmovable::NoDirectory,
        Errno::LOOP | Errno::NOTDIR => Unmovable::NotADirectory,
        Errno::BUSY => Unmovable::Mounted,
        _ => Unmovable::Unreadable,
    }
}

/// Whether what is made in a directory belongs to its project.
pub(super) fn inherits_project(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match rustix::fs::ioctl_getflags(directory) {
        Ok(flags) => Ok(flags.bits() & PROJECT_INHERIT != 0),
        // A file system without such flags has no project quotas either (ioctl_iflags(2)).
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error),
    }
}
