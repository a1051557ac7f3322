//! The quarantine protocol, explored exhaustively: volgc's steps in the order of the code, and between any two of them whatever an
//! engine, its users, a proxy, a kill or a power cut can do. `CONTRIBUTING.md` says what is abstracted away.
//!
//! `VOLGC_MODEL=deep` explores more of the world.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
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
use protocol::{Protocol, Scope};
use stateright::{Checker, HasDiscoveries, Model as _};
use volgc::host::fault::Point;

/// Fault points that no step of the model passes, each with the reason.
const NOT_MODELLED: &[(Point, &str)] = &[
    (Point::QuarantineMakeDirectory, "makes the quarantine once, before any volume's data is touched"),
    (Point::QuarantineSync, "the same"),
    (Point::LockFile, "the lock keeps two programs apart; one is modelled"),
    (Point::LockWrite, "who holds the lock is written for people"),
    (Point::NoteMake, "the ledger is not modelled"),
    (Point::NoteWrite, "the same"),
    (Point::NoteSync, "the same"),
    (Point::NoteRename, "the same"),
    (Point::NoteSyncDirectory, "the same"),
    (Point::ManifestMake, "makes the temporary file that the next step writes"),
    (Point::ManifestSyncQuarantine, "one step with `manifest.sync_directory`"),
    (Point::TakeUndo, "one step with `take.rename` and the look behind it"),
    (Point::SyncEmptyVolume, "an empty directory that comes back by a power cut is removed again"),
    (Point::DropTemporary, "a temporary manifest is read by nobody"),
    (Point::DropSync, "an entry that comes back by a power cut is dropped again"),
    (Point::RestoreDirectoryMode, "one step with `restore.make_directory`"),
    (Point::RestoreSyncDirectory, "the same"),
    (Point::RestoreSyncVolumes, "one step with `restore.sync`"),
    (Point::RetakeRename, "one step with the look before it"),
    (Point::RetakeSync, "the same"),
    (Point::RestoreMode, "one step with `restore.ownership`"),
    (Point::RestoreSyncData, "the same"),
    (Point::DeleteMark, "one step with `delete.rename`, in whose place it is when there is no room"),
    (Point::DeleteMarkSync, "the same"),
    (Point::ManifestOverwrite, "one step with the manifest that it is in the place of when there is no room"),
    (Point::ManifestOverwriteSync, "the same"),
    (Point::DeleteSync, "a deletion that a power cut undoes is begun again"),
    (Point::DeleteFile, "one step with `delete.contents`"),
    (Point::DeleteDirectory, "the same"),
    (Point::DeleteHoist, "the same"),
    (Point::NameRemember, "one step with the end of the entry; what it is for is `remembers_names`"),
    (Point::NameRefresh, "the same"),
    (Point::NameSync, "the same"),
    (Point::UnlistedAskAgain, "what the engine does not list is moved without asking it for anything"),
    (Point::UnlistedAskLast, "the same"),
    (Point::EngineRemove, "what is in place is never moved"),
    (Point::EngineRemoved, "the same"),
    (Point::InPlaceAskAgain, "the same"),
    (Point::RemoveEmptyEntry, "there is nothing in it"),
    (Point::LedgerMakeDirectory, "the ledger says nothing about where data is (I9)"),
    (Point::LedgerMakeFile, "the same"),
    (Point::LedgerSyncDirectory, "the same"),
    (Point::LedgerMakeTables, "the same"),
    (Point::LedgerMakeLineage, "the same"),
    (Point::LedgerAmend, "the same"),
    (Point::LedgerNote, "the same"),
    (Point::LedgerBindHolds, "the same"),
    (Point::LedgerWrite, "the same"),
    (Point::LedgerRecord, "the same"),
    (Point::LedgerForgetVolume, "the same"),
    (Point::LedgerStartEntry, "the same"),
    (Point::LedgerForgetEntry, "the same"),
    (Point::LedgerEndEntry, "the same"),
    (Point::LedgerRememberObstacle, "the same"),
    (Point::LedgerAcknowledge, "the same"),
    (Point::LedgerAddHold, "the same"),
    (Point::LedgerCarryHolds, "the same"),
    (Point::LedgerRemoveHolds, "the same"),
    (Point::LedgerDropHolds, "the same"),
    (Point::LedgerCommit, "the same"),
    (Point::ServiceLoop, "no effect"),
    (Point::LookDirectories, "no effect"),
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
    remembers_names: true,
};
const NEW: Scope = Scope { name: "an engine from 29.4 on", drops_husks: true, ..OLD };
const PROXY: Scope = Scope { name: "a proxy", proxy: true, restores_as: true, later: 0, ..OLD };
const POWER: Scope = Scope { name: "power cuts", power_fails: true, later: 0, ..OLD };

/// The scopes of every run, or with more of the world.
fn scopes() -> Vec<Scope> {
    let scopes = vec![OLD, NEW, PROXY, POWER];
    if std::env::var("VOLGC_MODEL").is_ok_and(|wish| wish == "deep") {
        let more = [
            Scope { name: "a proxy and a successor", later: 1, ..PROXY },
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
fn explore(scope: Scope) -> (usize, BTreeSet<&'static str>, Vec<Point>) {
    let started = std::time::Instant::now();
    let checker = Protocol::new(scope, None).checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("model: with {}: {states} states in {:.1} s", scope.name, started.elapsed().as_secs_f64());
    let names = checker.model().properties().iter().map(|property| property.name).collect();
    let passed = Point::ALL.iter().zip(&checker.model().passed);
    let passed = passed.filter(|(_, is_passed)| is_passed.load(Ordering::Relaxed));
    (states, names, passed.map(|(point, _)| *point).collect())
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
    let (mut states, mut promises, mut passed) = (0, BTreeSet::new(), Vec::new());
    for scope in scopes() {
        let (more, names, points) = explore(scope);
        states += more;
        promises.extend(names);
        passed.extend(points);
    }
    let is_wrong = |point: &&Point| {
        let excused = NOT_MODELLED.iter().any(|(one, _)| one == *point);
        let modelled = passed.contains(*point);
        modelled == excused
    };
    let wrong: Vec<&str> = Point::ALL.iter().filter(is_wrong).map(|point| point.word()).collect();
    assert!(wrong.is_empty(), "neither modelled nor excused, or both: {wrong:?}");
    let missed: Vec<_> = Mutation::ALL.iter().filter(|mutation| !is_caught(**mutation)).collect();
    assert!(missed.is_empty(), "these do not break the promise that they must: {missed:?}");
    println!(
        "model: {states} states, {} properties, {} mutations caught",
        promises.len(),
        Mutation::ALL.len()
    );
}
