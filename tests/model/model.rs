//! The quarantine protocol, explored exhaustively: `volgc::gc::protocol::next`, and between any two of its effects whatever an engine, its
//! users, a kill or a power cut can do. `CONTRIBUTING.md` says what is abstracted away.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "tests have effects, and fail loudly"
)]

mod exchange;

use std::collections::BTreeSet;

use exchange::{Exchange, Mutation, Scope};
use stateright::{Checker, HasDiscoveries, Model as _};
use volgc::gc::protocol::Route;

const LISTED: Scope = Scope {
    name: "a listed volume",
    route: Route::Listed,
    power_fails: false,
    effects_fail: false,
    later: 2,
};

const SCOPES: [Scope; 4] = [
    LISTED,
    Scope { name: "power cuts", power_fails: true, later: 1, ..LISTED },
    Scope { name: "effects that fail", effects_fail: true, later: 1, ..LISTED },
    Scope { name: "an unlisted directory", route: Route::Unlisted, power_fails: true, later: 1, ..LISTED },
];

#[test]
fn the_exchange_keeps_its_promises() {
    for scope in SCOPES {
        let started = std::time::Instant::now();
        let checker = Exchange { scope, mutation: None }.checker().threads(2).spawn_bfs().join();
        let states = checker.unique_state_count();
        println!("model: {}: {states} states in {:.1} s", scope.name, started.elapsed().as_secs_f64());
        checker.assert_properties();
    }
}

#[test]
fn every_change_of_the_exchange_breaks_a_promise() {
    let is_caught = |mutation: Mutation, promise: &'static str| {
        SCOPES.iter().any(|scope| {
            let changed = Exchange { scope: *scope, mutation: Some(mutation) };
            let wanted = HasDiscoveries::AnyOf(BTreeSet::from([promise]));
            changed.checker().threads(2).finish_when(wanted).spawn_bfs().join().discovery(promise).is_some()
        })
    };
    let missed: Vec<_> =
        Mutation::ALL.iter().filter(|(mutation, promise)| !is_caught(*mutation, promise)).collect();
    assert!(missed.is_empty(), "these break no promise: {missed:?}");
}
