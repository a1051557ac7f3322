//! The ledger: what is remembered between sweeps, in `ledger.db` of the state directory.
//!
//! `SQLite`, so that an administrator can look into it with `sqlite3`. Two handles: [`Ledger`] writes, [`LedgerReader`] cannot, and
//! makes no file either (I10). Hence a rollback journal and no write-ahead log, whose index even a reader has to create.
//!
//! I9: a missing or empty file is a ledger that knows nothing, which can only delay. Everything else that is not a ledger of a
//! version known here is an error that names the file and the way out, and leaves it as it was.
//!
//! Every change is one transaction and on disk when the call returns: `synchronous = EXTRA` also flushes the directory after the
//! journal is unlinked. With `FULL` a power cut could bring the journal back and with it the state before: a hold that was
//! confirmed would be gone, and a clock that was reset would run on as if nothing had held the volume.

mod columns;
mod error;
mod lineage;
mod obstacles;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod totals;
mod unwritable;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

pub use self::error::LedgerError;
use self::error::LedgerFile;
use self::rows::Rows;
use self::schema::Contents;
pub use self::totals::Totals;
use self::unwritable::Unwritten;
pub use self::unwritable::Written;
use crate::gc::entry::EntryId;
use crate::gc::history::HistoryLine;
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::{Clock, LedgerState, VolumeRecord};
use crate::gc::volume::VolumeName;
use crate::host::fault::{self, Point};

/// How long to wait for another process. Both sweeps and commands hold the file for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which lines of the history are wanted; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// From this time on.
    pub since: Option<DateTime<Utc>>,
    /// About this volume.
    pub volume: Option<VolumeName>,
}

/// Counts the changes of what a sweep computes with: volumes, entries, engine and last sweep. Holds and history do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation(i64);

/// How a change relates to what a sweep has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Replaces what was read, so nobody may have changed it meanwhile.
    Sweep,
    /// Changes a part of it; a sweep of another process that has read before must not write after.
    Part,
    /// Touches holds and history alone, which no sweep rewrites.
    Beside,
}

/// The ledger, open for writing.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    file: LedgerFile,
    /// Of the state that this handle last saw whole.
    generation: Cell<Generation>,
    /// What could not be written (I15).
    unwritten: Unwritten,
}

impl Ledger {
    /// Opens the ledger of a state directory, and makes both if they are missing. Mends what a killed process left behind.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let file = LedgerFile::of(state_dir);
        make_directory(state_dir)?;
        make_file(&file)?;
        refuse_read_only(&file)?;
        schema::refuse_foreign(&file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = connect(&file, flags)?;
        let contents = schema::recognise(&connection, &file)?;
        check_pages(&connection, &file)?;
        set_journal(&connection, &file)?;
        match contents {
            Contents::Ledger => {}
            Contents::Nothing => make_tables(&mut connection, &file)?,
        }
        lineage::ensure(&mut connection, &file)?;
        let generation = Rows { connection: &connection, file: &file }.read_generation()?;
        Ok(Self { connection, file, generation: Cell::new(generation), unwritten: Unwritten::default() })
    }

    /// The file, for messages.
    pub fn file(&self) -> &Path {
        self.file.path()
    }

    /// Everything that is remembered, as of one instant.
    pub fn read(&self) -> Result<LedgerState, LedgerError> {
        let (generation, mut state) = read_all(&self.connection, &self.file)?;
        self.generation.set(generation);
        state.volumes.extend(self.unwritten.records.clone());
        Ok(state)
    }

    /// The holds alone, to be asked again before a step: an operator may have given one since [`Self::read`] (I1).
    pub fn holds(&self) -> Result<Vec<Hold>, LedgerError> {
        let rows = Rows { connection: &self.connection, file: &self.file };
        rows.read_holds().map(|holds| holds.into_values().collect())
    }

    /// See [`LedgerReader::history`].
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryLine>, LedgerError> {
        Rows { connection: &self.connection, file: &self.file }.read_history(filter)
    }

    /// Records a sweep: all of `state` but its holds, and what happened. Holds are left as they are, since an operator may have
    /// given one while the sweep ran; see [`Self::drop_holds`].
    ///
    /// Fails with [`LedgerError::ChangedMeanwhile`] when another handle changed volumes, entries or engine after this one last
    /// read (or was opened, if it never read).
    pub fn write(&mut self, state: &LedgerState, history: &[HistoryLine]) -> Result<(), LedgerError> {
        pass(Point::LedgerWrite, &self.file)?;
        self.change(Change::Sweep, |rows| {
            rows.replace_state(state)?;
            history.iter().try_for_each(|line| rows.insert_history(line))
        })
    }

