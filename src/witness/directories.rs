//! The directories of the volumes, looked at in two parts: which there are, before any witness is asked; and what is in each, while
//! the engine is telling of its containers. The second takes as long as the engine's list.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::EvidenceError;
use crate::gc::volume::VolumeName;
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
            drop(tell.send(found.clone()));
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

fn find(directory: &VolumesDir) -> Result<Vec<VolumeName>, EvidenceError> {
    // A name that is no UTF-8 is none that the API could name.
    #[expect(clippy::disallowed_methods, reason = "a name that the API cannot give is no volume's")]
    let name = |name: &CString| name.to_str().ok().and_then(|name| VolumeName::new(name).ok());
    Ok(directory.names()?.iter().filter_map(name).collect())
}

/// One that was removed and made again since it was found has another identity than any clock that runs (I11).
fn look_into(directory: &VolumesDir, mut found: Vec<VolumeName>) -> OnDisk {
    found.par_sort_unstable();
    let look = |name: VolumeName| {
        let seen = directory.glance(&name);
        (name, seen)
    };
    let seen: Vec<(VolumeName, Observed)> = found.into_par_iter().map(look).collect();
    seen.into_iter().collect()
}
