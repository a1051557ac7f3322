//! A Docker Engine of a test's own.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{http, show, takedown, tree};

/// How often a condition is looked at again.
pub(super) const POLL: Duration = Duration::from_millis(5);
/// Longest start of an engine, with much to spare: a loaded machine is no failure of the product.
pub(super) const START_LIMIT: Duration = Duration::from_mins(1);
/// Longest answer to a request that is not meant to hang.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_mins(2);
pub(super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The versions that the tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Debian 12's engine, as installed on the machine.
    V20_10,
    /// Debian 13's engine, from the tree that `tests/setup` builds.
    V26_1,
    /// The engine of the Debian release after that, from another such tree.
    V28_5,
}

impl Version {
    /// All versions.
    pub const ALL: [Self; 3] = [Self::V20_10, Self::V26_1, Self::V28_5];

    /// The root of the tree with this version's programs; none when they are the machine's own.
    pub(super) fn tree(self) -> Option<PathBuf> {
        let suite = match self {
            Self::V20_10 => return None,
            Self::V26_1 => "trixie",
            Self::V28_5 => "forky",
        };
        Some(engines_dir().join(suite))
    }

    fn program(self, path: &str) -> PathBuf {
        let full = self.tree().unwrap_or_else(|| PathBuf::from("/")).join(path);
        assert!(
            full.is_file(),
            "no {}: the Docker Engine of {self:?} is missing: run tests/setup",
            full.display()
        );
        full
    }
}

/// The project's directory.
pub fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Where `tests/setup` puts what the tests need.
pub(super) fn engines_dir() -> PathBuf {
    std::env::var_os("VOLGC_ENGINES_DIR").map_or_else(|| project().join("target/engines"), PathBuf::from)
}

/// How an engine is to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    version: Version,
    pub(super) storage_driver: Option<String>,
    pub(super) live_restore: bool,
    pub(super) data_root: Option<PathBuf>,
    pub(super) root_script: Option<String>,
    pub(super) arguments: Vec<OsString>,
    pub(super) images: bool,
    pub(super) own_root: Option<String>,
    pub(super) daemon_json: String,
}

impl Builder {
    /// Another storage driver than the best that works here.
    #[must_use]
    pub fn storage_driver(mut self, name: &str) -> Self {
        self.storage_driver = Some(name.to_owned());
        self
    }

    /// Whether containers outlive the daemon.
    #[must_use]
    pub fn live_restore(mut self, on: bool) -> Self {
        self.live_restore = on;
        self
    }

    /// Another data root, which the caller provides and deletes.
    #[must_use]
    pub fn data_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_root = Some(path.into());
        self
    }

    /// A data root on a file system of its own: a shell script that mounts one on `$1/d`, from whatever it makes in `$1`, the engine's
    /// directory. What it mounts there, and every process that it leaves, ends with the engine.
    #[must_use]
    pub fn root_on(mut self, script: impl Into<String>) -> Self {
        self.root_script = Some(script.into());
        self
    }

    /// A further argument for dockerd.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A root and a mount namespace of its own also for the machine's engine, and a shell script that runs there before the engine does,
    /// to give it other files in `/etc`. The engines of the trees have both anyway.
    #[must_use]
    pub fn own_root(mut self, script: &str) -> Self {
        self.own_root = Some(script.to_owned());
        self
    }

    /// What is in its `daemon.json`.
    #[must_use]
    pub fn daemon_json(mut self, text: &str) -> Self {
        text.clone_into(&mut self.daemon_json);
        self
    }

    /// Without the test images, for tests that run no container.
    #[must_use]
    pub fn without_images(mut self) -> Self {
        self.images = false;
        self
    }

    /// Starts the engine and waits until it answers.
    pub fn start(self) -> PrivateEngine {
        // Looked for first, so that nothing is made when an engine is missing.
        let found = self.version.program("usr/sbin/dockerd");
        // In a root of its own it has the same path.
        let dockerd = self.version.tree().map_or(found, |_| PathBuf::from("/usr/sbin/dockerd"));
        assert!(rustix::process::geteuid().is_root(), "private engines need root: run the tests as root");
        let base = std::env::temp_dir();
        // A slip of a test must not start an engine over the machine's own data.
        if let Some(root) = &self.data_root {
            assert!(
                root.starts_with(&base),
                "{}: a data root must lie below {}",
                root.display(),
                base.display()
            );
        }
        takedown::sweep(&base);
        let dir = tempfile::Builder::new()
            .prefix(takedown::PREFIX)
            .tempdir_in(&base)
            .unwrap_or_else(|error| panic!("cannot make a directory in {}: {error}", base.display()))
            // Deleted by the take-down, which alone can cope with what is in it.
            .keep();
        // 108 bytes is the limit of a socket's path, and containerd's are 45 longer than the directory.
        assert!(dir.as_os_str().len() < 60, "{}: too long for sockets below it: set TMPDIR", dir.display());
        let lock = lock(&dir).unwrap_or_else(|error| panic!("cannot lock {}: {error}", dir.display()));
        let root = self.data_root.clone().unwrap_or_else(|| dir.join("d"));
        let engine =
            PrivateEngine { dockerd, root, options: self, state: Mutex::default(), _lock: lock, dir };
        engine.set_up();
        engine
    }
}

