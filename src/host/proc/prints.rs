//! Files as they are seen in a file system that is made of others: an overlay shows inode and change time of what lies below it.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::mountinfo::{Device, MountLine};
use super::task::Task;
use crate::host::directory;
use crate::host::image::Image;

/// An overlay over several file systems keeps the number of the file system in the highest bits of an inode, as many as it needs
/// (`xino`, Linux `Documentation/filesystems/overlayfs.rst`). No file system of this world has inodes as high as that.
const INODE_BITS: u64 = (1 << 56) - 1;

/// `OVERLAYFS_SUPER_MAGIC` and `EROFS_SUPER_MAGIC_V1` (linux/magic.h).
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;
const EROFS: rustix::fs::FsWord = 0xe0f5_e1e2;

const FACTS: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::INO)
    .union(StatxFlags::NLINK)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::BTIME)
    .union(StatxFlags::MNT_ID);

/// How many directories [`top`] climbs at most.
const MOST_LEVELS: usize = 4096;

/// What tells a file from all others, whatever it is seen through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print {
    /// Its inode.
    pub inode: u64,
    /// When it was changed last, in nanoseconds.
    pub changed_at: i128,
    /// When its content was changed last, in nanoseconds.
    pub modified_at: i128,
    /// When it was made, in nanoseconds, where the file system tells.
    pub born_at: Option<i128>,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
}

impl Print {
    /// Of these facts.
    pub fn of(facts: &Statx) -> Self {
        let at = |time: StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let has_birth = StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::BTIME);
        Self {
            inode: facts.stx_ino & INODE_BITS,
            changed_at: at(facts.stx_ctime),
            modified_at: at(facts.stx_mtime),
            born_at: has_birth.then(|| at(facts.stx_btime)),
            size: facts.stx_size,
            is_directory: FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory,
        }
    }

    /// Whether this is a file as it is seen in an overlay, of a file in one of its layers. What is copied up shows the inode of the lower
    /// file with the times of the upper one; and both may be written to between two looks.
    pub fn is_of(&self, file: &Self) -> bool {
        if self.is_directory != file.is_directory {
            return false;
        }
        let is_born_with = self.born_at.is_some() && self.born_at == file.born_at;
        if self.inode == file.inode {
            // Of the lower file its content is left, which copying up keeps with its time.
            let is_content = !self.is_directory
                && self.size > 0
                && (self.size, self.modified_at) == (file.size, file.modified_at);
            return self.changed_at == file.changed_at || is_born_with || is_content;
        }
        // Directories are made by the thousand in one tick of the clock.
        match (is_born_with, self.is_directory) {
            (true, true) => self.changed_at == file.changed_at,
            (true, false) => self.changed_at <= file.changed_at,
            (false, _) => {
                (self.born_at, file.born_at) == (None, None)
                    && self.changed_at == file.changed_at
                    && (self.size, self.modified_at) == (file.size, file.modified_at)
            }
        }
    }

    /// By what a file is known that has another inode in its layer: when it was made, or changed, where the file system does not tell that.
    pub fn key(&self) -> i128 {
        self.born_at.unwrap_or(self.changed_at)
    }
}

/// A file system of this kind shows files of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// An overlay, of directories.
    Overlay,
    /// An EROFS, of a file with this superblock, if it is of one.
    Erofs(Image),
    /// None of these.
    Other,
}

/// The path under which a task sees `path`.
pub fn seen_by(task: Task, path: &[u8]) -> Vec<u8> {
    [task.path("root").as_bytes(), path].concat()
}

/// What is at `below` in a directory, itself and not what it points to; none when nothing can be seen there.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen is the same as no other file")]
pub fn at(directory: &[u8], below: &[u8]) -> Option<Print> {
    facts(CWD, child(directory, below)).as_ref().map(Print::of).ok()
}

fn child(directory: &[u8], below: &[u8]) -> Vec<u8> {
    if below.is_empty() { directory.to_vec() } else { [directory, b"/", below].concat() }
}