    /// Appends to the history.
    pub fn record(&mut self, lines: &[HistoryLine]) -> Result<(), LedgerError> {
        pass(Point::LedgerRecord, &self.file)?;
        self.change(Change::Beside, |rows| lines.iter().try_for_each(|line| rows.insert_history(line)))
    }

    /// Changes what is remembered of some volumes since the last [`Self::read`], and says what happened.
    ///
    /// Fails with [`LedgerError::ChangedMeanwhile`] when another handle changed volumes, entries or engine since then.
    pub fn amend(
        &mut self,
        volumes: &BTreeMap<VolumeName, VolumeRecord>,
        history: &[HistoryLine],
    ) -> Result<(), LedgerError> {
        pass(Point::LedgerAmend, &self.file)?;
        self.change(Change::Sweep, |rows| {
            volumes.iter().try_for_each(|(name, record)| rows.put_volume(name, record))?;
            history.iter().try_for_each(|line| rows.insert_history(line))
        })
    }

    /// Remembers one volume, in place of what was remembered of that name (I11).
    pub fn set_volume_record(&mut self, name: &VolumeName, record: &VolumeRecord) -> Result<(), LedgerError> {
        self.change(Change::Part, |rows| rows.put_volume(name, record))
    }

    /// Forgets a volume that is gone, so that a later one of its name starts from nothing (I11).
    pub fn forget_volume(&mut self, name: &VolumeName) -> Result<(), LedgerError> {
        pass(Point::LedgerForgetVolume, &self.file)?;
        self.change(Change::Part, |rows| rows.remove_volume(name))
    }

    /// Starts, or sets, the clock of a quarantine entry.
    pub fn start_entry(&mut self, entry: &EntryId, clock: &Clock) -> Result<(), LedgerError> {
        pass(Point::LedgerStartEntry, &self.file)?;
        self.change(Change::Part, |rows| rows.put_entry(entry, clock))
    }

    /// Forgets an entry that was restored or deleted.
    pub fn forget_entry(&mut self, entry: &EntryId) -> Result<(), LedgerError> {
        pass(Point::LedgerForgetEntry, &self.file)?;
        self.change(Change::Part, |rows| rows.remove_entry(entry))
    }

    /// Tells the brakes that what they saw is right: the sudden-orphan brake lets go of every volume (says how many it held), and
    /// the next sweep takes the engine and its number of containers as they are then.
    pub fn acknowledge_all(&mut self) -> Result<usize, LedgerError> {
        pass(Point::LedgerAcknowledge, &self.file)?;
        self.change(Change::Part, |rows| {
            rows.forget_engine()?;
            rows.acknowledge()?;
            rows.clear_suspicions()
        })
    }

    /// Gives a hold, beside those that there are.
    pub fn add_hold(&mut self, hold: &Hold) -> Result<(), LedgerError> {
        pass(Point::LedgerAddHold, &self.file)?;
        self.change(Change::Beside, |rows| rows.insert_hold(hold))
    }

    /// Releases every hold on a target; says how many there were.
    pub fn remove_holds(&mut self, target: &HoldTarget) -> Result<usize, LedgerError> {
        pass(Point::LedgerRemoveHolds, &self.file)?;
        self.change(Change::Beside, |rows| rows.remove_holds(|hold| is_same_target(&hold.target, target)))
    }

    /// Puts every hold on a volume on the entry that it became, or the other way round; says how many there were.
    pub fn carry_over_holds(&mut self, from: &HoldTarget, to: &HoldTarget) -> Result<usize, LedgerError> {
        pass(Point::LedgerCarryHolds, &self.file)?;
        self.change(Change::Beside, |rows| {
            // It is on what has the name; see [`HoldTarget`].
            let is_on = |target: &HoldTarget| match (target, from) {
                (HoldTarget::Volume { name: a, .. }, HoldTarget::Volume { name: b, .. }) => a == b,
                (HoldTarget::Entry { .. } | HoldTarget::Volume { .. }, _) => is_same_target(target, from),
            };
            let holds: Vec<Hold> = rows.read_holds()?.into_values().collect();
            for hold in holds.into_iter().filter(|hold| is_on(&hold.target)) {
                rows.insert_hold(&Hold { target: to.clone(), ..hold })?;
            }
            rows.remove_holds(|hold| is_on(&hold.target))
        })
    }

