//! The DELETE in trouble: its answer is lost, it never arrives, or it arrives when its sender is long dead. The data stays in
//! quarantine until the fate of the DELETE is known (I5), and is never lost.

mod answers;
mod by_a_proxy;
mod directly;

use std::path::Path;

use harness::proxy::{Proxy, Treat};
use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{Output, PrivateEngine, Volgc};

/// Recovery gives the engine three seconds to drop a DELETE whose sender is dead. A proxy has it for as long as the test likes.
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
        Place::Entry(_, manifest) => assert_eq!(manifest["state"], "in_doubt", "{when}: {manifest:#}"),
        place @ (Place::Volume(_) | Place::Deleting(_)) => {
            panic!("{when}: rolled back under a DELETE that may still come: {place:?}")
        }
    }
}

#[track_caller]
fn ended(output: &Output, status: i32) {
    assert_eq!(output.status, Some(status), "{output:?}");
}

/// A quarantine whose DELETE is on its way, held by the proxy, and whose program was killed.
fn killed_with_delete_on_its_way(engine: &PrivateEngine, proxy: &Proxy, volgc: &Volgc) -> Treasure {
    let db = Treasure::make(engine, "db");
    proxy.next(DELETE, Treat::Hold);
    let mut child = by(volgc, proxy.socket()).spawn(&["quarantine", "db"]);
    proxy.await_request(DELETE);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_kept(engine, &db, "killed");
    db
}

/// The DELETE arrives at last; then everything is resolved, and the data comes back.
fn delivered_and_resolved(engine: &PrivateEngine, proxy: &Proxy, volgc: &Volgc, db: &Treasure) {
    proxy.release(DELETE);
    db.assert_whole(engine, "after the late DELETE");
    resolved(engine, volgc, db);
}

/// A sweep resolves it; its name stays closed as long as the DELETE could still come.
fn resolved(engine: &PrivateEngine, volgc: &Volgc, db: &Treasure) {
    volgc.run(&["release", "db"]);
    volgc.ok(&["sweep"]);
    assert_eq!(state(volgc), "quarantined");
    let refused = volgc.run(&["restore", "db"]);
    ended(&refused, 4);
    assert!(refused.stderr.contains("may still arrive") && refused.stderr.contains("--as"), "{refused:?}");
    volgc.ok(&["restore", "db", "--as", "db-back"]);
    db.assert_back(engine, "db-back", "restored");
    assert_no_husk(engine, "restored");
    // The entry that said so is gone, and the name is closed all the same.
    volgc.ok(&["quarantine", "db-back"]);
    let refused = volgc.run(&["restore", "db-back", "--as", "db"]);
    ended(&refused, 4);
    assert!(refused.stderr.contains("may still arrive"), "{refused:?}");
    volgc.ok(&["restore", "db-back"]);
    db.assert_back(engine, "db-back", "restored again");
}
