//! The product under the limits of a service, and watched: how long it takes, and how much memory.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::{Output, Volgc};

/// No walk may hang: on a FIFO it would for ever. With much to spare for a loaded machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// The most memory that a command may need, whatever the trees are: megabytes above what it needs for none.
pub(crate) const MOST_KILOBYTES: u64 = 64 * 1024;

/// A command that has ended, and the most memory it ever had in use.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) output: Output,
    pub(crate) peak_kilobytes: u64,
}

/// Runs a command with 1024 descriptors and a main stack of a megabyte. It must end.
#[track_caller]
pub(crate) fn run(volgc: &Volgc, words: &[&str]) -> Watched {
    let plain = volgc.command(words);
    let mut command = Command::new("prlimit");
    command
        .args(["--nofile=1024:1024", "--stack=1048576:1048576", "--"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(plain.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    // What it writes is read meanwhile: a full pipe would stop it.
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut from: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let (begin, mut peak) = (Instant::now(), 0);
    let ended = loop {
        peak = peak.max(high_water_mark(&status));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if begin.elapsed() > PATIENCE {
            let stack = fs::read_to_string(format!("/proc/{}/stack", child.id())).unwrap_or_default();
            child.kill().unwrap();
            panic!("volgc {words:?} hangs: {stack}");
        }
        sleep(Duration::from_millis(1));
    };
    let output =
        Output { status: ended.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    Watched { output, peak_kilobytes: peak }
}

/// The same for a command that must succeed, within the bound of memory.
#[track_caller]
pub(crate) fn ok(volgc: &Volgc, words: &[&str]) -> String {
    let watched = run(volgc, words);
    assert_eq!(watched.output.status, Some(0), "{words:?}: {:?}", watched.output);
    println!("volgc {}: {} kB at most", words[0], watched.peak_kilobytes);
    assert!(watched.peak_kilobytes > 1000, "{words:?}: it was not watched");
    assert!(watched.peak_kilobytes < MOST_KILOBYTES, "{words:?}: {} kB", watched.peak_kilobytes);
    watched.output.stdout
}

fn high_water_mark(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
