//! The descriptors of one table, and what is known without any: working directory, root directory, executable.
//!
//! There may be a hundred thousand, so of each only one thing is asked first: which file it is (`statx`). What lies on another file
//! system than every volume, or was opened through a mount that shows none of them, is done with that.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::ProcError;
use super::fdinfo::{FdInfo, parse_fdinfo};
use super::files::{FilePath, Manner, Use};
use super::filter::{Filter, Regard};
use super::mountinfo::Device;
use super::task::{self, Task};

/// How far up a path is looked for that the kernel can tell: deeper than anything that is made by accident.
const MOST_LEVELS: u32 = 100_000;

/// How often the fdinfo of a ring is read that was busy, and how long between.
const RING_TRIES: u32 = 30;
const EMPTY_TRIES: u32 = 3;
const RING_PAUSE: Duration = Duration::from_millis(1);

/// Fewer descriptors are looked at sooner than handed to another thread.
const AT_ONCE: usize = 512;

/// `/dev/fuse` (Linux `Documentation/admin-guide/devices.txt`): who has it open serves a file system.
const FUSE_DEVICE: Device = Device { major: 10, minor: 229 };

/// A directory of `/proc` that shows descriptors or what else a task uses.
pub(super) struct Table<'a> {
    pub(super) task: Task,
    pub(super) filter: &'a Filter,
    /// `/proc/PID/task/TID/fd`, or the directory above it.
    links: OwnedFd,
    seen: &'a Seen,
}

/// The files of one process that were shown. Descriptors of the same file are many, and each thread has the same directories.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashSet<(Device, u64, Option<u64>)>>);

impl Seen {
    /// Whether a file with one name alone was shown before.
    fn has(&self, facts: &Statx, mount: Option<u64>) -> bool {
        let is_directory = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory;
        (facts.stx_nlink == 1 || is_directory)
            && self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key(facts, mount))
    }

    fn add(&self, facts: &Statx, mount: Option<u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key(facts, mount));
    }
}

fn key(facts: &Statx, mount: Option<u64>) -> (Device, u64, Option<u64>) {
    (Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor }, facts.stx_ino, mount)
}

impl<'a> Table<'a> {
    /// Opens what `/proc` shows of a task below `name`; none when it has ended.
    pub(super) fn open(
        task: Task,
        name: &str,
        filter: &'a Filter,
        seen: &'a Seen,
    ) -> Result<Option<Self>, ProcError> {
        let path = task.path(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = task::unless_ended(rustix::fs::open(&path, flags, Mode::empty()), &path)?;
        Ok(opened.map(|links| Self { task, filter, links, seen }))
    }

    /// How many descriptors there are, where the kernel says (Linux 6.2).
    #[expect(clippy::disallowed_methods, reason = "where the kernel does not say, the numbers are listed")]
    pub(super) fn size(&self) -> Option<u64> {
        let facts = rustix::fs::fstat(&self.links).ok()?;
        u64::try_from(facts.st_size).ok().filter(|size| *size > 0)
    }

    /// The numbers of the descriptors.
    #[expect(clippy::disallowed_methods, reason = "what has ended has no open files")]
    pub(super) fn numbers(&self) -> Result<Vec<u32>, ProcError> {
        let listed = task::numbers_in(&self.links);
        Ok(task::unless_ended(listed, &self.task.path("fd"))?.unwrap_or_default())
    }

    /// Everything that these descriptors are.
    pub(super) fn uses<T: Send>(
        &self,
        numbers: &[u32],
        judge: &(impl Fn(&Use) -> Option<T> + Sync),
    ) -> Result<Vec<T>, ProcError> {
        let look = |number: &u32| self.look(DecInt::new(*number).as_str(), Manner::OpenFile(*number), judge);
        let all = |numbers: &[u32]| -> Result<Vec<T>, ProcError> {
            let mut found = Vec::new();
            for number in numbers {
                found.extend(look(number)?);
            }
            Ok(found)
        };
        if numbers.len() <= AT_ONCE {
            return all(numbers);
        }
        let looks: Vec<Vec<T>> = numbers.par_chunks(AT_ONCE).map(all).collect::<Result<_, _>>()?;
        Ok(looks.into_iter().flatten().collect())
    }

    /// What one link leads to, as far as it may concern the one who asks.
    pub(super) fn look<T>(
        &self,
        name: &str,
        manner: Manner,
        judge: &impl Fn(&Use) -> Option<T>,
    ) -> Result<Vec<T>, ProcError> {
        let facts = match self.facts(name) {
            Ok(facts) => facts,
            Err(Errno::NOENT | Errno::SRCH) => return Ok(Vec::new()),
            // A server of FUSE that is gone, or one that is another user's. The link itself needs no file system.
            Err(_) => return self.by_link(name, manner, judge),
        };
        let device = Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor };
        let show = |manner, path, mount, inode| {
            let names = Some(facts.stx_nlink);
            judge(&Use { task: self.task, manner, path, mount, inode, names })
        };
        let bound = self.filter.sockets.get(&facts.stx_ino);
        match FileType::from_raw_mode(facts.stx_mode.into()) {
            // An open socket. The file of one, on a disk, has a device of its own.
            FileType::Socket if device.major == 0 && bound.is_some() => {
                let path = bound.map(|path| FilePath::Told(path.clone()));
                Ok(path.and_then(|path| show(Manner::Socket, path, None, None)).into_iter().collect())
            }
            FileType::CharacterDevice
                if (Device { major: facts.stx_rdev_major, minor: facts.stx_rdev_minor }) == FUSE_DEVICE =>
            {
                let arguments = task::arguments(self.task.process)?;
                Ok(arguments
                    .into_iter()
                    .filter_map(|word| show(Manner::Served, FilePath::Told(word), None, None))
                    .collect())
            }
            // inotify, rings and the like have no type of file.
            FileType::Unknown => self.anonymous(name, judge),
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice => {
                let Some((path, mount)) = self.file(name, &facts)? else { return Ok(Vec::new()) };
                let inode = Some((device, facts.stx_ino));
                Ok(show(manner, path, mount, inode).into_iter().collect())
            }
        }
    }

