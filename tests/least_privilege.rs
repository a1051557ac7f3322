//! What README.md says volgc needs is what it needs: the calls, through a proxy that allows no others, and the capabilities.
//! The lists are read from README.md, so that they are one with these tests.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests have effects, and fail loudly"
)]

mod harness;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::recording::Recording;
use harness::{KEEP_IN_QUARANTINE, Output, PrivateEngine, Version, Volgc, on_each_engine};
use rustix::process::{Pid, Signal, kill_process};

/// A call as README.md has it, and the commands that make it.
#[derive(Debug, Clone)]
struct Documented {
    call: String,
    commands: BTreeSet<String>,
}

/// What only a service asks that runs for long: when its events are silent, or a container is made while it runs.
const OF_A_LONG_RUN: [&str; 2] = ["GET /_ping", "GET /containers/json?all=1&filters="];

/// The rows of README.md's tables whose first cell begins so: that cell, and the words in quotes of the second.
fn rows(first: &str) -> Vec<Documented> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let lines =
        readme.lines().filter_map(|line| line.strip_prefix("| `")).filter(|line| line.starts_with(first));
    let row = |line: &str| {
        let (call, rest) = line.split_once("` ").unwrap();
        let commands = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Documented { call: call.to_owned(), commands }
    };
    lines.map(row).collect()
}

fn documented_calls() -> Vec<Documented> {
    let calls: Vec<Documented> = ["GET ", "DELETE ", "POST "].into_iter().flat_map(rows).collect();
    assert_eq!(calls.len(), 13, "{calls:#?}");
    calls
}

fn documented_capabilities() -> Vec<String> {
    let names: Vec<String> = rows("CAP_").into_iter().map(|row| row.call).collect();
    assert!(names.len() >= 4, "{names:?}");
    names
}

/// A request as README.md writes it: without API version, volume's name and filter.
fn as_documented(asked: &str) -> String {
    let (method, path) = asked.split_once(' ').unwrap();
    let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) => format!("/{path}"),
        None => path.to_owned(),
    };
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let path = match path.strip_prefix("/volumes/") {
        Some(rest) if rest != "create" && !rest.contains('/') => "/volumes/NAME",
        Some(_) | None => path,
    };
    let query = if path == "/events" { "" } else { query };
    match (query, query.strip_prefix("filters=")) {
        ("", _) => format!("{method} {path}"),
        (_, Some(_)) => format!("{method} {path}?filters="),
        (query, None) if query.starts_with("all=1&filters=") => format!("{method} {path}?all=1&filters="),
        (query, None) => format!("{method} {path}?{query}"),
    }
}

/// volgc behind a proxy that allows what README.md grants to one command.
struct Granted<'a> {
    engine: &'a PrivateEngine,
    volgc: &'a Volgc,
    config: &'a str,
    /// What has been asked so far, as README.md writes it.
    asked: BTreeSet<String>,
    proxies: usize,
}

impl<'a> Granted<'a> {
    fn new(engine: &'a PrivateEngine, volgc: &'a Volgc, config: &'a str) -> Self {
        Self { engine, volgc, config, asked: BTreeSet::new(), proxies: 0 }
    }

    /// A proxy for a command, which is then configured.
    fn proxy(&mut self, command: &str) -> Recording {
        let granted: BTreeSet<String> = documented_calls()
            .into_iter()
            .filter(|row| row.commands.contains(command))
            .map(|row| row.call)
            .collect();
        self.proxies += 1;
        let socket = self.engine.dir().join(format!("p{}", self.proxies));
        let allows = move |asked: &str| granted.contains(&as_documented(asked));
        let proxy = Recording::start_allowing(&socket, &self.engine.socket(), allows);
        self.volgc.config(&self.config.replace("{socket}", &socket.display().to_string()));
        proxy
    }

    /// What was asked must have been granted.
    #[track_caller]
    fn judge(&mut self, command: &str, proxy: &Recording) {
        let asked: BTreeSet<String> = proxy.take().iter().map(|asked| as_documented(asked)).collect();
        for asked in &asked {
            let is_granted =
                documented_calls().iter().any(|row| row.call == *asked && row.commands.contains(command));
            assert!(is_granted, "`{command}` made a call that README.md does not say it makes: {asked}");
        }
        self.asked.extend(asked);
    }

    #[track_caller]
    fn ok(&mut self, words: &[&str]) -> String {
        let proxy = self.proxy(words[0]);
        let output = self.volgc.ok(words);
        self.judge(words[0], &proxy);
        output
    }
}

#[track_caller]
fn entry(list: &str, name: &str) -> String {
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list:#}"))["entry"].as_str().unwrap().to_owned()
}

