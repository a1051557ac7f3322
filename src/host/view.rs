//! The host's files as one process sees them: from its root directory, in its mount namespace.
//!
//! `/srv` of a container is not the host's `/srv`, and a daemon from snapd or with `PrivateTmp=` has mounts of its own. What the
//! engine was given as a path means what it means to the engine.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::directory;
use super::proc::mountinfo::MountLine;
use super::proc::{self, ProcError, files};
use super::resolve::{Passed, Place, Server, Stand, Step, Terrain};

/// Nothing is opened for reading or writing (`O_PATH`), so no device is touched, no FIFO waits, and no link is followed.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The inode of the root directory of a proc file system (Linux `include/linux/proc_fs.h`, `PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// `PROC_SUPER_MAGIC` (linux/magic.h).
const PROC_MAGIC: rustix::fs::FsWord = 0x9fa0;

/// The deepest directory that is looked at from below.
const DEEPEST: usize = 4096;

/// One process's view of the files.
#[derive(Debug)]
pub struct View {
    process: u32,
    root: Arc<OwnedFd>,
    root_place: Place,
    /// What is mounted last at a point, by its mount ID, where another than this kernel answers for the files.
    points: HashMap<PathBuf, u64>,
    servers: HashMap<u64, Server>,
    /// Where something is mounted only when somebody goes there.
    on_demand: Vec<PathBuf>,
    given_up: Mutex<GivenUp>,
}

/// What did not answer.
#[derive(Debug, Default)]
struct GivenUp {
    paths: HashSet<PathBuf>,
    mounts: HashSet<u64>,
}

