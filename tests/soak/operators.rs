//! Those who use volgc, by hand and as a service: sweeps and commands at once, each of which may be killed, held up or meet an
//! error at any point.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use volgc::host::fault::Point;

use super::content::names;
use super::dice::Dice;
use super::log::Log;
use super::operation::{BACKS, Name, SERVICES};
use harness::{PrivateEngine, Volgc};

/// Longest time that a command may take: the engine may be down, the lock be held by a service, an answer be waited for.
const PATIENCE: Duration = Duration::from_mins(4);

const ERRORS: [&str; 6] = ["ENOSPC", "EIO", "EROFS", "EXDEV", "EBUSY", "EACCES"];

/// What all of them did.
#[derive(Debug, Default)]
pub struct Counts {
    pub commands: AtomicU64,
    pub kills: AtomicU64,
    pub panics: AtomicU64,
}

/// How a command is disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Disturbance {
    None,
    /// `VOLGC_FAULT`.
    Fault(String),
    /// SIGKILL after so many milliseconds.
    Kill(u64),
}

/// One who gives commands.
#[derive(Debug)]
pub struct Operator<'a> {
    engine: &'a PrivateEngine,
    volgc: Volgc,
    log: &'a Log,
    counts: &'a Counts,
    name: &'static str,
    dice: Dice,
    output: PathBuf,
}

impl<'a> Operator<'a> {
    pub fn new(
        engine: &'a PrivateEngine,
        volgc: &Volgc,
        log: &'a Log,
        counts: &'a Counts,
        name: &'static str,
        dice: Dice,
    ) -> Self {
        let output = engine.dir().join(format!("output-{name}"));
        Self { engine, volgc: volgc.clone(), log, counts, name, dice, output }
    }

    /// A sweep, or the service for a while.
    pub fn sweep(&mut self) {
        let (is_once, time) = (self.dice.percent(65), 1500 + self.dice.below(3500));
        let disturbance = self.draw_disturbance(60, "sweep");
        if is_once {
            self.run(&["sweep".to_owned()], &disturbance, None);
        } else {
            self.run(&["run".to_owned()], &disturbance, Some(Duration::from_millis(time)));
        }
    }

    /// Any other command. `ends` is told of every entry whose deletion is about to be ordered.
    pub fn command(&mut self, ends: &mut dyn FnMut(&str)) {
        let words = self.draw_command();
        if words.first().is_some_and(|word| word == "delete") {
            words.iter().skip(2).for_each(|entry| ends(entry));
        }
        let disturbance = self.draw_disturbance(55, &words[0]);
        self.run(&words, &disturbance, None);
    }

    fn draw_disturbance(&mut self, share: u64, command: &str) -> Disturbance {
        let (is_disturbed, draw) = (self.dice.percent(share), self.dice.index(1 << 16));
        // At each of its first passes, the first one mostly.
        let (kind, pass) = (self.dice.below(9), 1 + self.dice.below(5).saturating_sub(2));
        if !is_disturbed {
            return Disturbance::None;
        }
        let points: Vec<&str> = Point::ALL
            .iter()
            .map(|point| point.word())
            .filter(|point| is_passed_by(point, command))
            .collect();
        let point = points[draw % points.len()];
        match kind {
            0..=2 => Disturbance::Fault(format!("{point}@{pass}=kill")),
            3..=5 => Disturbance::Fault(format!("{point}@{pass}=delay:{}", 50 + self.dice.below(900))),
            6 => Disturbance::Fault(format!("{point}@{pass}={}", self.dice.one_of(&ERRORS))),
            _ => Disturbance::Kill(self.dice.below(1200)),
        }
    }

    fn draw_command(&mut self) -> Vec<String> {
        let name = self.draw_name();
        let entry = self.draw_entry();
        let back = Name::Back(self.dice.index(BACKS)).text();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        match (self.dice.below(100), entry) {
            (0..=13, _) => words(&["quarantine", &name]),
            (14..=35, Some(entry)) => words(&["restore", &entry]),
            (36..=45, Some(entry)) => words(&["restore", &entry, "--as", &back]),
            (46..=57, Some(entry)) => words(&["restore", &entry, "--replace"]),
            (58..=60, _) => words(&["restore", &name]),
            (61..=65, Some(entry)) => words(&["delete", "--yes", &entry]),
            (66..=68, Some(entry)) => words(&["hold", &entry, "--reason", "storm"]),
            (69..=72, _) => words(&["hold", &name, "--for", "5s", "--reason", "storm"]),
            (73..=77, _) => words(&["release", &name]),
            (78..=80, _) => words(&["report", "--format", "json"]),
            (81..=83, _) => words(&["list"]),
            (84 | 85, _) => words(&["explain", &name]),
            (86 | 87, _) => words(&["history"]),
            (88 | 89, _) => words(&["check"]),
            (90 | 91, _) => words(&["holds"]),
            (92 | 93, _) => words(&["acknowledge"]),
            _ => words(&["sweep"]),
        }
    }

