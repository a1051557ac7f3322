//! Every step of every command fails with every error that a file system gives: the command says so and ends with a documented
//! exit code, nothing is lost, and a later sweep leaves nothing half-done.

use std::collections::{BTreeMap, BTreeSet};

use harness::scenario::{COMMANDS, Case, Host, RECOVERIES, Scenario};
use harness::treasure::Place;
use harness::{PrivateEngine, on_each_engine};

/// As `VOLGC_FAULT` names them, with the system's words.
const ERRORS: [(&str, &str); 6] = [
    ("ENOSPC", "No space left on device"),
    ("EIO", "Input/output error"),
    ("EROFS", "Read-only file system"),
    ("EXDEV", "cross-device link"),
    ("EBUSY", "busy"),
    ("EACCES", "Permission denied"),
];

/// Lets every command of these fail at every pass of every fault point: the first scenario that passes a point meets every
/// error there, and all other passes one after the other.
fn endure(engine: &PrivateEngine, scenarios: &[Scenario]) {
    let host = Host::new(engine);
    let mut disturbed: Vec<(String, Case)> = Vec::new();
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let mut turn = 0;
    let mut met: BTreeSet<String> = BTreeSet::new();
    for scenario in scenarios {
        for (point, passes) in host.passes(scenario) {
            let mut orders = Vec::new();
            let is_new = met.insert(point.clone());
            if is_new {
                orders.extend(ERRORS.into_iter().map(|error| (1, error)));
            }
            for pass in (1 + u32::from(is_new))..=passes {
                turn += 1;
                orders.push((pass, ERRORS[turn % ERRORS.len()]));
            }
            for (pass, (errno, words)) in orders {
                let case = host.prepare(scenario);
                let what = format!("{}, {errno} at {point}@{pass}", scenario.name);
                // The walk comes back to what it could not delete, so there it has to fail each time.
                let is_walk = ["delete.file", "delete.directory", "delete.hoist"].contains(&point.as_str());
                let at = if is_walk { point.clone() } else { format!("{point}@{pass}") };
                let output = host.run(&case, &format!("{at}={errno},{}", scenario.with), None);
                let code = output.status.unwrap_or_else(|| panic!("{what}: it died: {output:?}"));
                *codes.entry(code).or_default() += 1;
                assert!(matches!(code, 1 | 3 | 4), "{what}: exit code {code}: {output:?}");
                let told = format!("{}{}", output.stdout, output.stderr);
                let says_why = told.contains(words) || (is_walk && told.contains("is a mount point"));
                assert!(says_why, "{what}: it does not say why: {output:?}");
                assert_nothing_lost(engine, &case, &what);
                host.park();
                disturbed.push((what, case));
            }
        }
    }
    host.unpark_all();
    let recovered = host.volgc.ok(&["sweep"]);
    assert!(!recovered.contains("could not be recovered"), "{recovered}");
    let losses = host.assert_all_well(&disturbed, "after errors");
    eprintln!("errors: {} errors tried, {losses} losses, exit codes {codes:?}", disturbed.len());
}

fn assert_nothing_lost(engine: &PrivateEngine, case: &Case, what: &str) {
    case.assert_behind(what);
    for (number, treasure) in case.treasures.iter().enumerate() {
        if case.is_deletion
            && number == 0
            && matches!(treasure.places(engine).as_slice(), [] | [Place::Deleting(_)])
        {
            continue;
        }
        treasure.assert_whole(engine, what);
    }
}

on_each_engine! {
    fn at_every_step_of_every_command(engine: PrivateEngine) {
        endure(&engine, COMMANDS);
    }

    fn at_every_step_of_a_recovery(engine: PrivateEngine) {
        let quick: Vec<Scenario> = RECOVERIES.iter().filter(|scenario| !scenario.settles).copied().collect();
        endure(&engine, &quick);
    }
}
