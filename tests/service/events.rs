//! What the engine tells between two sweeps: clocks are set back, last holders are precise, a name that is used again is warned of
//! at once. And events that are lost, cut off or not understood harm nothing.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use harness::daemon::Daemon;
use harness::fake::{Answer, Fake};
use harness::{PrivateEngine, Volgc, on_each_engine, wait_until};
use serde_json::{Value, json};
use volgc::gc::volume::VolumeName;
use volgc::host::ledger::LedgerReader;

/// Nothing is swept while a test runs, unless it says so.
const WATCH: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1d"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "1h"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
sudden_orphans = 1000
"#;

/// A service that follows the engine's events. Two sweeps before it: every clock runs.
fn watching(engine: &PrivateEngine) -> (Volgc, Daemon) {
    let volgc = Volgc::configured(engine, WATCH);
    volgc.sweep_twice();
    let daemon = Daemon::start(&volgc);
    daemon.await_message("READY=1");
    daemon.await_message("next sweep");
    await_stream(engine);
    (volgc, daemon)
}

/// The subscription is made beside the first look; what comes before it is asked for with `since`, so nothing is lost either way.
fn await_stream(engine: &PrivateEngine) {
    assert!(engine.pid().is_some());
    sleep(Duration::from_millis(500));
}

/// The present second: the report tells no more than that. Begun anew, so that what was before it is told apart.
fn whole_second() -> DateTime<Utc> {
    sleep(Duration::from_millis(1_100));
    DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

/// Since when nothing holds the volume, by the report.
fn since(volgc: &Volgc, volume: &str) -> DateTime<Utc> {
    time(&volgc.told_of(volume)["unreferenced_since"])
}

fn last_holder(volgc: &Volgc, volume: &str) -> Value {
    volgc.told_of(volume)["last_holder"].clone()
}

fn run(engine: &PrivateEngine, name: &str, volume: &str) {
    let mount = format!("{volume}:/data");
    let (project, service) =
        ("com.docker.compose.project=shop".to_owned(), format!("com.docker.compose.service={name}"));
    engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        name,
        "--label",
        &project,
        "--label",
        &service,
        "-v",
        &mount,
        "bb",
        "true",
    ]);
}

/// Waits until the ledger says that this container held the volume last.
#[track_caller]
fn await_holder(volgc: &Volgc, volume: &str, name: &str) {
    // Of the ledger itself: a report sees a container that is there also when nobody has written of it.
    let ledger = || LedgerReader::open(&volgc.state_dir()).unwrap().unwrap().read().unwrap();
    let volume = VolumeName::new(volume).unwrap();
    wait_until(&format!("{name} is the last holder of {volume}"), || {
        let last = ledger().volumes.get(&volume).and_then(|record| record.last_holder.clone());
        last.is_some_and(|last| last.holder.name == name)
    });
}

