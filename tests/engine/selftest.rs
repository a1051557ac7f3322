//! The harness itself, on each engine: what the other tests take for granted.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{PrivateEngine, Volgc, left_behind, on_each_engine, tree_digest, tree_listing};

on_each_engine! {
    fn runs_containers_and_leaves_nothing(version: Version) {
        let begun = Instant::now();
        let engine = PrivateEngine::start(version);
        eprintln!("start: {:?}", begun.elapsed());
        let dir = engine.dir().to_path_buf();
        assert!(engine.socket().starts_with(&dir) && engine.root().starts_with(&dir));
        assert_eq!(engine.json("GET", "/info", None)["DockerRootDir"].as_str(), engine.root().to_str());

        engine.create_volume("filled", &[("keep", "yes")]);
        let digest = engine.fill_volume("filled", 7);
        assert_eq!(engine.volume_names(), ["filled"]);
        let begun = Instant::now();
        engine.docker(&["run", "-d", "--name", "holder", "--network", "none", "-v", "filled:/data", "bb", "sleep", "1000"]);
        eprintln!("run: {:?}", begun.elapsed());
        engine.docker(&["run", "--rm", "--network", "none", "--volumes-from", "holder", "bb", "test", "-f", "/data/README"]);
        engine.docker(&["pause", "holder"]);
        engine.docker(&["unpause", "holder"]);

        let begun = Instant::now();
        engine.restart();
        eprintln!("restart: {:?}", begun.elapsed());
        assert_eq!(engine.docker(&["ps", "-aq", "--filter", "status=exited"]).lines().count(), 1);
        engine.docker(&["start", "holder"]);
        let begun = Instant::now();
        engine.kill();
        engine.restart();
        eprintln!("kill and restart: {:?}", begun.elapsed());
        engine.docker(&["start", "holder"]);
        // Left paused: its frozen processes must not outlive the engine.
        engine.docker(&["pause", "holder"]);
        assert_eq!(tree_digest(&engine.volume_data("filled")), digest);
        let begun = Instant::now();
        drop(engine);
        eprintln!("take-down: {:?}", begun.elapsed());
        assert_eq!(left_behind(&dir), Vec::<String>::new());
    }

    fn images_are_as_promised(engine: PrivateEngine) {
        let none = ["--rm", "--network", "none"];
        let run = |rest: &[&str]| engine.docker(&[&["run"][..], &none, rest].concat());
        assert_eq!(run(&["-v", "seeded:/seed", "bbseed", "cat", "/seed/hello"]), "hello from the image");
        assert!(engine.volume_data("seeded").join("hello").is_file(), "no copy-up into the volume");
        engine.docker(&["create", "--name", "anonymous", "--network", "none", "bbvol"]);
        assert_eq!(engine.volume_names().len(), 2);
        // Without a bridge the default network is none.
        assert_eq!(engine.docker(&["run", "--rm", "bb", "echo", "default network"]), "default network");
        let subpath = engine.try_docker(&[
            "run", "--rm", "--mount", "type=volume,src=seeded,dst=/m,volume-subpath=.", "bb", "ls", "/m",
        ]);
        assert_eq!(subpath.status.success(), engine.version() != harness::Version::V20_10, "{subpath:?}");
    }

    fn containers_outlive_the_daemon_with_live_restore(version: Version) {
        let engine = PrivateEngine::builder(version).live_restore(true).start();
        engine.docker(&["run", "-d", "--name", "alive", "-v", "data:/data", "bb", "sleep", "1000"]);
        for graceful in [true, false] {
            let pid = engine.docker(&["inspect", "-f", "{{.State.Pid}}", "alive"]);
            if graceful { engine.stop() } else { engine.kill() }
            assert!(fs::metadata(format!("/proc/{pid}")).is_ok(), "the container ended with the daemon");
            engine.restart();
            assert_eq!(engine.docker(&["inspect", "-f", "{{.State.Pid}}", "alive"]), pid);
            engine.docker(&["exec", "alive", "touch", "/data/written"]);
        }
    }

    fn a_paused_daemon_answers_nothing(version: Version) {
        let engine = PrivateEngine::builder(version).without_images().start();
        engine.pause();
        let answer = engine.try_api("GET", "/_ping", None, Duration::from_millis(300));
        assert!(answer.is_err(), "{answer:?}");
        engine.resume();
        assert_eq!(engine.api("GET", "/_ping", None).0, 200);
    }

    fn the_plainest_storage_driver_works(version: Version) {
        let engine = PrivateEngine::builder(version).storage_driver("vfs").start();
        assert_eq!(engine.docker(&["run", "--rm", "bb", "echo", "hello"]), "hello");
        assert_eq!(engine.json("GET", "/info", None)["Driver"].as_str(), Some("vfs"));
    }

    fn a_panicking_test_leaves_nothing(version: Version) {
        let (tell, told) = std::sync::mpsc::channel();
        let panicked = std::thread::spawn(move || {
            let engine = PrivateEngine::start(version);
            engine.docker(&["run", "-d", "-v", "data:/data", "bb", "sleep", "1000"]);
            tell.send(engine.dir().to_path_buf()).expect("the test listens");
            panic!("this panic is meant");
        })
        .join();
        assert!(panicked.is_err());
        assert_eq!(left_behind(&told.recv().expect("a directory")), Vec::<String>::new());
    }

    fn a_killed_test_process_is_cleared_up_after(version: Version) {
        // Told by its environment, this test is its own victim.
        const VICTIM: &str = "VOLGC_TEST_VICTIM";
        if let Some(report) = std::env::var_os(VICTIM) {
            let engine = PrivateEngine::start(version);
            engine.docker(&["run", "-d", "-v", "data:/data", "bb", "sleep", "1000"]);
            fs::write(report, engine.dir().display().to_string()).expect("a report");
            std::thread::sleep(Duration::from_mins(1));
            return;
        }
        let reports = tempfile::tempdir().expect("a directory");
        let (report, partial) = (reports.path().join("dir"), Duration::from_millis(20));
        let thread = std::thread::current();
        let name = thread.name().expect("a test's thread has its name");
        let mut victim = Command::new(std::env::current_exe().expect("this program"))
            .args([name, "--exact", "--nocapture"])
            .env(VICTIM, &report)
            .spawn()
            .expect("the victim starts");
        let deadline = Instant::now() + Duration::from_mins(1);
        let dir = loop {
            let text = fs::read_to_string(&report).unwrap_or_default();
            if !text.is_empty() {
                break std::path::PathBuf::from(text);
            }
            assert!(Instant::now() < deadline, "the victim started no engine");
            std::thread::sleep(partial);
        };
        victim.kill().expect("the victim lives");
        victim.wait().expect("the victim ends");
        assert_ne!(left_behind(&dir), Vec::<String>::new());
        drop(PrivateEngine::builder(version).without_images().start());
        // Another test's start may have been first, and still be at it.
        while !left_behind(&dir).is_empty() && Instant::now() < deadline {
            std::thread::sleep(partial);
        }
        assert_eq!(left_behind(&dir), Vec::<String>::new());
    }

    fn runs_the_product(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine).env("VOLGC_FAULT", "");
        volgc.config("root = \"{root}\"\n[docker]\nhost = \"unix://{socket}\"\n");
        let config = fs::read_to_string(volgc.config_file()).expect("a configuration");
        assert!(config.contains(&format!("unix://{}", engine.socket().display())), "{config}");
        // Whatever this version of it does: it ends, and not by a signal.
        assert!(volgc.run(&["--version"]).status.is_some());
        assert_ne!(Volgc::new(&engine).state_dir(), volgc.state_dir());
    }
}

