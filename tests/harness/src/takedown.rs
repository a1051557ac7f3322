//! Ends everything that belongs to a private engine, known by the name of its directory alone.
//!
//! No graceful stop: processes are killed, mounts undone and the directory deleted, so the same code also clears up
//! after a test process that was killed itself.

use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Marks every process of an engine: dockerd's environment is inherited by containerd, the shims and runc. (Containers
/// get an environment of their own, and are known by their control group.)
pub(crate) const MARK: &str = "VOLGC_TEST_ENGINE";
/// How the directories of private engines are named.
pub(crate) const PREFIX: &str = "volgc-it-";
/// Locked for as long as the test process lives.
pub(crate) const LOCK: &str = "lock";
const CGROUPS: &str = "/sys/fs/cgroup";

/// What is still there of the engine in `dir`: its processes, mounts, control groups and files. Empty when it was taken
/// down completely.
pub fn left_behind(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for pid in processes(dir) {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        left.push(format!("process {}: {line}", pid.as_raw_pid()));
    }
    left.extend(mounts(dir).iter().map(|mount| format!("mount {}", mount.display())));
    left.extend(cgroups(dir).iter().map(|cgroup| format!("control group {}", cgroup.display())));
    if fs::symlink_metadata(dir).is_ok() {
        left.push(format!("directory {}", dir.display()));
    }
    left
}

/// Ends the engine in `dir` and deletes the directory. Says what could not be removed.
pub fn take_down(dir: &Path) -> Result<(), String> {
    let shim_sockets = shim_sockets(dir);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        thaw(dir);
        let running = processes(dir);
        if running.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("processes that cannot be killed: {:?}", left_behind(dir)));
        }
        for pid in running {
            // It may have ended by itself.
            kill_process(pid, Signal::KILL).ok();
        }
        sleep(Duration::from_millis(2));
    }
    unmount(dir);
    // A control group stays busy until its last process is reaped.
    for _ in 0..200 {
        let groups = cgroups(dir);
        if groups.iter().all(|group| fs::remove_dir(group).is_ok()) {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    for socket in shim_sockets {
        fs::remove_file(socket).ok();
    }
    remove(dir);
    let left = left_behind(dir);
    if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
}

/// Kills the processes of the engine in `dir` that are neither its own nor a container's: what a test started and left.
pub(crate) fn end_strangers(dir: &Path, own: &[u32]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let strangers: Vec<Pid> = processes(dir)
            .into_iter()
            .filter(|pid| {
                let id = pid.as_raw_pid().unsigned_abs();
                !own.contains(&id) && !is_of_container(dir, id)
            })
            .collect();
        if strangers.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("processes that cannot be killed: {strangers:?}"));
        }
        for pid in strangers {
            // It may have ended by itself.
            kill_process(pid, Signal::KILL).ok();
        }
        sleep(Duration::from_millis(2));
    }
}

/// Whether it is a shim, or in a container's control group: the engine itself ends those with their container.
fn is_of_container(dir: &Path, pid: u32) -> bool {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&read("cgroup")).contains(&format!("/{}/", name(dir)))
        || String::from_utf8_lossy(&read("cmdline")).contains("containerd-shim")
        || String::from_utf8_lossy(&read("comm")).starts_with("runc")
}

/// Takes down what earlier test processes left below `base` because they were killed.
pub(crate) fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // The lock file appears locked, so a directory without one is only being made.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok()
            && let Err(left) = take_down(&entry.path())
        {
            eprintln!("stale test engine {}: {left}", entry.path().display());
        }
    }
}

/// The living processes of the engine in `dir`, this one excepted.
fn processes(dir: &Path) -> Vec<Pid> {
    let mark = [MARK.as_bytes(), b"=", dir.as_os_str().as_bytes()].concat();
    let group = format!("/{}/", name(dir));
    let belongs = |pid: u32| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if !is_alive(pid) {
            return false;
        }
        read("environ").split(|&byte| byte == 0).any(|variable| variable == mark)
            || String::from_utf8_lossy(&read("cgroup")).contains(&group)
    };
    fs::read_dir("/proc")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
                .filter(|&pid| pid != std::process::id() && belongs(pid))
                .filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
                .collect()
        })
        .unwrap_or_default()
}

/// Whether a process runs: one that is dead but not reaped yet does not.
fn is_alive(pid: u32) -> bool {
    !matches!(state(Path::new(&format!("/proc/{pid}"))), None | Some(b'Z' | b'X'))
}

/// The kernel's letter for the state of a process or thread, by its directory in /proc; none when it is gone.
pub(crate) fn state(process: &Path) -> Option<u8> {
    let stat = fs::read(process.join("stat")).ok()?;
    // It follows the command's name, which is in parentheses and may contain anything.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end + 2).copied()
}

/// The mounts at or below `dir` that this process sees, the last made first.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
        .filter(|path| path.starts_with(dir))
        .collect();
    mounts.reverse();
    mounts
}

/// The kernel writes blanks and backslashes in its tables as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                plain.push(value);
                rest = &tail[3..];
            }
            _ => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

fn unmount(dir: &Path) {
    for lazily in [&[][..], &["-l"]] {
        // Once per round for stacked mounts: `umount` takes off the uppermost only.
        for _ in 0..8 {
            let mounts = mounts(dir);
            if mounts.is_empty() {
                return;
            }
            quietly(Command::new("umount").args(lazily).arg("--").args(&mounts));
            if lazily.is_empty() && self::mounts(dir).len() == mounts.len() {
                break;
            }
        }
    }
}

/// The control groups of the engine's containers, the innermost first. Version 1 has a tree per controller, version 2
/// has a single one.
fn cgroups(dir: &Path) -> Vec<PathBuf> {
    fn collect(group: PathBuf, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(&group) else { return };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(entry.path(), found);
            }
        }
        found.push(group);
    }
    let mut found = Vec::new();
    collect(Path::new(CGROUPS).join(name(dir)), &mut found);
    for hierarchy in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        collect(hierarchy.path().join(name(dir)), &mut found);
    }
    found
}

/// A frozen process of a paused container does not die before it is thawed (version 1 of control groups).
fn thaw(dir: &Path) {
    for group in
        fs::read_dir(Path::new(CGROUPS).join("freezer").join(name(dir))).into_iter().flatten().flatten()
    {
        fs::write(group.path().join("freezer.state"), "THAWED").ok();
    }
}

/// Shims of an engine that runs in the machine's own mount namespace listen outside of its directory.
fn shim_sockets(dir: &Path) -> Vec<PathBuf> {
    let bundles = dir.join("x/c/io.containerd.runtime.v2.task/moby");
    fs::read_dir(bundles)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|bundle| fs::read_to_string(bundle.path().join("address")).ok())
        .filter_map(|address| Some(PathBuf::from(address.trim().strip_prefix("unix://")?)))
        .filter(|socket| socket.starts_with("/run/containerd/s"))
        .collect()
}

/// `rm` copes with trees that are deeper than the longest path, and does not enter a mount that was left.
pub(crate) fn remove(dir: &Path) {
    let rm = || quietly(Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(dir));
    if !rm() {
        quietly(Command::new("chattr").args(["-R", "-f", "-i", "-a", "--"]).arg(dir));
        rm();
    }
}

fn quietly(command: &mut Command) -> bool {
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The directory's own name, unique on the machine: also the name of the parent control group.
pub(crate) fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
