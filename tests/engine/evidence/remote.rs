//! Engines whose docker root is not at hand: over TCP, TLS and ssh, or behind a socket on another machine. A report works
//! from anywhere; data is moved on the engine's own machine only.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use harness::recording::tcp_to_unix;
use harness::{PrivateEngine, Version, Volgc, everything, on_each_engine, tree_listing};
use serde_json::Value;

const CONFIG: &str = everything!("enforce", "1h");

/// A host with an orphan that is due, a volume in use, and an entry in quarantine.
fn scene(engine: &PrivateEngine) -> Volgc {
    for name in ["orphan", "set-aside", "used"] {
        engine.create_volume(name, &[]);
        engine.fill_volume(name, 3);
    }
    engine.docker(&["create", "--network", "none", "-v", "used:/data", "bb", "true"]);
    let volgc = Volgc::configured(engine, CONFIG);
    volgc.ok(&["sweep"]);
    volgc.ok(&["quarantine", "set-aside"]);
    volgc
}

fn at(volgc: &Volgc, host: &str) {
    volgc.config(&CONFIG.replace("unix://{socket}", host));
}

fn listing(engine: &PrivateEngine) -> Vec<String> {
    let mut lines = tree_listing(&engine.volumes_dir());
    lines.extend(tree_listing(&engine.root().join("volgc")));
    lines
}

