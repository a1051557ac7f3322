//! An engine that says what a test wants it to, for answers that no real one gives on demand.
//!
//! It serves a small world: the volumes `orphan` and `used`, and the container `web` that uses `used`, over a docker root
//! of its own with believable content. Any answer can be replaced, and every request is written down.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::spawn;

use serde_json::{Value, json};

use super::recording::read_head;
use super::tree;

/// The engine's and its container's IDs.
pub const ENGINE_ID: &str = "FAKE:ENGINE:ID";
/// See [`ENGINE_ID`].
pub const CONTAINER_ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

/// What is answered to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A whole answer: status and body.
    Whole(u16, String),
    /// Exactly these bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Exactly these bytes, and nothing more, ever.
    Stall(Vec<u8>),
}

impl Answer {
    /// A whole answer with this JSON.
    pub fn json(value: &Value) -> Self {
        Self::Whole(200, value.to_string())
    }
}

type Replacement = Box<dyn Fn(usize) -> Option<Answer> + Send>;

/// What the engine knows, and what it answers instead of it.
pub struct World {
    /// `GET /version`.
    pub version: Value,
    /// `GET /info`.
    pub info: Value,
    /// `GET /volumes`: the list alone.
    pub volumes: Vec<Value>,
    /// `GET /containers/json?all=1`.
    pub containers: Value,
    replaced: Vec<(&'static str, usize, Replacement)>,
    requests: Vec<String>,
    stalled: Vec<UnixStream>,
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("World").field("volumes", &self.volumes).finish_non_exhaustive()
    }
}

impl World {
    /// Answers every GET of a path (without version and query) with this.
    pub fn replace(&mut self, path: &'static str, answer: Answer) {
        self.replace_with(path, move |_| Some(answer.clone()));
    }

    /// Answers the GETs of a path with what the function makes of their number, from 0; with none, as the world is.
    pub fn replace_with(
        &mut self,
        path: &'static str,
        answer: impl Fn(usize) -> Option<Answer> + Send + 'static,
    ) {
        self.replaced.push((path, 0, Box::new(answer)));
    }

    fn answer(&mut self, method: &str, target: &str) -> Answer {
        let path = target.split('?').next().unwrap_or_default();
        let path = match path.strip_prefix("/v") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                rest.find('/').map_or("", |slash| &rest[slash..])
            }
            _ => path,
        };
        if method == "GET"
            && let Some((_, asked, replacement)) =
                self.replaced.iter_mut().rev().find(|(replaced, ..)| *replaced == path)
        {
            *asked += 1;
            if let Some(answer) = replacement(*asked - 1) {
                return answer;
            }
        }
        let named = path.strip_prefix("/volumes/").unwrap_or_default();
        let known = self.volumes.iter().position(|volume| volume["Name"] == named);
        match (method, path, known) {
            ("GET", "/version", _) => Answer::json(&self.version),
            ("GET", "/info", _) => Answer::json(&self.info),
            ("GET", "/volumes", _) if target.contains("dangling") => {
                let users = self.containers.to_string();
                let unused =
                    self.volumes.iter().filter(|volume| !users.contains(&volume["Name"].to_string()));
                Answer::json(&json!({ "Volumes": unused.collect::<Vec<_>>(), "Warnings": null }))
            }
            ("GET", "/volumes", _) => Answer::json(&json!({ "Volumes": self.volumes, "Warnings": null })),
            // A stream without an end, of nothing. What happened before is not remembered.
            ("GET", "/events", _) if !target.contains("until=") => Answer::Stall(
                b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .to_vec(),
            ),
            ("GET", "/containers/json", _) => Answer::json(&self.containers),
            ("GET", _, Some(at)) => Answer::json(&self.volumes[at]),
            ("DELETE", _, Some(at)) => {
                let mountpoint = self.volumes.remove(at)["Mountpoint"].as_str().map(PathBuf::from);
                if let Some(directory) = mountpoint.as_deref().and_then(Path::parent) {
                    fs::remove_dir_all(directory).ok();
                }
                Answer::Whole(204, String::new())
            }
            _ => Answer::Whole(404, json!({ "message": format!("no {method} {path} here") }).to_string()),
        }
    }
}

