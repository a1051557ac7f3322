//! Processes that use something in a target, and what the kernel itself keeps open there: loop devices, swap.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use super::backing;
use super::clues::{Clue, Clues};
use super::places::{Places, Target};
use super::views::{Views, is_deleted};
use super::ways::{Here, Lead, Ways, names};
use super::{reach, words};
use crate::gc::reference::Holder;
use crate::host::proc::files::{self, Devices, FilePath, Manner, Use};
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::task::Task;
use crate::host::proc::{ProcError, devices, links, sockets, task};
use crate::host::search;

/// How long one target is searched for files of which only inode or name is known.
const PATIENCE: Duration = Duration::from_mins(10);

/// How many files of one mount are looked for.
const MOST_PRINTS: usize = 256;

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
}

/// Who may hold a target. There are hundreds, so that it is put into words only when it is found to be so.
#[derive(Debug, Clone)]
pub(super) enum Suspect {
    /// A process, as it uses a file.
    Process(Use),
    /// The kernel, or a mount.
    Other(Holder),
}

impl Suspect {
    fn holder(&self) -> Holder {
        match self {
            Self::Process(seen) => words::process_holder(seen),
            Self::Other(holder) => holder.clone(),
        }
    }
}

/// What a use comes to while the processes are listed.
enum Finding<K> {
    Held(Vec<K>, Use),
    Clue(Clue, Use),
    /// Its path is one that a program wrote, with links and relative to a directory.
    Later(Use),
}

/// Asks the kernel once.
pub(super) fn find<K: Ord + Clone + Send + Sync>(targets: &[Target<K>]) -> Result<Found<K>, ProcError> {
    let namespaces = namespaces::all()?;
    let places = Places::new(targets);
    let views = Views::new(&places, &namespaces);
    let filter = views.filter(sockets::bound()?);
    let uses = files::uses(&filter, |seen| judge(&views, seen))?;
    let mut scan = Scan::new(&places, &views, &namespaces, filter.files);
    for finding in uses.found {
        scan.take(finding)?;
    }
    for (process, error) in uses.closed {
        scan.closed(process, &error)?;
    }
    scan.doubtful_mounts();
    for file in devices::loop_files()? {
        scan.kernel_file(&file.path, file.blocks, &|| words::loop_holder(&file));
    }
    for file in devices::swap_files()? {
        scan.kernel_file(&file, None, &|| words::swap_holder(&file));
    }
    Ok(scan.found())
}

/// Pure.
fn judge<K: Ord + Clone>(views: &Views<'_, K>, seen: &Use) -> Option<Finding<K>> {
    let held = |keys: BTreeSet<&K>| {
        (!keys.is_empty()).then(|| Finding::Held(keys.into_iter().cloned().collect(), seen.clone()))
    };
    let clue = || seen.inode.map(|(_, inode)| Finding::Clue(Clue::Inode(inode), seen.clone()));
    match (seen.manner, &seen.path) {
        (Manner::Socket | Manner::Served | Manner::Registered, _) => Some(Finding::Later(seen.clone())),
        (Manner::Watch, _) => clue(),
        // Its path is that of its own root, where it may mean another file. What was unlinked has nothing else.
        (Manner::MappedFile, FilePath::Told(path)) if !is_deleted(path) && seen.inode.is_some() => clue(),
        (_, FilePath::Told(path)) => match seen.mount {
            // A detached mount, or one that came since: there is no path to it, but the file is one of a file system.
            Some(mount) if !views.knows(mount) => held(views.holding(path, None)).or_else(clue),
            mount => held(views.holding(path, mount)),
        },
        (_, FilePath::TooLong | FilePath::Untold) => held(views.shown_by(seen.mount)),
    }
}

/// From where a task sees paths.
#[derive(Debug, Clone)]
struct Standing<'a> {
    namespace: &'a Namespace,
    root: Vec<u8>,
    here: Vec<u8>,
}

/// The findings, put together.
struct Scan<'a, K> {
    places: &'a Places<'a, K>,
    views: &'a Views<'a, K>,
    namespaces: &'a [Namespace],
    ways: Ways<'a>,
    first: BTreeMap<(K, u32), Use>,
    others: Vec<(K, Holder)>,
    served: Vec<(K, Use)>,
    clues: BTreeMap<Clue, Suspect>,
    files: Devices,
    /// The namespace, the root directory and the working directory of tasks that were looked at.
    tasks: BTreeMap<Task, Option<Standing<'a>>>,
    /// Sockets that were looked at: many descriptors are of the same one.
    sockets: BTreeSet<(Task, Vec<u8>)>,
}

impl<'a, K: Ord + Clone> Scan<'a, K> {
    fn new(
        places: &'a Places<'a, K>,
        views: &'a Views<'a, K>,
        namespaces: &'a [Namespace],
        files: Devices,
    ) -> Self {
        let ways = Ways::new(places.devices().clone(), Box::new(Here));
        let (first, others, served, clues) = (BTreeMap::new(), Vec::new(), Vec::new(), BTreeMap::new());
        let (tasks, sockets) = (BTreeMap::new(), BTreeSet::new());
        Self { places, views, namespaces, ways, first, others, served, clues, files, tasks, sockets }
    }

