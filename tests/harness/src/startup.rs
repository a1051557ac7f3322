//! How an engine is brought up: its root, its containerd, its dockerd and its images.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::engine::{ANSWER_LIMIT, Namespace, POLL, PrivateEngine, SEARCH_PATH, START_LIMIT, engines_dir};
use super::{http, images, takedown};

/// Makes the root of the newer engine: its tree under an overlay (so that the tree itself never changes), the kernel's
/// file systems, a /run of its own that outlives a restart of the engine, and the engine's directory at the same path
/// as outside. `pivot_root` and not `chroot`, as dockerd needs `/` to be a mount point. Then it keeps the mount
/// namespace alive until its standard input ends, with the test process at the latest.
const ROOT_SCRIPT: &str = r#"
set -e
dir=$1 tree=$2 base=$1/n
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
cd "$base/root"
for kernel in proc sys dev; do mount --rbind "/$kernel" "$kernel"; done
mount --bind "$dir/run" run
mkdir -p ".$dir" .old
shift 2
for shared in "$dir" "$@"; do mkdir -p ".$shared"; mount --bind "$shared" ".$shared"; done
pivot_root . .old
cd /
umount -l /.old
echo ready
exec cat
"#;

impl PrivateEngine {
    pub(super) fn set_up(&self) {
        for dir in ["x", "run", "n", "client"] {
            let dir = self.dir.join(dir);
            fs::create_dir(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        }
        // The machine's own daemon.json must not be read.
        for (file, text) in [("daemon.json", self.options.daemon_json.as_str()), ("client/config.json", "{}")]
        {
            fs::write(self.dir.join(file), format!("{text}\n"))
                .unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
        }
        fs::create_dir_all(&self.root)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", self.root.display()));
        if let Some(script) = &self.options.root_script {
            self.mount_root(script);
        }
        let own_root = self.options.own_root.as_ref().map(|_| PathBuf::from("/"));
        if let Some(tree) = self.version().tree().or(own_root) {
            let namespace = self.make_root(&tree);
            self.state().namespace = Some(namespace);
        }
        if let Some(script) = &self.options.own_root {
            let output = self.command_inside("sh").args(["-ec", script]).output();
            let is_done = output.as_ref().is_ok_and(|output| output.status.success());
            assert!(is_done, "cannot change the engine's root: {output:?}");
        }
        self.answer_for_helpers();
        self.start_containerd();
        self.start_daemon();
        if self.options.images {
            self.load_images();
        }
    }

    fn mount_root(&self, script: &str) {
        let output = Command::new("sh")
            .args(["-ec", script, "sh"])
            .arg(&self.dir)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env(takedown::MARK, &self.dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run sh: {error}"));
        assert!(output.status.success(), "cannot mount the data root: {}", super::show(&output));
    }

    fn make_root(&self, tree: &Path) -> Namespace {
        let log = self.log_file();
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", ROOT_SCRIPT, "sh"])
            .arg(&self.dir)
            .arg(tree)
            .args(self.options.data_root.iter().filter(|root| !root.starts_with(&self.dir)))
            // A mount below the engine's directory is not bound along with it.
            .args(self.options.root_script.iter().map(|_| &self.root))
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env(takedown::MARK, &self.dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run unshare: {error}: run tests/setup"));
        let input = keeper.stdin.take();
        let mut ready = String::new();
        if let Some(output) = keeper.stdout.take() {
            // Nothing but this line is ever written, so no pipe is missed.
            io::BufRead::read_line(&mut io::BufReader::new(output), &mut ready).unwrap_or_default();
        }
        let namespace = Namespace { keeper, _input: input };
        assert!(ready.trim() == "ready", "cannot make the engine's root\n{}", self.log_tail());
        namespace
    }

    fn start_containerd(&self) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        // The plugin for Kubernetes is slow to load; /opt is the machine's.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.aufs\", \
             \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.devmapper\", \
             \"io.containerd.snapshotter.v1.zfs\"]\n\
             [grpc]\naddress = {:?}\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
            path("c"),
            path("x/c"),
            path("x/c.sock"),
            path("c/opt")
        );
        let file = self.dir.join("containerd.toml");
        fs::write(&file, config).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        let mut command = self.command_inside("containerd");
        command.arg("--config").arg(file);
        let child = self.spawn(command);
        self.state().containerd = Some(child);
        let deadline = Instant::now() + START_LIMIT;
        while UnixStream::connect(self.dir.join("x/c.sock")).is_err() {
            assert!(Instant::now() < deadline, "containerd does not answer\n{}", self.log_tail());
            sleep(POLL);
        }
    }

    /// Spawns a part of the engine, which writes to the common log.
    fn spawn(&self, mut command: Command) -> Child {
        let log = self.log_file();
        let log_too = log.try_clone().unwrap_or_else(|error| panic!("cannot share the log file: {error}"));
        command
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}: run tests/setup"))
    }

