//! Deletes what is in a directory that containers wrote, never anything else (I6).
//!
//! A name is unlinked from a directory's descriptor that the walk reached without leaving the tree; `unlinkat` follows no
//! symlink and opens nothing. Nothing is renamed, except that a directory below a bounded depth is moved to the top of
//! the same tree: a container can nest deeper than memory or time would allow otherwise.
//!
//! There is no state but the tree itself. The walk is repeated until nothing is left or nothing changes any more, so it
//! can be stopped, or crash, at any point, and be called again.

mod failure;

use std::collections::hash_map::RandomState;
use std::ffi::CString;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, RenameFlags, Statx, StatxAttributes};
use rustix::io::Errno;

use super::fault::{self, Point, Setting};
use super::walk::crew::{Found, Plan, Visited, Visitor, walk};
use super::walk::{Around, Boundary, Names, Reader, Refused, facts_of, printable};

use failure::Failures;
pub use failure::{Cause, Failure, UnlinkError};

/// More threads only wait for the file system's own locks.
const MOST_WORKERS: usize = 16;

/// Names sorted by inode and unlinked in one go: bounded memory, and still the order of the disk.
const BATCH: usize = 50_000;

/// Deeper directories are moved to the top.
const MOST_LEVELS: usize = 16_384;

/// A pause is slept in pieces, so that a stop need not wait for its end.
const NAP: Duration = Duration::from_millis(100);

/// How to delete.
#[derive(Clone, Copy, Debug)]
pub struct DeleteOptions {
    /// Threads, at most 16. By default one on XFS, where more are slower, and else two.
    pub workers: Option<NonZeroUsize>,
    /// A thread pauses each time it has deleted this many entries...
    pub pause_every: u64,
    /// ...for this long. Zero: never.
    pub pause: Duration,
}

impl Default for DeleteOptions {
    fn default() -> Self {
        Self { workers: None, pause_every: 10_000, pause: Duration::ZERO }
    }
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Names of anything that is not a directory.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// What the file system got back, as far as could be seen: the blocks of each file whose last name went, and of each
    /// directory.
    pub bytes: u64,
    /// The caller stopped it: there may be more.
    pub stopped: bool,
}

impl Deleted {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.stopped |= other.stopped;
    }
}

