//! Sums over the whole history, for counters that survive a restart.

use std::collections::BTreeMap;

use rusqlite::params;

use super::LedgerReader;
use super::error::LedgerError;
use super::rows::Rows;
use crate::gc::history::Happening;

/// What the history adds up to. It is never cut, so both only grow until the ledger is lost (I9).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often each thing happened; what never did is not in it.
    pub happened: BTreeMap<Happening, u64>,
    /// Allocated bytes that deletions gave back.
    pub deleted_bytes: u64,
}

impl Totals {
    /// How often a thing happened.
    pub fn count(&self, happening: Happening) -> u64 {
        self.happened.get(&happening).copied().unwrap_or(0)
    }
}

impl LedgerReader {
    /// What the history adds up to.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        Rows { connection: &self.connection, file: &self.file }.read_totals()
    }
}

impl Rows<'_> {
    fn read_totals(&self) -> Result<Totals, LedgerError> {
        let mut totals = Totals::default();
        self.each(
            "history",
            "SELECT happening, count(*), coalesce(sum(size_bytes), 0) FROM history GROUP BY happening",
            params![],
            |columns| {
                let (happening, bytes) = (columns.word(0)?, columns.optional_integer(2)?);
                totals.happened.insert(happening, columns.integer(1)?);
                if let (Happening::Deleted, Some(bytes)) = (happening, bytes) {
                    totals.deleted_bytes = bytes;
                }
                Ok(())
            },
        )?;
        Ok(totals)
    }
}
