//! Processes and their threads, by what the kernel shows of each. They may end at any moment: that is told apart from not
//! being allowed to look, which is an error (I2).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::ProcError;
use crate::host::directory;

/// One thread. A namespace, a root directory and a working directory belong to a thread: dockerd itself gives some of its
/// threads a mount namespace of their own while it copies (`docker cp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// The process.
    pub process: u32,
    /// The thread; the first one has the number of the process.
    pub thread: u32,
}

impl Task {
    /// The path of what `/proc` shows of it.
    pub fn path(self, what: &str) -> String {
        format!("/proc/{}/task/{}/{what}", self.process, self.thread)
    }

    /// Its mount namespace; none when it has ended.
    pub fn namespace(self) -> Result<Option<u64>, ProcError> {
        let path = self.path("ns/mnt");
        let Some(link) = link(&path)? else { return Ok(None) };
        namespace_id(&link).map(Some).ok_or(ProcError::Strange { path })
    }

    /// Whether it has ended, or begun to: it gives up its memory first, then its files, and its namespace last (Linux `do_exit`).
    pub fn is_ending(self) -> Result<bool, ProcError> {
        /// `PF_EXITING` of the flags (Linux `include/linux/sched.h`).
        const EXITING: u64 = 0x4;
        let path = self.path("stat");
        let Some(text) = read_whole(&path)? else { return Ok(true) };
        // The name may hold anything, so what follows is counted from its end: state is the third field, flags the ninth.
        let after_name = text.iter().rposition(|byte| *byte == b')').and_then(|end| text.get(end + 1..));
        let fields = after_name.map(String::from_utf8_lossy);
        #[expect(clippy::disallowed_methods, reason = "the caller refuses what is not a number")]
        let flags: Option<u64> =
            fields.as_deref().and_then(|fields| fields.split_whitespace().nth(6)?.parse().ok());
        Ok(flags.ok_or(ProcError::Strange { path })? & EXITING != 0)
    }

    /// Its root directory, seen from the root of its namespace; none when it has ended.
    pub fn root(self) -> Result<Option<Vec<u8>>, ProcError> {
        link(&self.path("root"))
    }
}

/// The working directory of a thread, seen from the root of its namespace; none when it has ended.
pub fn working_directory(task: Task) -> Result<Option<Vec<u8>>, ProcError> {
    link(&task.path("cwd"))
}

