//! Quarantine in place: a volume that cannot be moved is only marked, by an entry without data. It can be used all the while, and
//! then it is released. Its end is the engine's own removal, asked for once, after all the evidence was asked for again.
//!
//! The removal deletes whatever is in the volume's own directory, so that must be nothing: see `witness::in_place` (I3).

use super::delete::Begun;
use super::mover::{Mover, StepError, now};
use super::quarantine::{Quarantined, is_same};
use super::recover::Recovered;
use crate::gc::entry::{EntryId, EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::ledger::Clock;
use crate::gc::spoken::spoken;
use crate::gc::volume::{Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::clock;
use crate::host::engine::{DeleteAnswer, Route, wire};
use crate::host::fault::{self, Point};
use crate::host::ledger::Written;
use crate::host::volumes_dir::Observed;
use crate::witness::in_place::obstacles;

impl Mover<'_> {
    /// Marks one volume. Nothing of it is touched.
    pub async fn mark_volume(&mut self, volume: &Volume, by_hand: bool) -> Result<Quarantined, StepError> {
        let observed = match self.look_in_place(&volume.name, &volume.identity).await? {
            Ok(observed) => observed,
            Err(why) => return Ok(Quarantined::Left(why)),
        };
        let manifest = Manifest {
            state: EntryState::InPlace,
            // What Docker's own space gets back.
            size_bytes: Some(0),
            ..self.make_manifest(volume, &observed, by_hand)?
        };
        if let Err(error) = self.quarantine.make_entry(&manifest) {
            // Whatever of it is there marks nothing.
            if let Err(second) = self.quarantine.drop_entry(&manifest.entry) {
                tracing::warn!(entry = manifest.entry.as_str(), error = %second, "an unfinished entry is left");
            }
            return Err(error.into());
        }
        self.ledger.forget_volume(&manifest.name)?;
        self.ledger.start_entry(&manifest.entry, &Clock::start(now()?))?;
        let why = if by_hand { "ordered by hand" } else { "nothing held it for its whole grace period" };
        self.record(Happening::Quarantined, &manifest, format!("in place: {why}"))?;
        Ok(Quarantined::Done(manifest.entry))
    }

    /// The same volume, held by nobody, and nothing in its own directory that the engine's removal could delete.
    async fn look_in_place(
        &self,
        name: &VolumeName,
        identity: &VolumeIdentity,
    ) -> Result<Result<Observed, String>, StepError> {
        let told = match self.engine.reading().volume(name).await? {
            None => return Ok(Err("the engine does not know it any more".to_owned())),
            Some(told) if !is_local(&told) => {
                return Ok(Err("the engine shows another driver or scope by now".to_owned()));
            }
            Some(told) => told,
        };
        if let Some(why) = self.reason_counted(name).await? {
            return Ok(Err(why));
        }
        if let Some(why) = self.who_needs(name).await? {
            return Ok(Err(why));
        }
        // Last: nothing lies between this look and what it is for.
        let observed = self.volumes.observe(name);
        if !is_same(&observed, identity) {
            return Ok(Err("it is another volume of that name by now".to_owned()));
        }
        if let Some(why) = observed.unmovable.iter().find(|why| **why != Unmovable::OptionsFile) {
            return Ok(Err(why.sentence().to_owned()));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "null means no options, and such a volume is not marked"
        )]
        let options = told.options.unwrap_or_default();
        if let Some(why) = obstacles(&self.volumes, name, &options).first() {
            return Ok(Err(why.sentence().to_owned()));
        }
        Ok(Ok(observed))
    }

    /// Has the engine remove a marked volume.
    pub(super) async fn end_in_place(&mut self, manifest: &Manifest) -> Result<Begun, StepError> {
        if let Some(why) = self.hold_on(&manifest.entry)? {
            return Ok(Begun::Kept(why));
        }
        let route = self.engine.reading().route(&self.volumes).await;
        let asked_directly = route == Route::Direct;
        // I5: written before anything is sent. It comes before the last look, so that no time passes between that and the order.
        let at = clock::read()?;
        let doubt = EntryState::InPlaceInDoubt { in_doubt_since: at.wall, asked_directly };
        let in_doubt = self.set_ordered(manifest, doubt, at)?;
        let refused = match self.last_look_in_place(manifest).await {
            Ok(None) => None,
            Ok(Some(why)) => Some(Ok(Begun::Kept(why))),
            Err(error) => Some(Err(error)),
        };
        if let Some(refused) = refused {
            // Nothing was sent.
            self.set_state(manifest, EntryState::InPlace)?;
            return refused;
        }
        let pass = || fault::at(Point::EngineRemove);
        let answer = match self.delete_or_stop(&in_doubt, route, pass).await {
            Ok(answer) => answer,
            Err(source) => {
                // Nothing was sent.
                self.set_state(manifest, EntryState::InPlace)?;
                return Err(StepError::Fault { action: "asking the engine to remove the volume", source });
            }
        };
        fault::at(Point::EngineRemoved)
            .map_err(|source| StepError::Fault { action: "writing down the engine's answer", source })?;
        match answer {
            DeleteAnswer::Forgotten => {
                self.end(manifest, "the engine removed the volume; what it mounted is untouched")?;
                Ok(Begun::Removed)
            }
            DeleteAnswer::Refused(message) => {
                self.set_state(manifest, EntryState::InPlace)?;
                Ok(Begun::Kept(format!("the engine refused to remove it: {message}")))
            }
            DeleteAnswer::Unknown(why) => {
                self.record(Happening::InDoubt, manifest, format!("the engine did not answer: {why}"))?;
                Ok(Begun::InDoubt(manifest.name.clone(), why))
            }
        }
    }

    async fn last_look_in_place(&self, manifest: &Manifest) -> Result<Option<String>, StepError> {
        fault::at(Point::InPlaceAskAgain)
            .map_err(|source| StepError::Fault { action: "asking for the evidence again", source })?;
        let identity = VolumeIdentity::Directory(manifest.volume_directory);
        Ok(self.look_in_place(&manifest.name, &identity).await?.err())
    }

    /// Takes a mark away; the volume is as it was all the while.
    pub fn release(&mut self, entry: &EntryId, why: &str) -> Result<(), StepError> {
        let manifest = self.quarantine.manifest(entry)?;
        if manifest.state != EntryState::InPlace {
            return Err(StepError::Refused(format!("entry {entry} is {}", spoken(manifest.state.word()))));
        }
        self.quarantine.drop_entry(&manifest.entry)?;
        self.ledger.forget_entry(&manifest.entry)?;
        self.record(Happening::Released, &manifest, why)
    }

    /// The same by an operator's order: the volume's clock starts anew, as after a restore.
    pub fn release_by_hand(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        self.release(&manifest.entry, "released by an operator")?;
        Ok(self.ledger.forget_volume(&manifest.name)?)
    }

    /// The volume is gone, and with it its entry: as with one that had data, its directory goes when the history says so.
    fn end(&mut self, manifest: &Manifest, why: &str) -> Result<(), StepError> {
        self.quarantine.begin_deletion(&manifest.entry)?;
        if self.record_end(Happening::Deleted, manifest, why)? == Written::Now {
            self.quarantine.drop_deleted(&manifest.entry)?;
        }
        Ok(())
    }

    /// I5: the engine may have been asked to remove the volume. Once no order can come any more, what it lists says what became of it.
    pub(super) async fn recover_in_place(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        if manifest.late_order_until(&clock::read()?).is_some() {
            return Ok(Recovered::Unresolved(
                "an order to remove it went through a proxy and may still arrive; a sweep looks again one hour after the order"
                    .to_owned(),
            ));
        }
        let identity = VolumeIdentity::Directory(manifest.volume_directory);
        let is_listed = self.engine.reading().volume(&manifest.name).await?.is_some();
        if is_listed && is_same(&self.observe(&manifest.name)?, &identity) {
            self.set_state(manifest, EntryState::InPlace)?;
            return Ok(Recovered::StillInPlace);
        }
        self.end(manifest, "the engine had removed the volume before it was interrupted")?;
        Ok(Recovered::Removed)
    }
}

/// Of the local driver, whatever its options.
fn is_local(told: &wire::Volume) -> bool {
    told.driver == "local" && told.scope == "local" && told.cluster_volume.is_none()
}
