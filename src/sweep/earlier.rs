//! Recovery of what volgc 0.1 left unfinished. It renamed the data into the entry first, so that the volume was without data while the
//! engine was asked to forget it. This file can go once nobody updates from that version any more.

use super::mover::{Mover, StepError};
use super::quarantine::{held_by, is_plain};
use super::recover::Recovered;
use crate::gc::entry::{EntryState, Manifest};
use crate::gc::history::Happening;
use crate::gc::late_order;
use crate::gc::volume::Class;
use crate::host::clock;
use crate::host::engine::wire;
use crate::host::ledger::Written;
use crate::host::quarantine::QuarantineError;

impl Mover<'_> {
    /// The engine was never asked to forget the volume.
    pub(super) async fn recover_moving(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
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
        self.settle(manifest)?;
        Ok(Recovered::Committed)
    }

    /// The engine does not know the volume although it was never asked to forget it: it never did, or from 29.4 on it dropped a
    /// volume without `_data` when it started. When something still wants the volume it is restored, else it is in quarantine.
    async fn engine_lost_it(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        let held = self.held().await?;
        let wanted = held.volumes.contains_key(&manifest.name) || held.entries.contains_key(&manifest.entry);
        if wanted && manifest.class == Class::Unlisted && self.put_back_unlisted(manifest)? {
            return Ok(Recovered::Undone);
        }
        self.quarantine.remove_empty_volume_directory(&self.volumes, &manifest.name)?;
        self.settle(manifest)?;
        if !wanted {
            return Ok(Recovered::Committed);
        }
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
    pub(super) async fn recover_in_doubt(&mut self, manifest: &Manifest) -> Result<Recovered, StepError> {
        if self.quarantine.data_facts(&manifest.entry)?.is_none() {
            // The engine had refused, and the data was put back.
            self.quarantine.sync_put_back(&self.volumes, manifest)?;
            self.end_undone(manifest)?;
            return Ok(Recovered::Undone);
        }
        let Some(told) = self.engine.reading().volume(&manifest.name).await? else {
            self.quarantine.remove_empty_volume_directory(&self.volumes, &manifest.name)?;
            self.settle(manifest)?;
            return Ok(Recovered::Committed);
        };
        if !self.is_still_its_husk(manifest, &told)? {
            self.settle(manifest)?;
            return Ok(Recovered::Committed);
        }
        if manifest.late_order_until(&clock::read()?).is_none() {
            return self.put_back_or_keep(manifest, &told).await;
        }
        let held = self.held().await?;
        let holder = held.volumes.get(&manifest.name).and_then(|held| held.first()).map(held_by);
        Ok(Recovered::Unresolved(format!(
            "{}an order to forget it went through a proxy and may still arrive; its data is kept in {}, and a sweep puts it back one \
             hour after the order",
            holder.map_or_else(String::new, |holder| format!("{holder}, but ")),
            self.shown(&manifest.entry)
        )))
    }

    /// The entry is in quarantine. An order through a proxy may still come for its name.
    fn settle(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        let name_unsafe_until = match manifest.state {
            EntryState::InDoubt { in_doubt_since, asked_directly: false } => {
                Some(late_order::by_wall_clock(in_doubt_since))
            }
            EntryState::InDoubt { .. }
            | EntryState::Linking
            | EntryState::Forgetting
            | EntryState::Moving
            | EntryState::Quarantined
            | EntryState::Restoring { .. }
            | EntryState::InPlace
            | EntryState::InPlaceInDoubt { .. } => None,
        };
        let size_bytes = self.measure(&manifest.entry);
        let known = Manifest { size_bytes, name_unsafe_until, ..manifest.clone() };
        let settled = self.set_state(&known, EntryState::Quarantined)?;
        self.commit(&settled)
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
    fn is_still_its_husk(&self, manifest: &Manifest, told: &wire::Volume) -> Result<bool, StepError> {
        let seen = self.observe_data(&manifest.name)?;
        Ok(is_plain(told)
            && seen.data.is_none()
            && seen.directory.is_some_and(|facts| facts.identity.is_same_inode(&manifest.volume_directory)))
    }
}