    /// The path and mount of a file, as far as it may concern the one who asks and was not shown before.
    fn file(&self, name: &str, facts: &Statx) -> Result<Option<(FilePath, Option<u64>)>, ProcError> {
        let device = Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor };
        let kind = FileType::from_raw_mode(facts.stx_mode.into());
        let mount = match has_mount(facts) {
            true => Some(facts.stx_mnt_id),
            false if self.filter.regard(device, None, kind) == Regard::Whole => self.mount_of(name)?,
            false => None,
        };
        let regard = self.filter.regard(device, mount, kind);
        if regard == Regard::None || self.seen.has(facts, mount) {
            return Ok(None);
        }
        let path = match regard {
            // One that is too long says as little as `/`, and to look for its beginning takes a directory of others into use.
            Regard::Path => self.short_path(name)?,
            Regard::Whole | Regard::None => self.path(name)?,
        };
        // A descriptor that was closed or used for another file meanwhile has not shown this one.
        if path.is_some() && matches!(self.facts(name), Ok(now) if key(&now, mount) == key(facts, mount)) {
            self.seen.add(facts, mount);
        }
        let is_wanted = |path: &FilePath| regard == Regard::Whole || path.is_doubtful(Some(facts.stx_nlink));
        Ok(path.filter(is_wanted).map(|path| (path, mount)))
    }

    /// What the cache knows will do: a network file system that is gone is not waited for.
    fn facts(&self, name: &str) -> rustix::io::Result<Statx> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::MNT_ID;
        rustix::fs::statx(&self.links, name, flags, wanted)
    }

    /// Of a file that its file system says nothing about, path and mount have to do.
    fn by_link<T>(
        &self,
        name: &str,
        manner: Manner,
        judge: &impl Fn(&Use) -> Option<T>,
    ) -> Result<Vec<T>, ProcError> {
        let Some(path) = self.path(name)? else { return Ok(Vec::new()) };
        if matches!(&path, FilePath::Told(path) if !path.starts_with(b"/")) {
            return Ok(Vec::new());
        }
        let mount = match manner {
            Manner::OpenFile(_) => self.mount_of(name)?,
            Manner::WorkingDirectory
            | Manner::RootDirectory
            | Manner::Executable
            | Manner::MappedFile
            | Manner::Socket
            | Manner::Watch
            | Manner::Registered
            | Manner::Served => None,
        };
        let seen = Use { task: self.task, manner, path, mount, inode: None, names: None };
        Ok(judge(&seen).into_iter().collect())
    }

    /// What an anonymous file keeps: marks, or the files of a ring.
    fn anonymous<T>(&self, name: &str, judge: &impl Fn(&Use) -> Option<T>) -> Result<Vec<T>, ProcError> {
        let link = match self.path(name)? {
            Some(FilePath::Told(link)) => link,
            Some(FilePath::TooLong | FilePath::Untold) | None => return Ok(Vec::new()),
        };
        let is_ring = link.ends_with(b"[io_uring]");
        if !is_ring && !link.ends_with(b"inotify") && !link.ends_with(b"[fanotify]") {
            return Ok(Vec::new());
        }
        let Some(info) = self.info(name, is_ring)? else { return Ok(Vec::new()) };
        let show = |manner, path, inode| {
            judge(&Use { task: self.task, manner, path, mount: None, inode, names: None })
        };
        let marks = info.marks.iter().filter(|mark| self.filter.systems.include(mark.device));
        let marks = marks.map(|mark| (Manner::Watch, FilePath::Untold, Some((mark.device, mark.inode))));
        let files = match info.registered {
            Some(registered) => registered.files.into_iter().map(FilePath::Told).collect(),
            None if is_ring => vec![FilePath::TooLong],
            None => Vec::new(),
        };
        let files = files.into_iter().map(|path| (Manner::Registered, path, None));
        Ok(marks.chain(files).filter_map(|(manner, path, inode)| show(manner, path, inode)).collect())
    }

    /// A ring at work is locked, and then the kernel leaves its files out, before Linux 6.14 with an empty list.
    fn info(&self, name: &str, is_ring: bool) -> Result<Option<FdInfo>, ProcError> {
        let path = self.task.path(&format!("fdinfo/{name}"));
        for tried in 0.. {
            let Some(text) = task::read_whole(&path)? else { return Ok(None) };
            let info = parse_fdinfo(&text).map_err(|_| ProcError::Strange { path: path.clone() })?;
            let tries = match &info.registered {
                None if is_ring => RING_TRIES,
                Some(registered) if registered.places > 0 && registered.files.is_empty() => EMPTY_TRIES,
                Some(_) | None => 0,
            };
            if tried >= tries {
                return Ok(Some(info));
            }
            std::thread::sleep(RING_PAUSE);
        }
        Ok(None)
    }

    fn mount_of(&self, name: &str) -> Result<Option<u64>, ProcError> {
        super::files::mount_id(&self.task.path(&format!("fdinfo/{name}")))
    }

    /// The path of what a link leads to, or that of a directory above it; none when it was closed or its process has ended.
    fn path(&self, name: &str) -> Result<Option<FilePath>, ProcError> {
        match self.short_path(name)? {
            Some(FilePath::TooLong) => Ok(path_above(self.links.as_fd(), name)),
            path => Ok(path),
        }
    }

    /// The same as far as the kernel tells it in one call.
    fn short_path(&self, name: &str) -> Result<Option<FilePath>, ProcError> {
        match rustix::fs::readlinkat(&self.links, name, Vec::with_capacity(256)) {
            Err(Errno::NAMETOOLONG) => Ok(Some(FilePath::TooLong)),
            path => {
                let path = task::unless_ended(path, &self.task.path(name))?;
                Ok(path.map(CString::into_bytes).map(FilePath::Told))
            }
        }
    }
}

