//! Directories by file system and path within it, which is the same in every mount namespace, and what lies below them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::Namespace;

/// What the kernel appends to the path of an open file that was unlinked.
const DELETED_PATH: &[u8] = b" (deleted)";

/// A directory by its file system and its path within it. Neither symlinks nor the mount points of any namespace change that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file system, as mountinfo names it.
    pub device: Device,
    /// The path from the root of that file system.
    pub path: Vec<u8>,
}

impl Place {
    /// What lies there under this name, or path of names.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        Self { device: self.device, path: join(&self.path, below.as_bytes()) }
    }

    /// Where a path that was reached through this mount lies; none when it was not.
    pub(super) fn through(mount: &MountLine, path: &[u8]) -> Option<Self> {
        let below = below(path, &mount.point)?;
        Some(Self { device: mount.device, path: join(&mount.root, below) })
    }
}

/// What is asked about: some directories, and a name for them in the answer.
#[derive(Debug, Clone)]
pub struct Target<K> {
    /// The name in the answer.
    pub key: K,
    /// The directories. Whatever lies below one of them belongs to it.
    pub places: Vec<Place>,
}

/// One mount as it concerns a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern<'a, K> {
    /// It shows the target or something in it.
    Shows(&'a K),
    /// It is mounted on the target or on something in it.
    Covers(&'a K),
}

/// Targets, found by what lies below them: by a hash of each parent path, not by a scan.
#[derive(Debug)]
pub(super) struct Places<'a, K> {
    targets: &'a [Target<K>],
    by_path: HashMap<(Device, &'a [u8]), &'a K>,
    names: HashSet<&'a [u8]>,
    devices: BTreeSet<Device>,
}

impl<'a, K: Ord> Places<'a, K> {
    /// Of these targets. No two of them may share a directory.
    pub(super) fn new(targets: &'a [Target<K>]) -> Self {
        let places =
            || targets.iter().flat_map(|target| target.places.iter().map(move |place| (target, place)));
        Self {
            targets,
            by_path: places()
                .map(|(target, place)| ((place.device, place.path.as_slice()), &target.key))
                .collect(),
            names: places().map(|(_, place)| last_name(&place.path)).collect(),
            devices: places().map(|(_, place)| place.device).collect(),
        }
    }

    /// The target that this path of this file system lies in.
    pub(super) fn holding(&self, device: Device, path: &[u8]) -> Option<&'a K> {
        if !self.devices.contains(&device) {
            return None;
        }
        upwards(path).find_map(|path| self.by_path.get(&(device, path)).copied())
    }

    /// The targets that a layer of an overlay lies in. Its path is that of whoever mounted it, so it is followed in the namespace
    /// where the overlay is and in our own; of a relative one the names decide, and one without a name may be in any target (I2).
    fn layered(&self, layer: &[u8], namespaces: [&Points<'_>; 2]) -> BTreeSet<&'a K> {
        if layer.starts_with(b"/") {
            let places = namespaces.into_iter().filter_map(|points| points.place(layer));
            return places.filter_map(|place| self.holding(place.device, &place.path)).collect();
        }
        let names: Vec<&[u8]> =
            layer.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"." | b"..")).collect();
        if names.first().is_none_or(|name| *name == b"_data") {
            return self.targets.iter().map(|target| &target.key).collect();
        }
        // Engines write thousands of relative layers, such as `l/ABC`: a name is looked up before any target is looked at.
        let known: Vec<&[u8]> = names.into_iter().filter(|name| self.names.contains(name)).collect();
        if known.is_empty() {
            return BTreeSet::new();
        }
        let is_named = |place: &Place| known.iter().any(|name| last_name(&place.path) == *name);
        let targets = self.targets.iter().filter(|target| target.places.iter().any(is_named));
        targets.map(|target| &target.key).collect()
    }

    /// How the mounts of one namespace concern the targets. `own` are the mounts of our own namespace.
    ///
    /// # Errors
    ///
    /// The identifier of a mount whose parent is not in the table: then nobody knows on what it is mounted (I2).
    pub(super) fn concerns<'m>(
        &self,
        mounts: &'m [MountLine],
        own: &Points<'_>,
    ) -> Result<Vec<(&'m MountLine, Concern<'a, K>)>, u64> {
        let by_id: HashMap<u64, &MountLine> = mounts.iter().map(|mount| (mount.id, mount)).collect();
        let points = Points::new(mounts);
        let mut found = Vec::new();
        for mount in mounts {
            // A directory that was removed while mounted ends in `//deleted`: still below where it was, and still held.
            found.extend(self.holding(mount.device, &mount.root).map(|key| (mount, Concern::Shows(key))));
            let layered = mount.layers.iter().flat_map(|layer| self.layered(layer, [&points, own]));
            found.extend(layered.map(|key| (mount, Concern::Shows(key))));
            let Some(parent) = by_id.get(&mount.parent) else {
                // The root of the namespace is mounted on nothing that a path leads to.
                if mount.point == b"/" {
                    continue;
                }
                return Err(mount.id);
            };
            if !self.devices.contains(&parent.device) {
                continue;
            }
            // On what it is mounted, in the parent's file system: the same in every namespace.
            let on = Place::through(parent, &mount.point).ok_or(mount.id)?;
            found.extend(self.holding(on.device, &on.path).map(|key| (mount, Concern::Covers(key))));
        }
        Ok(found)
    }
}

