//! A plugin of the engine's first kind: a server on a Unix socket, which the engine finds by its name in a directory.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::PrivateEngine;

/// Gone from the engine's directory when dropped.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    socket: PathBuf,
    ends: Arc<AtomicBool>,
}

impl Plugin {
    /// Starts one that implements `what`, as `authz`. `answer` is given each call, as `VolumeDriver.List`, with what it says.
    pub fn start(
        engine: &PrivateEngine,
        what: &str,
        answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("volgc-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = run_of(engine).join("docker/plugins");
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        let socket = dir.join(format!("{name}.sock"));
        let listener =
            UnixListener::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let ends = Arc::new(AtomicBool::new(false));
        let (what, of_thread, answer) = (what.to_owned(), Arc::clone(&ends), Arc::new(answer));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.load(Ordering::Acquire) {
                    break;
                }
                let (what, answer) = (what.clone(), Arc::clone(&answer));
                // An error is an engine that went away.
                thread::spawn(move || serve(&client, &what, &*answer).ok());
            }
        });
        Self { name, socket, ends }
    }

    /// Gives the engine a directory of plugins of its own, where it has none: every engine of the machine asks each volume plugin in
    /// the common one for its volumes.
    pub fn keep_apart(engine: &PrivateEngine) {
        if engine.version().tree().is_some() {
            return;
        }
        let process = engine.pid().unwrap_or_else(|| panic!("the engine does not run"));
        let arguments = fs::read(format!("/proc/{process}/cmdline"))
            .unwrap_or_else(|error| panic!("cannot read the engine's arguments: {error}"));
        engine.stop();
        let mut command = engine.command_inside("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg("mount -t tmpfs tmpfs /run/docker && mkdir /run/docker/plugins && exec \"$@\"")
            .arg("sh")
            .args(arguments.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(OsStr::from_bytes))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        fs::create_dir_all("/run/docker").unwrap_or_else(|error| panic!("cannot make /run/docker: {error}"));
        for stale in ["pid", "s"] {
            fs::remove_file(engine.dir().join(stale)).ok();
        }
        let daemon = command.spawn().unwrap_or_else(|error| panic!("cannot run unshare: {error}"));
        engine.state().daemon = Some(daemon);
        let answers = || engine.try_api("GET", "/_ping", None, Duration::from_secs(5)).is_ok();
        super::wait_until("the engine answers again", answers);
    }

    /// The name by which the engine knows it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The engine's /run, by a path that does not end with its process where there is one.
fn run_of(engine: &PrivateEngine) -> PathBuf {
    if engine.version().tree().is_some() {
        return engine.dir().join("run");
    }
    let process = engine.pid().unwrap_or_else(|| panic!("the engine does not run"));
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    if namespace(&process.to_string()) == namespace("self") {
        return PathBuf::from("/run");
    }
    PathBuf::from(format!("/proc/{process}/root/run"))
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        UnixStream::connect(&self.socket).ok();
        fs::remove_file(&self.socket).ok();
    }
}

fn serve(
    client: &UnixStream,
    what: &str,
    answer: &(dyn Fn(&str, &Value) -> Value + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let call = line.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let said = if call == "Plugin.Activate" {
            json!({ "Implements": [what] })
        } else {
            answer(&call, &serde_json::from_slice(&body).unwrap_or_default())
        };
        let said = said.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json";
        let mut client = client;
        write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{said}", said.len())?;
    }
}
