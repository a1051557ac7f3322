//! The paths under which the targets can be reached, in any namespace. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::places::{Place, Places, upwards, view};
use crate::host::proc::files::{self, DELETED, Devices, Filter, Reach};
use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::sockets::Bound;

/// The paths under which the targets can be reached, so that the path of an open file is enough to find those that may lie in one.
/// A path that only looks like one, because another namespace uses it for something else, is told apart by its mount.
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
            .filter(|mount| places.devices().contains(&mount.device))
            .map(|mount| (mount.device, mount.root.as_slice(), mount.point.as_slice()))
            .collect();
        let mut by_path: BTreeMap<Vec<u8>, BTreeSet<&K>> = BTreeMap::new();
        for (device, root, point) in relevant {
            for target in places.targets() {
                for place in target.places.iter().filter(|place| place.device == device) {
                    if let Some(path) = view(place, root, point) {
                        by_path.entry(path).or_default().insert(&target.key);
                    }
                }
            }
        }
        Self { places, by_path, by_mount: mounts().map(|mount| (mount.id, mount)).collect() }
    }

    /// What need not be looked at, because it cannot concern a target.
    pub(super) fn filter(&self, sockets: Bound) -> Filter {
        let devices = self.places.devices();
        let kinds: BTreeSet<&[u8]> = self
            .by_mount
            .values()
            .filter(|mount| devices.contains(&mount.device))
            .map(|mount| mount.kind.as_slice())
            .collect();
        // Subvolumes and layers give files devices of their own.
        let has_many = |kinds_with_many: &[&[u8]]| kinds.iter().any(|kind| kinds_with_many.contains(kind));
        let these = || Devices::These(devices.clone());
        let reach = |mount: &&MountLine| {
            if self.is_shown_by(mount) { Reach::Something } else { Reach::Nothing }
        };
        Filter {
            files: if has_many(&[b"btrfs", b"bcachefs", b"overlay"]) { Devices::Any } else { these() },
            systems: if has_many(&[b"overlay"]) { Devices::Any } else { these() },
            mounts: self.by_mount.iter().map(|(id, mount)| (*id, reach(mount))).collect(),
            mounted: self.by_mount.values().map(|mount| mount.device).collect(),
            pipes: files::pipes(),
            sockets,
        }
    }

    /// The point of a mount, seen from the root of its namespace; none of one that was detached, or came after the tables were read.
    pub(super) fn point(&self, mount: u64) -> Option<&'a [u8]> {
        self.by_mount.get(&mount).map(|mount| mount.point.as_slice())
    }

    /// Whether a target is on this device.
    pub(super) fn is_on(&self, device: Device) -> bool {
        self.places.devices().contains(&device)
    }

    /// The targets that a file with this path may lie in; `mount` is the one through which it was reached, if that is known.
    pub(super) fn holding(&self, path: &[u8], mount: Option<u64>) -> BTreeSet<&'a K> {
        let undeleted = path.strip_suffix(DELETED).unwrap_or(path);
        let reached =
            mount.and_then(|id| self.by_mount.get(&id)).and_then(|mount| Place::through(mount, undeleted));
        match reached {
            Some(place) => self.places.holding(place.device, &place.path).into_iter().collect(),
            // A mount that no namespace has any more is not known: then the path decides (I2).
            None => upwards(undeleted)
                .flat_map(|above| self.by_path.get(above).into_iter().flatten().copied())
                .collect(),
        }
    }

    /// The targets that can be reached through a mount, for a file of which nothing else is known: it may lie in each of them
    /// (I2).
    pub(super) fn shown_by(&self, mount: Option<u64>) -> BTreeSet<&'a K> {
        let mount = mount.and_then(|id| self.by_mount.get(&id).copied());
        self.reached_through(|place| mount.is_none_or(|mount| shows(mount, place)))
    }

    /// The targets that can be reached through any of these mounts.
    pub(super) fn shown_by_any(&self, mounts: &[MountLine]) -> BTreeSet<&'a K> {
        self.reached_through(|place| mounts.iter().any(|mount| shows(mount, place)))
    }

    fn reached_through(&self, is_shown: impl Fn(&Place) -> bool) -> BTreeSet<&'a K> {
        let targets = self.places.targets().iter();
        targets.filter(|target| target.places.iter().any(&is_shown)).map(|target| &target.key).collect()
    }

    fn is_shown_by(&self, mount: &MountLine) -> bool {
        self.places.devices().contains(&mount.device)
            && self
                .places
                .targets()
                .iter()
                .any(|target| target.places.iter().any(|place| shows(mount, place)))
    }
}

/// Whether a mount shows a place, or a part of it.
pub(super) fn shows(mount: &MountLine, place: &Place) -> bool {
    mount.device == place.device && view(place, &mount.root, &mount.point).is_some()
}

/// Whether the kernel tells of a file that was unlinked.
pub(super) fn is_deleted(path: &[u8]) -> bool {
    path.ends_with(DELETED)
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
