//! One observation of the host: volumes and their directories first, then every witness, put together to an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::index::VolumeIndex;
use super::root::Standing;
use super::{
    EvidenceError, Scene, ask_all, engine as engine_witness, in_place, options, quota, root, unlisted,
};
use crate::gc::entry::EntryId;
use crate::gc::inventory::{EngineIdentity, Inventory};
use crate::gc::ledger::Hold;
use crate::gc::reference::{Holder, Reference, Witness};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::engine::{Engine, cluster, wire};
use crate::host::fault::{self, Point};
use crate::host::proc::view;
use crate::host::volumes_dir::{Observed, VolumesDir};

/// What an observation needs besides the engine.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Operators' holds.
    pub holds: &'a [Hold],
    /// Container directories that an operator declared irrelevant.
    pub acknowledged: &'a BTreeSet<String>,
    /// The time, as a value.
    pub now: DateTime<Utc>,
}

/// One complete observation.
#[derive(Debug)]
pub struct Observation {
    /// Volumes and references.
    pub inventory: Inventory,
    /// The same volumes by directory.
    pub index: Arc<VolumeIndex>,
    /// What the engine says of itself.
    pub info: wire::Info,
    /// How many containers it listed.
    pub containers: u64,
    /// Why nothing can be moved here at all, when that is so.
    pub root_problem: Option<String>,
    /// The docker root, when it is on this machine.
    pub directory: Option<Arc<VolumesDir>>,
}

/// Observes the host once.
pub async fn observe(engine: &Engine, context: Context<'_>) -> Result<Observation, EvidenceError> {
    let info = engine.info().await?;
    let (directory, not_here) = open_root(engine, &info);
    // Directories and volumes first: what is made from here on is not in the inventory, and nothing can happen to it.
    let look = tokio::task::spawn_blocking({
        let directory = directory.clone();
        move || {
            fault::at(Point::LookDirectories).map_err(|error| EvidenceError::Nonsense(error.to_string()))?;
            directory.map_or_else(|| Ok(BTreeMap::new()), |directory| observe_directories(&directory))
        }
    });
    let listed = engine.volumes().await?;
    let on_disk = look.await.map_err(|error| EvidenceError::Nonsense(error.to_string()))??;
    let warnings = listed.warnings.unwrap_or_default();
    let listed = listed.volumes.unwrap_or_default();

    // References second: what holds a volume by now is seen.
    let (info, containers) = engine_witness::containers(engine).await?;
    let index = Arc::new(make_index(&info.docker_root_dir, directory.clone(), &listed, on_disk)?);
    let scene = scene(engine, &info, &containers, &index, context);
    let evidence = ask_all(scene).await?;
    // Podman's root proves nothing, having no container directories; what Podman is refused for is another reason.
    let proving = directory.as_deref().filter(|_| !engine.is_podman());
    let standing = proving.map(|root| root::standing(root, &info, &containers, &listed, &index));
    let elsewhere = match &standing {
        Some(Standing::Elsewhere(why)) => Some(why.clone()),
        Some(Standing::Proven | Standing::Unproven) | None => None,
    };
    let root_problem = not_here.or(elsewhere).or_else(|| cluster::fall_through(engine.api_version(), &info));

    let mut volumes = Vec::with_capacity(index.observed().len());
    for volume in listed {
        volumes.push(make_volume(volume, &index, root_problem.is_some(), &evidence.mounted)?);
    }
    let names: BTreeSet<VolumeName> = volumes.iter().map(|volume: &Volume| volume.name.clone()).collect();
    let is_proven = root_problem.is_none() && standing == Some(Standing::Proven);
    volumes.extend(unlisted::volumes(engine, &index, &names, is_proven, &evidence.mounted).await?);
    let mut answers = evidence.answers;
    quota::mark(directory.as_ref(), &mut volumes, &answers);
    if let Some(first) = answers.first_mut() {
        first.notes.extend(warnings.into_iter().map(|warning| format!("the engine warns: {warning}")));
    }
    let identity = EngineIdentity {
        id: info.id.clone(),
        version: info.server_version.clone(),
        api_version: engine.api_version().to_string(),
        root: info.docker_root_dir.clone(),
    };
    let count = containers.len() as u64;
    let inventory = Inventory::complete(context.now, identity, volumes, answers)?;
    Ok(Observation { inventory, index, info, containers: count, root_problem, directory })
}

/// What something holds, for the steps that are about to touch it.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Volumes, by name.
    pub volumes: BTreeMap<VolumeName, Vec<Reference>>,
    /// Entries of the quarantine.
    pub entries: BTreeMap<EntryId, Vec<Holder>>,
    /// Volumes with a mount on or below their data.
    pub mounted: BTreeSet<VolumeName>,
}

/// Asks every witness again about the volumes of an earlier observation, for the steps that are about to touch them.
pub async fn ask_again(
    engine: &Engine,
    index: &Arc<VolumeIndex>,
    context: Context<'_>,
) -> Result<Held, EvidenceError> {
    let (info, containers) = engine_witness::containers(engine).await?;
    let evidence = ask_all(scene(engine, &info, &containers, index, context)).await?;
    let mut held = Held { mounted: evidence.mounted, ..Held::default() };
    for answer in evidence.answers {
        for reference in answer.references {
            held.volumes.entry(reference.volume.clone()).or_default().push(reference);
        }
        for (entry, holder) in answer.entry_holders {
            held.entries.entry(entry).or_default().push(holder);
        }
    }
    Ok(held)
}

