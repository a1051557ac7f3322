//! An engine of an ordinary user: reported on, and nothing is moved, since nothing could be brought back there yet.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;

use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, tree_listing, wait_until};

/// The user that is root for the engine, and where its subordinate IDs begin.
const USER: u32 = 100_000;

/// Enters a user and a mount namespace of its own, as rootlesskit does, and starts a program there as its root.
const ROOTLESS: &str = r#"
use strict;
my ($syscall, $user) = (shift, shift);
pipe my $there, my $enter; pipe my $mapped, my $map;
my $child = fork;
if (!$child) {
    syscall($syscall, 0x10000000 | 0x20000) == 0 or die "unshare: $!";
    close $enter;
    syswrite $map, "x";
    sysread $there, my $byte, 1;
    $( = 0; $) = "0 0"; $< = 0; $> = 0;
    system("mount", "-t", "tmpfs", "tmpfs", "/run") == 0 or die "mount";
    exec @ARGV;
}
sysread $mapped, my $byte, 1;
for my $file ("uid_map", "gid_map") {
    open my $out, ">", "/proc/$child/$file" or die "$file: $!";
    syswrite $out, "0 $user 65536\n" or die "$file: $!";
}
syswrite $enter, "x";
waitpid $child, 0;
"#;

struct Rootless {
    process: Child,
    socket: PathBuf,
    root: PathBuf,
    home: PathBuf,
}

impl Drop for Rootless {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.home.join("../rootless.log")).unwrap_or_default());
        }
        // What it started has the mark of the engine beside it, and ends with that.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Answers for rootlesskit, which the engine asks for its parts and, from 28 on, for how ports are published.
fn rootlesskit(socket: &Path) {
    const SAID: &str = r#"{"apiVersion":"1.1.1","version":"2.0.0","stateDir":"/","childPID":1,
        "networkDriver":{"driver":"none"},"portDriver":{"driver":"none","protos":[]}}"#;
    let listener = UnixListener::bind(socket).unwrap();
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let lines = BufReader::new(&client).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{SAID}", SAID.len()).ok();
        }
    });
}

/// A rootless engine below the directory of another one of the same version.
fn start(beside: &PrivateEngine) -> Rootless {
    let home = beside.dir().join("r");
    for directory in ["", "run", "x", "d", "bin"] {
        let directory = home.join(directory);
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(USER), Some(USER)).unwrap();
    }
    fs::set_permissions(beside.dir(), fs::Permissions::from_mode(0o711)).unwrap();
    // Engines before 28 look for it, and none here needs it.
    symlink("/bin/true", home.join("bin/rootlesskit-docker-proxy")).unwrap();
    rootlesskit(&home.join("run/api.sock"));
    let unshare = if cfg!(target_arch = "x86_64") { "272" } else { "97" };
    let option = |name: &str, file: &str| format!("--{name}={}", home.join(file).display());
    let mut command = beside.command_inside("perl");
    command
        .args(["-e", ROOTLESS, unshare, &USER.to_string(), "/usr/sbin/dockerd", "--rootless"])
        .arg(format!("--host=unix://{}", home.join("s").display()))
        .args([option("data-root", "d"), option("exec-root", "x"), option("pidfile", "pid")])
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"])
        .arg("--storage-driver=vfs")
        .arg(format!("--config-file={}", beside.dir().join("daemon.json").display()))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("HOME", &home)
        .env("ROOTLESSKIT_STATE_DIR", home.join("run"))
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", home.join("bin").display()));
    let log = fs::File::create(beside.dir().join("rootless.log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let rootless =
        Rootless { process: command.spawn().unwrap(), socket: home.join("s"), root: home.join("d"), home };
    wait_until("a rootless engine", || api(&rootless.socket, "GET", "/version", "").is_some());
    rootless
}

/// One request; none as long as nobody answers.
fn api(socket: &Path, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json");
    write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once(" 20")?;
    Some(answer)
}

fn data(root: &Path, volume: &str) -> PathBuf {
    root.join("volumes").join(volume).join("_data")
}

on_each_engine! {
    fn nothing_of_a_rootless_engine_is_moved(version: Version) {
        let beside = PrivateEngine::start(version);
        let rootless = start(&beside);
        let told = api(&rootless.socket, "GET", "/info", "").unwrap();
        assert!(told.contains("name=rootless"), "{told}");
        api(&rootless.socket, "POST", "/volumes/create", r#"{"Name":"db"}"#).unwrap();
        let data = data(&rootless.root, "db");
        fs::write(data.join("file"), "data").unwrap();
        let before = tree_listing(&data);

        let volgc = Volgc::beside(&rootless.home, &rootless.socket, &rootless.root);
        volgc.config(KEEP_IN_QUARANTINE);
        let told = volgc.ok(&["report"]);
        assert!(told.contains("db") && told.contains("rootless"), "{told}");
        assert_eq!(volgc.report()["refusals"][0]["reason"], "rootless");
        for words in [&["quarantine", "db"][..], &["sweep"], &["sweep"], &["check"]] {
            let told = volgc.refused(words);
            assert!(told.contains("rootless"), "{words:?}: {told}");
        }
        assert_eq!(tree_listing(&data), before);
        assert!(!rootless.root.join("volgc").exists(), "nothing is made there");
    }
}
