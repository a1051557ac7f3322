//! Which ledger it is, what it noted of itself, and which directories it is about: see [`crate::gc::lineage`].
//!
//! A table of its own, made when a ledger without it is opened for writing, so that one that an earlier volgc made stays usable.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::Columns;
use super::error::{LedgerError, LedgerFile};
use super::rows::Rows;
use super::{Change, Ledger, begin, commit};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::{ClockReading, LedgerState};
use crate::gc::lineage::{Lineage, Note, Places};
use crate::gc::volume::VolumeIdentity;
use crate::host::directory;
use crate::host::fault::Point;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS lineage (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    ledger TEXT NOT NULL, -- made up with this table
    marks TEXT NOT NULL, -- JSON: of its last notes in the quarantine directory
    places TEXT, -- JSON: the directories that the last sweep found
    acknowledged INTEGER NOT NULL DEFAULT 0 -- by an operator since the last sweep
) STRICT;
";

/// Makes the table where it is missing.
pub(super) fn ensure(connection: &mut Connection, file: &LedgerFile) -> Result<(), LedgerError> {
    if exists(connection, file)? {
        return Ok(());
    }
    let transaction = begin(connection, file)?;
    let id = made_up();
    let failed = |error| file.failed(error);
    super::pass(Point::LedgerMakeLineage, file)?;
    transaction.execute_batch(TABLE).map_err(failed)?;
    // Another process may have been faster.
    transaction
        .execute("INSERT OR IGNORE INTO lineage (only_row, ledger, marks) VALUES (1, ?1, '[]')", params![id])
        .map_err(failed)?;
    commit(transaction, file)
}

/// 128 random bits.
fn made_up() -> String {
    let [a, b, c, d] = std::array::from_fn(|_| directory::random());
    format!("{a:08x}{b:08x}{c:08x}{d:08x}")
}

fn exists(connection: &Connection, file: &LedgerFile) -> Result<bool, LedgerError> {
    let found = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'lineage'", [], |_| Ok(()))
        .optional();
    found.map(|found| found.is_some()).map_err(|error| file.failed(error))
}

fn json<T: serde::de::DeserializeOwned>(
    columns: &Columns<'_>,
    column: usize,
    text: &str,
) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| columns.bad(column, format!("cannot be read ({error})")))
}

impl Rows<'_> {
    /// Adds to a state what this table says.
    pub(super) fn read_lineage(&self, state: &mut LedgerState) -> Result<(), LedgerError> {
        if !exists(self.connection, self.file)? {
            return Ok(());
        }
        self.each(
            "lineage",
            "SELECT only_row, ledger, marks, places, acknowledged FROM lineage",
            [],
            |columns| {
                state.lineage = Some(Lineage {
                    ledger: columns.text(1)?.to_owned(),
                    marks: json(&columns, 2, columns.text(2)?)?,
                });
                state.places = match columns.optional_text(3)? {
                    None => None,
                    Some(text) => Some(json(&columns, 3, text)?),
                };
                state.acknowledged = columns.integer::<u8>(4)? != 0;
                Ok(())
            },
        )
    }

    pub(super) fn write_places(&self, places: Option<&Places>) -> Result<(), LedgerError> {
        let text = places.map(serde_json::to_string).transpose();
        let text = text.map_err(|error| self.file.unrecordable(format!("the directories ({error})")))?;
        self.execute("UPDATE lineage SET places = ?1, acknowledged = 0", params![text]).map(drop)
    }

    pub(super) fn acknowledge(&self) -> Result<(), LedgerError> {
        self.execute("UPDATE lineage SET places = NULL, acknowledged = 1", []).map(drop)
    }
}

impl Ledger {
    /// Remembers a note that is about to be written in place of the one on disk, and says what to write of these directories.
    pub fn begin_note(
        &mut self,
        on_disk: Option<&str>,
        at: ClockReading,
        places: Option<Places>,
    ) -> Result<Note, LedgerError> {
        super::pass(Point::LedgerNote, &self.file)?;
        let mark = made_up();
        self.change(Change::Beside, |rows| {
            let mut state = LedgerState::default();
            rows.read_lineage(&mut state)?;
            let before = state.lineage.ok_or_else(|| rows.file.damaged("table lineage is empty"))?;
            let Lineage { ledger, marks } = before.marked(&mark, on_disk);
            let text = serde_json::to_string(&marks)
                .map_err(|error| rows.file.unrecordable(format!("its notes ({error})")))?;
            rows.execute("UPDATE lineage SET marks = ?1", params![text])?;
            Ok(Note { ledger, mark: mark.clone(), holds: rows.read_holds()?.len() as u64, at, places })
        })
    }

