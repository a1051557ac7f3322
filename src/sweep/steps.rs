//! The steps of a pass, taken under the lock: each in its turn, and what a failure of one means for the next ones.

use std::sync::Arc;

use super::at_rest::Findings;
use super::delete::{self, Begun, BegunDeletion, Finished};
use super::look::Look;
use super::mover::StepError;
use super::obstacles::Surveys;
use super::quarantine::{Planned, Quarantined};
use super::{Done, SweepError, Sweeper, wave};
use crate::gc::entry::{Entry, EntryId};
use crate::gc::plan::Order;
use crate::gc::turns::Turns;
use crate::gc::verdict::Step;
use crate::gc::volume::VolumeName;
use crate::host::ledger::LedgerError;
use crate::host::pulse;
use crate::host::quarantine::QuarantineDir;
use crate::host::volumes_dir::VolumesDir;

/// What became of the steps of a pass, before the walks.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) done: Vec<Done>,
    pub(super) begun: Vec<BegunDeletion>,
    pub(super) stopped: bool,
    /// Why not all of them were taken.
    pub(super) halted: Option<String>,
}

/// What became of one step.
enum Carried {
    /// It has ended.
    Done(Done),
    /// A deletion, of which the walk is left.
    Begun(BegunDeletion),
}

/// I15: without a ledger nothing is moved. A clock that is not written down would be one that nobody watched.
fn no_moves(why: &LedgerError) -> String {
    format!("nothing is moved while the ledger cannot be written: {}", why.told())
}

/// I15: whether a step may be taken while the ledger cannot be written. What is quarantined in place frees nothing, and whether it was
/// used meanwhile is not remembered.
fn frees_space(step: &Step, look: &Look) -> bool {
    let Step::Delete(id) = step else { return false };
    !look.quarantine.entries.iter().any(
        |entry| matches!(entry, Entry::Known(manifest) if manifest.entry == *id && manifest.state.is_in_place()),
    )
}

/// Whether a volume can be moved.
fn is_movable(name: &VolumeName, look: &Look) -> bool {
    look.observation.inventory.volume(name).is_some_and(|volume| volume.unmovable.is_empty())
}

fn became(
    name: VolumeName,
    result: Result<Quarantined, StepError>,
    done: impl FnOnce(VolumeName, EntryId) -> Done,
) -> Done {
    match result {
        Ok(Quarantined::Done(entry)) => done(name, entry),
        Ok(Quarantined::Left(why)) => Done::Left(name, why),
        Ok(Quarantined::InDoubt(entry, why)) => Done::InDoubt(name, entry, why),
        Err(error) => Done::Failed(format!("quarantine of volume {name}"), error),
    }
}

/// What the steps of a pass are taken by, under the lock.
pub(super) struct Pass<'a> {
    pub(super) order: &'a Order,
    pub(super) root: &'a Arc<VolumesDir>,
    pub(super) look: &'a Look,
    pub(super) quarantine: &'a QuarantineDir,
    pub(super) walks: &'a Walks,
}

/// What walks through the data of what is due have found, before the lock is taken.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// Uses that no list knows of.
    pub(super) findings: Findings,
    /// What keeps data from being deleted whole.
    pub(super) surveys: Surveys,
}

