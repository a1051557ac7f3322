//! The engine's container list, in every state, by the name of each mount whatever its type says.

use std::collections::HashSet;
use std::time::Duration;

use super::{EvidenceError, Scene, on_a_thread};
use crate::gc::inventory::Answer;
use crate::gc::odd::usable;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::{Container, Info, Mount};
use crate::host::engine::{Asked, Engine, EngineError};

/// How often list and count are asked before their difference is a refusal. The pauses between double, to four seconds in all:
/// Docker 20.10 lists a container while it is being made, and counts it only when that is done.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(30);

/// A container list, and the count that is asked for after it.
///
/// With a count before it and one after it, containers that come and go in between are no contradiction. A list that is outside
/// both is not complete, and nothing may be concluded from it (I2).
#[derive(Debug)]
pub struct Listed {
    /// Every container, in every state.
    pub containers: Vec<Container>,
    /// `GET /info` after it.
    pub after: Asked<Info>,
}

/// Why list and counts say nothing together.
#[derive(Debug)]
pub enum Differs {
    /// The list is outside both counts.
    Counts {
        /// How many it has.
        listed: usize,
        /// How many there were after it.
        counted: u64,
    },
    /// The witnesses were told of a storage driver or a part in a swarm that is another one after the list.
    State,
}

/// Lists the containers. The count after it is under way then: the engine runs other programs to answer it.
pub async fn list(engine: &Engine) -> Result<Listed, EvidenceError> {
    let answer = engine.fetch_containers().await?;
    let after = engine.ask_info();
    let containers = on_a_thread(move || Ok(answer.read()?)).await?;
    each_once(&containers)?;
    Ok(Listed { containers, after })
}

/// Waits for the count after a list of so many containers, and compares. `before` is what `/info` said before the list.
pub async fn compare(
    before: &Info,
    listed: usize,
    after: Asked<Info>,
) -> Result<Result<Info, Differs>, EvidenceError> {
    let after = after.answer().await?;
    if after.id != before.id || after.docker_root_dir != before.docker_root_dir {
        return Err(EvidenceError::Nonsense(
            "its ID or docker root changed between two calls; do several engines share the address?"
                .to_owned(),
        ));
    }
    let least = before.containers.min(after.containers);
    let most = before.containers.max(after.containers);
    if !(least..=most).contains(&(listed as u64)) {
        return Ok(Err(Differs::Counts { listed, counted: after.containers }));
    }
    if after.driver != before.driver || after.swarm != before.swarm {
        return Ok(Err(Differs::State));
    }
    Ok(Ok(after))
}

/// How often it was tried to get a list and counts that agree.
#[derive(Debug)]
pub struct Tries {
    made: u32,
    pause: Duration,
}

impl Default for Tries {
    fn default() -> Self {
        Self { made: 0, pause: FIRST_PAUSE }
    }
}

impl Tries {
    /// Waits before the next try.
    ///
    /// # Errors
    ///
    /// When that was the last.
    pub async fn again(&mut self, differs: Differs) -> Result<(), EvidenceError> {
        self.made += 1;
        if self.made == TRIES {
            return Err(match differs {
                Differs::Counts { listed, counted } => {
                    EvidenceError::CountsDiffer { listed, counted, tries: TRIES }
                }
                Differs::State => EvidenceError::Nonsense(format!(
                    "its storage driver or part in a swarm changed between two calls, {TRIES} times in a row; try again"
                )),
            });
        }
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
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

/// The volume a mount names. A mount that claims to be a volume and does not say which makes the list useless (I2). One whose name
/// cannot be used names a volume that is kept anyhow.
#[expect(clippy::disallowed_methods, reason = "an empty name is refused unless the mount is explained")]
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
    // An image mount has the image's reference as its name, mostly with slashes.
    Ok(usable(name))
}

/// Whether the error means that the engine could not be reached at all.
pub fn is_unreachable(error: &EvidenceError) -> bool {
    matches!(error, EvidenceError::Engine(EngineError::Unreachable { .. }))
}