/// The mounts of one namespace by the paths they are mounted at.
#[derive(Debug)]
pub(super) struct Points<'m>(HashMap<&'m [u8], &'m MountLine>);

impl<'m> Points<'m> {
    /// Of these mounts, in the order of their table: what is mounted later covers what was there.
    pub(super) fn new(mounts: &'m [MountLine]) -> Self {
        Self(mounts.iter().map(|mount| (mount.point.as_slice(), mount)).collect())
    }

    /// Where an absolute path without links leads in this namespace.
    fn place(&self, path: &[u8]) -> Option<Place> {
        let mount = upwards(path).find_map(|point| self.0.get(point))?;
        Place::through(mount, path)
    }
}

/// The paths under which the targets can be reached, in any namespace, so that the path of an open file is enough to find
/// those that may lie in one. A path that only looks like one, because another namespace uses it for something else, is told
/// apart by its mount.
#[derive(Debug)]
pub(super) struct Views<'a, K> {
    places: &'a Places<'a, K>,
    by_path: BTreeMap<Vec<u8>, BTreeSet<&'a K>>,
    by_mount: HashMap<u64, &'a MountLine>,
}

impl<'a, K: Ord> Views<'a, K> {
    /// Of these targets in these namespaces.
    pub(super) fn new(places: &'a Places<'a, K>, namespaces: &'a [Namespace]) -> Self {
        let mounts = || namespaces.iter().flat_map(|namespace| &namespace.mounts);
        let relevant: BTreeSet<(Device, &[u8], &[u8])> = mounts()
            .filter(|mount| places.devices.contains(&mount.device))
            .map(|mount| (mount.device, mount.root.as_slice(), mount.point.as_slice()))
            .collect();
        let mut by_path: BTreeMap<Vec<u8>, BTreeSet<&K>> = BTreeMap::new();
        for (device, root, point) in relevant {
            for target in places.targets {
                for place in target.places.iter().filter(|place| place.device == device) {
                    if let Some(path) = view(place, root, point) {
                        by_path.entry(path).or_default().insert(&target.key);
                    }
                }
            }
        }
        Self { places, by_path, by_mount: mounts().map(|mount| (mount.id, mount)).collect() }
    }

    /// The targets that a file with this path may lie in. `mount` tells through which mount it was reached, if that is known;
    /// it is asked only when the path looks like one of theirs.
    pub(super) fn holding(&self, path: &[u8], mount: impl FnOnce() -> Option<u64>) -> BTreeSet<&'a K> {
        let mut found: BTreeSet<&K> = BTreeSet::new();
        let undeleted = path.strip_suffix(DELETED_PATH).unwrap_or(path);
        for above in upwards(undeleted) {
            found.extend(self.by_path.get(above).into_iter().flatten().copied());
        }
        if found.is_empty() {
            return found;
        }
        // A mount that no namespace has any more is not known: then the path decides (I2).
        let reached =
            mount().and_then(|id| self.by_mount.get(&id)).and_then(|mount| Place::through(mount, undeleted));
        match reached {
            Some(place) => self.places.holding(place.device, &place.path).into_iter().collect(),
            None => found,
        }
    }
}

impl<'a, K: Ord> Views<'a, K> {
    /// The targets that can be reached through a mount, for a file of which nothing else is known: it may lie in each of them
    /// (I2).
    pub(super) fn shown_by(&self, mount: Option<u64>) -> BTreeSet<&'a K> {
        let mount = mount.and_then(|id| self.by_mount.get(&id));
        let is_shown = |place: &Place| {
            mount.is_none_or(|mount| {
                mount.device == place.device && view(place, &mount.root, &mount.point).is_some()
            })
        };
        let targets = self.places.targets.iter();
        targets.filter(|target| target.places.iter().any(is_shown)).map(|target| &target.key).collect()
    }
}

/// The path under which a mount shows a place, or the part of it that it shows.
fn view(place: &Place, root: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = below(&place.path, root) {
        return Some(join(point, rest));
    }
    below(root, &place.path).map(|_| point.to_vec())
}

/// What is left of `path` below `base`, component by component; empty for `base` itself.
fn below<'p>(path: &'p [u8], base: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(base.strip_suffix(b"/").unwrap_or(base))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn join(base: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut path = base.strip_suffix(b"/").unwrap_or(base).to_vec();
    if !rest.is_empty() || path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(rest);
    path
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// A path, its parent, and so on up to `/`.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        let parent = path.get(..slash.max(1))?;
        (parent.len() < path.len()).then_some(parent)
    })
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
