//! A mount whose server does not answer, on one volume: it is told and not touched, and everything else goes on (I14).

use std::fs;
use std::process::{Command, Output};

use harness::hung::Hung;
use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Version, Volgc, on_each_engine, text};
use serde_json::Value;

/// A command that does not touch the mount ends in a moment; one that does, never.
const LIMIT: &str = "20";

/// Runs a command to its end, which a signal is when it takes too long.
fn run(volgc: &Volgc, arguments: &[&str]) -> Output {
    let plain = volgc.command(arguments);
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", LIMIT]).arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.output().unwrap()
}

#[track_caller]
fn ok(volgc: &Volgc, arguments: &[&str]) -> String {
    let output = run(volgc, arguments);
    assert!(output.status.success(), "volgc {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(volgc: &Volgc, arguments: &[&str]) -> Vec<Value> {
    let told: Value = serde_json::from_str(&ok(volgc, arguments)).unwrap();
    told.as_array().or_else(|| told["volumes"].as_array()).unwrap().clone()
}

#[track_caller]
fn reason_of(volgc: &Volgc, volume: &str) -> String {
    let volumes = json(volgc, &["report", "--format", "json"]);
    text(&volumes.iter().find(|line| line["name"] == volume).unwrap()["reason"])
}

#[track_caller]
fn quarantined(volgc: &Volgc) -> Vec<String> {
    let mut names: Vec<String> =
        json(volgc, &["list", "--format", "json"]).iter().map(|entry| text(&entry["name"])).collect();
    // Entries of one second are listed in any order.
    names.sort();
    names
}

fn make(engine: &PrivateEngine) {
    for volume in ["hung", "free", "held"] {
        engine.create_volume(volume, &[]);
    }
    engine.docker(&["create", "--name", "app", "--network", "none", "-v", "held:/data", "bb", "true"]);
}

/// The volume is told, and kept for what is mounted on it; one beside it is moved, deleted, and brought back.
#[track_caller]
fn assert_the_rest_goes_on(engine: &PrivateEngine, hung: &str, reason: &str) {
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    let shown = ok(&volgc, &["report"]);
    assert!(shown.contains(hung), "{shown}");
    assert_eq!(reason_of(&volgc, hung), reason);
    ok(&volgc, &["explain", hung]);
    ok(&volgc, &["check"]);
    ok(&volgc, &["sweep"]);
    let told = ok(&volgc, &["sweep"]);
    assert_eq!(quarantined(&volgc), ["free"], "{told}");
    ok(&volgc, &["restore", "free"]);
    volgc.config(NO_GRACE);
    for _ in 0..3 {
        ok(&volgc, &["sweep"]);
    }
    let mut left = vec![hung, "held"];
    left.sort_unstable();
    assert_eq!(engine.volume_names(), left);
    let refused = run(&volgc, &["quarantine", hung]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

/// With a time limit on the engine's answers, in milliseconds.
fn hurried(engine: &PrivateEngine, milliseconds: u32) -> Volgc {
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    volgc.env("VOLGC_FAULT", format!("engine.answer_patience={milliseconds}"))
}

/// The rest goes on. But up to 20.10 the engine looks at the data of each volume for its list, and hangs: then volgc says so, in its time,
/// and goes on with these volumes as soon as the engine does.
#[track_caller]
fn assert_goes_on_or_says_why(engine: &PrivateEngine, hung: Hung, reason: &str, at_last: &[&str]) {
    if engine.version() != Version::V20_10 {
        return assert_the_rest_goes_on(engine, "hung", reason);
    }
    let volgc = hurried(engine, 2000);
    for words in [&["report"][..], &["sweep"], &["list"]] {
        let output = run(&volgc, words);
        assert_eq!(output.status.code(), Some(4), "{words:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        let says_why = told.contains("GET /v1.41/volumes") && told.contains("mounted on the data of hung");
        assert!(says_why, "{told}");
    }
    drop(hung);
    engine.restart();
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    volgc.sweep_twice();
    assert_eq!(quarantined(&volgc), at_last);
}

on_each_engine! {
    fn on_the_data_of_a_volume(version: Version) {
        let engine = PrivateEngine::start(version);
        make(&engine);
        let hung = Hung::mount(&engine.volume_data("hung"));
        assert_goes_on_or_says_why(&engine, hung, "mounted", &["free", "hung"]);
    }

    /// Only the engine sees the mount, in a namespace of its own.
    fn on_the_data_of_a_volume_in_the_engines_namespace(version: Version) {
        let engine = PrivateEngine::builder(version).own_root("").start();
        make(&engine);
        let hung = Hung::mount_for_engine(&engine, &engine.volume_data("hung"));
        assert_goes_on_or_says_why(&engine, hung, "mounted", &["free", "hung"]);
    }

    /// On the volume's own directory, with the engine's data hidden below.
    fn on_the_directory_of_a_volume(version: Version) {
        let engine = PrivateEngine::start(version);
        make(&engine);
        let hung = Hung::mount(&engine.volumes_dir().join("hung"));
        assert_goes_on_or_says_why(&engine, hung, "mounted", &["free", "hung"]);
    }

    /// A volume with driver options, as an NFS volume whose server went away while a container used it.
    fn on_a_volume_with_driver_options(version: Version) {
        let engine = PrivateEngine::start(version);
        let options = serde_json::json!({ "type": "nfs", "o": "addr=192.0.2.1", "device": ":/export" });
        let body = serde_json::json!({ "Name": "hung", "Driver": "local", "DriverOpts": options }).to_string();
        engine.json("POST", "/volumes/create", Some(&body));
        for volume in ["free", "held"] {
            engine.create_volume(volume, &[]);
        }
        engine.docker(&["create", "--name", "app", "--network", "none", "-v", "held:/data", "bb", "true"]);
        let hung = Hung::mount(&engine.volume_data("hung"));
        assert_goes_on_or_says_why(&engine, hung, "driver_options", &["free"]);
    }

    /// The engine never touches it, whatever its version.
    fn below_the_data_of_a_volume_and_on_entries_of_the_quarantine(version: Version) {
        let engine = PrivateEngine::start(version);
        make(&engine);
        for volume in ["entry", "data"] {
            engine.create_volume(volume, &[]);
            fs::write(engine.volume_data(volume).join("file"), "data").unwrap();
        }
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "entry", "data"]);
        let deep = engine.volume_data("hung").join("deep");
        fs::create_dir(&deep).unwrap();
        let entry = engine.root().join("volgc").join(volgc.entry_id_of("entry"));
        let data = engine.quarantined_data(&volgc.entry_id_of("data"));
        let hung = [Hung::mount(&deep), Hung::mount(&entry), Hung::mount(&data)];
        ok(&volgc, &["report"]);
        volgc.config(&NO_GRACE.replace("mode = \"enforce\"", "mode = \"quarantine\""));
        for _ in 0..2 {
            ok(&volgc, &["sweep"]);
        }
        assert_eq!(reason_of(&volgc, "hung"), "mounted");
        let entries = json(&volgc, &["list", "--format", "json"]);
        let states: Vec<String> = entries.iter().map(|one| text(&one["state"])).collect();
        assert_eq!(states.iter().filter(|state| *state == "damaged").count(), 1, "{states:?}");
        assert_eq!(states.iter().filter(|state| *state == "quarantined").count(), 2, "{states:?}");
        let refused = run(&volgc, &["restore", "data"]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("mounted on"), "{refused:?}");
        let held = entries.iter().find(|entry| entry["name"] == "data").unwrap();
        let refused = run(&volgc, &["delete", &text(&held["entry"]), "--yes"]);
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        drop(hung);
        // Unmounted, everything is as it was.
        for volume in ["entry", "data"] {
            volgc.ok(&["restore", volume]);
            assert_eq!(fs::read_to_string(engine.volume_data(volume).join("file")).unwrap(), "data");
        }
    }

    /// A server that died answers every touch with an error (ENOTCONN).
    fn a_server_that_died(version: Version) {
        let engine = PrivateEngine::start(version);
        make(&engine);
        let mut hung = Hung::mount(&engine.volume_data("hung"));
        hung.die();
        assert_the_rest_goes_on(&engine, "hung", "mounted");
    }
}