/// Deletes everything in `dir`, not `dir` itself. What cannot be deleted is told when all else is gone; a stopped deletion
/// tells nothing yet. Can be called again after a stop, a failure or a crash.
pub fn delete_contents(
    dir: BorrowedFd<'_>,
    options: &DeleteOptions,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Deleted, UnlinkError> {
    let levels = fault::limit(Setting::DeleteLevels, MOST_LEVELS as u64);
    let levels = usize::try_from(levels).unwrap_or(MOST_LEVELS);
    delete_within(&Limits { levels, ..LIMITS }, dir, options, stop)
}

/// What tests choose otherwise.
#[derive(Clone, Copy)]
struct Limits {
    levels: usize,
    around: Around,
}

const LIMITS: Limits = Limits { levels: MOST_LEVELS, around: Boundary::around };

fn delete_within(
    limits: &Limits,
    dir: BorrowedFd<'_>,
    options: &DeleteOptions,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Deleted, UnlinkError> {
    let workers = match options.workers {
        Some(workers) => workers.min(NonZeroUsize::MIN.saturating_add(MOST_WORKERS - 1)),
        None => usual_workers(dir),
    };
    // Files of one directory are not shared: its lock lets only one thread unlink in it at a time.
    let plan = Plan { workers, batch: BATCH, least_files: usize::MAX, max_depth: limits.levels };
    let mut deleted = Deleted::default();
    loop {
        let pass = pass(limits.around, &plan, dir, options, stop).map_err(UnlinkError::Unreadable)?;
        deleted.add(pass.deleted);
        if deleted.stopped {
            return Ok(deleted);
        }
        if pass.is_clean() && is_empty(dir).map_err(UnlinkError::Unreadable)? {
            return Ok(deleted);
        }
        // What this pass left may only have waited for another thread. But each pass must get on.
        if !pass.got_on() {
            // Where nothing failed, what is left is what keeps filling.
            let Failures { count, mut first } =
                if pass.failures.count > 0 { pass.failures } else { pass.unfinished };
            if first.is_empty() {
                first.push(Failure { path: ".".to_owned(), cause: Cause::InUse });
            }
            return Err(UnlinkError::Left { deleted, count: count.max(1), first });
        }
    }
}

/// Parallel unlinking is slower on XFS (measured: 1.3 to 1.4 times the time of one thread).
fn usual_workers(dir: BorrowedFd<'_>) -> NonZeroUsize {
    const XFS_SUPER_MAGIC: i64 = 0x5846_5342;
    match rustix::fs::fstatfs(dir) {
        Ok(of) if of.f_type != XFS_SUPER_MAGIC => NonZeroUsize::MIN.saturating_add(1),
        Ok(_) | Err(_) => NonZeroUsize::MIN,
    }
}

fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (_, top) = Boundary::around(dir)?;
    let (mut files, mut directories) = (Names::default(), Names::default());
    Reader::new().read(top.fd.as_fd(), 1, &mut files, &mut directories)?;
    Ok(files.len() + directories.len() == 0)
}

/// One walk over all that is there.
fn pass(
    around: Around,
    plan: &Plan,
    dir: BorrowedFd<'_>,
    options: &DeleteOptions,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Pass, Errno> {
    let (boundary, top) = around(dir)?;
    let into = top.fd.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?;
    let new =
        || Eraser { boundary: &boundary, top: into.as_fd(), options, stop, busy: 0, pass: Pass::default() };
    let (erasers, stopped) = walk(&boundary, top, plan, stop, &new);
    let mut all = Pass::default();
    for Eraser { pass, .. } in erasers {
        all.deleted.add(pass.deleted);
        all.hoisted += pass.hoisted;
        all.failures.take(pass.failures);
        all.unfinished.take(pass.unfinished);
    }
    all.deleted.stopped = stopped;
    Ok(all)
}

#[derive(Debug, Default)]
struct Pass {
    deleted: Deleted,
    hoisted: u64,
    failures: Failures,
    /// Directories that were not empty when this pass left them.
    unfinished: Failures,
}

impl Pass {
    fn is_clean(&self) -> bool {
        self.hoisted == 0 && self.failures.count == 0 && self.unfinished.count == 0
    }

    fn got_on(&self) -> bool {
        self.deleted.files + self.deleted.directories + self.hoisted > 0
    }
}

/// One thread's part of a pass.
struct Eraser<'a> {
    boundary: &'a Boundary,
    top: BorrowedFd<'a>,
    options: &'a DeleteOptions,
    stop: &'a (dyn Fn() -> bool + Sync),
    /// Entries deleted since the last pause.
    busy: u64,
    pass: Pass,
}

impl Eraser<'_> {
    fn pace(&mut self) {
        self.busy += 1;
        if self.options.pause.is_zero() || self.busy < self.options.pause_every {
            return;
        }
        self.busy = 0;
        let mut left = self.options.pause;
        while !left.is_zero() && !(self.stop)() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left = left.saturating_sub(nap);
        }
    }

    fn fail(&mut self, found: &Found<'_>, errno: Errno) {
        self.pass.failures.add(|| {
            let path = printable(&found.path());
            let cause = match errno {
                Errno::BUSY | Errno::XDEV => Cause::Mount,
                Errno::PERM | Errno::ACCESS => {
                    protection(self.boundary, found).unwrap_or(Cause::Failed(errno))
                }
                other => Cause::Failed(other),
            };
            Failure { path, cause }
        });
    }
}