/// A single node that manages a swarm, with an address and a bridge of its own.
fn make_manager(engine: &PrivateEngine) {
    static MADE: AtomicU8 = AtomicU8::new(77);
    let (process, count) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let address = format!("127.{}.{}.{count}", 1 + process / 250 % 200, 1 + process % 250);
    let bridge = format!("com.docker.network.bridge.name=vl{process}n{count}");
    // The engine would make it by itself, under a name that all engines of the machine share.
    engine.docker(&[
        "network",
        "create",
        "--driver",
        "bridge",
        "--opt",
        &bridge,
        "--opt",
        "com.docker.network.bridge.enable_icc=false",
        "docker_gwbridge",
    ]);
    let listen = format!("{address}:2377");
    engine.docker(&["swarm", "init", "--advertise-addr", &address, "--listen-addr", &listen]);
}

on_each_engine! {
    fn a_volumes_whole_life_needs_no_call_but_the_documented_ones(engine: PrivateEngine) {
        for name in ["life", "hand", "used"] {
            engine.create_volume(name, &[("a", "b")]);
            engine.fill_volume(name, 3);
        }
        engine.docker(&["create", "--name", "web", "--network", "none", "-v", "used:/data", "bb", "true"]);
        make_manager(&engine);
        let volgc = Volgc::new(&engine);
        let config = format!("[schedule]\ninterval = \"1s\"\n{KEEP_IN_QUARANTINE}")
            .replacen("mode = \"quarantine\"", "", 1);
        let config = format!("mode = \"quarantine\"\n{config}");
        let mut granted = Granted::new(&engine, &volgc, &config);

        granted.ok(&["check"]);
        granted.ok(&["report"]);
        granted.ok(&["report", "--textfile", engine.dir().join("m.prom").to_str().unwrap()]);
        granted.ok(&["hold", "hand", "--reason", "first the other one"]);
        granted.ok(&["holds"]);
        granted.ok(&["sweep"]);
        granted.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["hand", "used"], "the sweep moved one");
        granted.ok(&["explain", "life"]);
        granted.ok(&["explain", "used"]);
        granted.ok(&["restore", "life"]);
        granted.ok(&["release", "hand"]);
        granted.ok(&["quarantine", "life"]);
        engine.create_volume("life", &[]);
        granted.ok(&["restore", "life", "--replace"]);
        granted.ok(&["quarantine", "hand"]);
        let list = granted.ok(&["list", "--format", "json"]);
        granted.ok(&["delete", "--yes", &entry(&list, "hand")]);
        granted.ok(&["history"]);
        granted.ok(&["acknowledge"]);

        // The service, until it has moved one by itself.
        let proxy = granted.proxy("run");
        let service = volgc.spawn(&["run"]);
        let deadline = Instant::now() + Duration::from_mins(2);
        while engine.volume_names().contains(&"life".to_owned()) {
            assert!(Instant::now() < deadline, "the service moves nothing");
            thread::sleep(Duration::from_millis(100));
        }
        kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
        let output = service.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", harness::show(&output));
        granted.judge("run", &proxy);

        // And nothing is in the list that nobody asks for. Events are a help that the service may do without.
        let unused: Vec<String> = documented_calls()
            .into_iter()
            .map(|row| row.call)
            .filter(|call| !OF_A_LONG_RUN.contains(&call.as_str()) && !granted.asked.contains(call))
            .collect();
        assert_eq!(unused, Vec::<String>::new(), "documented, and never asked");
    }

    fn a_proxy_that_allows_less_is_noticed(engine: PrivateEngine) {
        engine.create_volume("vol", &[]);
        let volgc = Volgc::new(&engine);
        let calls = ["GET /version", "GET /info", "GET /containers/json?all=1", "GET /volumes"];
        for (number, call) in calls.into_iter().enumerate() {
            let socket = engine.dir().join(format!("less{number}"));
            let proxy = Recording::start_allowing(&socket, &engine.socket(), move |asked| as_documented(asked) != call);
            volgc.config(&KEEP_IN_QUARANTINE.replace("{socket}", &proxy.socket().display().to_string()));
            for command in ["report", "sweep"] {
                let output = volgc.run(&[command]);
                assert!(matches!(output.status, Some(1 | 4)), "{command} without {call}: {output:?}");
                let path = call.split(['?', ' ']).nth(1).unwrap();
                assert!(output.stderr.contains(path) && output.stderr.contains("403"), "{output:?}");
            }
        }
        assert_eq!(engine.volume_names(), ["vol"]);
    }

    fn each_documented_capability_is_needed_and_they_are_enough(engine: PrivateEngine) {
        let all = documented_capabilities();
        let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/volgc.service")).unwrap();
        let of_unit = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let of_unit: Vec<&str> = of_unit.split_whitespace().collect();
        for name in &all {
            assert!(of_unit.contains(&name.as_str()), "deploy/volgc.service does not grant {name}");
        }
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(life(&engine, "enough", &names), Ok(()));
        for without in &names {
            let others: Vec<&str> = names.iter().filter(|name| *name != without).copied().collect();
            let failed = life(&engine, &without.to_lowercase().replace("cap_", "no-"), &others);
            let told = failed.expect_err(&format!("nothing needs {without}"));
            // What could not be done is told by the file or the witness, in one line.
            assert!(told.contains("ermission") || told.contains("not permitted") || told.contains("CAP_")
                || told.contains("mode"), "{without}: {told}");
        }
    }
}

