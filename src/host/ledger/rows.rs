//! Rows and the types of `gc`: reading all of the state, and writing one row at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::columns::{Columns, of_clock, of_identity, of_number, of_time};
use super::error::{LedgerError, LedgerFile};
use super::{Generation, HistoryFilter};
use crate::gc::entry::EntryId;
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::{Clock, ClockReading, KnownEngine, LedgerState, VolumeRecord};
use crate::gc::reference::LastHolder;
use crate::gc::volume::VolumeName;

/// A database of a ledger, to read from or, inside a transaction, to write to.
pub(super) struct Rows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) file: &'a LedgerFile,
}

impl Rows<'_> {
    /// Everything but the history. To be called inside a transaction, so that all of it is of one instant.
    pub(super) fn read_state(&self) -> Result<LedgerState, LedgerError> {
        let mut state = self.read_meta()?;
        self.each(
            "volumes",
            "SELECT name, identity_kind, identity, first_seen_at, unreferenced_since, watched_ms, sightings, \
             last_holder_kind, last_holder_id, last_holder_name, last_holder_detail, last_holder_seen_at, \
             suspected_since FROM volumes",
            [],
            |columns| {
                let record = VolumeRecord {
                    identity: columns.identity(1)?,
                    first_seen_at: columns.time(3)?,
                    unreferenced: columns.optional_clock(4)?,
                    last_holder: columns.optional_last_holder(7)?,
                    suspected_since: columns.optional_time(12)?,
                };
                state.volumes.insert(columns.name(0)?, record);
                Ok(())
            },
        )?;
        self.each(
            "entries",
            "SELECT entry, quarantined_since, watched_ms, sightings FROM entries",
            [],
            |columns| {
                let clock = columns.optional_clock(1)?.ok_or_else(|| columns.bad(1, "is missing"))?;
                state.entries.insert(columns.name(0)?, clock);
                Ok(())
            },
        )?;
        state.holds = self.read_holds()?.into_values().collect();
        self.read_lineage(&mut state)?;
        state.obstacles = self.read_obstacles()?;
        Ok(state)
    }

    fn read_meta(&self) -> Result<LedgerState, LedgerError> {
        let mut found = None;
        self.each(
            "meta",
            "SELECT only_row, engine_id, engine_root, last_sweep_at, last_sweep_monotonic_ns, last_sweep_boot_id, \
             last_containers FROM meta",
            [],
            |columns| {
                let engine = match (columns.optional_text(1)?, columns.optional_text(2)?) {
                    (None, None) => None,
                    (Some(id), Some(root)) => Some(KnownEngine { id: id.to_owned(), root: root.to_owned() }),
                    (_, _) => return Err(columns.bad(1, "and engine_root do not go together")),
                };
                let wall = columns.optional_time(3)?;
                let monotonic = columns.optional_integer(4)?.map(Duration::from_nanos);
                let last_sweep = match (wall, monotonic, columns.optional_text(5)?) {
                    (None, None, None) => None,
                    (Some(wall), Some(monotonic), Some(boot_id)) => {
                        Some(ClockReading { wall, monotonic, boot_id: boot_id.to_owned() })
                    }
                    (_, _, _) => return Err(columns.bad(3, "and the other clock do not go together")),
                };
                let last_containers = columns.optional_integer(6)?;
                found = Some(LedgerState { engine, last_sweep, last_containers, ..LedgerState::default() });
                Ok(())
            },
        )?;
        found.ok_or_else(|| self.file.damaged("table meta is empty"))
    }

    /// The holds by row.
    pub(super) fn read_holds(&self) -> Result<BTreeMap<i64, Hold>, LedgerError> {
        let mut holds = BTreeMap::new();
        self.each(
            "holds",
            "SELECT id, volume, identity_kind, identity, entry, reason, given_at, expires_at FROM holds",
            [],
            |columns| {
                let target = match (columns.optional_name(1)?, columns.optional_name(4)?) {
                    (Some(name), None) => HoldTarget::Volume { name, identity: columns.identity(2)? },
                    (None, Some(entry)) => HoldTarget::Entry { entry },
                    (_, _) => return Err(columns.bad(1, "is to be given, or entry, and not both")),
                };
                let hold = Hold {
                    target,
                    reason: columns.text(5)?.to_owned(),
                    given_at: columns.time(6)?,
                    expires_at: columns.optional_time(7)?,
                };
                holds.insert(columns.integer(0)?, hold);
                Ok(())
            },
        )?;
        Ok(holds)
    }

    /// The history in the order in which it was recorded: that is the order of events, even where the wall clock was set back.
    pub(super) fn read_history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryLine>, LedgerError> {
        let since = filter.since.map(|since| of_time(since, self.file)).transpose()?;
        let volume = filter.volume.as_ref().map(VolumeName::as_str);
        let mut lines = Vec::new();
        self.each(
            "history",
            "SELECT id, at, happening, volume, entry, detail, last_holder_kind, last_holder_id, last_holder_name, \
             last_holder_detail, last_holder_seen_at, size_bytes FROM history \
             WHERE (?1 IS NULL OR at >= ?1) AND (?2 IS NULL OR volume = ?2) ORDER BY id",
            params![since, volume],
            |columns| {
                lines.push(HistoryLine {
                    at: columns.time(1)?,
                    happening: columns.word(2)?,
                    volume: columns.optional_name(3)?,
                    entry: columns.optional_name(4)?,
                    detail: columns.text(5)?.to_owned(),
                    last_holder: columns.optional_last_holder(6)?,
                    size_bytes: columns.optional_integer(11)?,
                });
                Ok(())
            },
        )?;
        Ok(lines)
    }

    pub(super) fn read_generation(&self) -> Result<Generation, LedgerError> {
        let mut found = None;
        self.each("meta", "SELECT only_row, generation FROM meta", [], |columns| {
            found = Some(Generation(columns.integer(1)?));
            Ok(())
        })?;
        found.ok_or_else(|| self.file.damaged("table meta is empty"))
    }

    pub(super) fn write_generation(&self, generation: Generation) -> Result<(), LedgerError> {
        self.execute("UPDATE meta SET generation = ?1", params![generation.0]).map(drop)
    }

    /// Everything but holds and history, which are never written wholesale.
    pub(super) fn replace_state(&self, state: &LedgerState) -> Result<(), LedgerError> {
        self.write_meta(state)?;
        self.write_places(state.places.as_ref())?;
        // Nearly every row changes with every sweep: clocks tick, holders are seen again. To compare first would cost more.
        self.execute("DELETE FROM volumes", [])?;
        for (name, record) in &state.volumes {
            self.put_volume(name, record)?;
        }
        self.execute("DELETE FROM entries", [])?;
        for (entry, clock) in &state.entries {
            self.put_entry(entry, clock)?;
        }
        self.replace_obstacles(&state.obstacles)
    }

    fn write_meta(&self, state: &LedgerState) -> Result<(), LedgerError> {
        let sweep = state.last_sweep.as_ref();
        let wall = sweep.map(|reading| of_time(reading.wall, self.file)).transpose()?;
        let monotonic = sweep
            .map(|reading| of_number(reading.monotonic.as_nanos(), "a monotonic time in ns of", self.file))
            .transpose()?;
        let containers = optional_number(state.last_containers, "a number of containers of", self.file)?;
        self.execute(
            "UPDATE meta SET engine_id = ?1, engine_root = ?2, last_sweep_at = ?3, last_sweep_monotonic_ns = ?4, \
             last_sweep_boot_id = ?5, last_containers = ?6",
            params![
                state.engine.as_ref().map(|engine| &engine.id),
                state.engine.as_ref().map(|engine| &engine.root),
                wall,
                monotonic,
                sweep.map(|reading| &reading.boot_id),
                containers
            ],
        )
        .map(drop)
    }

    pub(super) fn put_volume(&self, name: &VolumeName, record: &VolumeRecord) -> Result<(), LedgerError> {
        let (identity_kind, identity) = of_identity(&record.identity, self.file)?;
        let clock = record.unreferenced.as_ref().map(|clock| of_clock(clock, self.file)).transpose()?;
        let (since, watched, sightings) = unzip(clock);
        let holder = record.last_holder.as_ref();
        self.execute(
            "INSERT OR REPLACE INTO volumes (name, identity_kind, identity, first_seen_at, unreferenced_since, \
             watched_ms, sightings, last_holder_kind, last_holder_id, last_holder_name, last_holder_detail, \
             last_holder_seen_at, suspected_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                name.as_str(),
                identity_kind,
                identity,
                of_time(record.first_seen_at, self.file)?,
                since,
                watched,
                sightings,
                holder.map(|last| last.holder.kind.word()),
                holder.map(|last| &last.holder.id),
                holder.map(|last| &last.holder.name),
                holder.map(|last| &last.holder.detail),
                self.seen_at(holder)?,
                optional_time(record.suspected_since, self.file)?
            ],
        )
        .map(drop)
    }

    pub(super) fn remove_volume(&self, name: &VolumeName) -> Result<(), LedgerError> {
        self.execute("DELETE FROM volumes WHERE name = ?1", params![name.as_str()]).map(drop)
    }

    pub(super) fn put_entry(&self, entry: &EntryId, clock: &Clock) -> Result<(), LedgerError> {
        let (since, watched, sightings) = of_clock(clock, self.file)?;
        self.execute(
            "INSERT OR REPLACE INTO entries (entry, quarantined_since, watched_ms, sightings) \
             VALUES (?1, ?2, ?3, ?4)",
            params![entry.as_str(), since, watched, sightings],
        )
        .map(drop)
    }

    pub(super) fn remove_entry(&self, entry: &EntryId) -> Result<(), LedgerError> {
        self.execute("DELETE FROM entries WHERE entry = ?1", params![entry.as_str()]).map(drop)
    }

    pub(super) fn forget_engine(&self) -> Result<(), LedgerError> {
        let statement = "UPDATE meta SET engine_id = NULL, engine_root = NULL, last_containers = NULL";
        self.execute(statement, []).map(drop)
    }

    pub(super) fn clear_suspicions(&self) -> Result<usize, LedgerError> {
        self.execute("UPDATE volumes SET suspected_since = NULL WHERE suspected_since IS NOT NULL", [])
    }

    pub(super) fn insert_hold(&self, hold: &Hold) -> Result<(), LedgerError> {
        let (volume, identity, entry) = match &hold.target {
            HoldTarget::Volume { name, identity } => {
                (Some(name.as_str()), Some(of_identity(identity, self.file)?), None)
            }
            HoldTarget::Entry { entry } => (None, None, Some(entry.as_str())),
        };
        let (identity_kind, identity) = identity.unzip();
        self.execute(
            "INSERT INTO holds (volume, identity_kind, identity, entry, reason, given_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                volume,
                identity_kind,
                identity,
                entry,
                hold.reason,
                of_time(hold.given_at, self.file)?,
                optional_time(hold.expires_at, self.file)?
            ],
        )
        .map(drop)
    }

    /// Removes the holds that `unwanted` picks, and says how many. Picked here and not in SQL, so that `gc` alone says when two
    /// identities are the same and when a hold is over.
    pub(super) fn remove_holds(&self, unwanted: impl Fn(&Hold) -> bool) -> Result<usize, LedgerError> {
        let mut removed = 0;
        for (row, hold) in self.read_holds()? {
            if unwanted(&hold) {
                removed += self.execute("DELETE FROM holds WHERE id = ?1", params![row])?;
            }
        }
        Ok(removed)
    }

    pub(super) fn insert_history(&self, line: &HistoryLine) -> Result<(), LedgerError> {
        let holder = line.last_holder.as_ref();
        self.execute(
            "INSERT INTO history (at, happening, volume, entry, detail, last_holder_kind, last_holder_id, \
             last_holder_name, last_holder_detail, last_holder_seen_at, size_bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                of_time(line.at, self.file)?,
                line.happening.word(),
                line.volume.as_ref().map(VolumeName::as_str),
                line.entry.as_ref().map(EntryId::as_str),
                line.detail,
                holder.map(|last| last.holder.kind.word()),
                holder.map(|last| &last.holder.id),
                holder.map(|last| &last.holder.name),
                holder.map(|last| &last.holder.detail),
                self.seen_at(holder)?,
                optional_number(line.size_bytes, "a size in bytes of", self.file)?
            ],
        )
        .map(drop)
    }

    pub(super) fn has_happened(&self, entry: &EntryId, happening: Happening) -> Result<bool, LedgerError> {
        let mut found = false;
        let query = "SELECT id FROM history WHERE entry = ?1 AND happening = ?2 LIMIT 1";
        self.each("history", query, params![entry.as_str(), happening.word()], |_| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    fn seen_at(&self, holder: Option<&LastHolder>) -> Result<Option<String>, LedgerError> {
        optional_time(holder.map(|last| last.seen_at), self.file)
    }

    pub(super) fn execute(
        &self,
        statement: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, LedgerError> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| self.file.failed(error))
    }

    pub(super) fn each(
        &self,
        table: &'static str,
        query: &str,
        values: impl rusqlite::Params,
        mut take: impl FnMut(Columns<'_>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let failed = |error| self.file.failed(error);
        let mut statement = self.connection.prepare_cached(query).map_err(failed)?;
        let mut rows = statement.query(values).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            take(Columns { row, table, file: self.file })?;
        }
        Ok(())
    }
}

fn optional_time(time: Option<DateTime<Utc>>, file: &LedgerFile) -> Result<Option<String>, LedgerError> {
    time.map(|time| of_time(time, file)).transpose()
}

fn optional_number(number: Option<u64>, what: &str, file: &LedgerFile) -> Result<Option<i64>, LedgerError> {
    number.map(|number| of_number(number, what, file)).transpose()
}

fn unzip<A, B, C>(all: Option<(A, B, C)>) -> (Option<A>, Option<B>, Option<C>) {
    match all {
        Some((a, b, c)) => (Some(a), Some(b), Some(c)),
        None => (None, None, None),
    }
}
