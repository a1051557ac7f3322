//! A container is made, or made and started, while a quarantine rests before each of its effects in turn: it has the volume with its
//! data, or a new one and the data is in quarantine. (What each point means for whom, one by one, is in `started_meanwhile`.)

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::scenario::{COMMANDS, Case, Host, RECOVERIES, Scenario};
use harness::treasure::{Place, assert_no_husk};
use harness::{PrivateEngine, on_each_engine, show};
use serde_json::{Value, json};

/// Long enough for a container to be made on a busy machine, mostly; when it is not, that is one more order of events.
const REST: Duration = Duration::from_millis(1200);

/// How a container comes to the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Create,
    Start,
    BindItsPath,
}

/// The scenario's command rests at every pass of every point, and a container wants its volume there.
fn want_at_each_point(engine: &PrivateEngine, scenario: &Scenario, wish: Wish) {
    let host = Host::new(engine);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cases: Vec<(String, Case)> = Vec::new();
    for (point, passes) in host.passes(scenario) {
        for pass in 1..=passes {
            let case = host.prepare(scenario);
            let what = format!("{wish:?}, {} at {point}@{pass}", scenario.name);
            let rest = u64::try_from(REST.as_millis()).unwrap();
            let command = host.rest_at(&case, scenario.with, &point, pass, rest);
            let began = Instant::now();
            let id = make(engine, &case.treasures[0].name, wish);
            let in_time = began.elapsed() < REST;
            let output = command.wait_with_output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{what}: {}", show(&output));
            *outcomes.entry(judge(engine, &case, id.as_deref(), wish, &what)).or_default() += 1;
            if !in_time {
                *outcomes.entry("(of these: made when the command went on)").or_default() += 1;
            }
            if let Some(id) = id {
                engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
            }
            host.park();
            cases.push((what, case));
        }
    }
    eprintln!("{:?} {wish:?}, {}: {outcomes:?}", engine.version(), scenario.name);
    assert_no_husk(engine, scenario.name);
    host.unpark_all();
    host.volgc.ok(&["sweep"]);
    host.assert_all_well(&cases, scenario.name);
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

/// What a container reads that is started now.
fn read(engine: &PrivateEngine, id: &str) -> Option<String> {
    let output = engine.try_docker(&["start", "-a", id]);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

fn scenario(name: &str) -> Scenario {
    *COMMANDS.iter().chain(RECOVERIES).find(|scenario| scenario.name == name).unwrap()
}

on_each_engine! {
    fn of_a_quarantine_made(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("quarantine"), Wish::Create);
    }

    fn of_a_quarantine_started(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("quarantine"), Wish::Start);
    }

    fn of_a_quarantine_bound_by_its_path(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("quarantine"), Wish::BindItsPath);
    }

    fn of_a_quarantine_that_is_undone(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("quarantine undone"), Wish::Start);
    }

    fn of_a_recovery(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("recovery of moving"), Wish::Create);
    }

    fn of_a_sweep(engine: PrivateEngine) {
        want_at_each_point(&engine, &scenario("sweep that quarantines"), Wish::Create);
    }
}
