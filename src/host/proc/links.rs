//! What is at a path of another mount namespace, looked at through the root directory of one of its processes.

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::io::Errno;

use super::mountinfo::Device;
use super::namespaces::Namespace;
use super::prints;
use super::task::Task;

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
    match rustix::fs::readlink(prints::seen_by(task, path), Vec::with_capacity(256)) {
        Ok(target) => Node::Link(target.into_bytes()),
        // Not a link.
        Err(Errno::INVAL) => Node::Other,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => Node::Missing,
        Err(_) => Node::Unknown,
    }
}

/// What is at a path that a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its device, as `stat` names it.
    pub device: Device,
    /// Its inode.
    pub inode: u64,
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
    let facts =
        rustix::fs::statx(CWD, prints::seen_by(task, path), flags, StatxFlags::TYPE | StatxFlags::INO)
            .ok()?;
    let kind = FileType::from_raw_mode(facts.stx_mode.into());
    Some(Facts {
        device: Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor },
        inode: facts.stx_ino,
        is_socket: kind == FileType::Socket,
        is_directory: kind == FileType::Directory,
    })
}
