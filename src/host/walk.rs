//! The one way into a tree that untrusted containers wrote, for `usage` and `unlink` alike.
//!
//! What holds I6 (never leaves the entry, no symlink followed, no mount crossed) is kept in this file:
//!
//! - Everything is reached from a directory's descriptor by a single name, never by a path.
//! - Only directories are ever opened, so no FIFO can hang the walk and no device can be woken.
//! - A directory is opened by `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV`, which decides and
//!   opens in one step: a name that is swapped for a symlink in between cannot win. Where the kernel or a seccomp
//!   filter has no `openat2`, the name is pinned with `O_PATH` first and judged before it is opened.
//! - What was opened must lie on the tree's own mount *and* device: the mount tells a bind mount of the same file
//!   system, the device tells a btrfs subvolume. Who only looks for uses goes into subvolumes too: the data is in them as well.
//!
//! `stack` bounds the depth and the descriptors, `crew` shares a walk among threads.

pub(super) mod crew;
#[cfg(test)]
pub(super) mod fixture;
mod stack;

use std::cmp::Reverse;
use std::ffi::CStr;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, FsWord, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How a directory is opened: nothing but a directory, never through a symlink, never waiting.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Where `openat2` may go from a directory: to its own entries.
const WITHIN: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// What is asked of every inode.
const FACTS: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::NLINK)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::BLOCKS)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::ATIME)
    .union(StatxFlags::BTIME)
    .union(StatxFlags::MNT_ID);

/// `AT_STATX_DONT_SYNC`: what the kernel has at hand will do. A network or FUSE server that does not answer must not
/// hang the walk, should one be mounted on a file.
const AT_HAND: AtFlags =
    AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT).union(AtFlags::STATX_DONT_SYNC);

/// `BTRFS_SUPER_MAGIC` (linux/magic.h).
pub(super) const BTRFS: FsWord = 0x9123_683e;

const LISTING_BUFFER: usize = 64 * 1024;

const USUAL_NAME: usize = 32;

/// The kernel's means to keep a walk on its mount, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// Linux 5.6 and no seccomp filter in the way.
    Openat2,
    /// `O_PATH`, then the mount from `statx` (5.8) or from `/proc/self/fdinfo`.
    Pinned,
}

/// The mount that a walk must stay on, and the device, unless subvolumes are walked through as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundary {
    means: Means,
    mount: u64,
    device: Option<(u32, u32)>,
}

/// An open directory inside the boundary, and what was true of it when it was opened.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) facts: Statx,
}

/// Why a name could not be opened as a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Normal in a tree that is in use.
    Gone,
    /// A symlink, a file: whatever it is, there is nothing to walk into.
    NotADirectory,
    /// Another mount or another file system starts here (I6).
    Boundary,
    Failed(Errno),
}

/// How a walk takes its boundary: `Boundary::around`, or in tests one of the means.
pub(super) type Around = fn(BorrowedFd<'_>) -> Result<(Boundary, Directory), Errno>;

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Gone,
            // `O_NOFOLLOW | O_DIRECTORY` on a symlink: ENOTDIR from openat, ELOOP from openat2.
            Errno::NOTDIR | Errno::LOOP => Self::NotADirectory,
            Errno::XDEV => Self::Boundary,
            other => Self::Failed(other),
        }
    }
}

impl Boundary {
    /// Takes the boundary from the directory at the top of a tree, and opens that directory afresh: its own file
    /// position, and readable even when `dir` is an `O_PATH` descriptor.
    pub(super) fn around(dir: BorrowedFd<'_>) -> Result<(Self, Directory), Errno> {
        match rustix::fs::openat2(dir, c".", DIRECTORY, Mode::empty(), WITHIN) {
            Ok(_) => Self::by(Means::Openat2, dir),
            // Container runtimes' seccomp filters answer either to a call they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Self::by(Means::Pinned, dir),
            Err(errno) => Err(errno),
        }
    }

    fn by(means: Means, dir: BorrowedFd<'_>) -> Result<(Self, Directory), Errno> {
        let fd = leaving_no_trace(|flags| rustix::fs::openat(dir, c".", flags, Mode::empty()))?;
        let facts = facts_of(fd.as_fd())?;
        let boundary = Self { means, mount: mount_of(fd.as_fd(), &facts)?, device: Some(device(&facts)) };
        Ok((boundary, Directory { fd, facts }))
    }

