//! The directory in which the engine's local driver keeps its volumes, looked at by descriptor. What is a mount point is told and not
//! touched, and every look has an end: a dead network or FUSE file system holds what it concerns, and stops nothing else (I14).

mod inside;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use self::inside::{Inside, Place};
use super::covers::Covers;
use super::directory::{self, Facts};
use super::patient::{self, PATIENCE};
use super::proc::ProcError;
use super::sharing::{self, Blocks};
use crate::gc::volume::{DirectoryIdentity, Unmovable, VolumeName};

/// The data of a volume.
pub const DATA: &CStr = c"_data";
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
    /// It is on a file system that does not answer.
    #[error(
        "{path} does not answer within {} s; is it on a network or FUSE file system whose server is gone?",
        PATIENCE.as_secs()
    )]
    NoAnswer {
        /// The path.
        path: PathBuf,
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
    inside: Inside,
    blocks: Blocks,
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
        let root = PathBuf::from(root);
        let path = root.clone();
        patient::one(PATIENCE, move || Self::open_at(root)).unwrap_or(Err(VolumesDirError::NoAnswer { path }))
    }

    fn open_at(root_path: PathBuf) -> Result<Self, VolumesDirError> {
        let volumes_path = root_path.join("volumes");
        let root =
            directory::open_path(&root_path).map_err(|source| not_here(&root_path, &root_path, source))?;
        let root_facts =
            directory::facts(root.as_fd()).map_err(|source| not_here(&root_path, &root_path, source))?;
        // The engine itself follows a `volumes` that is a link; what is below is not followed (I6).
        let volumes = directory::open_path(&volumes_path)
            .map_err(|source| not_here(&volumes_path, &root_path, source))?;
        let blocks = sharing::blocks_in(volumes.as_fd());
        Ok(Self { root_path, root, blocks, inside: Inside { volumes: Arc::new(volumes), root_facts } })
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
        self.inside.volumes.as_fd()
    }

    /// The directory of the containers. The engine itself follows one that is a link; what is below is not followed.
    pub fn open_containers(&self) -> rustix::io::Result<OwnedFd> {
        open_containers(self.root())
    }

    /// Which directory that is; none when there is none.
    pub fn containers(&self) -> rustix::io::Result<Option<Facts>> {
        let root = rustix::io::fcntl_dupfd_cloexec(self.root(), 0)?;
        let look = move || directory::facts(open_containers(root.as_fd())?.as_fd());
        match patient::one(PATIENCE, look).unwrap_or(Err(Errno::TIMEDOUT)) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whose blocks those of the volumes' files are.
    pub fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// The path of a volume's directory, for messages.
    pub fn path_of(&self, name: &VolumeName) -> PathBuf {
        self.root_path.join("volumes").join(name.as_str())
    }

    /// Whether reads of files move their access times here, at least once a day (`mount(8)`, `relatime`).
    pub fn notes_reads(&self) -> rustix::io::Result<bool> {
        let flags = rustix::fs::fstatvfs(self.volumes())?.f_flag;
        Ok(!flags.contains(StatVfsMountFlags::NOATIME))
    }

    /// The directories in it, which an engine before 29.4 would all take for volumes when it starts.
    pub fn names(&self, covers: &Covers) -> Result<Vec<CString>, VolumesDirError> {
        let path = self.root_path.join("volumes");
        let (inside, covers) = (self.inside.clone(), covers.clone());
        match patient::one(PATIENCE, move || inside.names(&covers)) {
            Some(names) => {
                names.map_err(|(name, source)| VolumesDirError::Unreadable { path: path.join(name), source })
            }
            None => Err(VolumesDirError::NoAnswer { path }),
        }
    }

    /// What is mounted on the volumes' directories, and on what is directly in them.
    pub fn covers(&self) -> Result<Covers, ProcError> {
        Covers::in_directory(self.volumes())
    }

    /// Looks at many volumes' directories, but not at what else lies in them: that takes a list, which is half of the time.
    pub fn glance(&self, names: Vec<VolumeName>, covers: &Covers) -> Vec<(VolumeName, Observed)> {
        self.each(names, covers, Inside::glance)
    }

    /// Looks at one volume's directory, and at everything that lies in it.
    pub fn observe(&self, name: &VolumeName) -> Observed {
        match self.covers() {
            Ok(covers) => {
                let seen = self.each(vec![name.clone()], &covers, Inside::observe).pop();
                seen.map_or_else(|| Observed::nothing(Unmovable::Unreadable), |(_, seen)| seen)
            }
            Err(_) => Observed::nothing(Unmovable::Unreadable),
        }
    }

    /// The same of many, and whether a project quota applies to the data of each.
    pub fn observe_closely(
        &self,
        names: Vec<VolumeName>,
        covers: &Covers,
    ) -> Vec<(VolumeName, Observed, rustix::io::Result<bool>)> {
        let (inside, root) = (self.inside.clone(), inside::inherits_project(self.root()));
        let looked = patient::each(PATIENCE, places(names, covers), move |(_, place)| match place {
            Ok(place) => (inside.observe(place), own_quota(inside.inherits_project(place), root)),
            Err(error) => (Observed::nothing(Unmovable::Unreadable), Err(*error)),
        });
        let no_answer = || (Observed::nothing(Unmovable::NoAnswer), Err(Errno::TIMEDOUT));
        looked
            .into_iter()
            .map(|((name, _), seen)| {
                let (seen, quota) = seen.unwrap_or_else(no_answer);
                (name, seen, quota)
            })
            .collect()
    }

    fn each(
        &self,
        names: Vec<VolumeName>,
        covers: &Covers,
        look: fn(&Inside, &Place) -> Observed,
    ) -> Vec<(VolumeName, Observed)> {
        let inside = self.inside.clone();
        let looked = patient::each(PATIENCE, places(names, covers), move |(_, place)| match place {
            Ok(place) => look(&inside, place),
            Err(_) => Observed::nothing(Unmovable::Unreadable),
        });
        let no_answer = || Observed::nothing(Unmovable::NoAnswer);
        looked.into_iter().map(|((name, _), seen)| (name, seen.unwrap_or_else(no_answer))).collect()
    }

    /// Whether it is still that very directory. What cannot be looked at is taken to be there.
    pub fn is_still(&self, name: &VolumeName, before: DirectoryIdentity) -> bool {
        self.one(name, move |inside, place| Ok(inside.is_still(place, &before))).unwrap_or(true)
    }

    /// Opens the data of a volume, to measure it.
    pub fn open_data(&self, name: &VolumeName) -> rustix::io::Result<OwnedFd> {
        self.one(name, Inside::open_data)
    }

    /// Whether a project quota of its own applies to the data: renaming it away would take it out of its project. One over the whole
    /// docker root has the quarantine in it too; and where it is another one after all, the rename fails (`EXDEV`).
    pub fn has_project_quota(&self, name: &VolumeName) -> rustix::io::Result<bool> {
        own_quota(self.one(name, Inside::inherits_project), inside::inherits_project(self.root()))
    }

    /// The text of a volume's `opts.json`, which is what the engine mounts, whatever its API shows (the API's options are lost with
    /// `metadata.db`).
    pub fn options_file(&self, name: &VolumeName) -> rustix::io::Result<Vec<u8>> {
        self.one(name, Inside::options_file)
    }

    /// Whether `_data` itself holds nothing: of a volume with driver options it is what they are mounted on.
    pub fn is_mount_point_empty(&self, name: &VolumeName) -> rustix::io::Result<bool> {
        self.one(name, Inside::is_mount_point_empty)
    }

    fn one<R: Send + 'static>(
        &self,
        name: &VolumeName,
        look: impl FnOnce(&Inside, &Place) -> rustix::io::Result<R> + Send + 'static,
    ) -> rustix::io::Result<R> {
        // Without the table nothing may be touched.
        let covers = self.covers().map_err(|_| Errno::ACCESS)?;
        let place = place_of(name, &covers)?;
        let inside = self.inside.clone();
        patient::one(PATIENCE, move || look(&inside, &place)).unwrap_or(Err(Errno::TIMEDOUT))
    }
}

fn open_containers(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(root, c"containers", flags, Mode::empty())
}

/// Of data and of the docker root it is known whether what is made there belongs to its project.
fn own_quota(data: rustix::io::Result<bool>, root: rustix::io::Result<bool>) -> rustix::io::Result<bool> {
    Ok(data? && !root?)
}

#[expect(clippy::disallowed_methods, reason = "what nothing is mounted on has no cover")]
fn place_of(name: &VolumeName, covers: &Covers) -> rustix::io::Result<Place> {
    let cover = covers.on(name.as_str().as_bytes()).cloned().unwrap_or_default();
    Place::new(name, cover)
}

fn places(names: Vec<VolumeName>, covers: &Covers) -> Vec<(VolumeName, rustix::io::Result<Place>)> {
    let place = |name: VolumeName| {
        let place = place_of(&name, covers);
        (name, place)
    };
    names.into_iter().map(place).collect()
}

fn not_here(path: &Path, root: &Path, source: Errno) -> VolumesDirError {
    match source {
        Errno::NOENT | Errno::NOTDIR => {
            VolumesDirError::NotHere { path: path.to_owned(), root: root.to_owned(), source }
        }
        _ => VolumesDirError::Unreadable { path: path.to_owned(), source },
    }
}
