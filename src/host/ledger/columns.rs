//! Values in columns. What cannot be read back exactly is an error that names the place (I9), never a default.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize};

use super::error::{LedgerError, LedgerFile};
use crate::gc::ledger::Clock;
use crate::gc::reference::{Holder, LastHolder};
use crate::gc::volume::{DirectoryIdentity, VolumeIdentity};

/// One row, read column by column. The first column is the key by which an error names the row.
pub(super) struct Columns<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) table: &'static str,
    pub(super) file: &'a LedgerFile,
}

impl<'a> Columns<'a> {
    /// The error of a column: where it is and what is wrong with it.
    pub(super) fn bad(&self, column: usize, problem: impl std::fmt::Display) -> LedgerError {
        let key = match self.row.get_ref(0) {
            Ok(ValueRef::Text(key)) => excerpt(&String::from_utf8_lossy(key)),
            Ok(ValueRef::Integer(key)) => key.to_string(),
            Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => "?".to_owned(),
        };
        let column = self.row.as_ref().column_name(column).unwrap_or("?");
        self.file.damaged(format!("table {}, row {key}: {column} {problem}", self.table))
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<&'a str>, LedgerError> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Null) => Ok(None),
            Ok(ValueRef::Text(bytes)) => {
                std::str::from_utf8(bytes).map(Some).map_err(|_| self.bad(column, "is not UTF-8"))
            }
            Ok(ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_)) => {
                Err(self.bad(column, "is not text"))
            }
            Err(error) => Err(self.file.failed(error)),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<&'a str, LedgerError> {
        self.optional_text(column)?.ok_or_else(|| self.bad(column, "is missing"))
    }

    pub(super) fn bytes(&self, column: usize) -> Result<Vec<u8>, LedgerError> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Blob(bytes)) => Ok(bytes.to_vec()),
            Ok(ValueRef::Null | ValueRef::Text(_) | ValueRef::Integer(_) | ValueRef::Real(_)) => {
                Err(self.bad(column, "is no bytes"))
            }
            Err(error) => Err(self.file.failed(error)),
        }
    }

    /// A name with rules of its own.
    pub(super) fn optional_name<T: TryFrom<String>>(&self, column: usize) -> Result<Option<T>, LedgerError> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        T::try_from(text.to_owned()).map(Some).map_err(|_| self.unknown(column, text))
    }

    pub(super) fn name<T: TryFrom<String>>(&self, column: usize) -> Result<T, LedgerError> {
        self.optional_name(column)?.ok_or_else(|| self.bad(column, "is missing"))
    }

    /// One of the stable words of our own enums.
    pub(super) fn word<T: Deserialize<'a>>(&self, column: usize) -> Result<T, LedgerError> {
        let text = self.text(column)?;
        T::deserialize(text.into_deserializer()).map_err(|_: WordError| self.unknown(column, text))
    }

    pub(super) fn optional_time(&self, column: usize) -> Result<Option<DateTime<Utc>>, LedgerError> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Some(time.to_utc())),
            Err(_) => Err(self.unknown(column, text)),
        }
    }

    pub(super) fn time(&self, column: usize) -> Result<DateTime<Utc>, LedgerError> {
        self.optional_time(column)?.ok_or_else(|| self.bad(column, "is missing"))
    }

    pub(super) fn optional_integer<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, LedgerError> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Null) => Ok(None),
            Ok(ValueRef::Integer(value)) => {
                T::try_from(value).map(Some).map_err(|_| self.bad(column, format!("cannot be {value}")))
            }
            Ok(ValueRef::Text(_) | ValueRef::Real(_) | ValueRef::Blob(_)) => {
                Err(self.bad(column, "is not an integer"))
            }
            Err(error) => Err(self.file.failed(error)),
        }
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, column: usize) -> Result<T, LedgerError> {
        self.optional_integer(column)?.ok_or_else(|| self.bad(column, "is missing"))
    }

    /// A clock: since, watched milliseconds, sightings.
    pub(super) fn optional_clock(&self, first: usize) -> Result<Option<Clock>, LedgerError> {
        let since = self.optional_time(first)?;
        let watched = self.optional_integer(first + 1)?.map(Duration::from_millis);
        let sightings = self.optional_integer(first + 2)?;
        match (since, watched, sightings) {
            (None, None, None) => Ok(None),
            (Some(since), Some(watched), Some(sightings)) => Ok(Some(Clock { since, watched, sightings })),
            (_, _, _) => Err(self.bad(first, "and its clock disagree about whether it runs")),
        }
    }

    /// An identity: kind, JSON.
    pub(super) fn identity(&self, first: usize) -> Result<VolumeIdentity, LedgerError> {
        let json = self.text(first + 1)?;
        let parsed = match self.text(first)? {
            DIRECTORY => serde_json::from_str(json).map(VolumeIdentity::Directory),
            RECORD => serde_json::from_str(json)
                .map(|RecordIdentity { driver, created_at }| VolumeIdentity::Record { driver, created_at }),
            kind => return Err(self.unknown(first, kind)),
        };
        parsed.map_err(|error| self.bad(first + 1, format!("cannot be read ({error}): {}", excerpt(json))))
    }

    /// A last holder: kind, id, name, detail, time.
    pub(super) fn optional_last_holder(&self, first: usize) -> Result<Option<LastHolder>, LedgerError> {
        if self.optional_text(first)?.is_none() {
            return match self.optional_text(first + 4)? {
                None => Ok(None),
                Some(_) => Err(self.bad(first, "is missing")),
            };
        }
        let holder = Holder {
            kind: self.word(first)?,
            id: self.text(first + 1)?.to_owned(),
            name: self.text(first + 2)?.to_owned(),
            detail: self.text(first + 3)?.to_owned(),
        };
        Ok(Some(LastHolder { holder, seen_at: self.time(first + 4)? }))
    }

    fn unknown(&self, column: usize, text: &str) -> LedgerError {
        self.bad(column, format!("cannot be {}", excerpt(text)))
    }
}

