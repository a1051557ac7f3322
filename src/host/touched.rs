//! Looks through the data of a volume or an entry for uses that the kernel noted in its inodes; what counts as one is decided in
//! [`crate::gc::touched`].
//!
//! Nothing but directories is opened, and all by [`super::walk`] (I6), so no file's access time moves and no FIFO can hang it.
//! What could not be looked at makes the finding [`Finding::Unknown`], never [`Finding::AtRest`] (I2).

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Statx};

use super::walk::crew::{Found, Plan, Visited, Visitor, walk};
use super::walk::{Around, BTRFS, Boundary, Refused, printable};
use crate::gc::touched::{Finding, Kind, Manner, Since, Stamp, Times, Touched};

/// Few: nobody waits for the result, and other programs share the disk.
const WORKERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// What btrfs shows in a snapshot where a subvolume was: an empty directory into which nothing can be put, whose times are those of the
/// moment in which somebody looks (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`; other inodes begin at 256).
const PLACEHOLDER: u64 = 2;

/// Names read of one directory before they are looked at.
const BATCH: usize = 4096;

/// Fewer `statx` are done sooner than handed over.
const LEAST_FILES_SHARED: usize = 512;

/// Looks through all below `dir` on its own mount, however deep: only memory limits that. `stop` is asked often, by all threads.
pub fn look_through(dir: BorrowedFd<'_>, since: Since, stop: &(dyn Fn() -> bool + Sync)) -> Finding {
    look_within(Boundary::around, dir, since, stop)
}

fn look_within(
    around: Around,
    dir: BorrowedFd<'_>,
    since: Since,
    stop: &(dyn Fn() -> bool + Sync),
) -> Finding {
    let (boundary, top) = match around(dir) {
        Ok((boundary, top)) => (boundary.with_subvolumes(), top),
        Err(errno) => return Finding::Unknown(format!("its data cannot be read: {errno}")),
    };
    let plan =
        Plan { workers: WORKERS, batch: BATCH, least_files: LEAST_FILES_SHARED, max_depth: usize::MAX };
    let is_btrfs = match rustix::fs::fstatfs(dir) {
        Ok(system) => system.f_type == BTRFS,
        // On any other file system all times count.
        Err(_) => false,
    };
    let new = || Looker { boundary: &boundary, since, is_btrfs, seen: Seen::default() };
    let mut first = new();
    first.look_at(Kind::Top, &top.facts, Vec::new);
    let (lookers, stopped) = walk(&boundary, top, &plan, stop, &new);
    if stopped {
        return Finding::Stopped;
    }
    lookers.into_iter().fold(first.seen, |all, looker| all.and(looker.seen)).finding()
}

/// What one thread saw.
#[derive(Debug, Default)]
struct Seen {
    latest: Option<(Stamp, Manner, Vec<u8>)>,
    used: u64,
    /// Where the first thing is that could not be looked at, and why.
    unseen: Option<String>,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        let (ours, theirs) = (self.latest, other.latest);
        let is_later =
            |(one, _, _): &(Stamp, Manner, Vec<u8>)| ours.as_ref().is_none_or(|(stamp, _, _)| one > stamp);
        Self {
            latest: theirs.filter(is_later).or(ours),
            used: self.used + other.used,
            unseen: self.unseen.or(other.unseen),
        }
    }

    fn finding(self) -> Finding {
        match (self.latest, self.unseen) {
            (Some((stamp, manner, path)), _) => Finding::Touched(Touched {
                path: printable(&path),
                manner,
                at: stamp.time(),
                others: self.used.saturating_sub(1),
            }),
            (None, Some(unseen)) => Finding::Unknown(unseen),
            (None, None) => Finding::AtRest,
        }
    }
}

struct Looker<'a> {
    boundary: &'a Boundary,
    since: Since,
    is_btrfs: bool,
    seen: Seen,
}

impl Looker<'_> {
    fn look_at(&mut self, kind: Kind, facts: &Statx, path: impl FnOnce() -> Vec<u8>) {
        if self.is_btrfs && facts.stx_ino == PLACEHOLDER {
            return;
        }
        let Some((manner, stamp)) = self.since.latest_use(kind, &times(facts)) else { return };
        self.seen.used += 1;
        if self.seen.latest.as_ref().is_none_or(|(latest, _, _)| stamp > *latest) {
            self.seen.latest = Some((stamp, manner, path()));
        }
    }

    fn miss(&mut self, path: &[u8], why: &str) {
        self.seen.unseen.get_or_insert_with(|| {
            if path.is_empty() { format!("its data {why}") } else { format!("`{}` {why}", printable(path)) }
        });
    }
}

impl Visitor for Looker<'_> {
    fn entered(&mut self, found: &Found<'_>, facts: &Statx) {
        self.look_at(Kind::Passage, facts, || found.path());
    }

    fn file(&mut self, found: &Found<'_>) -> Visited {
        let facts = match self.boundary.look(found.dir, found.name) {
            Ok(facts) => facts,
            // Also what is gone: its directory was looked at before it went.
            Err(refused) => {
                self.failed(&found.path(), refused);
                return Visited::Done;
            }
        };
        match FileType::from_raw_mode(facts.stx_mode.into()) {
            FileType::Directory => return Visited::Directory,
            FileType::Symlink => self.look_at(Kind::Passage, &facts, || found.path()),
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => self.look_at(Kind::File, &facts, || found.path()),
        }
        Visited::Done
    }

    fn left(&mut self, _found: &Found<'_>, _blocks: u64) {}

    fn too_deep(&mut self, found: &Found<'_>) {
        self.miss(&found.path(), "lies too deep");
    }

    fn gone(&mut self, found: &Found<'_>) {
        self.failed(&found.path(), Refused::Gone);
    }

    fn failed(&mut self, path: &[u8], refused: Refused) {
        match refused {
            Refused::Boundary => self.miss(path, "is a mount point or another file system"),
            Refused::Gone | Refused::NotADirectory => {
                self.miss(path, "was moved or removed while it was looked at");
            }
            Refused::Failed(errno) => self.miss(path, &format!("cannot be looked at: {errno}")),
        }
    }
}

fn times(facts: &Statx) -> Times {
    let stamp = |seconds, nanoseconds| Stamp::new(seconds, nanoseconds);
    Times {
        modified: stamp(facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec),
        changed: stamp(facts.stx_ctime.tv_sec, facts.stx_ctime.tv_nsec),
        read: stamp(facts.stx_atime.tv_sec, facts.stx_atime.tv_nsec),
    }
}

#[cfg(test)]
mod tests;
