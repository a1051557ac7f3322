//! Sizes of what nothing holds and of what is in quarantine. What is held is not measured: nobody frees it by collecting.

use std::os::fd::{AsFd as _, OwnedFd};

use crate::gc::entry::{Entry, EntryState};
use crate::gc::volume::VolumeName;
use crate::host::quarantine::QuarantineDir;
use crate::host::usage::{self, Usage, UsageOptions};
use crate::report::document::Sizes;
use crate::sweep::look::Look;

/// Measures, on threads of its own. What cannot be opened has no size.
pub(super) async fn measure(look: &Look) -> Sizes {
    let Some(root) = look.observation.directory.clone() else { return Sizes::default() };
    let inventory = &look.observation.inventory;
    let volumes: Vec<VolumeName> = inventory
        .volumes()
        .filter(|volume| inventory.references(&volume.name).is_empty() && volume.driver == "local")
        .map(|volume| volume.name.clone())
        .collect();
    let entries: Vec<_> = look
        .quarantine
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(manifest) if manifest.state == EntryState::Quarantined => {
                Some(manifest.entry.clone())
            }
            Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    let work = tokio::task::spawn_blocking(move || {
        let mut sizes = Sizes::default();
        for name in volumes {
            if let Ok(data) = root.open_data(&name) {
                sizes.volumes.insert(name, measure_one(&data));
            }
        }
        if let Ok(Some(quarantine)) = QuarantineDir::open_existing(root.root(), root.root_path()) {
            for entry in entries {
                if let Ok(data) = quarantine.open_data(&entry) {
                    sizes.entries.insert(entry, measure_one(&data));
                }
            }
        }
        sizes
    });
    work.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "sizes were not measured");
        Sizes::default()
    })
}

fn measure_one(data: &OwnedFd) -> Usage {
    usage::measure(data.as_fd(), &UsageOptions::default(), &|| false)
}