    pub(super) fn start_daemon(&self) {
        // A daemon that was killed leaves them, and a new one takes the number for a running process.
        for stale in ["pid", "s"] {
            fs::remove_file(self.dir.join(stale)).ok();
        }
        let mut command = self.command_inside(&self.dockerd.display().to_string());
        command.env("PATH", self.search_path());
        let option = |name: &str, file: &str| {
            let mut option = OsString::from(format!("--{name}="));
            option.push(self.dir.join(file));
            option
        };
        let mut host = OsString::from("--host=unix://");
        host.push(self.socket());
        command
            .arg(host)
            .arg("--data-root")
            .arg(&self.root)
            .arg(option("exec-root", "x"))
            .arg(option("containerd", "x/c.sock"))
            .arg(option("pidfile", "pid"))
            .arg(option("config-file", "daemon.json"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"])
            // Under systemd the default would be its driver, which wants slices.
            .arg("--exec-opt=native.cgroupdriver=cgroupfs")
            .arg(format!("--cgroup-parent=/{}", takedown::name(&self.dir)))
            .arg("--shutdown-timeout=1")
            .arg(format!("--storage-driver={}", self.storage_driver()))
            .arg(format!("--live-restore={}", self.options.live_restore));
        command.args(&self.options.arguments);
        let mut daemon = self.spawn(command);
        let deadline = Instant::now() + START_LIMIT;
        let failure = loop {
            let answer = self.try_api("GET", "/_ping", None, Duration::from_secs(5));
            if matches!(answer, Ok((200, _))) {
                break None;
            }
            match daemon.try_wait() {
                Ok(None) if Instant::now() < deadline => sleep(POLL),
                Ok(None) => break Some("did not answer in time".to_owned()),
                Ok(Some(status)) => break Some(format!("ended with {status}")),
                Err(error) => break Some(format!("cannot be waited for: {error}")),
            }
        };
        self.state().daemon = Some(daemon);
        if let Some(failure) = failure {
            panic!("dockerd {:?} {failure}\n{}", self.version(), self.log_tail());
        }
    }

    /// Overlay cannot lie on overlay, as it would in a container: then the plainest driver must do.
    fn storage_driver(&self) -> String {
        const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;
        let nested = rustix::fs::statfs(&self.root).is_ok_and(|stat| stat.f_type == OVERLAYFS);
        let best = if nested { "vfs" } else { "overlay2" };
        self.options.storage_driver.clone().unwrap_or_else(|| best.to_owned())
    }

    fn load_images(&self) {
        let path = images::archive(&engines_dir().join("cache"));
        let archive =
            fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let answer = http::request(
            &self.socket(),
            "POST",
            "/images/load?quiet=1",
            "application/x-tar",
            &archive,
            ANSWER_LIMIT,
        );
        // The status is sent before the work is done: an error is in the body.
        match answer {
            Ok((200, body)) if !body.contains("errorDetail") => {}
            other => panic!("cannot load the test images: {other:?}\n{}", self.log_tail()),
        }
    }

    fn log_file(&self) -> File {
        let path = self.log();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
    }
}
