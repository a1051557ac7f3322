//! Measures what a volume takes on the disk, without opening a file of it.
//!
//! Counted as `du` does: each inode once, directories' own blocks included. Other than `du`, a bind mount of the same file
//! system is not entered either (I6). What could not be measured makes the result incomplete, never silently smaller:
//! the numbers of an incomplete result are a lower bound.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Statx};

use super::walk::crew::{Found, Plan, Visited, Visitor, walk};
use super::walk::{Around, Boundary, Refused, identity, printable};

/// More threads only wait for each other.
const MOST_WORKERS: usize = 16;

/// Names read of one directory before they are looked at: enough to share, little to hold.
const BATCH: usize = 4096;

/// Fewer `statx` are done sooner than handed over.
const LEAST_FILES_SHARED: usize = 512;

/// A deeper tree is not measured to its end. Each level takes memory, and the time to come back up grows with the square.
const MOST_LEVELS: usize = 16_384;

/// Inodes with several names that are remembered, so that each is counted once: about 32 MiB. Further ones are not
/// counted at all and the result says that it is incomplete: a lower bound is of use, a sum of guesses is not.
const MOST_LINKED: usize = 1 << 20;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct UsageOptions {
    /// Threads for one tree, at most 16. Small trees are measured by the calling thread alone.
    pub workers: NonZeroUsize,
}

impl Default for UsageOptions {
    /// Eight: more than there are cores, since a cold disk is waited for.
    fn default() -> Self {
        Self { workers: NonZeroUsize::MIN.saturating_add(7) }
    }
}

/// What a tree takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What deleting it would give back, if nothing outside of it is hard-linked to its files.
    pub allocated_bytes: u64,
    /// The sum of the file sizes, holes included and directories not.
    pub apparent_bytes: u64,
    /// Everything that is not a directory; a file with several names counts once.
    pub files: u64,
    /// Directories, the top one included.
    pub directories: u64,
    /// The newest modification of a file or directory, as seconds and nanoseconds since 1970. As it is found: it may lie
    /// in the future.
    pub newest_write_at: Option<(i64, u32)>,
    /// Whether all of the tree was measured. If not, the numbers are a lower bound.
    pub complete: bool,
    /// How many things could not be measured.
    pub errors: u64,
    /// One of them, safe to show.
    pub first_error: Option<String>,
}

/// Measures the tree at `dir` on its own mount. `stop` is asked often, by all threads; once it answers `true` the result is
/// what was measured until then.
pub fn measure(dir: BorrowedFd<'_>, options: &UsageOptions, stop: &(dyn Fn() -> bool + Sync)) -> Usage {
    measure_within(&LIMITS, dir, options.workers, stop)
}

/// What tests choose otherwise.
#[derive(Clone, Copy)]
struct Limits {
    levels: usize,
    linked: usize,
    around: Around,
}

const LIMITS: Limits = Limits { levels: MOST_LEVELS, linked: MOST_LINKED, around: Boundary::around };

fn measure_within(
    limits: &Limits,
    dir: BorrowedFd<'_>,
    workers: NonZeroUsize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Usage {
    let (boundary, top) = match (limits.around)(dir) {
        Ok(opened) => opened,
        Err(errno) => {
            let first_error = Some(format!("the directory cannot be read: {errno}"));
            return Usage { errors: 1, first_error, ..Usage::default() };
        }
    };
    let plan = Plan {
        workers: workers.min(NonZeroUsize::MIN.saturating_add(MOST_WORKERS - 1)),
        batch: BATCH,
        least_files: LEAST_FILES_SHARED,
        max_depth: limits.levels,
    };
    let linked = Linked { seen: Mutex::default(), most: limits.linked };
    let new = || Meter { boundary: &boundary, linked: &linked, usage: Usage::default() };
    let mut first = new();
    first.enter(&top.facts);
    let (meters, stopped) = walk(&boundary, top, &plan, stop, &new);
    let mut usage = meters.into_iter().map(|meter| meter.usage).fold(first.usage, Usage::plus);
    usage.complete = !stopped && usage.errors == 0;
    usage
}

impl Usage {
    fn plus(self, other: Self) -> Self {
        Self {
            allocated_bytes: self.allocated_bytes.saturating_add(other.allocated_bytes),
            apparent_bytes: self.apparent_bytes.saturating_add(other.apparent_bytes),
            files: self.files + other.files,
            directories: self.directories + other.directories,
            newest_write_at: self.newest_write_at.max(other.newest_write_at),
            complete: self.complete && other.complete,
            errors: self.errors + other.errors,
            first_error: self.first_error.or(other.first_error),
        }
    }
}

/// The inodes seen that have more than one name.
struct Linked {
    seen: Mutex<HashSet<((u32, u32), u64)>>,
    most: usize,
}

enum Sighting {
    First,
    Again,
    /// No room to remember it.
    Unknown,
}

impl Linked {
    fn see(&self, facts: &Statx) -> Sighting {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = identity(facts);
        if seen.contains(&inode) {
            Sighting::Again
        } else if seen.len() >= self.most {
            Sighting::Unknown
        } else {
            seen.insert(inode);
            Sighting::First
        }
    }
}

/// One thread's part of the sum.
struct Meter<'a> {
    boundary: &'a Boundary,
    linked: &'a Linked,
    usage: Usage,
}

impl Meter<'_> {
    fn enter(&mut self, facts: &Statx) {
        self.usage.directories += 1;
        self.add(facts);
    }

    fn add(&mut self, facts: &Statx) {
        let blocks = facts.stx_blocks.saturating_mul(512);
        self.usage.allocated_bytes = self.usage.allocated_bytes.saturating_add(blocks);
        let written = Some((facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec));
        self.usage.newest_write_at = self.usage.newest_write_at.max(written);
    }

    fn fail(&mut self, path: &[u8], what: &str) {
        self.usage.errors += 1;
        self.usage.first_error.get_or_insert_with(|| {
            if path.is_empty() { what.to_owned() } else { format!("`{}`: {what}", printable(path)) }
        });
    }
}

impl Visitor for Meter<'_> {
    fn entered(&mut self, _found: &Found<'_>, facts: &Statx) {
        self.enter(facts);
    }

    fn file(&mut self, found: &Found<'_>) -> Visited {
        let facts = match self.boundary.look(found.dir, found.name) {
            Ok(facts) => facts,
            Err(Refused::Gone) => return Visited::Done,
            Err(refused) => {
                self.failed(&found.path(), refused);
                return Visited::Done;
            }
        };
        if FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory {
            return Visited::Directory;
        }
        if facts.stx_nlink > 1 {
            match self.linked.see(&facts) {
                Sighting::First => {}
                Sighting::Again => return Visited::Done,
                Sighting::Unknown => {
                    self.fail(&found.path(), "too many files with several names to count each once");
                    return Visited::Done;
                }
            }
        }
        self.usage.files += 1;
        self.usage.apparent_bytes = self.usage.apparent_bytes.saturating_add(facts.stx_size);
        self.add(&facts);
        Visited::Done
    }

    fn left(&mut self, _found: &Found<'_>, _blocks: u64) {}

    fn too_deep(&mut self, found: &Found<'_>) {
        self.fail(&found.path(), "lies too deep to be measured");
    }

    fn failed(&mut self, path: &[u8], refused: Refused) {
        match refused {
            Refused::Boundary => self.fail(path, "is a mount point or another file system: not measured"),
            Refused::Gone | Refused::NotADirectory => self.fail(path, "was moved while it was measured"),
            Refused::Failed(errno) => self.fail(path, &errno.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
