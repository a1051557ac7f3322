//! The findings of one look, put together with the mounts at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::written::Standing;
use super::{Finding, Found, Large, Open, Suspect};
use crate::gc::reference::Holder;
use crate::host::proc::files::{Devices, Use};
use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::prints::Print;
use crate::host::proc::task::Task;
use crate::host::proc::{ProcError, links, owner};
use crate::witness::kernel::backing::Host;
use crate::witness::kernel::clues::Clue;
use crate::witness::kernel::mounts::host_namespaces;
use crate::witness::kernel::places::Places;
use crate::witness::kernel::reach::Fence;
use crate::witness::kernel::shown::Doubt;
use crate::witness::kernel::views::{Views, is_deleted};
use crate::witness::kernel::ways::{Here, Ways};
use crate::witness::kernel::{backing, detached, loud, reach, shown, words};

/// How many file systems with more files than volgc looks at are compared with each target.
const MOST_LARGE: usize = 64;

/// What may show files that were not seen.
pub(super) enum Doubtful<'a> {
    Mount { namespace: &'a Namespace, mount: &'a MountLine, namespaces: Vec<&'a Namespace> },
    Process(Use),
}

impl Doubtful<'_> {
    fn suspect(&self) -> Suspect {
        match self {
            Self::Mount { namespace, mount, .. } => {
                Suspect::Other(Arc::new(words::made_of_holder(namespace, mount)))
            }
            Self::Process(seen) => Suspect::Process(Arc::new(seen.clone())),
        }
    }
}

/// The findings, put together.
pub(super) struct Scan<'a, K> {
    pub(super) places: &'a Places<'a, K>,
    pub(super) views: &'a Views<'a, K>,
    pub(super) namespaces: &'a [Namespace],
    pub(super) ways: Ways<'a>,
    pub(super) first: BTreeMap<(K, u32), Use>,
    pub(super) others: Vec<(K, Holder)>,
    pub(super) served: Vec<(K, Use)>,
    pub(super) clues: BTreeMap<Clue, Suspect>,
    pub(super) files: Devices,
    /// File systems in no table that were looked at whole.
    pub(super) whole: BTreeSet<Device>,
    /// How many files of these may be looked at yet: of those that anybody could have made, and of others (I14).
    pub(super) left: [usize; 2],
    /// What may show files that were not seen.
    pub(super) doubts: Vec<(Doubtful<'a>, String)>,
    pub(super) large: Vec<Large>,
    /// The directories of the targets.
    pub(super) tops: Arc<[Print]>,
    /// Those that show no others.
    pub(super) plain: BTreeSet<Device>,
    /// The root directories of mounts at `/`.
    pub(super) roots: BTreeMap<u64, Option<(Device, u64)>>,
    /// The namespace, the root directory and the working directory of tasks that were looked at.
    pub(super) tasks: BTreeMap<Task, Option<Standing<'a>>>,
    /// Sockets that were looked at: many descriptors are of the same one.
    pub(super) sockets: BTreeSet<(Task, Vec<u8>)>,
}

impl<'a, K: Ord + Clone> Scan<'a, K> {
    pub(super) fn new(
        places: &'a Places<'a, K>,
        views: &'a Views<'a, K>,
        namespaces: &'a [Namespace],
        files: Devices,
        tops: Arc<[Print]>,
    ) -> Self {
        let ways = Ways::new(places.devices().clone(), Box::new(Here));
        let (first, others, served, clues) = (BTreeMap::new(), Vec::new(), Vec::new(), BTreeMap::new());
        let (whole, plain, left) = (BTreeSet::new(), BTreeSet::new(), [shown::MOST_OF_ALL; 2]);
        let (doubts, large) = (Vec::new(), Vec::new());
        let (roots, tasks, sockets) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self {
            places,
            views,
            namespaces,
            ways,
            first,
            others,
            served,
            clues,
            files,
            whole,
            left,
            doubts,
            large,
            tops,
            plain,
            roots,
            tasks,
            sockets,
        }
    }

