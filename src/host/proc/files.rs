//! What processes have open: files, mapped files, working directories, root directories, executables; and files that stand
//! behind a block device.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::task::{self, Task};
use super::{ProcError, sight};
use crate::host::directory;

/// How often processes are listed before it is an error that there are new ones each time.
const TRIES: u32 = 16;

/// How far up a path is looked for that the kernel can tell: deeper than anything that is made by accident.
const MOST_LEVELS: u32 = 100_000;

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
}

impl fmt::Display for Manner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::WorkingDirectory => "working directory",
            Self::RootDirectory => "root directory",
            Self::Executable => "executable",
            Self::OpenFile(_) => "open file",
            Self::MappedFile => "mapped file",
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
}

/// Where a file or directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePath {
    /// Its path, seen from the root of the mount namespace through which it was reached. What was unlinked ends in ` (deleted)`.
    Told(Vec<u8>),
    /// Its path is longer than the kernel tells, which is a page (`d_path`, Linux `fs/d_path.c`): any container can nest that
    /// deep.
    TooLong,
}

impl Use {
    /// The mount it was reached through, where the kernel says.
    #[expect(clippy::disallowed_methods, reason = "without a mount ID the path alone is compared")]
    pub fn mount_id(&self) -> Option<u64> {
        let link = match self.manner {
            Manner::OpenFile(number) => {
                return mount_id(&self.task.path(&format!("fdinfo/{number}"))).ok().flatten();
            }
            Manner::MappedFile => return None,
            Manner::WorkingDirectory => "cwd",
            Manner::RootDirectory => "root",
            Manner::Executable => "exe",
        };
        // What the cache knows will do: a network file system that is gone is not waited for.
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let facts = rustix::fs::statx(CWD, self.task.path(link), flags, StatxFlags::MNT_ID).ok()?;
        StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::MNT_ID).then_some(facts.stx_mnt_id)
    }
}

/// The `mnt_id` in an fdinfo.
#[expect(clippy::disallowed_methods, reason = "without a mount ID the path alone is compared")]
pub(in crate::host) fn mount_id(fdinfo: &str) -> Result<Option<u64>, ProcError> {
    let Some(text) = task::read_whole(fdinfo)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok()))
}

/// Shows `judge` everything that other processes use, and collects what it makes of it.
///
/// A process may hand on what it has to a child and end between being listed and being looked at. So they are listed again until
/// a list has none that was not looked at.
///
/// # Errors
///
/// When a process that lives cannot be looked at (I2), unless it has capabilities that this one lacks; or when there are new
/// processes each time.
pub fn uses<T: Send>(judge: impl Fn(&Use) -> Option<T> + Sync) -> Result<Vec<T>, ProcError> {
    sight::check()?;
    // Our own descriptors of the directories at work are no use by somebody.
    let own = task::own()?;
    let mut looked_at = HashSet::from([own]);
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let listed = task::processes()?;
        let new: Vec<u32> = listed.into_iter().filter(|process| looked_at.insert(*process)).collect();
        if new.is_empty() {
            return Ok(found);
        }
        let looks: Vec<Vec<T>> = new
            .into_par_iter()
            .map(|process| match uses_of(process, &judge) {
                // The kernel shows such a process to nobody here, root included: a supervisor above this machine or container.
                // To refuse for it would be to refuse for ever.
                Err(ProcError::Denied { .. }) if task::is_more_privileged(process)? => Ok(Vec::new()),
                found => found,
            })
            .collect::<Result<_, _>>()?;
        found.extend(looks.into_iter().flatten());
    }
    Err(ProcError::Restless("the set of processes".to_owned()))
}

fn uses_of<T>(process: u32, judge: &impl Fn(&Use) -> Option<T>) -> Result<Vec<T>, ProcError> {
    let mut found = Vec::new();
    let mut namespaces = Vec::new();
    for task in task::tasks(process)? {
        let mut show = |manner, path| found.extend(judge(&Use { task, manner, path }));
        for (what, manner) in [("cwd", Manner::WorkingDirectory), ("root", Manner::RootDirectory)] {
            if let Some(path) = path_of(&task.path(what))? {
                show(manner, path);
            }
        }
        // Threads share their descriptors and their memory. The first that lives shows them (the first of all may have
        // ended), and each that left its namespace, as it may have taken a table of its own.
        let Some(namespace) = task.namespace()? else { continue };
        if namespaces.contains(&namespace) {
            continue;
        }
        open_files(task, &mut show)?;
        mapped_files(task, &mut show)?;
        if let Some(path) = path_of(&task.path("exe"))? {
            show(Manner::Executable, path);
        }
        // One that ended meanwhile may have shown a part or nothing: then the next one shows it.
        if !task.is_ending()? {
            namespaces.push(namespace);
        }
    }
    Ok(found)
}

