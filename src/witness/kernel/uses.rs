//! Processes that use something in a target, and what the kernel itself keeps open there: loop devices, swap.

mod scan;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use scan::Scan;

use super::clues::{Clue, Clues};
use super::places::{Places, Target};
use super::reach::Fence;
use super::shown::{self, Doubt};
use super::views::{Views, is_deleted};
use super::{reach, silent, words};
use crate::gc::reference::Holder;
use crate::host::proc::files::{self, FilePath, Filter, Manner, Use};
use crate::host::proc::mountinfo::Device;
use crate::host::proc::prints::{self, Print};
use crate::host::proc::{ProcError, devices, namespaces, sockets};
use crate::host::search;

/// How long one target is searched for files of which only inode or name is known.
const PATIENCE: Duration = Duration::from_mins(10);

/// A target, and its directory as it was opened.
#[derive(Debug)]
pub struct Inside<K> {
    /// The target, with one place.
    pub target: Target<K>,
    /// The directory at that place, if there is one.
    pub directory: Option<OwnedFd>,
}

/// What processes are known to use, and what has to be looked for.
#[derive(Debug)]
pub(super) struct Found<K> {
    pub(super) holders: Vec<(K, Holder)>,
    /// What the words of FUSE servers lead to.
    pub(super) served: Vec<(K, Use)>,
    /// Who is in question, by what is known of the file. Of several the first stands for all.
    pub(super) clues: BTreeMap<Clue, Suspect>,
    /// What shows more files than were looked at.
    pub(super) large: Vec<Large>,
}

/// A file system that shows more files than were looked at.
#[derive(Debug)]
pub(super) struct Large {
    device: Device,
    top: Vec<u8>,
    /// What keeps that path.
    kept: Option<Arc<OwnedFd>>,
    suspect: Suspect,
}

/// Who may hold a target. There are hundreds, so that it is put into words only when it is found to be so.
#[derive(Debug, Clone)]
pub(super) enum Suspect {
    /// A process, as it uses a file.
    Process(Arc<Use>),
    /// The kernel, or a mount.
    Other(Arc<Holder>),
}

impl Suspect {
    fn holder(&self) -> Holder {
        match self {
            Self::Process(seen) => words::process_holder(seen),
            Self::Other(holder) => Holder::clone(holder),
        }
    }
}

/// What a use comes to while the processes are listed.
struct Finding<K> {
    seen: Use,
    held: Vec<K>,
    clue: Option<Clue>,
    open: Option<Open>,
}

/// What has to be found out when all mounts are at hand.
enum Open {
    /// Its path is one that a program wrote, with links and relative to a directory.
    Written,
    /// Its path is `/`: it is the root of its mount, or has none.
    Root,
    /// It is on a file system that is in no table.
    Detached,
}

/// Asks the kernel once.
pub(super) fn find<K: Ord + Clone + Send + Sync>(inside: &[Inside<K>]) -> Result<Found<K>, ProcError> {
    let targets: Vec<Target<K>> = inside.iter().map(|inside| inside.target.clone()).collect();
    let targets = targets.as_slice();
    let namespaces = namespaces::all()?;
    let places = Places::new(targets);
    let views = Views::new(&places, &namespaces);
    let filter = views.filter(sockets::bound()?);
    let uses = files::uses(&filter, |seen| judge(&views, &filter, seen))?;
    let mut scan = Scan::new(&places, &views, &namespaces, filter.files, tops(inside));
    for finding in uses.found {
        scan.take(finding)?;
    }
    for (process, error) in uses.closed {
        scan.closed(process, &error)?;
    }
    scan.doubtful_mounts()?;
    scan.mounts_without_path();
    for file in devices::loop_files()? {
        scan.kernel_file(&file.path, file.blocks, &|| words::loop_holder(&file));
    }
    for file in devices::swap_files()? {
        scan.kernel_file(&file, None, &|| words::swap_holder(&file));
    }
    scan.judge_doubts(&fences(inside));
    Ok(scan.found())
}

/// What keeps users from the targets.
#[expect(clippy::disallowed_methods, reason = "where nothing is known to keep anybody out, more is held")]
fn fences<K>(inside: &[Inside<K>]) -> Vec<Fence> {
    let opened = inside.iter().filter_map(|inside| inside.directory.as_ref());
    opened.filter_map(|directory| reach::fences(directory.as_fd()).ok()).flatten().collect()
}

/// The directories of the targets, as they are seen elsewhere.
#[expect(clippy::disallowed_methods, reason = "what is seen below one that is not known is looked for in it")]
fn tops<K>(inside: &[Inside<K>]) -> Arc<[Print]> {
    let opened = inside.iter().filter_map(|inside| inside.directory.as_ref());
    opened.filter_map(|directory| prints::of_open(directory).ok()).collect()
}