    pub(super) fn found(self) -> Found<K> {
        let processes = self.first.into_iter().map(|((key, _), seen)| (key, words::process_holder(&seen)));
        Found {
            holders: processes.chain(self.others).collect(),
            served: self.served,
            clues: self.clues,
            large: self.large,
        }
    }

    pub(super) fn take(&mut self, finding: Finding<K>) -> Result<(), ProcError> {
        let Finding { seen, held, clue, open } = finding;
        self.hold(held, &seen);
        self.suspect(clue, &seen);
        match open {
            Some(Open::Written) => self.written(&seen)?,
            Some(Open::Root) => self.root(&seen),
            Some(Open::Detached) => self.detached(&seen),
            None => {}
        }
        Ok(())
    }

    pub(super) fn detached(&mut self, seen: &Use) {
        let Some((device, _)) = seen.inode.filter(|(device, _)| !self.plain.contains(device)) else { return };
        let anybody = usize::from(matches!(owner::powerless(seen.task.process), Ok(Some(_))));
        let left = self.left.get(anybody).copied().unwrap_or(0);
        // The whole of a file system needs to be looked through once.
        let most = if self.whole.insert(device) { shown::MANY.min(left) } else { 1 };
        let Some(found) = detached::look(seen, device, most, &self.tops) else {
            self.plain.insert(device);
            return;
        };
        if let Some(left) = self.left.get_mut(anybody) {
            *left -= found.clues.len().min(*left);
        }
        // That was one file, which shows nothing of the others.
        if found.clues.len() <= 1 {
            self.whole.remove(&device);
        }
        self.suspect(found.clues, seen);
        match found.doubt.filter(|_| most != 1) {
            Some(Doubt::More(top)) => {
                self.more(device, top, found.top, Doubtful::Process(seen.clone()));
            }
            Some(Doubt::Unseen(why)) => self.doubts.push((Doubtful::Process(seen.clone()), why)),
            None => {}
        }
    }

    /// What shows more files than were looked at is compared with the targets themselves, but not any number of them.
    fn more(&mut self, device: Device, top: Vec<u8>, kept: Option<Arc<OwnedFd>>, who: Doubtful<'a>) {
        if self.large.len() < MOST_LARGE {
            let suspect = who.suspect();
            self.large.push(Large { device, top, kept, suspect });
        } else {
            self.doubts.push((who, Doubt::More(top).why()));
        }
    }

    /// Who is in the root directory of his mount is nowhere else. Any other file of that path has no path.
    pub(super) fn root(&mut self, seen: &Use) {
        let (Some(inode), Some(mount)) = (seen.inode, seen.mount) else { return };
        let namespaces = self.namespaces;
        let root = self.roots.entry(mount).or_insert_with(|| {
            let is_in = |namespace: &&Namespace| namespace.mounts.iter().any(|line| line.id == mount);
            let window = namespaces.iter().find(is_in)?.window?;
            links::facts(window, b"/").map(|facts| (facts.device, facts.inode))
        });
        if *root != Some(inode) && self.files.include(inode.0) {
            self.suspect([Clue::Inode(inode.1)], seen);
        }
    }

    pub(super) fn hold(&mut self, keys: impl IntoIterator<Item = K>, seen: &Use) {
        for key in keys {
            self.first.entry((key, seen.task.process)).or_insert_with(|| seen.clone());
        }
    }

    pub(super) fn suspect(&mut self, clues: impl IntoIterator<Item = Clue>, seen: &Use) {
        // One for all of them: a file system may show tens of thousands.
        let mut shared: Option<Arc<Use>> = None;
        for clue in clues {
            let seen = shared.get_or_insert_with(|| Arc::new(seen.clone()));
            self.clues.entry(clue).or_insert_with(|| Suspect::Process(Arc::clone(seen)));
        }
    }

