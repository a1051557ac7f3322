//! What every step that moves data works with: the handles that can change something, and the question to the witnesses.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::gc::entry::{EntryId, EntryState, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::Hold;
use crate::gc::ledger::{ClockReading, LedgerState};
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::clock;
use crate::host::directory::is_without_room;
use crate::host::engine::{ChangingEngine, EngineError};
use crate::host::ledger::{Ledger, LedgerError, Written};
use crate::host::quarantine::{DeletionError, QuarantineDir, QuarantineError};
use crate::host::volumes_dir::{Observed, VolumesDir};
use crate::witness::EvidenceError;
use crate::witness::index::VolumeIndex;
use crate::witness::observe::{Context, Held, ask_again};

/// The handles of one sweep or command, made while its lock is held.
#[derive(Debug)]
pub struct Mover<'a> {
    /// The engine.
    pub engine: &'a ChangingEngine,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// The volumes directory.
    pub volumes: Arc<VolumesDir>,
    /// The quarantine directory.
    pub quarantine: &'a QuarantineDir,
    /// The volumes of the observation that the plan was made from.
    pub index: Arc<VolumeIndex>,
    /// The ID of the engine that was looked at.
    pub engine_id: String,
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// What is remembered, after the look that the plan was made from.
    pub remembered: &'a LedgerState,
    /// The holds as they are now: an operator may give one while a sweep runs.
    pub holds: Vec<Hold>,
    /// Requested when the program shall end: a step in hand is finished, no other is begun.
    pub stop: CancellationToken,
}

/// Why a step was not done. Nothing is lost by any of them.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// In the quarantine or the volume's directory.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The evidence is not complete any more.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A deletion was not finished.
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    /// A clock or `/proc` could not be read.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A fault that a test ordered at an engine call.
    #[error("{action} was not done: {source}")]
    Fault {
        /// What was to be done.
        action: &'static str,
        /// The ordered error.
        source: rustix::io::Errno,
    },
    /// A restore in the place of another volume failed.
    #[error("{source}; {consequence}")]
    Swap {
        /// Why it failed.
        source: Box<StepError>,
        /// Where the other volume is.
        consequence: String,
    },
    /// One failure of many steps that were taken together.
    #[error(transparent)]
    Shared(#[from] Arc<StepError>),
    /// The situation forbids it; the sentence says what to do.
    #[error("{0}")]
    Refused(String),
}

impl StepError {
    /// Whether it is about no volume or entry in particular, so that every other step would meet it too.
    pub(super) fn concerns_all(&self) -> bool {
        match self {
            Self::Evidence(_) | Self::Engine(_) | Self::Ledger(_) | Self::System(_) | Self::Fault { .. } => {
                true
            }
            Self::Quarantine(_) | Self::Deletion(_) | Self::Refused(_) => self.is_without_room(),
            Self::Swap { source, .. } => source.concerns_all(),
            Self::Shared(error) => error.concerns_all(),
        }
    }

    /// Whether there is no room for what a move needs (I15).
    pub(super) fn is_without_room(&self) -> bool {
        match self {
            Self::Quarantine(QuarantineError::Io { source, .. }) => is_without_room(*source),
            Self::Ledger(error) => error.stops_writing(),
            Self::Quarantine(_)
            | Self::Deletion(_)
            | Self::Evidence(_)
            | Self::Engine(_)
            | Self::System(_)
            | Self::Fault { .. }
            | Self::Refused(_) => false,
            Self::Swap { source, .. } => source.is_without_room(),
            Self::Shared(error) => error.is_without_room(),
        }
    }
}

