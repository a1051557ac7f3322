//! `volgc run` as a service manager sees it: what it notifies, what it logs, how it ends.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Volgc;

/// How long anything may take that is not meant to hang; the machine may be loaded.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running service; killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    told: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Daemon {
    /// Starts one under a service manager that listens, without a watchdog.
    pub fn start(volgc: &Volgc) -> Self {
        Self::launch(volgc, volgc.command(&["run"]), None)
    }

    /// Starts one under a watchdog.
    pub fn watched(volgc: &Volgc, limit: Duration) -> Self {
        Self::launch(volgc, volgc.command(&["run"]), Some(limit))
    }

    /// Starts a command that ends as the service.
    pub fn launch(volgc: &Volgc, mut command: Command, watchdog: Option<Duration>) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let beside = |name: &str| volgc.state_dir().with_file_name(format!("{name}{number}"));
        let (log, socket) = (beside("log"), beside("n"));
        let manager =
            UnixDatagram::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let told: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let of_thread = Arc::clone(&told);
        thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = manager.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                of_thread.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text));
            }
        });
        if let Some(limit) = watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        let stderr = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let child = command
            .env("NOTIFY_SOCKET", &socket)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run volgc: {error}"));
        Self { child, log, told }
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has this text.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let found = Self::within(|| self.log().contains(text));
        assert!(found, "never logged: {text}\n{}", self.log());
    }

    /// What it has told its manager, one message each, with the time.
    pub fn messages(&self) -> Vec<(Instant, String)> {
        self.told().clone()
    }

    /// Waits for a message with this text, and returns when it came.
    #[track_caller]
    pub fn await_message(&self, text: &str) -> Instant {
        self.await_messages(text, 1)
    }

    /// Waits for that many messages with this text, and returns when the last of them came.
    #[track_caller]
    pub fn await_messages(&self, text: &str, count: usize) -> Instant {
        let times = || -> Vec<Instant> {
            let told = self.told();
            told.iter().filter(|(_, message)| message.contains(text)).map(|(at, _)| *at).collect()
        };
        let found = Self::within(|| times().len() >= count);
        assert!(found, "not {count} times: {text}\n{:#?}\n{}", self.told(), self.log());
        times()[count - 1]
    }

    /// How often it fed its watchdog since then.
    pub fn fed_since(&self, since: Instant) -> usize {
        self.told().iter().filter(|(at, message)| *at > since && message.contains("WATCHDOG=1")).count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot signal volgc: {error}"));
    }

    /// Asks it to end, as systemd does, and waits for it: exit status and time it took.
    #[track_caller]
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let mut status = None;
        let child = &mut self.child;
        let deadline = Instant::now() + PATIENCE;
        while status.is_none() && Instant::now() < deadline {
            status = child.try_wait().unwrap_or_else(|error| panic!("cannot wait: {error}"));
            sleep(Duration::from_millis(10));
        }
        let status = status.unwrap_or_else(|| panic!("it does not end\n{}", self.log()));
        (status, asked.elapsed())
    }

    fn told(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn within(condition: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if condition() {
                return true;
            }
            sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("--- the service (ended: {ended:?}) logged\n{}", self.log());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
