//! What a pass writes into the ledger: the state after its look, and what happened. Where nothing can be written, that is kept, and
//! tried again when the deletions have made room (I15).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::delete::{self, BegunBy, BegunDeletion};
use super::look::Look;
use super::mover::StepError;
use super::{SweepError, Sweeper};
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::LedgerState;
use crate::gc::spoken::spoken;
use crate::gc::verdict::Step;
use crate::host::ledger::Ledger;
use crate::host::quarantine::QuarantineDir;

impl Sweeper<'_> {
    /// The ledger after a complete look, and in mode `observe` what would have been done.
    pub(super) fn write_down(&mut self, look: &Look) -> Result<(), SweepError> {
        let mut lines = self.unmentioned(look)?;
        lines.extend(look.newly_due.iter().map(|step| self.would_act(look, step)));
        let expired = Happening::HoldExpired;
        lines.extend(
            look.newly_expired.iter().map(|hold| hold_line(hold, expired, &hold.reason, look.at.wall)),
        );
        let released = Happening::HoldReleased;
        let why = "the engine removed the volume";
        lines.extend(look.lapsed.iter().map(|hold| hold_line(hold, released, why, look.at.wall)));
        self.ledger.write_or_keep(&look.ledger, &lines)?;
        if self.ledger.blocked().is_none() {
            self.ledger
                .drop_holds(|hold| look.lapsed.contains(hold) || look.ledger.is_over(hold, look.at.wall))?;
        }
        Ok(())
    }

    fn would_act(&self, look: &Look, step: &Step) -> HistoryLine {
        let mode = self.settings.policy.mode.word();
        let (volume, entry, what) = match step {
            Step::Quarantine(name) => (Some(name.clone()), None, "quarantine"),
            Step::Release(id) => (None, Some(id.clone()), "release"),
            Step::Delete(id) => (None, Some(id.clone()), "deletion"),
        };
        let record = volume.as_ref().and_then(|name| look.ledger.volumes.get(name));
        HistoryLine {
            at: look.at.wall,
            happening: Happening::WouldAct,
            last_holder: record.and_then(|record| record.last_holder.clone()),
            volume,
            entry,
            detail: format!("due for {what}, which mode \"{mode}\" does not permit"),
            size_bytes: None,
        }
    }

    /// What happened and is not in the history: an entry is in quarantine, and whoever put it there could not write it down. Its
    /// manifest is the truth (I12).
    fn unmentioned(&self, look: &Look) -> Result<Vec<HistoryLine>, SweepError> {
        let mut lines = Vec::new();
        for entry in &look.quarantine.entries {
            let Entry::Known(manifest) = entry else { continue };
            let is_finished = matches!(manifest.state, EntryState::Quarantined | EntryState::InPlace);
            let is_new = look.ledger.entries.get(&manifest.entry).is_some_and(|clock| clock.sightings <= 1);
            if is_finished && is_new && !self.ledger.has_happened(&manifest.entry, Happening::Quarantined)? {
                lines.push(quarantined_line(manifest));
            }
        }
        Ok(lines)
    }

    pub(super) fn record_refusals(&mut self, look: &Look) -> Result<(), SweepError> {
        let lines: Vec<HistoryLine> = look
            .refusals
            .iter()
            .map(|refusal| HistoryLine {
                at: look.at.wall,
                happening: Happening::Refused,
                volume: None,
                entry: None,
                detail: format!("{}: {}", spoken(refusal.word), refusal.text),
                last_holder: None,
                size_bytes: None,
            })
            .collect();
        Ok(self.ledger.record_or_keep(&lines)?)
    }

    /// Writes what could not be written before, now that the deletions have made room, and ends the entries that waited for it. Says
    /// why it still cannot be written, when that is so.
    pub(super) async fn catch_up(
        &mut self,
        look: &Look,
        ended: &BTreeSet<EntryId>,
        waiting: Vec<EntryId>,
        directory: &QuarantineDir,
    ) -> Result<Option<String>, StepError> {
        if self.ledger.blocked().is_none() {
            return Ok(None);
        }
        self.ledger.catch_up(&without(&look.ledger, ended))?;
        for entry in waiting {
            delete::finish_deletion(
                BegunDeletion { entry, by: BegunBy::Earlier },
                directory,
                self.ledger,
                self.stop,
            )
            .await?;
        }
        Ok(still_unwritten(self.ledger))
    }
}

/// Why a ledger is not up to date. What it lacks is told to whoever reads the log.
pub(super) fn still_unwritten(ledger: &Ledger) -> Option<String> {
    let why = ledger.blocked()?.told();
    for line in ledger.unwritten() {
        tracing::warn!(
            event = "not_in_history",
            happened = line.happening.word(),
            volume = line.volume.as_ref().map_or("", |name| name.as_str()),
            entry = line.entry.as_ref().map_or("", EntryId::as_str),
            "{}",
            line.detail
        );
    }
    Some(why)
}

fn without(state: &LedgerState, ended: &BTreeSet<EntryId>) -> LedgerState {
    let mut state = state.clone();
    state.entries.retain(|entry, _| !ended.contains(entry));
    state
}

fn quarantined_line(manifest: &Manifest) -> HistoryLine {
    HistoryLine {
        at: manifest.quarantined_at,
        happening: Happening::Quarantined,
        volume: Some(manifest.name.clone()),
        entry: Some(manifest.entry.clone()),
        detail: "as its manifest says: it was not written down when it was done".to_owned(),
        last_holder: manifest.last_holder.clone(),
        size_bytes: manifest.size_bytes,
    }
}

/// What became of a hold.
pub(super) fn hold_line(hold: &Hold, happening: Happening, detail: &str, at: DateTime<Utc>) -> HistoryLine {
    let (volume, entry) = match &hold.target {
        HoldTarget::Volume { name, .. } => (Some(name.clone()), None),
        HoldTarget::Entry { entry } => (None, Some(entry.clone())),
    };
    HistoryLine {
        at,
        happening,
        volume,
        entry,
        detail: detail.to_owned(),
        last_holder: None,
        size_bytes: None,
    }
}
