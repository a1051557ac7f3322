//! Which process the engine is.
//!
//! The peer of its socket may be systemd, which made the socket for it, or a proxy. The engine alone keeps `<volumes>/metadata.db`
//! open and locked for as long as it runs (moby `volume/service`, bbolt's `flock`, 1.11 to 29), and the kernel lists who has a lock.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::directory::{self, Facts};
use super::proc::{self, ProcError};
use super::view::View;

/// The files as the engine of this volumes directory sees them, else as the host does.
///
/// # Errors
///
/// When they may not be looked at.
pub fn view(volumes: BorrowedFd<'_>) -> Result<View, ProcError> {
    let home = directory::facts(volumes)
        .map_err(|error| ProcError::new("the volumes directory", error))?
        .identity
        .device;
    let process = match process_of(volumes)? {
        Some(process) => process,
        // Nobody has the lock: the engine has just ended, or this is none of Docker's.
        None => proc::view::host_process()?,
    };
    View::of_process(process, home)
}

/// The process that has the volumes directory in use as an engine; none when nothing shows one.
///
/// # Errors
///
/// When the kernel's list of locks cannot be read, or the processes in it may not be looked at.
#[expect(
    clippy::disallowed_methods,
    reason = "a kernel without the list shows no owner, and the host's view counts"
)]
pub fn process_of(volumes: BorrowedFd<'_>) -> Result<Option<u32>, ProcError> {
    let database = match directory::facts_of_child(volumes, c"metadata.db") {
        Ok(facts) => facts,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(ProcError::new("metadata.db of the volumes", error)),
    };
    let locks = proc::read("/proc/locks")?.unwrap_or_default();
    let device = database.identity.device;
    let device = format!("{:02x}:{:02x}", rustix::fs::major(device), rustix::fs::minor(device));
    for (process, on) in owners(&String::from_utf8_lossy(&locks), database.identity.inode) {
        // On btrfs and overlay the list has another device than `stat`.
        if on == device || has_open(process, &database)? {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

/// The processes with a lock by `flock(2)` on a file of this inode, with its device (`proc_locks(5)`).
fn owners(locks: &str, inode: u64) -> BTreeSet<(u32, &str)> {
    locks.lines().filter_map(|line| owner(line, inode)).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is no number is no process that could be looked at")]
fn owner(line: &str, inode: u64) -> Option<(u32, &str)> {
    let mut fields = line.split_whitespace().skip(1);
    // One that waits has an arrow here.
    if fields.next()? != "FLOCK" {
        return None;
    }
    let process = fields.nth(2)?.parse().ok().filter(|process| *process > 0)?;
    let (device, file) = fields.next()?.rsplit_once(':')?;
    (file.parse() == Ok(inode)).then_some((process, device))
}

#[expect(clippy::disallowed_methods, reason = "what has ended has nothing open")]
fn has_open(process: u32, file: &Facts) -> Result<bool, ProcError> {
    let directory = format!("/proc/{process}/fd");
    for descriptor in proc::numbers_in(&directory)?.unwrap_or_default() {
        let path = format!("{directory}/{descriptor}");
        // Only a file of this name is looked at: another may be on a file system that never answers.
        match rustix::fs::readlink(path.as_str(), Vec::new()) {
            Ok(text) if text.to_bytes().ends_with(b"/metadata.db") => {}
            Ok(_) | Err(Errno::NOENT | Errno::SRCH) => continue,
            Err(error) => return Err(ProcError::new(&path, error)),
        }
        match rustix::fs::statat(rustix::fs::CWD, path.as_str(), AtFlags::empty()) {
            Ok(stat) => {
                if (stat.st_dev, stat.st_ino) == (file.identity.device, file.identity.inode) {
                    return Ok(true);
                }
            }
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(error) => return Err(ProcError::new(&path, error)),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    /// As Linux 6.1 lists them.
    const LOCKS: &str = "1: FLOCK  ADVISORY  WRITE 9754 fe:00:10018881 0 EOF\n\
                         2: POSIX  ADVISORY  WRITE 77 fe:00:10018907 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 9738 fe:00:10018907 0 EOF\n\
                         3: -> FLOCK  ADVISORY  WRITE 88 fe:00:10018907 0 EOF\n\
                         4: OFDLCK ADVISORY  READ -1 00:06:3 0 EOF\n\
                         5: FLOCK  ADVISORY  WRITE 0 fe:00:10018907 0 EOF\n";

    #[test]
    fn who_has_a_lock_is_told_by_the_inode() {
        assert_eq!(owners(LOCKS, 10_018_907), BTreeSet::from([(9738, "fe:00")]));
        assert_eq!(owners(LOCKS, 10_018_881), BTreeSet::from([(9754, "fe:00")]));
        assert_eq!(owners(LOCKS, 3), BTreeSet::new());
    }

    #[test]
    fn this_process_is_found_by_its_lock() {
        let volumes = tempfile::tempdir().unwrap();
        let open =
            rustix::fs::open(volumes.path(), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(process_of(open.as_fd()).unwrap(), None);
        let database = rustix::fs::openat(
            &open,
            c"metadata.db",
            rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR,
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        assert_eq!(process_of(open.as_fd()).unwrap(), None);
        rustix::fs::flock(&database, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(process_of(open.as_fd()).unwrap(), Some(std::process::id()));
    }
}