/// The engine; its socket and its docker root are gone when it is dropped.
#[derive(Debug)]
pub struct Fake {
    dir: tempfile::TempDir,
    world: Arc<Mutex<World>>,
}

impl Fake {
    /// Starts one with the usual world.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("volgc-fake-")
            .tempdir()
            .unwrap_or_else(|error| panic!("cannot make a directory: {error}"));
        let root = dir.path().join("root");
        let make = |path: PathBuf| {
            fs::create_dir_all(&path)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
            path
        };
        let beside = make(root.join("containers").join(CONTAINER_ID));
        fs::write(beside.join("hostconfig.json"), "{}")
            .unwrap_or_else(|error| panic!("cannot write to {}: {error}", beside.display()));
        tree::fill(&make(root.join("volumes/orphan/_data")), 1);
        tree::fill(&make(root.join("volumes/used/_data")), 2);
        let root = root.display().to_string();
        let world = World {
            version: json!({ "ApiVersion": "1.45", "MinAPIVersion": "1.24", "Components": [{ "Name": "Engine" }] }),
            info: json!({
                "ID": ENGINE_ID, "Containers": 1, "ServerVersion": "26.1.5", "DockerRootDir": root,
                "Driver": "overlay2", "LiveRestoreEnabled": false, "Swarm": { "LocalNodeState": "inactive" },
            }),
            volumes: vec![volume(&root, "orphan"), volume(&root, "used")],
            containers: json!([container(
                CONTAINER_ID,
                &json!([{
                    "Type": "volume", "Name": "used", "Source": format!("{root}/volumes/used/_data"),
                    "Destination": "/data", "Driver": "local",
                }])
            )]),
            replaced: Vec::new(),
            requests: Vec::new(),
            stalled: Vec::new(),
        };
        let fake = Self { dir, world: Arc::new(Mutex::new(world)) };
        let socket = fake.socket();
        let listener = UnixListener::bind(&socket)
            .unwrap_or_else(|error| panic!("cannot listen at {}: {error}", socket.display()));
        let world = Arc::clone(&fake.world);
        spawn(move || {
            for client in listener.incoming().flatten() {
                let world = Arc::clone(&world);
                spawn(move || serve(client, &world).ok());
            }
        });
        fake
    }

    /// The directory that holds all of it. Tests may put files there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("s")
    }

    /// Its docker root.
    pub fn root(&self) -> PathBuf {
        self.dir().join("root")
    }

    /// The directory with a volume's data.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.root().join("volumes").join(name).join("_data")
    }

    /// Makes a volume known, and its directory.
    pub fn add_volume(&self, name: &str) {
        let data = self.volume_data(name);
        fs::create_dir_all(&data).unwrap_or_else(|error| panic!("cannot make {}: {error}", data.display()));
        let volume = volume(&self.root().display().to_string(), name);
        self.world().volumes.push(volume);
    }

    /// Changes what it knows or answers from now on.
    pub fn set(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world());
    }

    /// Takes back every replaced answer.
    pub fn restore_answers(&self) {
        self.world().replaced.clear();
    }

    /// What was asked since the last call, as `GET /v1.41/info`, in order.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.world().requests)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A local volume as the engine lists it.
pub fn volume(root: &str, name: &str) -> Value {
    json!({
        "Name": name, "Driver": "local", "Scope": "local", "Labels": null, "Options": null,
        "Mountpoint": format!("{root}/volumes/{name}/_data"), "CreatedAt": "2024-01-01T00:00:00Z",
    })
}

/// A container as the engine lists it.
pub fn container(id: &str, mounts: &Value) -> Value {
    json!({ "Id": id, "Names": ["/web"], "Image": "bb", "State": "exited", "Labels": {}, "Mounts": mounts })
}

fn serve(mut client: UnixStream, world: &Mutex<World>) -> io::Result<()> {
    let (head, _) = read_head(&mut client)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let answer = {
        let mut world = lock(world);
        world.requests.push(format!("{method} {target}"));
        world.answer(method, target)
    };
    match answer {
        Answer::Whole(status, body) => write!(
            client,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        ),
        Answer::Bytes(bytes) => client.write_all(&bytes),
        Answer::Stall(bytes) => {
            client.write_all(&bytes)?;
            lock(world).stalled.push(client);
            Ok(())
        }
    }
}
