//! The end of a quarantine: the engine is asked to forget the volume whose data is in an entry, and the entry's clock starts.

use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::io::Errno;

use super::mover::{Mover, StepError, now};
use super::quarantine::Quarantined;
use crate::gc::entry::{EntryId, EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::holds::HoldTarget;
use crate::gc::late_order;
use crate::gc::ledger::Clock;
use crate::gc::volume::VolumeIdentity;
use crate::host::clock;
use crate::host::engine::{DeleteAnswer, Route};
use crate::host::fault::{self, Point};
use crate::host::usage::{self, UsageOptions};

/// How long a volume is measured after it was quarantined. The size is for people; a volume too large for this has none.
const MEASURE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the engine's answer is still waited for once the program shall end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Whether the data may be renamed back when the engine is not asked, or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WayBack {
    /// No DELETE can come.
    Open,
    /// An earlier DELETE may still come (I5).
    Closed,
}

impl Mover<'_> {
    /// Asks the engine to forget the volume whose data is in the entry.
    pub(super) async fn forget(
        &mut self,
        manifest: Manifest,
        way_back: WayBack,
    ) -> Result<Quarantined, StepError> {
        // An earlier order that went through a proxy is not forgotten because this one does not.
        let earlier_by_proxy = matches!(manifest.state, EntryState::InDoubt { asked_directly: false, .. });
        let route = self.engine.reading().route(&self.volumes).await;
        let asked_directly = route == Route::Direct && !earlier_by_proxy;
        // I5: written before the DELETE is sent, so that a crash from here on never leads to a rename back under a DELETE that
        // is still on its way.
        let before = manifest.state.clone();
        let in_doubt = clock::read().map_err(StepError::from).and_then(|at| {
            let state = EntryState::InDoubt { in_doubt_since: at.wall, asked_directly };
            self.set_ordered(&manifest, state, at)
        });
        let manifest = match in_doubt {
            Ok(manifest) => manifest,
            Err(error) => {
                self.undo_if(way_back, &manifest)?;
                return Err(error);
            }
        };
        let pass = || fault::at(Point::EngineDelete);
        let answer = match self.delete_or_stop(&manifest, route, pass).await {
            Ok(answer) => answer,
            Err(source) => {
                // Nothing was sent.
                self.undo_if(way_back, &manifest)?;
                return Err(StepError::Fault { action: "asking the engine to forget the volume", source });
            }
        };
        fault::at(Point::EngineDeleted)
            .map_err(|source| StepError::Fault { action: "writing down the engine's answer", source })?;
        match (answer, way_back) {
            // The only order there was is answered: nothing can come any more.
            (DeleteAnswer::Forgotten, WayBack::Open) => {
                self.commit(&Manifest { state: before, ..manifest }).map(Quarantined::Done)
            }
            (DeleteAnswer::Forgotten, WayBack::Closed) => self.commit(&manifest).map(Quarantined::Done),
            (DeleteAnswer::Refused(message), WayBack::Open) => {
                let why = format!("the engine refused to forget it: {message}");
                self.undo(&manifest)?;
                self.record(Happening::RolledBack, &manifest, why.clone())?;
                Ok(Quarantined::Left(why))
            }
            (DeleteAnswer::Refused(message), WayBack::Closed) => {
                // This order is done with; the earlier one is as old as it was.
                self.set_state(&manifest, before)?;
                Ok(Quarantined::InDoubt(
                    manifest.entry,
                    format!("the engine refused to forget it: {message}"),
                ))
            }
            (DeleteAnswer::Unknown(why), _) => {
                self.record(Happening::InDoubt, &manifest, format!("the engine did not answer: {why}"))?;
                Ok(Quarantined::InDoubt(manifest.entry, why))
            }
        }
    }

    fn undo_if(&mut self, way_back: WayBack, manifest: &Manifest) -> Result<(), StepError> {
        match way_back {
            WayBack::Open => self.undo(manifest),
            WayBack::Closed => Ok(()),
        }
    }

    /// Waits for the engine's answer; when the program shall end, not for long: the manifest says `in_doubt`, so nothing is lost.
    ///
    /// # Errors
    ///
    /// When a test says so; then nothing was sent.
    pub(super) async fn delete_or_stop(
        &self,
        manifest: &Manifest,
        route: Route,
        pass: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<DeleteAnswer, Errno> {
        let ask = async {
            if let Err(error) = self.check_engine().await {
                return Ok(DeleteAnswer::Refused(format!("it was not asked: {error}")));
            }
            pass()?;
            Ok(self.engine.delete_volume(&manifest.name, route).await)
        };
        let give_up = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        tokio::select! {
            biased;
            answer = ask => answer,
            () = give_up => Ok(DeleteAnswer::Unknown("volgc was stopped while it waited".to_owned())),
        }
    }

    /// The engine has forgotten the volume: the entry is in quarantine and its clock starts.
    pub(super) fn commit(&mut self, manifest: &Manifest) -> Result<EntryId, StepError> {
        let name_unsafe_until = match manifest.state {
            EntryState::InDoubt { in_doubt_since, asked_directly: false } => {
                Some(late_order::by_wall_clock(in_doubt_since))
            }
            EntryState::InDoubt { .. }
            | EntryState::Moving
            | EntryState::Quarantined
            | EntryState::Restoring { .. }
            | EntryState::InPlace
            | EntryState::InPlaceInDoubt { .. } => None,
        };
        let known = Manifest { name_unsafe_until, ..manifest.clone() };
        let mut manifest = self.set_state(&known, EntryState::Quarantined)?;
        let now = now()?;
        self.ledger.forget_volume(&manifest.name)?;
        self.ledger.start_entry(&manifest.entry, &Clock::start(now))?;
        // I1: one that was given while the volume was moved, or that a wrong clock says is over.
        let volume = HoldTarget::Volume {
            name: manifest.name.clone(),
            identity: VolumeIdentity::Directory(manifest.volume_directory),
        };
        self.ledger.carry_over_holds(&volume, &HoldTarget::Entry { entry: manifest.entry.clone() })?;
        manifest.size_bytes = self.measure(&manifest.entry);
        if manifest.size_bytes.is_some() {
            self.quarantine.write_manifest(&manifest)?;
        }
        let why =
            if manifest.by_hand { "ordered by hand" } else { "nothing held it for its whole grace period" };
        self.record(Happening::Quarantined, &manifest, why)?;
        Ok(manifest.entry)
    }

    /// The allocated size of an entry's data, if it can be told in time.
    fn measure(&self, entry: &EntryId) -> Option<u64> {
        let data = match self.quarantine.open_data(entry) {
            Ok(data) => data,
            Err(error) => {
                tracing::warn!(%error, "cannot measure");
                return None;
            }
        };
        let deadline = clock::Deadline::after(MEASURE_PATIENCE);
        let usage = usage::measure(data.as_fd(), &UsageOptions::default(), &|| deadline.has_passed());
        usage.complete.then_some(usage.allocated_bytes)
    }
}