/// Looks for the attribute that makes the kernel answer EPERM even to root.
#[expect(clippy::disallowed_methods, reason = "only explains why a deletion failed")]
fn protection(boundary: &Boundary, found: &Found<'_>) -> Option<Cause> {
    let on_entry = boundary.look(found.dir, found.name).ok().and_then(|facts| attribute(&facts));
    let (attribute, holder) = match on_entry {
        Some(attribute) => (attribute, found.path()),
        None => (attribute(&facts_of(found.dir).ok()?)?, found.parent_path()),
    };
    let holder = if holder.is_empty() { ".".to_owned() } else { printable(&holder) };
    Some(Cause::Protected { attribute, holder })
}

fn attribute(facts: &Statx) -> Option<char> {
    if facts.stx_attributes.contains(StatxAttributes::IMMUTABLE) {
        Some('i')
    } else if facts.stx_attributes.contains(StatxAttributes::APPEND) {
        Some('a')
    } else {
        None
    }
}

impl Visitor for Eraser<'_> {
    fn entered(&mut self, _found: &Found<'_>, _facts: &Statx) {}

    fn file(&mut self, found: &Found<'_>) -> Visited {
        // For the sum alone: what may be unlinked is decided by the kernel, at the name.
        let freed = match self.boundary.look(found.dir, found.name) {
            Ok(facts) if facts.stx_nlink == 1 => facts.stx_blocks.saturating_mul(512),
            Ok(_) | Err(_) => 0,
        };
        let unlinked = fault::at(Point::DeleteFile)
            .and_then(|()| rustix::fs::unlinkat(found.dir, found.name, AtFlags::empty()));
        match unlinked {
            Ok(()) => {
                self.pass.deleted.files += 1;
                self.pass.deleted.bytes = self.pass.deleted.bytes.saturating_add(freed);
                self.pace();
            }
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Visited::Directory,
            Err(errno) => self.fail(found, errno),
        }
        Visited::Done
    }

    fn left(&mut self, found: &Found<'_>, blocks: u64) {
        let removed = fault::at(Point::DeleteDirectory)
            .and_then(|()| rustix::fs::unlinkat(found.dir, found.name, AtFlags::REMOVEDIR));
        match removed {
            Ok(()) => {
                self.pass.deleted.directories += 1;
                self.pass.deleted.bytes = self.pass.deleted.bytes.saturating_add(blocks.saturating_mul(512));
                self.pace();
            }
            Err(Errno::NOENT) => {}
            // Another thread is still in it, or it was filled again, or swapped: the next pass will see.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {
                self.pass.unfinished.add(|| Failure { path: printable(&found.path()), cause: Cause::InUse });
            }
            Err(errno) => self.fail(found, errno),
        }
    }

    /// Moves the directory to the top of the tree, where the next pass finds it.
    fn too_deep(&mut self, found: &Found<'_>) {
        // The content can hold any name, but none that it could foresee; and NOREPLACE makes sure.
        for _ in 0..16 {
            let name = format!(".volgc-deep-{:016x}", RandomState::new().build_hasher().finish());
            let Ok(name) = CString::new(name) else { break };
            let hoisted = fault::at(Point::DeleteHoist).and_then(|()| {
                rustix::fs::renameat_with(found.dir, found.name, self.top, &name, RenameFlags::NOREPLACE)
            });
            match hoisted {
                Ok(()) => {
                    self.pass.hoisted += 1;
                    return;
                }
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return,
                Err(Errno::PERM) => return self.fail(found, Errno::PERM),
                Err(errno) => {
                    let path = printable(&found.path());
                    return self.pass.failures.add(|| Failure { path, cause: Cause::TooDeep(errno) });
                }
            }
        }
    }

    fn failed(&mut self, path: &[u8], refused: Refused) {
        let cause = match refused {
            Refused::Boundary => Cause::Mount,
            Refused::Failed(errno) => Cause::Failed(errno),
            Refused::Gone | Refused::NotADirectory => {
                let path = printable(path);
                return self.pass.unfinished.add(|| Failure { path, cause: Cause::InUse });
            }
        };
        self.pass.failures.add(|| Failure { path: printable(path), cause });
    }
}

#[cfg(test)]
mod tests;