impl View {
    /// The view of a process. `home` is the device of the docker root: a mount of that file system is looked at like any other.
    ///
    /// # Errors
    ///
    /// When its root directory or its mounts may not be looked at, which takes `CAP_SYS_PTRACE`.
    pub fn of_process(process: u32, home: u64) -> Result<Self, ProcError> {
        let path = format!("/proc/{process}/root");
        let refused = |source| ProcError::new(&path, source);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).map_err(refused)?;
        let root_place = place(root.as_fd()).map_err(refused)?.0;
        let mounts = proc::mounts_of(process)?.ok_or_else(|| refused(Errno::SRCH))?;
        let is_home = |mount: &MountLine| rustix::fs::makedev(mount.device.major, mount.device.minor) == home;
        // A FUSE server that refuses root may let another user in, such as that of a rootless engine.
        let is_same_user = user_namespace(&process.to_string())? == user_namespace("self")?;
        let is_alike = |server: &Server| is_same_user || *server != Server::Process;
        let served =
            |mount: &MountLine| server(&mount.kind).filter(|server| !is_home(mount) && is_alike(server));
        let servers = mounts.iter().filter_map(|mount| Some((mount.id, served(mount)?))).collect();
        let as_path = |point: &Vec<u8>| PathBuf::from(OsString::from_vec(point.clone()));
        let is_on_demand = |mount: &&MountLine| mount.kind == b"autofs";
        let on_demand = mounts.iter().filter(is_on_demand).map(|mount| as_path(&mount.point)).collect();
        let points = mounts
            .into_iter()
            .map(|mount| (PathBuf::from(OsString::from_vec(mount.point)), mount.id))
            .collect();
        Ok(Self {
            process,
            root: Arc::new(root),
            root_place,
            points,
            servers,
            on_demand,
            given_up: Mutex::default(),
        })
    }

    /// The process.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// The mount that a step leads to, or is taken on, where another than this kernel serves it. Neither the file nor its server is
    /// asked for this. A mount that is newer than the table is not known as served.
    pub fn served_mount(&self, from: &Arc<OwnedFd>, path: Option<&Path>) -> Option<(u64, Server)> {
        let served = |id: u64| Some((id, *self.servers.get(&id)?));
        let entered = path.and_then(|path| self.points.get(path)).copied();
        entered.and_then(served).or_else(|| served(mount_id(from.as_fd())?))
    }

    /// Takes this step no more, nor any other on the same mount: it did not answer. Says who serves the files there.
    pub fn give_up_on(&self, from: &Arc<OwnedFd>, path: &Path) -> Option<Server> {
        let mount = self.served_mount(from, Some(path));
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.paths.insert(path.to_owned());
        given_up.mounts.extend(mount.map(|(id, _)| id));
        mount.map(|(_, server)| server)
    }

    /// Whether this step did not answer before.
    pub fn is_given_up(&self, from: &Arc<OwnedFd>, path: &Path) -> bool {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let mount = |(id, _)| given_up.mounts.contains(&id);
        given_up.paths.contains(path)
            || (!given_up.mounts.is_empty() && self.served_mount(from, Some(path)).is_some_and(mount))
    }

    /// The names in a directory that are UTF-8.
    pub fn list(&self, path: &Path) -> rustix::io::Result<Vec<String>> {
        let directory = self.open(path, OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        directory::list_once(&directory, |name, _| names.extend(name.to_str().map(str::to_owned)))?;
        Ok(names)
    }

    /// The whole of a small regular file.
    pub fn read_file(&self, path: &Path, largest: usize) -> rustix::io::Result<Vec<u8>> {
        // Looked at before it is opened: opening a device may do something.
        let file = self.open(path, OFlags::PATH)?;
        if place(file.as_fd())?.1 != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        directory::read_open(&self.open(path, OFlags::NONBLOCK | OFlags::NOCTTY)?, largest)
    }

    /// Opens a path as the process would, links included.
    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// Takes a step without following a link. What is mounted on demand (autofs) is mounted by it, as it is for whoever starts a container
    /// with the path: an `O_PATH` alone leaves the empty directory.
    fn open_step(&self, from: &OwnedFd, name: &CString, path: Option<&Path>) -> rustix::io::Result<OwnedFd> {
        let open = |flags| rustix::fs::openat(from, name.as_c_str(), flags, Mode::empty());
        if path.is_some_and(|path| self.on_demand.iter().any(|point| path.starts_with(point))) {
            match open(LOOK | OFlags::DIRECTORY) {
                Err(Errno::NOTDIR) => {}
                opened => return opened,
            }
        }
        open(LOOK)
    }

    /// Whether a file is the root of a mount that another serves. The path tells whether it is worth asking the kernel.
    fn is_served(&self, path: Option<&Path>, file: BorrowedFd<'_>) -> bool {
        let point = path.and_then(|path| self.points.get(path)).filter(|id| self.servers.contains_key(id));
        point.is_some() && mount_id(file).is_some_and(|id| self.servers.contains_key(&id))
    }

    /// The working directory of the process, as a path in its view without links.
    ///
    /// # Errors
    ///
    /// When it may not be looked at, or cannot be reached from the root any more.
    pub fn working_directory(&self) -> rustix::io::Result<PathBuf> {
        let path = format!("/proc/{}/cwd", self.process);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let (passed, _) = self.climb(directory)?;
        Ok(std::iter::once(OsString::from("/"))
            .chain(passed.into_iter().skip(1).map(|one| one.name))
            .collect())
    }

    /// The directories from the root down to an open one, found from below.
    fn climb(&self, directory: OwnedFd) -> rustix::io::Result<(Vec<Passed>, Arc<OwnedFd>)> {
        let bottom = Arc::new(directory);
        let mut here = Arc::clone(&bottom);
        let mut passed = Vec::new();
        loop {
            let (place_here, _) = place(here.as_fd())?;
            let parent = rustix::fs::openat(&here, c"..", LOOK | OFlags::DIRECTORY, Mode::empty())?;
            let is_root = place_here == self.root_place || place(parent.as_fd())?.0 == place_here;
            let name = if is_root { OsString::new() } else { name_of(here.as_fd())? };
            passed.push(Passed { name, place: Some(place_here) });
            if is_root {
                passed.reverse();
                return Ok((passed, bottom));
            }
            if passed.len() > DEEPEST {
                return Err(Errno::NAMETOOLONG);
            }
            here = Arc::new(parent);
        }
    }

    /// A link of `/proc`, which may lead where no path does; none when its text is the whole truth.
    fn jump(
        &self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        link: BorrowedFd<'_>,
    ) -> rustix::io::Result<Option<Found>> {
        if rustix::fs::fstatfs(link)?.f_type != PROC_MAGIC {
            return Ok(None);
        }
        if place(from)?.0.1 == PROC_ROOT {
            // Who reads them is the process whose view this is.
            return Ok(match name.as_bytes() {
                b"self" => Some(Step::Link(PathBuf::from(self.process.to_string()))),
                b"thread-self" => Some(Step::Link(PathBuf::from(format!("{0}/task/{0}", self.process)))),
                _ => None,
            });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Ok(directory) => {
                let (passed, bottom) = self.climb(directory)?;
                Ok(Some(Step::Jump(passed, bottom)))
            }
            // Of what is no directory the text is all there is.
            Err(Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

type Found = Step<Arc<OwnedFd>>;

impl Terrain for View {
    type Node = Arc<OwnedFd>;

    fn root(&self) -> rustix::io::Result<Stand<Self::Node>> {
        Ok(Stand { node: Arc::clone(&self.root), place: Some(self.root_place) })
    }

    fn step(&self, from: &Self::Node, name: &OsStr, path: Option<&Path>) -> rustix::io::Result<Found> {
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::NOENT)?;
        let file = self.open_step(from, &name, path)?;
        // What is a mount point is not looked at: its server may be gone, and never answer.
        if self.is_served(path, file.as_fd()) {
            return Ok(Step::Stand(Stand { node: Arc::new(file), place: None }));
        }
        let (place, kind) = place(file.as_fd())?;
        if kind == FileType::Symlink {
            let name = OsStr::from_bytes(name.as_bytes());
            if let Some(step) = self.jump(from.as_fd(), name, file.as_fd())? {
                return Ok(step);
            }
            let text = rustix::fs::readlinkat(&file, c"", Vec::new())?;
            return Ok(Step::Link(PathBuf::from(OsString::from_vec(text.into_bytes()))));
        }
        Ok(Step::Stand(Stand { node: Arc::new(file), place: Some(place) }))
    }

    fn server(&self, from: &Self::Node, path: Option<&Path>) -> Option<Server> {
        self.served_mount(from, path).map(|(_, server)| server)
    }

    fn parent(&self, of: &Self::Node) -> rustix::io::Result<Self::Node> {
        rustix::fs::openat(of, c"..", LOOK | OFlags::DIRECTORY, Mode::empty()).map(Arc::new)
    }
}

/// Who serves a file system of this type.
fn server(kind: &[u8]) -> Option<Server> {
    let is = |name: &str| kind == name.as_bytes() || kind.starts_with(format!("{name}.").as_bytes());
    if is("fuse") || is("fuseblk") {
        return Some(Server::Process);
    }
    let network =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "gfs2", "ocfs2", "coda"];
    network.into_iter().any(is).then_some(Server::Network)
}

fn place(file: BorrowedFd<'_>) -> rustix::io::Result<(Place, FileType)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let statx = rustix::fs::statx(file, c"", flags, StatxFlags::TYPE | StatxFlags::INO)?;
    let device = rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor);
    Ok(((device, statx.stx_ino), FileType::from_raw_mode(statx.stx_mode.into())))
}

fn user_namespace(process: &str) -> Result<std::ffi::CString, ProcError> {
    let path = format!("/proc/{process}/ns/user");
    rustix::fs::readlink(path.as_str(), Vec::new()).map_err(|error| ProcError::new(&path, error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a mount that is not known is one of this kernel's own, and is looked at"
)]
fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    files::mount_id(&format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok().flatten()
}

/// The name of an open directory in its parent, as the kernel knows it.
fn name_of(directory: BorrowedFd<'_>) -> rustix::io::Result<OsString> {
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
    let path = PathBuf::from(OsString::from_vec(link.into_bytes()));
    path.file_name().map(OsStr::to_owned).ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests;