    /// The same with subvolumes of btrfs, which are other devices on the same mount: for who looks for uses, and deletes nothing.
    pub(super) fn with_subvolumes(self) -> Self {
        Self { device: None, ..self }
    }

    fn is_elsewhere(&self, facts: &Statx) -> bool {
        self.device.is_some_and(|own| own != device(facts))
    }

    /// Opens the subdirectory `name`, a name from a listing of `parent`. This is the only place where a walk goes down.
    pub(super) fn open(&self, parent: BorrowedFd<'_>, name: &CStr) -> Result<Directory, Refused> {
        match self.means {
            Means::Openat2 => {
                let fd = leaving_no_trace(|flags| {
                    rustix::fs::openat2(parent, name, flags, Mode::empty(), WITHIN)
                })?;
                let facts = facts_of(fd.as_fd())?;
                if self.is_elsewhere(&facts) || stray_mount(&facts, self.mount) {
                    return Err(Refused::Boundary);
                }
                Ok(Directory { fd, facts })
            }
            Means::Pinned => {
                // Opening a mount point for reading may already wake what is mounted there, so it is judged as a mere
                // O_PATH handle first. "." of that handle is the very inode that was judged: no race in between.
                let pin = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let pinned = rustix::fs::openat(parent, name, pin, Mode::empty())?;
                let facts = facts_of(pinned.as_fd())?;
                if self.is_elsewhere(&facts) || mount_of(pinned.as_fd(), &facts)? != self.mount {
                    return Err(Refused::Boundary);
                }
                let fd = leaving_no_trace(|flags| rustix::fs::openat(&pinned, c".", flags, Mode::empty()))?;
                Ok(Directory { fd, facts })
            }
        }
    }

    /// What `name` in `parent` is, without opening or following it. `Refused::Boundary` when something is mounted on it.
    pub(super) fn look(&self, parent: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Refused> {
        let facts = rustix::fs::statx(parent, name, AT_HAND, FACTS)?;
        // The device is not compared here: on an overlay, files report the device of the layer they lie in.
        if stray_mount(&facts, self.mount) { Err(Refused::Boundary) } else { Ok(facts) }
    }
}

/// Opens a directory so that listing it does not move its access time. Only its owner and root may ask for that (open(2),
/// `O_NOATIME`); everybody else lists it as usual.
fn leaving_no_trace(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    match open(DIRECTORY | OFlags::NOATIME) {
        Err(Errno::PERM) => open(DIRECTORY),
        opened => opened,
    }
}

/// `statx` of an open directory.
pub(super) fn facts_of(fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, c"", AT_HAND | AtFlags::EMPTY_PATH, FACTS)
}

/// Which inode this is. Two names with the same answer are the same directory, for as long as it exists.
pub(super) fn identity(facts: &Statx) -> ((u32, u32), u64) {
    (device(facts), facts.stx_ino)
}

fn device(facts: &Statx) -> (u32, u32) {
    (facts.stx_dev_major, facts.stx_dev_minor)
}

fn tells_mount(facts: &Statx) -> bool {
    facts.stx_mask & StatxFlags::MNT_ID.bits() != 0
}

fn stray_mount(facts: &Statx, mount: u64) -> bool {
    tells_mount(facts) && facts.stx_mnt_id != mount
}

/// The mount that `fd` was opened on. Kernels before 5.8 say so only in `/proc`; when that fails too, the walk is refused:
/// without it a bind mount of the same file system could not be told from a directory (I6).
fn mount_of(fd: BorrowedFd<'_>, facts: &Statx) -> Result<u64, Errno> {
    if tells_mount(facts) { Ok(facts.stx_mnt_id) } else { mount_from_proc(fd) }
}

#[expect(clippy::disallowed_methods, reason = "no mount ID is an error")]
fn mount_from_proc(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [MaybeUninit::uninit(); 1024];
    let (text, _) = rustix::io::read(&info, &mut text)?;
    std::str::from_utf8(text)
        .unwrap_or("")
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or(Errno::NOSYS)
}