fn scene<'a>(
    engine: &'a Engine,
    info: &'a wire::Info,
    containers: &'a [wire::Container],
    index: &'a Arc<VolumeIndex>,
    context: Context<'a>,
) -> Scene<'a> {
    Scene {
        engine,
        info,
        containers,
        index,
        holds: context.holds,
        acknowledged: context.acknowledged,
        now: context.now,
    }
}

fn open_root(engine: &Engine, info: &wire::Info) -> (Option<Arc<VolumesDir>>, Option<String>) {
    if engine.endpoint().local_socket().is_none() {
        let why = format!(
            "the engine is reached over {}; volgc moves data on the engine's own machine only",
            engine.endpoint()
        );
        return (None, Some(why));
    }
    match VolumesDir::open(&info.docker_root_dir) {
        Ok(directory) => (Some(Arc::new(directory)), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn observe_directories(directory: &VolumesDir) -> Result<BTreeMap<VolumeName, Observed>, EvidenceError> {
    let names: Vec<VolumeName> = directory
        .names()?
        .iter()
        // A name that is no UTF-8 is none that the API could name.
        .filter_map(|name| name.to_str().ok().and_then(|name| VolumeName::new(name).ok()))
        .collect();
    Ok(names.into_par_iter().map(|name| (name.clone(), directory.observe(&name))).collect())
}

fn make_index(
    root: &str,
    directory: Option<Arc<VolumesDir>>,
    listed: &[wire::Volume],
    on_disk: BTreeMap<VolumeName, Observed>,
) -> Result<VolumeIndex, EvidenceError> {
    let view = match &directory {
        Some(_) => view::host_root().map_err(|error| EvidenceError::Silent {
            witness: Witness::BindSources,
            why: error.to_string(),
        })?,
        None => PathBuf::from("/"),
    };
    let paths = options::paths(directory.as_deref(), listed, &on_disk, &view)?;
    let index = VolumeIndex::new(root, directory, on_disk, paths).map_err(|error| {
        EvidenceError::Nonsense(format!("the docker root {root} cannot be looked at: {error}"))
    })?;
    Ok(index.seen_through(view).with_classes(classes(listed)))
}

/// What the engine lists. A name that is none is refused where the volumes are made.
fn classes(listed: &[wire::Volume]) -> BTreeMap<VolumeName, Class> {
    let without_labels = BTreeMap::new();
    let class = |volume: &wire::Volume| {
        let name = VolumeName::new(volume.name.clone()).ok()?;
        let class = Class::of(&name, volume.labels.as_ref().unwrap_or(&without_labels));
        Some((name, class))
    };
    listed.iter().filter_map(class).collect()
}

fn make_volume(
    listed: wire::Volume,
    index: &VolumeIndex,
    no_root: bool,
    mounted: &BTreeSet<VolumeName>,
) -> Result<Volume, EvidenceError> {
    let name = VolumeName::new(listed.name)
        .map_err(|error| EvidenceError::Nonsense(format!("in the volume list, {error}")))?;
    // Go writes an empty map as null; a missing field was refused by the decoder.
    let labels = listed.labels.unwrap_or_default();
    let seen = index.observed().get(&name);
    let directory = seen.and_then(|seen| seen.directory.as_ref());
    let is_local = listed.driver == "local";
    let options = listed.options.unwrap_or_default();
    let has_options = !options.is_empty();
    let mut unmovable = Vec::new();
    let checks = [
        (!is_local, Unmovable::OtherDriver),
        (listed.scope != "local", Unmovable::OtherScope),
        (has_options, Unmovable::DriverOptions),
        (listed.cluster_volume.is_some(), Unmovable::ClusterVolume),
        (no_root, Unmovable::RootNotHere),
        (!name.is_accepted_by_api(), Unmovable::NameNotAccepted),
        (mounted.contains(&name), Unmovable::Mounted),
    ];
    unmovable.extend(checks.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why));
    if is_local && !no_root {
        unmovable.extend(seen.map_or_else(|| vec![Unmovable::NoDirectory], |seen| seen.unmovable.clone()));
    }
    if has_options {
        // Then the file is where the engine keeps them.
        unmovable.retain(|why| *why != Unmovable::OptionsFile);
    }
    if unmovable == [Unmovable::DriverOptions]
        && let Some(root) = index.directory()
    {
        unmovable.extend(in_place::obstacles(root, &name, &options));
    }
    unmovable.dedup();
    let identity = match directory {
        Some(facts) if is_local => VolumeIdentity::Directory(facts.identity),
        Some(_) | None => VolumeIdentity::Record {
            driver: listed.driver.clone(),
            created_at: listed.created_at.clone().unwrap_or_default(),
        },
    };
    let created_at = listed.created_at.as_deref().and_then(root::parse_time);
    Ok(Volume {
        class: Class::of(&name, &labels),
        name,
        identity,
        driver: listed.driver,
        labels,
        created_at,
        unmovable,
    })
}
