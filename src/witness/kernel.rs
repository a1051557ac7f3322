//! The kernel: mounts of every mount namespace, whoever made them, and processes that are inside a volume.
//!
//! The same questions are asked of all volumes for the inventory, of one before and after its data is renamed, and of an entry of
//! the quarantine before it is deleted: each is a [`Target`] of one or more [`Place`]s.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use places::{Place, Target};

use super::EvidenceError;
use crate::gc::entry::EntryId;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::engine::Engine;
use crate::host::proc::files::{self, FilePath, Use};
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::{self, ProcError, sight, task};
use crate::host::pulse;
use crate::host::quarantine::{QuarantineDir, directories_of};
use crate::host::volumes_dir::VolumesDir;
use places::{Concern, Places, Points, Views};

/// How long the kernel may take. It answers from memory; only a lock that is never given back makes it wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is asked before its refusal counts, and how long between.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);

/// What the kernel says of the volumes.
#[derive(Debug, Clone)]
pub struct KernelAnswer {
    /// Mounts of a volume or of something in it, in any namespace.
    pub answer: Answer,
    /// Volumes with a mount on or below their directory, in any namespace: they cannot be moved.
    pub mounted: BTreeSet<VolumeName>,
}

/// What the kernel says of some targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts<K> {
    /// Mounts of a target or of something in it.
    pub holders: Vec<(K, Holder)>,
    /// Targets with a mount on or below them.
    pub mounted: BTreeSet<K>,
}

/// Which of the volumes with a directory some mount in some mount namespace shows, or has something mounted in them.
pub async fn ask(
    engine: &Engine,
    directory: Option<&VolumesDir>,
    volumes: Vec<VolumeName>,
) -> Result<KernelAnswer, EvidenceError> {
    let elsewhere = |why: &str| {
        let mut answer = Answer::new(Witness::Kernel, Vec::new());
        answer.notes.push(format!("mounts and processes were not looked at: {why}"));
        KernelAnswer { answer, mounted: BTreeSet::new() }
    };
    let Some(socket) = engine.endpoint().local_socket() else {
        return Ok(elsewhere("the engine runs on another machine"));
    };
    // I2: processes that are invisible here may hold anything.
    if let Some(why) = sight::blind_spot(socket).await {
        return Err(silent(why));
    }
    let Some(directory) = directory else {
        return Ok(elsewhere("the docker root is not on this machine"));
    };
    let mounts = mounts_below(targets(volumes, directory)?).await?;
    let mut answer = Answer::new(Witness::Kernel, Vec::new());
    for (key, holder) in mounts.holders {
        match key {
            Key::Volume(volume) => {
                answer.references.push(Reference { volume, witness: Witness::Kernel, holder });
            }
            Key::Entry(entry) => answer.entry_holders.push((entry, holder)),
        }
    }
    let mut mounted = BTreeSet::new();
    for key in mounts.mounted {
        match key {
            Key::Volume(volume) => {
                mounted.insert(volume);
            }
            // Somebody uses it who mounts something in there, and a walk could not finish.
            Key::Entry(entry) => answer.entry_holders.push((entry, mount_in_entry())),
        }
    }
    Ok(KernelAnswer { answer, mounted })
}

fn mount_in_entry() -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: "inside".to_owned(),
        name: "inside of it".to_owned(),
        detail: "a file system is mounted on or below its data, here or in another mount namespace"
            .to_owned(),
    }
}

/// What a mount may concern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Volume(VolumeName),
    Entry(EntryId),
}

/// Every volume's directory, and the data of every entry of the quarantine.
fn targets(names: Vec<VolumeName>, directory: &VolumesDir) -> Result<Vec<Target<Key>>, EvidenceError> {
    let volumes = place_of(directory.volumes())?;
    let target =
        |name: VolumeName| Target { places: vec![volumes.join(name.as_str())], key: Key::Volume(name) };
    let mut targets: Vec<Target<Key>> = names.into_iter().map(target).collect();
    let quarantine = QuarantineDir::open_existing(directory.root(), directory.root_path())
        .map_err(|error| silent(error.to_string()))?;
    if let Some(quarantine) = quarantine {
        let place = place_of(quarantine.descriptor())?;
        let entries = quarantine.entry_ids().map_err(|error| silent(error.to_string()))?;
        // Both places: its deletion may begin, or have begun, at any moment.
        targets.extend(entries.into_iter().map(|entry| Target {
            places: directories_of(&entry).iter().map(|name| place.join(name)).collect(),
            key: Key::Entry(entry),
        }));
    }
    Ok(targets)
}