    /// Drops the holds that are over, as [`LedgerState::is_over`] says; says how many.
    pub fn drop_holds(&mut self, is_over: impl Fn(&Hold) -> bool) -> Result<usize, LedgerError> {
        pass(Point::LedgerDropHolds, &self.file)?;
        self.change(Change::Beside, |rows| rows.remove_holds(is_over))
    }

    /// Every change of the file after it was opened: one transaction, on disk when this returns, or nothing.
    fn change<T>(
        &mut self,
        change: Change,
        work: impl FnOnce(&Rows<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.refuse_unopened()?;
        let file = &self.file;
        let transaction = begin(&mut self.connection, file)?;
        let rows = Rows { connection: &transaction, file };
        let before = rows.read_generation()?;
        let seen = self.generation.get();
        let after = match change {
            Change::Beside => before,
            Change::Sweep if before != seen => {
                return Err(LedgerError::ChangedMeanwhile { file: file.path().to_owned() });
            }
            Change::Sweep | Change::Part => Generation(before.0.wrapping_add(1)),
        };
        let answer = work(&rows)?;
        if after != before {
            rows.write_generation(after)?;
        }
        pass(Point::LedgerCommit, file)?;
        commit(transaction, file)?;
        // Our own change is no surprise to us. After a change by another, it stays one.
        if before == seen {
            self.generation.set(after);
        }
        Ok(answer)
    }
}

/// The ledger, open for reading. It makes and changes no file (I10).
#[derive(Debug)]
pub struct LedgerReader {
    connection: Connection,
    file: LedgerFile,
}

impl LedgerReader {
    /// Opens the ledger of a state directory; none when there is no file, or an empty one, so that nothing is remembered (I9).
    pub fn open(state_dir: &Path) -> Result<Option<Self>, LedgerError> {
        let file = LedgerFile::of(state_dir);
        if !has_contents(&file)? {
            return Ok(None);
        }
        if schema::uses_write_ahead_log(&file)? {
            return Err(LedgerError::WriteAheadLog { file: file.path().to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(&file, flags)?;
        match schema::recognise(&connection, &file)? {
            Contents::Ledger => Ok(Some(Self { connection, file })),
            Contents::Nothing => Ok(None),
        }
    }

    /// The file, for messages.
    pub fn file(&self) -> &Path {
        self.file.path()
    }

    /// Everything that is remembered, as of one instant.
    pub fn read(&self) -> Result<LedgerState, LedgerError> {
        read_all(&self.connection, &self.file).map(|(_, state)| state)
    }

    /// The history, oldest first: in the order in which it was recorded.
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryLine>, LedgerError> {
        Rows { connection: &self.connection, file: &self.file }.read_history(filter)
    }
}

/// Everything but the history, as of one instant.
fn read_all(connection: &Connection, file: &LedgerFile) -> Result<(Generation, LedgerState), LedgerError> {
    // Ends when it is dropped; nothing was changed that could be lost by that.
    let transaction = connection.unchecked_transaction().map_err(|error| file.failed(error))?;
    let rows = Rows { connection: &transaction, file };
    Ok((rows.read_generation()?, rows.read_state()?))
}

fn is_same_target(one: &HoldTarget, other: &HoldTarget) -> bool {
    match (one, other) {
        (
            HoldTarget::Volume { name: a, identity: which_a },
            HoldTarget::Volume { name: b, identity: which_b },
        ) => a == b && which_a.is_same(which_b),
        (HoldTarget::Entry { entry: a }, HoldTarget::Entry { entry: b }) => a == b,
        (HoldTarget::Volume { .. }, HoldTarget::Entry { .. })
        | (HoldTarget::Entry { .. }, HoldTarget::Volume { .. }) => false,
    }
}

fn make_directory(state_dir: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::Directory { directory: state_dir.to_owned(), source };
    fault::at(Point::LedgerMakeDirectory).map_err(|errno| failed(errno.into()))?;
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)
}

/// Makes an empty file, which `SQLite` takes for a new database. Without a descriptor: to close one would drop the locks that
/// another connection of this process may have on the file by now (`fcntl(2)`).
fn make_file(file: &LedgerFile) -> Result<(), LedgerError> {
    let mode = Mode::RUSR | Mode::WUSR;
    pass(Point::LedgerMakeFile, file)?;
    match rustix::fs::mknodat(CWD, file.path(), FileType::RegularFile, mode, 0) {
        Ok(()) => sync_new_directory(file.directory()).map_err(|errno| file.not_writable(errno.into())),
        Err(Errno::EXIST) => Ok(()),
        Err(errno @ (Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOSPC | Errno::DQUOT)) => {
            Err(file.not_writable(errno.into()))
        }
        Err(errno) => Err(file.unopenable(std::io::Error::from(errno))),
    }
}

/// The name of the state directory may be as new as the file. `SQLite` flushes the directory itself, but not what is above.
fn sync_new_directory(directory: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::openat(CWD, directory.join(".."), flags, Mode::empty())?;
    fault::at(Point::LedgerSyncDirectory)?;
    rustix::fs::fsync(above)
}

/// Early, so that a sweep learns it before it has done what it could then not record.
fn refuse_read_only(file: &LedgerFile) -> Result<(), LedgerError> {
    let may = |path: &Path, access| {
        rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)
            .map_err(|errno| file.not_writable(errno.into()))
    };
    may(file.directory(), Access::WRITE_OK | Access::EXEC_OK)?;
    may(file.path(), Access::READ_OK | Access::WRITE_OK)
}

/// Whether there is anything to read. An error is not an absence (I2).
fn has_contents(file: &LedgerFile) -> Result<bool, LedgerError> {
    match rustix::fs::stat(file.path()) {
        Ok(stat) => Ok(stat.st_size > 0),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(file.unopenable(std::io::Error::from(errno))),
    }
}

fn connect(file: &LedgerFile, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let connection =
        Connection::open_with_flags(file.path(), flags).map_err(|error| file.unopenable(error))?;
    let failed = |error| file.failed(error);
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    // No temporary files either.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    Ok(connection)
}

/// Looks at every page. Only before writing: a reader notices what it reads, and has no time for the rest.
fn check_pages(connection: &Connection, file: &LedgerFile) -> Result<(), LedgerError> {
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| file.failed(error))?;
    if answer == "ok" { Ok(()) } else { Err(file.damaged(answer.replace('\n', " "))) }
}

/// Durability; see the head of this file. Also takes the file out of write-ahead mode, if somebody put it there.
fn set_journal(connection: &Connection, file: &LedgerFile) -> Result<(), LedgerError> {
    let failed = |error| file.failed(error);
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
        .map_err(failed)?;
    if mode != "delete" {
        return Err(LedgerError::Busy { file: file.path().to_owned(), source: None });
    }
    connection.pragma_update(None, "synchronous", "EXTRA").map_err(failed)
}

/// Makes the tables, unless another process was faster.
fn make_tables(connection: &mut Connection, file: &LedgerFile) -> Result<(), LedgerError> {
    let transaction = begin(connection, file)?;
    match schema::recognise_inside(&transaction, file)? {
        Contents::Ledger => Ok(()),
        Contents::Nothing => {
            let failed = |error| file.failed(error);
            pass(Point::LedgerMakeTables, file)?;
            transaction.pragma_update(None, "application_id", schema::APPLICATION_ID).map_err(failed)?;
            transaction.pragma_update(None, "user_version", schema::VERSION).map_err(failed)?;
            transaction.execute_batch(schema::TABLES).map_err(failed)?;
            commit(transaction, file)
        }
    }
}

/// Passes a fault point.
fn pass(point: Point, file: &LedgerFile) -> Result<(), LedgerError> {
    fault::at(point).map_err(|source| LedgerError::System { file: file.path().to_owned(), source })
}

/// Begins a change. `IMMEDIATE`: waits for other writers now, and not when it is too late to wait.
fn begin<'a>(connection: &'a mut Connection, file: &LedgerFile) -> Result<Transaction<'a>, LedgerError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| file.failed(error))
}

/// Ends a change: it is on disk, or it did not happen.
fn commit(transaction: Transaction<'_>, file: &LedgerFile) -> Result<(), LedgerError> {
    transaction.commit().map_err(|error| file.failed(error))
}
