//! What README.md says volgc needs is what it needs: the calls, through a proxy that allows no others, and the capabilities.
//! The lists are read from README.md, so that they are one with these tests.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::daemon::Daemon;
use harness::node::Node;
use harness::recording::Recording;
use harness::{
    KEEP_IN_QUARANTINE, Output, PrivateEngine, Version, Volgc, on_each_engine, tree_digest, wait_until,
};
use serde_json::json;

/// A call as README.md has it, and the commands that make it.
#[derive(Debug, Clone)]
struct Documented {
    call: String,
    commands: BTreeSet<String>,
}

/// Nothing is done by itself, and what is ordered by hand is.
const BY_HAND: &str = "[docker]\nhost = \"unix://{socket}\"\n[limits]\nmin_grace = \"0s\"\n";

/// The same, for mounts too.
const IN_PLACE_BY_HAND: &str = r#"
[docker]
host = "unix://{socket}"
[[rule]]
name = "mounts"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "0s"
in_place = true
[limits]
min_grace = "0s"
"#;

/// A service that sweeps each second.
const SWEEPING: &str = "[schedule]\ninterval = \"1s\"\n";

/// The commands that may move data. Each first finishes or undoes what is unfinished.
const MOVING: [&str; 5] = ["sweep", "run", "quarantine", "restore", "delete"];

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
    assert_eq!(calls.len(), 15, "{calls:#?}");
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
    let query = match path {
        "/events" if query.contains("until=") => "until=",
        "/events" => "",
        _ => query,
    };
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
    config: String,
    /// Each command and call that was seen so far, the call as README.md writes it.
    asked: BTreeSet<(String, String)>,
    proxies: usize,
}

impl<'a> Granted<'a> {
    fn new(engine: &'a PrivateEngine, volgc: &'a Volgc) -> Self {
        Self { engine, volgc, config: String::new(), asked: BTreeSet::new(), proxies: 0 }
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
        self.asked.extend(asked.into_iter().map(|asked| (command.to_owned(), asked)));
    }

    #[track_caller]
    fn ok(&mut self, words: &[&str]) -> String {
        let proxy = self.proxy(words[0]);
        let output = self.volgc.ok(words);
        self.judge(words[0], &proxy);
        output
    }

    /// The service, until something has come true.
    #[track_caller]
    fn run_until(&mut self, what: &str, holds: impl FnMut() -> bool) {
        self.run_long(Duration::from_mins(1), |_| wait_until(what, holds));
    }

    /// The service under a watchdog, while something is done.
    #[track_caller]
    fn run_long(&mut self, watchdog: Duration, then: impl FnOnce(&Recording)) {
        let proxy = self.proxy("run");
        let daemon = Daemon::watched(self.volgc, watchdog);
        daemon.await_message("READY=1");
        then(&proxy);
        let log = daemon.log();
        let (status, _) = daemon.terminate();
        assert!(status.success(), "{log}");
        self.judge("run", &proxy);
    }

    /// A command without a proxy, which must die at a fault point.
    #[track_caller]
    fn killed_at(&self, point: &str, words: &[&str]) {
        self.directly();
        let killed = self.volgc.clone().env("VOLGC_FAULT", format!("{point}=kill")).run(words);
        assert_eq!(killed.status, None, "{point}: {killed:?}");
    }

    fn directly(&self) {
        self.volgc.config(&self.config.replace("{socket}", &self.engine.socket().display().to_string()));
    }

    #[track_caller]
    fn state_of(&self, name: &str) -> String {
        self.directly();
        state_of(self.volgc, name)
    }

    /// Whatever README.md grants, something was seen to ask for: a list that is too wide grants what nobody needs.
    #[track_caller]
    fn assert_all_asked(&self) {
        let unused: Vec<String> = documented_calls()
            .into_iter()
            .flat_map(|row| row.commands.into_iter().map(move |command| (command, row.call.clone())))
            .filter(|granted| !self.asked.contains(granted))
            .map(|(command, call)| format!("{command}: {call}"))
            .collect();
        assert_eq!(unused, Vec::<String>::new(), "documented, and never asked");
    }
}

/// All that goes well, from the first report to the last order.
fn a_volumes_whole_life(granted: &mut Granted<'_>) {
    let engine = granted.engine;
    for name in ["life", "hand", "used"] {
        engine.create_volume(name, &[("a", "b")]);
        engine.fill_volume(name, 3);
    }
    engine.docker(&["create", "--name", "web", "--network", "none", "-v", "used:/data", "bb", "true"]);
    KEEP_IN_QUARANTINE.clone_into(&mut granted.config);
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
    granted.ok(&["hold", "hand", "--reason", "as an entry"]);
    granted.ok(&["release", "hand"]);
    let list = granted.ok(&["list", "--format", "json"]);
    granted.ok(&["delete", "--yes", &entry(&list, "hand")]);
    granted.ok(&["history"]);
    granted.ok(&["acknowledge"]);
}