/// A running engine of a test's own; gone with everything in it when dropped.
#[derive(Debug)]
pub struct PrivateEngine {
    pub(super) dir: PathBuf,
    pub(super) root: PathBuf,
    pub(super) dockerd: PathBuf,
    pub(super) options: Builder,
    state: Mutex<State>,
    /// Says to other test processes that this engine is in use.
    _lock: File,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) daemon: Option<Child>,
    /// Beside the daemon, as where systemd starts both: it outlives a daemon that is killed. (One that dockerd starts
    /// for itself also costs a second at the start and another at the end.)
    pub(super) containerd: Option<Child>,
    /// Keeps the mount namespace of an engine that has a root of its own.
    pub(super) namespace: Option<Namespace>,
}

#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) keeper: Child,
    /// Closed when the test process ends, however it ends.
    pub(super) _input: Option<ChildStdin>,
}

impl PrivateEngine {
    /// Starts an engine with the usual options.
    pub fn start(version: Version) -> Self {
        Self::builder(version).start()
    }

    /// Starts an engine with other options.
    pub fn builder(version: Version) -> Builder {
        Builder {
            version,
            storage_driver: None,
            live_restore: false,
            data_root: None,
            root_script: None,
            arguments: Vec::new(),
            images: true,
            own_root: None,
            daemon_json: "{}".to_owned(),
        }
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// The directory that holds all of this engine. Tests may put files there: inside and outside of the newer
    /// engine's root it is at the same path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The engine's data root (`DockerRootDir`).
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The directory of the engine's local volumes.
    pub fn volumes_dir(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The daemon's log file.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Runs the version's own command line client, which must succeed, and returns what it wrote, trimmed.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.try_docker(arguments);
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        assert!(output.status.success(), "docker {}: {}", words.join(" "), show(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs the version's own command line client, whatever comes of it.
    pub fn try_docker<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        self.docker_command(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run the docker client: {error}: run tests/setup"))
    }

    /// The client's command, for what must run beside the test. Nothing of the machine's environment reaches it.
    pub fn docker_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let client = self.version().program("usr/bin/docker");
        let mut command = match self.version().tree() {
            None => Command::new(client),
            Some(tree) => {
                // Through the tree's own loader rather than in its root: so the client sees the test's files.
                let (loader, libraries) = loader(&tree);
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(libraries).arg(client);
                command
            }
        };
        let mut host = OsString::from("unix://");
        host.push(self.socket());
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", &self.dir)
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .env(takedown::MARK, &self.dir)
            .arg("-H")
            .arg(host)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Sends a request, with JSON as its body, and returns the status code and the body of the answer.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        self.try_api(method, path, body, ANSWER_LIMIT)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log_tail()))
    }

    /// Sends a request to an engine that may be down, paused or slow.
    pub fn try_api(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        limit: Duration,
    ) -> io::Result<(u16, String)> {
        http::request(
            &self.socket(),
            method,
            path,
            "application/json",
            body.unwrap_or_default().as_bytes(),
            limit,
        )
    }

    /// Sends a request that must succeed, and returns the answer as JSON (null when it is empty).
    #[track_caller]
    pub fn json(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let (status, text) = self.api(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status}: {text}");
        if text.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{method} {path}: no JSON ({error}): {text}"))
    }

    /// The names of all volumes that the engine knows, sorted.
    #[track_caller]
    pub fn volume_names(&self) -> Vec<String> {
        let answer = self.json("GET", "/volumes", None);
        let mut names: Vec<String> = answer["Volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|volume| Some(volume["Name"].as_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// Creates a local volume.
    #[track_caller]
    pub fn create_volume(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|&(key, value)| (key.to_owned(), Value::from(value))).collect();
        let body = json!({ "Name": name, "Driver": "local", "Labels": labels }).to_string();
        self.json("POST", "/volumes/create", Some(&body));
    }

    /// The directory with a local volume's data.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volumes_dir().join(name).join("_data")
    }

    /// Writes believable content into a volume, the same for the same seed, and returns its [`tree::tree_digest`].
    #[track_caller]
    pub fn fill_volume(&self, name: &str, seed: u64) -> String {
        tree::fill(&self.volume_data(name), seed)
    }

    /// The daemon's process id; none when it was killed.
    pub fn pid(&self) -> Option<u32> {
        self.state().daemon.as_ref().map(Child::id)
    }

    /// Kills the daemon as the kernel would when memory is short: no chance to write anything.
    pub fn kill(&self) {
        if let Some(mut daemon) = self.state().daemon.take() {
            daemon.kill().unwrap_or_else(|error| panic!("cannot kill dockerd: {error}"));
            wait(&mut daemon, START_LIMIT);
        }
    }

    /// Stops the daemon in good order, as `systemctl stop docker` does.
    pub fn stop(&self) {
        if let Some(mut daemon) = self.state().daemon.take() {
            signal(&daemon, Signal::CONT);
            signal(&daemon, Signal::TERM);
            let ended = wait(&mut daemon, Duration::from_secs(30)).is_some();
            assert!(ended, "dockerd did not stop within 30 seconds\n{}", self.log_tail());
        }
    }

    /// Renames the docker root of an engine that was stopped. It binds its root to itself, and leaves that when the machine is busy.
    #[track_caller]
    pub fn move_root(&self, to: &Path) {
        let root = self.root();
        super::wait_until("the docker root can be renamed", || match fs::rename(&root, to) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                // What is no mount point is busy otherwise, and for a moment only.
                rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).unwrap_or_default();
                false
            }
            Err(error) => panic!("{} cannot be renamed: {error}", root.display()),
        });
    }

    /// Stops the daemon if it runs, and starts it again over the same data.
    pub fn restart(&self) {
        self.stop();
        self.start_daemon();
    }

    /// Freezes the daemon (SIGSTOP): connections are made, but nothing is answered.
    pub fn pause(&self) {
        if let Some(daemon) = &self.state().daemon {
            signal(daemon, Signal::STOP);
            // The signal is only under way: a thread on another processor could still answer.
            let threads = PathBuf::from(format!("/proc/{}/task", daemon.id()));
            let stopped = || {
                fs::read_dir(&threads)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .all(|thread| matches!(takedown::state(&thread.path()), None | Some(b'T')))
            };
            let deadline = Instant::now() + START_LIMIT;
            while !stopped() {
                assert!(Instant::now() < deadline, "dockerd does not stop\n{}", self.log_tail());
                sleep(POLL);
            }
        }
    }

    /// Lets a paused daemon go on.
    pub fn resume(&self) {
        self.state().daemon.iter().for_each(|daemon| signal(daemon, Signal::CONT));
    }

    /// A command in the engine's mount namespace, to mount something where the daemon sees it. The programs are the
    /// engine's: those of its tree, if it has one.
    pub fn command_inside(&self, program: &str) -> Command {
        let mut command = match &self.state().namespace {
            None => Command::new(program),
            Some(namespace) => {
                let keeper = namespace.keeper.id();
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--mount=/proc/{keeper}/ns/mnt"))
                    .arg(format!("--root=/proc/{keeper}/root"))
                    .arg("--")
                    .arg(program);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", &self.dir)
            .env(takedown::MARK, &self.dir)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Whether the daemon runs and answers within the limit.
    pub fn answers(&self, limit: Duration) -> bool {
        self.pid().is_some() && matches!(self.try_api("GET", "/_ping", None, limit), Ok((200, _)))
    }

    /// The process ids of the engine itself: daemon, containerd, and what keeps its mount namespace.
    pub(super) fn processes(&self) -> Vec<u32> {
        let state = self.state();
        let keeper = state.namespace.as_ref().map(|namespace| namespace.keeper.id());
        let children = [&state.daemon, &state.containerd].into_iter().flatten().map(Child::id);
        children.chain(keeper).collect()
    }

    /// The mount points below the engine's directory and data root, outside and inside of its root, in the kernel's order.
    pub(super) fn mounts(&self) -> Vec<String> {
        let keeper = self.state().namespace.as_ref().map(|namespace| namespace.keeper.id());
        let tables = [Some("self".to_owned()), keeper.map(|keeper| keeper.to_string())];
        let below =
            |point: &str| Path::new(point).starts_with(&self.dir) || Path::new(point).starts_with(&self.root);
        let points = |process: String| {
            let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
            let points = table.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| below(point));
            points.map(str::to_owned).collect::<Vec<_>>()
        };
        tables.into_iter().flatten().flat_map(points).collect()
    }

    /// The end of the daemon's log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("[core]") && !line.contains("loading plugin"))
            .collect();
        let start = lines.len().saturating_sub(40);
        format!("--- the last lines of {}\n{}", self.log().display(), lines[start..].join("\n"))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // Not in good order: nobody needs what the daemon would still write.
        let mut children = {
            let mut state = self.state();
            let keeper = state.namespace.take().map(|namespace| namespace.keeper);
            [state.daemon.take(), state.containerd.take(), keeper]
        };
        let result = takedown::take_down(&self.dir);
        for child in children.iter_mut().flatten() {
            child.wait().ok();
        }
        if let Err(left) = result {
            if std::thread::panicking() {
                // A second panic would hide the first.
                eprintln!("left behind by the engine in {}:\n{left}", self.dir.display());
            } else {
                panic!("left behind by the engine in {}:\n{left}", self.dir.display());
            }
        }
    }
}

/// The lock appears under its name only when it is held, see [`takedown::sweep`].
pub(super) fn lock(dir: &Path) -> io::Result<File> {
    let unlocked = dir.join("lock.new");
    let lock = File::create(&unlocked)?;
    lock.lock()?;
    fs::rename(unlocked, dir.join(takedown::LOCK))?;
    Ok(lock)
}

/// The dynamic loader of a tree, and the directory of its libraries.
fn loader(tree: &Path) -> (PathBuf, PathBuf) {
    let find = |dir: &Path, matches: &dyn Fn(&str) -> bool| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|n| matches(&n.to_string_lossy())))
    };
    find(&tree.join("usr/lib"), &|name| name.ends_with("-linux-gnu"))
        .and_then(|libraries| {
            let loader = find(&libraries, &|name| name.starts_with("ld-linux") || name.starts_with("ld64"))?;
            Some((loader, libraries))
        })
        .unwrap_or_else(|| panic!("no dynamic loader in {}: delete it and run tests/setup", tree.display()))
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
        panic!("cannot signal dockerd: {error}");
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => sleep(POLL),
            Ok(status) => return status,
            Err(error) => panic!("cannot wait for dockerd: {error}"),
        }
    }
}
