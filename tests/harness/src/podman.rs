//! Podman behind its Docker API, of a test's own.
//!
//! Its storage, run directory, locks, OCI runtime state and socket lie below a fresh temporary directory, and its control group
//! carries that directory's name, so that it is taken down as an engine is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Instant;

use super::engine::{ANSWER_LIMIT, POLL, SEARCH_PATH, START_LIMIT, lock};
use super::{http, show, takedown};

const PODMAN: &str = "/usr/bin/podman";
const BUSYBOX: &str = "/bin/busybox";

/// A running `podman system service`; gone with everything in it when dropped.
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
    service: std::process::Child,
    _lock: File,
}

impl Podman {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        assert!(Path::new(PODMAN).is_file(), "no {PODMAN}: run tests/setup");
        assert!(rustix::process::geteuid().is_root(), "run the tests as root");
        takedown::sweep(&std::env::temp_dir());
        let dir = tempfile::Builder::new()
            .prefix(takedown::PREFIX)
            .tempdir()
            .unwrap_or_else(|error| panic!("cannot make a directory: {error}"))
            // Deleted by the take-down, which unmounts first.
            .keep();
        let lock = lock(&dir).unwrap_or_else(|error| panic!("cannot lock {}: {error}", dir.display()));
        set_up(&dir).unwrap_or_else(|error| panic!("cannot set up podman in {}: {error}", dir.display()));
        let log = File::create(dir.join("log")).unwrap_or_else(|error| panic!("cannot make a log: {error}"));
        let address = format!("unix://{}", dir.join("s").display());
        let service = command(&dir, &["system", "service", "--time", "0", &address])
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run podman: {error}"));
        let podman = Self { dir, service, _lock: lock };
        let deadline = Instant::now() + START_LIMIT;
        while UnixStream::connect(podman.socket()).is_err() {
            assert!(Instant::now() < deadline, "podman does not answer");
            sleep(POLL);
        }
        podman
    }

    /// The directory that holds all of it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the service listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The root of its storage, which its Docker API calls `DockerRootDir`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("d")
    }

    /// The directory with a volume's data.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.root().join("volumes").join(name).join("_data")
    }

    /// Runs the command line, which must succeed, and returns what it wrote, trimmed.
    #[track_caller]
    pub fn podman<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.try_podman(arguments);
        assert!(output.status.success(), "{}", show(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs the command line, whatever comes of it.
    pub fn try_podman<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        command(&self.dir, arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run podman: {error}: run tests/setup"))
    }

    /// The arguments that make a container without network from a root file system with busybox, to be followed by its command.
    pub fn container<'a>(&self, verb: &'a str, name: &'a str, mount: &'a str) -> Vec<String> {
        let group = format!("--cgroup-parent=/{}", takedown::name(&self.dir));
        let files = self.dir.join("fs").display().to_string();
        [verb, "--name", name, "--network", "none", &group, "-v", mount, "--rootfs", &files]
            .map(str::to_owned)
            .into()
    }

    /// Sends a request to the Docker API, and returns the status code and the body of the answer.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str) -> (u16, String) {
        http::request(&self.socket(), method, path, "application/json", b"", ANSWER_LIMIT)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let result = takedown::take_down(&self.dir);
        self.service.wait().ok();
        if let Err(left) = result {
            assert!(std::thread::panicking(), "left behind by podman in {}:\n{left}", self.dir.display());
        }
    }
}

fn set_up(dir: &Path) -> std::io::Result<()> {
    for part in ["d", "run", "tmp", "runtime", "fs/bin"] {
        fs::create_dir_all(dir.join(part))?;
    }
    fs::copy(BUSYBOX, dir.join("fs/bin/busybox"))?;
    // The machine's own configuration is not read. Its limits may be above what this process may set.
    let containers = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
         [engine]\nlock_type = \"file\"\nvolume_path = {:?}\n",
        dir.join("d/volumes")
    );
    fs::write(dir.join("containers.conf"), containers)?;
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        dir.join("d"),
        dir.join("run")
    );
    fs::write(dir.join("storage.conf"), storage)
}

fn command<S: AsRef<OsStr>>(dir: &Path, arguments: &[S]) -> Command {
    let mut command = Command::new(PODMAN);
    command
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("HOME", dir)
        .env("CONTAINERS_CONF", dir.join("containers.conf"))
        .env("CONTAINERS_STORAGE_CONF", dir.join("storage.conf"))
        .env(takedown::MARK, dir)
        .arg("--root")
        .arg(dir.join("d"))
        .arg("--runroot")
        .arg(dir.join("run"))
        .arg("--tmpdir")
        .arg(dir.join("tmp"))
        .arg("--runtime-flag")
        .arg(format!("root={}", dir.join("runtime").display()))
        .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"])
        .args(arguments)
        .stdin(Stdio::null());
    command
}
