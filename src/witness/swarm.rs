//! Services of a swarm. A service that is scaled to nothing, or whose tasks run on other nodes, has no container here, and still
//! mounts its volumes the next time a task comes here.
//!
//! A manager is asked for every service and task. Where they cannot be known (on a worker, in a locked or leaderless swarm) every volume
//! is held, since any of them may be a service's (I2). An anonymous one too: a service can name it like any other, by its 64 digits,
//! and neither its name nor a label says that none does.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod template;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use self::template::{Lead, Template};
use self::wire::{Mount, Service, Task, TaskSpec};
use super::claims::lies_above;
use super::index::VolumeIndex;
use super::locate::{Text, Whereabouts, locate_one};
use super::{EvidenceError, Scene};
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::SwarmInfo;
use crate::host::engine::{Engine, EngineError};

/// What can be known of the services from here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The engine is in no swarm.
    Outside,
    /// It manages one, and lists the services.
    Manager,
    /// It is in one, or may be, and does not say what the services are.
    Blind(Blindness),
}

/// Why the services are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blindness {
    why: String,
    remedy: &'static str,
}

/// One mount of one specification, with whose it is.
#[derive(Debug, Clone)]
struct Claim<'a> {
    mount: &'a Mount,
    /// The name for templates; none when the service is gone already.
    service: Option<&'a str>,
    holder: Holder,
}

/// Every volume that a service mounts, or could mount.
pub async fn ask(scene: Scene<'_>) -> Result<Answer, EvidenceError> {
    match standing(scene.info.swarm.as_ref()) {
        Standing::Outside => Ok(Answer::new(Witness::Swarm, Vec::new())),
        Standing::Blind(blindness) => Ok(hold_all(scene.index, &blindness)),
        Standing::Manager => match list(scene.engine).await {
            Ok((services, tasks)) => references(scene.index, &claims(&services, &tasks)?).await,
            // The engine's own no: leaderless 500, locked or not ready 503; or a proxy's that hides the services.
            Err(EngineError::Status { code, message, .. }) => {
                Ok(hold_all(scene.index, &refused(code, &message)))
            }
            Err(error) => Err(error.into()),
        },
    }
}

fn standing(swarm: Option<&SwarmInfo>) -> Standing {
    let blind = |why: &str, remedy| Standing::Blind(Blindness { why: why.to_owned(), remedy });
    let Some(swarm) = swarm else {
        return blind(
            "the engine does not say whether it is in a swarm",
            "ask the engine with `docker info`",
        );
    };
    if swarm.is_outside() {
        return Standing::Outside;
    }
    match (swarm.local_node_state.as_str(), swarm.control_available) {
        ("active", Some(true)) => Standing::Manager,
        ("active", Some(false)) => blind(
            "this node is a swarm worker, and only managers list the services",
            "promote it to a manager (`docker node promote`), or take it out of the swarm (`docker swarm leave`)",
        ),
        ("locked", _) => blind("the swarm is locked", "unlock it with `docker swarm unlock`"),
        ("pending", _) => blind(
            "this node is still joining its swarm, or the swarm has no leader",
            "bring more than half of the managers online, or take it out of the swarm (`docker swarm leave`)",
        ),
        ("error", _) => blind(
            "this node has lost its swarm",
            "see `docker info` for the error, or take it out of the swarm (`docker swarm leave`)",
        ),
        (state, _) => blind(
            &format!("the engine's state in its swarm, {state:?}, is not understood"),
            "ask the engine with `docker info`",
        ),
    }
}

fn refused(code: u16, message: &str) -> Blindness {
    Blindness {
        why: format!("the manager does not list its services ({code}: {})", message.trim()),
        remedy: "see `docker node ls`: more than half of the managers must be online, and GET /services and /tasks allowed",
    }
}

/// Holds every volume, with the reason.
fn hold_all(index: &VolumeIndex, blindness: &Blindness) -> Answer {
    let holder = Holder {
        kind: HolderKind::UnknownSwarm,
        id: "services".to_owned(),
        name: format!("services ({})", blindness.why),
        detail: blindness.remedy.to_owned(),
    };
    let references = known(index).into_iter().map(|volume| reference(volume, &holder)).collect();
    let alert = format!("every volume is held: {}; {}", blindness.why, blindness.remedy);
    Answer { alerts: vec![alert], ..Answer::new(Witness::Swarm, references) }
}