/// Names from a listing, packed: no allocation a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Inode number, and where the name starts in `bytes`.
    entries: Vec<(u64, usize)>,
    popped: u64,
}

impl Names {
    pub(super) fn push(&mut self, inode: u64, name: &CStr) {
        if self.entries.is_empty() {
            self.bytes.clear();
        }
        self.entries.push((inode, self.bytes.len()));
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// Takes the next name; `get` tells what it is, until the next `push`.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let (inode, start) = self.entries.pop()?;
        self.popped = inode;
        Some(start)
    }

    /// The inode of the name that was taken last; 0 where the listing does not say what it is.
    pub(super) fn popped_inode(&self) -> u64 {
        self.popped
    }

    #[expect(clippy::disallowed_methods, reason = "`start` is an offset that this buffer gave out")]
    pub(super) fn get(&self, start: usize) -> &CStr {
        let tail = self.bytes.get(start..).unwrap_or_default();
        CStr::from_bytes_until_nul(tail).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Long names count for more, so that `limit` bounds the memory too.
    fn fills(&self, limit: usize) -> bool {
        self.entries.len() >= limit || self.bytes.len() / USUAL_NAME >= limit
    }

    /// What it holds in memory.
    pub(super) fn footprint(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<(u64, usize)>()
    }

    /// Takes away the half (rounded up) that would come last.
    #[expect(clippy::disallowed_methods, reason = "`start` is an offset that this buffer gave out")]
    pub(super) fn split(&mut self) -> Self {
        let mut given = Self::default();
        for (inode, start) in self.entries.drain(..self.entries.len().div_ceil(2)) {
            let tail = self.bytes.get(start..).unwrap_or_default();
            given.push(inode, CStr::from_bytes_until_nul(tail).unwrap_or_default());
        }
        given
    }

    /// `pop` then yields them in the order of their inodes, which is how they lie on the disk.
    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|&(inode, _)| Reverse(inode));
    }
}

/// Reads directories. One a thread: it owns the buffer.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

/// How far a directory has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Where to go on, as the file system wants to be told.
    At(u64),
    End,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::with_capacity(LISTING_BUFFER) }
    }

    /// Reads on from where `dir` stands until some `limit` names are there: a directory may hold more than fit in memory.
    pub(super) fn read(
        &mut self,
        dir: BorrowedFd<'_>,
        limit: usize,
        files: &mut Names,
        directories: &mut Names,
    ) -> Result<Position, Errno> {
        let mut listing = RawDir::new(dir, self.buffer.spare_capacity_mut());
        let mut position = Position::End;
        // Stop only between two buffers: what is left in one would be lost.
        while !(listing.is_buffer_empty() && files.fills(limit) | directories.fills(limit)) {
            let entry = match listing.next() {
                // NOENT: the directory itself was removed, so it is empty.
                None | Some(Err(Errno::NOENT)) => {
                    position = Position::End;
                    break;
                }
                Some(entry) => entry?,
            };
            position = Position::At(entry.next_entry_cookie());
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = if entry.file_type() == FileType::Directory { &mut *directories } else { &mut *files };
            // Without its type, an entry is to be looked at in any case.
            let inode = if entry.file_type() == FileType::Unknown { 0 } else { entry.ino() };
            kind.push(inode, name);
        }
        files.sort();
        directories.sort();
        Ok(position)
    }
}

/// A name or path from a container, made safe to show: control and invisible characters are escaped, and so are bytes
/// that are not UTF-8.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '"' => shown.push(character),
                other => shown.extend(other.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Raises the soft limit of open files to the hard one, once, at start. systemd's soft limit of 1024 is for programs that
/// use `select`. The walks stay within whatever limit there is; with a higher one they reopen less in deep trees.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Failing is fine: see above.
    _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How many descriptors each of `workers` may hold, so that all of them leave half of the process's to others.
fn descriptors_each(workers: usize) -> usize {
    let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let soft = usize::try_from(soft).unwrap_or(usize::MAX);
    (soft / 2 / workers.max(1)).clamp(8, 256)
}

#[cfg(test)]
mod tests;
