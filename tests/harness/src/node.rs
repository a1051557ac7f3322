//! Swarm nodes, several of which can be on one machine.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{PrivateEngine, Version, show};

/// A node with an address and a bridge of its own.
#[derive(Debug)]
pub struct Node {
    /// Its engine.
    pub engine: PrivateEngine,
    /// Where it listens: an address of the loopback device.
    pub address: String,
    bridge: String,
}

impl Node {
    /// An engine outside of any swarm.
    pub fn new(version: Version) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let node = Self {
            engine: PrivateEngine::start(version),
            address: format!("127.{}.{}.{count}", 1 + process / 250 % 200, 1 + process % 250),
            bridge: format!("vg{process}n{count}"),
        };
        // The engine would make it by itself, under a name that all engines of the machine share.
        let name = format!("com.docker.network.bridge.name={}", node.bridge);
        let options = ["--opt", &name, "--opt", "com.docker.network.bridge.enable_icc=false"];
        let create =
            [&["network", "create", "--driver", "bridge"][..], &options, &["docker_gwbridge"]].concat();
        node.engine.docker(&create);
        node
    }

    /// Where other nodes find it.
    pub fn listen(&self) -> String {
        format!("{}:2377", self.address)
    }

    /// A manager of a new swarm.
    pub fn manager(version: Version) -> Self {
        let node = Self::new(version);
        let listen = node.listen();
        node.engine.docker(&["swarm", "init", "--advertise-addr", &node.address, "--listen-addr", &listen]);
        node
    }

    /// A worker of another node's swarm.
    pub fn worker_of(manager: &Self) -> Self {
        let node = Self::new(manager.engine.version());
        let token = manager.engine.docker(&["swarm", "join-token", "--quiet", "worker"]);
        let (listen, other) = (node.listen(), manager.listen());
        let join = ["swarm", "join", "--token", &token, "--advertise-addr", &node.address];
        node.engine.docker(&[&join[..], &["--listen-addr", &listen, &other]].concat());
        node
    }

    /// A service without tasks, so that no container gives its mounts away.
    pub fn idle_service(&self, name: &str, mounts: &[&str]) {
        let create =
            ["service", "create", "--detach", "--no-resolve-image", "--replicas", "0", "--name", name];
        let mounts: Vec<&str> = mounts.iter().flat_map(|mount| ["--mount", mount]).collect();
        self.engine.docker(&[&create[..], &mounts, &["bb", "sleep", "1000"]].concat());
    }

    /// Volumes with believable content.
    pub fn create_volumes(&self, names: &[&str]) {
        for (seed, name) in names.iter().enumerate() {
            self.engine.create_volume(name, &[]);
            self.engine.fill_volume(name, seed as u64);
        }
    }

    /// Waits until GET /services answers with this status.
    pub fn wait_for_services(&self, status: u16) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.engine.api("GET", "/v1.41/services", None).0 != status {
            assert!(Instant::now() < deadline, "GET /services never answered {status}");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The daemon would keep it, and make it again when it starts.
        self.engine.kill();
        let problem = match Command::new("ip").args(["link", "delete", &self.bridge]).output() {
            Ok(output) if output.status.success() => return,
            Ok(output) => show(&output),
            Err(error) => format!("cannot run ip: {error}: run tests/setup"),
        };
        if std::thread::panicking() {
            // A second panic would hide the first.
            eprintln!("bridge {} is left behind: {problem}", self.bridge);
        } else {
            panic!("bridge {} is left behind: {problem}", self.bridge);
        }
    }
}
