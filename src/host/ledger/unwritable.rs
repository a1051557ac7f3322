//! A ledger into which nothing can be written: its disk is full, out of inodes or read-only. What it says is still read, so that
//! deletions that are due or ordered go on and make room (I15). What would have been written is kept, and written as soon as it can be.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, ffi};
use rustix::io::Errno;

use super::error::{LedgerError, LedgerFile, extended_code};
use super::{Change, Ledger, LedgerReader, pass, schema};
use crate::gc::entry::EntryId;
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::{LedgerState, VolumeRecord};
use crate::gc::volume::VolumeName;
use crate::host::fault::Point;

/// Whether something is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is.
    Now,
    /// It could not be written, and is to be written later.
    Later,
}

/// What a pass could not write, and why.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// History, oldest first.
    lines: Vec<HistoryLine>,
    /// What volumes are to be remembered by.
    pub(super) records: BTreeMap<VolumeName, VolumeRecord>,
    /// The last error; none while the ledger can be written.
    why: Option<LedgerError>,
    /// Why even opening the file for writing failed: then every change fails.
    not_opened: Option<String>,
}

impl LedgerError {
    /// Whether the ledger cannot be written, and what it says can still be relied on (I15).
    pub fn stops_writing(&self) -> bool {
        match self {
            Self::Full { .. } | Self::System { .. } => true,
            // Of `SQLite`: after the file was opened, so a journal that cannot be made.
            Self::NotWritable { cause, .. } => cause
                .as_ref()
                .and_then(|cause| cause.downcast_ref::<std::io::Error>())
                .is_none_or(is_without_room),
            Self::Directory { source, .. } => is_without_room(source),
            Self::Failed { source, .. } => extended_code(source).is_some_and(is_write),
            Self::Unopenable { .. }
            | Self::NotALedger { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Interrupted { .. }
            | Self::WriteAheadLog { .. }
            | Self::Busy { .. }
            | Self::ChangedMeanwhile { .. }
            | Self::Unrecordable { .. } => false,
        }
    }
}

fn is_without_room(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(super::super::directory::is_without_room)
}

/// Whether an error of `SQLite` is one of writing. It tells a quota that is used up by nothing else.
fn is_write(code: i32) -> bool {
    matches!(
        code,
        ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_DELETE
    )
}

impl Ledger {
    /// Opens the ledger for a pass. Where it cannot be written, it is read; where there is none and none can be made, nothing is
    /// remembered (I9).
    pub fn open_for_pass(state_dir: &Path) -> Result<Self, LedgerError> {
        match Self::open(state_dir) {
            Err(why) if why.stops_writing() => Self::open_unwritable(state_dir, why),
            opened => opened,
        }
    }

    pub(super) fn open_unwritable(state_dir: &Path, why: LedgerError) -> Result<Self, LedgerError> {
        let file = LedgerFile::of(state_dir);
        let connection = match LedgerReader::open(state_dir)? {
            Some(reader) => reader.connection,
            None => nothing(&file)?,
        };
        let generation = super::Rows { connection: &connection, file: &file }.read_generation()?;
        let not_opened = if let LedgerError::NotWritable { cause: Some(cause), .. } = &why {
            cause.to_string()
        } else {
            why.told()
        };
        let unwritten = Unwritten { why: Some(why), not_opened: Some(not_opened), ..Unwritten::default() };
        Ok(Self { connection, file, generation: generation.into(), unwritten })
    }

    /// Why the ledger cannot be written; none when it can, as far as it was tried.
    pub fn blocked(&self) -> Option<&LedgerError> {
        self.unwritten.why.as_ref()
    }

    /// Records a sweep as [`Self::write`] does, now or with [`Self::catch_up`].
    pub fn write_or_keep(&mut self, state: &LedgerState, history: &[HistoryLine]) -> Result<(), LedgerError> {
        let written = self.write(state, history);
        self.or_keep(written, history)
    }

    /// Changes what is remembered of some volumes as [`Self::amend`] does, now or with [`Self::catch_up`]. Until then [`Self::read`] tells
    /// it as if it were written, so that no clock runs on that was set back (I8).
    pub fn amend_or_keep(
        &mut self,
        volumes: &BTreeMap<VolumeName, VolumeRecord>,
        history: &[HistoryLine],
    ) -> Result<(), LedgerError> {
        let amended = self.amend(volumes, history);
        let is_kept = amended.is_err();
        self.or_keep(amended, history)?;
        if is_kept {
            self.unwritten
                .records
                .extend(volumes.iter().map(|(name, record)| (name.clone(), record.clone())));
        }
        Ok(())
    }

