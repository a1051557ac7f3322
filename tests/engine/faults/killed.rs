//! The program is killed (SIGKILL) at every step of every command, then started again: every volume is whole and in one place
//! at the instant of death (I4), and nothing is left half-done afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use harness::scenario::{COMMANDS, Case, Family, Host, RECOVERIES, Scenario};
use harness::treasure::names;
use harness::{PrivateEngine, Version, in_full, on_each_engine};
use serde_json::json;
use volgc::host::fault::Point;

use super::first_of_each_group;

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
    let passes = host.passes(scenarios);
    let mut killed: Vec<(String, Case)> = Vec::new();
    let mut total = (0, 0);
    for (scenario, passes) in scenarios.iter().zip(passes) {
        kill_at_each(&host, scenario, &passes, between, &mut killed);
        // An engine is restarted once for all scenarios. Without that each settles alone, while there are few volumes.
        if matches!(between, Between::Nothing | Between::ContainerCreated) {
            total = (total.0 + killed.len(), total.1 + recover(&host, &killed, between));
            killed.clear();
            host.clear();
        }
    }
    if !killed.is_empty() {
        total = (killed.len(), recover(&host, &killed, between));
    }
    eprintln!("killed: {} kills tried, {} losses", total.0, total.1);
}

fn kill_at_each(
    host: &Host<'_>,
    scenario: &Scenario,
    passes: &[(String, u32)],
    between: Between,
    killed: &mut Vec<(String, Case)>,
) {
    let orders = orders(host.engine.version(), between, passes);
    assert!(!orders.is_empty(), "{}: passes no fault point", scenario.name);
    host.expect(orders.len());
    for order in orders {
        let mut case = host.prepare(scenario);
        let what = format!("{}, killed at {order}", scenario.name);
        let output = host.run(&case, &format!("{order}=kill,{}", scenario.with), None);
        assert_eq!(output.status, None, "{what}: it was not killed: {output:?}");
        case.assert_nothing_lost(host.engine, &what);
        if between == Between::ContainerCreated {
            create_containers(host.engine, &case);
            case.is_adopted = scenario.name.starts_with("restore");
        }
        host.park();
        killed.push((what, case));
    }
}

/// Every pass of every point on one engine. What volgc does between two requests is the same with each, so in the short lane the
/// others see one kill in each group of effects between them; and so does what comes after a death, which sees no difference either.
fn orders(version: Version, between: Between, passes: &[(String, u32)]) -> Vec<String> {
    if (version != Version::V20_10 || between != Between::Nothing) && !in_full() {
        return first_of_each_group(passes).into_iter().map(|point| format!("{point}@1")).collect();
    }
    let all =
        passes.iter().flat_map(|(point, passes)| (1..=*passes).map(move |pass| format!("{point}@{pass}")));
    all.collect()
}

fn recover(host: &Host<'_>, killed: &[(String, Case)], between: Between) -> usize {
    let (engine, when) = (host.engine, format!("{between:?}"));
    host.unpark_all();
    match between {
        Between::Nothing | Between::ContainerCreated => {}
        Between::EngineRestarted => engine.restart(),
        Between::EngineKilled => {
            engine.kill();
            engine.restart();
        }
    }
    if killed.iter().any(|(what, _)| what.starts_with("acknowledge")) {
        // Somebody who was not heard says it again.
        host.volgc.ok(&["acknowledge"]);
    }
    host.recover_all(&when);
    if between == Between::ContainerCreated {
        for container in engine.json("GET", "/containers/json?all=1", None).as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap();
            engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
        }
    }
    host.assert_all_well(killed, &when)
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

