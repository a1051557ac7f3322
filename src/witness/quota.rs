//! Volumes under a project quota: renaming their data away would take it out of its project. No witness, but asked here because only
//! the answers of all of them say for which volumes it matters.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefMutIterator as _, ParallelIterator as _};

use crate::gc::inventory::Answer;
use crate::gc::volume::{Unmovable, Volume, VolumeName};
use crate::host::volumes_dir::VolumesDir;

/// Adds the reason to those that it applies to.
///
/// The question opens two directories, so it is put only about what could be moved otherwise: that which nothing holds, and which
/// nothing else forbids to move. It is put once more right before a move.
pub(super) fn mark(root: Option<&Arc<VolumesDir>>, volumes: &mut [Volume], answers: &[Answer]) {
    let Some(root) = root else {
        return;
    };
    let held: BTreeSet<&VolumeName> =
        answers.iter().flat_map(|answer| &answer.references).map(|reference| &reference.volume).collect();
    volumes
        .par_iter_mut()
        .filter(|volume| volume.unmovable.is_empty() && !held.contains(&volume.name))
        .filter(|volume| root.has_project_quota(&volume.name).is_some())
        .for_each(|volume| volume.unmovable.push(Unmovable::ProjectQuota));
}