    fn found(self) -> Found<K> {
        let processes = self.first.into_iter().map(|((key, _), seen)| (key, words::process_holder(&seen)));
        Found { holders: processes.chain(self.others).collect(), served: self.served, clues: self.clues }
    }

    fn take(&mut self, finding: Finding<K>) -> Result<(), ProcError> {
        match finding {
            Finding::Held(keys, seen) => self.hold(keys, &seen),
            Finding::Clue(clue, seen) => self.suspect(clue, &seen),
            Finding::Later(seen) => {
                let FilePath::Told(path) = &seen.path else {
                    let keys = self.reach_of(seen.task.process)?;
                    self.hold(keys, &seen);
                    return Ok(());
                };
                match seen.manner {
                    Manner::Socket => self.socket(&seen, path)?,
                    Manner::Served => self.served(&seen, path)?,
                    Manner::Registered
                    | Manner::WorkingDirectory
                    | Manner::RootDirectory
                    | Manner::Executable
                    | Manner::OpenFile(_)
                    | Manner::MappedFile
                    | Manner::Watch => self.registered(&seen, path)?,
                }
            }
        }
        Ok(())
    }

    fn hold(&mut self, keys: impl IntoIterator<Item = K>, seen: &Use) {
        for key in keys {
            self.first.entry((key, seen.task.process)).or_insert_with(|| seen.clone());
        }
    }

    fn suspect(&mut self, clue: Clue, seen: &Use) {
        self.clues.entry(clue).or_insert_with(|| Suspect::Process(seen.clone()));
    }

    /// A socket lies where its process bound it: in the directory that its path leads to there. Where that does not lead to a socket any
    /// more, because it was renamed or the path was relative to another directory, its name tells.
    fn socket(&mut self, seen: &Use, path: &[u8]) -> Result<(), ProcError> {
        let mut parts: Vec<Vec<u8>> = names(path).collect();
        let Some(name) = parts.pop() else { return Ok(()) };
        if !self.sockets.insert((seen.task, path.to_vec())) {
            return Ok(());
        }
        let start: &[u8] = if path.starts_with(b"/") { b"/" } else { b"" };
        let directory = [start, parts.join(&b'/').as_slice()].concat();
        let lead = self.lead(seen, &directory)?;
        if let Some(Lead::To { place, path }) = &lead {
            let held = self.places.holding(place.device, &place.path).cloned();
            if held.is_some() {
                self.hold(held, seen);
                return Ok(());
            }
            let whole = [path.as_slice(), b"/", name.as_slice()].concat();
            if self.facts(seen, &whole)?.is_some_and(|facts| facts.is_socket) {
                return Ok(());
            }
        }
        if lead != Some(Lead::Foreign) {
            self.suspect(Clue::Socket(name), seen);
        }
        Ok(())
    }

    /// What the command line of a FUSE server names it may open at any moment, if its user is let.
    fn served(&mut self, seen: &Use, word: &[u8]) -> Result<(), ProcError> {
        let parts = word.split(|byte| matches!(byte, b':' | b',' | b'=')).filter(|part| *part != word);
        for text in std::iter::once(word).chain(parts).filter(|text| !text.is_empty()) {
            let plain = before_pattern(text);
            if let Some(Lead::To { place, .. } | Lead::Missing { place, .. }) = self.lead(seen, plain)? {
                let mut keys: Vec<K> =
                    self.places.holding(place.device, &place.path).into_iter().cloned().collect();
                if plain.len() < text.len() {
                    keys.extend(self.places.below(&place).into_iter().cloned());
                }
                self.served.extend(keys.into_iter().map(|key| (key, seen.clone())));
            }
            if !text.starts_with(b"/") {
                let parts: Vec<Vec<u8>> = names(text).collect();
                let keys = self.places.named(&parts).into_iter().cloned();
                self.served.extend(keys.map(|key| (key, seen.clone())));
            }
        }
        Ok(())
    }

    /// The kernel tells the path of a registered file, and neither its mount nor its inode. Before Linux 6.10 its name alone.
    fn registered(&mut self, seen: &Use, path: &[u8]) -> Result<(), ProcError> {
        let keys: Vec<K> = self.views.holding(path, None).into_iter().cloned().collect();
        if is_deleted(path) {
            self.hold(keys, seen);
            return Ok(());
        }
        // What a container has at this path in its own root is another file.
        let own = if path.starts_with(b"/") { self.facts(seen, path)? } else { None };
        if own.is_none_or(|facts| self.files.include(facts.device)) {
            // Through a mount that is there the path begins at its mount point, and through one that was detached at its root.
            self.hold(keys, seen);
            self.suspect(Clue::Plain(path.to_vec()), seen);
        }
        Ok(())
    }