/// The service, until it has moved one by itself; its events, and its pings when they are silent.
fn a_long_run(granted: &mut Granted<'_>) {
    let engine = granted.engine;
    granted.config = format!("{KEEP_IN_QUARANTINE}\n{SWEEPING}");
    granted.run_until("the service moves one", || !engine.volume_names().contains(&"life".to_owned()));
    BY_HAND.clone_into(&mut granted.config);
    granted.run_long(Duration::from_secs(2), |proxy| {
        let seen = |call: &str| proxy.has_seen(|asked| as_documented(asked) == call);
        wait_until("its events are subscribed to", || seen("GET /events"));
        engine.docker(&["create", "--name", "later", "--network", "none", "-v", "used:/data", "bb", "true"]);
        wait_until("the new container is asked about", || seen("GET /containers/json?all=1&filters="));
        wait_until("the engine is pinged", || seen("GET /_ping"));
    });
}

/// A restore that was killed is finished by the next command, whichever it is; a move that was killed before its order is undone.
fn what_was_killed_is_recovered(granted: &mut Granted<'_>) {
    let engine = granted.engine;
    BY_HAND.clone_into(&mut granted.config);
    for command in MOVING {
        for (point, unfinished, recovered) in
            [("engine.create", "restoring", "none"), ("engine.delete", "forgetting", "none")]
        {
            let (killed, other) =
                (format!("{command}-{unfinished}"), format!("{command}-{unfinished}-other"));
            for name in [&killed, &other] {
                engine.create_volume(name, &[]);
            }
            let digest = engine.fill_volume(&killed, 5);
            granted.directly();
            if matches!(command, "restore" | "delete") {
                granted.volgc.ok(&["quarantine", &other]);
            }
            if unfinished == "restoring" {
                granted.volgc.ok(&["quarantine", &killed]);
                granted.killed_at(point, &["restore", &killed]);
            } else {
                granted.killed_at(point, &["quarantine", &killed]);
            }
            assert_eq!(granted.state_of(&killed), unfinished);
            match command {
                "quarantine" | "restore" => drop(granted.ok(&[command, &other])),
                "delete" => {
                    let other = granted.volgc.entry_id_of(&other);
                    drop(granted.ok(&[command, "--yes", &other]));
                }
                "run" => {
                    let volgc = granted.volgc;
                    granted.run_until("it is recovered", || state_of(volgc, &killed) == recovered);
                }
                _ => drop(granted.ok(&[command])),
            }
            assert_eq!(granted.state_of(&killed), recovered, "{command} {unfinished}");
            if recovered == "none" {
                assert_eq!(tree_digest(&engine.volume_data(&killed)), digest);
            }
        }
    }
}

/// The engine is asked which containers it saw end, by whichever command sees first that they are gone.
fn many_holders_end(granted: &mut Granted<'_>) {
    let engine = granted.engine;
    let call = "GET /events?until=";
    let row = documented_calls().into_iter().find(|row| row.call == call).unwrap();
    for command in row.commands {
        let (idle, old, lost) =
            (format!("{command}-idle"), format!("{command}-old"), format!("{command}-lost"));
        let mounts = [format!("{lost}-1:/1"), format!("{lost}-2:/2")];
        BY_HAND.clone_into(&mut granted.config);
        granted.directly();
        for name in [&idle, &old] {
            engine.create_volume(name, &[]);
        }
        granted.volgc.ok(&["quarantine", &old]);
        engine.docker(&[
            "create",
            "--name",
            &lost,
            "--network",
            "none",
            "-v",
            &mounts[0],
            "-v",
            &mounts[1],
            "bb",
            "true",
        ]);
        granted.volgc.ok(&["sweep"]);
        engine.docker(&["rm", &lost]);
        granted.config = format!("{BY_HAND}sudden_orphans = 1\nsudden_orphan_share = \"1%\"\n");
        let words = [command.as_str()];
        match command.as_str() {
            "quarantine" | "hold" | "explain" => {
                let more = if command == "hold" { &["--reason", "a test"][..] } else { &[] };
                granted.ok(&[&words[..], &[idle.as_str()], more].concat());
            }
            "restore" => drop(granted.ok(&[words[0], &old])),
            // It looks for entries that were a volume of this name.
            "release" => {
                let entry = granted.volgc.entry_id_of(&old);
                granted.volgc.ok(&["hold", &entry, "--reason", "a test"]);
                granted.ok(&[words[0], &old]);
            }
            "delete" => {
                let entry = granted.volgc.entry_id_of(&old);
                granted.ok(&[words[0], "--yes", &entry]);
            }
            "run" => granted.run_long(Duration::from_mins(1), |proxy| {
                wait_until("it asks", || proxy.has_seen(|asked| as_documented(asked) == call));
            }),
            _ => drop(granted.ok(&words)),
        }
    }
}

