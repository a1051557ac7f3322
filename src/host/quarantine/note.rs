//! Which ledger was used with the quarantine last: `ledger.json`, see [`crate::gc::lineage`].

use std::ffi::CStr;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::manifest::write_all;
use super::{QuarantineDir, QuarantineError};
use crate::gc::lineage::{Note, Noted};
use crate::gc::volume::DirectoryIdentity;
use crate::host::directory;
use crate::host::fault::{self, Point};

const FILE: &CStr = c"ledger.json";
const TEMPORARY: &CStr = c"ledger.json.new";

/// The largest note that is read, in bytes.
const LARGEST: usize = 4 << 10;

impl QuarantineDir {
    /// What was noted last.
    pub fn noted(&self) -> Noted {
        let unreadable = |why: String| {
            Noted::Unreadable(format!("{} cannot be read: {why}", self.path.join("ledger.json").display()))
        };
        match directory::read_file(self.directory.as_fd(), FILE, LARGEST) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(note) => Noted::Known(note),
                Err(error) => unreadable(error.to_string()),
            },
            Err(Errno::NOENT) => Noted::Nothing,
            Err(errno) => unreadable(errno.to_string()),
        }
    }

    /// Notes a ledger, durably: a reader finds the old note or the new one, whole. What cannot be finished takes up no room (I15).
    pub fn note(&self, note: &Note) -> Result<(), QuarantineError> {
        let noted = self.write_note(note);
        if noted.is_err() {
            // The next note is written over it, if it cannot be removed either.
            _ = rustix::fs::unlinkat(&self.directory, TEMPORARY, AtFlags::empty());
        }
        noted
    }

    fn write_note(&self, note: &Note) -> Result<(), QuarantineError> {
        let path = self.path.join("ledger.json");
        let failed = |source| self.io("write", path.clone(), source);
        let text = serde_json::to_vec(note).map_err(|_| failed(Errno::INVAL))?;
        fault::at(Point::NoteMake).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let here = self.directory.as_fd();
        let file = rustix::fs::openat(here, TEMPORARY, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        fault::at(Point::NoteWrite).map_err(failed)?;
        write_all(&file, &text).map_err(failed)?;
        fault::at(Point::NoteSync).map_err(failed)?;
        rustix::fs::fsync(&file).map_err(failed)?;
        fault::at(Point::NoteRename).map_err(failed)?;
        rustix::fs::renameat(here, TEMPORARY, here, FILE).map_err(failed)?;
        fault::at(Point::NoteSyncDirectory).map_err(failed)?;
        rustix::fs::fsync(&self.directory).map_err(failed)
    }

    /// Which directory it is.
    pub fn identity(&self) -> Result<DirectoryIdentity, QuarantineError> {
        let facts = directory::facts(self.directory.as_fd());
        facts.map(|facts| facts.identity).map_err(|source| self.io("look at", self.path.clone(), source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a directory for the test")]

    use super::*;
    use crate::gc::lineage::Places;
    use crate::host::clock;

    #[test]
    fn a_note_is_read_as_it_was_written_and_damage_is_not_taken_for_none() {
        let root = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(root.path()).unwrap();
        let quarantine = QuarantineDir::open_or_make(open.as_fd(), root.path()).unwrap();
        assert_eq!(quarantine.noted(), Noted::Nothing);
        for mark in ["m1", "m2"] {
            let (ledger, mark) = ("00ff".to_owned(), mark.to_owned());
            let volumes = quarantine.identity().unwrap();
            let places = Some(Places { volumes, quarantine: None, containers: Some(volumes) });
            let note = Note { ledger, mark, holds: 2, at: clock::read().unwrap(), places };
            quarantine.note(&note).unwrap();
            assert_eq!(quarantine.noted(), Noted::Known(note));
        }
        assert_eq!(quarantine.entries().unwrap(), []);
        quarantine.drop_empty_entries().unwrap();
        for damage in ["", "{}", "not JSON", &" ".repeat(5000)] {
            std::fs::write(quarantine.path().join("ledger.json"), damage).unwrap();
            let Noted::Unreadable(why) = quarantine.noted() else { panic!("{damage}") };
            assert!(why.contains("ledger.json"), "{why}");
        }
    }
}
