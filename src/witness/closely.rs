//! A closer look at the directories of volumes that would be moved otherwise: at what lies beside their data, and at project quotas,
//! out of which a rename would take the data. No witness: it is not asked of every volume, since it takes longer than all else. The
//! same is looked at once more right before a move.

use crate::gc::inventory::Inventory;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::volumes_dir::VolumesDir;

/// Adds the reasons that are found to those of the volumes that they apply to, and says whether there were any.
pub fn look(root: &VolumesDir, inventory: &mut Inventory, volumes: &[VolumeName]) -> bool {
    if volumes.is_empty() {
        return false;
    }
    let Ok(covers) = root.covers() else {
        // I2: without the table nothing may be looked at.
        for name in volumes {
            inventory.forbid_move(name, Unmovable::Unreadable);
        }
        return true;
    };
    let mut found = false;
    for (name, seen, quota) in root.observe_closely(volumes.to_vec(), &covers) {
        let is_moved = inventory.volume(&name).is_some_and(|volume| volume.unmovable.is_empty());
        let mut reasons = seen.unmovable;
        reasons.retain(|why| {
            matches!(why, Unmovable::ForeignContent | Unmovable::Unreadable | Unmovable::NoAnswer)
        });
        // What cannot be asked is asked again right before the move, which then fails and says why (I2). What is quarantined in
        // place stays in its project.
        if is_moved && quota == Ok(true) {
            reasons.push(Unmovable::ProjectQuota);
        }
        for why in reasons {
            inventory.forbid_move(&name, why);
            found = true;
        }
    }
    found
}