#[test]
fn a_digest_notices_every_change() {
    let place = tempfile::tempdir().expect("a directory");
    let fresh = |name: &str| {
        let dir = place.path().join(name);
        fs::create_dir(&dir).expect("a directory");
        let digest = harness::fill(&dir, 3);
        (dir, digest)
    };
    let (_, digest) = fresh("original");
    assert_eq!(fresh("again").1, digest);
    let changes: [(&str, &str); 9] = [
        (
            "content",
            "cp -p PG_VERSION ../ref && printf x | dd of=PG_VERSION conv=notrunc status=none && touch -r ../ref PG_VERSION",
        ),
        ("mode", "chmod 601 PG_VERSION"),
        ("owner", "chown 998 PG_VERSION"),
        ("time", "touch -d @1600000001 PG_VERSION"),
        ("name", "mv PG_VERSION PG_VERSION2"),
        ("target", "ln -sfn base/2 current"),
        ("link", "ln README README2"),
        ("hole", "truncate -s +1 sparse.img"),
        ("empty", "rmdir empty"),
    ];
    for (name, change) in changes {
        let (dir, before) = fresh(name);
        let listing = tree_listing(&dir);
        assert_eq!(before, digest);
        let status = Command::new("sh").args(["-c", change]).current_dir(&dir).status().expect("a shell");
        assert!(status.success(), "{change}");
        assert_ne!(tree_digest(&dir), digest, "unnoticed: {change}");
        assert_ne!(tree_listing(&dir), listing, "unnoticed: {change}");
    }
    let (dir, _) = fresh("xattr");
    rustix::fs::lsetxattr(dir.join("README"), "user.origin", b"other", rustix::fs::XattrFlags::empty())
        .expect("extended attributes");
    assert_ne!(tree_digest(&dir), digest, "unnoticed: an extended attribute");
    let moved = place.path().join("moved");
    fs::rename(place.path().join("again"), &moved).expect("a rename");
    assert_eq!(tree_digest(&moved), digest);
}
