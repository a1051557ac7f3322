//! A run of volgc that rests at a fault point until the test lets it go on: for as long as the test needs, and no longer.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::Volgc;

/// How often the test looks whether the run has come to the point.
const POLL: Duration = Duration::from_millis(2);

/// Where a run waits.
#[derive(Debug)]
pub struct Gate(PathBuf);

impl Gate {
    /// A new one, for a run of this volgc.
    pub fn new(volgc: &Volgc) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let fifo = volgc.directory().join(format!("gate{}", MADE.fetch_add(1, Ordering::Relaxed)));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", fifo.display()));
        Self(fifo)
    }

    /// The order for `VOLGC_FAULT` to wait here at a point, which may name a pass (`exchange.swap@2`; the first one without).
    pub fn order(&self, point: &str) -> String {
        let pass = if point.contains('@') { "" } else { "@1" };
        format!("{point}{pass}=wait:{}", self.0.display())
    }

    /// Returns when the run is here, and keeps it here. `why_not` says why it cannot come any more.
    #[track_caller]
    pub fn await_arrival(&self, mut why_not: impl FnMut() -> Option<String>) -> Waits {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            if let Some(waits) = open_for_writing(&self.0) {
                return waits;
            }
            if let Some(why) = why_not() {
                panic!("{why}");
            }
            assert!(Instant::now() < deadline, "nobody comes to {}", self.0.display());
            sleep(POLL);
        }
    }
}

/// A run waits; it goes on when this is dropped.
#[derive(Debug)]
pub struct Waits(#[expect(dead_code, reason = "it is there to be closed")] File);

/// A run that rests. It goes on when this is dropped.
#[derive(Debug)]
pub struct Resting {
    child: Child,
    _waits: Waits,
}

impl Resting {
    /// Starts a command and returns when it rests at `point`, see [`Gate::order`]. `faults` are further orders for `VOLGC_FAULT`: what
    /// happens at the same point happens after the rest.
    #[track_caller]
    pub fn start(volgc: &Volgc, point: &str, faults: &str, arguments: &[&str]) -> Self {
        let gate = Gate::new(volgc);
        let orders = format!("{},{faults}", gate.order(point));
        let mut child = volgc.clone().env("VOLGC_FAULT", orders).spawn(arguments);
        let waits = gate.await_arrival(|| {
            let status = child.try_wait().ok().flatten()?;
            let mut told = String::new();
            child.stdout.as_mut().map(|stdout| stdout.read_to_string(&mut told));
            child.stderr.as_mut().map(|stderr| stderr.read_to_string(&mut told));
            Some(format!("{arguments:?} ended with {status} before it came to {point}: {told}"))
        });
        Self { child, _waits: waits }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it go on.
    pub fn go_on(self) -> Child {
        self.child
    }

    /// Lets it go on to its end.
    #[track_caller]
    pub fn end(self) -> Output {
        self.go_on().wait_with_output().unwrap_or_else(|error| panic!("cannot wait: {error}"))
    }
}

/// Nobody reads from the FIFO before the run has come to the point (`ENXIO`).
fn open_for_writing(fifo: &Path) -> Option<Waits> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    match OpenOptions::new().write(true).custom_flags(flags).open(fifo) {
        Ok(fifo) => Some(Waits(fifo)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => None,
        Err(error) => panic!("{}: {error}", fifo.display()),
    }
}