    /// Appends to the history as [`Self::record`] does, now or with [`Self::catch_up`].
    pub fn record_or_keep(&mut self, lines: &[HistoryLine]) -> Result<(), LedgerError> {
        let recorded = self.record(lines);
        self.or_keep(recorded, lines)
    }

    /// Writes down that an entry has ended, unless that was done before: what happened, and nothing of the entry is remembered any
    /// more but the holds that still hold it. When it cannot be written now, the caller keeps what proves the end.
    pub fn end_entry(&mut self, entry: &EntryId, line: &HistoryLine) -> Result<Written, LedgerError> {
        let target = HoldTarget::Entry { entry: entry.clone() };
        let is_over = |hold: &Hold| hold.target == target && !hold.is_active(line.at);
        let ended = pass(Point::LedgerEndEntry, &self.file).and_then(|()| {
            self.change(Change::Part, |rows| {
                if !rows.has_happened(entry, line.happening)? {
                    rows.insert_history(line)?;
                }
                rows.remove_entry(entry)?;
                rows.remove_holds(is_over).map(drop)
            })
        });
        match ended {
            Ok(()) => Ok(Written::Now),
            Err(why) => self.block(why).map(|()| Written::Later),
        }
    }

    /// Whether the history says that of an entry.
    pub fn has_happened(&self, entry: &EntryId, happening: Happening) -> Result<bool, LedgerError> {
        super::Rows { connection: &self.connection, file: &self.file }.has_happened(entry, happening)
    }

    /// Tries again to write what could not be written: the state of the sweep, and the history. Does nothing while nothing is
    /// unwritten.
    pub fn catch_up(&mut self, state: &LedgerState) -> Result<(), LedgerError> {
        if self.unwritten.why.is_none() {
            return Ok(());
        }
        if let Err(why) = self.reopen() {
            return self.block(why);
        }
        let lines = std::mem::take(&mut self.unwritten.lines);
        self.unwritten.why = None;
        match self.write_or_keep(state, &lines) {
            // Another process has written a newer state; what happened here is missing in it all the same.
            Err(LedgerError::ChangedMeanwhile { .. }) => self.record_or_keep(&lines)?,
            written => written?,
        }
        if self.unwritten.why.is_none() {
            // The state was made from them.
            self.unwritten.records.clear();
        }
        Ok(())
    }

    /// Writes the history that could not be written before, or fails.
    pub fn flush(&mut self) -> Result<(), LedgerError> {
        let lines = std::mem::take(&mut self.unwritten.lines);
        if lines.is_empty() {
            return Ok(());
        }
        self.record(&lines)
    }

    /// What is still not in the history.
    pub fn unwritten(&self) -> &[HistoryLine] {
        &self.unwritten.lines
    }

    /// Opens the file for writing, if that failed before. What this handle last saw stays what it compares with.
    fn reopen(&mut self) -> Result<(), LedgerError> {
        if self.unwritten.not_opened.is_none() {
            return Ok(());
        }
        let opened = Self::open(self.file.directory())?;
        self.connection = opened.connection;
        self.unwritten.not_opened = None;
        Ok(())
    }

    fn or_keep(&mut self, result: Result<(), LedgerError>, lines: &[HistoryLine]) -> Result<(), LedgerError> {
        let Err(why) = result else { return Ok(()) };
        self.block(why)?;
        self.unwritten.lines.extend_from_slice(lines);
        Ok(())
    }

    /// Remembers why nothing can be written; any other error is passed on.
    fn block(&mut self, why: LedgerError) -> Result<(), LedgerError> {
        if !why.stops_writing() {
            return Err(why);
        }
        self.unwritten.why = Some(why);
        Ok(())
    }

    /// A change of a file that could not be opened for writing fails before it is tried.
    pub(super) fn refuse_unopened(&self) -> Result<(), LedgerError> {
        match &self.unwritten.not_opened {
            None => Ok(()),
            Some(why) => {
                let file = self.file.path().to_owned();
                Err(LedgerError::NotWritable { file, cause: Some(why.clone().into()) })
            }
        }
    }
}

/// A ledger that knows nothing, in memory alone.
fn nothing(file: &LedgerFile) -> Result<Connection, LedgerError> {
    let failed = |error| file.failed(error);
    let connection = Connection::open_in_memory().map_err(failed)?;
    connection.execute_batch(schema::TABLES).map_err(failed)?;
    Ok(connection)
}
