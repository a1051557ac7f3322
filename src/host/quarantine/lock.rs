//! One exclusive lock on the quarantine directory: the service and the commands that change something take turns.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::QuarantineDir;
use crate::host::directory::is_without_room;
use crate::host::fault::{self, Point};
use crate::host::pulse;

const FILE: &std::ffi::CStr = c"lock";

/// How often a lock that somebody else holds is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Held until dropped, or until the process ends, however it ends (`flock(2)`).
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A system call failed.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's words.
        source: Errno,
    },
    /// Somebody else holds it.
    #[error("{path} is held by {holder}; it did not become free within {} s", .waited.as_secs())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl QuarantineDir {
    /// Takes the lock, waiting up to `patience`. `whoami` is written into the file for others to read; `waiting` is called once,
    /// with the holder, when there is somebody to wait for.
    pub async fn lock(
        &self,
        whoami: &str,
        patience: Duration,
        mut waiting: impl FnMut(&str),
    ) -> Result<Lock, LockError> {
        let path = self.path.join("lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fault::at(Point::LockFile).map_err(io)?;
        let file =
            rustix::fs::openat(self.directory.as_fd(), FILE, flags, Mode::RUSR | Mode::WUSR).map_err(io)?;
        let mut waited = Duration::ZERO;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(source) => return Err(io(source)),
            }
            if waited.is_zero() {
                waiting(&holder(&file));
            }
            if waited >= patience {
                return Err(LockError::Busy { path, holder: holder(&file), waited });
            }
            tokio::time::sleep(RETRY).await;
            pulse::beat();
            waited += RETRY;
        }
        let written = fault::at(Point::LockWrite)
            .and_then(|()| rustix::fs::ftruncate(&file, 0))
            .and_then(|()| rustix::io::pwrite(&file, whoami.as_bytes(), 0));
        match written {
            Ok(_) => {}
            // I15: who holds the lock is only shown to those who wait for it.
            Err(errno) if is_without_room(errno) => {
                tracing::debug!("{} does not say who holds it: {errno}", path.display());
            }
            Err(errno) => return Err(io(errno)),
        }
        Ok(Lock { _file: file })
    }
}

/// What the holder wrote. For people only, so a failure to read it is no failure.
fn holder(file: &OwnedFd) -> String {
    let mut buffer = [0_u8; 256];
    match rustix::io::pread(file, &mut buffer, 0) {
        Ok(length) if length > 0 => {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or(&[])).into_owned();
            text.chars().filter(|c| !c.is_control()).collect()
        }
        Ok(_) | Err(_) => "another volgc".to_owned(),
    }
}
