//! What processes have open: files, mapped files, working directories, root directories, executables; sockets, watches and rings.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::descriptors::{Seen, Table};
pub use super::filter::{Devices, Filter, Reach, pipes};
use super::mountinfo::Device;
use super::task::{self, Task};
use super::{ProcError, fdinfo, maps, sight};

/// How often processes are listed before it is an error that there are new ones each time.
const TRIES: u32 = 16;

/// How many descriptors of one process are looked at a second time, to find a thread that has a table of its own with the very same
/// numbers in it. No kernel tells which threads share a table without a call that no safe code can make (`kcmp(2)`).
const MOST_TWICE: usize = 64;

/// How many of the highest numbers are looked at in any case: what was opened last has them.
const HIGHEST: usize = 2;

/// In what way something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// The working directory.
    WorkingDirectory,
    /// The root directory.
    RootDirectory,
    /// The program that runs.
    Executable,
    /// An open descriptor.
    OpenFile(u32),
    /// A file mapped into memory.
    MappedFile,
    /// A Unix socket that was bound to a path.
    Socket,
    /// An inode that inotify or fanotify watches.
    Watch,
    /// A file registered with an `io_uring`.
    Registered,
    /// A word of the command line of who serves a FUSE file system: perhaps what it serves.
    Served,
}

impl fmt::Display for Manner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::WorkingDirectory => "working directory",
            Self::RootDirectory => "root directory",
            Self::Executable => "executable",
            Self::OpenFile(_) => "open file",
            Self::MappedFile => "mapped file",
            Self::Socket => "Unix socket",
            Self::Watch => "watch (inotify or fanotify)",
            Self::Registered => "file registered with io_uring",
            Self::Served => "served by FUSE, as its command line says:",
        })
    }
}

/// One file or directory that a process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who.
    pub task: Task,
    /// How.
    pub manner: Manner,
    /// Where it is.
    pub path: FilePath,
    /// The mount it was reached through, where the kernel says.
    pub mount: Option<u64>,
    /// Its device and inode, where the kernel says.
    pub inode: Option<(Device, u64)>,
    /// How many names it has in directories, where the kernel says.
    pub names: Option<u32>,
}

impl Use {
    /// Whether its path may be that of another file, or of none.
    pub fn is_doubtful(&self) -> bool {
        self.path.is_doubtful(self.names)
    }
}

/// Where a file or directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePath {
    /// Its path, seen from the root of the mount namespace through which it was reached. What was unlinked ends in ` (deleted)`.
    Told(Vec<u8>),
    /// Its path is longer than the kernel tells, which is a page (`d_path`, Linux `fs/d_path.c`): any container can nest that
    /// deep.
    TooLong,
    /// The kernel has no path for it.
    Untold,
}

/// What the kernel appends to the path of a file that was unlinked.
pub const DELETED: &[u8] = b" (deleted)";

impl FilePath {
    /// Whether a file with this path may lie elsewhere too, or nowhere near. Of one that was opened by handle (`open_by_handle_at(2)`),
    /// or has left what its mount shows since it was opened, the kernel tells `/` (`d_path`, Linux `fs/d_path.c`). One that was
    /// unlinked may have other names; `names` is how many, where that is known. One that is too long may be that of a file that has left.
    pub fn is_doubtful(&self, names: Option<u32>) -> bool {
        match self {
            Self::Told(path) => path == b"/" || (path.ends_with(DELETED) && names != Some(0)),
            Self::TooLong | Self::Untold => true,
        }
    }
}

/// Whether a path is that of a file in memory alone (`memfd_create(2)`), of which there are many.
pub fn is_in_memory(path: &[u8]) -> bool {
    path.starts_with(b"/memfd:") && path.ends_with(DELETED)
}

/// What processes use.
#[derive(Debug)]
pub struct Uses<T> {
    /// What was made of each use.
    pub found: Vec<T>,
    /// Processes that cannot be looked at, and why. Whatever they can reach, they may use.
    pub closed: Vec<(u32, ProcError)>,
}

