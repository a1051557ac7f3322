//! The way from the top of a walk down to where it is: any depth, with a bounded number of descriptors and bounded memory.
//!
//! A container can nest directories until the disk is full, far deeper than there are descriptors. So only some levels
//! are kept open: the lowest ones, and every n-th above them. When the walk comes back up to a closed level, it goes
//! down again *by names* from the nearest open one above, through the same door as the first time
//! (`Boundary::open`), and the inode found must be the one seen before. `..` is never used: a directory that is moved
//! during the walk would lead it out of the tree (I6).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{Boundary, Directory, Names, Position, Reader, Refused, identity};

/// Memory that the pending names of one stack may take before it refuses to go deeper.
const PENDING_BYTES: usize = 32 * 1024 * 1024;

/// With fewer there is no room for the top, the place where the walk is, and the step between two levels.
const LEAST_DESCRIPTORS: usize = 4;

const OUT_OF_DESCRIPTORS: Refused = Refused::Failed(Errno::MFILE);
const OUT_OF_DESCRIPTORS_ALL: Refused = Refused::Failed(Errno::NFILE);

/// A path is shown by its last bytes; the rest is cut.
const SHOWN_PATH: usize = 1024;

/// One directory on the way.
#[derive(Debug)]
pub(super) struct Level {
    /// `None`: closed to stay within the budget.
    fd: Option<OwnedFd>,
    identity: ((u32, u32), u64),
    pub(super) name: CString,
    pub(super) blocks: u64,
    files: Names,
    directories: Names,
    position: Position,
}

/// A part of a walk that another thread can take over.
#[derive(Debug)]
pub(super) struct Job {
    top: Level,
    /// Where `top` is, for messages.
    path: Vec<u8>,
}

impl Job {
    pub(super) fn new(top: Directory) -> Self {
        Self { top: Level::new(CString::default(), top), path: Vec::new() }
    }
}

impl Level {
    fn new(name: CString, Directory { fd, facts }: Directory) -> Self {
        Self {
            fd: Some(fd),
            identity: identity(&facts),
            name,
            blocks: facts.stx_blocks,
            files: Names::default(),
            directories: Names::default(),
            position: Position::At(0),
        }
    }

    fn footprint(&self) -> usize {
        size_of::<Self>() + self.name.as_bytes().len() + self.files.footprint() + self.directories.footprint()
    }
}

/// A name in an open directory, for as long as a visitor looks at it.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Found<'a> {
    pub(in crate::host) dir: BorrowedFd<'a>,
    pub(in crate::host) name: &'a CStr,
    /// Its inode as the listing has it, which is that of what is mounted over; 0 where the listing does not say what it is.
    pub(in crate::host) inode: u64,
    stack: &'a Stack<'a>,
}

impl Found<'_> {
    /// Where it is, relative to the top of the walk, unescaped and perhaps cut at the front. Costs: for messages only.
    pub(in crate::host) fn path(&self) -> Vec<u8> {
        self.stack.path_to(self.stack.levels.len(), self.name)
    }

    /// Where its directory is; empty for the top of the walk.
    pub(in crate::host) fn parent_path(&self) -> Vec<u8> {
        self.stack.path()
    }
}

#[derive(Debug)]
pub(super) struct Stack<'b> {
    boundary: &'b Boundary,
    levels: Vec<Level>,
    above: Vec<u8>,
    open: usize,
    budget: usize,
    /// Of the levels above the lowest, every `stride`-th stays open.
    stride: usize,
    max_depth: usize,
    /// What the levels above the last hold in memory.
    pending: usize,
}

impl<'b> Stack<'b> {
    pub(super) fn new(boundary: &'b Boundary, job: Job, budget: usize, max_depth: usize) -> Self {
        let Job { top, path } = job;
        Self { boundary, levels: vec![top], above: path, open: 1, budget, stride: 1, max_depth, pending: 0 }
    }

    /// The lowest level. Its descriptor is open, except between `leave` and `reopen`.
    fn last(&self) -> Option<(&Level, BorrowedFd<'_>)> {
        let level = self.levels.last()?;
        Some((level, level.fd.as_ref()?.as_fd()))
    }

    pub(super) fn is_too_deep(&self) -> bool {
        self.levels.len() > self.max_depth
            || self.pending + self.levels.last().map_or(0, Level::footprint) > PENDING_BYTES
    }