/// What is at a path that a proof can be made of: a file with other names may be in other directories.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen proves nothing")]
pub fn proof_at(directory: &[u8], below: &[u8]) -> Option<Print> {
    let facts = facts(CWD, child(directory, below)).ok()?;
    let is_directory = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory;
    (is_directory || facts.stx_nlink == 1).then(|| Print::of(&facts))
}

/// Whether a path leads to this mount, which something else may be mounted over.
#[expect(clippy::disallowed_methods, reason = "what cannot be seen is on no mount that is looked for")]
pub fn is_on(path: &[u8], mount: &MountLine) -> bool {
    facts(CWD, path).is_ok_and(|facts| {
        if StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::MNT_ID) {
            return facts.stx_mnt_id == mount.id;
        }
        // Before Linux 5.8. A file of an overlay may have the device of its layer.
        let is_directory = FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory;
        !is_directory || mount.device == Device { major: facts.stx_dev_major, minor: facts.stx_dev_minor }
    })
}

/// The first files at and below a directory.
#[derive(Debug, Default)]
pub struct Listed {
    /// By their paths from there, the upper ones first; its own is empty.
    pub found: Vec<(Vec<u8>, Print)>,
    /// Why not all of them.
    pub left_out: Option<LeftOut>,
}

/// Why not all files were listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// There are more than were asked for.
    More,
    /// Something could not be read.
    Failed(Errno),
}

/// How far a directory is listed.
#[derive(Debug, Clone, Copy)]
pub struct Extent<'a> {
    /// At most so many files.
    pub most: usize,
    /// Without these directories, and what is below them.
    pub without: &'a [Print],
}

impl Extent<'static> {
    /// So many files.
    pub fn of(most: usize) -> Self {
        Self { most, without: &[] }
    }
}

/// The first files at and below a directory. Nothing is opened but directories, and no mount is gone into.
pub fn listed(directory: &[u8], extent: Extent<'_>) -> Listed {
    let mut listed = Listed::default();
    match facts(CWD, directory) {
        Ok(facts) => listed.found.push((Vec::new(), Print::of(&facts))),
        Err(error) => listed.fail(error, Whole::Directory),
    }
    let mut todo = VecDeque::from([Vec::new()]);
    while let Some(below) = todo.pop_front() {
        if listed.found.len() >= extent.most {
            listed.left_out.get_or_insert(LeftOut::More);
            break;
        }
        if let Err(error) = listed.add(directory, &below, extent, &mut todo) {
            listed.fail(error, Whole::Directory);
        }
    }
    listed
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Directory,
    Name,
}

impl Listed {
    /// Where the server of a layer is gone, what else there may be is left out. What an overlay does not show to us it shows to nobody: it
    /// was not permitted to who mounted it, or is the half of another overlay (`redirect_dir`, `metacopy`).
    fn fail(&mut self, error: Errno, what: Whole) {
        let is_gone = matches!(
            error,
            Errno::NOTCONN
                | Errno::STALE
                | Errno::TIMEDOUT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::CONNABORTED
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
        );
        if is_gone || (error == Errno::IO && what == Whole::Directory) {
            self.left_out.get_or_insert(LeftOut::Failed(error));
        }
    }

    fn add(
        &mut self,
        top: &[u8],
        below: &[u8],
        extent: Extent<'_>,
        todo: &mut VecDeque<Vec<u8>>,
    ) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(child(top, below), flags, Mode::empty())?;
        let room = extent.most - self.found.len();
        let names = directory::first_names(&opened, room.saturating_add(1))?;
        if names.len() > room {
            self.left_out.get_or_insert(LeftOut::More);
        }
        for name in names.into_iter().take(room) {
            let facts = match facts(&opened, name.as_c_str()) {
                Ok(facts) => facts,
                Err(error) => {
                    self.fail(error, Whole::Name);
                    continue;
                }
            };
            let slash: &[u8] = if below.is_empty() { b"" } else { b"/" };
            let path = [below, slash, name.to_bytes()].concat();
            let is_mount = facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            let print = Print::of(&facts);
            if print.is_directory && extent.without.iter().any(|without| print.is_of(without)) {
                continue;
            }
            if print.is_directory && !is_mount {
                todo.push_back(path.clone());
            }
            self.found.push((path, print));
        }
        Ok(())
    }
}