/// The mount in an fdinfo; none where the kernel does not say, or when it was closed.
pub(in crate::host) fn mount_id(path: &str) -> Result<Option<u64>, ProcError> {
    let Some(text) = task::read_whole(path)? else { return Ok(None) };
    let info = fdinfo::parse_fdinfo(&text).map_err(|_| ProcError::Strange { path: path.to_owned() })?;
    Ok(info.mount)
}

/// Shows `judge` everything that other processes use and that passes the filter, and collects what it makes of it.
///
/// A process may hand on what it has to a child and end between being listed and being looked at. So they are listed again until
/// a list has none that was not looked at.
///
/// # Errors
///
/// When a process that lives shows what no kernel known shows (I2), or when there are new processes each time.
pub fn uses<T: Send>(
    filter: &Filter,
    judge: impl Fn(&Use) -> Option<T> + Sync,
) -> Result<Uses<T>, ProcError> {
    sight::check()?;
    // Our own descriptors of the directories at work are no use by somebody.
    let own = task::own()?;
    let mut looked_at = HashSet::from([own]);
    let mut uses = Uses { found: Vec::new(), closed: Vec::new() };
    for _ in 0..TRIES {
        let listed = task::processes()?;
        let new: Vec<u32> = listed.into_iter().filter(|process| looked_at.insert(*process)).collect();
        if new.is_empty() {
            return Ok(uses);
        }
        let looks: Vec<(u32, Result<Vec<T>, ProcError>)> =
            new.into_par_iter().map(|process| (process, uses_of(process, filter, &judge))).collect();
        for (process, look) in looks {
            match look {
                Ok(found) => uses.found.extend(found),
                // The kernel shows such a process to nobody here, root included: a supervisor above this machine or container.
                Err(ProcError::Denied { .. }) if task::is_more_privileged(process)? => {}
                // I14: one that is closed to us holds what it can reach, and stops nothing else.
                Err(error @ (ProcError::Denied { .. } | ProcError::Strange { .. })) => {
                    uses.closed.push((process, error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(ProcError::Restless("the set of processes".to_owned()))
}

fn uses_of<T: Send>(
    process: u32,
    filter: &Filter,
    judge: &(impl Fn(&Use) -> Option<T> + Sync),
) -> Result<Vec<T>, ProcError> {
    let mut found = Vec::new();
    let mut whole: Vec<(u64, Numbers)> = Vec::new();
    let shown = Seen::default();
    let mut twice = MOST_TWICE;
    for task in task::tasks(process)? {
        let Some(links) = Table::open(task, "", filter, &shown)? else { continue };
        for (what, manner) in [("cwd", Manner::WorkingDirectory), ("root", Manner::RootDirectory)] {
            found.extend(links.look(what, manner, judge)?);
        }
        let Some(table) = Table::open(task, "fd", filter, &shown)? else { continue };
        let Some(namespace) = task.namespace()? else { continue };
        // Threads share their memory, and mostly their descriptors. The first that lives shows them (the first of all may have
        // ended), and each that left its namespace, as it may have taken a table of its own.
        if let Some((_, first)) = whole.iter().find(|(of, _)| *of == namespace) {
            found.extend(table.uses(&first.not_shared(&table, &mut twice)?, judge)?);
            continue;
        }
        let numbers = table.numbers()?;
        found.extend(table.uses(&numbers, judge)?);
        found.extend(mapped_files(task, filter, judge)?);
        found.extend(links.look("exe", Manner::Executable, judge)?);
        // One that ended meanwhile may have shown a part or nothing: then the next one shows it.
        if !task.is_ending()? {
            whole.push((namespace, Numbers { size: table.size(), numbers: numbers.into_iter().collect() }));
        }
    }
    Ok(found)
}

/// The descriptors of a table that was looked at.
struct Numbers {
    size: Option<u64>,
    numbers: BTreeSet<u32>,
}

impl Numbers {
    /// Which descriptors of another thread have to be looked at, since its table may be one of its own (`unshare(2)`, `CLONE_FILES`):
    /// all of them when they are others, or so few that it is cheap; else those with the highest numbers.
    fn not_shared(&self, table: &Table<'_>, twice: &mut usize) -> Result<Vec<u32>, ProcError> {
        if self.numbers.len() <= *twice {
            *twice = twice.saturating_sub(self.numbers.len());
            return table.numbers();
        }
        // Linux 6.2 says how many there are, which is cheaper than to list them.
        if self.size.is_none() || table.size() != self.size {
            let numbers = table.numbers()?;
            if self.numbers.iter().ne(&numbers.iter().copied().collect::<BTreeSet<u32>>()) {
                return Ok(numbers);
            }
        }
        Ok(self.numbers.iter().rev().take(HIGHEST).copied().collect())
    }
}

/// A file stays mapped after its descriptor is closed.
fn mapped_files<T>(
    task: Task,
    filter: &Filter,
    judge: &impl Fn(&Use) -> Option<T>,
) -> Result<Vec<T>, ProcError> {
    let is_wanted = |file: &maps::Mapped| {
        let is_detached = filter.is_detached(file.device) && !is_in_memory(&file.path);
        filter.systems.include(file.device) || is_detached
    };
    let mapped = maps::of(task)?.into_iter().filter(is_wanted);
    let uses = mapped.map(|file| Use {
        task,
        manner: Manner::MappedFile,
        path: FilePath::Told(file.path),
        mount: None,
        inode: Some((file.device, file.inode)),
        names: None,
    });
    Ok(uses.filter_map(|seen| judge(&seen)).collect())
}

#[cfg(test)]
mod tests {

    use std::collections::{BTreeMap, HashMap};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Each process lives for a moment and hands its open file on to the next.
    const RELAY: &str = r#"
        open(F, "<", $ARGV[0]) or die; $SIG{CHLD} = "IGNORE"; chdir "/";
        print "on\n"; close(STDOUT);
        while (-e $ARGV[0]) { my $next = fork(); exit 0 if $next; select(undef, undef, undef, 0.004); }
    "#;

    fn everything() -> Filter {
        let (files, systems) = (Devices::Any, Devices::Any);
        let mounted = std::collections::BTreeSet::new();
        Filter { files, systems, mounts: HashMap::new(), mounted, pipes: None, sockets: BTreeMap::new() }
    }

    #[test]
    fn a_file_that_short_lived_processes_hand_on_is_seen_or_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let baton = directory.path().join("baton");
        std::fs::write(&baton, "").unwrap();
        let relay = Command::new("perl")
            .args(["-e", &format!("$| = 1; {RELAY}")])
            .arg(&baton)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = relay.wait_with_output().unwrap();
        assert_eq!(told.stdout, b"on\n");
        let wanted = FilePath::Told(baton.display().to_string().into_bytes());
        let until = Instant::now() + Duration::from_secs(3);
        let mut looks = 0;
        let mut missed = 0;
        while Instant::now() < until {
            looks += 1;
            let seen = uses(&everything(), |seen| (seen.path == wanted).then_some(()));
            missed += u32::from(seen.is_ok_and(|seen| seen.found.is_empty()));
        }
        std::fs::remove_file(&baton).unwrap();
        assert_eq!(missed, 0, "of {looks} looks");
    }

    #[test]
    fn a_thread_that_ends_is_told_from_one_that_lives() {
        let own = Task { process: std::process::id(), thread: std::process::id() };
        assert!(!own.is_ending().unwrap());
        let mut child = Command::new("true").spawn().unwrap();
        let ended = Task { process: child.id(), thread: child.id() };
        while !ended.is_ending().unwrap() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(ended.is_ending().unwrap());
    }
}
