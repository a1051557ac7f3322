//! What became of a pass and of its steps.

use std::collections::BTreeMap;

use super::look::Look;
use super::mover::StepError;
use super::recover::Recovered;
use crate::gc::entry::{EntryId, Manifest};
use crate::gc::volume::VolumeName;

/// What became of one step.
#[derive(Debug)]
pub enum Done {
    /// The volume is in quarantine.
    Quarantined(VolumeName, EntryId),
    /// The volume is in quarantine in place.
    Marked(VolumeName, EntryId),
    /// The volume was left or put back.
    Left(VolumeName, String),
    /// The engine has not answered.
    InDoubt(VolumeName, EntryId, String),
    /// The entry was in place and is no more, with the reason; its volume is as it was.
    Released(EntryId, String),
    /// The engine removed the volume of an entry in place.
    Removed(EntryId),
    /// The entry was due, and something began to need it since.
    Kept(EntryId, String),
    /// The entry is gone for good: how many bytes that freed.
    Deleted(EntryId, u64),
    /// The deletion was stopped, and is taken up by a later sweep.
    DeletionStopped(EntryId),
    /// The step failed.
    Failed(String, StepError),
}

impl Done {
    /// Whether nothing came of the step, for a reason of its own: then another may have its turn. Of what concerns every step, as an
    /// engine that does not answer, the next one would only be told the same.
    pub(super) fn is_left(&self) -> bool {
        match self {
            Self::Left(..) | Self::Kept(..) => true,
            Self::Failed(_, error) => !error.concerns_all(),
            Self::Quarantined(..)
            | Self::Marked(..)
            | Self::InDoubt(..)
            | Self::Released(..)
            | Self::Removed(_)
            | Self::Deleted(..)
            | Self::DeletionStopped(_) => false,
        }
    }
}

/// What a pass did.
#[derive(Debug)]
pub struct Swept {
    /// What it was decided on.
    pub look: Look,
    /// What was unfinished before.
    pub recovered: Vec<(Manifest, Result<Recovered, StepError>)>,
    /// What became of each step.
    pub done: Vec<Done>,
    /// Whether steps were left because the program shall end.
    pub stopped: bool,
    /// Why nothing more was moved, when that has one cause for all: there is no room, or the ledger cannot be written (I15).
    pub halted: Option<String>,
    /// Why the ledger is not up to date, when that is so.
    pub unwritten: Option<String>,
}

impl Swept {
    /// A pass that took no step.
    pub(super) fn nothing(look: Look) -> Self {
        Self { look, recovered: Vec::new(), done: Vec::new(), stopped: false, halted: None, unwritten: None }
    }

    /// Whether anything that was to be done was not.
    pub fn has_failures(&self) -> bool {
        let steps = self.done.iter().any(|done| match done {
            Done::Failed(..) | Done::InDoubt(..) => true,
            Done::Quarantined(..)
            | Done::Marked(..)
            | Done::Left(..)
            | Done::Released(..)
            | Done::Removed(_)
            | Done::Kept(..)
            | Done::Deleted(..)
            | Done::DeletionStopped(_) => false,
        });
        steps
            || self.unwritten.is_some()
            || self.recovered.iter().any(|(_, result)| match result {
                Err(_) | Ok(Recovered::Unresolved(_)) => true,
                Ok(
                    Recovered::Undone
                    | Recovered::Committed
                    | Recovered::Restored
                    | Recovered::Removed
                    | Recovered::StillInPlace,
                ) => false,
            })
    }
}

/// How many steps of each kind a list of results holds, for one line of summary.
pub fn count(done: &[Done]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for one in done {
        let word = match one {
            Done::Quarantined(..) | Done::Marked(..) => "quarantined",
            Done::Released(..) => "released",
            Done::Left(..) | Done::Kept(..) => "left",
            Done::InDoubt(..) => "in doubt",
            Done::Deleted(..) | Done::Removed(_) => "deleted",
            Done::DeletionStopped(_) => "stopped",
            Done::Failed(..) => "failed",
        };
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}
