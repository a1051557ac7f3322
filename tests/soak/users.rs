//! Those who use the engine: they make and remove containers and volumes, and nobody tells them about volgc.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::content::{Identity, Opened, scan};
use super::log::Log;
use super::model::{Container, Fate, Kept, Model};
use super::operation::{Kind, MOUNTS, Name, Operation};
use harness::PrivateEngine;

/// What every container runs: it waits for its file, and reads it for as long as it lives. 77 says that it changed or went.
const READ_ON: &str = "while ! [ -e /data/id ]; do usleep 100000; done; read own < /data/id; \
                       while read now < /data/id && [ \"$now\" = \"$own\" ]; do usleep 400000; done; exit 77";
const LOST: i64 = 77;

/// How long a volume's data may be away at most before it is looked for again later: a move and its way back.
const AWAY: Duration = Duration::from_secs(4);

/// How long an ambush lies in wait.
const AMBUSH: Duration = Duration::from_millis(1500);

/// A volume's data, mounted elsewhere.
#[derive(Debug)]
struct Mounted {
    name: Name,
    path: PathBuf,
    token: Option<String>,
}

/// The users of one engine.
#[derive(Debug)]
pub struct Users<'a> {
    engine: &'a PrivateEngine,
    log: &'a Log,
    pub model: Model,
    mounts: [Option<Mounted>; MOUNTS],
    pub operations: u64,
    /// How often dockerd was killed.
    pub kills: u64,
    /// How often a running container, or whoever mounted its volume, was seen to read what it must.
    pub reads: u64,
    /// How often data of a service was removed with its volume, by whoever ordered that.
    pub removed_by_hand: u64,
}

impl<'a> Users<'a> {
    pub fn new(engine: &'a PrivateEngine, log: &'a Log) -> Self {
        Self {
            engine,
            log,
            model: Model::default(),
            mounts: [const { None }; MOUNTS],
            operations: 0,
            kills: 0,
            reads: 0,
            removed_by_hand: 0,
        }
    }

    /// Does one operation. Nothing is drawn here: what comes of it must not change what is drawn next.
    pub fn act(&mut self, operation: Operation) {
        let outcome = self.carry_out(operation);
        self.operations += 1;
        self.log.note(&format!("users: {operation:?}: {outcome}"));
    }

    fn carry_out(&mut self, operation: Operation) -> String {
        match operation {
            Operation::Create { slot, kind, start } => {
                let removed = self.remove(slot, false);
                let made = self.create(slot, kind);
                let started = if start { self.start(slot) } else { String::new() };
                format!("{removed} {made} {started}")
            }
            Operation::Start(slot) => self.start(slot),
            Operation::Stop(slot) => self.stop(slot),
            Operation::Remove { slot, with_volumes } => self.remove(slot, with_volumes),
            Operation::Redeploy { slot, pause } => self.redeploy(slot, pause),
            Operation::Ambush { slot, name } => self.ambush(slot, name),
            Operation::Exec(slot) => self.exec(slot),
            Operation::CreateVolume(name) => self.create_volume(name),
            Operation::RemoveVolume(name) => self.remove_volume(name),
            Operation::Mount { mount, name } => self.mount(mount, name),
            Operation::Unmount(mount) => self.unmount(mount),
            Operation::KillEngine(pause) => {
                self.engine.kill();
                thread::sleep(Duration::from_millis(pause));
                self.engine.restart();
                self.kills += 1;
                "killed and started".to_owned()
            }
            Operation::RestartEngine => {
                self.engine.restart();
                "restarted".to_owned()
            }
            Operation::Rest(time) => {
                thread::sleep(Duration::from_millis(time));
                String::new()
            }
        }
    }