on_each_engine! {
    fn quarantines(engine: PrivateEngine) {
        survive(&engine, &Family::Quarantines.scenarios(), Between::Nothing);
    }

    fn restores(engine: PrivateEngine) {
        survive(&engine, &Family::Restores.scenarios(), Between::Nothing);
    }

    fn deletions(engine: PrivateEngine) {
        survive(&engine, &Family::Deletions.scenarios(), Between::Nothing);
    }

    fn changes_of_the_ledger(engine: PrivateEngine) {
        survive(&engine, &Family::Ledger.scenarios(), Between::Nothing);
    }

    fn quarantines_of_what_is_not_listed(engine: PrivateEngine) {
        survive(&engine, &Family::Unlisted.scenarios(), Between::Nothing);
    }

    fn quarantines_in_place(engine: PrivateEngine) {
        survive(&engine, &Family::InPlace.scenarios(), Between::Nothing);
    }

    fn recoveries_of_moves(engine: PrivateEngine) {
        survive(&engine, &Family::CutMoves.scenarios(), Between::Nothing);
    }

    fn recoveries_of_what_is_in_doubt(engine: PrivateEngine) {
        survive(&engine, &Family::Doubts.scenarios(), Between::Nothing);
    }

    fn recoveries_of_restores(engine: PrivateEngine) {
        survive(&engine, &Family::CutRestores.scenarios(), Between::Nothing);
    }

    fn recoveries_of_deletions(engine: PrivateEngine) {
        survive(&engine, &Family::CutDeletions.scenarios(), Between::Nothing);
    }

    fn recoveries_of_what_is_not_listed(engine: PrivateEngine) {
        survive(&engine, &Family::CutUnlisted.scenarios(), Between::Nothing);
    }

    /// To be killed and started is all that a restart is but for the engine's last words, which say nothing of volumes. So not each
    /// way of moving data is tried here, too, but where there is time for it.
    fn then_the_engine_is_restarted(engine: PrivateEngine) {
        let some = ["quarantine", "restore"].map(Scenario::named).to_vec();
        let scenarios = if in_full() { Scenario::basic() } else { some };
        survive(&engine, &scenarios, Between::EngineRestarted);
    }

    fn then_the_engine_is_killed_too(engine: PrivateEngine) {
        survive(&engine, &Scenario::basic(), Between::EngineKilled);
    }

    fn then_a_container_is_created_on_it(engine: PrivateEngine) {
        survive(&engine, &Scenario::basic(), Between::ContainerCreated);
    }

    /// Somebody exchanges the data right before it is taken: what was taken by that goes back, also when that is interrupted.
    fn what_was_exchanged_before_it_was_taken_goes_back(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let scenario = Scenario::named("quarantine");
        for (number, fault) in ["", "exchange.back=kill", "exchange.back=EIO"].into_iter().enumerate() {
            let case = host.prepare(&scenario);
            let data = engine.volume_data(&case.treasures[0].name);
            let resting = host.rest_at(&case, "exchange.swap", fault);
            let aside = engine.root().join(format!("aside-{number}"));
            fs::rename(&data, &aside).unwrap();
            fs::create_dir(&data).unwrap();
            fs::write(data.join("id"), "another").unwrap();
            let other = fs::metadata(&data).unwrap().ino();
            let output = resting.end();
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
        let passes = host.passes(&[COMMANDS, RECOVERIES].concat());
        let passed: BTreeSet<String> = passes.into_iter().flatten().map(|(point, _)| point).collect();
        // The loop of the service is no effect: tests/daemon.rs lets it hang there.
        // XFS alone takes an exchange for a change: `stuck::file_systems::one_project_over_the_whole_root_is_collected`.
        let elsewhere = [Point::ServiceLoop, Point::ExchangeTimes];
        let effects = Point::ALL.iter().filter(|point| !elsewhere.contains(point));
        let all: BTreeSet<String> = effects.map(|point| point.word().to_owned()).collect();
        assert_eq!(passed, all, "never passed: {:?}", all.difference(&passed).collect::<Vec<_>>());
        eprintln!("fault points: {} of {} passed", passed.len(), Point::ALL.len());
    }
}
