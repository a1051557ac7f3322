//! Whether the engine itself answers, or a proxy that may deliver a request late: told by who writes the answer, and never by who
//! made the socket or by what a process is called (I5).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use harness::proxy::Proxy;
use harness::treasure::{Place, Treasure};
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, wait_until};

/// Makes a socket, and has another process forward what comes there.
const FORWARD: &str = r#"
use IO::Socket::UNIX;
my ($path, $to) = @ARGV;
$SIG{CHLD} = "IGNORE";
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64) or die "$path: $!";
sleep 1000 while fork;
sub copy { my ($from, $to) = @_; my $data; syswrite $to, $data while sysread $from, $data, 65536; shutdown $to, 1; exit }
while (my $client = $listener->accept) {
    next if fork;
    my $engine = IO::Socket::UNIX->new(Peer => $to) or exit;
    fork ? copy($client, $engine) : copy($engine, $client);
}
"#;

/// Makes a socket, and starts a program that is given it, as systemd does (`sd_listen_fds(3)`).
const ACTIVATE: &str = r#"
use IO::Socket::UNIX;
use POSIX;
$^F = 99;
my $path = shift;
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64) or die "$path: $!";
my $child = fork;
sleep 1000 while $child;
POSIX::dup2(fileno $listener, 3) if fileno $listener != 3;
@ENV{"LISTEN_FDS", "LISTEN_PID"} = (1, $$);
exec @ARGV;
"#;

/// Ends with the test. What it started ends with the engine.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A Perl script in a process that has this name.
fn perl_called(engine: &PrivateEngine, name: &str, script: &str) -> Command {
    let bin = engine.dir().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = bin.join(name);
    symlink("/usr/bin/perl", &program).unwrap();
    let mut command = engine.command_inside(program.to_str().unwrap());
    command.args(["-e", script]);
    command
}

fn by(engine: &PrivateEngine, socket: &Path) -> Volgc {
    let config = KEEP_IN_QUARANTINE.replace("{socket}", socket.to_str().unwrap());
    Volgc::configured(engine, &config).env("VOLGC_SETTINGS", "")
}

/// A process of this name makes the socket, and forwards what comes there: an order to forget a volume may be carried out when nobody
/// waits for it any more.
#[track_caller]
fn assert_taken_for_a_proxy(engine: &PrivateEngine, name: &str) {
    let proxy = Proxy::start(engine);
    let socket = engine.dir().join("made");
    let mut forward = perl_called(engine, name, FORWARD);
    let _ends = Ends(forward.arg(&socket).arg(proxy.socket()).spawn().unwrap());
    wait_until("a socket", || socket.exists());
    let db = Treasure::make(engine, "db");
    let output = by(engine, &socket).run(&["quarantine", "db"]);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(output.stdout.contains("the engine is reached through a proxy"), "{output:?}");
    assert_eq!(proxy.seen("DELETE /volumes/db"), 0);
    db.assert_back(engine, "db", "left");
}

/// Starts the engine anew, with a socket that another process made.
fn activated(engine: &PrivateEngine, socket: &Path) -> Ends {
    let read = |file: &str| {
        let text = fs::read(format!("/proc/{}/{file}", engine.pid().unwrap())).unwrap();
        let words = String::from_utf8(text).unwrap();
        words.trim_end_matches('\0').split('\0').map(str::to_owned).collect::<Vec<_>>()
    };
    let arguments = read("cmdline");
    engine.stop();
    fs::remove_file(engine.dir().join("pid")).ok();
    fs::remove_file(socket).ok();
    let mut activate = perl_called(engine, "systemd", ACTIVATE);
    activate.arg(socket);
    activate.args(arguments.iter().map(|argument| match argument.strip_prefix("--host=") {
        Some(_) => "--host=fd://",
        None => argument,
    }));
    let ends = Ends(activate.spawn().unwrap());
    wait_until("the engine", || {
        engine.try_api("GET", "/_ping", None, std::time::Duration::from_secs(5)).is_ok()
    });
    ends
}

on_each_engine! {
    fn a_proxy_behind_a_socket_that_systemd_made(engine: PrivateEngine) {
        assert_taken_for_a_proxy(&engine, "systemd");
    }

    fn a_proxy_that_is_called_dockerd(engine: PrivateEngine) {
        assert_taken_for_a_proxy(&engine, "dockerd");
    }

    fn the_engine_behind_a_socket_that_systemd_made(version: Version) {
        let engine = PrivateEngine::start(version);
        let socket: PathBuf = engine.socket();
        let _ends = activated(&engine, &socket);
        let db = Treasure::make(&engine, "db");
        let volgc = by(&engine, &socket);
        volgc.ok(&["quarantine", "db"]);
        assert!(matches!(db.assert_whole(&engine, "moved"), Place::Entry(..)));
        volgc.ok(&["restore", "db"]);
        db.assert_back(&engine, "db", "restored");
    }
}
