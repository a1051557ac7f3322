//! The one resolver: turns what somebody wrote into the volumes that it leads to. No witness interprets a path by itself.
//!
//! A path means what it means to the one who uses it, so it is followed in a [`Terrain`]: the engine's root and mount namespace for
//! what the engine was given. It is compared by device and inode, and by its text too, because only the text still says where a
//! path led after the data was renamed away. Every stop on the way counts: a link in the place of a whole volume, a link in the data
//! of one, a volume that `..` leaves again.
//!
//! What cannot be looked at is a [`Doubt`]: it says what it may concern, and never ends the search for everybody else (I14).

mod looking;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

pub use looking::{Text, locate_all, locate_one, resolve};

use crate::gc::entry::EntryId;
use crate::gc::volume::VolumeName;
use crate::host::quarantine::{DIRECTORY as QUARANTINE, entry_of};
use crate::host::resolve::{End, Place, Server, Stop, Terrain, follow, normalised};

/// Where a path leads, seen from the volumes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// At or below the directory of this volume, or of a name that would be its directory.
    Inside(VolumeName),
    /// The volumes directory itself or something above it, as backup agents bind.
    Above,
    /// At or below this entry of the quarantine.
    Quarantined(EntryId),
}

/// Everything that is known of where a path leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// What it needs of the docker root. With neither this nor a doubt it is proven to lead elsewhere or nowhere.
    pub whereabouts: BTreeSet<Whereabouts>,
    /// Whether something is there.
    pub exists: bool,
    /// Where it could not be followed further.
    pub doubts: Vec<Doubt>,
}

/// Something that cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What.
    pub at: PathBuf,
    /// The system's words.
    pub why: Errno,
    /// Who answers for the files there, where it is not this kernel.
    pub server: Option<Server>,
    /// What the path may still lead to.
    pub concerns: Concerns,
}

/// What a path that cannot be followed may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concerns {
    /// No volume.
    Nothing,
    /// Any volume, and any entry of the quarantine.
    Everything,
}

impl Located {
    /// Whether the path may lead into any volume.
    pub fn may_be_anywhere(&self) -> bool {
        self.doubts.iter().any(|doubt| doubt.concerns == Concerns::Everything)
    }

    /// Everything that either of both needs.
    pub fn add(&mut self, other: Self) {
        self.whereabouts.extend(other.whereabouts);
        self.exists |= other.exists;
        for doubt in other.doubts {
            if !self.doubts.contains(&doubt) {
                self.doubts.push(doubt);
            }
        }
    }
}

/// Where the volumes are: what paths are compared with.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The docker root as the engine names it.
    pub root: PathBuf,
    /// `<root>/volumes`.
    pub volumes: Option<Place>,
    /// The quarantine directory.
    pub quarantine: Option<Place>,
    /// The directories above the volumes, up to `/`.
    pub ancestors: Vec<Place>,
    /// The directory of each volume, and its data.
    pub by_place: Volumes,
}

/// Volumes by the place of a directory of theirs. Several have the same one while one of them is mounted on another.
#[derive(Debug, Clone, Default)]
pub struct Volumes {
    first: HashMap<Place, VolumeName>,
    others: HashMap<Place, BTreeSet<VolumeName>>,
}

impl Volumes {
    /// None, with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self { first: HashMap::with_capacity(count), others: HashMap::new() }
    }

    /// One more.
    pub fn insert(&mut self, place: Place, name: &VolumeName) {
        let first = self.first.entry(place).or_insert_with(|| name.clone());
        if first != name {
            self.others.entry(place).or_default().insert(name.clone());
        }
    }

    /// Takes over what others knew of places that are nobody's here: directories that were renamed away since.
    pub fn adopt(&mut self, before: &Self) {
        for (place, name) in &before.first {
            if !self.first.contains_key(place) {
                self.insert(*place, name);
                before.others.get(place).into_iter().flatten().for_each(|name| self.insert(*place, name));
            }
        }
    }

    /// Everyone's whose directory it is.
    pub fn at(&self, place: Place) -> impl Iterator<Item = &VolumeName> {
        self.first.get(&place).into_iter().chain(self.others.get(&place).into_iter().flatten())
    }
}

