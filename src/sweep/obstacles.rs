//! What stands in the way of a step for good: looked at before a deletion is begun, remembered, and shown by every look from then on as
//! the reason to keep.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::io::Errno;

use super::look::Look;
use super::mover::{Mover, StepError, now};
use super::{SweepError, Sweeper};
use crate::gc::entry::{Entry, EntryId};
use crate::gc::inventory::Inventory;
use crate::gc::obstacles::{NotRenamed, Obstacles, Undeletable};
use crate::gc::plan::{Order, Quarantine};
use crate::gc::verdict::Step;
use crate::gc::volume::{Unmovable, Volume, VolumeName};
use crate::host::deletable::{self, Survey};
use crate::host::pulse;
use crate::host::quarantine::{QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;

/// What was found in the data of entries before their deletions.
pub(super) type Surveys = BTreeMap<EntryId, Survey>;

impl Sweeper<'_> {
    /// Looks through the data of what is due for deletion, without the lock: a restore of another entry must not wait for it.
    pub(super) async fn survey(&self, look: &Look, root: &Arc<VolumesDir>) -> Result<Surveys, SweepError> {
        let mut surveys = Surveys::new();
        if !look.refusals.is_empty() {
            return Ok(surveys);
        }
        let Some(directory) = QuarantineDir::open_existing(root.root(), root.root_path())? else {
            return Ok(surveys);
        };
        for step in look.plan.steps() {
            let Step::Delete(entry) = step else { continue };
            if self.stop.is_cancelled() {
                break;
            }
            match survey(&directory, &entry, self.stop.clone()).await {
                Ok(surveyed) => {
                    surveys.insert(entry, surveyed);
                }
                // I14: its deletion will say so, and nothing else waits for it.
                Err(error) => tracing::debug!(%error, entry = entry.as_str(), "cannot be looked through"),
            }
        }
        Ok(surveys)
    }
}

impl Mover<'_> {
    /// What keeps the data of an entry from being deleted whole, in words. It is remembered.
    pub(super) async fn obstacle_to(
        &mut self,
        entry: &EntryId,
        surveys: &Surveys,
    ) -> Result<Option<String>, StepError> {
        let found = match surveys.get(entry) {
            Some(found) => found.clone(),
            // It became due since then.
            None => survey(self.quarantine, entry, self.stop.clone()).await?,
        };
        match found {
            Survey::Deletable => Ok(None),
            Survey::Stopped => Ok(Some("volgc was stopped while it looked through its data".to_owned())),
            Survey::Obstacle { path, cause } => {
                let undeletable = Undeletable { path, cause, found_at: now()? };
                self.ledger.remember_undeletable(entry, &undeletable)?;
                Ok(Some(sentence(self.quarantine, entry, &undeletable)?))
            }
        }
    }

    /// Remembers that the data of a volume could not be renamed, and never will.
    pub(super) fn remember_not_renamed(&mut self, volume: &Volume, why: Unmovable) -> Result<(), StepError> {
        let found = NotRenamed { identity: volume.identity.clone(), why, tried_at: now()? };
        Ok(self.ledger.remember_not_renamed(&volume.name, &found)?)
    }
}

async fn survey(
    quarantine: &QuarantineDir,
    entry: &EntryId,
    stop: tokio_util::sync::CancellationToken,
) -> Result<Survey, StepError> {
    let data = match quarantine.open_any_data(entry) {
        Ok(Some((data, _))) => data,
        // In place, or already deleted. Or something was put there that is no directory, and the entry is kept for that.
        Ok(None) | Err(QuarantineError::Io { source: Errno::NOTDIR | Errno::LOOP, .. }) => {
            return Ok(Survey::Deletable);
        }
        Err(error) => return Err(error.into()),
    };
    let walk = tokio::task::spawn_blocking(move || {
        deletable::survey(data.as_fd(), &|| {
            pulse::beat();
            stop.is_cancelled()
        })
    });
    Ok(walk.await.map_err(std::io::Error::other)??)
}

fn sentence(
    quarantine: &QuarantineDir,
    entry: &EntryId,
    undeletable: &Undeletable,
) -> Result<String, QuarantineError> {
    let data = quarantine.open_any_data(entry)?.map_or_else(|| quarantine.path_of(entry), |(_, path)| path);
    Ok(undeletable.cause.sentence(&deletable::shell_path(&data, &undeletable.path), entry))
}

/// Puts what was found before into a look, and returns what of it still holds.
pub(super) fn apply(
    before: &Obstacles,
    inventory: &mut Inventory,
    quarantine: &mut Quarantine,
    root: Option<&VolumesDir>,
    order: &Order,
    at: chrono::DateTime<chrono::Utc>,
) -> Result<Obstacles, QuarantineError> {
    let is_there = |id: &EntryId| quarantine.entries.iter().any(|entry| is_of(entry, id));
    let mut obstacles = before.after(inventory, is_there, at);
    for (name, known) in &obstacles.volumes {
        if !is_ordered(order, name) {
            inventory.forbid_move(name, known.why.clone());
        }
    }
    let Some(root) = root else { return Ok(obstacles) };
    let Some(directory) = QuarantineDir::open_existing(root.root(), root.root_path())? else {
        return Ok(obstacles);
    };
    let mut mended = Vec::new();
    for (entry, known) in &obstacles.entries {
        let data = directory.open_any_data(entry)?;
        let holds =
            data.is_some_and(|(data, _)| deletable::is_still_there(data.as_fd(), &known.path, known.cause));
        if holds {
            quarantine.undeletable.insert(entry.clone(), sentence(&directory, entry, known)?);
        } else {
            mended.push(entry.clone());
        }
    }
    obstacles.entries.retain(|entry, _| !mended.contains(entry));
    Ok(obstacles)
}

/// Whoever orders a volume by name has it tried again.
fn is_ordered(order: &Order, name: &VolumeName) -> bool {
    match order {
        Order::Quarantine(names) => names.contains(name),
        Order::Scheduled | Order::Pinned { .. } | Order::Delete(_) | Order::DeleteTouched(_) => false,
    }
}

fn is_of(entry: &Entry, id: &EntryId) -> bool {
    match entry {
        Entry::Known(manifest) => manifest.entry == *id,
        Entry::Deleting(deleting) => deleting == id,
        Entry::Damaged { .. } => false,
    }
}