fn reference(volume: &VolumeName, holder: &Holder) -> Reference {
    Reference { volume: volume.clone(), witness: Witness::Swarm, holder: holder.clone() }
}

/// Every volume that a pattern could mean: those the engine lists, the directories it does not, and those in quarantine.
fn known(index: &VolumeIndex) -> BTreeSet<&VolumeName> {
    index.observed().keys().chain(index.classes().keys()).collect()
}

async fn list(engine: &Engine) -> Result<(Vec<Service>, Vec<Task>), EngineError> {
    Ok((engine.get("/services").await?, engine.get("/tasks").await?))
}

/// The mounts of every specification that a task here can still come from.
///
/// A service goes back to its previous specification when it is rolled back. A task may have a still older one: when an update
/// is paused, those that wait for a node are not made anew.
fn claims<'a>(services: &'a [Service], tasks: &'a [Task]) -> Result<Vec<Claim<'a>>, EvidenceError> {
    let mut claims = Vec::new();
    let mut covered: HashMap<&str, (&str, Vec<&Mount>)> = HashMap::new();
    for service in services {
        let name = service.spec.name.as_str();
        let (_, seen) = covered.entry(&service.id).or_insert((name, Vec::new()));
        let previous = service.previous_spec.as_ref().map(|spec| (&spec.task_template, "previous "));
        for (spec, which) in [(&service.spec.task_template, "")].into_iter().chain(previous) {
            for mount in mounts(spec, "service", name)? {
                if seen.contains(&mount) {
                    continue;
                }
                seen.push(mount);
                let holder = holder(&service.id, name, &format!("its {which}specification"), mount);
                claims.push(Claim { mount, service: Some(name), holder });
            }
        }
    }
    for task in tasks.iter().filter(|task| is_wanted(task)) {
        let id = task.service_id.as_deref().unwrap_or(&task.id);
        let service = covered.get(id);
        for mount in mounts(&task.spec, "task", &task.id)? {
            if service.is_some_and(|(_, seen)| seen.contains(&mount)) {
                continue;
            }
            let name = service.map(|(name, _)| *name);
            let which = format!("task {} of an older specification", task.id);
            let holder = holder(id, name.unwrap_or(id), &which, mount);
            claims.push(Claim { mount, service: name, holder });
        }
    }
    Ok(claims)
}

fn mounts<'a>(spec: &'a TaskSpec, what: &str, name: &str) -> Result<&'a [Mount], EvidenceError> {
    spec.mounts().ok_or_else(|| {
        EvidenceError::Nonsense(format!(
            "{what} {name} says neither which container nor which plugin it runs"
        ))
    })
}

/// A task that is to end makes no container any more, and the one it made is in the container list.
fn is_wanted(task: &Task) -> bool {
    !matches!(task.desired_state.as_deref(), Some("shutdown" | "remove"))
}

fn holder(id: &str, name: &str, which: &str, mount: &Mount) -> Holder {
    let source = mount.source.as_deref().unwrap_or("no name");
    let target = mount.target.as_deref().unwrap_or("?");
    Holder {
        kind: HolderKind::Service,
        id: id.to_owned(),
        name: name.to_owned(),
        detail: format!("{which} mounts {source} at {target}"),
    }
}

