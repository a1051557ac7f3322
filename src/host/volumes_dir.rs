//! The directory in which the engine's local driver keeps its volumes, looked at by descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::{self, Facts};
use crate::gc::volume::{Unmovable, VolumeName};

/// The data of a volume.
pub const DATA: &CStr = c"_data";
/// The options of a volume, present only when it was made with some.
const OPTIONS: &CStr = c"opts.json";

/// `FS_PROJINHERIT_FL` (linux/fs.h), which the local driver sets on `_data` of a volume with a quota.
const PROJECT_INHERIT: u32 = 0x2000_0000;

/// The largest `opts.json` that is read, in bytes.
const LARGEST_OPTIONS: usize = 1 << 20;

/// Why the volumes directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumesDirError {
    /// The docker root or its volumes directory is not on this machine.
    #[error(
        "{path} is not on this machine ({source}); a container with volgc needs the docker root at the same path, as by \
         -v {root}:{root}; and a remote engine's volumes are not moved from here"
    )]
    NotHere {
        /// The path.
        path: PathBuf,
        /// The docker root that the engine named.
        root: PathBuf,
        /// The system's words.
        source: Errno,
    },
    /// It is there, but cannot be read.
    #[error("cannot read {path}: {source}; volgc has to run as root to look at volumes")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The system's words.
        source: Errno,
    },
}

/// The docker root and its `volumes`, held open.
#[derive(Debug)]
pub struct VolumesDir {
    root_path: PathBuf,
    root: OwnedFd,
    volumes: OwnedFd,
    root_facts: Facts,
}

/// One volume's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// `<volumes>/<name>`; none when there is no such directory.
    pub directory: Option<Facts>,
    /// `_data`; none when there is none.
    pub data: Option<Facts>,
    /// Everything on disk that stands in the way of moving it.
    pub unmovable: Vec<Unmovable>,
}

impl Observed {
    /// No directory that could be looked into, and why.
    pub fn nothing(why: Unmovable) -> Self {
        Self { directory: None, data: None, unmovable: vec![why] }
    }
}

impl VolumesDir {
    /// Opens the docker root that the engine named.
    pub fn open(root: &str) -> Result<Self, VolumesDirError> {
        let root_path = PathBuf::from(root);
        let volumes_path = root_path.join("volumes");
        let root =
            directory::open_path(&root_path).map_err(|source| not_here(&root_path, &root_path, source))?;
        let root_facts =
            directory::facts(root.as_fd()).map_err(|source| not_here(&root_path, &root_path, source))?;
        // The engine itself follows a `volumes` that is a link; what is below is not followed (I6).
        let volumes = directory::open_path(&volumes_path)
            .map_err(|source| not_here(&volumes_path, &root_path, source))?;
        Ok(Self { root_path, root, volumes, root_facts })
    }