/// The path of what a link of `/proc` leads to; none when what it shows has ended.
fn path_of(link: &str) -> Result<Option<FilePath>, ProcError> {
    match task::link(link) {
        Err(ProcError::Io { source: Errno::NAMETOOLONG, .. }) => Ok(path_above(link)),
        path => Ok(path?.map(FilePath::Told)),
    }
}

/// The path of the nearest directory above that the kernel can tell. It is almost a page long, so whatever short path it lies
/// below, what is in it lies below too. Too long for what is no directory, as only a directory knows what it is in. None when it
/// was closed, or removed: a directory that is removed is empty, and has nothing above it (`ENOENT`).
fn path_above(link: &str) -> Option<FilePath> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = match rustix::fs::open(link, flags, Mode::empty()) {
        Ok(here) => here,
        Err(Errno::NOENT | Errno::SRCH) => return None,
        Err(_) => return Some(FilePath::TooLong),
    };
    for _ in 0..MOST_LEVELS {
        here = match rustix::fs::openat(&here, "..", flags, Mode::empty()) {
            Ok(above) => above,
            Err(Errno::NOENT) => return None,
            Err(_) => return Some(FilePath::TooLong),
        };
        let own = format!("/proc/self/fd/{}", here.as_raw_fd());
        match rustix::fs::readlink(own, Vec::with_capacity(4096)) {
            Ok(path) => return Some(FilePath::Told(path.into_bytes())),
            Err(Errno::NAMETOOLONG) => {}
            Err(_) => return Some(FilePath::TooLong),
        }
    }
    Some(FilePath::TooLong)
}

fn open_files(task: Task, show: &mut impl FnMut(Manner, FilePath)) -> Result<(), ProcError> {
    #[expect(clippy::disallowed_methods, reason = "a process that has ended has no open files")]
    for number in task::numbers(&task.path("fd"))?.unwrap_or_default() {
        if let Some(path) = path_of(&task.path(&format!("fd/{number}")))? {
            show(Manner::OpenFile(number), path);
        }
    }
    Ok(())
}

/// A file stays mapped after its descriptor is closed.
#[expect(clippy::disallowed_methods, reason = "a process that has ended maps nothing")]
fn mapped_files(task: Task, show: &mut impl FnMut(Manner, FilePath)) -> Result<(), ProcError> {
    let text = task::read_whole(&task.path("maps"))?.unwrap_or_default();
    let mut last: &[u8] = b"";
    for line in text.split(|byte| *byte == b'\n') {
        // Address, mode, offset, device and inode come first, and none of them contains a slash.
        let Some(start) = line.iter().position(|byte| *byte == b'/') else { continue };
        let path = line.get(start..).unwrap_or_default();
        if path != last {
            last = path;
            show(Manner::MappedFile, FilePath::Told(unescape_newline(path)));
        }
    }
    Ok(())
}

/// In maps a newline, and nothing else, is written in octal.
fn unescape_newline(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

/// Files that stand behind a loop device, with its name: the kernel itself holds them open, no process does.
pub fn loop_devices() -> Result<Vec<(String, Vec<u8>)>, ProcError> {
    let path = "/sys/block";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let names = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|block| directory::list(block.as_fd()))
        .map_err(|source| ProcError::new(path, source))?;
    let mut devices = Vec::new();
    for (name, _) in names {
        let name = directory::shown(&name);
        if !name.starts_with("loop") {
            continue;
        }
        let path = format!("/sys/block/{name}/loop/backing_file");
        // A loop device without a file has no such entry; one that is being taken down says ENXIO.
        let text = match task::read_whole(&path) {
            Err(ProcError::Io { source: Errno::NXIO | Errno::NODEV, .. }) => None,
            text => text?,
        };
        devices.extend(text.map(|text| (name, text.strip_suffix(b"\n").unwrap_or(&text).to_vec())));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Each process lives for a moment and hands its open file on to the next.
    const RELAY: &str = r#"
        open(F, "<", $ARGV[0]) or die; $SIG{CHLD} = "IGNORE"; chdir "/";
        print "on\n"; close(STDOUT);
        while (-e $ARGV[0]) { my $next = fork(); exit 0 if $next; select(undef, undef, undef, 0.004); }
    "#;

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
            let seen = uses(|seen| (seen.path == wanted).then_some(()));
            missed += u32::from(seen.is_ok_and(|seen| seen.is_empty()));
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