/// The claims on volumes: by name, by pattern, and by where host paths lead.
async fn references(index: &Arc<VolumeIndex>, claims: &[Claim<'_>]) -> Result<Answer, EvidenceError> {
    let known = known(index);
    let mut answer = Answer::new(Witness::Swarm, Vec::new());
    let mut leads: BTreeMap<Lead, Vec<&Holder>> = BTreeMap::new();
    for claim in claims {
        #[expect(
            clippy::disallowed_methods,
            reason = "a mount without a source is anonymous and made for one task"
        )]
        let source = Template::parse(claim.mount.source.as_deref().unwrap_or_default(), claim.service);
        let (may_be_volume, may_be_path) = meanings(claim.mount);
        if may_be_volume {
            answer.references.extend(by_name(&source, &claim.holder, &known)?);
        }
        if may_be_path {
            leads.entry(source.lead()).or_default().push(&claim.holder);
        }
        for value in claim.mount.option_values() {
            for lead in template::option_leads(value, claim.service) {
                leads.entry(lead).or_default().push(&claim.holder);
            }
        }
    }
    for (lead, holders) in leads {
        let held =
            |volume: &VolumeName| holders.iter().map(|holder| reference(volume, holder)).collect::<Vec<_>>();
        let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
        let who = format!("service {}", names.join(", "));
        for reach in reach(index, &lead).await? {
            match reach {
                Reach::One(volume) => answer.references.extend(held(&volume)),
                Reach::All => {
                    answer.references.extend(known.iter().flat_map(|volume| held(volume)));
                    answer.alerts.push(format!(
                        "{who} mounts what may be any volume, so all are kept; `docker service inspect` shows its mounts"
                    ));
                }
                Reach::Above(path) => answer.notes.push(lies_above(&who, &path)),
            }
        }
    }
    Ok(answer)
}

/// Whether a mount's source may be a volume, and whether it may be a host path. What an engine older than its swarm cannot name
/// may be either (I2).
fn meanings(mount: &Mount) -> (bool, bool) {
    match mount.kind.as_deref() {
        // The data of a cluster volume is elsewhere, but a DELETE of the local volume of its name could fall through to it.
        Some("volume" | "cluster") => (true, false),
        Some("bind") => (false, true),
        Some("tmpfs" | "npipe" | "image") => (false, false),
        Some(_) | None => (true, true),
    }
}

/// The volumes that a source can name. A plain name is held whether or not there is such a volume here by now.
fn by_name(
    source: &Template,
    holder: &Holder,
    known: &BTreeSet<&VolumeName>,
) -> Result<Vec<Reference>, EvidenceError> {
    if source.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(text) = source.text() {
        #[expect(clippy::disallowed_methods, reason = "what is no volume's name is none")]
        let name = VolumeName::new(text).ok();
        return Ok(name.iter().map(|name| reference(name, holder)).collect());
    }
    let matcher = source.names().map_err(|error| EvidenceError::Silent {
        witness: Witness::Swarm,
        why: format!("the mounts of service {} cannot be matched: {error}", holder.name),
    })?;
    let matching = known.iter().filter(|name| matcher.is_match(name.as_str()));
    Ok(matching.map(|name| reference(name, holder)).collect())
}

/// Which volumes a host path leads into.
enum Reach {
    One(VolumeName),
    All,
    /// None by itself, although all lie below this path.
    Above(String),
}

async fn reach(index: &Arc<VolumeIndex>, lead: &Lead) -> Result<Vec<Reach>, EvidenceError> {
    let (path, begins) = match lead {
        Lead::Nowhere => return Ok(Vec::new()),
        Lead::Anywhere => return Ok(vec![Reach::All]),
        Lead::Path(path) => (path, None),
        Lead::Below(path, begins) => (path, Some(begins)),
    };
    let located = locate_one(index, Text::Path(path.clone())).await?;
    if located.may_be_anywhere() {
        return Ok(vec![Reach::All]);
    }
    let reach = |whereabouts| match (whereabouts, begins) {
        (Whereabouts::Quarantined(_), _) => None,
        (Whereabouts::Inside(volume), _) => Some(Reach::One(volume)),
        (Whereabouts::Above, None) => Some(Reach::Above(path.display().to_string())),
        (Whereabouts::Above, Some(begins)) => {
            can_go_on(path, begins, &index.root().join("volumes")).then_some(Reach::All)
        }
    };
    Ok(located.whereabouts.into_iter().filter_map(reach).collect())
}

/// Whether a step whose name begins with `begins`, in a directory above the volumes, can be the next one towards them. Where the
/// way is not written in the path (a symlink), it can.
fn can_go_on(directory: &Path, begins: &str, volumes: &Path) -> bool {
    let Ok(rest) = volumes.strip_prefix(directory) else { return true };
    rest.components().next().is_none_or(|next| next.as_os_str().to_string_lossy().starts_with(begins))
}