    /// The docker root's path, for messages.
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// The docker root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The volumes directory.
    pub fn volumes(&self) -> BorrowedFd<'_> {
        self.volumes.as_fd()
    }

    /// The path of a volume's directory, for messages.
    pub fn path_of(&self, name: &VolumeName) -> PathBuf {
        self.root_path.join("volumes").join(name.as_str())
    }

    /// Opens the data of a volume, to measure it.
    pub fn open_data(&self, name: &VolumeName) -> rustix::io::Result<OwnedFd> {
        let volume = directory::open_child(self.volumes(), &directory::c_name(name.as_str())?)?;
        directory::open_child(volume.as_fd(), DATA)
    }

    /// The directories in it, which an engine before 29.4 would all take for volumes when it starts.
    pub fn names(&self) -> Result<Vec<CString>, VolumesDirError> {
        let path = self.root_path.join("volumes");
        let listed = directory::list(self.volumes())
            .map_err(|source| VolumesDirError::Unreadable { path: path.clone(), source })?;
        let mut names = Vec::new();
        for (name, kind) in listed {
            let is_directory = match kind {
                FileType::Directory => true,
                FileType::Unknown => {
                    directory::facts_of_child(self.volumes(), &name)
                        .map_err(|source| VolumesDirError::Unreadable {
                            path: path.join(directory::shown(&name)),
                            source,
                        })?
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
    pub fn glance(&self, name: &VolumeName) -> Observed {
        let volume = match directory::c_name(name.as_str()) {
            Ok(name) => directory::pin_child(self.volumes(), &name),
            Err(error) => Err(error),
        };
        match volume {
            Ok(volume) => self.seen(volume.as_fd()).unwrap_or_else(Observed::nothing),
            Err(error) => Observed::nothing(not_opened(error)),
        }
    }

    /// Looks at one volume's directory, and at everything that lies in it.
    pub fn observe(&self, name: &VolumeName) -> Observed {
        let opened =
            directory::c_name(name.as_str()).and_then(|name| directory::open_child(self.volumes(), &name));
        let volume = match opened {
            Ok(volume) => volume,
            Err(error) => return Observed::nothing(not_opened(error)),
        };
        let mut is_foreign = false;
        let beside = |child: &CStr, _| is_foreign |= child != OPTIONS && child != DATA;
        if directory::list_once(&volume, beside).is_err() {
            return Observed::nothing(Unmovable::Unreadable);
        }
        let mut seen = match self.seen(volume.as_fd()) {
            Ok(seen) => seen,
            Err(why) => return Observed::nothing(why),
        };
        if is_foreign {
            seen.unmovable.push(Unmovable::ForeignContent);
            seen.unmovable.sort();
        }
        seen
    }

    /// What is in an open volume's directory under the names that the engine gives.
    fn seen(&self, volume: BorrowedFd<'_>) -> Result<Observed, Unmovable> {
        let facts = directory::facts(volume).map_err(|_| Unmovable::Unreadable)?;
        let mut unmovable = self.reasons_against(&facts);
        if directory::child_exists(volume, OPTIONS).map_err(|_| Unmovable::Unreadable)? {
            unmovable.push(Unmovable::OptionsFile);
        }
        let data = match directory::facts_of_child(volume, DATA) {
            Ok(data) => Some(data),
            Err(Errno::NOENT) => {
                unmovable.push(Unmovable::NoData);
                None
            }
            Err(_) => {
                unmovable.push(Unmovable::Unreadable);
                None
            }
        };
        if let Some(data) = &data {
            unmovable.extend(self.reasons_against(data));
        }
        unmovable.sort();
        unmovable.dedup();
        Ok(Observed { directory: Some(facts), data, unmovable })
    }

    /// Whether a project quota applies to the data: renaming it away would take it out of its project, or fail with EXDEV.
    pub fn has_project_quota(&self, name: &VolumeName) -> rustix::io::Result<bool> {
        let volume = directory::open_child(self.volumes(), &directory::c_name(name.as_str())?)?;
        match rustix::fs::ioctl_getflags(directory::open_child(volume.as_fd(), DATA)?) {
            Ok(flags) => Ok(flags.bits() & PROJECT_INHERIT != 0),
            // A file system without such flags has no project quotas either (ioctl_iflags(2)).
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The text of a volume's `opts.json`, which is what the engine mounts, whatever its API shows (the API's options are lost with
    /// `metadata.db`).
    pub fn options_file(&self, name: &VolumeName) -> rustix::io::Result<Vec<u8>> {
        let volume = directory::open_child(self.volumes(), &directory::c_name(name.as_str())?)?;
        directory::read_file(volume.as_fd(), OPTIONS, LARGEST_OPTIONS)
    }

    /// Whether `_data` itself holds nothing: of a volume with driver options it is what they are mounted on.
    pub fn is_mount_point_empty(&self, name: &VolumeName) -> rustix::io::Result<bool> {
        let volume = directory::open_child(self.volumes(), &directory::c_name(name.as_str())?)?;
        let data = directory::open_child(volume.as_fd(), DATA)?;
        if directory::facts(data.as_fd())?.is_mount_root {
            return Err(Errno::BUSY);
        }
        Ok(directory::list(data.as_fd())?.is_empty())
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
        _ => Unmovable::Unreadable,
    }
}

fn not_here(path: &Path, root: &Path, source: Errno) -> VolumesDirError {
    match source {
        Errno::NOENT | Errno::NOTDIR => {
            VolumesDirError::NotHere { path: path.to_owned(), root: root.to_owned(), source }
        }
        _ => VolumesDirError::Unreadable { path: path.to_owned(), source },
    }
}