impl Sweeper<'_> {
    /// Takes the steps, each in its turn; volumes that are next to each other go into quarantine together.
    pub(super) async fn take(&mut self, mut turns: Turns, pass: &Pass<'_>) -> Result<Taken, SweepError> {
        let mut taken = Taken::default();
        // Why nothing is moved from here on.
        let mut halt = self.ledger.blocked().map(no_moves);
        while let Some(step) = turns.next() {
            if self.stop.is_cancelled() {
                taken.stopped = true;
                break;
            }
            if halt.is_some() && !frees_space(&step, pass.look) {
                taken.halted.clone_from(&halt);
                continue;
            }
            pulse::beat();
            let carried = match &step {
                Step::Quarantine(name) if is_movable(name, pass.look) => {
                    let mut together = vec![name.clone()];
                    together
                        .extend(turns.next_volumes(wave::TOGETHER - 1, |name| is_movable(name, pass.look)));
                    self.quarantine_together(together, pass).await?
                }
                Step::Quarantine(_) | Step::Release(_) | Step::Delete(_) => {
                    let carried = self.carry_out(step.clone(), pass).await?;
                    vec![(step, carried)]
                }
            };
            for (step, carried) in carried {
                let outcome = match carried {
                    Carried::Begun(deletion) => {
                        taken.begun.push(deletion);
                        continue;
                    }
                    Carried::Done(outcome) => outcome,
                };
                if outcome.is_left() {
                    turns.pass_on(&step);
                }
                if let Done::Failed(what, error) = &outcome {
                    tracing::error!(%error, "{what} failed");
                    if error.is_without_room() {
                        halt = Some(format!("nothing is moved without room: {error}"));
                    }
                }
                taken.done.push(outcome);
            }
            halt = halt.or_else(|| self.ledger.blocked().map(no_moves));
        }
        Ok(taken)
    }
    /// Quarantines volumes that can be moved, all at once.
    async fn quarantine_together(
        &mut self,
        names: Vec<VolumeName>,
        pass: &Pass<'_>,
    ) -> Result<Vec<(Step, Carried)>, SweepError> {
        let look = pass.look;
        let (mut planned, mut ended) = (Vec::new(), Vec::new());
        for name in names {
            let Some(volume) = look.observation.inventory.volume(&name) else { continue };
            match self.volume_at_rest(&name, pass).await? {
                Ok(at_rest_since) => planned.push(Planned { volume, at_rest_since }),
                Err(why) => {
                    ended.push((Step::Quarantine(name.clone()), Carried::Done(Done::Left(name, why))));
                }
            }
        }
        let mut mover = self.mover(pass.root, look, pass.quarantine)?;
        let results = mover.quarantine_volumes(&planned, look.plan.by_hand).await;
        ended.extend(planned.iter().zip(results).map(|(planned, result)| {
            let name = planned.volume.name.clone();
            (Step::Quarantine(name.clone()), Carried::Done(became(name, result, Done::Quarantined)))
        }));
        Ok(ended)
    }

    async fn carry_out(&mut self, step: Step, pass: &Pass<'_>) -> Result<Carried, SweepError> {
        let look = pass.look;
        let by_hand = look.plan.by_hand;
        Ok(Carried::Done(match step {
            // The guard approved a volume that cannot be moved only where it may be marked.
            Step::Quarantine(name) => {
                let Some(volume) = look.observation.inventory.volume(&name) else {
                    return Ok(Carried::Done(Done::Left(name, "it was not observed".to_owned())));
                };
                if let Err(why) = self.volume_at_rest(&name, pass).await? {
                    return Ok(Carried::Done(Done::Left(name, why)));
                }
                let marked = self.mover(pass.root, look, pass.quarantine)?.mark_volume(volume, by_hand).await;
                became(name, marked, Done::Marked)
            }
            Step::Release(entry) => {
                let verdict = look.plan.entries.get(entry.as_str());
                let why = verdict.map_or_else(String::new, |verdict| verdict.detail.to_string());
                match self.mover(pass.root, look, pass.quarantine)?.release(&entry, &why) {
                    Ok(()) => Done::Released(entry, why),
                    Err(error) => Done::Failed(format!("release of entry {entry}"), error),
                }
            }
            Step::Delete(entry) => {
                // I3: whether it was used comes before whether it can be deleted whole.
                if let Err(why) = self.entry_at_rest(&entry, pass).await? {
                    return Ok(Carried::Done(Done::Kept(entry, why)));
                }
                let mut mover = self.mover(pass.root, look, pass.quarantine)?;
                match mover.begin_deletion(&entry, by_hand, &pass.walks.surveys).await {
                    Ok(Begun::Deletion(deletion)) => return Ok(Carried::Begun(deletion)),
                    Ok(Begun::Kept(why)) => Done::Kept(entry, why),
                    Ok(Begun::Removed) => Done::Removed(entry),
                    Ok(Begun::InDoubt(name, why)) => Done::InDoubt(name, entry, why),
                    Err(error) => Done::Failed(format!("deletion of entry {entry}"), error),
                }
            }
        }))
    }

    /// Walks through the data of a deletion that was begun.
    pub(super) async fn finish(
        &mut self,
        deletion: BegunDeletion,
        directory: &QuarantineDir,
    ) -> Result<Finished, StepError> {
        let entry = deletion.entry.clone();
        let finished = delete::finish_deletion(deletion, directory, self.ledger, self.stop).await;
        if let Err(error) = &finished {
            tracing::error!(%error, entry = entry.as_str(), "deletion failed");
        }
        finished
    }
}
