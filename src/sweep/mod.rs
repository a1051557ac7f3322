//! One pass: observe, plan, approve, execute, record. And the operator's commands, which are passes with an order of their own.

mod at_rest;
pub mod delete;
mod forget;
pub mod heed;
pub mod in_place;
pub mod lineage;
pub mod look;
pub mod mover;
pub mod quarantine;
pub mod recover;
pub mod replace;
pub mod restore;
pub mod unlisted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::gc::brakes::Doubt;
use crate::gc::entry::{Entry, EntryId, Manifest};
use crate::gc::guard::{self, Violation};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::plan::Order;
use crate::gc::policy::Mode;
use crate::gc::spoken::spoken;
use crate::gc::verdict::Step;
use crate::gc::volume::VolumeName;
use crate::gc::watch::Watch;
use crate::host::clock;
use crate::host::engine::ChangingEngine;
use crate::host::engine::follow::Inbox;
use crate::host::ledger::{Ledger, LedgerError};
use crate::host::pulse;
use crate::host::quarantine::{Lock, LockError, QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;
use at_rest::Findings;
use delete::{Begun, BegunDeletion};
use look::{Look, LookError, Moment, look};
use mover::{Mover, StepError};
use quarantine::Quarantined;
use recover::Recovered;

/// How long a sweep or command waits for another one to end.
pub const LOCK_PATIENCE: Duration = Duration::from_mins(10);

/// How often it is looked when another process writes to the ledger each time in between.
const LOOKS: u32 = 5;

/// Everything a pass works with.
#[derive(Debug)]
pub struct Sweeper<'a> {
    /// The engine.
    pub engine: &'a ChangingEngine,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// Who sweeps, for others to read in the lock file: command and process ID.
    pub whoami: &'a str,
    /// Requested when the program shall end.
    pub stop: &'a CancellationToken,
    /// Who watched since the last sweep.
    pub watching: Watching<'a>,
}

/// Who watches between two sweeps.
#[derive(Debug, Clone)]
pub enum Watching<'a> {
    /// The service, which follows the engine's events.
    Service(&'a Inbox),
    /// Nobody: what happened since the last sweep is asked for first.
    Nobody,
}

/// Why a pass did not take place. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There was nothing to decide on.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The quarantine cannot be used.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The lock was not had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The plan would break an invariant: a defect of this program.
    #[error("{}; nothing was done. This is a defect of volgc: please report it", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Violations(Vec<Violation>),
    /// The program shall end, and the look was not waited for.
    #[error("stopped before the engine had answered; nothing was done")]
    Stopped,
    /// A clock could not be read.
    #[error("{0}")]
    Clock(#[from] std::io::Error),
    /// What an order needs cannot be had.
    #[error(transparent)]
    Step(#[from] StepError),
}

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
}

impl Swept {
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

/// What the steps of a pass are taken by, under the lock.
struct Pass<'a> {
    order: &'a Order,
    root: &'a Arc<VolumesDir>,
    look: &'a Look,
    quarantine: &'a QuarantineDir,
    findings: &'a Findings,
}

/// The quarantine directory and the lock on it.
struct Locked {
    directory: QuarantineDir,
    held: Lock,
}

