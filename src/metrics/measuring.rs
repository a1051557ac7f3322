//! Sizes and sums, on a thread of its own with the lowest priority: what a large volume takes is worth no delay of anything.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::board::Board;
use crate::host::clock;
use crate::host::ledger::{LedgerError, LedgerReader};
use crate::host::quarantine::QuarantineDir;
use crate::host::usage::{self, UsageOptions};
use crate::host::volumes_dir::VolumesDir;
use crate::report::metrics::{Measurable, Seen};

/// How long a size is good for.
const GOOD_FOR: Duration = Duration::from_hours(1);

/// What is to be measured.
#[derive(Debug)]
pub(super) struct Work {
    /// None when the docker root is not on this machine: then nothing can be measured.
    pub(super) root: Option<Arc<VolumesDir>>,
    pub(super) seen: Arc<Seen>,
}

/// The thread's letterbox. The thread ends when it is gone.
#[derive(Debug)]
pub(super) struct Measuring(Sender<Work>);

impl Measuring {
    /// Starts the thread. It reads the sums of the ledger first.
    pub(super) fn start(
        board: Arc<Board>,
        state_dir: PathBuf,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        let (sender, letters) = channel();
        let mut worker = Worker { board, state_dir, stop, tried: BTreeMap::new() };
        std::thread::Builder::new().name("measuring".to_owned()).spawn(move || worker.run(&letters))?;
        Ok(Self(sender))
    }

    /// Takes the place of what is being measured.
    pub(super) fn measure(&self, work: Work) {
        if self.0.send(work).is_err() {
            tracing::error!("the thread that measures volumes has ended; restart volgc");
        }
    }
}

struct Worker {
    board: Arc<Board>,
    state_dir: PathBuf,
    stop: CancellationToken,
    /// When what was measured last, in monotonic time, whether or not a size came of it.
    tried: BTreeMap<Measurable, Duration>,
}

impl Worker {
    fn run(&mut self, letters: &Receiver<Work>) {
        // Of this thread alone (`setpriority(2)`, "C library/kernel differences"). It may be lower already.
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            tracing::debug!(%error, "measuring runs with the priority of everything else");
        }
        if let Err(error) = self.read_last_sweep() {
            tracing::warn!(%error, "the metrics do not tell of the service before this one");
        }
        self.read_ledger();
        let mut next = letters.recv();
        while let Ok(work) = next {
            self.read_ledger();
            self.forget_others(&work.seen);
            next = match self.measure_all(&work, letters) {
                Some(newer) => Ok(newer),
                None => letters.recv(),
            };
        }
    }

    fn read_ledger(&self) {
        if let Err(error) = self.ask_ledger() {
            tracing::warn!(%error, "the counters of the metrics are not up to date");
        }
    }

    fn ask_ledger(&self) -> Result<(), LedgerError> {
        let Some(reader) = LedgerReader::open(&self.state_dir)? else { return Ok(()) };
        let totals = reader.totals()?;
        self.board.change(|known| known.totals = Some(totals));
        Ok(())
    }

    /// Once, at the start.
    fn read_last_sweep(&self) -> Result<(), LedgerError> {
        let Some(reader) = LedgerReader::open(&self.state_dir)? else { return Ok(()) };
        let last_sweep = reader.read()?.last_sweep.map(|at| at.wall);
        self.board.change(|known| known.last_sweep_before = last_sweep);
        Ok(())
    }

    /// Nothing is remembered of what is no longer there, so that memory does not grow with time.
    fn forget_others(&mut self, seen: &Seen) {
        let wanted: std::collections::BTreeSet<&Measurable> =
            seen.sizes.iter().map(|(what, _)| what).collect();
        self.tried.retain(|what, _| wanted.contains(what));
        self.board.change(|known| {
            if known.measured.keys().any(|what| !wanted.contains(what)) {
                Arc::make_mut(&mut known.measured).retain(|what, _| wanted.contains(what));
            }
        });
    }

    /// What is not known comes first. Newer work is returned as soon as it comes.
    fn measure_all(&mut self, work: &Work, letters: &Receiver<Work>) -> Option<Work> {
        let root = work.root.as_ref()?;
        let now = match clock::read() {
            Ok(now) => now.monotonic,
            Err(error) => {
                tracing::warn!(%error, "sizes were not measured");
                return None;
            }
        };
        let mut wanted: Vec<(Option<Duration>, &Measurable)> = work
            .seen
            .sizes
            .iter()
            .map(|(what, _)| (self.tried.get(what).copied(), what))
            .filter(|(tried, _)| tried.is_none_or(|tried| now.saturating_sub(tried) >= GOOD_FOR))
            .collect();
        wanted.sort_unstable();
        for (_, what) in wanted {
            if self.stop.is_cancelled() {
                return None;
            }
            if let Some(newer) = letters.try_iter().last() {
                return Some(newer);
            }
            self.measure(root, what, now);
        }
        None
    }

    fn measure(&mut self, root: &VolumesDir, what: &Measurable, now: Duration) {
        let size = match size_of(root, what, &self.stop) {
            Ok(size) => size,
            Err(why) => {
                tracing::debug!("{what:?} was not measured: {why}");
                None
            }
        };
        self.tried.insert(what.clone(), now);
        self.board.change(|known| {
            let measured = Arc::make_mut(&mut known.measured);
            match size {
                Some(bytes) => measured.insert(what.clone(), bytes),
                None => measured.remove(what),
            };
        });
    }
}

/// The allocated bytes; none when not all of it could be measured.
fn size_of(root: &VolumesDir, what: &Measurable, stop: &CancellationToken) -> Result<Option<u64>, String> {
    let data = match what {
        Measurable::Volume { name, .. } => root.open_data(name).map_err(|error| error.to_string())?,
        Measurable::Entry(entry) => {
            let quarantine = QuarantineDir::open_existing(root.root(), root.root_path());
            match quarantine.map_err(|error| error.to_string())? {
                Some(quarantine) => quarantine.open_data(entry).map_err(|error| error.to_string())?,
                None => return Ok(None),
            }
        }
    };
    let options = UsageOptions { workers: NonZeroUsize::MIN };
    let usage = usage::measure(data.as_fd(), &options, &|| stop.is_cancelled());
    Ok(usage.complete.then_some(usage.allocated_bytes))
}
