//! The kernel: mounts of every mount namespace, whoever made them, and processes that are inside a volume.
//!
//! The same questions are asked of all volumes for the inventory, of one before and after its data is renamed, and of an entry of
//! the quarantine before it is deleted: each is a [`Target`] of one or more [`Place`]s.

mod backing;
mod clues;
mod detached;
mod loud;
mod mounts;
mod places;
mod reach;
mod shown;
mod silent;
mod uses;
mod views;
mod ways;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

pub use places::{Place, Target};
pub use reach::Fence;
pub use uses::Inside;

use super::EvidenceError;
use crate::gc::entry::EntryId;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::covers::Covers;
use crate::host::directory;
use crate::host::engine::Engine;
use crate::host::engine::wire::Container;
use crate::host::fault::{self, Setting};
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::{self, ProcError, sight};
use crate::host::pulse;
use crate::host::quarantine::{QuarantineDir, directories_of};
use crate::host::volumes_dir::VolumesDir;
use places::Places;
use rustix::io::Errno;
use uses::Found;

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
    /// Volumes with a mount on or below their directory, in any namespace: they cannot be moved. And where one of them is.
    pub mounted: BTreeMap<VolumeName, String>,
}

/// What the kernel says of some targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts<K> {
    /// Mounts of a target or of something in it.
    pub holders: Vec<(K, Holder)>,
    /// Targets with a mount on or below them, and where one of them is.
    pub mounted: BTreeMap<K, String>,
    /// What shows all of them, and is no reference to any one.
    pub notes: Vec<String>,
    /// Who holds many, or may.
    pub alerts: Vec<String>,
}

impl KernelAnswer {
    /// The same, with the names of containers, of which the kernel knows the ID alone.
    #[must_use]
    pub fn with_names(mut self, containers: &[Container]) -> Self {
        let names: HashMap<&str, &str> = containers
            .iter()
            .filter_map(|container| Some((container.id.get(..words::SHORT)?, container.name())))
            .collect();
        let name = |text: &mut String| {
            let start = text.find(words::CONTAINER).map(|start| start + words::CONTAINER.len());
            let short = start.and_then(|start| text.get(start..start + words::SHORT)).map(str::to_owned);
            let Some(short) = short else { return };
            if let Some(name) = names.get(short.as_str()) {
                *text = text.replacen(&short, &format!("{name} ({short})"), 1);
            }
        };
        self.answer.references.iter_mut().for_each(|reference| name(&mut reference.holder.detail));
        self.answer.entry_holders.iter_mut().for_each(|(_, holder)| name(&mut holder.detail));
        self.answer.alerts.iter_mut().for_each(name);
        self.mounted.values_mut().for_each(name);
        self
    }
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
        KernelAnswer { answer, mounted: BTreeMap::new() }
    };
    let Some(socket) = engine.endpoint().local_socket() else {
        return Ok(elsewhere("the engine runs on another machine"));
    };
    if is_blind() {
        return Ok(elsewhere("a test says so"));
    }
    // I2: processes that are invisible here may hold anything.
    if let Some(why) = sight::blind_spot(socket).await {
        return Err(silent(why));
    }
    let Some(directory) = directory else {
        return Ok(elsewhere("the docker root is not on this machine"));
    };
    let fences = reach::fences(directory.volumes())?;
    let mounts = mounts_below(targets(volumes, directory)?, fences).await?;
    let mut answer = Answer::new(Witness::Kernel, Vec::new());
    (answer.notes, answer.alerts) = (mounts.notes, mounts.alerts);
    for (key, holder) in mounts.holders {
        match key {
            Key::Volume(volume) => {
                answer.references.push(Reference { volume, witness: Witness::Kernel, holder });
            }
            Key::Entry(entry) => answer.entry_holders.push((entry, holder)),
        }
    }
    let mut mounted = BTreeMap::new();
    for (key, told) in mounts.mounted {
        match key {
            Key::Volume(volume) => {
                mounted.insert(volume, told);
            }
            // Somebody uses it who mounts something in there, and a walk could not finish.
            Key::Entry(entry) => answer.entry_holders.push((entry, mount_in_entry(&told))),
        }
    }
    Ok(KernelAnswer { answer, mounted })
}

/// Never in a release build.
fn is_blind() -> bool {
    fault::limit(Setting::KernelIsBlind, 0) == 1
}

fn mount_in_entry(told: &str) -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: "inside".to_owned(),
        name: "inside of it".to_owned(),
        detail: format!("a file system is mounted on or below its data, at {told}"),
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
    let found = processes_in_each(directory, vec![name.to_owned()]).await?;
    Ok(found.into_iter().next().map(|(_, holder)| holder))
}

/// The same for several directories below one, by their names.
pub async fn processes_in_each(
    parent: BorrowedFd<'_>,
    names: Vec<String>,
) -> Result<Vec<(String, Holder)>, EvidenceError> {
    let place = place_of(parent)?;
    let covers = Covers::in_directory(parent).map_err(refuse)?;
    let (mut inside, mut closed) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        let target = Target { key: name.clone(), places: vec![place.join(&name)] };
        if covers.on(name.as_bytes()).is_some_and(|cover| cover.is_whole) {
            let why = "something is mounted on it, which is not looked into, as what is mounted may never answer; unmount it";
            closed.push((name, words::unsearched_holder(why)));
            continue;
        }
        let directory = match directory::c_name(&name).and_then(|name| directory::pin_child(parent, &name)) {
            Ok(directory) => Some(directory),
            // Who was in it before it was removed is still found by its path.
            Err(Errno::NOENT) => None,
            // I2, I14: it holds this one.
            Err(error) => {
                closed.push((name, words::unsearched_holder(&format!("it cannot be opened: {error}"))));
                continue;
            }
        };
        inside.push(Inside { target, directory });
    }
    closed.extend(processes_below(inside).await?);
    Ok(closed)
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

/// Mounts of the targets, on them and below them, in every mount namespace. `fences` are the directories that keep unprivileged users
/// from the targets.
pub async fn mounts_below<K>(targets: Vec<Target<K>>, fences: Vec<Fence>) -> Result<Mounts<K>, EvidenceError>
where
    K: Ord + Clone + Send + Sync + 'static,
{
    blocking(move || mounts::ask(&Places::new(&targets), &fences)).await
}

/// Processes with an open or mapped file, a working directory, a root directory or an executable in one of the targets, with a socket
/// or a watch there; and files there that the kernel itself keeps open. One holder a process.
pub async fn processes_below<K>(inside: Vec<Inside<K>>) -> Result<Vec<(K, Holder)>, EvidenceError>
where
    K: Ord + Clone + Send + Sync + 'static,
{
    if is_blind() {
        return Ok(Vec::new());
    }
    let inside = Arc::new(inside);
    let asked = Arc::clone(&inside);
    let found = blocking(move || uses::find(&asked).map_err(refuse)).await?;
    let Found { mut holders, served, clues, large } = found;
    holders.extend(uses::opened(&inside, served));
    // What is held in any case needs no search.
    let held: BTreeSet<K> = holders.iter().map(|(key, _)| key.clone()).collect();
    let search = move || {
        let open: Vec<&Inside<K>> =
            inside.iter().filter(|inside| !held.contains(&inside.target.key)).collect();
        uses::search(&open, &clues, &large)
    };
    let searched = tokio::task::spawn_blocking(search).await;
    holders.extend(searched.map_err(|error| silent(format!("the search failed: {error}")))?);
    Ok(holders)
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