on_each_engine! {
    fn a_container_that_came_and_went_sets_the_clock_back(engine: PrivateEngine) {
        engine.create_volume("used", &[]);
        engine.create_volume("other", &[]);
        let (volgc, _daemon) = watching(&engine);
        let before = since(&volgc, "used");
        let started = whole_second();
        run(&engine, "visitor", "used");
        await_holder(&volgc, "used", "visitor");
        wait_until("its removal is heeded", || {
            last_holder(&volgc, "used")["detail"].as_str().is_some_and(|detail| detail.starts_with("removed"))
        });
        let holder = last_holder(&volgc, "used");
        let detail = holder["detail"].as_str().unwrap();
        assert_eq!(detail, "removed, image bb, Compose project shop, service visitor");
        assert_eq!(holder["kind"], "container");
        assert!(time(&holder["seen_at"]) >= started, "{holder}");
        let after = since(&volgc, "used");
        assert!(before < started && after >= started && after <= Utc::now(), "{before} {after}");
        // A sweep goes on from there, and what was watched before does not count.
        volgc.ok(&["sweep"]);
        assert_eq!((since(&volgc, "used"), clock(&volgc, "used")), (after, (0, 1)));
        assert!(since(&volgc, "other") < started);
    }

    fn a_container_that_was_made_and_never_started_is_a_holder(engine: PrivateEngine) {
        engine.create_volume("used", &[]);
        let (volgc, _daemon) = watching(&engine);
        engine.docker(&["create", "--name", "idle", "-v", "used:/data", "bb", "true"]);
        await_holder(&volgc, "used", "idle");
        engine.docker(&["rm", "idle"]);
        wait_until("its removal is heeded", || {
            last_holder(&volgc, "used")["detail"].as_str().is_some_and(|detail| detail.starts_with("removed"))
        });
    }

    fn a_holder_from_before_is_told_with_the_time_it_went(engine: PrivateEngine) {
        // The report tells whole seconds.

        engine.create_volume("used", &[]);
        engine.docker(&["create", "--name", "old", "-v", "used:/data", "bb", "true"]);
        let (volgc, _daemon) = watching(&engine);
        let removed = whole_second();
        engine.docker(&["rm", "old"]);
        wait_until("its removal is heeded", || {
            time(&last_holder(&volgc, "used")["seen_at"]) >= removed
        });
        volgc.ok(&["sweep"]);
        let since = since(&volgc, "used");
        assert!(since >= removed && since - removed < chrono::TimeDelta::seconds(20), "{removed} {since}");
        // What the event told is no sighting, and no time.
        assert_eq!(clock(&volgc, "used"), (0, 1));
    }

    fn a_name_used_again_is_warned_of_within_a_second(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, WATCH);
        // A machine that others load may be late with one or two.
        let names = ["db", "db1", "db2"];
        for name in names {
            engine.create_volume(name, &[]);
            volgc.ok(&["quarantine", name]);
        }
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        daemon.await_message("3 in quarantine");
        await_stream(&engine);
        let tries = names.map(|name| warned_after(&engine, &volgc, &daemon, name));
        assert!(tries.iter().min().unwrap() < &Duration::from_secs(1), "warned after {tries:?}");
        for name in names {
            let (entry, command) = (volgc.entry_id_of(name), warning(&volgc, name));
            let history = volgc.json(&["history", "--volume", name, "--format", "json"]);
            let line = history.as_array().unwrap().iter().find(|line| line["happening"] == "name_used_again").unwrap();
            assert_eq!(line["entry"], entry.as_str());
            let detail = line["detail"].as_str().unwrap();
            // What somebody has put into it meanwhile is not known here, so the way that takes nothing from them comes first.
            assert!(detail.contains(&format!("--as {name}-old")) && detail.contains(&command), "{line}");
        }
    }

    fn the_clock_of_data_whose_name_is_used_again_stands_still(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, WATCH);
        let names = ["free", "was-used", "used"];
        let digests = names.map(|name| {
            engine.create_volume(name, &[]);
            let digest = engine.fill_volume(name, 7);
            volgc.ok(&["quarantine", name]);
            digest
        });
        volgc.ok(&["sweep"]);
        let entries = names.map(|name| volgc.entry_id_of(name));
        let watched = || entries.each_ref().map(|entry| watched_of_entry(&volgc, entry));
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        daemon.await_message("3 in quarantine");
        await_stream(&engine);
        let [_, was_used, used] = names;
        for name in [was_used, used] {
            warned_after(&engine, &volgc, &daemon, name);
        }
        // Told once, also when it is used once more; and remembered when the name is free again before the next sweep.
        for _ in 0..2 {
            engine.docker(&["volume", "rm", was_used]);
            assert!(knows(&volgc, was_used), "the ledger does not know that the name was in use");
            engine.create_volume(was_used, &[]);
        }
        sleep(Duration::from_secs(1));
        assert_eq!(daemon.log().matches(&warning(&volgc, was_used)).count(), 1, "{}", daemon.log());
        engine.docker(&["volume", "rm", was_used]);
        let sweep = || {
            let before = watched();
            sleep(Duration::from_secs(2));
            volgc.ok(&["sweep"]);
            let after = watched();
            std::array::from_fn(|at| after[at] - before[at])
        };
        let [free, of_was_used, of_used]: [u32; 3] = sweep();
        assert!(free >= 2_000 && of_was_used == 0 && of_used == 0, "{free} {of_was_used} {of_used} ms");
        // That sweep found one of the names free.
        let [free, of_was_used, of_used] = sweep();
        assert!(free >= 2_000 && of_was_used >= 2_000 && of_used == 0, "{free} {of_was_used} {of_used} ms");
        // What the operator does about it is no accident.
        let told = daemon.log().matches("--replace").count();
        volgc.ok(&["restore", &entries[2], "--replace"]);
        assert_eq!(harness::tree_digest(&engine.volume_data(used)), digests[2]);
        sleep(Duration::from_secs(1));
        assert_eq!(daemon.log().matches("--replace").count(), told, "{}", daemon.log());
    }

    fn an_event_storm_is_survived(engine: PrivateEngine) {
        engine.create_volume("busy", &[]);
        let (volgc, daemon) = watching(&engine);
        let body = |number: u32| {
            json!({ "Image": "bb", "Cmd": ["true"], "Labels": { "n": number.to_string() },
                    "HostConfig": { "Binds": ["busy:/data"], "NetworkMode": "none" } }).to_string()
        };
        for number in 0..1_000 {
            let made = engine.json("POST", &format!("/containers/create?name=c{number}"), Some(&body(number)));
            let id = made["Id"].as_str().unwrap();
            engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
        }
        run(&engine, "last", "busy");
        await_holder(&volgc, "busy", "last");
        let sweep = volgc.run(&["sweep"]);
        assert_eq!(sweep.status, Some(0), "{sweep:?}");
        assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
        let (status, took) = daemon.terminate();
        assert!(status.success() && took < Duration::from_secs(8), "{status} {took:?}");
    }

    fn a_stream_that_is_cut_is_taken_up_again(engine: PrivateEngine) {
        engine.create_volume("used", &[]);
        let relay = Relay::start(&engine);
        let volgc = Volgc::configured(&engine, &WATCH.replace("{socket}", &relay.socket.display().to_string()));
        volgc.sweep_twice();
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        relay.await_streams(1);
        run(&engine, "one", "used");
        await_holder(&volgc, "used", "one");
        // What happens while there is no stream is asked for again.
        relay.cut();
        run(&engine, "two", "used");
        relay.await_streams(2);
        await_holder(&volgc, "used", "two");
        for _ in 0..3 {
            relay.cut();
            sleep(Duration::from_millis(300));
        }
        run(&engine, "three", "used");
        await_holder(&volgc, "used", "three");
        assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    }

    fn an_engine_that_comes_back_wakes_recovery(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let digest = engine.fill_volume("db", 3);
        let volgc = Volgc::configured(&engine, WATCH);
        volgc.sweep_twice();
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        await_stream(&engine);
        let killed = volgc.clone().env("VOLGC_FAULT", "exchange.look_again=kill").run(&["quarantine", "db"]);
        assert_eq!(killed.status, None, "{killed:?}");
        let data = engine.volume_data("db");
        assert!(data.is_symlink() && data.exists(), "the link leads to the data");
        engine.restart();
        wait_until("the move is undone", || !data.is_symlink());
        assert_eq!(harness::tree_digest(&engine.volume_data("db")), digest);
        daemon.await_log("what was unfinished is finished or undone");
    }
}

