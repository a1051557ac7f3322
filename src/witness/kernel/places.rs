//! Directories by file system and path within it, which is the same in every mount namespace, and what lies below them. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::host::proc::mountinfo::{Device, MountLine};

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

    /// The targets with one of these names: of a path that is relative to a directory nobody knows, the names decide.
    pub(super) fn named(&self, names: &[Vec<u8>]) -> BTreeSet<&'a K> {
        // Engines write thousands of relative layers, such as `l/ABC`: a name is looked up before any target is looked at.
        let known: Vec<&[u8]> =
            names.iter().map(Vec::as_slice).filter(|name| self.names.contains(name)).collect();
        if known.is_empty() {
            return BTreeSet::new();
        }
        let is_named = |place: &Place| known.iter().any(|name| last_name(&place.path) == *name);
        let targets = self.targets.iter().filter(|target| target.places.iter().any(is_named));
        targets.map(|target| &target.key).collect()
    }

    /// Whether this is a directory above a target: what shows it shows them all, and is no reference to any one of them.
    pub(super) fn is_above(&self, place: &Place) -> bool {
        let lies_below =
            |target: &Place| target.device == place.device && below(&target.path, &place.path).is_some();
        self.targets.first().is_some_and(|target| target.places.iter().any(lies_below))
    }

    /// The targets that lie below a directory.
    pub(super) fn below(&self, place: &Place) -> BTreeSet<&'a K> {
        let lies_below =
            |target: &Place| target.device == place.device && below(&target.path, &place.path).is_some();
        let targets = self.targets.iter();
        targets.filter(|target| target.places.iter().any(lies_below)).map(|target| &target.key).collect()
    }

    /// The file systems that they lie on.
    pub(super) fn devices(&self) -> &BTreeSet<Device> {
        &self.devices
    }

    /// The targets.
    pub(super) fn targets(&self) -> &'a [Target<K>] {
        self.targets
    }

    /// How the mounts of one namespace concern the targets; and a mount whose parent is not in the table, if there is one: then nobody
    /// knows on what it is mounted (I2).
    pub(super) fn concerns<'m>(
        &self,
        mounts: &'m [MountLine],
    ) -> (Vec<(&'m MountLine, Concern<'a, K>)>, Option<u64>) {
        let by_id: HashMap<u64, &MountLine> = mounts.iter().map(|mount| (mount.id, mount)).collect();
        let (mut found, mut lost) = (Vec::new(), None);
        for mount in mounts {
            // A directory that was removed while mounted ends in `//deleted`: still below where it was, and still held.
            found.extend(self.holding(mount.device, &mount.root).map(|key| (mount, Concern::Shows(key))));
            let Some(parent) = by_id.get(&mount.parent) else {
                // The root of the namespace is mounted on nothing that a path leads to.
                if mount.point != b"/" {
                    lost = Some(mount.id);
                }
                continue;
            };
            if !self.devices.contains(&parent.device) {
                continue;
            }
            // On what it is mounted, in the parent's file system: the same in every namespace.
            match Place::through(parent, &mount.point) {
                Some(on) => {
                    found.extend(self.holding(on.device, &on.path).map(|key| (mount, Concern::Covers(key))));
                }
                None => lost = Some(mount.id),
            }
        }
        (found, lost)
    }
}

/// The path under which a mount shows a place, or the part of it that it shows.
pub(super) fn view(place: &Place, root: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = below(&place.path, root) {
        return Some(join(point, rest));
    }
    below(root, &place.path).map(|_| point.to_vec())
}

/// What is left of `path` below `base`, component by component; empty for `base` itself.
pub(super) fn below<'p>(path: &'p [u8], base: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(base.strip_suffix(b"/").unwrap_or(base))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

pub(super) fn join(base: &[u8], rest: &[u8]) -> Vec<u8> {
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
pub(super) fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        let parent = path.get(..slash.max(1))?;
        (parent.len() < path.len()).then_some(parent)
    })
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