    /// What is seen in a mount whose layers are not where they were is looked for in the targets.
    fn doubtful_mounts(&mut self) {
        for backed in backing::find(self.places, &self.ways, self.namespaces, &[]) {
            let Some((namespace, mount)) =
                backed.seen.iter().find(|(namespace, _)| backed.is_doubtful && namespace.window.is_some())
            else {
                continue;
            };
            for print in links::prints(namespace, &mount.point, MOST_PRINTS) {
                let holder = || Suspect::Other(words::made_of_holder(namespace, mount));
                self.clues.entry(Clue::Print(print)).or_insert_with(holder);
            }
        }
    }

    /// A file that the kernel keeps open itself. Its path is that of the namespace in which it was opened, which may be gone.
    fn kernel_file(&mut self, path: &[u8], blocks: Option<u64>, holder: &dyn Fn() -> Holder) {
        let keys = self.views.holding(path, None);
        if !keys.is_empty() {
            self.others.extend(keys.into_iter().map(|key| (key.clone(), holder())));
        } else if !is_deleted(path) {
            let clue = match blocks {
                Some(blocks) if path == b"/" => Clue::Blocks(blocks),
                Some(_) | None => Clue::Plain(path.to_vec()),
            };
            self.clues.entry(clue).or_insert_with(|| Suspect::Other(holder()));
        }
    }

    /// I14: a process that cannot be looked at holds what it can reach.
    fn closed(&mut self, process: u32, error: &ProcError) -> Result<(), ProcError> {
        for key in self.reach_of(process)? {
            self.others.push((key, words::closed_holder(process, error)));
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "what has ended reaches nothing")]
    fn reach_of(&self, process: u32) -> Result<Vec<K>, ProcError> {
        let mounts = namespaces::read_table(&format!("/proc/{process}/mountinfo"))?.unwrap_or_default();
        Ok(self.views.shown_by_any(&mounts).into_iter().cloned().collect())
    }

    /// What is at a path of the namespace of a process.
    fn facts(&mut self, seen: &Use, path: &[u8]) -> Result<Option<links::Facts>, ProcError> {
        let window = self.task(seen.task)?.and_then(|standing| standing.namespace.window);
        Ok(window.and_then(|window| links::facts(window, path)))
    }

    /// Where a path leads that a process wrote.
    fn lead(&mut self, seen: &Use, path: &[u8]) -> Result<Option<Lead>, ProcError> {
        let Some(Standing { namespace, root, here }) = self.task(seen.task)? else { return Ok(None) };
        let base = if path.starts_with(b"/") { &root } else { &here };
        // An absolute path begins at the root directory of the process, which need not be that of its namespace.
        let below = path.strip_prefix(b"/").unwrap_or(path);
        Ok(Some(self.ways.lead(namespace, base, if base == b"/" { path } else { below })))
    }

    /// The namespace of a task, its root directory and its working directory; none when it has ended.
    fn task(&mut self, task: Task) -> Result<Option<Standing<'a>>, ProcError> {
        if let Some(known) = self.tasks.get(&task) {
            return Ok(known.clone());
        }
        let (id, root, here) = (task.namespace()?, task.root()?, task::working_directory(task)?);
        let namespace = self.namespaces.iter().find(|known| Some(known.id) == id);
        let found = match (namespace, root, here) {
            (Some(namespace), Some(root), Some(here)) => Some(Standing { namespace, root, here }),
            (None, _, _) | (_, None, _) | (_, _, None) => None,
        };
        self.tasks.insert(task, found.clone());
        Ok(found)
    }
}

/// The part of a path before the first name with a pattern in it, which a FUSE server may expand itself.
#[expect(
    clippy::disallowed_methods,
    reason = "a pattern without a directory before it begins where the process is"
)]
fn before_pattern(path: &[u8]) -> &[u8] {
    let Some(first) = path.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{')) else {
        return path;
    };
    let slash = path.get(..first).and_then(|before| before.iter().rposition(|byte| *byte == b'/'));
    slash.and_then(|slash| path.get(..=slash)).unwrap_or_default()
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
pub(super) fn search<K: Clone>(inside: &[Inside<K>], clues: &BTreeMap<Clue, Suspect>) -> Vec<(K, Holder)> {
    if clues.is_empty() {
        return Vec::new();
    }
    let (texts, suspects): (Vec<Clue>, Vec<&Suspect>) =
        clues.iter().map(|(clue, suspect)| (clue.clone(), suspect)).unzip();
    let texts = Clues::new(&texts);
    let mut found = Vec::new();
    for inside in inside {
        let Some(directory) = &inside.directory else { continue };
        let searched = search::search(directory.as_fd(), texts.wanted(), PATIENCE);
        let top = inside.target.places.first();
        let fits = searched.hits.iter().filter_map(|hit| {
            let clue = texts.fit(top?, hit)?;
            Some((suspects.get(clue)?.holder(), hit))
        });
        found.extend(
            fits.map(|(holder, hit)| (inside.target.key.clone(), words::found_holder(&holder, &hit.path))),
        );
        if let Some(why) = searched.left_out {
            found.push((inside.target.key.clone(), words::unsearched_holder(&why)));
        }
    }
    found
}
