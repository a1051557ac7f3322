//! The engine's container list, in every state, by the name of each mount whatever its type says.

use std::collections::HashSet;
use std::time::Duration;

use super::{EvidenceError, Scene, on_a_thread};
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::{Container, Info, Mount};
use crate::host::engine::{Engine, EngineError};

/// How often list and count are asked before their difference is a refusal. The pauses between double, to four seconds in all:
/// Docker 20.10 lists a container while it is being made, and counts it only when that is done.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(30);

/// The complete container list, with the `/info` it agrees with. `before` is what `/info` said just now.
///
/// The count is asked after it, too: containers that come and go in between are no contradiction. A list that is still
/// outside both counts after several tries is not complete, and nothing may be concluded from it (I2).
pub async fn containers(engine: &Engine, mut before: Info) -> Result<(Info, Vec<Container>), EvidenceError> {
    let mut tries = 1;
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = engine.fetch_containers().await?;
        // A long list is read while the engine counts once more.
        let (containers, after) = tokio::join!(on_a_thread(move || Ok(answer.read()?)), engine.info());
        let (containers, after) = (containers?, after?);
        each_once(&containers)?;
        if after.id != before.id || after.docker_root_dir != before.docker_root_dir {
            return Err(EvidenceError::Nonsense(
                "its ID or docker root changed between two calls; do several engines share the address?"
                    .to_owned(),
            ));
        }
        let listed = containers.len() as u64;
        let least = before.containers.min(after.containers);
        let most = before.containers.max(after.containers);
        if (least..=most).contains(&listed) {
            return Ok((after, containers));
        }
        if tries == TRIES {
            return Err(EvidenceError::CountsDiffer {
                listed: containers.len(),
                counted: after.containers,
                tries,
            });
        }
        tries += 1;
        before = after;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// A list in which a container stands twice is too short for its count, however long it is (I2).
fn each_once(containers: &[Container]) -> Result<(), EvidenceError> {
    let mut ids = HashSet::with_capacity(containers.len());
    match containers.iter().find(|container| container.id.is_empty() || !ids.insert(container.id.as_str())) {
        None => Ok(()),
        Some(container) if container.id.is_empty() => {
            Err(EvidenceError::Nonsense(format!("container {:?} has an empty ID", container.name())))
        }
        Some(container) => {
            Err(EvidenceError::Nonsense(format!("container {} is listed twice", container.name())))
        }
    }
}

/// Every volume that a container names.
pub fn ask(scene: Scene<'_>) -> Result<Answer, EvidenceError> {
    let mut references = Vec::new();
    for container in scene.containers {
        for mount in &container.mounts {
            let Some(name) = volume_of(container, mount)? else { continue };
            let destination = mount.destination.as_deref().unwrap_or("?");
            references.push(Reference {
                volume: name,
                witness: Witness::Engine,
                holder: holder(container, &format!("at {destination}")),
            });
        }
    }
    Ok(Answer::new(Witness::Engine, references))
}

/// A container as a holder.
pub fn holder(container: &Container, what: &str) -> Holder {
    Holder {
        kind: HolderKind::Container,
        id: container.id.clone(),
        name: container.name().to_owned(),
        detail: format!("{}, {what}", container.description()),
    }
}

/// The volume a mount names. A mount that claims to be a volume and does not say which makes the list useless (I2).
fn volume_of(container: &Container, mount: &Mount) -> Result<Option<VolumeName>, EvidenceError> {
    let name = mount.name.as_deref().unwrap_or_default();
    let kind = mount.kind.as_deref();
    let source = mount.source.as_deref().unwrap_or_default();
    if name.is_empty() {
        // A bind has its source instead, a tmpfs needs neither.
        let explained = matches!(kind, Some("bind" | "tmpfs" | "npipe")) || !source.is_empty();
        if explained {
            return Ok(None);
        }
        return Err(EvidenceError::Nonsense(format!(
            "container {} has a mount of type {:?} with neither name nor source",
            container.name(),
            kind.unwrap_or_default()
        )));
    }
    match VolumeName::new(name) {
        Ok(name) => Ok(Some(name)),
        // An image mount has the image's reference as its name, with slashes: no volume.
        Err(_) if kind == Some("image") => Ok(None),
        Err(error) => Err(EvidenceError::Nonsense(format!("container {}: {error}", container.name()))),
    }
}

/// Whether the error means that the engine could not be reached at all.
pub fn is_unreachable(error: &EvidenceError) -> bool {
    matches!(error, EvidenceError::Engine(EngineError::Unreachable { .. }))
}