impl Sweeper<'_> {
    /// One pass with an order. Where another process swept between the look and the ledger, it is looked again: no step was taken.
    pub async fn sweep(&mut self, order: &Order) -> Result<Swept, SweepError> {
        for _ in 1..LOOKS {
            match self.pass(order).await {
                Err(SweepError::Ledger(LedgerError::ChangedMeanwhile { .. })) => {
                    tracing::debug!("another process has written to the ledger; looking again");
                }
                swept => return swept,
            }
        }
        self.pass(order).await
    }

    async fn pass(&mut self, order: &Order) -> Result<Swept, SweepError> {
        let watch = self.watch().await?;
        let first = self.look(order, &watch).await?;
        if first.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine) {
            self.record_refusals(&first)?;
            return Ok(Swept { look: first, recovered: Vec::new(), done: Vec::new(), stopped: false });
        }
        let Some(root) = first.observation.directory.clone() else {
            // A missing root is a refusal, so there is one here.
            return Ok(Swept { look: first, recovered: Vec::new(), done: Vec::new(), stopped: false });
        };
        let wants_to_move = first.refusals.is_empty() && !first.plan.steps().is_empty();
        let findings =
            if wants_to_move { self.look_through(&first, &root, order).await? } else { Findings::default() };
        if wants_to_move && self.stop.is_cancelled() {
            return Ok(Swept { look: first, recovered: Vec::new(), done: Vec::new(), stopped: true });
        }
        let Some(locked) = self.lock(&root, wants_to_move).await? else {
            if first.refusals.is_empty() {
                self.write_down(&first)?;
                if self.settings.policy.mode != Mode::Observe {
                    lineage::note_below(self.ledger, &root);
                }
            } else {
                self.record_refusals(&first)?;
            }
            return Ok(Swept { look: first, recovered: Vec::new(), done: Vec::new(), stopped: false });
        };
        self.sweep_locked(order, &root, first, findings, locked, &watch).await
    }

    /// Finishes or undoes what is unfinished in quarantine, and nothing else. Not a sweep: no clock runs by it.
    pub async fn recover(&mut self) -> Result<Vec<(Manifest, Result<Recovered, StepError>)>, SweepError> {
        let nothing = Order::Delete(std::collections::BTreeSet::new());
        let look = self.look(&nothing, &Watch::Sweeps).await?;
        let is_doubtful = look.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine);
        let has_work = look.quarantine.entries.iter().any(Entry::is_unfinished);
        let (false, true, Some(root)) = (is_doubtful, has_work, look.observation.directory.clone()) else {
            return Ok(Vec::new());
        };
        let Some(locked) = self.lock(&root, false).await? else { return Ok(Vec::new()) };
        Ok(self.mover(&root, &look, &locked.directory)?.recover().await?)
    }

    /// Who watched since the last sweep. A sweep that nobody watched for takes up first what the engine still knows of that time.
    async fn watch(&mut self) -> Result<Watch, SweepError> {
        match self.watching {
            Watching::Service(inbox) => Ok(inbox.watch()),
            Watching::Nobody => {
                let stop = self.stop.clone();
                tokio::select! {
                    watch = heed::catch_up(self.engine.reading(), self.ledger) => Ok(watch?),
                    () = stop.cancelled() => Err(SweepError::Stopped),
                }
            }
        }
    }

    /// Looks once, until the program shall end: a hanging engine is waited for minutes, and a look has begun nothing.
    async fn look(&self, order: &Order, watch: &Watch) -> Result<Look, SweepError> {
        let moment = Moment { at: clock::read()?, watch: watch.clone() };
        let remembered = self.ledger.read()?;
        tokio::select! {
            look = look(self.engine.reading(), &remembered, self.settings, order, moment) => Ok(look?),
            () = self.stop.cancelled() => Err(SweepError::Stopped),
        }
    }

    /// Under the lock everything is looked at again: what another process did meanwhile is seen.
    async fn sweep_locked(
        &mut self,
        order: &Order,
        root: &Arc<VolumesDir>,
        first: Look,
        findings: Findings,
        locked: Locked,
        watch: &Watch,
    ) -> Result<Swept, SweepError> {
        let recovered = self.mover(root, &first, &locked.directory)?.recover().await?;
        let mut done = self.restart_clocks(&findings)?;
        done.extend(self.mark_touched(&findings, &locked.directory, order));
        let look = self.look(order, watch).await?;
        if !look.refusals.is_empty() {
            self.record_refusals(&look)?;
            return Ok(Swept { look, recovered, done, stopped: false });
        }
        self.write_down(&look)?;
        let steps = guard::approve(&look.plan, look.situation(self.settings), order)
            .map_err(SweepError::Violations)?
            .into_steps();
        let pass = Pass { order, root, look: &look, quarantine: &locked.directory, findings: &findings };
        let mut begun = Vec::new();
        let mut stopped = false;
        for step in steps {
            if self.stop.is_cancelled() {
                stopped = true;
                break;
            }
            pulse::beat();
            self.carry_out(step, &pass, &mut done, &mut begun).await?;
        }
        lineage::note(self.ledger, &locked.directory);
        // The walks need no lock: a restore of another entry must not wait for a terabyte to be deleted.
        let Locked { directory, held } = locked;
        drop(held);
        for deletion in begun {
            done.push(self.finish(deletion, &directory).await);
        }
        Ok(Swept { look, recovered, done, stopped })
    }

    async fn carry_out(
        &mut self,
        step: Step,
        pass: &Pass<'_>,
        done: &mut Vec<Done>,
        begun: &mut Vec<BegunDeletion>,
    ) -> Result<(), SweepError> {
        let look = pass.look;
        let by_hand = look.plan.by_hand;
        match step {
            Step::Quarantine(name) => {
                let Some(volume) = look.observation.inventory.volume(&name) else { return Ok(()) };
                let at_rest_since = match self.volume_at_rest(&name, pass).await? {
                    Ok(since) => since,
                    Err(why) => {
                        done.push(Done::Left(name, why));
                        return Ok(());
                    }
                };
                let mut mover = self.mover(pass.root, look, pass.quarantine)?;
                // The guard approved a volume that cannot be moved only where it may be marked.
                let can_be_moved = volume.unmovable.is_empty();
                let result = if can_be_moved {
                    mover.quarantine_volume(volume, by_hand, at_rest_since).await
                } else {
                    mover.mark_volume(volume, by_hand).await
                };
                done.push(match result {
                    Ok(Quarantined::Done(entry)) if can_be_moved => Done::Quarantined(name, entry),
                    Ok(Quarantined::Done(entry)) => Done::Marked(name, entry),
                    Ok(Quarantined::Left(why)) => Done::Left(name, why),
                    Ok(Quarantined::InDoubt(entry, why)) => Done::InDoubt(name, entry, why),
                    Err(error) => Done::Failed(format!("quarantine of volume {name}"), error),
                });
            }
            Step::Release(entry) => {
                let verdict = look.plan.entries.get(entry.as_str());
                let why = verdict.map_or_else(String::new, |verdict| verdict.detail.to_string());
                done.push(match self.mover(pass.root, look, pass.quarantine)?.release(&entry, &why) {
                    Ok(()) => Done::Released(entry, why),
                    Err(error) => Done::Failed(format!("release of entry {entry}"), error),
                });
            }
            Step::Delete(entry) => {
                if let Err(why) = self.entry_at_rest(&entry, pass).await? {
                    done.push(Done::Kept(entry, why));
                    return Ok(());
                }
                let mut mover = self.mover(pass.root, look, pass.quarantine)?;
                match mover.begin_deletion(&entry, by_hand).await {
                    Ok(Begun::Deletion(deletion)) => begun.push(deletion),
                    Ok(Begun::Kept(why)) => done.push(Done::Kept(entry, why)),
                    Ok(Begun::Removed) => done.push(Done::Removed(entry)),
                    Ok(Begun::InDoubt(name, why)) => done.push(Done::InDoubt(name, entry, why)),
                    Err(error) => done.push(Done::Failed(format!("deletion of entry {entry}"), error)),
                }
            }
        }
        if let Some(Done::Failed(what, error)) = done.last() {
            tracing::error!(%error, "{what} failed");
        }
        Ok(())
    }

    async fn finish(&mut self, deletion: BegunDeletion, directory: &QuarantineDir) -> Done {
        let entry = deletion.entry.clone();
        match delete::finish_deletion(deletion, directory, self.ledger, self.stop).await {
            Ok(deleted) if deleted.stopped => Done::DeletionStopped(entry),
            Ok(deleted) => Done::Deleted(entry, deleted.bytes),
            Err(error) => {
                tracing::error!(%error, entry = entry.as_str(), "deletion failed");
                Done::Failed(format!("deletion of entry {entry}"), error)
            }
        }
    }

    fn mover<'b>(
        &'b mut self,
        root: &Arc<VolumesDir>,
        look: &'b Look,
        directory: &'b QuarantineDir,
    ) -> Result<Mover<'b>, SweepError> {
        Ok(Mover {
            engine: self.engine,
            settings: self.settings,
            volumes: Arc::clone(root),
            quarantine: directory,
            index: Arc::clone(&look.observation.index),
            engine_id: look.observation.info.id.clone(),
            remembered: &look.ledger,
            holds: self.ledger.holds()?,
            ledger: self.ledger,
            stop: self.stop.clone(),
        })
    }

    /// The lock, if there is a quarantine directory or something wants to be moved into one.
    async fn lock(&self, root: &VolumesDir, make: bool) -> Result<Option<Locked>, SweepError> {
        let directory = if make {
            QuarantineDir::open_or_make(root.root(), root.root_path())?
        } else {
            match QuarantineDir::open_existing(root.root(), root.root_path())? {
                Some(directory) => directory,
                None => return Ok(None),
            }
        };
        let lock = directory
            .lock(self.whoami, LOCK_PATIENCE, |holder| {
                tracing::warn!("waiting for {holder}, which holds {}/lock", directory.path().display());
            })
            .await?;
        Ok(Some(Locked { directory, held: lock }))
    }

    /// The ledger after a complete look, and in mode `observe` what would have been done.
    fn write_down(&mut self, look: &Look) -> Result<(), SweepError> {
        let mode = self.settings.policy.mode.word();
        let mut lines: Vec<HistoryLine> = look
            .newly_due
            .iter()
            .map(|step| {
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
            })
            .collect();
        let expired = Happening::HoldExpired;
        lines.extend(
            look.newly_expired.iter().map(|hold| hold_line(hold, expired, &hold.reason, look.at.wall)),
        );
        let released = Happening::HoldReleased;
        let why = "the engine removed the volume";
        lines.extend(look.lapsed.iter().map(|hold| hold_line(hold, released, why, look.at.wall)));
        self.ledger.write(&look.ledger, &lines)?;
        self.ledger
            .drop_holds(|hold| look.lapsed.contains(hold) || look.ledger.is_over(hold, look.at.wall))?;
        Ok(())
    }

    fn record_refusals(&mut self, look: &Look) -> Result<(), SweepError> {
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
        Ok(self.ledger.record(&lines)?)
    }
}

fn hold_line(hold: &Hold, happening: Happening, detail: &str, at: DateTime<Utc>) -> HistoryLine {
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
