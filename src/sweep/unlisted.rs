//! The end of the quarantine of a directory that the engine does not list. It is not asked to forget anything: it must not know the
//! name, neither right before the data is renamed nor after. Then the emptied directory is removed.
//!
//! The state in the manifest is `moving` until all of that is done, so a crash leads to `recover`, which asks the engine as well.

use super::mover::{Mover, StepError};
use super::quarantine::Quarantined;
use super::recover::Recovered;
use crate::gc::entry::Manifest;
use crate::gc::history::Happening;
use crate::gc::volume::VolumeName;
use crate::host::fault::{self, Point};

impl Mover<'_> {
    /// Why a directory that the engine did not list must not be moved: it lists it by now, as after a create of the name, which
    /// adopts the directory.
    pub(super) async fn reason_against_unlisted(
        &self,
        name: &VolumeName,
    ) -> Result<Option<String>, StepError> {
        let told = self.engine.reading().volume(name).await?;
        Ok(told.map(|_| "the engine lists it by now".to_owned()))
    }

    /// With the data in the entry and nobody holding it: commits, unless the engine got to know the name.
    #[expect(
        clippy::disallowed_methods,
        reason = "without proof that the directory is there, the entry stays"
    )]
    pub(super) async fn settle_unlisted(&mut self, manifest: &Manifest) -> Result<Quarantined, StepError> {
        let asked = match fault::at(Point::UnlistedAskAgain) {
            Ok(()) => self.reason_against_unlisted(&manifest.name).await,
            Err(source) => Err(StepError::Fault { action: "asking the engine again", source }),
        };
        match asked {
            Ok(None) => {}
            Ok(Some(why)) => {
                self.undo(manifest)?;
                self.record(Happening::RolledBack, manifest, why.clone())?;
                return Ok(Quarantined::Left(why));
            }
            // I2: not to be told is not to be told that it does not know.
            Err(error) => {
                self.undo(manifest)?;
                let why = format!("the engine could not be asked again: {error}");
                self.record(Happening::RolledBack, manifest, why)?;
                return Err(error);
            }
        }
        if let Err(error) = self.quarantine.remove_empty_volume_directory(&self.volumes, &manifest.name) {
            // Where it is gone and only the sync failed, there is no way back, and recovery goes on.
            if self.observe(&manifest.name).is_ok_and(|seen| seen.directory.is_some()) {
                self.undo(manifest)?;
            }
            return Err(error.into());
        }
        match self.commit_unlisted(manifest).await? {
            Recovered::Restored => Ok(Quarantined::Left("the engine lists it by now".to_owned())),
            Recovered::Committed
            | Recovered::Undone
            | Recovered::Removed
            | Recovered::StillInPlace
            | Recovered::Unresolved(_) => Ok(Quarantined::Done(manifest.entry.clone())),
        }
    }

    /// With the emptied directory gone: commits. An engine before 29.4 that was started in between took the directory for a volume,
    /// and now lists one that has none; it gets its data back.
    pub(super) async fn commit_unlisted(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        fault::at(Point::UnlistedAskLast)
            .map_err(|source| StepError::Fault { action: "asking the engine once more", source })?;
        let is_listed = self.engine.reading().volume(&manifest.name).await?.is_some();
        if is_listed && self.observe(&manifest.name)?.directory.is_none() {
            self.place(manifest, &manifest.name).await?;
            return Ok(Recovered::Restored);
        }
        self.commit(manifest)?;
        Ok(Recovered::Committed)
    }
}
