//! Directories by descriptor: opened without following a link, identified, listed. Everything in `host` that touches a volume
//! goes through here (I6).

use std::ffi::{CStr, CString, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::gc::entry::Ownership;
use crate::gc::volume::DirectoryIdentity;

/// What `statx(2)` says of a file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Which directory it is.
    pub identity: DirectoryIdentity,
    /// Whether it is a directory, and no symlink to one.
    pub is_directory: bool,
    /// Its mount (`STATX_MNT_ID`, Linux 5.8), if the kernel says.
    pub mount_id: Option<u64>,
    /// Whether something is mounted on it.
    pub is_mount_root: bool,
    /// Whether an immutable or append-only attribute is set.
    pub is_immutable: bool,
    /// Owner, group, mode.
    pub ownership: Ownership,
    /// Change time, seconds since the epoch.
    pub changed_at: i64,
}

/// Opens a directory by an administrator's path; links in it are the administrator's own and are followed.
pub fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a child directory. A link in its place is an error (`ELOOP` or `ENOTDIR`), never followed (I6).
pub fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a child directory to ask about it and its children alone (`O_PATH`, open(2)), which is cheaper; else like [`open_child`].
pub fn pin_child(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The facts of an open directory.
pub fn facts(directory: BorrowedFd<'_>) -> rustix::io::Result<Facts> {
    rustix::fs::statx(directory, c"", AtFlags::EMPTY_PATH, wanted()).map(|statx| from_statx(&statx))
}

/// The facts of a child, itself and not what it may point to.
pub fn facts_of_child(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Facts> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(parent, name, flags, wanted()).map(|statx| from_statx(&statx))
}

/// Whether a child exists, whatever it is.
pub fn child_exists(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<bool> {
    match facts_of_child(parent, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names in a directory, without `.` and `..`, with their types where the file system tells.
pub fn list(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    // A descriptor of its own, so that two listings do not share an offset.
    let listing = open_child(directory, c".")?;
    list_once(&listing, |name, kind| names.push((name.to_owned(), kind)))?;
    Ok(names)
}

/// The first names in a directory, through a descriptor that nobody has listed or will list. The others are not read.
pub fn first_names(directory: &OwnedFd, most: usize) -> rustix::io::Result<Vec<CString>> {
    let mut buffer = [const { MaybeUninit::uninit() }; 16 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while names.len() < most
        && let Some(entry) = entries.next()
    {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// The same as [`list`], one name after the other, through a descriptor that nobody has listed or will list.
pub fn list_once(directory: &OwnedFd, mut tell: impl FnMut(&CStr, FileType)) -> rustix::io::Result<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; 16 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            tell(entry.file_name(), entry.file_type());
        }
    }
    Ok(())
}

/// The whole of a small file. A link in its place is an error, a FIFO does not hang, and what is larger than `largest` bytes is an
/// error too (`EFBIG`).
pub fn read_file(parent: BorrowedFd<'_>, name: &CStr, largest: usize) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    read_open(&rustix::fs::openat(parent, name, flags, Mode::empty())?, largest)
}

/// The whole of an open file. What is larger than `largest` bytes is an error (`EFBIG`).
pub fn read_open(file: &OwnedFd, largest: usize) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 16 << 10];
    loop {
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => return Ok(text),
            Ok(length) => text.extend_from_slice(buffer.get(..length).unwrap_or(&[])),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if text.len() > largest {
            return Err(Errno::FBIG);
        }
    }
}

/// The directory that holds this one. For the quarantine directory only, which is never moved: elsewhere `..` could be led astray.
pub fn parent_of(directory: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    Ok(open_child(directory, c"..")?)
}

/// Random bits, for names that must differ.
pub fn random() -> u32 {
    let mut bytes = [0_u8; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(4) => u32::from_ne_bytes(bytes),
        // Names are made with a check for one that exists, so this is no danger.
        Ok(_) | Err(_) => std::process::id(),
    }
}

/// Whether an error says that there is no room, or none for us: a full disk or inode table, a quota, a read-only mount (I15).
pub fn is_without_room(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::ROFS)
}

/// Whether a rename failed so because the file system takes no flags, as many in FUSE (`renameat2(2)`).
pub fn takes_no_flags(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// A file name as the system takes it; a NUL in it is refused like a bad name.
pub fn c_name(name: &str) -> rustix::io::Result<CString> {
    CString::new(name).map_err(|_| Errno::INVAL)
}

/// A file name as it is shown: bytes that are no UTF-8 are replaced.
pub fn shown(name: &CStr) -> String {
    OsString::from_vec(name.to_bytes().to_vec()).to_string_lossy().into_owned()
}

/// How the top of a tree looks: what changes when something is made or removed there, and not when it is renamed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    modified: (i64, i64),
    links: u64,
}

/// How a directory looks now.
pub fn looks(directory: BorrowedFd<'_>) -> rustix::io::Result<Looks> {
    let stat = rustix::fs::fstat(directory)?;
    Ok(Looks { modified: (stat.st_mtime, stat.st_mtime_nsec.try_into().unwrap_or(0)), links: stat.st_nlink })
}

/// Where it is, as this process sees it.
pub fn path(directory: BorrowedFd<'_>) -> rustix::io::Result<PathBuf> {
    let text = rustix::fs::readlink(format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID
}

fn from_statx(statx: &Statx) -> Facts {
    let has = |flag: StatxFlags| StatxFlags::from_bits_retain(statx.stx_mask).contains(flag);
    let has_birth_time = has(StatxFlags::BTIME);
    let born = if has_birth_time { statx.stx_btime } else { statx.stx_ctime };
    let is = |attribute: StatxAttributes| statx.stx_attributes.contains(attribute);
    Facts {
        identity: DirectoryIdentity {
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            born_at_ns: born.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(born.tv_nsec)),
            has_birth_time,
        },
        is_directory: FileType::from_raw_mode(statx.stx_mode.into()) == FileType::Directory,
        mount_id: has(StatxFlags::MNT_ID).then_some(statx.stx_mnt_id),
        is_mount_root: is(StatxAttributes::MOUNT_ROOT),
        is_immutable: is(StatxAttributes::IMMUTABLE) || is(StatxAttributes::APPEND),
        ownership: Ownership {
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            mode: u32::from(statx.stx_mode) & 0o7777,
        },
        changed_at: statx.stx_ctime.tv_sec,
    }
}
