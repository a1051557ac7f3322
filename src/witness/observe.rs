//! One observation of the host: volumes and their directories first, then every witness, put together to an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::directories::{Found, Looking};
use super::engine::{Differs, Listed, Tries};
use super::index::VolumeIndex;
use super::root::Standing;
use super::{
    Evidence, EvidenceError, Scene, ask_others, claims, engine as engine_witness, in_place, kernel, odd,
    on_a_thread, root, stalled, unlisted,
};
use crate::gc::entry::{Entry, EntryId};
use crate::gc::holds::Hold;
use crate::gc::in_order::InOrder;
use crate::gc::inventory::{EngineIdentity, Inventory};
use crate::gc::passing::Passing;
use crate::gc::reference::{Holder, Reference, Witness};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::engine::{Answer, Asked, Engine, cluster, wire};
use crate::host::sharing::Blocks;
use crate::host::volumes_dir::{Observed, VolumesDir};
use crate::host::{engine_owner, quarantine};

/// What an observation needs besides the engine.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Operators' holds.
    pub holds: &'a [Hold],
    /// Container directories that an operator declared irrelevant.
    pub acknowledged: &'a BTreeSet<String>,
    /// Containers that only pass by.
    pub passing: &'a [Passing],
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
    /// Volumes with a mount on or below their directory, in any mount namespace, and where one of them is.
    pub mounted: BTreeMap<VolumeName, String>,
}

impl Observation {
    /// Whose blocks those of the volumes' files are.
    pub fn blocks(&self) -> Blocks {
        self.directory.as_ref().map_or(Blocks::Own, |root| root.blocks())
    }
}

/// Observes the host once.
pub async fn observe(engine: &Engine, context: Context<'_>) -> Result<Observation, EvidenceError> {
    let mut tries = Tries::default();
    loop {
        match observe_once(engine, context).await? {
            Ok(observation) => return Ok(observation),
            Err(differs) => tries.again(differs).await?,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "null is no volumes; the decoder refuses a missing field")]
async fn observe_once(
    engine: &Engine,
    context: Context<'_>,
) -> Result<Result<Observation, Differs>, EvidenceError> {
    let Gathered { info, after, containers, listed, odd, index, not_here, evidence } =
        Box::pin(gather(engine, context, None)).await?;
    let wire::Volumes { volumes, odd: odd_listed, warnings } = listed;
    let volumes = volumes.unwrap_or_default();
    let directory = index.shared_directory();
    // Podman's root proves nothing, having no container directories; what Podman is refused for is another reason.
    let proving = directory.as_deref().filter(|_| !engine.is_podman());
    let standing = proving.map(|root| root::standing(engine, root, &info, &containers, &volumes, &index));
    let is_proven = standing == Some(Standing::Proven);
    let elsewhere = match standing {
        Some(Standing::Elsewhere(why)) => Some(why),
        Some(Standing::Proven | Standing::Unproven) | None => None,
    };
    let root_problem = not_here.or(elsewhere).or_else(|| cluster::fall_through(engine.api_version(), &info));
    let mut volumes = make_volumes(volumes, &index, root_problem.is_some(), &evidence.mounted);
    let is_proven = is_proven && root_problem.is_none();
    volumes.extend(unlisted::volumes(engine, &index, &volumes, is_proven, &evidence.mounted).await?);
    let mut answers = evidence.answers;
    if let Some(first) = answers.first_mut() {
        let warnings = warnings.into_iter().flatten();
        first.notes.extend(warnings.map(|warning| format!("the engine warns: {warning}")));
    }
    let info = match engine_witness::compare(&info, containers.len(), after).await? {
        Ok(info) => info,
        Err(differs) => return Ok(Err(differs)),
    };
    let passers = containers.iter().filter(|container| container.only_passes(context.passing));
    let passers = passers.map(|container| container.id.clone()).collect();
    let containers = containers.len() as u64;
    let inventory = Inventory::complete(context.now, identity_of(engine, &info), volumes, answers)?
        .with_odd(odd::volumes(odd_listed, odd))
        .with_passers(passers);
    let mounted = evidence.mounted;
    Ok(Ok(Observation { inventory, index, info, containers, root_problem, directory, mounted }))
}

/// What the engine, the disk and the witnesses say at one time.
struct Gathered {
    info: wire::Info,
    /// The count after the list of containers, which says whether that is complete.
    after: Asked<wire::Info>,
    containers: Vec<wire::Container>,
    listed: wire::Volumes,
    /// Directories with names that cannot be used.
    odd: Vec<String>,
    index: Arc<VolumeIndex>,
    /// Why the docker root is not on this machine, when it is not.
    not_here: Option<String>,
    evidence: Evidence,
}

/// Asks everything there is. `before` is an index of an earlier time: its docker root is looked at, and what it knew of directories that
/// are renamed away since is known.
async fn gather(
    engine: &Engine,
    context: Context<'_>,
    before: Option<&VolumeIndex>,
) -> Result<Gathered, EvidenceError> {
    // Directories first, references second: what is made from here on has no directory in the inventory, and what held a volume by
    // now is seen. What the engine calls a volume may come at any time.
    let Begun { info, listing, directory, not_here, looking, found } = begin(engine, before).await?;
    let Found { names, odd, .. } = found;
    let root = info.docker_root_dir.clone();
    let plugins = engine.ask_plugins();
    let (listed, kernel, indexed) = tokio::join!(
        engine_witness::list(engine),
        kernel::ask(engine, directory.as_deref(), names),
        make_index(listing, root, directory.clone(), looking, before)
    );
    let kernel = kernel?;
    let (index, volumes) = indexed.map_err(|error| stalled::explain(error, &kernel.mounted))?;
    let Listed { containers, after } = listed?;
    let evidence = ask_others(scene(engine, &info, &containers, &index, context), kernel, plugins).await?;
    Ok(Gathered { info, after, containers, listed: volumes, odd, index, not_here, evidence })
}

fn identity_of(engine: &Engine, info: &wire::Info) -> EngineIdentity {
    EngineIdentity {
        id: info.id.clone(),
        version: info.server_version.clone(),
        api_version: engine.api_version().to_string(),
        root: info.docker_root_dir.clone(),
    }
}

/// What something holds, for the steps that are about to touch it.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Volumes, by name.
    pub volumes: BTreeMap<VolumeName, Vec<Reference>>,
    /// Entries of the quarantine.
    pub entries: BTreeMap<EntryId, Vec<Holder>>,
    /// Volumes with a mount on or below their data.
    pub mounted: BTreeMap<VolumeName, String>,
}

