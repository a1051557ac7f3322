//! Trees for the tests of `walk`, `unlink` and `usage`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::{Around, Boundary, Means};

/// Both ways to keep a walk inside.
pub(in crate::host) const MEANS: [Around; 2] =
    [|dir| Boundary::by(Means::Openat2, dir), |dir| Boundary::by(Means::Pinned, dir)];

/// A temporary directory in memory where there is much to make: the disk under `/tmp` may discard each block for itself.
pub(in crate::host) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(in crate::host) fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

pub(in crate::host) fn dir(path: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub(in crate::host) fn file(path: &Path, size: usize) {
    std::fs::write(path, vec![b'x'; size]).unwrap();
}

pub(in crate::host) fn holds_nothing(path: &Path) -> bool {
    std::fs::read_dir(path).unwrap().next().is_none()
}

/// Deep trees are more than `TempDir` can remove.
pub(in crate::host) fn empty(path: &Path) {
    let options = crate::host::unlink::DeleteOptions::default();
    crate::host::unlink::delete_contents(open(path).as_fd(), &options, &|| false).unwrap();
}

pub(in crate::host) fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?} {}: {output:?}", path.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The number that `du` answers first.
pub(in crate::host) fn du(arguments: &[&str], path: &Path) -> u64 {
    run("du", arguments, path).split_whitespace().next().unwrap().parse().unwrap()
}

/// One of everything that a container can make. Returns what must not be touched: it lies outside, and links lead to it.
pub(in crate::host) fn menagerie(tree: &Path) -> TempDir {
    use std::os::unix::ffi::OsStrExt;
    let canary = canary();
    std::os::unix::fs::symlink("/", tree.join("root")).unwrap();
    std::os::unix::fs::symlink(canary.path(), tree.join("canary")).unwrap();
    std::os::unix::fs::symlink("../../../../../..", tree.join("up")).unwrap();
    std::os::unix::fs::symlink("loop", tree.join("loop")).unwrap();
    std::os::unix::fs::symlink("x".repeat(200), tree.join("dangling, in a block of its own")).unwrap();
    let special = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, tree.join(name), kind, Mode::from_raw_mode(0o666), device).unwrap();
    };
    special("fifo", FileType::Fifo, 0);
    special("socket", FileType::Socket, 0);
    file(&tree.join("setuid"), 10_000);
    rustix::fs::chmod(tree.join("setuid"), Mode::from_raw_mode(0o4755)).unwrap();
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    for name in [&b"\x1b[2Jescape"[..], b"not\xffutf8", b"new\nline", b"-rf", b"...", b"\xe2\x80\xaeltr"] {
        let sub = dir(tree.join("odd").join(std::ffi::OsStr::from_bytes(name)));
        file(&sub.join("file"), 5000);
        file(&tree.join(std::ffi::OsStr::from_bytes(name)), 1);
    }
    file(&dir(tree.join("linked")).join("one"), 8192);
    std::fs::hard_link(tree.join("linked/one"), tree.join("linked/two")).unwrap();
    std::fs::hard_link(tree.join("linked/one"), tree.join("odd/three")).unwrap();
    canary
}

/// What only root can make, or open.
pub(in crate::host) fn of_root(tree: &Path) {
    let device = |name: &str, kind, major, minor| {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, tree.join(name), kind, Mode::from_raw_mode(0o666), device).unwrap();
    };
    // The watchdog: to open it arms it.
    device("watchdog", FileType::CharacterDevice, 10, 130);
    device("block", FileType::BlockDevice, 7, 0);
    file(&dir(tree.join("closed")).join("file"), 1);
    rustix::fs::chmod(tree.join("closed"), Mode::empty()).unwrap();
}

/// A directory outside of any tree, with content that shows when something reached it: 30 files, and one so large that it
/// shows in any sum.
pub(in crate::host) fn canary() -> TempDir {
    let canary = tempfile::tempdir().unwrap();
    let sub = dir(canary.path().join("sub"));
    for nth in 0..30 {
        file(&sub.join(format!("file-{nth}")), 10);
        file(&canary.path().join(format!("file-{nth}")), 10);
    }
    std::fs::File::create(sub.join("huge")).unwrap().set_len(CANARY_SIZE).unwrap();
    canary
}

pub(in crate::host) const CANARY_SIZE: u64 = 1 << 42;

pub(in crate::host) fn assert_sings(canary: &TempDir) {
    assert_eq!(std::fs::read_dir(canary.path()).unwrap().count(), 31);
    assert_eq!(std::fs::read_dir(canary.path().join("sub")).unwrap().count(), 31);
}