/// Runs a command with a few capabilities alone.
fn with_capabilities(volgc: &Volgc, capabilities: &[&str], words: &[&str]) -> Output {
    let bounds = capabilities.iter().fold("-all".to_owned(), |bounds, name| {
        format!("{bounds},+{}", name.trim_start_matches("CAP_").to_lowercase())
    });
    let command = volgc.command(words);
    let mut bounded = Command::new("/usr/bin/setpriv");
    bounded
        .arg(format!("--bounding-set={bounds}"))
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(command.get_current_dir().unwrap());
    let output = bounded.output().unwrap_or_else(|error| panic!("cannot run setpriv: {error}"));
    Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The same, again and again while another test has a mount namespace that only `CAP_SYS_ADMIN` can read.
fn with_capabilities_among_others(volgc: &Volgc, capabilities: &[&str], words: &[&str]) -> Output {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let output = with_capabilities(volgc, capabilities, words);
        if !output.stderr.contains("CAP_SYS_ADMIN") || Instant::now() > deadline {
            return output;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// The life of a volume that has all that users make of one. An error is what the first command that failed said.
fn life(engine: &PrivateEngine, name: &str, capabilities: &[&str]) -> Result<(), String> {
    engine.create_volume(name, &[]);
    let data = engine.volume_data(name);
    let own = |path: &Path, uid, gid, mode| {
        chown(path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let (locked, sticky) = (data.join("locked"), data.join("sticky"));
    for directory in [&locked, &sticky] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("file"), "x").unwrap();
    }
    own(&locked.join("file"), 1000, 1000, 0o400);
    own(&locked, 1000, 1000, 0o500);
    own(&sticky.join("file"), 1001, 1001, 0o600);
    own(&sticky, 1000, 1000, 0o1777);
    own(&data, 1000, 1000, 0o2750);

    let volgc = Volgc::new(engine);
    volgc.config(KEEP_IN_QUARANTINE);
    let run = |words: &[&str]| {
        let output = with_capabilities_among_others(&volgc, capabilities, words);
        let told = format!("{words:?} ended with {:?}: {}{}", output.status, output.stdout, output.stderr);
        if output.status == Some(0) && !output.stdout.contains("left ") {
            Ok(output.stdout)
        } else {
            Err(told)
        }
    };
    run(&["report"])?;
    run(&["sweep"])?;
    run(&["sweep"])?;
    assert!(!data.exists(), "{capabilities:?}: the second sweep moved nothing");
    run(&["restore", name])?;
    let facts = fs::metadata(&data).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (1000, 1000, 0o2750), "{capabilities:?}");
    run(&["quarantine", name])?;
    let list = run(&["list", "--format", "json"])?;
    run(&["delete", "--yes", &entry(&list, name)])?;
    let list = run(&["list", "--format", "json"])?;
    assert!(!list.contains(&format!("\"{name}\"")), "{list}");
    Ok(())
}

/// On snap hosts there are such namespaces: the sweep says which, and refuses.
#[test]
fn a_namespace_that_only_a_mount_keeps_needs_more_and_that_is_said() {
    let engine = PrivateEngine::start(Version::V26_1);
    engine.create_volume("vol", &[]);
    let volgc = Volgc::new(&engine);
    volgc.config(KEEP_IN_QUARANTINE);
    let place = engine.dir().join("ns");
    fs::create_dir(&place).unwrap();
    let mount = |words: &[&str]| assert!(Command::new("mount").args(words).status().unwrap().success());
    let text = place.display().to_string();
    mount(&["--bind", &text, &text]);
    mount(&["--make-private", &text]);
    let file = place.join("kept");
    fs::write(&file, "").unwrap();
    let kept = format!("--mount={}", file.display());
    assert!(Command::new("unshare").args([&kept, "true"]).status().unwrap().success());
    let names = documented_capabilities();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let more = [&names[..], &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]].concat();
    let enough = with_capabilities(&volgc, &more, &["sweep"]);
    let refused = with_capabilities(&volgc, &names, &["sweep"]);
    for path in [&file, &place] {
        assert!(Command::new("umount").arg(path).status().unwrap().success());
    }
    assert_eq!(enough.status, Some(0), "{enough:?}");
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("CAP_SYS_ADMIN"), "{refused:?}");
}
