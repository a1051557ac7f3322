//! A closer look at the directories of volumes that would be moved otherwise: at what lies beside their data, and at project quotas,
//! out of which a rename would take the data. No witness: it is not asked of every volume, since it takes longer than all else. The
//! same is looked at once more right before a move.

use crate::gc::inventory::Inventory;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::volumes_dir::VolumesDir;

/// Adds the reasons that are found to those of the volumes that they apply to, and says whether there were any.
pub fn look(root: &VolumesDir, inventory: &mut Inventory, volumes: &[VolumeName]) -> bool {
    let mut found = false;
    for name in volumes {
        let is_moved = inventory.volume(name).is_some_and(|volume| volume.unmovable.is_empty());
        let mut reasons = beside(root, name);
        // What cannot be asked is asked again right before the move, which then fails and says why (I2). What is quarantined in
        // place stays in its project.
        if is_moved && matches!(root.has_project_quota(name), Ok(true)) {
            reasons.push(Unmovable::ProjectQuota);
        }
        for why in reasons {
            inventory.forbid_move(name, why);
            found = true;
        }
    }
    found
}

fn beside(root: &VolumesDir, name: &VolumeName) -> Vec<Unmovable> {
    let mut reasons = root.observe(name).unmovable;
    reasons.retain(|why| matches!(why, Unmovable::ForeignContent | Unmovable::Unreadable));
    reasons
}
