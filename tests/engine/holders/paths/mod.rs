//! Paths that lead into a volume, however they are written and whoever wrote them: all hold it. And those that only look so.

mod devices;
mod links;
mod namespace;
mod odd;
mod options;
mod ordinary;
mod plugins;
mod specifications;

use std::path::Path;

use serde_json::{Value, json};

use harness::{NO_GRACE, PrivateEngine, Volgc, text, tree_listing};

/// The volumes stay as they are while a sweep takes what is free, and each is held by this holder.
#[track_caller]
fn assert_held(engine: &PrivateEngine, volumes: &[&str], kind: &str, name: &str) -> Volgc {
    engine.create_volume("free", &[]);
    let before: Vec<_> = volumes.iter().map(|volume| tree_listing(&engine.volume_data(volume))).collect();
    let volgc = Volgc::configured(engine, NO_GRACE);
    for _ in 0..3 {
        volgc.ok(&["sweep"]);
    }
    assert!(!engine.volume_names().contains(&"free".to_owned()), "the sweeps took nothing");
    for (volume, before) in volumes.iter().zip(before) {
        assert_eq!(tree_listing(&engine.volume_data(volume)), before, "{volume}");
        assert!(!before.is_empty());
        assert_holds(&volgc, volume, kind, name);
    }
    volgc
}

#[track_caller]
fn assert_holds(volgc: &Volgc, volume: &str, kind: &str, name: &str) {
    let told = volgc.told_of(volume);
    assert_eq!(told["reason"], "held", "{told:#}");
    let is_it = |holder: &Value| holder["kind"] == kind && holder["name"] == name;
    assert!(told["holders"].as_array().unwrap().iter().any(is_it), "no {kind} {name}: {told:#}");
}

/// A volume with something in it.
fn put(engine: &PrivateEngine, volume: &str) {
    engine.create_volume(volume, &[]);
    engine.fill_volume(volume, 4711);
}

/// A volume of the local driver with options.
#[track_caller]
fn mount_volume(engine: &PrivateEngine, name: &str, options: &[(&str, &str)]) {
    let options: serde_json::Map<String, Value> =
        options.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let body = json!({ "Name": name, "Driver": "local", "DriverOpts": options }).to_string();
    engine.json("POST", "/volumes/create", Some(&body));
}

#[track_caller]
fn create(engine: &PrivateEngine, container: &str, arguments: &[&str]) {
    engine.docker(
        &[&["create", "--name", container, "--network", "none"][..], arguments, &["bb", "true"]].concat(),
    );
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn notes(volgc: &Volgc) -> String {
    let report = volgc.report();
    report["notes"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join("\n")
}