/// The files of a layer that have their content in another one (`metacopy`, Linux `Documentation/filesystems/overlayfs.rst`): its path there,
/// and its size.
pub fn contents_elsewhere(layer: &[u8], most: usize) -> Vec<(Vec<u8>, u64)> {
    let attribute = |path: &[u8], name: &str| {
        let mut value = [0_u8; 4096];
        let mut of = |space: &str| rustix::fs::lgetxattr(path, format!("{space}.overlay.{name}"), &mut value);
        let length = of("trusted").or_else(|_| of("user"));
        length.map(|length| value.get(..length).map(<[u8]>::to_vec))
    };
    let files = listed(layer, Extent::of(most)).found.into_iter().filter(|(_, print)| !print.is_directory);
    let elsewhere = files.filter_map(|(below, print)| {
        let path = child(layer, &below);
        if attribute(&path, "metacopy").is_err() {
            return None;
        }
        let redirect = attribute(&path, "redirect").unwrap_or(None);
        let beside = |name: Vec<u8>| match below.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if !name.starts_with(b"/") => [below.get(..=slash).unwrap_or(b""), &name].concat(),
            Some(_) | None => name,
        };
        Some((redirect.map_or_else(|| below.clone(), beside), print.size))
    });
    elsewhere.collect()
}

/// The kind of the file system of an open file. It asks the file system, which may be one that never answers.
pub fn made(file: &OwnedFd) -> rustix::io::Result<Made> {
    let facts = rustix::fs::fstatfs(file)?;
    Ok(match facts.f_type {
        OVERLAY => Made::Overlay,
        EROFS => Made::Erofs(Image::mounted(&facts)?),
        _ => Made::Other,
    })
}

/// Opens what a path leads to, links included, without using it.
pub fn reached(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// An open file, or the first files of the whole file system that an open directory is on, as far up as its mount leads; and where it lies.
pub fn all_of(file: OwnedFd, extent: Extent<'_>) -> rustix::io::Result<(Listed, OwnedFd)> {
    let found = facts(&file, c"")?;
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Directory {
        return Ok((Listed { found: vec![(Vec::new(), Print::of(&found))], left_out: None }, file));
    }
    let top = top(file)?;
    Ok((listed(&path_of(&top), extent), top))
}

/// An open directory itself.
pub fn of_open(directory: &OwnedFd) -> rustix::io::Result<Print> {
    facts(directory, c"").as_ref().map(Print::of).map_err(|error| *error)
}

/// The path to an open directory.
pub fn path_of(directory: &OwnedFd) -> Vec<u8> {
    format!("/proc/self/fd/{}/.", directory.as_raw_fd()).into_bytes()
}

/// Whether one of the first files of a directory is seen in a file system, at the end of its path there: the directory is a layer of it, or
/// a part of one. It returns that file.
pub fn shown_of(top: &[u8], directory: &[u8], most: usize) -> Option<Vec<u8>> {
    let files = listed(directory, Extent::of(most)).found.into_iter().filter(|(below, _)| !below.is_empty());
    let is_shown = |(below, print): &(Vec<u8>, Print)| {
        let starts = below.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| slash + 1);
        std::iter::once(0).chain(starts).any(|start| {
            let seen = below.get(start..).and_then(|end| at(top, end));
            seen.is_some_and(|seen| seen.is_of(print))
        })
    };
    files.map(|file| (is_shown(&file), file)).find(|(is_shown, _)| *is_shown).map(|(_, (below, _))| below)
}

fn top(directory: OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = directory;
    for _ in 0..MOST_LEVELS {
        let above = rustix::fs::openat(&here, c"..", flags, Mode::empty())?;
        let (one, other) = (facts(&here, c"")?, facts(&above, c"")?);
        let device = |facts: &Statx| (facts.stx_dev_major, facts.stx_dev_minor);
        if device(&one) != device(&other) || one.stx_ino == other.stx_ino {
            break;
        }
        here = above;
    }
    Ok(here)
}

fn facts(directory: impl rustix::fd::AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<Statx> {
    let flags =
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    rustix::fs::statx(directory, path, flags, FACTS)
}
