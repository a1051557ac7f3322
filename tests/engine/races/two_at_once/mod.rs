//! Two at once: every command while the service is inside of a step, two services on one state directory, and the service against a
//! restore of the very entry that it deletes. Each either waits and says for what, or works; nothing is lost.

mod commands;
mod services;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Output as Ended};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::treasure::{Place, Treasure};
use harness::{Output, PrivateEngine, Resting, Volgc, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Much longer than a command takes on a busy machine that waits for nobody.
const PATIENCE: Duration = Duration::from_mins(2);

/// `moved*` goes into quarantine and stays; `gone*` is deleted; all else is kept.
const CONFIG: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1s"
[[rule]]
name = "moved"
match = { volume = "moved*" }
quarantine_after = "0s"
delete_after = "52w"
[[rule]]
name = "gone"
match = { volume = "gone*" }
quarantine_after = "0s"
delete_after = "0s"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
sudden_orphans = 1000
"#;

/// An engine with a volume that is due, one that is kept, and one in quarantine.
struct Host<'a> {
    engine: &'a PrivateEngine,
    volgc: Volgc,
    /// The fault points that the service passes.
    trace: PathBuf,
    moved: Treasure,
    kept: Treasure,
    entry: Treasure,
    id: String,
}

impl<'a> Host<'a> {
    fn new(engine: &'a PrivateEngine) -> Self {
        let volgc = Volgc::configured(engine, CONFIG);
        let entry = Treasure::make(engine, "entry");
        volgc.ok(&["quarantine", "entry"]);
        let id = volgc.entry_id_of("entry");
        let kept = Treasure::make(engine, "kept");
        let moved = Treasure::make(engine, "moved");
        volgc.ok(&["sweep"]);
        volgc.ok(&["hold", "kept", "--reason", "for release"]);
        Self { engine, volgc, trace: engine.dir().join("trace"), moved, kept, entry, id }
    }

    /// Starts the service, which rests before a point.
    fn service(&self, point: &str) -> Resting {
        fs::remove_file(&self.trace).ok();
        let volgc = self.volgc.clone().env("VOLGC_FAULT_TRACE", &self.trace);
        Resting::start(&volgc, point, "", &["run"])
    }

    /// Waits until the service has swept so many times more.
    fn await_sweeps(&self, sweeps: usize) {
        let swept = || {
            let text = fs::read_to_string(&self.trace).unwrap_or_default();
            text.lines().filter(|point| *point == "ledger.write").count()
        };
        let before = swept();
        wait_until("the service sweeps", || swept() >= before + sweeps);
    }

    /// Whether `moved` is in quarantine, and its move is over.
    fn has_moved(&self) -> bool {
        matches!(self.moved.places(self.engine).as_slice(),
            [Place::Entry(_, manifest)] if manifest["state"] == "quarantined")
    }

    fn await_moved(&self) {
        wait_until("it is in quarantine", || self.has_moved());
    }

    fn assert_all_whole(&self, when: &str) {
        for treasure in [&self.moved, &self.kept, &self.entry] {
            treasure.assert_whole(self.engine, when);
        }
    }

    /// For the next one, which begins with an engine that knows no volume.
    fn clear(self) {
        let entries = self.volgc.entries();
        let ids: Vec<&str> = entries.iter().map(|entry| entry["entry"].as_str().unwrap()).collect();
        if !ids.is_empty() {
            self.volgc.ok(&[&["delete", "--yes"], ids.as_slice()].concat());
        }
        for name in self.engine.volume_names() {
            self.engine.json("DELETE", &format!("/volumes/{name}"), None);
        }
        // It says which ledger was used here, and the next one has its own.
        fs::remove_dir_all(self.engine.root().join("volgc")).unwrap();
    }
}

/// Ends a service as systemd does; it says nothing of a panic.
#[track_caller]
fn end(service: Child) -> Ended {
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    let output = service.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    output
}

/// A command beside the service, whose messages can be read while it runs.
struct Beside {
    words: String,
    child: Child,
    messages: PathBuf,
}

impl Beside {
    fn start(volgc: &Volgc, words: &[&str]) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let messages = volgc.state_dir().with_file_name(format!("messages{number}"));
        let mut command = volgc.command(words);
        command.stdout(std::process::Stdio::piped()).stderr(File::create(&messages).unwrap());
        Self { words: words.join(" "), child: command.spawn().unwrap(), messages }
    }

    fn says(&self) -> String {
        fs::read_to_string(&self.messages).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Returns when it waits for somebody, or has ended.
    #[track_caller]
    fn await_wait_or_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.says().contains("waiting for") && !self.has_ended() {
            assert!(Instant::now() < deadline, "{} neither waits nor ends", self.words);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A service ends well when it is told to.
    #[track_caller]
    fn terminate(self) -> String {
        let messages = self.messages;
        end(self.child);
        let log = fs::read_to_string(messages).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    #[track_caller]
    fn end(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "{} does not end: {}", self.words, self.says());
            thread::sleep(Duration::from_millis(5));
        }
        let stderr = self.says();
        Output { stderr, ..Output::from(self.child.wait_with_output().unwrap()) }
    }
}

/// A command that needs nothing that the service has: it ends well while the service still rests.
#[track_caller]
fn works_at_once(host: &Host<'_>, service: &mut Resting, words: &[&str], status: i32) -> Output {
    let output = Beside::start(&host.volgc, words).end();
    assert_eq!(output.status, Some(status), "{words:?}: {output:?}");
    assert!(!output.stderr.contains("waiting for"), "{words:?}: {output:?}");
    assert!(service.is_alive(), "{words:?}: the service ended");
    output
}

/// A command that changes something: it says whom it waits for, and is done after that one. Returns the service, which goes on.
#[track_caller]
fn waits(host: &Host<'_>, service: Resting, words: &[&str]) -> (Child, Output) {
    let mut command = Beside::start(&host.volgc, words);
    command.await_wait_or_end();
    assert!(!command.has_ended(), "{words:?} did not wait: {:?}", command.end());
    let holder = format!("waiting for volgc run (process {})", service.id());
    assert!(command.says().contains(&holder), "{words:?}: {}", command.says());
    let service = service.go_on();
    let output = command.end();
    assert_eq!(output.status, Some(0), "{words:?}: {output:?}");
    (service, output)
}
