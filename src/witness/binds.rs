//! Paths that lead into a volume: everything that anybody wrote down, followed by the one resolver.
//!
//! The engine counts none of them as a use of the volume (all versions to 29), so `docker volume prune` deletes it under a running
//! container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::claims::host_config::{self, Found};
use super::claims::{self, Claim, Everything, cdi, plugins};
use super::index::VolumeIndex;
use super::locate::{Located, Text, locate_all};
use super::{EvidenceError, Scene, on_a_thread};
use crate::gc::inventory::Answer;
use crate::host::engine::Asked;
use crate::host::engine::wire::Plugin;
use crate::host::pulse;
use crate::host::quarantine::QuarantineDir;

/// How long the engine's directories with CDI specifications may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every volume that a path leads into.
pub async fn ask(scene: Scene<'_>, plugins: Asked<Vec<Plugin>>) -> Result<Answer, EvidenceError> {
    let Found { claims: found, wishes } = host_configs(scene).await?;
    let mut claims = claims::containers::claims(scene.index, scene.containers);
    claims.extend(found);
    claims.extend_from_slice(scene.index.claims());
    if !wishes.is_empty() {
        claims.extend(cdi::claims(wishes, &specifications(scene).await?));
    }
    claims.extend(plugin_claims(scene, plugins).await?);
    let located = locate_all(scene.index, claims::texts(&claims)).await?;
    let everything = everything(scene.index, &claims, &located).await?;
    Ok(claims::judge(&claims, &located, &everything))
}

/// What the files of the containers claim. Podman has none.
#[expect(clippy::disallowed_methods, reason = "without a docker root there are no files of containers")]
async fn host_configs(scene: Scene<'_>) -> Result<Found, EvidenceError> {
    if scene.engine.is_podman() || scene.index.directory().is_none() {
        return Ok(Found::default());
    }
    let (index, containers) = (Arc::clone(scene.index), scene.containers.to_vec());
    let acknowledged = scene.acknowledged.clone();
    on_a_thread(move || {
        let read = |root| host_config::read_all(root, &containers, &acknowledged);
        Ok(index.directory().map(read).unwrap_or_default())
    })
    .await
}

/// The CDI specifications, which are read only when a container has a device by one.
async fn specifications(scene: Scene<'_>) -> Result<Result<Vec<cdi::Spec>, String>, EvidenceError> {
    let Some(view) = scene.index.view().map(Arc::clone) else {
        return Ok(Err("the CDI specifications are not on this machine".to_owned()));
    };
    let directories = scene.info.cdi_spec_dirs.clone();
    let look = tokio::task::spawn_blocking(move || cdi::read(&view, directories.as_deref()));
    match pulse::bounded(PATIENCE, look).await {
        Ok(Ok(specs)) => Ok(specs),
        Ok(Err(error)) => Err(EvidenceError::Nonsense(error.to_string())),
        Err(_) => Ok(Err(format!(
            "the CDI specifications do not answer within {} s; are they on a network file system that is gone?",
            PATIENCE.as_secs()
        ))),
    }
}

/// What the managed plugins claim. A proxy may refuse the call, and not every engine has it: then the files of the plugins tell the
/// same. Where neither does, nobody knows what the plugins use (I2).
async fn plugin_claims(scene: Scene<'_>, plugins: Asked<Vec<Plugin>>) -> Result<Vec<Claim>, EvidenceError> {
    let refusal = match plugins.answer().await {
        Ok(plugins) => return Ok(plugins::claims(&plugins)),
        Err(error) => error.to_string(),
    };
    let index = Arc::clone(scene.index);
    on_a_thread(move || {
        // Of an engine elsewhere nothing is moved.
        let Some(root) = index.directory() else { return Ok(Vec::new()) };
        Ok(match plugins::on_disk(root) {
            Ok(plugins) => plugins::claims(&plugins),
            Err(why) => {
                vec![plugins::unknown(&format!("{refusal}, and {why}; allow the call or mend the file"))]
            }
        })
    })
    .await
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
