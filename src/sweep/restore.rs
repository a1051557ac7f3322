//! Restore: the data is placed first, then the engine is asked to make the volume around it, so that a container that starts in
//! between finds the data and not an empty directory. Never over anything that exists (I7).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::delete::remember_name;
use super::mover::{Mover, StepError};
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::holds::HoldTarget;
use crate::gc::labels::{Carried, carried};
use crate::gc::late_order;
use crate::gc::spoken::spoken;
use crate::gc::volume::{VolumeIdentity, VolumeName};
use crate::host::clock;
use crate::host::fault::{self, Point};
use crate::host::quarantine::QuarantineError;

impl Mover<'_> {
    /// Restores an entry as the volume `name`.
    pub async fn restore(&mut self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        self.check_restorable(manifest, name).await?;
        self.place(manifest, name).await
    }

    /// From a name without a directory on.
    pub(super) async fn place(&mut self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        let restoring = self.set_state(manifest, EntryState::Restoring { restoring_to: name.clone() })?;
        if let Err(error) = self.quarantine.make_volume_directory(&self.volumes, name) {
            if !matches!(error, QuarantineError::Exists { .. }) {
                // It may have been made before the error.
                self.quarantine.remove_empty_volume_directory(&self.volumes, name)?;
            }
            self.set_state(manifest, EntryState::Quarantined)?;
            return Err(error.into());
        }
        if let Err(error) = self.quarantine.give_data(&self.volumes, &manifest.entry, name) {
            if self.quarantine.data_facts(&manifest.entry)?.is_none() {
                // I1: the data is placed, and a container may use it by now. The manifest says `restoring`: recovery goes on.
                tracing::warn!(
                    entry = manifest.entry.as_str(),
                    volume = name.as_str(),
                    "its data is in place; the next sweep finishes the restore"
                );
            } else {
                self.give_up(&restoring, name).await?;
            }
            return Err(error.into());
        }
        self.finish_restore(&restoring, name).await
    }

    /// Gives the name back to the volume that had to make room for a restore which failed, and tells both.
    pub(super) async fn swap_back(
        &mut self,
        failed: StepError,
        replaced: &EntryId,
        name: &VolumeName,
    ) -> Result<StepError, StepError> {
        let manifest = self.quarantine.manifest(replaced)?;
        let consequence = match self.restore(&manifest, name).await {
            Ok(()) => format!("volume {name} is as it was"),
            Err(error) => format!(
                "the volume that was {name} is in quarantine and could not be put back ({error}); `volgc restore {replaced}` \
                 brings it back"
            ),
        };
        Ok(StepError::Swap { source: Box::new(failed), consequence })
    }

    /// Whether the entry and the name are such that it could be restored, whatever has the name now.
    pub(super) fn check_entry(&self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        let refuse = |why: String| Err(StepError::Refused(why));
        match &manifest.state {
            EntryState::Quarantined => {}
            EntryState::Forgetting | EntryState::InDoubt { .. } => {
                return refuse(format!(
                    "entry {} is in doubt: the engine may still remove what is under its name. Run `volgc sweep` to resolve \
                     it, then restore",
                    manifest.entry
                ));
            }
            EntryState::InPlace | EntryState::InPlaceInDoubt { .. } => {
                return refuse(format!(
                    "entry {} is in place: its volume never left Docker, so there is nothing to restore",
                    manifest.entry
                ));
            }
            EntryState::Linking | EntryState::Moving | EntryState::Restoring { .. } => {
                return refuse(format!(
                    "entry {} is unfinished ({}); run `volgc sweep`, which finishes or undoes it",
                    manifest.entry,
                    spoken(manifest.state.word())
                ));
            }
        }
        if let Some(until) = self.name_unsafe_until(name)? {
            return refuse(format!(
                "an order to forget {name} went through a proxy and may still arrive there until {}. Restore under another name \
                 (`volgc restore {} --as NEW`), or wait",
                until.format("%H:%M:%SZ"),
                manifest.entry
            ));
        }
        if !name.is_accepted_by_api() {
            return refuse(format!(
                "the engine does not accept the name {:?}: use letters, digits, `_`, `.` and `-`, two or more",
                name.as_str()
            ));
        }
        self.check_data(manifest)
    }

    /// Whether the data is there and is the one that was set aside: what somebody put in its place is nobody's to restore, and
    /// half way through it would be too late to find out (I4).
    fn check_data(&self, manifest: &Manifest) -> Result<(), StepError> {
        let path = self.quarantine.path_of(&manifest.entry).join("data");
        match self.quarantine.data_facts(&manifest.entry)? {
            Some(facts) if facts.is_directory && facts.identity.is_same_inode(&manifest.data_directory) => {
                Ok(())
            }
            Some(_) => Err(QuarantineError::NotTheSame { path }.into()),
            None => Err(StepError::Refused(format!(
                "{} is not there: somebody took it out. Put it back and restore again, or end the entry with \
                 `volgc delete {}`",
                path.display(),
                manifest.entry
            ))),
        }
    }

    async fn check_restorable(&self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        self.check_entry(manifest, name)?;
        self.check_engine().await?;
        if self.engine.reading().volume(name).await?.is_some() {
            return Err(StepError::Refused(format!(
                "a volume named {name} exists. Restore under another name (`volgc restore {0} --as NEW`), or quarantine the \
                 present one and swap (`volgc restore {0} --replace`)",
                manifest.entry
            )));
        }
        Ok(())
    }

    /// Until when an order to forget a volume of this name may still arrive, whichever entry it was for.
    fn name_unsafe_until(&self, name: &VolumeName) -> Result<Option<DateTime<Utc>>, StepError> {
        let now = clock::read()?;
        let mut of_entries = Vec::new();
        for entry in self.quarantine.entries()? {
            let manifest = match entry {
                Entry::Known(manifest) => Some(*manifest),
                // Its name is remembered when it ends, and until then it says so itself.
                Entry::Deleting(id) => self.quarantine.deleting_manifest(&id)?,
                Entry::Damaged { .. } => None,
            };
            of_entries.extend(
                manifest
                    .filter(|manifest| manifest.name == *name)
                    .and_then(|manifest| manifest.late_order_until(&now)),
            );
        }
        let remembered = self.quarantine.unsafe_name(name)?.and_then(|remembered| {
            let until = late_order::by_wall_clock(remembered.since);
            late_order::by_both_clocks(until, Some(remembered.monotonic), &now)
        });
        Ok(of_entries.into_iter().chain(remembered).max())
    }

    /// From placed data on: the engine makes the volume, owner and mode are set again, the result is checked, the entry ends.
    pub(super) async fn finish_restore(
        &mut self,
        manifest: &Manifest,
        name: &VolumeName,
    ) -> Result<(), StepError> {
        if let Err(source) = fault::at(Point::EngineCreate) {
            // Nothing was sent.
            self.give_up(manifest, name).await?;
            return Err(StepError::Fault { action: "asking the engine to make the volume", source });
        }
        // Another engine is asked for nothing: the manifest says `restoring`, and recovery goes on with the right one.
        self.check_engine().await?;
        let kept = carried(&manifest.labels, &manifest.name, name).kept;
        match self.engine.create_volume(name, &manifest.driver, &kept).await {
            Ok(()) => {}
            // An authorization plugin is asked about the answer too, when the volume is made already.
            Err(error) if error.may_be_done() && self.engine.reading().volume(name).await?.is_some() => {}
            Err(error) if error.is_final_refusal() => {
                self.give_up(manifest, name).await?;
                return Err(error.into());
            }
            // No answer: the manifest says `restoring`, and recovery asks again.
            Err(error) => return Err(error.into()),
        }
        fault::at(Point::EngineCreated)
            .map_err(|source| StepError::Fault { action: "setting owner and mode", source })?;
        self.quarantine.set_ownership(&self.volumes, name, manifest)?;
        let Some(told) = self.engine.reading().volume(name).await? else {
            // I4: the manifest stays `restoring`, and recovery finds out where the data is.
            let why = format!("the engine made volume {name} and does not know it any more");
            return Err(StepError::Refused(why));
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "null means no labels; a volume that is gone is an error"
        )]
        let labels = told.labels.unwrap_or_default();
        self.carry_over_holds(manifest, name)?;
        remember_name(self.quarantine, manifest)?;
        self.quarantine.drop_entry(&manifest.entry)?;
        self.ledger.forget_entry(&manifest.entry)?;
        let detail = outcome(manifest, name, &labels);
        self.record(Happening::Restored, manifest, detail)
    }

    /// I1: who asked for an entry to be kept wants its volume to be kept.
    fn carry_over_holds(&mut self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        let Some(directory) = self.observe(name)?.directory else { return Ok(()) };
        let identity = VolumeIdentity::Directory(directory.identity);
        let volume = HoldTarget::Volume { name: name.clone(), identity };
        self.ledger.carry_over_holds(&HoldTarget::Entry { entry: manifest.entry.clone() }, &volume)?;
        Ok(())
    }

    /// Takes the data of a restore that cannot be finished back into quarantine. What somebody began to use meanwhile stays where
    /// it is (I1): the manifest says `restoring`, and recovery asks the engine again.
    async fn give_up(&mut self, manifest: &Manifest, name: &VolumeName) -> Result<(), StepError> {
        if self.quarantine.data_facts(&manifest.entry)?.is_none() {
            if self.is_used_already(manifest, name).await? {
                return Ok(());
            }
            self.quarantine.retake_data(&self.volumes, manifest, name)?;
            if self.is_used_already(manifest, name).await? {
                return Ok(self.quarantine.give_data(&self.volumes, &manifest.entry, name)?);
            }
        }
        self.quarantine.remove_empty_volume_directory(&self.volumes, name)?;
        self.set_state(manifest, EntryState::Quarantined)?;
        Ok(())
    }

    /// Whether somebody made a volume or a container of data that is being restored. A container needs no order of ours: the
    /// engine takes the directory for a volume when it is made.
    async fn is_used_already(&self, manifest: &Manifest, name: &VolumeName) -> Result<bool, StepError> {
        if self.engine.reading().volume(name).await?.is_some() {
            return Ok(true);
        }
        let held = self.held().await?;
        Ok(held.volumes.contains_key(name) || held.entries.contains_key(&manifest.entry))
    }
}

/// What the history says of a restore.
fn outcome(manifest: &Manifest, name: &VolumeName, labels: &BTreeMap<String, String>) -> String {
    let Carried { kept, left_out } = carried(&manifest.labels, &manifest.name, name);
    if *labels != kept {
        // The engine adopted the directory before it was asked, as when it was restarted in between.
        return format!("as volume {name}, but the engine had adopted it with other labels");
    }
    if left_out.is_empty() {
        return format!("as volume {name}");
    }
    let keys = left_out.join(", ");
    format!("as volume {name}, without labels that belong to the name {}: {keys}", manifest.name)
}
