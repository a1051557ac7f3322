//! Volumes under a project quota: renaming their data away would take it out of its project. No witness: it is asked only about what
//! would be moved otherwise, since the question opens two directories. It is put once more right before a move.

use crate::gc::inventory::Inventory;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::volumes_dir::VolumesDir;

/// Adds the reason to those of the volumes that it applies to, and says whether there were any.
pub fn mark(root: &VolumesDir, inventory: &mut Inventory, volumes: &[VolumeName]) -> bool {
    let mut found = false;
    for name in volumes {
        // What cannot be asked is asked again right before the move, which then fails and says why (I2).
        if let Ok(true) = root.has_project_quota(name) {
            inventory.forbid_move(name, Unmovable::ProjectQuota);
            found = true;
        }
    }
    found
}