/// Processes inside one directory, for a step that is about to touch it.
pub async fn processes_in(directory: BorrowedFd<'_>, name: &str) -> Result<Option<Holder>, EvidenceError> {
    let target = Target { key: (), places: vec![place_of(directory)?.join(name)] };
    Ok(processes_below(vec![target]).await?.into_iter().next().map(|((), holder)| holder))
}

/// The place of an open directory, for the targets: `place_of(volumes)?.join(name)`, or `place_of(quarantine)?.join("ENTRY/data")`.
///
/// A mount in any namespace names what it shows by file system and path within it, so that is what has to be known of the
/// directory. Its device number does not tell: on btrfs it is the subvolume's.
///
/// # Errors
///
/// When it cannot be known, or the file system does not tell what its mounts show.
pub fn place_of(directory: BorrowedFd<'_>) -> Result<Place, EvidenceError> {
    let (id, path) = proc::mount_and_path(directory).map_err(refuse)?;
    let mounts = proc::own_mounts().map_err(refuse)?;
    let shown = String::from_utf8_lossy(&path);
    place_in(&mounts, id, &path).map_err(|why| silent(format!("{shown} {why}")))
}

fn place_in(mounts: &[MountLine], id: u64, path: &[u8]) -> Result<Place, String> {
    let mount = mounts
        .iter()
        .find(|mount| mount.id == id)
        .ok_or("is on a mount that is not in this mount namespace any more; start volgc again")?;
    // NFS shows every mount of it with the root "/" (fs/nfs/super.c, nfs_show_path).
    if mount.kind.starts_with(b"nfs") {
        return Err(
            "is on NFS, which does not tell what of it is mounted elsewhere; volgc needs a local file \
                    system below the docker root"
                .to_owned(),
        );
    }
    Place::through(mount, path)
        .filter(|_| mount.root.starts_with(b"/"))
        .ok_or_else(|| format!("is not below its own mount point {}", String::from_utf8_lossy(&mount.point)))
}

/// Mounts of the targets, on them and below them, in every mount namespace.
pub async fn mounts_below<K>(targets: Vec<Target<K>>) -> Result<Mounts<K>, EvidenceError>
where
    K: Ord + Clone + Send + Sync + 'static,
{
    blocking(move || {
        let namespaces = namespaces::all().map_err(refuse)?;
        let own = proc::own_mounts().map_err(refuse)?;
        find_mounts(&Places::new(&targets), &namespaces, &Points::new(&own))
    })
    .await
}

fn find_mounts<K: Ord + Clone>(
    places: &Places<'_, K>,
    namespaces: &[Namespace],
    own: &Points<'_>,
) -> Result<Mounts<K>, EvidenceError> {
    let mut mounted = BTreeSet::new();
    // A mount is copied into every namespace made after it: the same mount point, told once.
    let mut shown: BTreeMap<(&K, &[u8]), Vec<&Namespace>> = BTreeMap::new();
    for namespace in namespaces {
        let concerns = places.concerns(&namespace.mounts, own).map_err(|mount| {
            let id = namespace.id;
            silent(format!(
                "mount {mount} of mount namespace {id} is mounted on one that is not listed there"
            ))
        })?;
        for (mount, concern) in concerns {
            match concern {
                Concern::Shows(key) => shown.entry((key, &mount.point)).or_default().push(namespace),
                Concern::Covers(key) => {
                    mounted.insert(key.clone());
                }
            }
        }
    }
    let holders = shown
        .into_iter()
        .filter_map(|((key, point), namespaces)| Some((key.clone(), mount_holder(point, &namespaces)?)))
        .collect();
    Ok(Mounts { holders, mounted })
}

