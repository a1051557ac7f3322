//! Swarm nodes, several of which can be on one machine.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

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