fn ledger(volgc: &Volgc) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    rusqlite::Connection::open_with_flags(volgc.state_dir().join("ledger.db"), flags).unwrap()
}

/// Watched milliseconds and sightings of a volume, as they are in the ledger.
fn clock(volgc: &Volgc, volume: &str) -> (u32, u32) {
    ledger(volgc)
        .query_row("SELECT watched_ms, sightings FROM volumes WHERE name = ?1", [volume], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

/// Whether the ledger remembers a volume of this name.
fn knows(volgc: &Volgc, volume: &str) -> bool {
    let ledger = ledger(volgc);
    ledger
        .query_row("SELECT count(*) FROM volumes WHERE name = ?1", [volume], |row| row.get::<_, u32>(0))
        .unwrap()
        == 1
}

/// Watched milliseconds of an entry, as they are in the ledger.
fn watched_of_entry(volgc: &Volgc, entry: &str) -> u32 {
    ledger(volgc)
        .query_row("SELECT watched_ms FROM entries WHERE entry = ?1", [entry], |row| row.get(0))
        .unwrap()
}

/// What a warning of a used name tells to do.
fn warning(volgc: &Volgc, volume: &str) -> String {
    format!("volgc restore {} --replace", volgc.entry_id_of(volume))
}

/// Makes a volume under the name of an entry; how long it took until the service had warned of it.
#[track_caller]
fn warned_after(engine: &PrivateEngine, volgc: &Volgc, daemon: &Daemon, volume: &str) -> Duration {
    let command = warning(volgc, volume);
    engine.create_volume(volume, &[]);
    let made = Instant::now();
    while !daemon.log().contains(&command) {
        assert!(made.elapsed() < Duration::from_mins(1), "never warned\n{}", daemon.log());
        sleep(Duration::from_millis(5));
    }
    made.elapsed()
}

#[test]
fn events_that_are_not_understood_are_passed_over() {
    let fake = Fake::start();
    let now = Utc::now().timestamp_nanos_opt().unwrap() + 1_000_000_000;
    let event = |kind: &str, action: &str, id: &str, attributes: Value| json!({ "Type": kind, "Action": action, "Actor": { "ID": id, "Attributes": attributes }, "timeNano": now });
    let lines = [
        json!({ "Type": "galaxy", "Action": "explode", "timeNano": now }).to_string(),
        "this is no JSON".to_owned(),
        event("container", "levitate", "c1", json!({})).to_string(),
        format!("{{\"Type\":\"{}\"}}", "x".repeat(3 << 20)),
        event("volume", "mount", "orphan", json!({ "container": 7 })).to_string(),
        event("container", "create", "c1", json!({ "name": "web", "image": "nginx" })).to_string(),
        event("volume", "mount", "orphan", json!({ "container": "c1" })).to_string(),
    ];
    let body = lines.map(|line| line + "\n").concat();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    );
    fake.set(|world| world.replace("/events", Answer::Stall(answer.into_bytes())));
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(WATCH);
    volgc.ok(&["sweep"]);
    volgc.ok(&["sweep"]);
    let daemon = Daemon::start(&volgc);
    daemon.await_message("READY=1");
    await_holder(&volgc, "orphan", "web");
    assert_eq!(last_holder(&volgc, "orphan")["detail"], "created, image nginx");
}

#[test]
fn an_engine_without_events_is_asked_rarely_and_sweeps_go_on() {
    let fake = Fake::start();
    fake.set(|world| world.replace("/events", Answer::Whole(403, "{}".to_owned())));
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(&WATCH.replace("\"1d\"", "\"1s\""));
    let daemon = Daemon::start(&volgc);
    daemon.await_message("READY=1");
    for _ in 0..3 {
        let seen = daemon.log().matches("sweep done").count();
        wait_until("another sweep", || daemon.log().matches("sweep done").count() > seen);
    }
    let asked = fake.take().iter().filter(|request| request.contains("/events")).count();
    assert_eq!(asked, 1);
    assert!(daemon.log().contains("sweeps go on without"), "{}", daemon.log());
}

/// Passes bytes on between the product and an engine, as a socket proxy does, and can cut every stream of events.
struct Relay {
    socket: PathBuf,
    streams: Arc<Mutex<Vec<UnixStream>>>,
    seen: Arc<Mutex<usize>>,
}

impl Relay {
    fn start(engine: &PrivateEngine) -> Self {
        let socket = engine.dir().join("relay");
        let listener = UnixListener::bind(&socket).unwrap();
        let streams: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let seen: Arc<Mutex<usize>> = Arc::default();
        let (target, of_streams, of_seen) = (engine.socket(), Arc::clone(&streams), Arc::clone(&seen));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, streams, seen) = (target.clone(), Arc::clone(&of_streams), Arc::clone(&of_seen));
                thread::spawn(move || relay(client, &target, &streams, &seen).ok());
            }
        });
        Self { socket, streams, seen }
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }

    fn await_streams(&self, count: usize) {
        wait_until("a stream of events", || *self.seen.lock().unwrap() >= count);
    }
}

fn relay(
    mut client: UnixStream,
    target: &Path,
    streams: &Mutex<Vec<UnixStream>>,
    seen: &Mutex<usize>,
) -> io::Result<()> {
    let mut head = vec![0; 65536];
    let length = client.read(&mut head)?;
    let mut engine = UnixStream::connect(target)?;
    if String::from_utf8_lossy(&head[..length]).contains("/events?") {
        streams.lock().unwrap().push(client.try_clone()?);
        *seen.lock().unwrap() += 1;
    }
    engine.write_all(&head[..length])?;
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut from_client, &mut to_engine).ok();
        to_engine.shutdown(std::net::Shutdown::Both).ok();
    });
    io::copy(&mut engine, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}
