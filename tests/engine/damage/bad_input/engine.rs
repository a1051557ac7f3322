//! The engine's address, and what may be there instead of an engine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::{CONFIG, Volgc, due, fails, text};
use harness::fake::Fake;

/// Commands that ask the engine.
const ASKING: [&[&str]; 8] = [
    &["report"],
    &["list"],
    &["explain", "orphan"],
    &["check"],
    &["sweep"],
    &["quarantine", "orphan"],
    &["restore", "orphan"],
    &["hold", "orphan", "--reason", "x"],
];

fn at(fake: &Fake, volgc: &Volgc, host: &str) {
    volgc.config(&CONFIG.replace("unix://{socket}", host));
    fake.take();
}

/// `check` has printed what is in force before it asks; the message is the same.
#[track_caller]
fn all_fail(fake: &Fake, volgc: &Volgc, status: i32, parts: &[&str]) {
    for words in ASKING {
        let output = fails(fake, volgc, words, status, parts);
        // A mistake in the file is shown with its line, everything else in one.
        let is_shown = output.stderr.contains("1 mistake in");
        assert!(is_shown || output.stderr.lines().count() == 1, "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() || words == ["check"], "{words:?}: {output:?}");
    }
}

#[test]
fn an_engine_that_cannot_be_reached_is_named() {
    let (fake, volgc) = due();
    let socket = fake.dir().join("other");
    let host = format!("unix://{}", socket.display());
    at(&fake, &volgc, &host);
    all_fail(
        &fake,
        &volgc,
        1,
        &["cannot reach the Docker engine", &host, "No such file", "is the engine running?", "DOCKER_HOST"],
    );
    fs::write(&socket, "").unwrap();
    all_fail(&fake, &volgc, 1, &[&host, "Connection refused"]);
    fs::remove_file(&socket).unwrap();
    // A socket that a dead engine left behind.
    drop(UnixListener::bind(&socket).unwrap());
    all_fail(&fake, &volgc, 1, &[&host, "Connection refused"]);
    at(&fake, &volgc, "tcp://127.0.0.1:1");
    all_fail(&fake, &volgc, 1, &["tcp://127.0.0.1:1", "refused"]);
    at(&fake, &volgc, "unix:///var/../x\\u001b[31m");
    all_fail(&fake, &volgc, 1, &["No such file"]);
}

#[test]
fn an_address_that_is_none_is_a_mistake_of_the_configuration() {
    let (fake, volgc) = due();
    for host in
        ["/var/run/docker.sock", "npipe:////./pipe/docker", "unix://relative", "ssh://-oProxyCommand=x"]
    {
        at(&fake, &volgc, host);
        all_fail(&fake, &volgc, 2, &[host, "unix:///"]);
    }
    let volgc = volgc.env("DOCKER_TLS_VERIFY", "1");
    at(&fake, &volgc, "tcp://127.0.0.1:1");
    all_fail(&fake, &volgc, 2, &["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "ca.pem"]);
    let volgc = volgc.env("DOCKER_CERT_PATH", "/nowhere");
    at(&fake, &volgc, "tcp://127.0.0.1:1");
    all_fail(&fake, &volgc, 4, &["/nowhere", "ca.pem"]);
}

#[test]
fn a_socket_that_refuses_access_says_who_may() {
    let (fake, volgc) = due();
    let host = format!("unix://{}", fake.socket().display());
    fs::set_permissions(fake.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(fake.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    // A user who may read the configuration, but neither the socket nor the ledger. The program is where root alone
    // may look, so it is given as a descriptor.
    for words in [&["report", "--no-sizes"][..], &["sweep"], &["check"]] {
        let before = super::on_disk(&fake, &volgc);
        let command = volgc.command(words);
        let mut as_nobody = Command::new("setpriv");
        as_nobody
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--",
                "sh",
                "-c",
                "exec /proc/self/fd/0 \"$@\"",
                "sh",
            ])
            .args(command.get_args())
            .env_clear()
            .current_dir("/")
            .stdin(fs::File::open(command.get_program()).unwrap());
        let output = as_nobody.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {stderr}");
        for part in
            [host.as_str(), "Permission denied", "run volgc as root or as a member of the socket's group"]
        {
            assert!(stderr.contains(part), "{words:?}: no {part:?} in {stderr}");
        }
        assert_eq!(super::on_disk(&fake, &volgc), before, "{words:?}");
    }
}

#[test]
fn something_that_speaks_no_http_is_told_apart_from_an_engine() {
    use std::io::Write as _;
    let (fake, volgc) = due();
    let socket = fake.dir().join("ssh");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            client.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").ok();
        }
    });
    at(&fake, &volgc, &format!("unix://{}", text(&socket)));
    all_fail(&fake, &volgc, 4, &["GET /version", "broke off"]);
}
