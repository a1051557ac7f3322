//! Every mount namespace and its mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::mountinfo::{MountLine, parse_mountinfo};
use super::task::{self, Task};
use super::{ProcError, enter, sight};

/// How often a table that changes while it is read is read again, and processes that end while they are asked are listed again.
const TRIES: u32 = 16;

/// One mount namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its identifier, the number in `mnt:[4026531840]`.
    pub id: u64,
    /// A thread that is in it; none when only a mount keeps it.
    pub task: Option<Task>,
    /// A thread whose root directory is that of the namespace, to look at its paths through.
    pub window: Option<Task>,
    /// Every thread that was in it.
    pub tasks: Vec<Task>,
    /// Its mounts, seen from its root directory.
    pub mounts: Vec<MountLine>,
    /// Why some of its mounts may be missing here: nobody is in it whose root directory is its own, and it cannot be entered.
    pub hidden: Option<String>,
}

impl Namespace {
    /// One with these mounts, in which nobody is.
    pub fn bare(id: u64, mounts: Vec<MountLine>) -> Self {
        Self { id, task: None, window: None, tasks: Vec::new(), mounts, hidden: None }
    }
}

enum Look {
    Read(Namespace),
    /// Every thread that was in it has ended or left. Another one may have been born into it.
    Gone,
}

/// Every mount namespace with its mounts, read once each.
///
/// # Errors
///
/// When one of them cannot be read: what is mounted there is not known (I2).
pub fn all() -> Result<Vec<Namespace>, ProcError> {
    sight::check()?;
    let mut found: BTreeMap<u64, Namespace> = BTreeMap::new();
    for _ in 0..TRIES {
        let (members, barred) = members()?;
        let unread: Vec<(u64, Vec<Task>)> =
            members.into_iter().filter(|(id, _)| !found.contains_key(id)).collect();
        let looks: Vec<Look> =
            unread.into_par_iter().map(|(id, tasks)| look(id, tasks)).collect::<Result<_, _>>()?;
        let mut is_complete = true;
        for look in looks {
            match look {
                Look::Read(namespace) => {
                    found.insert(namespace.id, namespace);
                }
                Look::Gone => is_complete = false,
            }
        }
        is_complete &= read_kept(&mut found)?;
        // A pass in which nobody ended under our eyes has seen every namespace there was when it began.
        if is_complete {
            let mut closed = Vec::new();
            for (task, error) in barred {
                closed.extend(barred_namespace(task, &error, &found)?);
            }
            return Ok(found.into_values().chain(closed).collect());
        }
    }
    Err(ProcError::Restless("the set of mount namespaces".to_owned()))
}

type Members = BTreeMap<u64, Vec<Task>>;
type Barred = Vec<(Task, ProcError)>;

/// The threads of each namespace, and those that do not let us see which is theirs.
fn members() -> Result<(Members, Barred), ProcError> {
    let listed: Vec<Vec<(Task, Result<u64, ProcError>)>> = task::processes()?
        .into_par_iter()
        .map(|process| {
            let tasks = task::tasks(process)?.into_iter();
            Ok(tasks.filter_map(|task| Some((task, task.namespace().transpose()?))).collect())
        })
        .collect::<Result<_, ProcError>>()?;
    let (mut members, mut barred) = (Members::new(), Barred::new());
    for (task, namespace) in listed.into_iter().flatten() {
        match namespace {
            Ok(namespace) => members.entry(namespace).or_default().push(task),
            Err(error) => barred.push((task, error)),
        }
    }
    Ok((members, barred))
}

/// A process that may not be looked at (a security module, a sandbox) still shows its mounts. A mount belongs to one namespace
/// alone, so when its root mount is one that was read, so was its namespace. Otherwise what it shows is all that is known of it
/// (I2, I14).
fn barred_namespace(
    task: Task,
    error: &ProcError,
    found: &BTreeMap<u64, Namespace>,
) -> Result<Option<Namespace>, ProcError> {
    let Some(mounts) = read_table(&task.path("mountinfo"))? else { return Ok(None) };
    let is_known = mounts
        .iter()
        .any(|mount| mount.point == b"/" && found.values().any(|namespace| namespace.mounts.contains(mount)));
    let hidden = Some(format!("process {} cannot be looked at: {error}", task.process));
    let namespace = Namespace { task: Some(task), tasks: vec![task], hidden, ..Namespace::bare(0, mounts) };
    Ok((!is_known).then_some(namespace))
}

