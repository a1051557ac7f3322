//! Names for which an order to the engine may still be on its way, when the entry that said so has ended. One empty directory a name,
//! `unsafe.NAME`, whose change time says since when; no entry has a dot in its name.
//!
//! A restore under such a name would put data where that order deletes it (I5).

use std::os::fd::AsFd as _;

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::{QuarantineDir, QuarantineError};
use crate::gc::volume::VolumeName;
use crate::host::directory;
use crate::host::fault::{self, Point};

impl QuarantineDir {
    /// Remembers a name from now on, durably.
    pub fn remember_unsafe_name(&self, name: &VolumeName) -> Result<(), QuarantineError> {
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
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        fault::at(Point::NameRefresh).map_err(failed)?;
        rustix::fs::utimensat(&self.directory, &c_name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        fault::at(Point::NameSync).map_err(failed)?;
        rustix::fs::fsync(&self.directory).map_err(failed)
    }

    /// When a name was remembered last; none when it was not.
    pub fn unsafe_name_since(&self, name: &VolumeName) -> Result<Option<DateTime<Utc>>, QuarantineError> {
        let shown = shown(name);
        let path = self.path.join(&shown);
        let failed = |source| self.io("look at", path.clone(), source);
        let c_name = directory::c_name(&shown).map_err(failed)?;
        match directory::facts_of_child(self.directory.as_fd(), &c_name) {
            Ok(facts) => Ok(DateTime::from_timestamp(facts.changed_at, 0)),
            // A name too long for this was never remembered.
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }
}

fn shown(name: &VolumeName) -> String {
    format!("unsafe.{name}")
}
