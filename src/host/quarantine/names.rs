//! Names for which an order to the engine may still be on its way, when the entry that said so has ended. One empty directory a name,
//! `unsafe.NAME`; no entry has a dot in its name. Its change time says since when, and its modification time is no date but the
//! monotonic clock of that moment, which nobody can set. After a restart of the host that clock begins anew, and what is later than
//! it is of another boot.
//!
//! A restore under such a name would put data where that order deletes it (I5).

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::{QuarantineDir, QuarantineError};
use crate::gc::volume::VolumeName;
use crate::host::directory;
use crate::host::fault::{self, Point};

/// When a name was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// By the wall clock.
    pub since: DateTime<Utc>,
    /// By the monotonic clock, of a boot that is not told.
    pub monotonic: Duration,
}

impl QuarantineDir {
    /// Remembers a name from now on, durably. `now` is the monotonic clock.
    pub fn remember_unsafe_name(&self, name: &VolumeName, now: Duration) -> Result<(), QuarantineError> {
        let shown = shown(name);
        let path = self.path.join(&shown);
        let failed = |source| self.io("write", path.clone(), source);
        let c_name = directory::c_name(&shown).map_err(failed)?;
        fault::at(Point::NameRemember).map_err(failed)?;
        match rustix::fs::mkdirat(&self.directory, &c_name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(source) => return Err(failed(source)),
        }
        // One that was there says an earlier time.
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: now.subsec_nanos().into() },
        };
        fault::at(Point::NameRefresh).map_err(failed)?;
        rustix::fs::utimensat(&self.directory, &c_name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        fault::at(Point::NameSync).map_err(failed)?;
        rustix::fs::fsync(&self.directory).map_err(failed)
    }

    /// When a name was remembered last; none when it was not.
    pub fn unsafe_name(&self, name: &VolumeName) -> Result<Option<Remembered>, QuarantineError> {
        let shown = shown(name);
        let path = self.path.join(&shown);
        let failed = |source| self.io("look at", path.clone(), source);
        let c_name = directory::c_name(&shown).map_err(failed)?;
        match rustix::fs::statat(&self.directory, &c_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Remembered {
                since: DateTime::from_timestamp(stat.st_ctime, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
                monotonic: Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0)),
            })),
            // A name too long for this was never remembered.
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }
}

fn shown(name: &VolumeName) -> String {
    format!("unsafe.{name}")
}