    fn draw_name(&mut self) -> String {
        if self.dice.percent(70) {
            return Name::Service(self.dice.index(SERVICES)).text();
        }
        let draw = self.dice.below(1 << 16);
        let there = names(&self.engine.volumes_dir());
        let at = usize::try_from(draw).unwrap_or_default() % there.len().max(1);
        there.get(at).cloned().unwrap_or_else(|| Name::Service(0).text())
    }

    /// Draws before it looks, so that what is there does not change what is drawn next.
    fn draw_entry(&mut self) -> Option<String> {
        let draw = self.dice.below(1 << 16);
        let entries: Vec<String> = names(&self.engine.root().join("volgc"))
            .into_iter()
            .filter(|name| !name.starts_with("deleting-"))
            .collect();
        let at = usize::try_from(draw).unwrap_or_default() % entries.len().max(1);
        entries.get(at).cloned()
    }

    /// Runs a command to its end, or to the end that is made for it; the service is ended after `time`.
    fn run(&self, words: &[String], disturbance: &Disturbance, time: Option<Duration>) {
        let mut volgc = self.volgc.clone();
        if let Disturbance::Fault(fault) = disturbance {
            volgc = volgc.env("VOLGC_FAULT", fault);
        }
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(&self.output)
                .unwrap_or_else(|error| panic!("{}: {error}", self.output.display()))
        };
        fs::remove_file(&self.output).ok();
        let mut command = volgc.command(words);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run volgc: {error}"));
        let status = self.end(&mut child, disturbance, time, words);
        let told = String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned();
        let shown: String = told.chars().take(1500).collect();
        self.log.note(&format!("{}: {} {disturbance:?}: {status:?} {shown}", self.name, words.join(" ")));
        self.counts.commands.fetch_add(1, Ordering::Relaxed);
        if status.is_none() {
            self.counts.kills.fetch_add(1, Ordering::Relaxed);
        }
        self.judge(words, disturbance, status, &told);
        if told.contains("cannot reach") {
            // The engine is down for a while, and there is nothing to be learnt from it twice.
            thread::sleep(Duration::from_millis(300));
        }
    }

    fn end(
        &self,
        child: &mut Child,
        disturbance: &Disturbance,
        time: Option<Duration>,
        words: &[String],
    ) -> Option<i32> {
        let began = Instant::now();
        let kill_after = match disturbance {
            Disturbance::Kill(time) => Some(Duration::from_millis(*time)),
            Disturbance::None | Disturbance::Fault(_) => None,
        };
        let mut time = time;
        loop {
            if let Some(status) = child.try_wait().unwrap_or_else(|error| panic!("{error}")) {
                return status.code();
            }
            if kill_after.is_some_and(|after| began.elapsed() >= after) {
                child.kill().unwrap_or_else(|error| panic!("{error}"));
            }
            if time.is_some_and(|after| began.elapsed() >= after) {
                time = None;
                kill_process(Pid::from_child(child), Signal::TERM).unwrap_or_else(|error| panic!("{error}"));
            }
            assert!(began.elapsed() < PATIENCE, "{}: volgc {} does not end", self.name, words.join(" "));
            thread::sleep(Duration::from_millis(4));
        }
    }

    fn judge(&self, words: &[String], disturbance: &Disturbance, status: Option<i32>, told: &str) {
        let what = || format!("{}: volgc {} {disturbance:?}: {status:?}: {told}", self.name, words.join(" "));
        if told.contains("panicked") {
            self.counts.panics.fetch_add(1, Ordering::Relaxed);
        }
        assert!(!told.contains("panicked"), "{}", what());
        assert!(!told.contains("defect of volgc"), "{}", what());
        match status {
            Some(0..=4) => {}
            None => assert!(
                matches!(disturbance, Disturbance::Kill(_))
                    || matches!(disturbance, Disturbance::Fault(fault) if fault.ends_with("kill")),
                "{}",
                what()
            ),
            Some(_) => panic!("not a documented exit code: {}", what()),
        }
    }
}

/// Whether a command can come to a point; those that recover first can come to any.
fn is_passed_by(point: &str, command: &str) -> bool {
    let group = point.split('.').next().unwrap_or(point);
    match command {
        "restore" => !matches!(group, "delete"),
        "delete" => matches!(group, "delete" | "drop" | "ledger" | "manifest"),
        "hold" | "release" | "acknowledge" => group == "ledger",
        "quarantine" => !matches!(group, "restore" | "delete"),
        _ => true,
    }
}
