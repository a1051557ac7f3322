//! An idle service costs nothing: how much memory it has, and how often it is woken, by the kernel's own counters.
//!
//! `VOLGC_IDLE_SECONDS` measures for longer (as `benches/idle` does), `VOLGC_IDLE_BINARY` another build.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use harness::daemon::Daemon;
use harness::{PrivateEngine, Version, Volgc, everything};

/// A shorter one than the unit's three minutes, so that a short measurement sees some beats.
const WATCHDOG: Duration = Duration::from_secs(20);

/// Threads that a look has used end after ten idle seconds (tokio); their end is no wakeup of an idle service.
const SETTLED: Duration = Duration::from_secs(15);

/// What one beat may cost: the timer, a message to systemd, a ping to the engine and the end of its connection.
const SWITCHES_A_BEAT: u64 = 12;

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().next().unwrap().parse().unwrap()
}

/// Voluntary context switches of all threads: how often the process went to sleep, and so was woken (`proc(5)`).
fn switches(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|status| field(&status, "voluntary_ctxt_switches"))
        .sum()
}

fn resident(process: u32, what: &str) -> u64 {
    field(&fs::read_to_string(format!("/proc/{process}/status")).unwrap(), what)
}

#[test]
fn an_idle_service_sleeps() {
    let seconds = std::env::var("VOLGC_IDLE_SECONDS").map_or(40, |text| text.parse().unwrap());
    let watchdog = if seconds > 300 { Duration::from_mins(3) } else { WATCHDOG };
    let engine = PrivateEngine::start(Version::V26_1);
    for number in 0..20 {
        engine.create_volume(&format!("v{number}"), &[]);
    }
    engine.docker(&["create", "-v", "v0:/data", "bb", "true"]);
    let volgc = Volgc::configured(&engine, everything!("observe", "0s", "[schedule]\ninterval = \"1d\"\n"));
    let mut command = volgc.command(&["run"]);
    let other = std::env::var_os("VOLGC_IDLE_BINARY");
    let is_release = other.is_some();
    if let Some(binary) = other {
        let mut other = Command::new(binary);
        other.args(command.get_args()).env_clear();
        other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command = other;
    }
    let daemon = Daemon::launch(&volgc, command, Some(watchdog));
    daemon.await_message("READY=1");
    sleep(SETTLED);
    let process = daemon.pid();
    let before = switches(process);
    sleep(Duration::from_secs(seconds));
    let woken = switches(process) - before;
    let (now, peak) = (resident(process, "VmRSS"), resident(process, "VmHWM"));
    let beats = 1 + seconds * 2 / watchdog.as_secs();
    eprintln!(
        "idle for {seconds} s with a watchdog of {} s: {now} kB resident ({peak} kB at the most), {woken} voluntary context \
         switches, at most {beats} beats of the watchdog",
        watchdog.as_secs()
    );
    // A build for tests is five times as large, and its text is resident, too.
    let most = if is_release { 20_000 } else { 40_000 };
    assert!(now < most, "{now} kB are resident");
    assert!(woken <= beats * SWITCHES_A_BEAT, "woken {woken} times in {seconds} s");
}
