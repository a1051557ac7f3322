//! The directories of the volumes, looked at in two parts: which there are, before any witness is asked; and what is in each, while
//! the engine is telling of its containers. The second takes as long as the engine's list.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::EvidenceError;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::directory::Facts;
use crate::host::fault::{self, Point};
use crate::host::volumes_dir::{Observed, VolumesDir};

/// What every directory is.
pub(super) type OnDisk = BTreeMap<VolumeName, Observed>;

/// A look that goes on.
pub(super) struct Looking {
    found: oneshot::Receiver<Vec<VolumeName>>,
    inside: JoinHandle<Result<OnDisk, EvidenceError>>,
}

impl Looking {
    /// Begins on threads of its own. Without a directory there is nothing to see.
    pub(super) fn begin(directory: Option<Arc<VolumesDir>>) -> Self {
        let (tell, found) = oneshot::channel();
        let inside = tokio::task::spawn_blocking(move || {
            fault::at(Point::LookDirectories).map_err(|error| EvidenceError::Nonsense(error.to_string()))?;
            let found = directory.as_deref().map_or_else(|| Ok(Vec::new()), find)?;
            // Nobody listens any more when the engine did not answer.
            drop(tell.send(found.iter().map(|(name, _)| name.clone()).collect()));
            Ok(directory.map_or_else(OnDisk::new, |directory| look_into(&directory, found)))
        });
        Self { found, inside }
    }

    /// Waits until it is known which directories there are.
    pub(super) async fn found(mut self) -> Result<(Vec<VolumeName>, Self), EvidenceError> {
        match (&mut self.found).await {
            Ok(names) => Ok((names, self)),
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

/// A directory, or why nothing is known of it.
type Found = (VolumeName, Result<Facts, Unmovable>);

fn find(directory: &VolumesDir) -> Result<Vec<Found>, EvidenceError> {
    let names: Vec<VolumeName> = directory
        .names()?
        .iter()
        // A name that is no UTF-8 is none that the API could name.
        .filter_map(|name| name.to_str().ok().and_then(|name| VolumeName::new(name).ok()))
        .collect();
    let facts = |name: VolumeName| directory.facts_of(&name).map(|facts| (name, facts));
    Ok(names.into_par_iter().filter_map(facts).collect())
}

fn look_into(directory: &VolumesDir, found: Vec<Found>) -> OnDisk {
    let observe = |(name, facts): Found| {
        let seen = match facts {
            Ok(facts) => directory.observe_found(&name, &facts),
            Err(why) => Observed::nothing(why),
        };
        (name, seen)
    };
    let mut seen: Vec<(VolumeName, Observed)> = found.into_par_iter().map(observe).collect();
    seen.par_sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    seen.into_iter().collect()
}
