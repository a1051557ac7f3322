//! Whether a tree can be deleted whole, asked before anything of it is: what stands in the way is then told with nothing lost.
//!
//! It is a walk by `statx` alone, with the boundaries of the one that deletes (I6).

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::proc::swaps::{self, File};
use super::walk::crew::{Found, Plan, Visited, Visitor, walk};
use super::walk::{BTRFS, Boundary, Refused, facts_of, printable};
use crate::gc::obstacles::UndeletableCause;

/// More threads wait for each other.
const WORKERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Names read of one directory before they are looked at.
const BATCH: usize = 4096;

/// Fewer are looked at sooner than handed over.
const LEAST_FILES_SHARED: usize = 512;

/// What lies deeper is not looked at. Whoever deletes it finds out.
const MOST_LEVELS: usize = 16_384;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survey {
    /// Nothing stands in the way.
    Deletable,
    /// This does, at that path below the tree; it is the first that was found.
    Obstacle {
        /// The path.
        path: Vec<u8>,
        /// What it is.
        cause: UndeletableCause,
    },
    /// It was stopped before its end.
    Stopped,
}

/// Looks through all of a tree, until something is found or `stop` says so.
///
/// # Errors
///
/// When the tree itself cannot be opened, or the kernel does not tell what it swaps to.
pub fn survey(dir: BorrowedFd<'_>, stop: &(dyn Fn() -> bool + Sync)) -> Result<Survey, std::io::Error> {
    let swaps = swaps::files()?;
    let (boundary, top) = Boundary::around(dir)?;
    if let Some(cause) = attribute(&top.facts) {
        return Ok(Survey::Obstacle { path: Vec::new(), cause });
    }
    let has_found = AtomicBool::new(false);
    let plan =
        Plan { workers: WORKERS, batch: BATCH, least_files: LEAST_FILES_SHARED, max_depth: MOST_LEVELS };
    let new = || Surveyor { boundary: &boundary, swaps: &swaps, has_found: &has_found, first: None };
    let enough = || has_found.load(Ordering::Relaxed) || stop();
    let (surveyors, stopped) = walk(&boundary, top, &plan, &enough, &new);
    match surveyors.into_iter().find_map(|surveyor| surveyor.first) {
        Some((path, Obstructed::Known(cause))) => Ok(Survey::Obstacle { path, cause }),
        Some((path, Obstructed::Boundary)) => {
            let cause = boundary_at(dir, &path)?.unwrap_or(UndeletableCause::OtherFileSystem);
            Ok(Survey::Obstacle { path, cause })
        }
        None if stopped => Ok(Survey::Stopped),
        None => Ok(Survey::Deletable),
    }
}

/// Whether what was found at a path is still there. What cannot be found out is.
pub fn is_still_there(dir: BorrowedFd<'_>, path: &[u8], cause: UndeletableCause) -> bool {
    match cause {
        UndeletableCause::Mount | UndeletableCause::Subvolume | UndeletableCause::OtherFileSystem => {
            match look(dir, path) {
                Ok(_) => boundary_at(dir, path) != Ok(None),
                Err(errno) => errno != Errno::NOENT,
            }
        }
        UndeletableCause::Immutable | UndeletableCause::AppendOnly => match look(dir, path) {
            Ok(facts) => attribute(&facts).is_some(),
            Err(errno) => errno != Errno::NOENT,
        },
        UndeletableCause::Swap => match (look(dir, path), swaps::files()) {
            (Ok(facts), Ok(swaps)) => swaps.contains(&file_of(&facts)),
            (Err(errno), _) => errno != Errno::NOENT,
            (Ok(_), Err(_)) => true,
        },
        // Only a walk finds out.
        UndeletableCause::Unreadable => false,
    }
}

/// The whole path of something in a tree, as it can be pasted into a shell.
pub fn shell_path(tree: &Path, path: &[u8]) -> String {
    let whole = if path.is_empty() { tree.to_owned() } else { tree.join(OsStr::from_bytes(path)) };
    let shown = printable(whole.as_os_str().as_bytes());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if shown.chars().all(is_plain) { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) }
}