/// A report says what a local one would, but for what only the disk tells, and whatever would move data refuses and says why.
#[track_caller]
fn reports_and_moves_nothing(
    engine: &PrivateEngine,
    volgc: &Volgc,
    why: &str,
    run: impl Fn(&[&str]) -> harness::Output,
) {
    let entry = fs::read_dir(engine.root().join("volgc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name != "lock" && name != "ledger.json")
        .unwrap();
    let before = (listing(engine), engine.volume_names());
    let output = run(&["report", "--format", "json"]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["refusals"][0]["reason"], "root_not_here", "{report:#}");
    let told: Vec<(&str, &str)> = report["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| (volume["name"].as_str().unwrap(), volume["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told.len(), 2, "{report:#}");
    assert!(told.contains(&("used", "held")) && !told.contains(&("orphan", "held")), "{told:?}");
    assert_eq!(report["totals"]["due_quarantine"], 0, "nothing is due that cannot be moved: {report:#}");
    let table = run(&["report"]);
    assert!(table.status == Some(0) && table.stdout.contains(why), "{table:?}");
    assert_eq!(run(&["report", "--detailed-exit-code"]).status, Some(4));
    assert_eq!(run(&["check"]).status, Some(4));
    for words in [
        &["list"][..],
        &["sweep"],
        &["quarantine", "orphan"],
        &["restore", entry.as_str()],
        &["restore", "set-aside"],
        &["delete", "--yes", entry.as_str()],
    ] {
        let output = run(words);
        assert_eq!(output.status, Some(4), "{words:?}: {output:?}");
        let told = output.stderr.clone() + &output.stdout;
        assert!(told.contains(why) && told.contains("engine's machine"), "{words:?}: {output:?}");
    }
    assert_eq!((listing(engine), engine.volume_names()), before);

    // The same commands, at the engine's own socket.
    at(volgc, "unix://{socket}");
    assert!(volgc.ok(&["restore", &entry]).contains("set-aside"));
    assert!(volgc.ok(&["sweep"]).contains("quarantined volume orphan"));
}

on_each_engine! {
    fn over_tcp_volgc_reports_and_moves_nothing(version: Version) {
        // A free port, as the engine wants to be told one.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let engine = PrivateEngine::builder(version).arg(format!("--host=tcp://127.0.0.1:{port}")).start();
        let volgc = scene(&engine);
        at(&volgc, &format!("tcp://127.0.0.1:{port}"));
        reports_and_moves_nothing(&engine, &volgc, "reached over tcp://127.0.0.1", |words| volgc.run(words));
    }

    fn a_docker_root_that_is_hidden_or_of_another_host_is_never_touched(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let root = engine.root();
        // Another host's root at the same path, with volumes of the same names: a container with a volume of its own at
        // /var/lib/docker, or a socket that is forwarded from elsewhere.
        let other = engine.dir().join("other");
        for name in ["orphan", "used"] {
            fs::create_dir_all(other.join("volumes").join(name).join("_data")).unwrap();
            fs::write(other.join("volumes").join(name).join("_data/file"), "of another host").unwrap();
        }
        fs::create_dir_all(other.join("containers/0000")).unwrap();
        fs::write(other.join("engine-id"), "another").unwrap();
        let before = tree_listing(&other);
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        let inside = |words: &[&str]| in_namespace(&volgc, script, &[other.as_path(), root.as_path()], words);
        reports_and_moves_nothing(&engine, &volgc, "the engine runs elsewhere", inside);
        assert_eq!(tree_listing(&other), before);
    }

    fn a_docker_root_that_is_not_mounted_here_is_never_touched(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let root = engine.root();
        let script = "mount -t tmpfs tmpfs \"$1\" && shift 1 && exec \"$@\"";
        let inside = |words: &[&str]| in_namespace(&volgc, script, &[root.as_path()], words);
        reports_and_moves_nothing(&engine, &volgc, "is not on this machine", inside);
    }
}

/// Runs volgc in a mount namespace of its own, after a script that changes it.
fn in_namespace(volgc: &Volgc, script: &str, paths: &[&Path], words: &[&str]) -> harness::Output {
    let command = volgc.command(words);
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .args(paths)
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = inside.output().unwrap();
    harness::Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn over_ssh_volgc_reports_and_moves_nothing() {
    let engine = PrivateEngine::start(Version::V26_1);
    let volgc = scene(&engine);
    // In the place of ssh: writes down how it was called, and is `docker system dial-stdio` of the "other machine".
    let bin = engine.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    let port = tcp_to_unix(&engine.socket());
    let (calls, ssh) = (engine.dir().join("calls"), bin.join("ssh"));
    let script = format!(
        "#!/bin/bash\necho \"$*\" >>{}\nexec 3<>/dev/tcp/127.0.0.1/{port}\ncat <&0 >&3 &\nexec cat <&3\n",
        calls.display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = OsString::from(&bin);
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    let volgc = volgc.env("PATH", path);
    at(&volgc, "ssh://me@other.example:2222");
    let report = volgc.ok(&["report"]);
    assert!(report.contains("orphan"), "{report}");
    let called = fs::read_to_string(&calls).unwrap();
    let expected =
        "-o BatchMode=yes -o ConnectTimeout=30 -p 2222 -- me@other.example docker system dial-stdio";
    assert!(!called.is_empty() && called.lines().all(|line| line == expected), "{called}");
    reports_and_moves_nothing(&engine, &volgc, "reached over ssh://me@other.example:2222", |words| {
        volgc.run(words)
    });

    // What ssh says when it fails reaches the operator, and is no half evidence.
    fs::write(&ssh, "#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n").unwrap();
    at(&volgc, "ssh://me@other.example");
    let output = volgc.run(&["report"]);
    assert!(output.status == Some(4) && output.stderr.contains("Host key verification failed"), "{output:?}");
    fs::remove_file(&ssh).unwrap();
    fs::write(bin.join("sh"), "").unwrap();
    let output = volgc.env("PATH", &bin).run(&["report"]);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stderr.contains("cannot reach the Docker engine at ssh://me@other.example"), "{output:?}");
}

#[test]
fn over_tls_volgc_reports_and_moves_nothing() {
    let certificates = tempfile::tempdir().unwrap();
    let dir = certificates.path();
    make_certificates(dir);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| dir.join(name).display().to_string();
    let engine = PrivateEngine::builder(Version::V20_10)
        .arg(format!("--host=tcp://127.0.0.1:{port}"))
        .arg("--tlsverify")
        .arg(format!("--tlscacert={}", file("ca.pem")))
        .arg(format!("--tlscert={}", file("server.pem")))
        .arg(format!("--tlskey={}", file("server-key.pem")))
        .start();
    let volgc = scene(&engine);
    let host = format!("tcp://127.0.0.1:{port}");

    // Without TLS, without a certificate of ours, and with the certificate of a stranger: no evidence.
    at(&volgc, &host);
    let plain = volgc.run(&["report"]);
    assert!(plain.status == Some(4) && plain.stdout.is_empty(), "{plain:?}");
    let stranger = tempfile::tempdir().unwrap();
    make_certificates(stranger.path());
    let verified = |certificates: &Path| {
        volgc.clone().env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", certificates)
    };
    let output = verified(stranger.path()).run(&["report"]);
    assert!(matches!(output.status, Some(1 | 4)) && output.stderr.contains("certificate"), "{output:?}");
    fs::remove_file(stranger.path().join("key.pem")).unwrap();
    let output = verified(stranger.path()).run(&["report"]);
    assert!(output.status == Some(4) && output.stderr.contains("key.pem"), "{output:?}");

    let volgc = verified(dir);
    reports_and_moves_nothing(&engine, &volgc, &format!("reached over {host}"), |words| volgc.run(words));
}

/// An authority, and a server's and a client's certificate of it, under the names that Docker gives them.
fn make_certificates(dir: &Path) {
    let openssl = |words: &str| {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run openssl: {error}: run tests/setup"));
        assert!(output.status.success(), "openssl {words}: {}", harness::show(&output));
    };
    fs::write(
        dir.join("server.ext"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca-key.pem -out ca.pem");
    for (subject, extensions, key, certificate) in [
        ("localhost", "server.ext", "server-key.pem", "server.pem"),
        ("client", "client.ext", "key.pem", "cert.pem"),
    ] {
        openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {key} -out request.pem"));
        openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile {extensions} -out {certificate}"
        ));
    }
}
