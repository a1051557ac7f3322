//! What stands in the way of steps for good. Its table is made with the first of them: ledgers without it are of the same version, and
//! an older program reads on.

use rusqlite::params;

use super::columns::{Columns, of_identity, of_time};
use super::error::LedgerError;
use super::rows::Rows;
use super::{Change, Ledger, pass};
use crate::gc::entry::EntryId;
use crate::gc::obstacles::{NotRenamed, Obstacles, Undeletable, UndeletableCause};
use crate::gc::volume::VolumeName;
use crate::host::fault::Point;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS obstacles (
    volume TEXT UNIQUE, -- with its identity, or an entry
    identity_kind TEXT CHECK (identity_kind IN ('directory', 'record')),
    identity TEXT,
    entry TEXT UNIQUE,
    why TEXT NOT NULL,
    path BLOB, -- of an entry: below its data
    found_at TEXT NOT NULL,
    CHECK ((volume IS NULL) <> (entry IS NULL)),
    CHECK ((volume IS NULL) = (identity IS NULL)),
    CHECK ((volume IS NULL) = (identity_kind IS NULL)),
    CHECK ((entry IS NULL) = (path IS NULL))
) STRICT
";

/// One of them.
enum Obstacle<'a> {
    Volume(&'a VolumeName, &'a NotRenamed),
    Entry(&'a EntryId, &'a Undeletable),
}

impl Ledger {
    /// Remembers that the data of a volume could not be renamed.
    pub fn remember_not_renamed(&mut self, name: &VolumeName, found: &NotRenamed) -> Result<(), LedgerError> {
        self.remember(&Obstacle::Volume(name, found))
    }

    /// Remembers that the data of an entry cannot be deleted whole.
    pub fn remember_undeletable(&mut self, entry: &EntryId, found: &Undeletable) -> Result<(), LedgerError> {
        self.remember(&Obstacle::Entry(entry, found))
    }

    /// What cannot be remembered is found again: a ledger that cannot be written is told of elsewhere.
    fn remember(&mut self, obstacle: &Obstacle<'_>) -> Result<(), LedgerError> {
        pass(Point::LedgerRememberObstacle, &self.file)?;
        let remembered = self.change(Change::Part, |rows| {
            rows.make_obstacles()?;
            rows.put_obstacle(obstacle)
        });
        match remembered {
            Err(error) if error.stops_writing() => Ok(()),
            result => result,
        }
    }
}

impl Rows<'_> {
    pub(super) fn read_obstacles(&self) -> Result<Obstacles, LedgerError> {
        let mut found = Obstacles::default();
        if !self.has_obstacles()? {
            return Ok(found);
        }
        let query = "SELECT coalesce(volume, entry), volume, identity_kind, identity, entry, why, path, found_at FROM obstacles";
        self.each("obstacles", query, [], |columns| {
            let at = columns.time(7)?;
            match (columns.optional_name(1)?, columns.optional_name(4)?) {
                (Some(name), None) => {
                    let known =
                        NotRenamed { identity: columns.identity(2)?, why: columns.word(5)?, tried_at: at };
                    found.volumes.insert(name, known);
                }
                (None, Some(entry)) => {
                    let known =
                        Undeletable { path: columns.bytes(6)?, cause: cause(&columns)?, found_at: at };
                    found.entries.insert(entry, known);
                }
                (_, _) => return Err(columns.bad(1, "is to be given, or entry, and not both")),
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn replace_obstacles(&self, obstacles: &Obstacles) -> Result<(), LedgerError> {
        let is_empty = obstacles.volumes.is_empty() && obstacles.entries.is_empty();
        if is_empty && !self.has_obstacles()? {
            return Ok(());
        }
        self.make_obstacles()?;
        self.execute("DELETE FROM obstacles", [])?;
        for (name, found) in &obstacles.volumes {
            self.put_obstacle(&Obstacle::Volume(name, found))?;
        }
        for (entry, found) in &obstacles.entries {
            self.put_obstacle(&Obstacle::Entry(entry, found))?;
        }
        Ok(())
    }

    fn has_obstacles(&self) -> Result<bool, LedgerError> {
        let query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'obstacles'";
        let count = self.connection.query_row(query, [], |row| row.get::<_, i64>(0));
        count.map(|count| count > 0).map_err(|error| self.file.failed(error))
    }

    fn make_obstacles(&self) -> Result<(), LedgerError> {
        self.execute(TABLE, []).map(drop)
    }

    fn put_obstacle(&self, obstacle: &Obstacle<'_>) -> Result<(), LedgerError> {
        let statement = "INSERT OR REPLACE INTO obstacles (volume, identity_kind, identity, entry, why, path, found_at) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        match obstacle {
            Obstacle::Volume(name, NotRenamed { identity, why, tried_at }) => {
                let (kind, identity) = of_identity(identity, self.file)?;
                let at = of_time(*tried_at, self.file)?;
                let none = None::<&[u8]>;
                self.execute(
                    statement,
                    params![name.as_str(), kind, identity, None::<&str>, why.word(), none, at],
                )
            }
            Obstacle::Entry(entry, Undeletable { path, cause, found_at }) => {
                let at = of_time(*found_at, self.file)?;
                let none = None::<&str>;
                self.execute(statement, params![none, none, none, entry.as_str(), cause.word(), path, at])
            }
        }
        .map(drop)
    }
}

fn cause(columns: &Columns<'_>) -> Result<UndeletableCause, LedgerError> {
    let word = columns.text(5)?;
    let known = UndeletableCause::ALL.into_iter().find(|cause| cause.word() == word);
    known.ok_or_else(|| columns.bad(5, "is no cause that is known"))
}
