//! How long `volgc report --no-sizes` takes on a host with 10,000 volumes and 1,000 containers, compared with `curl` that
//! merely fetches the two lists the report is made of. The engine's own work is in both.
//!
//! `make bench` runs it. No test: what it shows depends on the machine, so read the ratio. `BENCH_VOLUMES`,
//! `BENCH_CONTAINERS` and `BENCH_ROUNDS` change the sizes.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark has effects, and fails loudly"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use harness::{PrivateEngine, Version, Volgc};
use serde_json::json;

/// What a report may take at most, as a multiple of fetching the lists, and in memory.
const TARGET_RATIO: f64 = 1.5;
const TARGET_MEGABYTES: f64 = 60.0;

fn main() {
    // `cargo bench` and `cargo test --benches` pass options of their own.
    let program = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let Some(program) = program else {
        println!("report_speed: give the release build of volgc as an argument, or run benches/report_speed");
        return;
    };
    let number = |name: &str, usual: usize| {
        std::env::var(name)
            .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (volumes, containers) = (number("BENCH_VOLUMES", 10_000), number("BENCH_CONTAINERS", 1_000));
    let rounds = number("BENCH_ROUNDS", 15).max(1);
    for version in Version::ALL {
        let home = tempfile::Builder::new().prefix("volgc-bench-").tempdir().unwrap();
        let root = home.path().join("d");
        for volume in 0..volumes {
            // The engine adopts them when it starts, which is faster than asking it for each.
            fs::create_dir_all(root.join("volumes").join(name(volume)).join("_data")).unwrap();
        }
        let engine = PrivateEngine::builder(version).data_root(&root).start();
        create_containers(&engine, volumes, containers);
        assert_eq!(engine.volume_names().len(), volumes);
        measure(&engine, Path::new(&program), rounds);
    }
}

/// Every second one like an anonymous volume's.
fn name(volume: usize) -> String {
    if volume.is_multiple_of(2) { format!("{volume:064x}") } else { format!("project-{volume:05}_data") }
}

fn create_containers(engine: &PrivateEngine, volumes: usize, containers: usize) {
    scope(|threads| {
        for thread in 0..4 {
            threads.spawn(move || {
                for container in (thread..containers).step_by(4) {
                    let mount = |which: usize| {
                        let volume = (container * 2 + which) % volumes;
                        json!({ "Type": "volume", "Source": name(volume), "Target": format!("/data{which}") })
                    };
                    let body = json!({
                        "Image": "bb", "Cmd": ["true"], "NetworkDisabled": true,
                        "Labels": { "com.docker.compose.project": "project", "com.docker.compose.service": "web" },
                        "HostConfig": { "Mounts": [mount(0), mount(1)], "NetworkMode": "none" },
                    });
                    engine.json("POST", &format!("/containers/create?name=c{container}"), Some(&body.to_string()));
                }
            });
        }
    });
}

/// One way to the lists, and how long it took each time.
struct Way<'a> {
    what: &'static str,
    run: Box<dyn Fn() -> Duration + 'a>,
    times: Vec<Duration>,
}

fn measure(engine: &PrivateEngine, program: &Path, rounds: usize) {
    let volgc = Volgc::new(engine);
    let curl = |paths: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--unix-socket"]).arg(engine.socket());
        for path in paths {
            command.args(["-o", "/dev/null"]).arg(format!("http://docker/v1.41{path}"));
        }
        command
    };
    let report = |more: &[&str]| {
        let with = volgc.command(&[&["report", "--no-sizes"], more].concat());
        let mut command = Command::new(program);
        command.args(with.get_args()).env_clear().envs(with.get_envs().filter_map(|(n, v)| Some((n, v?))));
        command
    };
    let (volumes, containers) = ("/volumes", "/containers/json?all=1");
    let way = |what, run| Way { what, run, times: Vec::new() };
    let mut ways = [
        way("curl, one process a list", Box::new(|| time(curl(&[volumes])) + time(curl(&[containers])))),
        way("curl, one process for both", Box::new(|| time(curl(&[volumes, containers])))),
        way("volgc report --no-sizes", Box::new(|| time(report(&[])))),
        way("  the same, --format json", Box::new(|| time(report(&["--format", "json"])))),
    ];
    // Interleaved, so that whatever else the machine does hits all alike; the first round warms up.
    for round in 0..=rounds {
        for way in &mut ways {
            let took = (way.run)();
            if round > 0 {
                way.times.push(took);
            }
        }
    }
    let medians: Vec<f64> = ways.iter_mut().map(|way| median(&mut way.times)).collect();
    // The faster way of fetching is the harder comparison.
    let fetching = medians[0].min(medians[1]);
    println!("\nengine {:?}, medians of {rounds} interleaved rounds", engine.version());
    for (way, median) in ways.iter().zip(&medians) {
        println!(
            "  {:<28} {median:8.1} ms   {:.2} x   ({:.1} to {:.1} ms)",
            way.what,
            median / fetching,
            milliseconds(way.times[0]),
            milliseconds(way.times[way.times.len() - 1])
        );
    }
    for (what, more) in [("table", &[][..]), ("json", &["--format", "json"])] {
        println!("  peak memory, {what:<15} {:8.1} MB", peak_megabytes(report(more)));
    }
    let verdict = |is_met| if is_met { "met" } else { "NOT met" };
    let ratio = medians[2] / fetching;
    let memory = peak_megabytes(report(&[]));
    println!("  target {TARGET_RATIO} x: seen {ratio:.2} x, {}", verdict(ratio <= TARGET_RATIO));
    println!("  target {TARGET_MEGABYTES} MB: seen {memory:.1} MB, {}", verdict(memory <= TARGET_MEGABYTES));
}

fn time(mut command: Command) -> Duration {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    let took = begun.elapsed();
    let status = status.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    took
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    milliseconds(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The kernel keeps the high-water mark; looked at until the process ends.
fn peak_megabytes(mut command: Command) -> f64 {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: f64 =
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
        peak = peak.max(kilobytes * 1024.0 / 1e6);
        sleep(Duration::from_micros(500));
    }
    peak
}
