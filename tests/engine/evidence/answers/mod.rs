//! I2, from the engine's side: an answer that is not whole, not understood or not believable never leads to a change, and
//! what does not decide may be as odd as it likes.

mod inconsistent;
mod refused;
mod tolerated;

use std::fs;

use harness::fake::Fake;
use harness::{NO_GRACE, Output, Volgc, tree_listing};

/// A fake engine, and a volgc that has seen its orphan before: the next sweep quarantines it.
fn due() -> (Fake, Volgc) {
    let fake = Fake::start();
    let volgc = volgc(&fake);
    volgc.ok(&["sweep"]);
    let report = volgc.json(&["report", "--format", "json"]);
    assert_eq!(report["totals"]["due_quarantine"], 1, "{report:#}");
    fake.take();
    (fake, volgc)
}

fn volgc(fake: &Fake) -> Volgc {
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(NO_GRACE);
    volgc
}

/// Runs a command that must be refused, and change nothing: neither on disk, nor at the engine.
#[track_caller]
fn refused(what: &str, fake: &Fake, volgc: &Volgc, words: &[&str]) -> Output {
    let before = (tree_listing(&fake.root()), ledger(volgc));
    fake.take();
    let output = volgc.run(words);
    let told = || format!("{what}: volgc {words:?}: {output:?}");
    assert_eq!(output.status, Some(4), "{}", told());
    assert!(!output.stderr.contains("panicked"), "{}", told());
    assert_eq!((tree_listing(&fake.root()), ledger(volgc)), before, "{}", told());
    let changing: Vec<String> = fake.take().into_iter().filter(|asked| !asked.starts_with("GET ")).collect();
    assert_eq!(changing, Vec::<String>::new(), "{}", told());
    output
}

/// Refused by `report` and by `sweep`, each with one message in one line that names what was asked.
#[track_caller]
fn refused_by_both(what: &str, fake: &Fake, volgc: &Volgc, named: &str) {
    for words in [&["report"][..], &["sweep"]] {
        let output = refused(what, fake, volgc, words);
        assert_eq!(output.stdout, "", "{what}: {words:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{what}: {words:?}: {output:?}");
        assert!(output.stderr.starts_with("volgc: "), "{what}: {words:?}: {output:?}");
        assert!(output.stderr.contains(named), "{what}: {words:?}: no {named:?} in {output:?}");
        assert!(output.stderr.chars().all(|c| c == '\n' || !c.is_control()), "{what}: {output:?}");
    }
}

/// The same host, with the usual answers again: only those kept the orphan where it was.
#[track_caller]
fn goes_on(what: &str, fake: &Fake, volgc: &Volgc) {
    fake.restore_answers();
    let output = volgc.run(&["sweep"]);
    assert_eq!(output.status, Some(0), "{what}: {output:?}");
    assert!(output.stdout.contains("quarantined volume orphan"), "{what}: {output:?}");
    assert!(!fake.volume_data("orphan").exists() && fake.volume_data("used").exists(), "{what}");
}

fn ledger(volgc: &Volgc) -> Vec<u8> {
    fs::read(volgc.state_dir().join("ledger.db")).unwrap_or_default()
}