/// Asks every witness again, for the steps that are about to touch volumes of an earlier observation. With a new list of volumes and
/// options: one that was made since may lead into one of them.
pub async fn ask_again(
    engine: &Engine,
    before: &VolumeIndex,
    context: Context<'_>,
) -> Result<Held, EvidenceError> {
    let mut tries = Tries::default();
    let evidence = loop {
        let gathered = Box::pin(gather(engine, context, Some(before))).await?;
        match engine_witness::compare(&gathered.info, gathered.containers.len(), gathered.after).await? {
            Ok(_) => break gathered.evidence,
            Err(differs) => tries.again(differs).await?,
        }
    };
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

/// What is known before the volumes are.
struct Begun {
    info: wire::Info,
    listing: Asked<Answer<wire::Volumes>>,
    directory: Option<Arc<VolumesDir>>,
    /// Why the docker root is not on this machine, when it is not.
    not_here: Option<String>,
    looking: Looking,
    found: Found,
}

async fn begin(engine: &Engine, before: Option<&VolumeIndex>) -> Result<Begun, EvidenceError> {
    let (info, listing) = engine.begin_look().await?;
    let (directory, not_here) = match before {
        Some(before) => (before.shared_directory(), None),
        None => open_root(engine, &info),
    };
    let (found, looking) = Looking::begin(directory.clone()).found().await?;
    Ok(Begun { info, listing, directory, not_here, looking, found })
}

#[expect(clippy::disallowed_methods, reason = "null is no volumes; the decoder refuses a missing field")]
async fn make_index(
    listing: Asked<Answer<wire::Volumes>>,
    root: String,
    directory: Option<Arc<VolumesDir>>,
    looking: Looking,
    before: Option<&VolumeIndex>,
) -> Result<(Arc<VolumeIndex>, wire::Volumes), EvidenceError> {
    let (listed, index) = tokio::try_join!(read_list(listing), index_of(&root, directory.clone(), looking))?;
    let (listed, classes) = listed;
    let index = match before {
        Some(before) => index.remembering(before),
        None => index,
    };
    on_a_thread(move || {
        let volumes = listed.volumes.as_deref().unwrap_or_default();
        let classes = with_quarantined(directory.as_deref(), classes)?;
        let claims = claims::volumes::claims(&index, volumes, &listed.odd);
        Ok((Arc::new(index.with_classes(classes).with_claims(claims)), listed))
    })
    .await
}

/// The list in the order of names.
async fn read_list(
    listing: Asked<Answer<wire::Volumes>>,
) -> Result<(wire::Volumes, BTreeMap<VolumeName, Class>), EvidenceError> {
    let listed = listing.answer().await?;
    on_a_thread(move || {
        let mut listed = listed.read()?;
        let volumes = listed.volumes.get_or_insert_default();
        volumes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let classes = classes(volumes);
        Ok((listed, classes))
    })
    .await
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

async fn index_of(
    root: &str,
    directory: Option<Arc<VolumesDir>>,
    looking: Looking,
) -> Result<VolumeIndex, EvidenceError> {
    let on_disk = looking.inside().await?;
    let root = root.to_owned();
    on_a_thread(move || {
        let view = directory.as_ref().map(|directory| engine_owner::view(directory.volumes())).transpose();
        let view = view.map_err(|error| EvidenceError::Silent {
            witness: Witness::BindSources,
            why: format!("the files that the engine sees cannot be looked at: {error}"),
        })?;
        let index = VolumeIndex::new(&root, directory, on_disk).map_err(|error| {
            EvidenceError::Nonsense(format!("the docker root {root} cannot be looked at: {error}"))
        })?;
        Ok(match view {
            Some(view) => index.seen_through(Arc::new(view)),
            None => index,
        })
    })
    .await
}

/// What the engine lists.
fn classes(listed: &[wire::Volume]) -> BTreeMap<VolumeName, Class> {
    let without_labels = BTreeMap::new();
    let class = |volume: &wire::Volume| {
        let class = Class::of(&volume.name, volume.labels.as_ref().unwrap_or(&without_labels));
        (volume.name.clone(), class)
    };
    listed.iter().map(class).collect()
}

/// With the volumes that are in quarantine: what could mean one of them may bring it back into use, so it has to hold it (I2). Where
/// a name is used again, the one that more witnesses hold counts.
fn with_quarantined(
    directory: Option<&VolumesDir>,
    mut classes: BTreeMap<VolumeName, Class>,
) -> Result<BTreeMap<VolumeName, Class>, EvidenceError> {
    for entry in quarantine::entries_below(directory)? {
        let Entry::Known(manifest) = entry else { continue };
        if manifest.class == Class::Named {
            classes.insert(manifest.name, Class::Named);
        } else {
            classes.entry(manifest.name).or_insert(manifest.class);
        }
    }
    Ok(classes)
}

/// The volumes that the engine lists, which are in the order of names.
fn make_volumes(
    listed: Vec<wire::Volume>,
    index: &VolumeIndex,
    no_root: bool,
    mounted: &BTreeMap<VolumeName, String>,
) -> Vec<Volume> {
    let mut seen = InOrder::new(index.observed());
    let make = |volume: wire::Volume| {
        let seen = seen.get(&volume.name);
        make_volume(volume, seen, index, no_root, mounted)
    };
    listed.into_iter().map(make).collect()
}

#[expect(clippy::disallowed_methods, reason = "null is no labels; the decoder refuses a missing field")]
fn make_volume(
    listed: wire::Volume,
    seen: Option<&Observed>,
    index: &VolumeIndex,
    no_root: bool,
    mounted: &BTreeMap<VolumeName, String>,
) -> Volume {
    let name = listed.name;
    // Go writes an empty map as null; a missing field was refused by the decoder.
    let labels = listed.labels.unwrap_or_default();
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
        (mounted.contains_key(&name), Unmovable::Mounted),
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
    Volume { class: Class::of(&name, &labels), name, identity, driver: listed.driver, labels, unmovable }
}
