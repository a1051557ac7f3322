//! The program is killed (SIGKILL) at every step of every command, then started again: every volume is whole and in one place
//! at the instant of death (I4), and nothing is left half-done afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use harness::scenario::{COMMANDS, Case, Host, RECOVERIES, Scenario};
use harness::treasure::{Place, names};
use harness::{PrivateEngine, on_each_engine};
use serde_json::json;
use volgc::host::fault::Point;

/// What happens between the death of the program and its next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    EngineRestarted,
    EngineKilled,
    ContainerCreated,
}

/// Kills every command of these at every pass of every fault point, and recovers from all that.
fn survive(engine: &PrivateEngine, scenarios: &[Scenario], between: Between) {
    let host = Host::new(engine);
    let mut killed: Vec<(String, Case)> = Vec::new();
    for scenario in scenarios {
        let orders: Vec<String> = host
            .passes(scenario)
            .into_iter()
            .flat_map(|(point, passes)| (1..=passes).map(move |pass| format!("{point}@{pass}")))
            .collect();
        assert!(!orders.is_empty(), "{}: passes no fault point", scenario.name);
        for order in orders {
            let mut case = host.prepare(scenario);
            let what = format!("{}, killed at {order}", scenario.name);
            let output = host.run(&case, &format!("{order}=kill,{}", scenario.with), None);
            assert_eq!(output.status, None, "{what}: it was not killed: {output:?}");
            assert_survived(engine, &case, &what);
            if between == Between::ContainerCreated {
                create_containers(engine, &case);
                case.is_adopted = scenario.name.starts_with("restore");
            }
            host.park();
            killed.push((what, case));
        }
    }
    host.unpark_all();
    match between {
        Between::Nothing | Between::ContainerCreated => {}
        Between::EngineRestarted => engine.restart(),
        Between::EngineKilled => {
            engine.kill();
            engine.restart();
        }
    }
    let recovered = host.volgc.ok(&["sweep"]);
    assert!(!recovered.contains("could not be recovered"), "{recovered}");
    if between == Between::ContainerCreated {
        for container in engine.json("GET", "/containers/json?all=1", None).as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap();
            engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
        }
    }
    let losses = host.assert_all_well(&killed, &format!("{between:?}"));
    eprintln!("killed: {} kills tried, {losses} losses", killed.len());
}

/// At the instant of death.
fn assert_survived(engine: &PrivateEngine, case: &Case, what: &str) {
    case.assert_behind(what);
    for (number, treasure) in case.treasures.iter().enumerate() {
        if case.is_deletion && number == 0 {
            // From its first step on it may only go on; until then it is whole.
            match treasure.places(engine).as_slice() {
                [] | [Place::Deleting(_)] => continue,
                _ => {}
            }
        }
        treasure.assert_whole(engine, what);
    }
}

/// Somebody wants each volume at the worst moment. Whether the engine can do it is its own affair.
fn create_containers(engine: &PrivateEngine, case: &Case) {
    for treasure in &case.treasures {
        let body = json!({
            "Image": "bb",
            "Cmd": ["true"],
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [{ "Type": "volume", "Source": treasure.name, "Target": "/data" }],
            },
        });
        engine.api("POST", "/containers/create", Some(&body.to_string()));
    }
}

/// Each way of moving data once.
fn basic() -> Vec<Scenario> {
    let names = ["quarantine", "quarantine undone", "restore", "restore replacing", "delete"];
    let basic: Vec<Scenario> =
        COMMANDS.iter().filter(|scenario| names.contains(&scenario.name)).copied().collect();
    assert_eq!(basic.len(), names.len());
    basic
}

on_each_engine! {
    fn at_every_step_of_every_command(engine: PrivateEngine) {
        survive(&engine, COMMANDS, Between::Nothing);
    }

    fn at_every_step_of_a_recovery(engine: PrivateEngine) {
        survive(&engine, RECOVERIES, Between::Nothing);
    }

    fn then_the_engine_is_restarted(engine: PrivateEngine) {
        survive(&engine, &basic(), Between::EngineRestarted);
    }

    fn then_the_engine_is_killed_too(engine: PrivateEngine) {
        survive(&engine, &basic(), Between::EngineKilled);
    }

    fn then_a_container_is_created_on_it(engine: PrivateEngine) {
        survive(&engine, &basic(), Between::ContainerCreated);
    }

    /// Somebody exchanges the data right before it is taken: what was taken by that goes back, also when that is interrupted.
    fn what_was_exchanged_before_it_was_taken_goes_back(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let scenario = basic().remove(0);
        for (number, fault) in ["", "take.undo=kill", "take.undo=EIO"].into_iter().enumerate() {
            let case = host.prepare(&scenario);
            let data = engine.volume_data(&case.treasures[0].name);
            let child = host.rest_at(&case, fault, "take.rename", 1, 1500);
            let aside = engine.dir().join(format!("aside-{number}"));
            fs::rename(&data, &aside).unwrap();
            fs::create_dir(&data).unwrap();
            fs::write(data.join("id"), "another").unwrap();
            let other = fs::metadata(&data).unwrap().ino();
            let output = child.wait_with_output().unwrap();
            assert!(!output.status.success(), "{fault}: {output:?}");
            assert_eq!(output.status.code().is_none(), fault.ends_with("kill"), "{fault}: {output:?}");
            let is_back = |data: &Path| fs::metadata(data).is_ok_and(|meta| meta.ino() == other);
            if fault.is_empty() {
                assert!(is_back(&data), "{output:?}");
            }
            host.volgc.ok(&["sweep"]);
            assert!(is_back(&data), "{fault}: what was taken by mistake is not where it was");
            assert_eq!(fs::read_to_string(data.join("id")).unwrap(), "another", "{fault}");
            assert_eq!(names(&engine.root().join("volgc")), Vec::<String>::new(), "{fault}");
            // And the treasure is still its volume's own, once it is put back.
            fs::remove_dir_all(&data).unwrap();
            fs::rename(&aside, &data).unwrap();
            case.treasures[0].assert_back(&engine, &case.treasures[0].name, fault);
        }
    }

    /// A new fault point needs a scenario that passes it.
    fn no_fault_point_is_left_out(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let passed: BTreeSet<String> = COMMANDS
            .iter()
            .chain(RECOVERIES)
            .flat_map(|scenario| host.passes(scenario))
            .map(|(point, _)| point)
            .collect();
        // The loop of the service is no effect: tests/daemon.rs lets it hang there.
        // What undoes an exchange needs somebody who exchanges: `what_was_exchanged_before_it_was_taken_goes_back`.
        let elsewhere = [Point::ServiceLoop, Point::TakeUndo];
        let effects = Point::ALL.iter().filter(|point| !elsewhere.contains(point));
        let all: BTreeSet<String> = effects.map(|point| point.word().to_owned()).collect();
        assert_eq!(passed, all, "never passed: {:?}", all.difference(&passed).collect::<Vec<_>>());
        eprintln!("fault points: {} of {} passed", passed.len(), Point::ALL.len());
    }
}