    pub(super) fn next_file(&mut self) -> Option<usize> {
        self.levels.last_mut()?.files.pop()
    }

    pub(super) fn next_directory(&mut self) -> Option<CString> {
        let level = self.levels.last_mut()?;
        let start = level.directories.pop()?;
        Some(level.directories.get(start).to_owned())
    }

    pub(super) fn file(&self, start: usize) -> Option<Found<'_>> {
        let (level, dir) = self.last()?;
        let inode = level.files.popped_inode();
        Some(Found { dir, name: level.files.get(start), inode, stack: self })
    }

    pub(super) fn find<'a>(&'a self, name: &'a CStr) -> Option<Found<'a>> {
        let (_, dir) = self.last()?;
        Some(Found { dir, name, inode: 0, stack: self })
    }

    /// What the listing gave as a file turned out to be a directory.
    pub(super) fn also_directory(&mut self, name: &CStr) {
        if let Some(level) = self.levels.last_mut() {
            level.directories.push(0, name);
        }
    }

    pub(super) fn open(&mut self, name: &CStr) -> Result<Directory, Refused> {
        loop {
            let (_, dir) = self.last().ok_or(Refused::Gone)?;
            match self.boundary.open(dir, name) {
                Err(OUT_OF_DESCRIPTORS | OUT_OF_DESCRIPTORS_ALL) if self.spare() => {}
                opened => return opened,
            }
        }
    }

    pub(super) fn enter(&mut self, name: CString, directory: Directory) {
        if let Some(level) = self.levels.last_mut() {
            // Only the names still to come are worth their memory on the way down.
            level.files = Names::default();
            self.pending += level.footprint();
        }
        self.levels.push(Level::new(name, directory));
        self.open += 1;
        self.close_some();
    }

    /// Reads on in the lowest level. `None` when all of it has been read.
    pub(super) fn read(&mut self, reader: &mut Reader, limit: usize) -> Option<Result<(), Errno>> {
        let level = self.levels.last_mut()?;
        let Position::At(_) = level.position else { return None };
        let dir = level.fd.as_ref()?;
        let read = reader.read(dir.as_fd(), limit, &mut level.files, &mut level.directories);
        level.position = read.unwrap_or(Position::End);
        Some(read.map(|_| ()))
    }

    /// Goes up one level. `None` at the top.
    pub(super) fn leave(&mut self) -> Option<Level> {
        if self.levels.len() < 2 {
            return None;
        }
        let level = self.levels.pop()?;
        self.open -= usize::from(level.fd.is_some());
        self.pending = self.pending.saturating_sub(self.levels.last().map_or(0, Level::footprint));
        Some(level)
    }

    /// After `leave`: makes sure that the level arrived at is open. When the way to it is gone, so is what was pending
    /// there: the stack then goes up to the nearest level that is still open, and the error names the place it lost.
    pub(super) fn reopen(&mut self) -> Result<(), (Vec<u8>, Refused)> {
        loop {
            match self.reopen_last() {
                Ok(()) => return Ok(()),
                Err((_, OUT_OF_DESCRIPTORS | OUT_OF_DESCRIPTORS_ALL)) if self.spare() => {}
                Err((at, refused)) => {
                    let lost = self.path_to(at + 1, c"");
                    while self.levels.last().is_some_and(|level| level.fd.is_none()) {
                        _ = self.leave();
                    }
                    return Err((lost, refused));
                }
            }
        }
    }

    fn reopen_last(&mut self) -> Result<(), (usize, Refused)> {
        let target = self.levels.len().saturating_sub(1);
        let start = self.levels.iter().rposition(|level| level.fd.is_some()).unwrap_or(0);
        let window = self.window();
        // The one above, while it is not to stay open.
        let mut passing: Option<OwnedFd> = None;
        for at in start + 1..=target {
            let fd = self.reopen_one(at, passing.as_ref()).map_err(|refused| (at, refused))?;
            if at + window > target {
                passing = None;
                if let Some(level) = self.levels.get_mut(at) {
                    level.fd = Some(fd);
                    self.open += 1;
                }
            } else {
                passing = Some(fd);
            }
        }
        self.close_some();
        Ok(())
    }

    fn reopen_one(&self, at: usize, parent: Option<&OwnedFd>) -> Result<OwnedFd, Refused> {
        let level = self.levels.get(at).ok_or(Refused::Gone)?;
        let above = at.checked_sub(1).and_then(|above| self.levels.get(above));
        let parent = parent.or(above.and_then(|above| above.fd.as_ref())).ok_or(Refused::Gone)?;
        let Directory { fd, facts } = self.boundary.open(parent.as_fd(), &level.name)?;
        if identity(&facts) != level.identity {
            // Another directory stands under this name now; what was pending belongs to the one that went.
            return Err(Refused::Gone);
        }
        if let Position::At(cookie) = level.position
            && cookie != 0
        {
            rustix::fs::seek(&fd, SeekFrom::Start(cookie))?;
        }
        Ok(fd)
    }

    #[cfg(test)]
    pub(super) fn open_levels(&self) -> usize {
        let open = self.levels.iter().filter(|level| level.fd.is_some()).count();
        assert_eq!(open, self.open);
        open
    }

    /// How many of the lowest levels stay open in any case.
    fn window(&self) -> usize {
        (self.budget / 4).max(1)
    }

    fn close_some(&mut self) {
        while self.open > self.budget {
            let below = self.levels.len().saturating_sub(self.window());
            let kept = self.stride;
            self.close(|at| at < below && at % kept != 0);
            // Leave room, or this scan would be made again at each step down.
            if self.open > self.budget / 4 * 3 {
                self.stride *= 2;
            }
        }
    }

    /// The process ran out of descriptors, whatever our own budget says: lowers it and closes all that can be closed.
    /// `false` when that was done before and did not help.
    fn spare(&mut self) -> bool {
        let last = self.levels.len().saturating_sub(1);
        self.close(|at| at != 0 && at != last);
        let before = self.budget;
        self.budget = (before / 2).max(LEAST_DESCRIPTORS);
        self.budget < before
    }

    fn close(&mut self, which: impl Fn(usize) -> bool) {
        for (at, level) in self.levels.iter_mut().enumerate() {
            if which(at) && level.fd.take().is_some() {
                self.open -= 1;
            }
        }
    }

    /// Gives away half of what is pending in one directory: the highest one, as most lies below it; and of the directory
    /// being read, files too when there are at least `least_files`. `None` when there is nothing worth sharing.
    #[expect(clippy::disallowed_methods, reason = "a job that cannot be shared stays with its thread")]
    pub(super) fn split(&mut self, least_files: usize) -> Option<Job> {
        // Not the whole stack: that would make sharing a deep tree quadratic.
        const HIGHEST: usize = 32;
        let last = self.levels.len().saturating_sub(1);
        let upper = self.levels.iter().take(HIGHEST.min(last));
        let at = upper.enumerate().find(|(_, level)| level.fd.is_some() && level.directories.len() > 0);
        let at = at.map_or(last, |(at, _)| at);
        let level = self.levels.get_mut(at)?;
        let mut part = Level {
            fd: Some(level.fd.as_ref()?.try_clone().ok()?),
            identity: level.identity,
            name: CString::default(),
            blocks: 0,
            files: Names::default(),
            directories: Names::default(),
            position: Position::End,
        };
        if at < last || level.directories.len() > 1 {
            let before = level.footprint();
            part.directories = level.directories.split();
            if at < last {
                self.pending = (self.pending + level.footprint()).saturating_sub(before);
            }
        } else if level.files.len() >= least_files {
            part.files = level.files.split();
        } else {
            return None;
        }
        Some(Job { top: part, path: self.path_to(at + 1, c"") })
    }

    /// Where the lowest level is.
    pub(super) fn path(&self) -> Vec<u8> {
        self.path_to(self.levels.len(), c"")
    }

    /// The path of `name` in the lowest of the first `levels` levels, built from its end: in a deep tree the whole of it
    /// would be megabytes.
    fn path_to(&self, levels: usize, name: &CStr) -> Vec<u8> {
        let mut parts = vec![name.to_bytes()];
        let mut length = name.to_bytes().len();
        let mut cut = false;
        for level in self.levels.iter().take(levels).skip(1).rev() {
            if length > SHOWN_PATH {
                cut = true;
                break;
            }
            length += level.name.as_bytes().len() + 1;
            parts.push(level.name.as_bytes());
        }
        // What was split off more than once has a long way above it, too.
        cut |= !self.above.is_empty() && length + self.above.len() > SHOWN_PATH;
        parts.push(if cut { b"..." } else { &self.above });
        parts.retain(|part| !part.is_empty());
        parts.reverse();
        parts.join(&b'/')
    }
}
