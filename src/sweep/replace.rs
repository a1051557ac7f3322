//! An operator's restore: of data that was moved, of a mark that is taken away, and of a volume in the place of another.

use std::sync::Arc;

use super::look::look;
use super::mover::StepError;
use super::quarantine::Quarantined;
use super::{SweepError, Sweeper, look::Look};
use crate::gc::brakes::Doubt;
use crate::gc::entry::{EntryId, EntryState, Manifest};
use crate::gc::guard;
use crate::gc::plan::Order;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::host::quarantine::QuarantineDir;
use crate::host::volumes_dir::VolumesDir;

/// What a restore does with a volume that has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It refuses.
    Refuse,
    /// It quarantines that volume first.
    Quarantine,
}

/// What became of a restore.
#[derive(Debug)]
pub enum Restored {
    /// The volume is back.
    Done {
        /// The entry that it was.
        manifest: Box<Manifest>,
        /// Its name now.
        name: VolumeName,
        /// The entry that the volume which had the name became.
        replaced: Option<EntryId>,
    },
    /// It was in place: its mark is gone, and the volume is as it was all the while.
    Released(Box<Manifest>),
    /// A brake held.
    Refused(Box<Look>),
}

impl Sweeper<'_> {
    /// Restores an entry under a name; with `replace`, the volume that has the name now is quarantined first.
    pub async fn restore(
        &mut self,
        entry: &EntryId,
        target: Option<VolumeName>,
        replace: Replace,
    ) -> Result<Restored, SweepError> {
        let now = clock::read()?;
        let remembered = self.ledger.read()?;
        let nothing = Order::Delete(std::collections::BTreeSet::new());
        let look = look(self.engine.reading(), &remembered, self.settings, &nothing, now).await?;
        // To bring data back needs the right engine; whether it sees all references does not matter.
        let is_doubtful = look.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine);
        let (false, Some(root)) = (is_doubtful, look.observation.directory.clone()) else {
            return Ok(Restored::Refused(Box::new(look)));
        };
        let Some(locked) = self.lock(&root, false).await? else {
            return Err(StepError::Refused(format!("there is no quarantine, so no entry {entry}")).into());
        };
        let mut mover = self.mover(&root, &look, &locked.directory)?;
        mover.recover().await?;
        let manifest = mover.quarantine.manifest(entry)?;
        if manifest.state == EntryState::InPlace {
            if let (None, Replace::Refuse) = (&target, replace) {
                mover.release_by_hand(&manifest)?;
                self.ledger.flush()?;
                return Ok(Restored::Released(Box::new(manifest)));
            }
            let why = format!(
                "entry {entry} is in place: volume {} never left Docker. `volgc restore {entry}`, without more, releases it",
                manifest.name
            );
            return Err(StepError::Refused(why).into());
        }
        let name = target.unwrap_or_else(|| manifest.name.clone());
        // Nothing is taken away for a restore that is going to be refused.
        mover.check_entry(&manifest, &name)?;
        let replaced = match replace {
            Replace::Refuse => None,
            Replace::Quarantine => self.make_room(&root, &locked.directory, &name).await?,
        };
        let mut mover = self.mover(&root, &look, &locked.directory)?;
        if let Err(error) = mover.restore(&manifest, &name).await {
            return Err(match replaced {
                None => error.into(),
                Some(replaced) => mover.swap_back(error, &replaced, &name).await?.into(),
            });
        }
        self.ledger.flush()?;
        Ok(Restored::Done { manifest: Box::new(manifest), name, replaced })
    }

    /// Quarantines the volume that has a name now, by all the rules, so that another can be restored under it.
    async fn make_room(
        &mut self,
        root: &Arc<VolumesDir>,
        directory: &QuarantineDir,
        name: &VolumeName,
    ) -> Result<Option<EntryId>, SweepError> {
        let order = Order::Quarantine(std::iter::once(name.clone()).collect());
        let now = clock::read()?;
        let remembered = self.ledger.read()?;
        let look = look(self.engine.reading(), &remembered, self.settings, &order, now).await?;
        let Some(volume) = look.observation.inventory.volume(name) else { return Ok(None) };
        if let Some(refusal) = look.refusals.first() {
            let why = format!("volume {name} cannot be replaced: {}", refusal.text);
            return Err(StepError::Refused(why).into());
        }
        let steps = guard::approve(&look.plan, look.situation(self.settings), &order)
            .map_err(SweepError::Violations)?
            .into_steps();
        if steps.is_empty() {
            let why = look.plan.volumes.get(name).map_or("it is kept", |verdict| &verdict.detail);
            return Err(StepError::Refused(format!("volume {name} cannot be replaced: {why}")).into());
        }
        if let Some(why) = volume.unmovable.first() {
            // A mark would leave it where it is.
            let why = format!("volume {name} cannot be replaced, as it cannot be moved: {}", why.sentence());
            return Err(StepError::Refused(why).into());
        }
        match self.mover(root, &look, directory)?.quarantine_volume(volume, true).await? {
            Quarantined::Done(entry) => Ok(Some(entry)),
            Quarantined::Left(why) | Quarantined::InDoubt(_, why) => {
                Err(StepError::Refused(format!("volume {name} cannot be replaced: {why}")).into())
            }
        }
    }
}