/// Where an absolute path leads in a terrain. Both readings of `..` count: the kernel goes back from where a link led to, Go's
/// `filepath.Clean` takes it out by the text before anybody looks.
pub fn locate<T: Terrain>(map: &Map, terrain: &T, path: &Path) -> Located {
    let clean = normalised(path);
    let mut located =
        Located { whereabouts: map.of_text(&clean).into_iter().collect(), ..Located::default() };
    located.add(locate_reading(map, terrain, path));
    if clean != path && path.components().any(|component| component == Component::ParentDir) {
        located.add(locate_reading(map, terrain, &clean));
    }
    located
}

fn locate_reading<T: Terrain>(map: &Map, terrain: &T, path: &Path) -> Located {
    let way = follow(terrain, path);
    let whereabouts = way.stops.iter().flat_map(|stop| map.of_stop(stop)).collect();
    let (exists, doubts) = match way.end {
        End::There => (true, Vec::new()),
        End::Nowhere(_) => (false, Vec::new()),
        End::Unknown { at, why, server } => {
            (false, vec![Doubt { at, why, server, concerns: concerns(server) }])
        }
    };
    Located { whereabouts, exists, doubts }
}

/// What a path may lead to that ends at something which cannot be looked at.
///
/// The docker root's file system is looked at whoever serves it. So what another server hides is no volume's directory, and where a
/// FUSE server refuses root, is dead or hangs, the engine is refused too, is told that it is dead, or hangs. On every other file
/// system we may be refused what the engine is not (`AppArmor`, `SELinux`), and a link behind it may lead into any volume (I2).
fn concerns(server: Option<Server>) -> Concerns {
    match server {
        Some(Server::Process) => Concerns::Nothing,
        Some(Server::Network) | None => Concerns::Everything,
    }
}

impl Map {
    /// Where a path leads by its text, which has no `.` and `..`.
    #[expect(clippy::disallowed_methods, reason = "a path that does not begin so lies elsewhere")]
    pub fn of_text(&self, path: &Path) -> Option<Whereabouts> {
        if let Some(entry) = path.strip_prefix(self.root.join(QUARANTINE)).ok().and_then(first_entry) {
            return Some(Whereabouts::Quarantined(entry));
        }
        let volumes = self.root.join("volumes");
        match path.strip_prefix(&volumes) {
            Ok(below) => Some(first_name(below).map_or(Whereabouts::Above, Whereabouts::Inside)),
            Err(_) if volumes.starts_with(path) => Some(Whereabouts::Above),
            Err(_) => None,
        }
    }

    /// Where a stop of a walk is, by device and inode of the directories down to it.
    pub fn of_stop(&self, stop: &Stop) -> BTreeSet<Whereabouts> {
        let mut below = stop.rest.clone();
        for passed in stop.passed.iter().rev() {
            let found = passed.place.map_or_else(BTreeSet::new, |place| self.of_place(place, &below));
            if !found.is_empty() {
                return found;
            }
            below = Path::new(&passed.name).join(below);
        }
        BTreeSet::new()
    }

    /// What lies at `below` in the directory at `place`.
    fn of_place(&self, place: Place, below: &Path) -> BTreeSet<Whereabouts> {
        let mut found: BTreeSet<Whereabouts> =
            self.by_place.at(place).cloned().map(Whereabouts::Inside).collect();
        if !found.is_empty() {
            return found;
        }
        if self.quarantine == Some(place) {
            found.extend(first_entry(below).map(Whereabouts::Quarantined));
        }
        if self.volumes == Some(place) {
            found.insert(first_name(below).map_or(Whereabouts::Above, Whereabouts::Inside));
        } else if below.as_os_str().is_empty() && self.ancestors.contains(&place) {
            found.insert(Whereabouts::Above);
        }
        found
    }
}

fn first_entry(below: &Path) -> Option<EntryId> {
    first_name(below).and_then(|name| entry_of(name.as_str()))
}

#[expect(clippy::disallowed_methods, reason = "what is no volume's name is none")]
fn first_name(below: &Path) -> Option<VolumeName> {
    match below.components().next() {
        Some(Component::Normal(name)) => VolumeName::new(name.to_string_lossy()).ok(),
        Some(Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_)) | None => {
            None
        }
    }
}