/// What is at a path below a directory, no link followed. Mounts are: that is what is looked for.
fn look(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Statx, Errno> {
    let path = CString::new(if path.is_empty() { b".".to_vec() } else { path.to_vec() })
        .map_err(|_| Errno::INVAL)?;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let pin = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(dir, &path, pin, Mode::empty(), within)?;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    rustix::fs::statx(&found, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted)
}

/// What kind of boundary begins at a path; none when none does.
fn boundary_at(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Option<UndeletableCause>, Errno> {
    let (facts, own) = (look(dir, path)?, facts_of(dir)?);
    let is_told = facts.stx_mask & own.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    if facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        || (is_told && facts.stx_mnt_id != own.stx_mnt_id)
    {
        return Ok(Some(UndeletableCause::Mount));
    }
    let device = |facts: &Statx| (facts.stx_dev_major, facts.stx_dev_minor);
    if device(&own) == device(&facts) {
        return Ok(None);
    }
    let is_btrfs = rustix::fs::fstatfs(dir)?.f_type == BTRFS;
    Ok(Some(if is_btrfs { UndeletableCause::Subvolume } else { UndeletableCause::OtherFileSystem }))
}

fn attribute(facts: &Statx) -> Option<UndeletableCause> {
    if facts.stx_attributes.contains(StatxAttributes::IMMUTABLE) {
        Some(UndeletableCause::Immutable)
    } else if facts.stx_attributes.contains(StatxAttributes::APPEND) {
        Some(UndeletableCause::AppendOnly)
    } else {
        None
    }
}

fn file_of(facts: &Statx) -> File {
    File { device: rustix::fs::makedev(facts.stx_dev_major, facts.stx_dev_minor), inode: facts.stx_ino }
}

/// What stands in the way, as the walk meets it.
enum Obstructed {
    Known(UndeletableCause),
    /// Which one is looked at afterwards.
    Boundary,
}

/// One thread's part of the walk.
struct Surveyor<'a> {
    boundary: &'a Boundary,
    swaps: &'a BTreeSet<File>,
    has_found: &'a AtomicBool,
    first: Option<(Vec<u8>, Obstructed)>,
}

impl Surveyor<'_> {
    fn find(&mut self, path: Vec<u8>, what: Obstructed) {
        self.has_found.store(true, Ordering::Relaxed);
        self.first.get_or_insert((path, what));
    }

    fn look(&mut self, found: &Found<'_>) -> Option<Statx> {
        match self.boundary.look(found.dir, found.name) {
            Ok(facts) => {
                if let Some(cause) = attribute(&facts) {
                    self.find(found.path(), Obstructed::Known(cause));
                } else if !self.swaps.is_empty() && self.swaps.contains(&file_of(&facts)) {
                    self.find(found.path(), Obstructed::Known(UndeletableCause::Swap));
                }
                Some(facts)
            }
            Err(refused) => {
                self.failed(&found.path(), refused);
                None
            }
        }
    }
}

impl Visitor for Surveyor<'_> {
    fn entered(&mut self, _found: &Found<'_>, _facts: &Statx) {}

    fn file(&mut self, found: &Found<'_>) -> Visited {
        use rustix::fs::FileType;
        match self.look(found) {
            Some(facts) if FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory => {
                Visited::Directory
            }
            Some(_) | None => Visited::Done,
        }
    }

    fn left(&mut self, found: &Found<'_>, _blocks: u64) {
        self.look(found);
    }

    fn too_deep(&mut self, _found: &Found<'_>) {}

    fn failed(&mut self, path: &[u8], refused: Refused) {
        match refused {
            Refused::Boundary => self.find(path.to_vec(), Obstructed::Boundary),
            Refused::Failed(_) => {
                self.find(path.to_vec(), Obstructed::Known(UndeletableCause::Unreadable));
            }
            // It changes while it is looked at; whoever deletes it finds out.
            Refused::Gone | Refused::NotADirectory => {}
        }
    }
}

#[cfg(test)]
mod tests;
