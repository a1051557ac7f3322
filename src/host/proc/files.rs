//! What processes have open: files, mapped files, working directories, root directories, executables; and files that stand
//! behind a block device.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::task::{self, Task};
use super::{ProcError, sight};
use crate::host::directory;

/// How far up a path is looked for that the kernel can tell: deeper than anything that is made by accident.
const MOST_LEVELS: u32 = 100_000;

/// In what way something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// The working directory.
    WorkingDirectory,
    /// The root directory.
    RootDirectory,
    /// The program that runs.
    Executable,
    /// An open descriptor.
    OpenFile(u32),
    /// A file mapped into memory.
    MappedFile,
}

impl fmt::Display for Manner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::WorkingDirectory => "working directory",
            Self::RootDirectory => "root directory",
            Self::Executable => "executable",
            Self::OpenFile(_) => "open file",
            Self::MappedFile => "mapped file",
        })
    }
}

/// One file or directory that a process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who.
    pub task: Task,
    /// How.
    pub manner: Manner,
    /// Where it is.
    pub path: FilePath,
}

/// Where a file or directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePath {
    /// Its path, seen from the root of the mount namespace through which it was reached. What was unlinked ends in ` (deleted)`.
    Told(Vec<u8>),
    /// Its path is longer than the kernel tells, which is a page (`d_path`, Linux `fs/d_path.c`): any container can nest that
    /// deep.
    TooLong,
}

impl Use {
    /// The mount it was reached through, where the kernel says.
    pub fn mount_id(&self) -> Option<u64> {
        let link = match self.manner {
            Manner::OpenFile(number) => {
                return mount_id(&self.task.path(&format!("fdinfo/{number}"))).ok().flatten();
            }
            Manner::MappedFile => return None,
            Manner::WorkingDirectory => "cwd",
            Manner::RootDirectory => "root",
            Manner::Executable => "exe",
        };
        // What the cache knows will do: a network file system that is gone is not waited for.
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let facts = rustix::fs::statx(CWD, self.task.path(link), flags, StatxFlags::MNT_ID).ok()?;
        StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::MNT_ID).then_some(facts.stx_mnt_id)
    }
}

/// The `mnt_id` in an fdinfo.
pub(super) fn mount_id(fdinfo: &str) -> Result<Option<u64>, ProcError> {
    let Some(text) = task::read_whole(fdinfo)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok()))
}

/// Shows `judge` everything that other processes use, and collects what it makes of it.
///
/// # Errors
///
/// When a process that lives cannot be looked at (I2), unless it has capabilities that this one lacks.
pub fn uses<T: Send>(judge: impl Fn(&Use) -> Option<T> + Sync) -> Result<Vec<T>, ProcError> {
    sight::check()?;
    // Our own descriptors of the directories at work are no use by somebody.
    let own = task::own()?;
    let others = task::processes()?.into_iter().filter(|process| *process != own);
    let found: Vec<Vec<T>> = others
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|process| match uses_of(process, &judge) {
            // The kernel shows such a process to nobody here, root included: a supervisor above this machine or container. To
            // refuse for it would be to refuse for ever.
            Err(ProcError::Denied { .. }) if task::is_more_privileged(process)? => Ok(Vec::new()),
            found => found,
        })
        .collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn uses_of<T>(process: u32, judge: &impl Fn(&Use) -> Option<T>) -> Result<Vec<T>, ProcError> {
    let mut found = Vec::new();
    let mut namespaces = Vec::new();
    for task in task::tasks(process)? {
        let mut show = |manner, path| found.extend(judge(&Use { task, manner, path }));
        for (what, manner) in [("cwd", Manner::WorkingDirectory), ("root", Manner::RootDirectory)] {
            if let Some(path) = path_of(&task.path(what))? {
                show(manner, path);
            }
        }
        // Threads share their descriptors and their memory. The first that lives shows them (the first of all may have
        // ended), and each that left its namespace, as it may have taken a table of its own.
        let Some(namespace) = task.namespace()? else { continue };
        if namespaces.contains(&namespace) {
            continue;
        }
        namespaces.push(namespace);
        open_files(task, &mut show)?;
        mapped_files(task, &mut show)?;
        if let Some(path) = path_of(&task.path("exe"))? {
            show(Manner::Executable, path);
        }
    }
    Ok(found)
}

/// The path of what a link of `/proc` leads to; none when what it shows has ended.
fn path_of(link: &str) -> Result<Option<FilePath>, ProcError> {
    match task::link(link) {
        Err(ProcError::Io { source: Errno::NAMETOOLONG, .. }) => Ok(path_above(link)),
        path => Ok(path?.map(FilePath::Told)),
    }
}

/// The path of the nearest directory above that the kernel can tell. It is almost a page long, so whatever short path it lies
/// below, what is in it lies below too. Too long for what is no directory, as only a directory knows what it is in. None when it
/// was closed, or removed: a directory that is removed is empty, and has nothing above it (`ENOENT`).
fn path_above(link: &str) -> Option<FilePath> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = match rustix::fs::open(link, flags, Mode::empty()) {
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

fn open_files(task: Task, show: &mut impl FnMut(Manner, FilePath)) -> Result<(), ProcError> {
    for number in task::numbers(&task.path("fd"))?.unwrap_or_default() {
        if let Some(path) = path_of(&task.path(&format!("fd/{number}")))? {
            show(Manner::OpenFile(number), path);
        }
    }
    Ok(())
}

/// A file stays mapped after its descriptor is closed.
fn mapped_files(task: Task, show: &mut impl FnMut(Manner, FilePath)) -> Result<(), ProcError> {
    let text = task::read_whole(&task.path("maps"))?.unwrap_or_default();
    let mut last: &[u8] = b"";
    for line in text.split(|byte| *byte == b'\n') {
        // Address, mode, offset, device and inode come first, and none of them contains a slash.
        let Some(start) = line.iter().position(|byte| *byte == b'/') else { continue };
        let path = line.get(start..).unwrap_or_default();
        if path != last {
            last = path;
            show(Manner::MappedFile, FilePath::Told(unescape_newline(path)));
        }
    }
    Ok(())
}

/// In maps a newline, and nothing else, is written in octal.
fn unescape_newline(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

/// Files that stand behind a loop device, with its name: the kernel itself holds them open, no process does.
pub fn loop_devices() -> Result<Vec<(String, Vec<u8>)>, ProcError> {
    let path = "/sys/block";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let names = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|block| directory::list(block.as_fd()))
        .map_err(|source| ProcError::new(path, source))?;
    let mut devices = Vec::new();
    for (name, _) in names {
        let name = directory::shown(&name);
        if !name.starts_with("loop") {
            continue;
        }
        let path = format!("/sys/block/{name}/loop/backing_file");
        // A loop device without a file has no such entry; one that is being taken down says ENXIO.
        let text = match task::read_whole(&path) {
            Err(ProcError::Io { source: Errno::NXIO | Errno::NODEV, .. }) => None,
            text => text?,
        };
        devices.extend(text.map(|text| (name, text.strip_suffix(b"\n").unwrap_or(&text).to_vec())));
    }
    Ok(devices)
}