/// Reads a namespace through one of its threads. mountinfo leaves out what lies outside the root directory of the thread
/// (chroot), so one is taken whose root is that of the namespace; where there is none, the namespace is entered.
fn look(id: u64, tasks: Vec<Task>) -> Result<Look, ProcError> {
    let mut changed_root = Vec::new();
    for task in &tasks {
        let Some(root) = task.root()? else { continue };
        let mounts = if root == b"/" { read_table(&task.path("mountinfo"))? } else { Some(Vec::new()) };
        // Asked last: it may have gone to another namespace in between.
        if task.namespace()? != Some(id) {
            continue;
        }
        match mounts {
            // A root on a detached mount reads "/" too, but shows no mount there.
            Some(mounts) if mounts.iter().any(|mount| mount.point == b"/") => {
                let (task, window) = (Some(*task), Some(*task));
                return Ok(Look::Read(Namespace { task, window, tasks, ..Namespace::bare(id, mounts) }));
            }
            Some(_) => changed_root.push((*task, root)),
            None => {}
        }
    }
    let Some((task, _)) = changed_root.first() else { return Ok(Look::Gone) };
    let task = *task;
    let Some(namespace) = open_namespace(&task.path("ns/mnt"), id)? else { return Ok(Look::Gone) };
    let kept_by = format!("of process {}, whose root directory was changed", task.process);
    let namespace = match read_inside(&namespace, id, kept_by) {
        Ok(mounts) => Namespace { task: Some(task), tasks, ..Namespace::bare(id, mounts) },
        Err(error @ ProcError::Closed { .. }) => {
            let hidden = Some(error.to_string());
            let mounts = read_parts(&changed_root)?;
            Namespace { task: Some(task), tasks, hidden, ..Namespace::bare(id, mounts) }
        }
        Err(error) => return Err(error),
    };
    Ok(Look::Read(namespace))
}

/// The mounts below each of some changed root directories, as paths of the namespace.
#[expect(
    clippy::disallowed_methods,
    reason = "what has ended shows nothing, and its namespace is marked as hidden"
)]
fn read_parts(tasks: &[(Task, Vec<u8>)]) -> Result<Vec<MountLine>, ProcError> {
    let mut mounts: BTreeMap<u64, MountLine> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (task, root) in tasks {
        if !seen.insert(root) {
            continue;
        }
        for mut mount in read_table(&task.path("mountinfo"))?.unwrap_or_default() {
            let below = mount.point.strip_prefix(b"/").filter(|below| !below.is_empty());
            mount.point = below.map_or_else(|| root.clone(), |below| [root.as_slice(), b"/", below].concat());
            mounts.insert(mount.id, mount);
        }
    }
    Ok(mounts.into_values().collect())
}

/// Reads the namespaces that no thread is in but a mount keeps; in them there may be mounts that keep others. False when
/// such a mount went away meanwhile: the namespace it was seen in is then forgotten, to be read again.
fn read_kept(found: &mut BTreeMap<u64, Namespace>) -> Result<bool, ProcError> {
    let mut is_complete = true;
    while let Some(kept) = found.values().find_map(|namespace| kept_in(namespace, found)) {
        let closed = |source| ProcError::Closed { namespace: kept.id, kept_by: kept.by(), source };
        let hidden = |why: &ProcError| Namespace {
            hidden: Some(why.to_string()),
            ..Namespace::bare(kept.id, Vec::new())
        };
        let opened = match kept.open() {
            Ok(opened) => opened,
            Err(error) => {
                // Still the same table: it can be seen there, but not opened.
                let Some(task) = kept.window else {
                    found.insert(kept.id, hidden(&closed(error)));
                    continue;
                };
                if read_table(&task.path("mountinfo"))?.is_some_and(|mounts| mounts.contains(&kept.mount)) {
                    found.insert(kept.id, hidden(&closed(error)));
                    continue;
                }
                found.remove(&kept.seen_in);
                is_complete = false;
                continue;
            }
        };
        let namespace = match read_inside(&opened, kept.id, kept.by()) {
            Ok(mounts) => Namespace::bare(kept.id, mounts),
            Err(error @ ProcError::Closed { .. }) => hidden(&error),
            Err(error) => return Err(error),
        };
        found.insert(kept.id, namespace);
    }
    Ok(is_complete)
}

/// A namespace that a mount keeps.
struct Kept {
    id: u64,
    seen_in: u64,
    window: Option<Task>,
    mount: MountLine,
}

/// The first namespace kept by a mount of this one that was not read yet.
fn kept_in(namespace: &Namespace, found: &BTreeMap<u64, Namespace>) -> Option<Kept> {
    namespace.mounts.iter().find_map(|mount| {
        let id = task::namespace_id(&mount.root).filter(|_| mount.kind == b"nsfs")?;
        let is_new = !found.contains_key(&id);
        is_new.then(|| Kept { id, seen_in: namespace.id, window: namespace.window, mount: mount.clone() })
    })
}

impl Kept {
    fn by(&self) -> String {
        format!("kept by the mount on {}", String::from_utf8_lossy(&self.mount.point))
    }

