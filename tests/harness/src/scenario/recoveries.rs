//! Sweeps that find something unfinished.

use super::Family::{CutDeletions, CutMoves, CutRestores, CutUnlisted, Doubts};
use super::prepare::{
    delete, end_in_place, left_by_an_earlier_one, quarantine, restore, unfinished, unfinished_and_removed,
    unfinished_unlisted, unfinished_with,
};
use super::{Case, Family, Host, Scenario};
use serde_json::json;

/// Each begins with what a command left that was killed at a point.
pub const RECOVERIES: &[Scenario] = &[
    recovery("recovery of an entry without manifest", CutMoves, |host| {
        unfinished(host, quarantine(host), "manifest.rename")
    }),
    recovery("recovery of moving", CutMoves, |host| {
        unfinished(host, quarantine(host), "exchange.look_again")
    }),
    in_doubt("recovery of in doubt, volume removed", |host| unfinished_and_removed(host, "hide.sync")),
    in_doubt("recovery of in doubt, not asked", |host| unfinished(host, quarantine(host), "engine.delete")),
    in_doubt("recovery of in doubt, done", |host| unfinished(host, quarantine(host), "engine.deleted")),
    recovery("recovery of an earlier volgc's moving", CutMoves, |host| {
        left_by_an_earlier_one(host, "moving", &json!({}))
    }),
    in_doubt("recovery of an earlier volgc's doubt", |host| {
        let doubt = json!({ "in_doubt_since": "2026-11-24T02:15:00Z", "asked_directly": true });
        left_by_an_earlier_one(host, "in_doubt", &doubt)
    }),
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
        unfinished_unlisted(host, "exchange.look_again")
    }),
    recovery("recovery of what is not listed, directory gone", CutUnlisted, |host| {
        unfinished_unlisted(host, "engine.ask_name@2")
    }),
    recovery("recovery of what is not listed, and is by then", CutUnlisted, |host| {
        let case = unfinished_unlisted(host, "recovery.remove_empty_volume");
        // It takes the empty directory for a volume.
        host.engine.restart();
        case
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
