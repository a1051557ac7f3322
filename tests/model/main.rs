//! The quarantine protocol, explored exhaustively: volgc's steps in the order of the code, and between any two of them whatever an
//! engine, its users, a proxy, a kill or a power cut can do. `CONTRIBUTING.md` says what is abstracted away.
//!
//! `VOLGC_MODEL=deep` explores more of the world.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::option_option,
    clippy::struct_excessive_bools,
    unreachable_pub,
    missing_docs,
    reason = "tests have effects, and fail loudly"
)]

mod mutation;
mod program;
mod promises;
mod protocol;
mod quarantine;
mod recover;
mod restore;
mod state;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use mutation::{Mutation, Needs};
use protocol::{Protocol, Scope, bit};
use stateright::{Checker, HasDiscoveries, Model as _};
use volgc::host::fault::Point;

/// Fault points that no step of the model passes, each with the reason.
const NOT_MODELLED: &[(Point, &str)] = &[
    (Point::QuarantineMakeDirectory, "makes the quarantine once, before any volume's data is touched"),
    (Point::LedgerWrite, "the ledger says nothing about where data is (I9)"),
    (Point::LedgerRecord, "the history says nothing about where data is (I9)"),
];

const OLD: Scope = Scope {
    name: "an engine before 29.4",
    drops_husks: false,
    proxy: false,
    power_fails: false,
    containers: true,
    restores_as: false,
    later: 1,
    entries: 1,
    remembers_names: false,
};
const NEW: Scope = Scope { name: "an engine from 29.4 on", drops_husks: true, ..OLD };
const PROXY: Scope = Scope { name: "a proxy", proxy: true, restores_as: true, later: 0, ..OLD };
const POWER: Scope = Scope { name: "power cuts", power_fails: true, later: 0, ..OLD };

/// A defect of the protocol as it is, which needs a proxy that keeps a DELETE for long: the entry that says its name is unsafe is
/// restored under another name or deleted, and with it what it said. Then other data is restored under the name.
const KNOWN: Scope = Scope { later: 1, containers: false, ..PROXY };

/// The scopes of every run, or with more of the world.
fn scopes() -> Vec<Scope> {
    let scopes = vec![OLD, NEW, PROXY, POWER];
    if std::env::var("VOLGC_MODEL").is_ok_and(|wish| wish == "deep") {
        let more = [
            Scope { name: "a proxy and a successor", remembers_names: true, later: 1, ..PROXY },
            Scope { name: "a proxy and an engine from 29.4 on", drops_husks: true, ..PROXY },
            Scope { name: "power cuts and a successor", later: 1, ..POWER },
            Scope { name: "power cuts and an engine from 29.4 on", drops_husks: true, ..POWER },
            Scope { name: "two entries", entries: 2, ..OLD },
        ];
        return [scopes, more.to_vec()].concat();
    }
    scopes
}

/// Explores everything. The states, the promises, and the points that were passed.
fn explore(scope: Scope) -> (usize, BTreeSet<&'static str>, u64) {
    let started = std::time::Instant::now();
    let checker = Protocol::new(scope, None).checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("model: with {}: {states} states in {:.1} s", scope.name, started.elapsed().as_secs_f64());
    let names = checker.model().properties().iter().map(|property| property.name).collect();
    (states, names, checker.model().passed.load(Ordering::Relaxed))
}

/// How many steps lead to a state that breaks a promise; none when there is no such state.
fn breaks(scope: Scope, mutation: Option<Mutation>, promise: &'static str) -> Option<usize> {
    let checker = Protocol::new(scope, mutation)
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([promise])))
        .spawn_bfs()
        .join();
    Some(checker.discovery(promise)?.into_actions().len())
}

/// Whether a mutation breaks the promise that it must.
fn is_caught(mutation: Mutation) -> bool {
    let scope = match mutation.needs() {
        Needs::NothingElse => OLD,
        Needs::Proxy => PROXY,
        Needs::PowerCut => POWER,
    };
    let promise = mutation.breaks();
    let steps = breaks(scope, Some(mutation), promise);
    println!("model: {mutation:?} breaks \"{promise}\" after {steps:?} steps");
    steps.is_some()
}

#[test]
fn the_protocol_keeps_its_promises_and_every_mutation_breaks_one() {
    let (mut states, mut promises, mut passed) = (0, BTreeSet::new(), 0);
    for scope in scopes() {
        let (more, names, points) = explore(scope);
        states += more;
        promises.extend(names);
        passed |= points;
    }
    for point in Point::ALL {
        let excused = NOT_MODELLED.iter().any(|(one, _)| one == point);
        let modelled = passed & bit(*point) != 0;
        assert!(modelled != excused, "{}: modelled {modelled}, excused {excused}", point.word());
    }
    let late = "I5: a DELETE never hits data that was put back";
    assert!(
        breaks(KNOWN, None, late).is_some(),
        "the protocol remembers names by now: say so in KNOWN and in CONTRIBUTING.md"
    );
    let missed: Vec<_> = Mutation::ALL.iter().filter(|mutation| !is_caught(**mutation)).collect();
    assert!(missed.is_empty(), "these do not break the promise that they must: {missed:?}");
    println!(
        "model: {states} states, {} properties, {} mutations caught",
        promises.len(),
        Mutation::ALL.len()
    );
}
