//! Recovery: what a crash left unfinished is finished or undone, before anything else is looked at. The manifest says how far a
//! move had come; where the data is says the rest.

use std::time::Duration;

use super::delete::remember_name;
use super::forget::WayBack;
use super::mover::{Mover, StepError};
use super::quarantine::{Quarantined, held_by, is_plain};
use crate::gc::entry::{Entry, EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::volume::{Class, Unmovable, VolumeName};
use crate::host::clock;
use crate::host::engine::wire;
use crate::host::fault::{self, Setting};
use crate::host::ledger::Written;
use crate::host::pulse;
use crate::host::quarantine::QuarantineError;

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

impl Mover<'_> {
    /// Recovers every unfinished entry. A failure with one does not keep the others from being recovered.
    pub async fn recover(&mut self) -> Result<Vec<(Manifest, Result<Recovered, StepError>)>, StepError> {
        self.check_engine().await?;
        self.quarantine.drop_empty_entries()?;
        let mut results = Vec::new();
        let entries = self.quarantine.entries()?;
        if entries.iter().any(is_in_doubt) {
            // One wait for all of them: its first answer, and after a while its last one.
            self.engine.reading().info().await?;
            tokio::time::sleep(settled()).await;
        }
        for entry in entries {
            let Entry::Known(manifest) = entry else { continue };
            pulse::beat();
            let result = match &manifest.state {
                EntryState::Quarantined | EntryState::InPlace => continue,
                EntryState::Moving => self.recover_moving(&manifest).await,
                EntryState::InDoubt { .. } => self.recover_in_doubt(&manifest).await,
                EntryState::InPlaceInDoubt { .. } => self.recover_in_place(&manifest).await,
                EntryState::Restoring { restoring_to } => {
                    self.recover_restoring(&manifest, restoring_to).await
                }
            };
            if let Err(error) = &result {
                tracing::warn!(entry = manifest.entry.as_str(), volume = manifest.name.as_str(), %error, "recovery failed");
            }
            results.push((*manifest, result));
        }
        Ok(results)
    }

    /// The engine was never asked to forget the volume.
    async fn recover_moving(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        if self.quarantine.data_facts(&manifest.entry)?.is_none() {
            // The rename was not done, or was undone: the volume has its data.
            self.quarantine.sync_put_back(&self.volumes, manifest)?;
            self.end_undone(manifest)?;
            return Ok(Recovered::Undone);
        }
        match self.engine.reading().volume(&manifest.name).await? {
            Some(told) => self.put_back_or_keep(manifest, &told).await,
            None => self.engine_lost_it(manifest).await,
        }
    }

    /// The engine lists the volume; its data goes back unless the name is another volume's by now.
    async fn put_back_or_keep(
        &mut self,
        manifest: &Manifest,
        told: &wire::Volume,
    ) -> Result<Recovered, StepError> {
        if is_plain(told) {
            if self.observe(&manifest.name)?.directory.is_none() {
                // The engine took a directory for a volume that was removed since; see `commit_unlisted`.
                self.place(manifest, &manifest.name).await?;
                return Ok(Recovered::Restored);
            }
            match self.quarantine.put_back(&self.volumes, manifest) {
                Ok(()) => {
                    self.end_undone(manifest)?;
                    return Ok(Recovered::Undone);
                }
                Err(QuarantineError::Exists { .. } | QuarantineError::NotTheSame { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The name runs on other data: this data is in quarantine, and the plan says so.
        self.commit(manifest)?;
        Ok(Recovered::Committed)
    }

    /// The engine does not know the volume although it was never asked to forget it: it never did, or from 29.4 on it dropped a
    /// volume without `_data` when it started. When something still wants the volume it is restored, else it is in quarantine.
    pub(super) async fn engine_lost_it(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        let held = self.held().await?;
        let wanted = held.volumes.contains_key(&manifest.name) || held.entries.contains_key(&manifest.entry);
        if wanted && manifest.class == Class::Unlisted && self.put_back_unlisted(manifest)? {
            return Ok(Recovered::Undone);
        }
        self.quarantine.remove_empty_volume_directory(&self.volumes, &manifest.name)?;
        if !wanted {
            return self.commit_unlisted(manifest).await;
        }
        self.commit(manifest)?;
        let manifest = self.quarantine.manifest(&manifest.entry)?;
        self.restore(&manifest, &manifest.name.clone()).await?;
        Ok(Recovered::Restored)
    }

    /// What the engine does not list goes back as it was, when its directory is there still.
    fn put_back_unlisted(&mut self, manifest: &Manifest) -> Result<bool, StepError> {
        if self.observe(&manifest.name)?.directory.is_none() {
            return Ok(false);
        }
        match self.quarantine.put_back(&self.volumes, manifest) {
            Ok(()) => {
                self.end_undone(manifest)?;
                Ok(true)
            }
            Err(QuarantineError::Exists { .. } | QuarantineError::NotTheSame { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// I5: the engine may have been asked, and may still do it. Going forward is always safe, because the data is out of its
    /// reach; going back needs proof that no DELETE can come any more.
    async fn recover_in_doubt(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        if self.quarantine.data_facts(&manifest.entry)?.is_none() {
            // The engine had refused, and the data was put back.
            self.quarantine.sync_put_back(&self.volumes, manifest)?;
            self.end_undone(manifest)?;
            return Ok(Recovered::Undone);
        }
        let Some(told) = self.engine.reading().volume(&manifest.name).await? else {
            self.quarantine.remove_empty_volume_directory(&self.volumes, &manifest.name)?;
            self.commit(manifest)?;
            return Ok(Recovered::Committed);
        };
        if !self.is_still_its_husk(manifest, &told)? {
            self.commit(manifest)?;
            return Ok(Recovered::Committed);
        }
        let late_order = manifest.late_order_until(&clock::read()?);
        let way_back = if late_order.is_none() { WayBack::Open } else { WayBack::Closed };
        let holder =
            self.held().await?.volumes.get(&manifest.name).and_then(|held| held.first()).map(held_by);
        let objection = match holder {
            Some(holder) => Some(holder),
            None => self.lying_beside(manifest)?,
        };
        match (objection, way_back) {
            (None, _) => Ok(match self.forget(manifest.clone(), way_back).await? {
                Quarantined::Done(_) => Recovered::Committed,
                Quarantined::Left(_) => Recovered::Undone,
                Quarantined::InDoubt(_, why) => Recovered::Unresolved(why),
            }),
            (Some(_), WayBack::Open) => self.put_back_or_keep(manifest, &told).await,
            (Some(objection), WayBack::Closed) => Ok(Recovered::Unresolved(format!(
                "{objection}, but an order to forget it went through a proxy and may still arrive; its data is kept in {}, and a \
                 sweep puts it back one hour after the order",
                self.shown(&manifest.entry)
            ))),
        }
    }

    /// The volume has its data: the entry goes when the history says so.
    fn end_undone(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        if self.record_end(Happening::RolledBack, manifest, "its move had been interrupted")? == Written::Now
        {
            self.quarantine.drop_entry(&manifest.entry)?;
        }
        Ok(())
    }

    /// Whether the engine still lists the very volume whose data is in the entry, without data.
    pub(super) fn is_still_its_husk(
        &self,
        manifest: &Manifest,
        told: &wire::Volume,
    ) -> Result<bool, StepError> {
        let seen = self.observe_data(&manifest.name)?;
        Ok(is_plain(told)
            && seen.data.is_none()
            && seen.directory.is_some_and(|facts| facts.identity.is_same_inode(&manifest.volume_directory)))
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

fn is_in_doubt(entry: &Entry) -> bool {
    match entry {
        Entry::Known(manifest) => {
            matches!(manifest.state, EntryState::InDoubt { .. } | EntryState::InPlaceInDoubt { .. })
        }
        Entry::Deleting(_) | Entry::Damaged { .. } => false,
    }
}
