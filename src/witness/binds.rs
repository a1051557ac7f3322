//! Paths that lead into a volume: everything that anybody wrote down, followed by the one resolver.
//!
//! The engine counts none of them as a use of the volume (all versions to 29), so `docker volume prune` deletes it under a running
//! container.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::claims::{self, Claim, Everything};
use super::index::VolumeIndex;
use super::locate::{Located, Text, locate_all};
use super::{EvidenceError, Scene, on_a_thread};
use crate::gc::inventory::Answer;
use crate::host::quarantine::QuarantineDir;

/// Every volume that a path leads into.
pub async fn ask(scene: Scene<'_>) -> Result<Answer, EvidenceError> {
    let mut claims = claims::containers::claims(scene.index, scene.containers);
    claims.extend_from_slice(scene.index.claims());
    let located = locate_all(scene.index, claims::texts(&claims)).await?;
    let everything = everything(scene.index, &claims, &located).await?;
    Ok(claims::judge(&claims, &located, &everything))
}

/// What there is, if any claim may be on all of it.
async fn everything(
    index: &Arc<VolumeIndex>,
    claims: &[Claim],
    located: &BTreeMap<Text, Located>,
) -> Result<Everything, EvidenceError> {
    if !claims::need_everything(claims, located) {
        return Ok(Everything::default());
    }
    let volumes = index.observed().keys().chain(index.classes().keys()).cloned().collect();
    let index = Arc::clone(index);
    let entries = on_a_thread(move || {
        let Some(directory) = index.directory() else { return Ok(Vec::new()) };
        match QuarantineDir::open_existing(directory.root(), directory.root_path())? {
            Some(quarantine) => Ok(quarantine.entry_ids()?.into_iter().collect()),
            None => Ok(Vec::new()),
        }
    });
    Ok(Everything { volumes, entries: entries.await? })
}