/// The end of an entry in place is the engine's removal, by whichever command it comes.
fn an_entry_in_place_ends(granted: &mut Granted<'_>) {
    let engine = granted.engine;
    let behind = engine.dir().join("behind");
    fs::create_dir(&behind).unwrap();
    let options = json!({ "type": "none", "o": "bind", "device": behind.display().to_string() });
    let body = json!({ "Name": "mount", "Driver": "local", "DriverOpts": options }).to_string();
    IN_PLACE_BY_HAND.clone_into(&mut granted.config);
    for is_killed in [false, true] {
        engine.json("POST", "/volumes/create", Some(&body));
        granted.ok(&["quarantine", "mount"]);
        assert_eq!(granted.state_of("mount"), "in_place");
        let entry = granted.volgc.entry_id_of("mount");
        if is_killed {
            granted.killed_at("engine.remove", &["delete", "--yes", &entry]);
            assert_eq!(granted.state_of("mount"), "in_place_in_doubt");
        }
        granted.ok(&["delete", "--yes", &entry]);
        assert!(!engine.volume_names().contains(&"mount".to_owned()));
    }
}

/// The state of the entry that was a volume of this name.
#[track_caller]
fn state_of(volgc: &Volgc, name: &str) -> String {
    let list = volgc.json(&["list", "--format", "json"]);
    let entry = list.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    entry.map_or_else(|| "none".to_owned(), |entry| entry["state"].as_str().unwrap().to_owned())
}

#[track_caller]
fn entry(list: &str, name: &str) -> String {
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list:#}"))["entry"].as_str().unwrap().to_owned()
}

on_each_engine! {
    fn each_command_makes_the_calls_that_are_documented_for_it_and_no_others(version: Version) {
        let node = Node::manager(version);
        let volgc = Volgc::new(&node.engine);
        let mut granted = Granted::new(&node.engine, &volgc);
        a_volumes_whole_life(&mut granted);
        a_long_run(&mut granted);
        what_was_killed_is_recovered(&mut granted);
        an_entry_in_place_ends(&mut granted);
        many_holders_end(&mut granted);
        granted.assert_all_asked();
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
        let _together = crate::no_closed_namespaces();
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
        let output = with_capabilities(&volgc, capabilities, words);
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

/// On snap hosts there are such namespaces, and where a daemon has another root directory than its own namespace: a report names it and
/// the way out, a sweep keeps everything, and with the lines that the unit names both act.
#[track_caller]
fn assert_closed_namespace_is_named(engine: &PrivateEngine, who: &str) {
    engine.create_volume("vol", &[]);
    let volgc = Volgc::new(engine);
    volgc.config(KEEP_IN_QUARANTINE);
    let names = documented_capabilities();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for command in ["report", "check", "sweep", "sweep"] {
        let output = with_capabilities(&volgc, &names, &[command]);
        assert_eq!(output.status, Some(0), "{output:?}");
        let told = output.stdout + &output.stderr;
        assert!(told.contains("CAP_SYS_ADMIN") && told.contains("systemctl edit volgc"), "{told}");
        assert!(told.contains("keeps 1 volume") && told.contains(who), "{told}");
    }
    assert_eq!(engine.volume_names(), ["vol"]);
    let unit = fs::read_to_string(harness::project().join("deploy/volgc.service")).unwrap();
    assert!(unit.contains("#   CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_CHROOT"), "{unit}");
    let more = [&names[..], &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]].concat();
    for _ in 0..2 {
        let output = with_capabilities(&volgc, &more, &["sweep"]);
        assert_eq!(output.status, Some(0), "{output:?}");
    }
    assert_eq!(engine.volume_names(), Vec::<String>::new());
}

#[test]
fn a_namespace_that_only_a_mount_keeps_is_named_and_needs_more() {
    let engine = PrivateEngine::start(Version::V26_1);
    let _alone = crate::closed_namespaces();
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
    let checked =
        std::panic::catch_unwind(|| assert_closed_namespace_is_named(&engine, "which no process is in"));
    for path in [&file, &place] {
        // Whoever looks at it this very moment keeps it busy.
        wait_until("it is unmounted", || Command::new("umount").arg(path).status().unwrap().success());
    }
    checked.unwrap();
}

#[test]
fn a_daemon_with_another_root_in_a_namespace_of_its_own_is_named_and_needs_more() {
    let engine = PrivateEngine::start(Version::V26_1);
    let _alone = crate::closed_namespaces();
    let jail = engine.dir().join("jail");
    fs::create_dir(&jail).unwrap();
    fs::copy("/bin/busybox", jail.join("busybox")).unwrap();
    let script =
        r#"mount --bind "$1" "$1"; exec chroot "$1" /busybox sh -c 'echo ready; exec /busybox sleep 1000'"#;
    let mut daemon = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "sh", "-ec", script, "sh"])
        .arg(&jail)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    daemon.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let who = format!("process {} ", daemon.id());
    let checked = std::panic::catch_unwind(|| assert_closed_namespace_is_named(&engine, &who));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    checked.unwrap();
}
