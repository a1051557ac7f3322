//! Recovery: what a crash left unfinished is finished or undone, before anything else is looked at. The manifest says how far a
//! move had come; where the data is says the rest.

use std::time::Duration;

use super::delete::remember_name;
use super::mover::{Mover, StepError};
use super::moves::{Move, Reason, damage};
use crate::gc::entry::{Entry, EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::protocol::Outcome;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::fault::{self, Setting};
use crate::host::pulse;

/// How long an engine that answers may take to notice that nobody waits for the answer to a DELETE. It takes connections in
/// order, so by its first answer it has the DELETE in hand; by the second, this much later, the DELETE is either dropped (moby
/// `VolumeStore.Remove` looks at the request's context behind the lock of the name) or holds that lock, for which
/// `GET /volumes/NAME` waits.
const SETTLED: Duration = Duration::from_secs(3);

fn settled() -> Duration {
    Duration::from_millis(fault::limit(Setting::Settled, SETTLED.as_secs() * 1000))
}

/// What became of one unfinished entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// The move was undone: the volume is as it was.
    Undone,
    /// The move was finished: the entry is in quarantine.
    Committed,
    /// The restore was finished: the volume is back.
    Restored,
    /// The engine had removed the volume, which was in quarantine in place.
    Removed,
    /// The engine did not remove the volume: it is in quarantine in place, as before.
    StillInPlace,
    /// Nothing could be proven; the data stays where it is.
    Unresolved(String),
}

/// An entry and what became of it.
pub type Recovery = (Manifest, Result<Recovered, StepError>);

impl Mover<'_> {
    /// Recovers every unfinished entry. A failure with one does not keep the others from being recovered.
    pub async fn recover(&mut self) -> Result<Vec<Recovery>, StepError> {
        self.check_engine().await?;
        self.quarantine.drop_empty_entries()?;
        let entries = self.quarantine.entries()?;
        if entries.iter().any(may_be_ordered) {
            // I5: one wait for all of them: its first answer, and after a while its last one.
            self.engine.reading().info().await?;
            tokio::time::sleep(settled()).await;
        }
        let (mut moves, mut results) = (Vec::new(), Vec::new());
        for entry in entries {
            let Entry::Known(manifest) = entry else { continue };
            pulse::beat();
            let result = match &manifest.state {
                EntryState::InPlace => continue,
                // Of these only one to which a link leads again has anything to recover.
                EntryState::Quarantined => match self.quarantine.is_led_to(&self.volumes, &manifest) {
                    Ok(false) => continue,
                    Ok(true) => {
                        moves.push(Move::recovery(*manifest));
                        continue;
                    }
                    Err(error) => Err(error.into()),
                },
                EntryState::Linking | EntryState::Forgetting => match self.observe(&manifest.name) {
                    Ok(_) => {
                        moves.push(Move::recovery(*manifest));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                EntryState::Moving => self.recover_moving(&manifest).await,
                EntryState::InDoubt { .. } => self.recover_in_doubt(&manifest).await,
                EntryState::InPlaceInDoubt { .. } => self.recover_in_place(&manifest).await,
                EntryState::Restoring { restoring_to } => {
                    self.recover_restoring(&manifest, restoring_to).await
                }
            };
            results.push((*manifest, result));
        }
        self.carry(&mut moves).await;
        results.extend(moves.into_iter().filter_map(|moved| self.recovered(moved)));
        for (manifest, result) in &results {
            if let Err(error) = result {
                tracing::warn!(entry = manifest.entry.as_str(), volume = manifest.name.as_str(), %error, "recovery failed");
            }
        }
        Ok(results)
    }

    /// What the recovery of a move came to; none where there was nothing to do.
    fn recovered(&self, moved: Move<'_>) -> Option<Recovery> {
        let (manifest, _, _, outcome) = moved.into_end();
        let result = match outcome {
            Outcome::AtRest => return None,
            Outcome::Quarantined => Ok(Recovered::Committed),
            Outcome::Undone(_) => Ok(Recovered::Undone),
            Outcome::Left(Reason::Failure(error)) | Outcome::Unfinished(Reason::Failure(error)) => Err(error),
            Outcome::Left(why) | Outcome::Unfinished(why) | Outcome::InDoubt(why) => {
                Ok(Recovered::Unresolved(why.to_string()))
            }
            Outcome::Damaged(names) => {
                Ok(Recovered::Unresolved(format!("{}: {}", self.shown(&manifest.entry), damage(names))))
            }
        };
        Some((manifest, result))
    }

    /// What the engine would remove with the emptied directory of a volume: somebody put it there since that was looked at.
    pub(super) fn lying_beside(&self, manifest: &Manifest) -> Result<Option<String>, StepError> {
        let seen = self.observe(&manifest.name)?;
        let is_beside = |why: &&Unmovable| matches!(why, Unmovable::ForeignContent | Unmovable::OptionsFile);
        let why = seen.unmovable.iter().find(is_beside);
        Ok(why.map(|why| format!("{}, which the engine would remove", why.sentence())))
    }

    async fn recover_restoring(
        &mut self,
        manifest: &Manifest,
        name: &VolumeName,
    ) -> Result<Recovered, StepError> {
        let there = self.observe_data(name)?;
        if self.quarantine.data_facts(&manifest.entry)?.is_some() {
            if there.directory.is_some() && there.data.is_none() {
                // The directory was made, by us: an engine that was restarted since may already list it, without data.
                self.quarantine.give_data(&self.volumes, &manifest.entry, name)?;
                self.finish_restore(manifest, name).await?;
                return Ok(Recovered::Restored);
            }
            // The data was not placed, and now cannot be: the entry is as before.
            self.set_state(manifest, EntryState::Quarantined)?;
            return Ok(Recovered::Committed);
        }
        let placed = there.data;
        if placed.is_some_and(|facts| facts.identity.is_same_inode(&manifest.data_directory)) {
            // I4: whoever placed it may have been killed before it had synced that.
            self.quarantine.sync_given(&self.volumes, &manifest.entry, name)?;
            self.finish_restore(manifest, name).await?;
            return Ok(Recovered::Restored);
        }
        // What is no directory may lead to it.
        if there.directory.is_none() && there.unmovable.contains(&Unmovable::NotADirectory) {
            return Err(self.unclear(name));
        }
        // It had been placed, and somebody removed the volume since: nothing is left to bring back.
        remember_name(self.quarantine, manifest)?;
        self.quarantine.drop_entry(&manifest.entry)?;
        self.record(
            Happening::Failed,
            manifest,
            format!("volume {name} was removed while its restore was interrupted"),
        )?;
        Ok(Recovered::Undone)
    }
}

/// Whether an order of an earlier run may be on its way.
fn may_be_ordered(entry: &Entry) -> bool {
    match entry {
        Entry::Known(manifest) => match manifest.state {
            EntryState::Forgetting | EntryState::InDoubt { .. } | EntryState::InPlaceInDoubt { .. } => true,
            EntryState::Linking
            | EntryState::Moving
            | EntryState::Quarantined
            | EntryState::Restoring { .. }
            | EntryState::InPlace => false,
        },
        Entry::Deleting(_) | Entry::Damaged { .. } => false,
    }
}
