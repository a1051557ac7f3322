//! Host paths that lead into a volume: bind mounts of containers, and volumes whose driver options name such a path.
//!
//! The engine counts neither as a use of the volume below (all versions to 29), so `docker volume prune` deletes it under a
//! running container.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::index::{OptionPath, VolumeIndex, Whereabouts};
use super::{EvidenceError, Scene};
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, Reference, Witness};
use crate::host::pulse;

/// How long the look at one host path may take: a dead network file system answers never.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every volume that a host path leads into.
pub async fn ask(scene: Scene<'_>) -> Result<Answer, EvidenceError> {
    let mut holders: BTreeMap<PathBuf, Vec<Holder>> = BTreeMap::new();
    for container in scene.containers {
        for mount in &container.mounts {
            let Some(source) = mount.source.as_deref().filter(|source| source.starts_with('/')) else {
                continue;
            };
            // A mount with a name is the engine witness's, and its source the volume's own directory.
            if mount.kind.as_deref() == Some("volume")
                && mount.name.as_deref().is_some_and(|name| !name.is_empty())
            {
                continue;
            }
            let holder = super::engine::holder(container, &format!("bind of {source}"));
            holders.entry(PathBuf::from(source)).or_default().push(holder);
        }
    }
    for option in scene.index.option_paths() {
        holders.entry(option.path.clone()).or_default().push(option.holder.clone());
    }
    locate_all(scene, holders).await
}

async fn locate_all(
    scene: Scene<'_>,
    holders: BTreeMap<PathBuf, Vec<Holder>>,
) -> Result<Answer, EvidenceError> {
    let mut answer = Answer::new(Witness::BindSources, Vec::new());
    for (path, holders) in holders {
        let (whereabouts, exists) =
            locate(Arc::clone(scene.index), path.clone(), Witness::BindSources).await?;
        if !exists {
            let needs_it = |option: &&OptionPath| option.is_local_device && option.path == path;
            let volumes: BTreeSet<&str> = scene
                .index
                .option_paths()
                .iter()
                .filter(needs_it)
                .map(|option| option.holder.name.as_str())
                .collect();
            answer.notes.extend(volumes.into_iter().map(|volume| {
                format!(
                    "the driver options of volume {volume} name {}, which does not exist: no container can start with it",
                    path.display()
                )
            }));
        }
        for whereabouts in whereabouts {
            match whereabouts {
                Whereabouts::Inside(volume) => {
                    answer.references.extend(holders.iter().map(|holder| Reference {
                        volume: volume.clone(),
                        witness: Witness::BindSources,
                        holder: holder.clone(),
                    }));
                }
                Whereabouts::Above => {
                    let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
                    answer.notes.push(format!(
                        "{} binds {}, which lies above every volume: no reference to any one of them",
                        names.join(", "),
                        path.display()
                    ));
                }
                Whereabouts::Quarantined(entry) => {
                    answer.entry_holders.extend(holders.iter().map(|holder| (entry.clone(), holder.clone())));
                }
            }
        }
    }
    Ok(answer)
}

/// Where the path leads, and whether it exists. On a thread of its own, because one on a dead network file system blocks for
/// ever.
pub(super) async fn locate(
    index: Arc<VolumeIndex>,
    path: PathBuf,
    witness: Witness,
) -> Result<(BTreeSet<Whereabouts>, bool), EvidenceError> {
    let silent = |why: String| EvidenceError::Silent { witness, why };
    let shown = path.clone();
    let look = tokio::task::spawn_blocking(move || Ok((index.locate(&path)?, index.exists(&path)?)));
    match pulse::bounded(PATIENCE, look).await {
        Ok(Ok(Ok(found))) => Ok(found),
        Ok(Ok(Err::<_, Errno>(error))) => Err(silent(format!(
            "the bind source {} cannot be looked at ({error}); mend the path or remove what binds it",
            shown.display()
        ))),
        Ok(Err(error)) => Err(silent(format!("looking at {} failed: {error}", shown.display()))),
        Err(_) => Err(silent(format!(
            "looking at the bind source {} takes more than {} s; is it on a network file system that is gone?",
            shown.display(),
            PATIENCE.as_secs()
        ))),
    }
}
