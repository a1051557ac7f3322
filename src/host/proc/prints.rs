//! Files as they are seen in a file system that is made of others: an overlay shows inode and change time of what lies below it.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};

use super::mountinfo::Device;
use super::task::Task;
use crate::host::directory;

/// An overlay over several file systems keeps the number of the file system in the highest bits of an inode, as many as it needs
/// (`xino`, Linux `Documentation/filesystems/overlayfs.rst`). No file system of this world has inodes as high as that.
const INODE_BITS: u64 = (1 << 56) - 1;

/// `OVERLAYFS_SUPER_MAGIC` and `EROFS_SUPER_MAGIC_V1` (linux/magic.h).
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;
const EROFS: rustix::fs::FsWord = 0xe0f5_e1e2;

/// How many directories [`top`] climbs at most.
const MOST_LEVELS: usize = 4096;

/// What tells a file from all others, whatever it is seen through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print {
    /// Its inode.
    pub inode: u64,
    /// When it was changed last, in nanoseconds.
    pub changed_at: i128,
}

impl Print {
    /// Of these facts.
    pub fn of(facts: &Statx) -> Self {
        let changed = facts.stx_ctime;
        Self {
            inode: facts.stx_ino & INODE_BITS,
            changed_at: i128::from(changed.tv_sec) * 1_000_000_000 + i128::from(changed.tv_nsec),
        }
    }
}

/// A file system of this kind shows files of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// An overlay, of directories.
    Overlay,
    /// An EROFS, of a file that is as large, in blocks of 512 bytes, if it is of one.
    Erofs(u64),
    /// None of these.
    Other,
}

/// The path under which a task sees `path`.
pub fn seen_by(task: Task, path: &[u8]) -> Vec<u8> {
    [task.path("root").as_bytes(), path].concat()
}

/// What is at `below` in a directory, itself and not what it points to; none when nothing can be seen there.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen is the same as no other file")]
pub fn at(directory: &[u8], below: &[u8]) -> Option<Print> {
    facts(CWD, child(directory, below)).as_ref().map(Print::of).ok()
}

fn child(directory: &[u8], below: &[u8]) -> Vec<u8> {
    if below.is_empty() { directory.to_vec() } else { [directory, b"/", below].concat() }
}

/// What is at a path that a proof can be made of: a file with other names may be in other directories.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen proves nothing")]
pub fn proof_at(directory: &[u8], below: &[u8]) -> Option<Print> {
    let facts = facts(CWD, child(directory, below)).ok()?;
    let is_directory = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory;
    (is_directory || facts.stx_nlink == 1).then(|| Print::of(&facts))
}

/// Whether what is at a path is a directory of this device, or none at all: a file of an overlay may have the device of its layer.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen is on no device that is looked for")]
pub fn is_on(path: &[u8], device: Device) -> bool {
    facts(CWD, path).is_ok_and(|facts| {
        let is_directory = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory;
        !is_directory || device == Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor }
    })
}

/// The first files at and below a directory by their paths from there, the upper ones first; its own is empty. At most `most`.
/// Nothing is opened but directories, and no mount is gone into.
#[expect(
    clippy::disallowed_methods,
    reason = "what cannot be listed shows nothing to look for; what it is made of is judged by its text too"
)]
pub fn listed(directory: &[u8], most: usize) -> Vec<(Vec<u8>, Print)> {
    let mut found: Vec<(Vec<u8>, Print)> =
        at(directory, b"").map(|print| (Vec::new(), print)).into_iter().collect();
    let mut todo = VecDeque::from([Vec::new()]);
    while let Some(below) = todo.pop_front().filter(|_| found.len() < most) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(opened) = rustix::fs::open(child(directory, &below), flags, Mode::empty()) else { continue };
        for name in directory::first_names(&opened, most - found.len()).unwrap_or_default() {
            let Ok(facts) = facts(&opened, name.as_c_str()) else { continue };
            let slash: &[u8] = if below.is_empty() { b"" } else { b"/" };
            let path = [below.as_slice(), slash, name.to_bytes()].concat();
            let is_mount = facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            if FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory && !is_mount {
                todo.push_back(path.clone());
            }
            found.push((path, Print::of(&facts)));
        }
    }
    found
}

/// The kind of the file system of an open file. It asks the file system, which may be one that never answers.
pub fn made(file: &OwnedFd) -> rustix::io::Result<Made> {
    let facts = rustix::fs::fstatfs(file)?;
    Ok(match facts.f_type {
        OVERLAY => Made::Overlay,
        EROFS => {
            let block = u64::try_from(facts.f_bsize).map_err(|_| rustix::io::Errno::RANGE)?;
            Made::Erofs(facts.f_blocks.saturating_mul(block).div_ceil(512))
        }
        _ => Made::Other,
    })
}

/// Opens what a path leads to, links included, without using it.
pub fn reached(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The size of a regular file in blocks of 512 bytes, rounded up; none when it cannot be seen.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen has not the size that is looked for")]
pub fn blocks(path: &[u8]) -> Option<u64> {
    rustix::fs::stat(path)
        .ok()
        .and_then(|facts| u64::try_from(facts.st_size).ok())
        .map(|size| size.div_ceil(512))
}

/// An open file, or the first files of the whole file system that an open directory is on, as far up as its mount leads.
pub fn all_of(file: OwnedFd, most: usize) -> rustix::io::Result<Vec<Print>> {
    let found = facts(&file, c"")?;
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Directory {
        return Ok(vec![Print::of(&found)]);
    }
    let top = top(file)?;
    let path = format!("/proc/self/fd/{}/.", top.as_raw_fd());
    Ok(listed(path.as_bytes(), most).into_iter().map(|(_, print)| print).collect())
}

fn top(directory: OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = directory;
    for _ in 0..MOST_LEVELS {
        let above = rustix::fs::openat(&here, c"..", flags, Mode::empty())?;
        let (one, other) = (facts(&here, c"")?, facts(&above, c"")?);
        let device = |facts: &Statx| (facts.stx_dev_major, facts.stx_dev_minor);
        if device(&one) != device(&other) || one.stx_ino == other.stx_ino {
            break;
        }
        here = above;
    }
    Ok(here)
}

fn facts(directory: impl rustix::fd::AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<Statx> {
    let flags =
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    rustix::fs::statx(
        directory,
        path,
        flags,
        StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::CTIME,
    )
}