fn has_mount(facts: &Statx) -> bool {
    StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::MNT_ID)
}

/// The path of the nearest directory above that the kernel can tell. It is almost a page long, so whatever short path it lies
/// below, what is in it lies below too. Too long for what is no directory, as only a directory knows what it is in. None when it
/// was closed, or removed: a directory that is removed is empty, and has nothing above it (`ENOENT`).
fn path_above(links: BorrowedFd<'_>, name: &str) -> Option<FilePath> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = match rustix::fs::openat(links, name, flags, Mode::empty()) {
        Ok(here) => here,
        Err(Errno::NOENT | Errno::SRCH) => return None,
        Err(_) => return Some(FilePath::TooLong),
    };
    for _ in 0..MOST_LEVELS {
        here = match rustix::fs::openat(&here, "..", flags, Mode::empty()) {
            Ok(above) => above,
            Err(Errno::NOENT) => return None,
            Err(_) => return Some(FilePath::TooLong),
        };
        let own = format!("/proc/self/fd/{}", here.as_raw_fd());
        match rustix::fs::readlink(own, Vec::with_capacity(4096)) {
            Ok(path) => return Some(FilePath::Told(path.into_bytes())),
            Err(Errno::NAMETOOLONG) => {}
            Err(_) => return Some(FilePath::TooLong),
        }
    }
    Some(FilePath::TooLong)
}