    fn open(&self) -> rustix::io::Result<OwnedFd> {
        let mut path = self.window.ok_or(Errno::NOENT)?.path("root").into_bytes();
        path.extend_from_slice(&self.mount.point);
        let opened =
            rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        // Something else may be mounted over it.
        if rustix::fs::fstat(&opened)?.st_ino == self.id { Ok(opened) } else { Err(Errno::STALE) }
    }
}

/// Opens a namespace, if the thread is still in that one.
fn open_namespace(path: &str, id: u64) -> Result<Option<OwnedFd>, ProcError> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let Some(opened) = task::unless_ended(opened, path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&opened).map_err(|source| ProcError::new(path, source))?;
    Ok((stat.st_ino == id).then_some(opened))
}

fn read_inside(opened: &OwnedFd, id: u64, kept_by: String) -> Result<Vec<MountLine>, ProcError> {
    let text = enter::read(opened).map_err(|source| ProcError::Closed { namespace: id, kept_by, source })?;
    parse_mountinfo(&text)
        .map_err(|source| ProcError::Mounts { path: format!("the mounts of mnt:[{id}]"), source })
}

/// The mounts in a `mountinfo` file; none when its process has ended.
pub fn read_table(path: &str) -> Result<Option<Vec<MountLine>>, ProcError> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let Some(opened) = task::unless_ended(opened, path)? else { return Ok(None) };
    let read = match read_steadily(&opened) {
        Err(Errno::AGAIN) => return Err(ProcError::Restless(path.to_owned())),
        read => task::unless_ended(read, path)?,
    };
    let Some(text) = read else { return Ok(None) };
    let parsed = parse_mountinfo(&text);
    parsed.map(Some).map_err(|source| ProcError::Mounts { path: path.to_owned(), source })
}

/// Reads a mount table until it did not change while it was read; `EAGAIN` when it always does.
///
/// It comes in parts, and before Linux 5.8 a mount that goes away between two parts shifts the others by one, so that one is
/// left out. The kernel says when a table has changed since it was asked last (`proc_pid_mountinfo(5)`, `POLLPRI`).
pub(super) fn read_steadily(table: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    for _ in 0..TRIES {
        rustix::fs::seek(table, rustix::fs::SeekFrom::Start(0))?;
        let text = task::read_all(table)?;
        if !has_changed(table)? {
            return Ok(text);
        }
    }
    Err(Errno::AGAIN)
}

/// Whether a table has changed since it was opened, or since this was asked last.
fn has_changed(table: &OwnedFd) -> rustix::io::Result<bool> {
    let mut asked = [PollFd::from_borrowed_fd(table.as_fd(), PollFlags::PRI)];
    rustix::event::poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(asked.iter().any(|table| table.revents().contains(PollFlags::PRI)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    fn own() -> Task {
        Task { process: std::process::id(), thread: std::process::id() }
    }

    #[test]
    fn a_process_that_may_not_be_looked_at_is_in_a_known_namespace_or_in_one_that_hides_mounts() {
        let denied = ProcError::new("/proc/1/ns/mnt", Errno::ACCESS);
        let unknown = barred_namespace(own(), &denied, &BTreeMap::new()).unwrap().unwrap();
        assert!(unknown.hidden.unwrap().contains("/proc/1/ns/mnt cannot be read"));
        let mounts = read_table("/proc/self/mountinfo").unwrap().unwrap();
        assert_eq!(unknown.mounts, mounts);
        let mut found = BTreeMap::from([(1, Namespace::bare(1, mounts))]);
        assert!(barred_namespace(own(), &denied, &found).unwrap().is_none());
        for mount in &mut found.get_mut(&1).unwrap().mounts {
            mount.id += 1_000_000;
        }
        assert!(barred_namespace(own(), &denied, &found).unwrap().is_some());
    }

    #[test]
    #[ignore = "needs root"]
    fn a_change_of_the_table_while_it_is_read_is_noticed() {
        let script = "echo ready; read x; mount -t tmpfs none /mnt; echo done; read x";
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        let path = format!("/proc/{}/mountinfo", child.id());
        let table = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(!has_changed(&table).unwrap());
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "done");
        assert!(has_changed(&table).unwrap());
        assert!(!has_changed(&table).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_zombie_has_ended_and_what_is_denied_has_not() {
        let mut child = Command::new("true").spawn().unwrap();
        let task = Task { process: child.id(), thread: child.id() };
        while task.root().unwrap().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(task.namespace().unwrap(), None);
        assert_eq!(read_table(&task.path("mountinfo")).unwrap(), None);
        child.wait().unwrap();
        assert_eq!(task::tasks(child.id()).unwrap(), []);
        for denied in [Errno::ACCESS, Errno::PERM] {
            let result = task::unless_ended::<()>(Err(denied), "/proc/1/root");
            assert!(matches!(result, Err(ProcError::Denied { .. })), "{result:?}");
        }
        assert!(task::unless_ended::<()>(Err(Errno::IO), "/proc/1/root").is_err());
    }
}
