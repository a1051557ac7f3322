//! A container is made, or made and started, while a quarantine rests before each of its effects in turn: it has the volume with its
//! data, or a new one and the data is in quarantine. (What each point means for whom, one by one, is in `started_meanwhile`.)

use std::collections::BTreeMap;

use harness::scenario::{Case, Host, Scenario};
use harness::treasure::{Place, assert_no_husk};
use harness::{PrivateEngine, Version, in_full, on_each_engine, show};
use serde_json::{Value, json};

use crate::faults::first_of_each_group;

/// Steps within one write of a manifest and one removal of an entry, which volgc does without looking at anything in between: a
/// container that comes there comes right before them, or right after them.
const WITHIN: [&str; 8] = [
    "manifest.write",
    "manifest.sync",
    "manifest.rename",
    "manifest.sync_directory",
    "manifest.sync_quarantine",
    "drop.unlink",
    "drop.directory",
    "drop.sync",
];

/// How a container comes to the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Create,
    Start,
    BindItsPath,
}

/// What volgc does between two requests is the same with each engine, so in the short lane the newer ones see one point in each group
/// of effects between them.
fn points(version: Version, mut passes: Vec<(String, u32)>) -> Vec<(String, u32)> {
    let firsts = first_of_each_group(&passes);
    passes.retain(|(point, _)| match version {
        _ if in_full() => true,
        Version::V20_10 => !WITHIN.contains(&point.as_str()),
        Version::V26_1 | Version::V28_5 => firsts.contains(point),
    });
    passes
}

/// The scenario's command rests at every pass of every point, and a container wants its volume there.
fn want_at_each_point(engine: &PrivateEngine, name: &str, wish: Wish) {
    let host = Host::new(engine);
    let scenario = Scenario::named(name);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cases: Vec<(String, Case)> = Vec::new();
    for (point, passes) in points(engine.version(), host.passes(&[scenario]).remove(0)) {
        for pass in 1..=passes {
            let case = host.prepare(&scenario);
            let what = format!("{wish:?}, {name} at {point}@{pass}");
            let resting = host.rest_at(&case, &format!("{point}@{pass}"), scenario.with);
            let id = make(engine, &case.treasures[0].name, wish);
            let output = resting.end();
            assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{what}: {}", show(&output));
            *outcomes.entry(judge(engine, &case, id.as_deref(), wish, &what)).or_default() += 1;
            if let Some(id) = id {
                engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
            }
            host.park();
            cases.push((what, case));
        }
    }
    eprintln!("{:?} {wish:?}, {name}: {outcomes:?}", engine.version());
    assert_no_husk(engine, name);
    host.settle(&cases, name);
}

fn make(engine: &PrivateEngine, volume: &str, wish: Wish) -> Option<String> {
    let mount = match wish {
        Wish::Create | Wish::Start => json!({ "Type": "volume", "Source": volume, "Target": "/data" }),
        Wish::BindItsPath => {
            json!({ "Type": "bind", "Source": engine.volume_data(volume), "Target": "/data" })
        }
    };
    let body = json!({
        "Image": "bb", "Cmd": ["cat", "/data/id"],
        "HostConfig": { "NetworkMode": "none", "Mounts": [mount] },
    });
    let (_, text) = engine.api("POST", "/containers/create", Some(&body.to_string()));
    let id = serde_json::from_str::<Value>(&text).unwrap_or_default()["Id"].as_str()?.to_owned();
    if wish == Wish::Start {
        engine.api("POST", &format!("/containers/{id}/start"), None);
    }
    Some(id)
}

/// What a container reads that is started now, or runs still (304).
fn read(engine: &PrivateEngine, id: &str) -> Option<String> {
    let (status, _) = engine.api("POST", &format!("/containers/{id}/start"), None);
    let (code, told) = matches!(status, 204 | 304).then(|| engine.read_from(id))?;
    (code == 0).then_some(told)
}

fn judge(engine: &PrivateEngine, case: &Case, id: Option<&str>, wish: Wish, what: &str) -> &'static str {
    let treasure = &case.treasures[0];
    match (treasure.assert_whole(engine, what), id) {
        (Place::Volume(name), Some(id)) => {
            assert_eq!(name, treasure.name, "{what}");
            assert_eq!(read(engine, id).as_ref(), Some(&treasure.name), "{what}");
            "has its data"
        }
        (Place::Volume(_), None) => "left, and the container was not made",
        (Place::Entry(_, manifest), id) => {
            assert_eq!(manifest["state"], "quarantined", "{what}: {manifest:#}");
            if wish != Wish::BindItsPath
                && let Some(id) = id
            {
                assert!(engine.volume_data(&treasure.name).is_dir(), "{what}: its new volume has no data");
                assert_eq!(read(engine, id), None, "{what}: it reads what is in quarantine");
            }
            "has a new volume, or none"
        }
        (Place::Deleting(entry), _) => panic!("{what}: {entry}"),
    }
}

on_each_engine! {
    fn of_a_quarantine_made(engine: PrivateEngine) {
        want_at_each_point(&engine, "quarantine", Wish::Create);
    }

    fn of_a_quarantine_started(engine: PrivateEngine) {
        want_at_each_point(&engine, "quarantine", Wish::Start);
    }

    fn of_a_quarantine_bound_by_its_path(engine: PrivateEngine) {
        want_at_each_point(&engine, "quarantine", Wish::BindItsPath);
    }

    fn of_a_quarantine_that_is_undone(engine: PrivateEngine) {
        want_at_each_point(&engine, "quarantine undone", Wish::Start);
    }

    fn of_a_recovery(engine: PrivateEngine) {
        want_at_each_point(&engine, "recovery of moving", Wish::Create);
    }

    fn of_a_sweep(engine: PrivateEngine) {
        want_at_each_point(&engine, "sweep that quarantines", Wish::Create);
    }
}
