//! Sweeps that find something unfinished.

use super::Family::{CutDeletions, CutMoves, CutRestores, CutUnlisted, Doubts};
use super::prepare::{
    delete, end_in_place, quarantine, restore, unfinished, unfinished_and_removed, unfinished_unlisted,
    unfinished_with,
};
use super::{Case, Family, Host, Scenario};

/// Each begins with what a command left that was killed at a point.
pub const RECOVERIES: &[Scenario] = &[
    recovery("recovery of an entry without manifest", CutMoves, |host| {
        unfinished(host, quarantine(host), "manifest.rename")
    }),
    recovery("recovery of moving", CutMoves, |host| unfinished(host, quarantine(host), "take.ask_again")),
    recovery("recovery of moving, volume removed", CutMoves, |host| {
        unfinished_and_removed(host, "take.ask_again")
    }),
    in_doubt("recovery of in doubt, not asked", |host| unfinished(host, quarantine(host), "engine.delete")),
    in_doubt("recovery of in doubt, done", |host| unfinished(host, quarantine(host), "engine.deleted")),
    recovery("recovery of restoring, nothing made", CutRestores, |host| {
        unfinished(host, restore(host, &[]), "restore.make_directory")
    }),
    recovery("recovery of restoring, not placed", CutRestores, |host| {
        unfinished(host, restore(host, &[]), "restore.rename")
    }),
    recovery("recovery of restoring, placed", CutRestores, |host| {
        unfinished(host, restore(host, &[]), "engine.create")
    }),
    recovery("recovery of restoring, made", CutRestores, |host| {
        unfinished(host, restore(host, &[]), "engine.created")
    }),
    recovery("recovery of deleting", CutDeletions, |host| unfinished(host, delete(host), "delete.contents")),
    recovery("recovery of deleting, without room for a name", CutDeletions, |host| {
        unfinished_with(host, delete(host), "delete.contents", "delete.rename=ENOSPC")
    }),
    recovery("recovery of deleting, data gone", CutDeletions, |host| {
        unfinished(host, delete(host), "ledger.end_entry")
    }),
    recovery("recovery of what is not listed, directory there", CutUnlisted, |host| {
        unfinished_unlisted(host, "take.ask_again")
    }),
    recovery("recovery of what is not listed, directory gone", CutUnlisted, |host| {
        unfinished_unlisted(host, "unlisted.ask_last")
    }),
    in_doubt("recovery of in place in doubt, not asked", |host| {
        unfinished(host, end_in_place(host), "engine.remove")
    }),
    in_doubt("recovery of in place in doubt, done", |host| {
        unfinished(host, end_in_place(host), "engine.removed")
    }),
];

const fn recovery(name: &'static str, family: Family, prepare: fn(&Host<'_>) -> Case) -> Scenario {
    Scenario { name, family, with: "", prepare }
}

/// A sweep waits before it trusts the engine with what is in doubt. Here the DELETE was not sent, or was answered.
const fn in_doubt(name: &'static str, prepare: fn(&Host<'_>) -> Case) -> Scenario {
    Scenario { name, family: Doubts, with: "recovery.settled=20", prepare }
}
