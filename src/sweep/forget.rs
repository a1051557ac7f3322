//! The end of a quarantine: the order to the engine, and the clock of the entry.

use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::io::Errno;

use super::mover::{Mover, StepError, now};
use crate::gc::entry::{EntryId, Manifest};
use crate::gc::history::Happening;
use crate::gc::holds::HoldTarget;
use crate::gc::ledger::Clock;
use crate::gc::volume::VolumeIdentity;
use crate::host::clock;
use crate::host::engine::{DeleteAnswer, Route};
use crate::host::usage::{self, UsageOptions};

/// How long a volume is measured after it was quarantined. The size is for people; a volume too large for this has none.
const MEASURE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the engine's answer is still waited for once the program shall end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Mover<'_> {
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
            // I6: by now another engine may listen at the address.
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

    /// The engine has forgotten the volume, and the manifest says so: the entry's clock starts.
    pub(super) fn commit(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        let now = now()?;
        self.ledger.forget_volume(&manifest.name)?;
        self.ledger.start_entry(&manifest.entry, &Clock::start(now))?;
        // I1: one that was given while the volume was moved, or that a wrong clock says is over.
        let volume = HoldTarget::Volume {
            name: manifest.name.clone(),
            identity: VolumeIdentity::Directory(manifest.volume_directory),
        };
        self.ledger.carry_over_holds(&volume, &HoldTarget::Entry { entry: manifest.entry.clone() })?;
        let why =
            if manifest.by_hand { "ordered by hand" } else { "nothing held it for its whole grace period" };
        self.record(Happening::Quarantined, manifest, why)
    }

    /// The allocated size of an entry's data, if it can be told in time.
    pub(super) fn measure(&self, entry: &EntryId) -> Option<u64> {
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
