//! The directories of the volumes, looked at in two parts: which there are, before any witness is asked; and what is in each, while
//! the engine is telling of its containers. The second takes as long as the engine's list.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::slice::ParallelSliceMut as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::EvidenceError;
use crate::gc::odd::usable;
use crate::gc::reference::Witness;
use crate::gc::volume::VolumeName;
use crate::host::covers::Covers;
use crate::host::fault::{self, Point};
use crate::host::volumes_dir::{Observed, VolumesDir};

/// What every directory is.
pub(super) type OnDisk = BTreeMap<VolumeName, Observed>;

/// A look that goes on.
pub(super) struct Looking {
    found: oneshot::Receiver<Found>,
    inside: JoinHandle<Result<OnDisk, EvidenceError>>,
}

impl Looking {
    /// Begins on threads of its own. Without a directory there is nothing to see.
    pub(super) fn begin(directory: Option<Arc<VolumesDir>>) -> Self {
        let (tell, found) = oneshot::channel();
        let inside = tokio::task::spawn_blocking(move || {
            fault::at(Point::LookDirectories).map_err(|error| EvidenceError::Nonsense(error.to_string()))?;
            let found = directory.as_deref().map_or_else(|| Ok(Found::default()), find)?;
            // Nobody listens any more when the engine did not answer.
            drop(tell.send(found.clone()));
            Ok(directory.map_or_else(OnDisk::new, |directory| look_into(&directory, found)))
        });
        Self { found, inside }
    }

    /// Waits until it is known which directories there are.
    pub(super) async fn found(mut self) -> Result<(Found, Self), EvidenceError> {
        match (&mut self.found).await {
            Ok(found) => Ok((found, self)),
            Err(_) => match self.inside().await {
                Err(error) => Err(error),
                Ok(_) => Err(EvidenceError::Nonsense("the directories were not listed".to_owned())),
            },
        }
    }

    /// Waits for the whole look.
    pub(super) async fn inside(self) -> Result<OnDisk, EvidenceError> {
        self.inside.await.map_err(|error| EvidenceError::Nonsense(error.to_string()))?
    }
}

/// Which directories there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Those with a name that can be used.
    pub(super) names: Vec<VolumeName>,
    /// The others, as far as their names are text.
    pub(super) odd: Vec<String>,
    /// What is mounted on them.
    covers: Covers,
}

fn find(directory: &VolumesDir) -> Result<Found, EvidenceError> {
    let covers = directory
        .covers()
        .map_err(|error| EvidenceError::Silent { witness: Witness::Kernel, why: error.to_string() })?;
    let mut found = Found { covers, ..Found::default() };
    for name in directory.names(&found.covers)? {
        let shown = name.to_string_lossy();
        match usable(&shown) {
            Some(name) => found.names.push(name),
            None => found.odd.push(shown.into_owned()),
        }
    }
    Ok(found)
}

/// One that was removed and made again since it was found has another identity than any clock that runs (I11).
fn look_into(directory: &VolumesDir, found: Found) -> OnDisk {
    let Found { mut names, covers, .. } = found;
    names.par_sort_unstable();
    directory.glance(names, &covers).into_iter().collect()
}