    /// What is seen in mounts whose text does not tell what they show.
    pub(super) fn doubtful_mounts(&mut self) -> Result<(), ProcError> {
        let ids = host_namespaces()?;
        let namespaces: Vec<&Namespace> =
            self.namespaces.iter().filter(|namespace| ids.contains(&namespace.id)).collect();
        let host = Host { namespaces: &namespaces, is_followed: false };
        let mut all = backing::find(self.places, &self.ways, self.namespaces, host);
        // Volumes may lie on an overlay: they are seen in it because of that.
        all.retain(|backed| {
            !backed.seen.iter().any(|(_, mount)| self.places.devices().contains(&mount.device))
        });
        for seen in shown::beyond_text(all, &self.tops) {
            let shown::Seen { namespace, mount, namespaces, clues, doubt } = seen;
            if !clues.is_empty() {
                let holder = Arc::new(words::made_of_holder(namespace, mount));
                for clue in clues {
                    self.clues.entry(clue).or_insert_with(|| Suspect::Other(Arc::clone(&holder)));
                }
            }
            let who = Doubtful::Mount { namespace, mount, namespaces };
            match doubt {
                Some(Doubt::More(top)) => self.more(mount.device, top, None, who),
                Some(Doubt::Unseen(why)) => self.doubts.push((who, why)),
                None => {}
            }
        }
        Ok(())
    }

    /// I2: what cannot be seen may show every target that can be reached by whoever made it, and no other one (I14).
    pub(super) fn judge_doubts(&mut self, fences: &[Fence]) {
        for (who, why) in std::mem::take(&mut self.doubts) {
            let (reached, holder) = match &who {
                Doubtful::Mount { namespace, mount, namespaces } => {
                    (reach::of(self.places, namespaces, fences), words::mount_of(namespace, mount))
                }
                Doubtful::Process(seen) => {
                    (reach::of_process(self.places, seen.task.process, fences), words::process_holder(seen))
                }
            };
            if !reached.is_empty() {
                let holder = words::doubtful_holder(&holder, &why);
                loud::tell(&holder);
                self.others.extend(reached.into_iter().map(|key| (key.clone(), holder.clone())));
            }
        }
    }

    /// A file that was opened by handle has no path, and a mount of it the one of the root of the file system.
    pub(super) fn mounts_without_path(&mut self) {
        for namespace in self.namespaces {
            for mount in namespace.mounts.iter().filter(|mount| mount.root == b"/" && mount.point != b"/") {
                let window = namespace.window.filter(|_| self.places.devices().contains(&mount.device));
                let facts = window.and_then(|window| links::facts(window, &mount.point));
                if let Some(facts) =
                    facts.filter(|facts| !facts.is_directory && self.files.include(facts.device))
                {
                    let holder = || Suspect::Other(Arc::new(words::made_of_holder(namespace, mount)));
                    self.clues.entry(Clue::Inode(facts.inode)).or_insert_with(holder);
                }
            }
        }
    }

    /// A file that the kernel keeps open itself. Its path is that of the namespace in which it was opened, which may be gone.
    pub(super) fn kernel_file(&mut self, path: &[u8], blocks: Option<u64>, holder: &dyn Fn() -> Holder) {
        let keys = self.views.holding(path, None);
        if !keys.is_empty() {
            self.others.extend(keys.into_iter().map(|key| (key.clone(), holder())));
        } else if !is_deleted(path) {
            let clue = match blocks {
                Some(blocks) if path == b"/" => Clue::Blocks(blocks),
                Some(_) | None => Clue::Plain(path.to_vec()),
            };
            self.clues.entry(clue).or_insert_with(|| Suspect::Other(Arc::new(holder())));
        }
    }

    /// I14: a process that cannot be looked at holds what it can reach.
    pub(super) fn closed(&mut self, process: u32, error: &ProcError) -> Result<(), ProcError> {
        for key in self.reach_of(process)? {
            self.others.push((key, words::closed_holder(process, error)));
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "what has ended reaches nothing")]
    pub(super) fn reach_of(&self, process: u32) -> Result<Vec<K>, ProcError> {
        let mounts = namespaces::read_table(&format!("/proc/{process}/mountinfo"))?.unwrap_or_default();
        Ok(self.views.shown_by_any(&mounts).into_iter().cloned().collect())
    }
}