    /// Binds holds on volumes to the directories that have the names now; `now` says which that is. Says how many were bound anew.
    pub fn bind_holds(
        &mut self,
        now: impl Fn(&HoldTarget) -> Option<VolumeIdentity>,
    ) -> Result<usize, LedgerError> {
        super::pass(Point::LedgerBindHolds, &self.file)?;
        self.change(Change::Beside, |rows| {
            let mut bound = Vec::new();
            for hold in rows.read_holds()?.into_values() {
                let HoldTarget::Volume { name, identity } = &hold.target else { continue };
                let Some(identity) = now(&hold.target).filter(|now| !now.is_same(identity)) else { continue };
                let target = HoldTarget::Volume { name: name.clone(), identity };
                bound.push((hold.clone(), Hold { target, ..hold }));
            }
            for (before, after) in &bound {
                rows.remove_holds(|hold| hold == before)?;
                rows.insert_hold(after)?;
            }
            Ok(bound.len())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a directory for the test")]

    use chrono::DateTime;

    use super::super::LedgerReader;
    use super::*;
    use crate::gc::volume::{DirectoryIdentity, VolumeName};

    fn identity(inode: u64) -> VolumeIdentity {
        VolumeIdentity::Directory(DirectoryIdentity { device: 1, inode, born_at_ns: 1, has_birth_time: true })
    }

    fn hold(name: &str, inode: u64) -> Hold {
        let target = HoldTarget::Volume { name: VolumeName::new(name).unwrap(), identity: identity(inode) };
        let given_at = DateTime::UNIX_EPOCH;
        Hold { target, reason: "audit".to_owned(), given_at, expires_at: None }
    }

    #[test]
    fn a_note_is_remembered_before_it_is_written_and_an_earlier_copy_lacks_it() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let read = |directory: &tempfile::TempDir| Ledger::open(directory.path()).unwrap().read().unwrap();
        assert_ne!(read(&one).lineage.unwrap().ledger, read(&two).lineage.unwrap().ledger);
        let now = crate::host::clock::read().unwrap();
        let mut ledger = Ledger::open(one.path()).unwrap();
        let first = ledger.begin_note(None, now.clone(), None).unwrap();
        let earlier = read(&one);
        ledger.add_hold(&hold("db", 1)).unwrap();
        let second = ledger.begin_note(Some(&first.mark), now, None).unwrap();
        assert_eq!((first.holds, second.holds), (0, 1));
        let lineage = read(&one).lineage.unwrap();
        assert_eq!(lineage.marks, [first.mark, second.mark.clone()]);
        assert_eq!(lineage.ledger, second.ledger);
        assert!(!earlier.lineage.unwrap().marks.contains(&second.mark));
    }

    /// One of an earlier volgc, which a reader must not change.
    #[test]
    fn a_ledger_without_a_lineage_is_read_and_gets_one_when_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        drop(Ledger::open(directory.path()).unwrap());
        let file = directory.path().join("ledger.db");
        Connection::open(&file).unwrap().execute_batch("DROP TABLE lineage").unwrap();
        let read = || LedgerReader::open(directory.path()).unwrap().unwrap().read().unwrap();
        assert_eq!(read(), LedgerState::default());
        assert_eq!(read().lineage, None);
        drop(Ledger::open(directory.path()).unwrap());
        assert!(read().lineage.is_some());
    }

    #[test]
    fn holds_are_bound_to_what_has_their_names_now() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        for hold in [hold("db", 1), hold("same", 2), hold("gone", 3)] {
            ledger.add_hold(&hold).unwrap();
        }
        let bound = ledger.bind_holds(|target| match target {
            HoldTarget::Volume { name, .. } if name.as_str() == "db" => Some(identity(11)),
            HoldTarget::Volume { name, .. } if name.as_str() == "same" => Some(identity(2)),
            HoldTarget::Volume { .. } | HoldTarget::Entry { .. } => None,
        });
        assert_eq!(bound.unwrap(), 1);
        let mut holds = ledger.holds().unwrap();
        holds.sort_by_key(|hold| format!("{:?}", hold.target));
        assert_eq!(holds, [hold("db", 11), hold("gone", 3), hold("same", 2)]);
    }

    #[test]
    fn an_acknowledgement_lasts_until_the_next_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        ledger.acknowledge_all().unwrap();
        assert!(ledger.read().unwrap().acknowledged);
        ledger.write(&LedgerState::default(), &[]).unwrap();
        assert!(!ledger.read().unwrap().acknowledged);
    }
}
