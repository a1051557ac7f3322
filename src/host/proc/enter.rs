//! Reading a mount namespace from inside, where no process shows it whole: one that only a mount keeps (`unshare --mount=FILE`,
//! snapd), or one whose processes all have a changed root directory (`unshare --mount --root`).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::namespaces;

/// The text of the mount table of a namespace.
///
/// A thread of its own goes there and ends there. It belongs to no pool, so nothing else ever runs in that namespace, and it
/// touches nothing but the `/proc` that was opened before (I10).
pub(super) fn read(namespace: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    std::thread::scope(|scope| {
        let read = std::thread::Builder::new().name("volgc-mounts".to_owned()).spawn_scoped(scope, || {
            leave_shared_root()?;
            // The type is named, so that a unit's RestrictNamespaces=mnt lets it pass.
            rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            let table = rustix::fs::openat(
                &proc,
                c"thread-self/mountinfo",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            namespaces::read_steadily(&table)
        });
        match read.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) | Err(_) => Err(Errno::AGAIN),
        }
    })
}

/// A thread enters a mount namespace only with a root and working directory of its own (`setns(2)`).
#[expect(
    deprecated,
    reason = "the successor is unsafe because of CLONE_FILES, which is not used; unsafe code is forbidden here"
)]
fn leave_shared_root() -> rustix::io::Result<()> {
    rustix::thread::unshare(UnshareFlags::FS)
}
