//! The DELETE in trouble: its answer is lost, it never arrives, or it arrives when its sender is long dead. Until the fate of the DELETE is
//! known the data is where its name leads, where a late DELETE is refused, or kept (I5).

mod answers;
mod by_a_proxy;
mod directly;

use std::path::Path;

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{Output, PrivateEngine, Volgc};

/// Recovery gives the engine three seconds to drop a DELETE whose sender is dead.
const SOON: &str = "recovery.settled=50";
const DELETE: &str = "DELETE /volumes/db";

/// volgc by way of a socket; nothing happens unasked.
fn by(volgc: &Volgc, socket: &Path) -> Volgc {
    volgc
        .config(&format!("[docker]\nhost = \"unix://{}\"\n[limits]\nmin_grace = \"0s\"\n", socket.display()));
    volgc.clone()
}

/// volgc whose DELETE is with a proxy, or was answered: an engine has nothing to settle.
fn impatient(engine: &PrivateEngine) -> Volgc {
    Volgc::new(engine).env("VOLGC_FAULT", SOON)
}

/// The state of the only entry, as `list` shows it.
#[track_caller]
fn state(volgc: &Volgc) -> String {
    let list = volgc.json(&["list", "--format", "json"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
    list[0]["state"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_kept(engine: &PrivateEngine, db: &Treasure, when: &str) {
    match db.assert_whole(engine, when) {
        Place::Entry(_, manifest) => assert_eq!(manifest["state"], "forgetting", "{when}: {manifest:#}"),
        place @ (Place::Volume(_) | Place::Deleting(_)) => {
            panic!("{when}: rolled back under a DELETE that may still come: {place:?}")
        }
    }
}

#[track_caller]
fn ended(output: &Output, status: i32) {
    assert_eq!(output.status, Some(status), "{output:?}");
}

/// A sweep resolves it, and nothing is in the way of a restore.
fn resolved(engine: &PrivateEngine, volgc: &Volgc, db: &Treasure) {
    volgc.ok(&["sweep"]);
    assert_eq!(state(volgc), "quarantined");
    volgc.ok(&["restore", "db"]);
    db.assert_back(engine, "db", "restored");
    assert_no_husk(engine, "restored");
}