    fn create(&mut self, slot: usize, kind: Kind) -> String {
        let mut labels = BTreeMap::from([("com.example.storm", "yes".to_owned())]);
        let mut host = json!({ "NetworkMode": "none" });
        let mut image = "bb";
        let (mut bound, mut binds) = (None, None);
        let mut named = None;
        match kind {
            Kind::Named(name) => {
                named = Some(name);
                if let Name::Service(number) = name {
                    labels.insert("com.docker.compose.project", "shop".to_owned());
                    labels.insert("com.docker.compose.service", format!("db{number}"));
                    self.create_volume(name);
                }
                host["Mounts"] = json!([{ "Type": "volume", "Source": name.text(), "Target": "/data" }]);
            }
            Kind::Anonymous => image = "bbvol",
            Kind::VolumesFrom(other) => {
                let Some(other) = &self.model.containers[other] else { return "no such donor".to_owned() };
                host["VolumesFrom"] = json!([other.id]);
                (bound, binds) = (other.bound, other.binds);
            }
            Kind::BindOf(name) => {
                binds = Some(name);
                let data = self.engine.volume_data(&name.text());
                bound = Opened::open(&data).and_then(|opened| opened.identity()).ok();
                host["Mounts"] = json!([{ "Type": "bind", "Source": data, "Target": "/data" }]);
            }
        }
        let body =
            json!({ "Image": image, "Cmd": ["sh", "-c", READ_ON], "Labels": labels, "HostConfig": host });
        let (status, text) = self.engine.api("POST", "/containers/create", Some(&body.to_string()));
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(id) = answer["Id"].as_str() else { return format!("{status} {text}") };
        let mut container = Container {
            id: id.to_owned(),
            volumes: BTreeMap::new(),
            anonymous: Vec::new(),
            bound: bound.filter(|bound| self.model.kept.contains_key(bound)),
            binds,
            named,
        };
        let told = self.inspect(id);
        for mount in told["Mounts"].as_array().into_iter().flatten() {
            let Some(name) = mount["Name"].as_str().filter(|name| !name.is_empty()) else { continue };
            let found = self.claim(name, AWAY);
            container.volumes.insert(name.to_owned(), found);
            if name.len() == 64 {
                container.anonymous.push(name.to_owned());
            }
        }
        let shown = format!("made {} with {:?}", &id[..12], container.volumes.keys());
        self.model.containers[slot] = Some(container);
        shown
    }

    fn inspect(&self, id: &str) -> Value {
        self.engine.json("GET", &format!("/containers/{id}/json"), None)
    }