/// The identifier in `mnt:[4026531840]`.
#[expect(clippy::disallowed_methods, reason = "the caller refuses what is not a number")]
pub(super) fn namespace_id(text: &[u8]) -> Option<u64> {
    let number = text.strip_prefix(b"mnt:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Every process, by its number.
#[expect(clippy::disallowed_methods, reason = "`own` refuses where /proc is not mounted")]
pub fn processes() -> Result<Vec<u32>, ProcError> {
    numbers("/proc").map(Option::unwrap_or_default)
}

/// The number of this process in the pid namespace that `/proc` is of.
///
/// # Errors
///
/// When `/proc` does not show this process: it is not mounted, or that of a namespace beside ours or below it, and shows only
/// a part of the processes there are. One that is of a namespace above ours shows them all.
pub fn own() -> Result<u32, ProcError> {
    #[expect(clippy::disallowed_methods, reason = "the caller refuses what is not a number")]
    let shown = link("/proc/self")?.and_then(|number| std::str::from_utf8(&number).ok()?.parse().ok());
    shown.ok_or(ProcError::Strange { path: "/proc (not mounted, or of another pid namespace)".to_owned() })
}

/// The threads of a process; none when it has ended.
pub fn tasks(process: u32) -> Result<Vec<Task>, ProcError> {
    #[expect(clippy::disallowed_methods, reason = "a process that has ended has no threads")]
    let threads = numbers(&format!("/proc/{process}/task"))?.unwrap_or_default();
    Ok(threads.into_iter().map(|thread| Task { process, thread }).collect())
}

/// The name of a process, for people.
pub fn name(process: u32) -> String {
    let read = read_whole(&format!("/proc/{process}/comm"));
    #[expect(clippy::disallowed_methods, reason = "only shown to people")]
    let name = read.ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

/// The container that a process is in, by its control group: every engine and runtime names the group after the container's ID. None
/// when it is in none, or has ended.
#[expect(clippy::disallowed_methods, reason = "only shown to people")]
pub fn container(process: u32) -> Option<String> {
    let text = read_whole(&format!("/proc/{process}/cgroup")).ok().flatten()?;
    container_in(&String::from_utf8_lossy(&text))
}

/// `0::/system.slice/docker-<64 hex digits>.scope`, or `12:devices:/docker/<64 hex digits>`.
fn container_in(groups: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.split(['/', '-', '.', '\n']).find(is_id).map(str::to_owned)
}

/// Whether a process has capabilities that this one has not (`capabilities(7)`, `CapPrm`), so that the kernel may refuse to show it.
pub fn is_more_privileged(process: u32) -> Result<bool, ProcError> {
    let (theirs, ours) = (permitted(&process.to_string())?, permitted("self")?);
    Ok(theirs.is_some_and(|theirs| ours.is_some_and(|ours| theirs & !ours != 0)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "unknown capabilities do not exceed ours, so the caller refuses the process"
)]
fn permitted(process: &str) -> Result<Option<u64>, ProcError> {
    let Some(text) = read_whole(&format!("/proc/{process}/status"))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapPrm:")?.trim(), 16).ok()))
}

/// The names in a directory of `/proc` that are numbers; none when what it shows has ended.
pub(super) fn numbers(path: &str) -> Result<Option<Vec<u32>>, ProcError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::open(path, flags, Mode::empty()).and_then(|open| numbers_in(&open));
    unless_ended(listed, path)
}

/// The same of an open one that nobody has listed or will list.
#[expect(clippy::disallowed_methods, reason = "what is no number is no process, thread or descriptor")]
pub(super) fn numbers_in(directory: &OwnedFd) -> rustix::io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let number = |name: &CStr| name.to_str().ok()?.parse::<u32>().ok();
    directory::list_once(directory, |name, _| numbers.extend(number(name)))?;
    Ok(numbers)
}

/// The words of its command line; none when it has ended.
#[expect(clippy::disallowed_methods, reason = "what has ended has no command line")]
pub(super) fn arguments(process: u32) -> Result<Vec<Vec<u8>>, ProcError> {
    let text = read_whole(&format!("/proc/{process}/cmdline"))?.unwrap_or_default();
    Ok(text.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The text of a link; none when what it shows has ended.
pub(super) fn link(path: &str) -> Result<Option<Vec<u8>>, ProcError> {
    let text = unless_ended(rustix::fs::readlink(path, Vec::with_capacity(256)), path)?;
    Ok(text.map(std::ffi::CString::into_bytes))
}

/// A whole file; none when what it shows has ended.
pub(super) fn read_whole(path: &str) -> Result<Option<Vec<u8>>, ProcError> {
    let open = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    unless_ended(open.and_then(|file| read_all(&file)), path)
}

/// Reads an open file to its end.
#[expect(clippy::disallowed_methods, reason = "`length` is how much was read")]
pub(super) fn read_all(file: &impl AsFd) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(8 << 10);
    let mut part = [0_u8; 16 << 10];
    loop {
        match rustix::io::read(file, &mut part) {
            Ok(0) => return Ok(text),
            Ok(length) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A process that has ended is no error: `ENOENT` and `ESRCH` say so, and a zombie's mountinfo `EINVAL`. A zombie has no
/// files, no directories and no namespace any more.
pub(super) fn unless_ended<T>(result: rustix::io::Result<T>, path: &str) -> Result<Option<T>, ProcError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(source) => Err(ProcError::new(path, source)),
    }
}