impl Mover<'_> {
    /// Asks every witness again. What the observation knew of directories is remembered, so that the volume is also recognised by the
    /// identity of those that are already renamed away.
    pub(super) async fn held(&self) -> Result<Held, StepError> {
        let context = Context {
            holds: &self.holds,
            acknowledged: &self.settings.acknowledged_containers,
            passing: &self.settings.policy.passing,
            now: now()?,
        };
        let held = ask_again(self.engine.reading(), &self.index, context).await?;
        self.check_engine().await?;
        Ok(held)
    }

    /// Refuses when the engine that answers is not the one that was looked at: since then it may have been started anew with another
    /// docker root, and what it says and does is about other volumes of these names (I1, I6).
    pub(super) async fn check_engine(&self) -> Result<(), StepError> {
        let info = self.engine.reading().info().await?;
        let root = self.volumes.root_path();
        if info.id == self.engine_id && Path::new(&info.docker_root_dir) == root {
            return Ok(());
        }
        Err(StepError::Refused(format!(
            "the engine that answers is {} with root {} by now, and it was {} with root {} when this began; run the command again",
            info.id,
            info.docker_root_dir,
            self.engine_id,
            root.display()
        )))
    }

    /// Looks at the directory of a volume. One that cannot be looked at is an error, and never one that is not there (I2).
    pub(super) fn observe(&self, name: &VolumeName) -> Result<Observed, StepError> {
        let seen = self.volumes.observe(name);
        // What something is mounted on is not touched, and what lies below the mount is not seen.
        let is_hidden = seen.directory.is_none() && seen.unmovable.contains(&Unmovable::Mounted);
        if is_hidden
            || seen.unmovable.iter().any(|why| matches!(why, Unmovable::Unreadable | Unmovable::NoAnswer))
        {
            return Err(self.unclear(name));
        }
        Ok(seen)
    }

    /// The same, where it matters whether there is data: below a mount there may be.
    pub(super) fn observe_data(&self, name: &VolumeName) -> Result<Observed, StepError> {
        let seen = self.observe(name)?;
        if seen.data.is_none() && seen.unmovable.contains(&Unmovable::Mounted) {
            return Err(self.unclear(name));
        }
        Ok(seen)
    }

    pub(super) fn unclear(&self, name: &VolumeName) -> StepError {
        StepError::Refused(format!(
            "{} cannot be looked at, so it is not known whether the data of volume {name} is there; mend it, and the next sweep goes on",
            self.volumes.path_of(name).display()
        ))
    }

    /// Changes the state in a manifest, durably.
    pub(super) fn set_state(&self, manifest: &Manifest, state: EntryState) -> Result<Manifest, StepError> {
        let changed = Manifest { state, ..manifest.clone() };
        self.quarantine.write_manifest(&changed)?;
        Ok(changed)
    }

    /// The same right before an order to forget the volume is sent: its time counts by both clocks (I5).
    pub(super) fn set_ordered(
        &self,
        manifest: &Manifest,
        state: EntryState,
        at: ClockReading,
    ) -> Result<Manifest, StepError> {
        self.set_state(&Manifest { ordered_at: Some(at), ..manifest.clone() }, state)
    }

    /// Writes one line of history about an entry.
    pub(super) fn record(
        &mut self,
        happening: Happening,
        manifest: &Manifest,
        detail: impl Into<String>,
    ) -> Result<(), StepError> {
        let line = line(happening, manifest, detail.into())?;
        Ok(self.ledger.record_or_keep(&[line])?)
    }

    /// Writes the line with which an entry ends, once. While it cannot be written, whatever proves the end has to stay.
    pub(super) fn record_end(
        &mut self,
        happening: Happening,
        manifest: &Manifest,
        detail: impl Into<String>,
    ) -> Result<Written, StepError> {
        let line = line(happening, manifest, detail.into())?;
        Ok(self.ledger.end_entry(&manifest.entry, &line)?)
    }

    /// The path of an entry, for messages.
    pub(super) fn shown(&self, entry: &EntryId) -> String {
        self.quarantine.path_of(entry).display().to_string()
    }
}

/// A line of history about an entry, which is also logged.
fn line(happening: Happening, manifest: &Manifest, detail: String) -> Result<HistoryLine, StepError> {
    tracing::info!(
        event = happening.word(),
        volume = manifest.name.as_str(),
        entry = manifest.entry.as_str(),
        "{detail}"
    );
    Ok(HistoryLine {
        at: now()?,
        happening,
        volume: Some(manifest.name.clone()),
        entry: Some(manifest.entry.clone()),
        detail,
        last_holder: manifest.last_holder.clone(),
        size_bytes: manifest.size_bytes,
    })
}

/// The time.
pub(super) fn now() -> Result<DateTime<Utc>, StepError> {
    Ok(clock::read()?.wall)
}