    /// What is in a volume that something holds; filled, when it is new. None when its data is away for now.
    fn claim(&mut self, name: &str, patience: Duration) -> Option<Identity> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(opened) = Opened::open(&self.engine.volume_data(name)) {
                return Some(self.claim_opened(name, &opened, true));
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn claim_opened(&mut self, name: &str, opened: &Opened, is_strict: bool) -> Identity {
        let identity = opened.identity().expect("an open directory has an identity");
        if !self.model.kept.contains_key(&identity) {
            let token = self.model.token(name);
            let listing = opened.fill(&token).expect("an open directory can be filled");
            self.log.note(&format!("users: {token} is inode {} now", identity.0));
            self.model.kept.insert(identity, Kept { token, listing, fate: Fate::Kept, is_strict });
        }
        identity
    }

    fn start(&mut self, slot: usize) -> String {
        let Some(container) = &self.model.containers[slot] else { return "none".to_owned() };
        // Its data may be away for a moment: then it does not start, and nothing is lost.
        let (status, text) = self.engine.api("POST", &format!("/containers/{}/start", container.id), None);
        format!("started {status} {text}")
    }

    fn stop(&mut self, slot: usize) -> String {
        let Some(container) = &self.model.containers[slot] else { return "none".to_owned() };
        let (status, _) = self.engine.api("POST", &format!("/containers/{}/stop?t=0", container.id), None);
        format!("stopped {status}")
    }

    fn remove(&mut self, slot: usize, with_volumes: bool) -> String {
        let Some(mut container) = self.model.containers[slot].take() else { return "none".to_owned() };
        self.assert_never_lost(&container);
        self.claim_again(&mut container, Duration::ZERO);
        // What is away cannot be told apart from what somebody else made: then it is not ordered away.
        let is_known = container.volumes.values().all(Option::is_some);
        let v = u8::from(with_volumes && is_known);
        if v == 1 {
            self.model.removed_with_volumes(&container);
        }
        let path = format!("/containers/{}?force=1&v={v}", container.id);
        let (status, text) = self.engine.api("DELETE", &path, None);
        assert!(matches!(status, 204 | 404), "container {} is not removed: {status} {text}", container.id);
        format!("removed {} v={v}", &container.id[..12])
    }

    /// Looks for the data that was away when the container was made.
    fn claim_again(&mut self, container: &mut Container, patience: Duration) {
        let missing: Vec<String> = container
            .volumes
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in missing {
            let found = self.claim(&name, patience);
            container.volumes.insert(name, found);
        }
    }

    fn redeploy(&mut self, slot: usize, pause: u64) -> String {
        let named = self.model.containers[slot].as_ref().and_then(|container| container.named);
        let Some(name) = named else { return "no service".to_owned() };
        let removed = self.remove(slot, false);
        thread::sleep(Duration::from_millis(pause));
        let made = self.create(slot, Kind::Named(name));
        let started = self.start(slot);
        format!("{removed} {made} {started}")
    }

    fn ambush(&mut self, slot: usize, name: Name) -> String {
        let removed = self.remove(slot, false);
        let data = self.engine.volume_data(&name.text());
        let (began, mut was_there) = (Instant::now(), false);
        while began.elapsed() < AMBUSH && (!was_there || data.exists()) {
            was_there |= data.exists();
            thread::sleep(Duration::from_millis(1));
        }
        let is_away = was_there && !data.exists();
        let made = self.create(slot, Kind::Named(name));
        let started = self.start(slot);
        format!("{removed} away: {is_away} {made} {started}")
    }

    fn exec(&mut self, slot: usize) -> String {
        let Some(container) = self.model.containers[slot].clone() else { return "none".to_owned() };
        if self.inspect(&container.id)["State"]["Running"] != json!(true) {
            return "not running".to_owned();
        }
        let output = self.engine.try_docker(&["exec", &container.id, "cat", "/data/id"]);
        let read = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let known: Vec<&Identity> =
            container.volumes.values().flatten().chain(container.bound.as_ref()).collect();
        let tokens: Vec<&str> = known
            .iter()
            .filter_map(|identity| self.model.kept.get(identity))
            .map(|kept| kept.token.as_str())
            .collect();
        // A container with a bind may have been given a directory that the engine made for it.
        if !tokens.is_empty() && output.status.success() {
            assert!(
                tokens.contains(&read.as_str()),
                "container {container:?} reads {read:?}, not {tokens:?}"
            );
            self.reads += 1;
        }
        self.assert_never_lost(&container);
        format!("read {read:?}")
    }

    /// A container that lost its file ends by itself, and says so by its exit code.
    fn assert_never_lost(&self, container: &Container) {
        let (status, text) = self.engine.api("GET", &format!("/containers/{}/json", container.id), None);
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_ne!(
            told["State"]["ExitCode"],
            json!(LOST),
            "a running container lost its file: {status} {container:?}"
        );
    }

    fn create_volume(&mut self, name: Name) -> String {
        let mut labels = BTreeMap::from([("com.example.storm", "yes".to_owned())]);
        match name {
            Name::Service(number) => {
                labels.insert("com.docker.compose.project", "shop".to_owned());
                labels.insert("com.docker.compose.volume", format!("db{number}"));
            }
            Name::Disposable(_) => {
                labels.insert("com.example.disposable", "yes".to_owned());
            }
            Name::Back(_) | Name::Scratch(_) => {}
        }
        let text = name.text();
        let body = json!({ "Name": text, "Driver": "local", "Labels": labels }).to_string();
        let (status, answer) = self.engine.api("POST", "/volumes/create", Some(&body));
        if status != 201 {
            return format!("{status} {answer}");
        }
        match name {
            // Filled by the container that is made on it.
            Name::Service(_) | Name::Back(_) => {}
            Name::Scratch(_) | Name::Disposable(_) => {
                // A sweep may be faster: then it is an empty volume, of which nobody asks.
                if let Ok(opened) = Opened::open(&self.engine.volume_data(&text)) {
                    let identity = self.claim_opened(&text, &opened, false);
                    if matches!(name, Name::Disposable(_)) {
                        self.model.may_go(&identity, "of no worth, and never referenced");
                    }
                }
            }
        }
        "made".to_owned()
    }

    fn remove_volume(&mut self, name: Name) -> String {
        let text = name.text();
        if matches!(name, Name::Service(_)) {
            return self.remove_service_volume(name);
        }
        // Whatever has the name now, or had it and is on its way back: all of it was scratch.
        let ends: Vec<Identity> = self
            .model
            .kept
            .iter()
            .filter(|(_, kept)| kept.token.ends_with(&format!("-{text}")))
            .map(|(identity, _)| *identity)
            .collect();
        for identity in ends {
            self.model.may_go(&identity, "removed by hand");
        }
        let (status, answer) = self.engine.api("DELETE", &format!("/volumes/{text}"), None);
        format!("{status} {answer}")
    }

    /// What a container uses the engine refuses to remove; who uses it by its path or has mounted it knows better than to.
    fn remove_service_volume(&mut self, name: Name) -> String {
        let is_bound = self.model.containers.iter().flatten().any(|container| container.binds == Some(name));
        let is_mounted = self.mounts.iter().flatten().any(|mounted| mounted.name == name);
        if is_bound || is_mounted {
            return "used by its path".to_owned();
        }
        let before = self.seen_twice();
        let (status, answer) = self.engine.api("DELETE", &format!("/volumes/{}", name.text()), None);
        if status == 204 {
            let gone = self.model.removed_by_hand(name, &before, &self.seen_twice());
            self.removed_by_hand += gone as u64;
            return format!("{status}, with {gone}");
        }
        assert!(matches!(status, 404 | 409), "volume {}: {status} {answer}", name.text());
        format!("{status} {answer}")
    }

    /// All data that there is. What moves while one looks can be missed, but hardly twice.
    fn seen_twice(&self) -> BTreeSet<Identity> {
        (0..2).flat_map(|_| scan(self.engine).places.into_keys()).collect()
    }

    fn mount(&mut self, mount: usize, name: Name) -> String {
        self.unmount(mount);
        let (data, path) =
            (self.engine.volume_data(&name.text()), self.engine.dir().join(format!("mount{mount}")));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        let output =
            Command::new("mount").arg("--bind").arg(&data).arg(&path).output().expect("mount can be run");
        if !output.status.success() {
            return "nothing to mount".to_owned();
        }
        let token = std::fs::read_to_string(path.join("id")).ok();
        self.mounts[mount] = Some(Mounted { name, path, token: token.clone() });
        format!("mounted {token:?}")
    }

    fn unmount(&mut self, mount: usize) -> String {
        let Some(mounted) = self.mounts[mount].take() else { return "none".to_owned() };
        if let Some(token) = &mounted.token {
            let now = std::fs::read_to_string(mounted.path.join("id")).ok();
            assert_eq!(now.as_ref(), Some(token), "a volume that was mounted on the host lost its content");
            self.reads += 1;
        }
        let output = Command::new("umount").arg(&mounted.path).output().expect("umount can be run");
        assert!(output.status.success(), "{output:?}");
        "unmounted".to_owned()
    }

    /// When nothing moves: every container has what it was made on, and each of them can read it.
    pub fn assert_containers_well(&mut self) {
        for slot in 0..self.model.containers.len() {
            let Some(mut container) = self.model.containers[slot].clone() else { continue };
            self.assert_never_lost(&container);
            self.claim_again(&mut container, Duration::ZERO);
            for (name, wanted) in &container.volumes {
                let found = Opened::open(&self.engine.volume_data(name)).and_then(|opened| opened.identity());
                let found = found.unwrap_or_else(|error| {
                    panic!("volume {name} of container {container:?} is away: {error}")
                });
                assert_eq!(Some(found), *wanted, "volume {name} of container {container:?} is another one");
            }
            self.model.containers[slot] = Some(container);
        }
    }

    /// At the end: each container with a volume starts, and reads its file.
    pub fn assert_containers_start(&mut self) {
        for slot in 0..self.model.containers.len() {
            let Some(container) = self.model.containers[slot].clone() else { continue };
            if container.volumes.is_empty() {
                continue;
            }
            let (status, text) =
                self.engine.api("POST", &format!("/containers/{}/start", container.id), None);
            assert!(matches!(status, 204 | 304), "container {container:?} does not start: {status} {text}");
            self.exec(slot);
        }
    }

    /// Everybody goes home: no container, no mount.
    pub fn leave(&mut self) {
        (0..MOUNTS).for_each(|mount| {
            self.unmount(mount);
        });
        for slot in 0..self.model.containers.len() {
            self.remove(slot, false);
        }
    }
}