fn mount_holder(point: &[u8], namespaces: &[&Namespace]) -> Option<Holder> {
    let (first, others) = namespaces.split_first()?;
    let point = String::from_utf8_lossy(point).into_owned();
    let process = first.task.map_or_else(
        || "which no process is in".to_owned(),
        |task| format!("process {} {}", task.process, task::name(task.process)),
    );
    let more = match others.len() {
        0 => String::new(),
        count => format!(", and in {count} more"),
    };
    Some(Holder {
        kind: HolderKind::Mount,
        id: first.id.to_string(),
        detail: format!("mounted at {point} in mount namespace {} ({process}){more}", first.id),
        name: point,
    })
}

/// Processes with an open or mapped file, a working directory, a root directory or an executable in one of the targets, and
/// loop devices on a file there. One holder a process.
pub async fn processes_below<K>(targets: Vec<Target<K>>) -> Result<Vec<(K, Holder)>, EvidenceError>
where
    K: Ord + Clone + Send + Sync + 'static,
{
    blocking(move || {
        let namespaces = namespaces::all().map_err(refuse)?;
        let places = Places::new(&targets);
        find_processes(&Views::new(&places, &namespaces)).map_err(refuse)
    })
    .await
}

fn find_processes<K: Ord + Clone + Send + Sync>(views: &Views<'_, K>) -> Result<Vec<(K, Holder)>, ProcError> {
    let judge = |seen: &Use| {
        let held = match &seen.path {
            FilePath::Told(path) => views.holding(path, || seen.mount_id()),
            FilePath::TooLong => views.shown_by(seen.mount_id()),
        };
        (!held.is_empty()).then(|| (held.into_iter().cloned().collect::<Vec<K>>(), seen.clone()))
    };
    let mut first: BTreeMap<(K, u32), Use> = BTreeMap::new();
    for (keys, seen) in files::uses(judge)? {
        for key in keys {
            first.entry((key, seen.task.process)).or_insert_with(|| seen.clone());
        }
    }
    let mut holders: Vec<(K, Holder)> =
        first.into_iter().map(|((key, _), seen)| (key, process_holder(&seen))).collect();
    for (device, file) in files::loop_devices()? {
        for key in views.holding(&file, || None) {
            holders.push((key.clone(), loop_holder(&device, &file)));
        }
    }
    Ok(holders)
}

fn process_holder(seen: &Use) -> Holder {
    Holder {
        kind: HolderKind::Process,
        id: seen.task.process.to_string(),
        name: task::name(seen.task.process),
        detail: match &seen.path {
            FilePath::Told(path) => format!("{} {}", seen.manner, String::from_utf8_lossy(path)),
            FilePath::TooLong => {
                format!("{} whose path is too long to be told, so it may be in it", seen.manner)
            }
        },
    }
}

fn loop_holder(device: &str, file: &[u8]) -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: format!("/dev/{device}"),
        name: device.to_owned(),
        detail: format!("loop device on {}", String::from_utf8_lossy(file)),
    }
}

/// On a thread where waiting harms nobody.
async fn blocking<T: Send + 'static>(
    look: impl Fn() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, EvidenceError> {
    let look = move || {
        // A process that is ending refuses for a moment to be looked at, with the same words as one that never may be.
        for _ in 1..TRIES {
            match look() {
                Ok(answer) => return Ok(answer),
                Err(error) => tracing::debug!(%error, "looking at /proc once more"),
            }
            std::thread::sleep(PAUSE);
        }
        look()
    };
    match pulse::bounded(PATIENCE, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(silent(format!("looking at /proc failed: {error}"))),
        Err(_) => Err(silent(format!("/proc does not answer within {} s", PATIENCE.as_secs()))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refuse(error: ProcError) -> EvidenceError {
    silent(error.to_string())
}

fn silent(why: String) -> EvidenceError {
    EvidenceError::Silent { witness: Witness::Kernel, why }
}

#[cfg(test)]
mod tests;