/// Nested directories `d`, with nothing else in them.
pub(in crate::host) fn shaft(top: &Path, depth: usize) {
    let mut here = open(top);
    for _ in 0..depth {
        rustix::fs::mkdirat(&here, c"d", Mode::from_raw_mode(0o755)).unwrap();
        here = rustix::fs::openat(&here, c"d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
}

/// Nested directories `d`, with a file and an empty directory on either side of each, so that on the way back up there is
/// something to do at every level.
pub(in crate::host) fn comb(top: &Path, depth: usize) {
    let mut here = open(top);
    let mode = Mode::from_raw_mode(0o755);
    for _ in 0..depth {
        for name in [c"before", c"d", c"later"] {
            rustix::fs::mkdirat(&here, name, mode).unwrap();
        }
        rustix::fs::openat(&here, c"file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, mode).unwrap();
        here = rustix::fs::openat(&here, c"d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
}

/// The limit is the whole process's: for tests that run apart.
pub(in crate::host) fn soft_descriptor_limit(limit: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
}

/// Stands where a caller's `stop` does and watches how many descriptors the process has open.
#[derive(Default)]
pub(in crate::host) struct DescriptorWatch {
    most: AtomicUsize,
    asked: AtomicU64,
}

impl DescriptorWatch {
    pub(in crate::host) fn look(&self) -> bool {
        // Each look is a listing of /proc.
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(16)
            && let Ok(open) = std::fs::read_dir("/proc/self/fd")
        {
            self.most.fetch_max(open.count(), Ordering::Relaxed);
        }
        false
    }

    pub(in crate::host) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

pub(in crate::host) fn set_mtime(path: &Path, seconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 5 },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A mount that goes with the test, however it ends.
pub(in crate::host) struct Mounted(PathBuf);

impl Mounted {
    pub(in crate::host) fn tmpfs(on: PathBuf) -> Self {
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &on);
        Self(on)
    }

    /// A file system whose listings do not tell what is a directory.
    pub(in crate::host) fn without_types(image: &Path, on: PathBuf) -> Self {
        std::fs::File::create(image).unwrap().set_len(16 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-O", "^filetype"], image);
        run("mount", &["-o", "loop", image.to_str().unwrap()], &on);
        Self(on)
    }

    pub(in crate::host) fn bind(what: &Path, on: PathBuf) -> Self {
        run("mount", &["--bind", what.to_str().unwrap()], &on);
        Self(on)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// How often directories have to be swapped for a race.
const ENOUGH: u64 = 1000;

/// While `walk` is called again and again for `time`, and longer until there was a race, another thread swaps directories in `tree` for symlinks to the canary
/// and back, as fast as it can. What `walk` deleted is made anew.
pub(in crate::host) fn race(
    tree: &Path,
    canary: &TempDir,
    time: Duration,
    mut walk: impl FnMut(BorrowedFd<'_>),
) {
    // Several, so that one is often hit between being listed and being opened.
    const PAIRS: [(&CStr, &CStr); 8] = [
        (c"a", c"link-a"),
        (c"b", c"link-b"),
        (c"c", c"link-c"),
        (c"d", c"link-d"),
        (c"e", c"link-e"),
        (c"f", c"link-f"),
        (c"g", c"link-g"),
        (c"h", c"link-h"),
    ];
    // Absolute and relative, for these are different matters to `openat2`.
    let relative = Path::new("..").join(canary.path().file_name().unwrap());
    let targets = [canary.path(), relative.as_path()];
    let fd = open(tree);
    let over = AtomicBool::new(false);
    let (swaps, end) = (AtomicU64::new(0), Instant::now() + time);
    let at_last = end + Duration::from_mins(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (one, other) in PAIRS {
                    if rustix::fs::renameat_with(&fd, one, &fd, other, RenameFlags::EXCHANGE).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        // Also when `walk` panics, or the scope would wait for the swaps for ever.
        let ended = Ended(&over);
        // On a loaded machine the swaps may not get their turn in that time.
        while Instant::now() < end || swaps.load(Ordering::Relaxed) <= ENOUGH && Instant::now() < at_last {
            for ((directory, link), target) in PAIRS.into_iter().zip(targets.into_iter().cycle()) {
                _ = rustix::fs::symlinkat(target, &fd, link);
                if rustix::fs::statat(&fd, directory, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    continue;
                }
                // Made aside, and moved into place where that is free: a path through it might lead to the canary.
                (0..5).for_each(|nth| drop(dir(tree.join(format!("fresh/sub-{nth}")))));
                _ = rustix::fs::renameat_with(&fd, c"fresh", &fd, directory, RenameFlags::NOREPLACE);
            }
            walk(fd.as_fd());
        }
        drop(ended);
    });
    assert!(swaps.into_inner() > ENOUGH, "there was no race");
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
