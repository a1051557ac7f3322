//! What is at a path of another mount namespace, looked at through the root directory of one of its processes.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::mountinfo::Device;
use super::namespaces::Namespace;
use super::task::Task;
use crate::host::directory;

/// What is at a path, itself and not what it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A link, and its text.
    Link(Vec<u8>),
    /// A directory, a file: anything else.
    Other,
    /// Nothing.
    Missing,
    /// It cannot be looked at.
    Unknown,
}

/// What is at a path of a namespace. Of one that no process shows whole the paths are taken as they are.
pub fn look(namespace: &Namespace, path: &[u8]) -> Node {
    let Some(task) = namespace.window else { return Node::Other };
    match rustix::fs::readlink(below(task, path), Vec::with_capacity(256)) {
        Ok(target) => Node::Link(target.into_bytes()),
        // Not a link.
        Err(Errno::INVAL) => Node::Other,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => Node::Missing,
        Err(_) => Node::Unknown,
    }
}

/// Whether a directory of a namespace is there and has nothing in it, as one does that something was mounted on.
#[expect(clippy::disallowed_methods, reason = "what cannot be looked at is not known to be empty")]
pub fn is_empty(namespace: &Namespace, path: &[u8]) -> bool {
    let Some(task) = namespace.window else { return false };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let listed = rustix::fs::open(below(task, path), flags, Mode::empty())
        .and_then(|opened| directory::list(opened.as_fd()));
    listed.is_ok_and(|names| names.is_empty())
}

/// A file as it is seen in a file system that is made of others: an overlay shows inode and change time of the file below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print {
    /// Its inode.
    pub inode: u64,
    /// When it was changed last, in nanoseconds.
    pub changed_at: i128,
}

/// The first files at and below a path of a namespace, at most `most`. Nothing is opened but directories.
#[expect(
    clippy::disallowed_methods,
    reason = "what cannot be listed shows nothing to look for; its layers are judged by their paths too"
)]
pub fn prints(namespace: &Namespace, path: &[u8], most: usize) -> Vec<Print> {
    let Some(task) = namespace.window else { return Vec::new() };
    let mut found = Vec::new();
    let mut todo = VecDeque::from([below(task, path)]);
    while let Some(directory) = todo.pop_front() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(opened) = rustix::fs::open(directory.as_slice(), flags, Mode::empty()) else { continue };
        for (name, _) in directory::list(opened.as_fd()).unwrap_or_default() {
            if found.len() >= most {
                return found;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
            let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::CTIME;
            let Ok(facts) = rustix::fs::statx(&opened, &name, flags, wanted) else { continue };
            let is_mount = facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            if FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory && !is_mount {
                todo.push_back([directory.as_slice(), b"/", name.to_bytes()].concat());
            }
            found.push(print(&facts));
        }
    }
    found
}

/// What a file is told by.
pub fn print(facts: &Statx) -> Print {
    let changed = facts.stx_ctime;
    Print {
        inode: facts.stx_ino,
        changed_at: i128::from(changed.tv_sec) * 1_000_000_000 + i128::from(changed.tv_nsec),
    }
}

/// What is at a path that a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its device, as `stat` names it.
    pub device: Device,
    /// Whether it is a socket.
    pub is_socket: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// What is at a path below the root directory of a process; none when there is nothing, or it cannot be looked at.
#[expect(
    clippy::disallowed_methods,
    reason = "what cannot be looked at is not known to be another file, and is looked for"
)]
pub fn facts(task: Task, path: &[u8]) -> Option<Facts> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let facts = rustix::fs::statx(CWD, below(task, path), flags, StatxFlags::TYPE).ok()?;
    let kind = FileType::from_raw_mode(facts.stx_mode.into());
    Some(Facts {
        device: Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor },
        is_socket: kind == FileType::Socket,
        is_directory: kind == FileType::Directory,
    })
}

fn below(task: Task, path: &[u8]) -> Vec<u8> {
    let mut whole = task.path("root").into_bytes();
    whole.extend_from_slice(path);
    whole
}