/// Names and texts in the file are not ours: quoted and shortened before they reach a terminal.
fn excerpt(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

const DIRECTORY: &str = "directory";
const RECORD: &str = "record";

/// [`VolumeIdentity::Record`] as JSON; its kind is a column of its own, so that SQL can select by it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordIdentity {
    driver: String,
    created_at: String,
}

/// Columns of an identity.
pub(super) fn of_identity(
    identity: &VolumeIdentity,
    file: &LedgerFile,
) -> Result<(&'static str, String), LedgerError> {
    let (kind, json) = match identity {
        VolumeIdentity::Directory(directory) => {
            (DIRECTORY, serde_json::to_string::<DirectoryIdentity>(directory))
        }
        VolumeIdentity::Record { driver, created_at } => {
            let record = RecordIdentity { driver: driver.clone(), created_at: created_at.clone() };
            (RECORD, serde_json::to_string(&record))
        }
    };
    let json = json.map_err(|error| file.unrecordable(format!("the identity of a volume ({error})")))?;
    Ok((kind, json))
}

/// Column of a time.
pub(super) fn of_time(time: DateTime<Utc>, file: &LedgerFile) -> Result<String, LedgerError> {
    // RFC 3339 has four digits for the year. A fifth would not read back, and would not sort.
    if !(0..=9999).contains(&time.year()) {
        return Err(file.unrecordable(format!("the time {time}")));
    }
    Ok(time.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

/// Column of a number.
pub(super) fn of_number<T>(number: T, what: &str, file: &LedgerFile) -> Result<i64, LedgerError>
where
    T: TryInto<i64> + Copy + std::fmt::Display,
{
    number.try_into().map_err(|_| file.unrecordable(format!("{what} {number}")))
}

/// Columns of a clock. Fractions of a millisecond are dropped, so a clock that is read back can only be behind (I8).
pub(super) fn of_clock(clock: &Clock, file: &LedgerFile) -> Result<(String, i64, u32), LedgerError> {
    let watched = of_number(clock.watched.as_millis(), "a watched time in milliseconds of", file)?;
    Ok((of_time(clock.since, file)?, watched, clock.sightings))
}
