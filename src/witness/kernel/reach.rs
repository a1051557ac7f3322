//! What the processes of a namespace can reach. What an unprivileged user mounts in a namespace of his own may be named after any
//! volume, but is made of what he could open.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::EvidenceError;
use super::places::{Place, Places, Target, below};
use super::uses::Inside;
use super::views::shows;
use crate::host::directory;
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::owner::{self, Ids};

/// A directory on the way to the volumes, and who may go through it.
#[derive(Debug, Clone)]
pub struct Fence {
    place: Place,
    user: u32,
    group: u32,
    mode: u32,
    lists: Lists,
}

/// Whether somebody else may go through a directory, by an access control list (`acl(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Somebody,
    Nobody,
}

/// A directory, such as that of the volumes, and what is above it on its file system, which is where mounts of any namespace lead from.
pub(super) fn fences(lowest: BorrowedFd<'_>) -> Result<Vec<Fence>, EvidenceError> {
    let silent = |error: Errno| super::silent(format!("the way to the volumes cannot be looked at: {error}"));
    let mut place = super::place_of(lowest)?;
    let mut here = directory::open_child(lowest, c".").map_err(silent)?;
    let mut fences = Vec::new();
    loop {
        let facts = directory::facts(here.as_fd()).map_err(silent)?;
        let lists = if has_list(&here) { Lists::Somebody } else { Lists::Nobody };
        let owner = facts.ownership;
        fences.push(Fence {
            place: place.clone(),
            user: owner.uid,
            group: owner.gid,
            mode: owner.mode,
            lists,
        });
        let Some(above) = super::places::upwards(&place.path).nth(1).map(<[u8]>::to_vec) else {
            return Ok(fences);
        };
        if facts.is_mount_root {
            return Ok(fences);
        }
        place.path = above;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, c"..", flags, Mode::empty()).map_err(silent)?;
    }
}

/// A list that cannot be read may let anybody through.
fn has_list(directory: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut value = [0_u8; 4096];
    match rustix::fs::getxattr(path, c"system.posix_acl_access", &mut value) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => false,
        Ok(_) | Err(_) => true,
    }
}

impl Fence {
    fn stops(&self, ids: &Ids) -> bool {
        let is_let = |bit: u32| self.mode & bit != 0;
        !(is_let(0o001)
            || (is_let(0o010) && ids.has_group(self.group))
            || (is_let(0o100) && ids.has_user(self.user))
            || (is_let(0o010) && self.lists == Lists::Somebody))
    }
}

/// The targets that may be part of what is mounted in all of these namespaces alone: those that can be reached in one of them. All of
/// them, where somebody in there may be root.
pub(super) fn of<'a, K: Ord>(
    places: &'a Places<'a, K>,
    namespaces: &[&Namespace],
    fences: &[Fence],
) -> BTreeSet<&'a K> {
    let all = || places.targets().iter().map(|target| &target.key).collect();
    let mut found = BTreeSet::new();
    for namespace in namespaces {
        match owner::unprivileged(&namespace.tasks) {
            Ok(Some(ids)) => found.extend(within(places, &namespace.mounts, &ids, fences)),
            Ok(None) | Err(_) => return all(),
        }
    }
    found
}

/// The targets that a process may use: those that it can reach, or all of them, where it may be root.
pub(super) fn of_process<'a, K: Ord>(
    places: &'a Places<'a, K>,
    process: u32,
    fences: &[Fence],
) -> BTreeSet<&'a K> {
    let mounts = namespaces::read_table(&format!("/proc/{process}/mountinfo"));
    match (owner::powerless(process), mounts) {
        (Ok(Some(ids)), Ok(Some(mounts))) => within(places, &mounts, &ids, fences),
        (Ok(_) | Err(_), _) => places.targets().iter().map(|target| &target.key).collect(),
    }
}

/// Whether a process may open what is in a target by a path that it was given. Not to know is that it may (I2).
pub(super) fn may_open<K: Ord>(process: u32, inside: &Inside<K>) -> bool {
    let (Some(directory), Ok(Some(ids))) = (&inside.directory, owner::powerless(process)) else {
        return true;
    };
    let mounts = namespaces::read_table(&format!("/proc/{process}/mountinfo"));
    let (Ok(fences), Ok(Some(mounts))) = (fences(directory.as_fd()), mounts) else { return true };
    !within(&Places::new(std::slice::from_ref(&inside.target)), &mounts, &ids, &fences).is_empty()
}

fn within<'a, K: Ord>(
    places: &'a Places<'a, K>,
    mounts: &[MountLine],
    ids: &Ids,
    fences: &[Fence],
) -> BTreeSet<&'a K> {
    let closed: Vec<&Place> =
        fences.iter().filter(|fence| fence.stops(ids)).map(|fence| &fence.place).collect();
    let is_reached = |target: &Target<K>| {
        target.places.iter().any(|place| {
            mounts.iter().any(|mount| {
                let is_between = |fence: &&&Place| {
                    fence.device == place.device
                        && below(&fence.path, &mount.root).is_some()
                        && below(&place.path, &fence.path).is_some()
                };
                shows(mount, place) && !closed.iter().any(|fence| is_between(&fence))
            })
        })
    };
    places.targets().iter().filter(|target| is_reached(target)).map(|target| &target.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::proc::mountinfo::{Device, parse_mountinfo};

    const DISK: Device = Device { major: 8, minor: 1 };

    fn place(path: &str) -> Place {
        Place { device: DISK, path: path.as_bytes().to_vec() }
    }

    fn reached(mode: u32, lists: Lists, table: &str) -> Vec<&'static str> {
        let targets =
            ["a", "b"].map(|key| Target { key, places: vec![place(&format!("/docker/volumes/{key}"))] });
        let fence = |path, mode, lists| Fence { place: place(path), user: 0, group: 0, mode, lists };
        let fences = [
            fence("/docker/volumes", 0o701, Lists::Nobody),
            fence("/docker", mode, lists),
            fence("/", 0o755, Lists::Nobody),
        ];
        let ids = Ids { users: vec![1000..=1000], groups: vec![1000..=1000] };
        let mounts = parse_mountinfo(table.as_bytes()).unwrap();
        within(&Places::new(&targets), &mounts, &ids, &fences).into_iter().copied().collect()
    }

    #[test]
    fn a_user_reaches_what_no_directory_keeps_from_him() {
        let root = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
        assert!(reached(0o710, Lists::Nobody, root).is_empty());
        assert_eq!(reached(0o711, Lists::Nobody, root), ["a", "b"]);
        assert_eq!(reached(0o710, Lists::Somebody, root), ["a", "b"]);
        // A volume that is mounted where he can reach it.
        let shown = format!("{root}2 1 8:1 /docker/volumes/a/_data /srv/a rw - ext4 /dev/sda1 rw\n");
        assert_eq!(reached(0o710, Lists::Nobody, &shown), ["a"]);
        let all = format!("{root}2 1 8:1 /docker/volumes /srv/all rw - ext4 /dev/sda1 rw\n");
        assert_eq!(reached(0o710, Lists::Nobody, &all), ["a", "b"]);
        assert!(reached(0o711, Lists::Nobody, "1 0 8:2 / / rw - ext4 /dev/sdb1 rw\n").is_empty());
    }
}