/// Pure.
fn judge<K: Ord + Clone>(views: &Views<'_, K>, filter: &Filter, seen: &Use) -> Option<Finding<K>> {
    let none = || BTreeSet::new();
    let on = |is_one: &dyn Fn(Device) -> bool| seen.inode.filter(|(device, _)| is_one(*device));
    let inode = || on(&|device| filter.files.include(device)).map(|(_, inode)| Clue::Inode(inode));
    let may_be_others = |path: &[u8]| {
        let is_path = path.starts_with(b"/") && !files::is_in_memory(path);
        is_path && on(&|device| device.major == 0 && !views.is_on(device)).is_some()
    };
    let is_mapped_elsewhere =
        seen.manner == Manner::MappedFile && on(&|device| filter.is_detached(device)).is_some();
    let (held, clue, open) = match (seen.manner, &seen.path) {
        (_, FilePath::Told(path)) if is_mapped_elsewhere => {
            (views.holding(path, None), None, Some(Open::Detached))
        }
        (Manner::Socket | Manner::Served | Manner::Registered, _) => (none(), None, Some(Open::Written)),
        (Manner::Watch, _) => (none(), inode(), None),
        // Its path is that of its own root, where it may mean another file. What was unlinked may have nothing else.
        (Manner::MappedFile, FilePath::Told(path)) if !is_deleted(path) && seen.inode.is_some() => {
            (none(), inode(), None)
        }
        (_, FilePath::Told(path)) => match seen.mount.map(|mount| (mount, views.point(mount))) {
            // A detached mount, or one that came since: there is no path to it, but the file is one of a file system.
            Some((_, None)) => {
                let held = views.holding(path, None);
                let clue = inode().filter(|_| held.is_empty());
                (held, clue, may_be_others(path).then_some(Open::Detached))
            }
            Some((mount, Some(b"/"))) if path == b"/" => {
                (views.holding(path, Some(mount)), None, Some(Open::Root))
            }
            mount => {
                let held = views.holding(path, mount.map(|(mount, _)| mount));
                (held, inode().filter(|_| seen.is_doubtful()), None)
            }
        },
        // It lies in what its mount shows, or has left that.
        (_, FilePath::TooLong | FilePath::Untold) => (views.shown_by(seen.mount), inode(), None),
    };
    let held: Vec<K> = held.into_iter().cloned().collect();
    let is_something = !held.is_empty() || clue.is_some() || open.is_some();
    is_something.then(|| Finding { seen: seen.clone(), held, clue, open })
}

/// What FUSE servers may open of what their words lead to. An unprivileged user can name any path in the words of a server of his own.
pub(super) fn opened<K: Ord + Clone>(inside: &[Inside<K>], served: Vec<(K, Use)>) -> Vec<(K, Holder)> {
    let mut first: BTreeMap<(K, u32), Use> = BTreeMap::new();
    for (key, seen) in served {
        first.entry((key, seen.task.process)).or_insert(seen);
    }
    let may_open = |((key, process), seen): ((K, u32), Use)| {
        let target = inside.iter().find(|inside| inside.target.key == key);
        target
            .is_none_or(|inside| reach::may_open(process, inside))
            .then(|| (key, words::process_holder(&seen)))
    };
    first.into_iter().filter_map(may_open).collect()
}

/// Looks for the files in question. Not to know is to be held (I2).
pub(super) fn search<K: Clone>(
    inside: &[&Inside<K>],
    clues: &BTreeMap<Clue, Suspect>,
    large: &[Large],
) -> Vec<(K, Holder)> {
    let (texts, suspects): (Vec<Clue>, Vec<&Suspect>) =
        clues.iter().map(|(clue, suspect)| (clue.clone(), suspect)).unzip();
    let texts = Clues::new(&texts);
    let mut found = Vec::new();
    for inside in inside {
        let Some(directory) = &inside.directory else { continue };
        let key = || inside.target.key.clone();
        found.extend(large.iter().filter_map(|large| Some((key(), large.shows(directory)?))));
        if clues.is_empty() {
            continue;
        }
        let searched = search::search(directory.as_fd(), texts.wanted(), PATIENCE);
        let top = inside.target.places.first();
        let fits = searched.hits.iter().filter_map(|hit| {
            let clue = texts.fit(top?, hit)?;
            Some((suspects.get(clue)?.holder(), hit))
        });
        found.extend(fits.map(|(holder, hit)| (key(), words::found_holder(&holder, &hit.path))));
        if let Some(why) = searched.left_out {
            found.push((key(), words::unsearched_holder(&why)));
        }
    }
    found
}

impl Large {
    /// Whether it shows one of the first files of a directory at the path that it has there.
    fn shows(&self, directory: &OwnedFd) -> Option<Holder> {
        let holder = self.suspect.holder();
        let Ok(copy) = directory.try_clone() else {
            return Some(words::doubtful_holder(&holder, &Doubt::silent().why()));
        };
        let (top, kept) = (self.top.clone(), self.kept.clone());
        let look = move || {
            let found = prints::shown_of(&top, &prints::path_of(&copy), shown::MOST);
            drop(kept);
            found
        };
        match silent::ask(self.device, look) {
            Some(found) => found.map(|path| words::found_holder(&holder, &path)),
            None => Some(words::doubtful_holder(&holder, &Doubt::silent().why())),
        }
    }
}
