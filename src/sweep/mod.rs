//! One pass: observe, plan, approve, execute, record. And the operator's commands, which are passes with an order of their own.

mod at_rest;
pub mod delete;
mod earlier;
mod evidence;
mod forget;
mod hearing;
pub mod heed;
pub mod in_place;
pub mod lineage;
pub mod look;
pub mod mover;
mod moves;
mod obstacles;
mod on_disk;
pub mod outcome;
pub mod quarantine;
pub mod recover;
pub mod replace;
pub mod restore;
mod steps;
mod wave;
mod written;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::gc::brakes::Doubt;
use crate::gc::entry::{Entry, Manifest};
use crate::gc::guard::{self, Violation};
use crate::gc::ledger::LedgerState;
use crate::gc::plan::Order;
use crate::gc::policy::Mode;
use crate::gc::watch::Watch;
use crate::host::clock;
use crate::host::engine::ChangingEngine;
use crate::host::engine::follow::Inbox;
use crate::host::ledger::{Ledger, LedgerError, Written};
use crate::host::quarantine::{Lock, LockError, QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;
use delete::Finished;
use look::{Look, LookError, Moment, look};
use mover::{Mover, StepError};
pub use outcome::{Done, Swept, count};
use recover::Recovered;
use steps::{Pass, Taken, Walks};
use written::still_unwritten;

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
        let first = self.look(order, &watch, self.ledger.read()?).await?;
        if first.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine) {
            self.record_refusals(&first)?;
            return Ok(self.nothing_done(first));
        }
        let Some(root) = first.observation.directory.clone() else {
            // A missing root is a refusal, so there is one here.
            return Ok(self.nothing_done(first));
        };
        let wants_to_move = first.refusals.is_empty() && !first.plan.steps().is_empty();
        let walks = if wants_to_move {
            let findings = self.look_through(&first, &root, order).await?;
            Walks { findings, surveys: self.survey(&first, &root).await? }
        } else {
            Walks::default()
        };
        if wants_to_move && self.stop.is_cancelled() {
            return Ok(Swept { stopped: true, ..self.nothing_done(first) });
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
            return Ok(self.nothing_done(first));
        };
        self.sweep_locked(order, &root, first, &walks, locked).await
    }

    fn nothing_done(&self, look: Look) -> Swept {
        Swept { unwritten: still_unwritten(self.ledger), ..Swept::nothing(look) }
    }

    /// Finishes or undoes what is unfinished in quarantine, and nothing else. Not a sweep: no clock runs by it.
    pub async fn recover(&mut self) -> Result<Vec<(Manifest, Result<Recovered, StepError>)>, SweepError> {
        let nothing = Order::Delete(std::collections::BTreeSet::new());
        let look = self.look(&nothing, &Watch::Sweeps, self.ledger.read()?).await?;
        let is_doubtful = look.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine);
        let has_work = look.quarantine.entries.iter().any(Entry::is_unfinished);
        let (false, true, Some(root)) = (is_doubtful, has_work, look.observation.directory.clone()) else {
            return Ok(Vec::new());
        };
        let Some(locked) = self.lock(&root, false).await? else { return Ok(Vec::new()) };
        let recovered = self.mover(&root, &look, &locked.directory)?.recover().await?;
        self.ledger.flush()?;
        Ok(recovered)
    }

    /// Who watched since the last sweep, after what is known of that time was taken up: what the engine told, or still knows.
    async fn watch(&mut self) -> Result<Watch, SweepError> {
        let (engine, passing) = (self.engine.reading(), &self.settings.policy.passing);
        let heeded = async {
            match self.watching {
                Watching::Service(inbox) => heed::take_up(engine, inbox, self.ledger, passing).await,
                Watching::Nobody => heed::catch_up(engine, self.ledger, passing).await,
            }
        };
        tokio::select! {
            watch = heeded => Ok(watch?),
            () = self.stop.cancelled() => Err(SweepError::Stopped),
        }
    }

    /// Looks once, until the program shall end: a hanging engine is waited for minutes, and a look has begun nothing.
    async fn look(&self, order: &Order, watch: &Watch, remembered: LedgerState) -> Result<Look, SweepError> {
        let moment = Moment { at: clock::read()?, watch: watch.clone() };
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
        walks: &Walks,
        locked: Locked,
    ) -> Result<Swept, SweepError> {
        let recovered = self.mover(root, &first, &locked.directory)?.recover().await?;
        let mut done = self.restart_clocks(&walks.findings)?;
        done.extend(self.mark_touched(&walks.findings, &locked.directory, order));
        // The walks and the lock may have taken hours, in which something was used and let go again.
        let watch = &self.watch().await?;
        // The quarantine directory may be new, and made by us.
        let places = first.ledger.places;
        let look = self.look(order, watch, LedgerState { places, ..self.ledger.read()? }).await?;
        if !look.refusals.is_empty() {
            self.record_refusals(&look)?;
            return Ok(Swept { recovered, done, ..self.nothing_done(look) });
        }
        self.write_down(&look)?;
        let turns = guard::approve(&look.plan, look.situation(self.settings), order)
            .map_err(SweepError::Violations)?
            .into_turns();
        let pass = Pass { order, root, look: &look, quarantine: &locked.directory, walks };
        let Taken { done: taken, begun, stopped, halted } = self.take(turns, &pass).await?;
        done.extend(taken);
        lineage::note(self.ledger, &locked.directory, look.ledger.places);
        // The walks need no lock: a restore of another entry must not wait for a terabyte to be deleted.
        let Locked { directory, held } = locked;
        drop(held);
        let (mut ended, mut waiting) = (BTreeSet::new(), Vec::new());
        for deletion in begun {
            let entry = deletion.entry.clone();
            match self.finish(deletion, &directory).await {
                Ok(Finished::Deleted { bytes, written: Written::Now }) => {
                    done.push(Done::Deleted(entry.clone(), bytes));
                }
                Ok(Finished::Deleted { bytes, written: Written::Later }) => {
                    waiting.push(entry.clone());
                    done.push(Done::Deleted(entry.clone(), bytes));
                }
                Ok(Finished::Waiting) => waiting.push(entry.clone()),
                Ok(Finished::Closed) => {}
                Ok(Finished::Stopped) => done.push(Done::DeletionStopped(entry.clone())),
                Err(error) => done.push(Done::Failed(format!("deletion of entry {entry}"), error)),
            }
            ended.insert(entry);
        }
        let unwritten = self.catch_up(&look, &ended, waiting, &directory).await?;
        Ok(Swept { look, recovered, done, stopped, halted, unwritten })
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
}
