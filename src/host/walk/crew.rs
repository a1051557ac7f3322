//! Shares one walk among threads. Whoever is idle gets half of what a busy one still has to do; nothing is queued ahead,
//! so neither descriptors nor memory grow with the tree.

use std::ffi::CString;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::Statx;

use super::stack::{Job, Level, Stack};
use super::{Boundary, Directory, Reader, Refused, descriptors_each};

pub(in crate::host) use super::stack::Found;

/// A small tree is done before other threads have started.
const ALONE: u64 = 256;

/// Files looked at between two questions whether to stop or to share.
const AT_ONCE: usize = 64;

/// The threads only keep small frames; their buffers and stacks of levels are on the heap.
const THREAD_STACK: usize = 256 * 1024;

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Plan {
    pub(in crate::host) workers: NonZeroUsize,
    /// Names read of one directory before they are visited.
    pub(in crate::host) batch: usize,
    /// From how many files of one directory on half of them may be given to another thread.
    pub(in crate::host) least_files: usize,
    pub(in crate::host) max_depth: usize,
}

/// What a name is, once visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Visited {
    Done,
    Directory,
}

/// What is done on the way. One a thread.
pub(in crate::host) trait Visitor: Send {
    /// A directory was opened, before anything in it is visited.
    fn entered(&mut self, found: &Found<'_>, facts: &Statx);
    /// Anything that the listing did not call a directory.
    fn file(&mut self, found: &Found<'_>) -> Visited;
    /// All of a directory has been visited, by this thread at least; `found.dir` is the one above it.
    fn left(&mut self, found: &Found<'_>, blocks: u64);
    /// A directory lies too deep to be entered.
    fn too_deep(&mut self, found: &Found<'_>);
    /// A directory was listed, and is not there any more.
    fn gone(&mut self, _found: &Found<'_>) {}
    /// What lies at `path` was not visited, or not all of it. `Gone` and `NotADirectory` then mean that it was moved or
    /// swapped while the walk was at it.
    fn failed(&mut self, path: &[u8], refused: Refused);
}

/// Walks all below `top`. Returns the threads' visitors, and whether the walk was stopped before its end.
pub(in crate::host) fn walk<V: Visitor>(
    boundary: &Boundary,
    top: Directory,
    plan: &Plan,
    stop: &(dyn Fn() -> bool + Sync),
    visitor: &(dyn Fn() -> V + Sync),
) -> (Vec<V>, bool) {
    let crew = Crew::default();
    crew.give(Job::new(top));
    let done = Mutex::new(Vec::new());
    let work = |grow: &dyn Fn()| {
        let mut visitor = visitor();
        let mut worker = Worker { crew: &crew, boundary, plan, stop, reader: Reader::new(), seen: 0, grow };
        while let Some((job, _busy)) = crew.take() {
            worker.run(job, &mut visitor);
        }
        locked(&done).push(visitor);
    };
    thread::scope(|scope| {
        let work = &work;
        work(&|| {
            for _ in 1..plan.workers.get() {
                let thread = thread::Builder::new().name("volgc-walk".to_owned()).stack_size(THREAD_STACK);
                // A limit on threads only makes it slower.
                if thread.spawn_scoped(scope, || work(&|| ())).is_err() {
                    break;
                }
            }
        });
    });
    (done.into_inner().unwrap_or_else(PoisonError::into_inner), crew.stopped.load(Ordering::Relaxed))
}

#[derive(Default)]
struct Board {
    jobs: Vec<Job>,
    busy: usize,
    waiting: usize,
}

#[derive(Default)]
struct Crew {
    board: Mutex<Board>,
    wake: Condvar,
    /// Threads that wait, less the jobs that already lie ready for them. A copy, to be read without the lock.
    wanted: AtomicUsize,
    stopped: AtomicBool,
}

/// Somebody is at work. Its end is told even when the thread panics, or the others would wait for ever.
struct Busy<'a>(&'a Crew);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut board = locked(&self.0.board);
        board.busy -= 1;
        if board.busy == 0 {
            self.0.wake.notify_all();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Waits for a job. `None` when there are none and nobody is busy who could still give one.
    fn take(&self) -> Option<(Job, Busy<'_>)> {
        let mut board = locked(&self.board);
        loop {
            if let Some(job) = board.jobs.pop() {
                board.busy += 1;
                self.count(&board);
                return Some((job, Busy(self)));
            }
            if board.busy == 0 {
                return None;
            }
            board.waiting += 1;
            self.count(&board);
            board = self.wake.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.waiting -= 1;
            self.count(&board);
        }
    }

    fn give(&self, job: Job) {
        let mut board = locked(&self.board);
        board.jobs.push(job);
        self.count(&board);
        self.wake.notify_one();
    }

    fn count(&self, board: &Board) {
        self.wanted.store(board.waiting.saturating_sub(board.jobs.len()), Ordering::Relaxed);
    }
}

struct Worker<'a> {
    crew: &'a Crew,
    boundary: &'a Boundary,
    plan: &'a Plan,
    stop: &'a (dyn Fn() -> bool + Sync),
    reader: Reader,
    /// Names visited. When they are more than a few, `grow` starts the other threads.
    seen: u64,
    grow: &'a dyn Fn(),
}

impl Worker<'_> {
    fn run(&mut self, job: Job, visitor: &mut impl Visitor) {
        let budget = descriptors_each(self.plan.workers.get());
        let mut stack = Stack::new(self.boundary, job, budget, self.plan.max_depth);
        while !self.stopping() {
            if self.crew.wanted.load(Ordering::Relaxed) > 0
                && let Some(job) = stack.split(self.plan.least_files)
            {
                self.crew.give(job);
            }
            if self.files(&mut stack, visitor) {
                continue;
            }
            if let Some(name) = stack.next_directory() {
                self.count(1);
                Self::descend(&mut stack, name, visitor);
                continue;
            }
            match stack.read(&mut self.reader, self.plan.batch) {
                Some(Ok(())) => {}
                Some(Err(errno)) => visitor.failed(&stack.path(), Refused::Failed(errno)),
                None => match stack.leave() {
                    Some(level) => Self::ascend(&mut stack, &level, visitor),
                    None => break,
                },
            }
        }
    }

    fn stopping(&self) -> bool {
        if (self.stop)() {
            self.crew.stopped.store(true, Ordering::Relaxed);
        }
        self.crew.stopped.load(Ordering::Relaxed)
    }

    fn count(&mut self, names: u64) {
        let before = self.seen;
        self.seen += names;
        if before <= ALONE && self.seen > ALONE {
            (self.grow)();
        }
    }

    /// Visits some of the files at hand. `false` when there were none.
    fn files(&mut self, stack: &mut Stack<'_>, visitor: &mut impl Visitor) -> bool {
        let mut visited = 0;
        while visited < AT_ONCE
            && let Some(file) = stack.next_file()
        {
            visited += 1;
            let Some(found) = stack.file(file) else { break };
            if visitor.file(&found) == Visited::Directory {
                let name = found.name.to_owned();
                stack.also_directory(&name);
            }
        }
        self.count(visited as u64);
        visited > 0
    }

    fn descend(stack: &mut Stack<'_>, name: CString, visitor: &mut impl Visitor) {
        let Some(found) = stack.find(&name) else { return };
        if stack.is_too_deep() {
            visitor.too_deep(&found);
            return;
        }
        let opened = stack.open(&name);
        let Some(found) = stack.find(&name) else { return };
        match opened {
            Ok(directory) => {
                visitor.entered(&found, &directory.facts);
                stack.enter(name, directory);
            }
            Err(Refused::Gone) => visitor.gone(&found),
            // Swapped since it was listed. What stands there now is visited for what it is.
            Err(Refused::NotADirectory) => {
                if visitor.file(&found) == Visited::Directory {
                    visitor.failed(&found.path(), Refused::NotADirectory);
                }
            }
            Err(refused) => visitor.failed(&found.path(), refused),
        }
    }

    fn ascend(stack: &mut Stack<'_>, level: &Level, visitor: &mut impl Visitor) {
        match stack.reopen() {
            Ok(()) => {
                if let Some(found) = stack.find(&level.name) {
                    visitor.left(&found, level.blocks);
                }
            }
            Err((path, refused)) => visitor.failed(&path, refused),
        }
    }
}
