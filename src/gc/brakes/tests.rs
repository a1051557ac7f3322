use super::*;
use crate::gc::ledger::ClockReading;
use crate::gc::lineage::Note;
use crate::gc::touched::Reads;
use crate::gc::volume::DirectoryIdentity;
use chrono::DateTime;
use std::time::Duration;

fn facts() -> EngineFacts {
    EngineFacts {
        id: "A".to_owned(),
        root: "/r".to_owned(),
        version: "26.1.5+dfsg1".to_owned(),
        live_restore: Some(false),
        containers: 3,
        unseen_ends: 0,
        is_podman: false,
        is_rootless: false,
        root_problem: None,
        places: None,
        noted: Noted::Nothing,
        standing: Standing::Same,
    }
}

fn limits() -> Limits {
    Limits {
        min_grace: Duration::ZERO,
        min_sightings: 1,
        max_per_sweep: 1,
        max_share_per_sweep: 1,
        max_gap: Duration::ZERO,
        sudden_orphans: 10,
        sudden_orphan_share: 50,
        reads: Reads::Count,
    }
}

fn words(facts: &EngineFacts, ledger: &LedgerState) -> Vec<&'static str> {
    let words: Vec<_> = refusals(facts, ledger, &limits()).into_iter().map(|refusal| refusal.word).collect();
    assert!(words.iter().all(|word| WORDS.contains(word)), "{words:?}");
    words
}

#[test]
fn a_usual_engine_is_not_refused() {
    assert_eq!(words(&facts(), &LedgerState::default()), Vec::<&str>::new());
}

#[test]
fn another_engine_or_root_is_refused_until_acknowledged() {
    let known = |id: &str, root: &str| LedgerState {
        engine: Some(KnownEngine { id: id.to_owned(), root: root.to_owned() }),
        ..LedgerState::default()
    };
    assert_eq!(words(&facts(), &known("A", "/r")), Vec::<&str>::new());
    assert_eq!(words(&facts(), &known("B", "/r")), ["other_engine"]);
    assert_eq!(words(&facts(), &known("A", "/s")), ["other_engine"]);
}

#[test]
fn directories_that_are_others_by_now_are_refused_until_acknowledged() {
    let directory = |inode| DirectoryIdentity { device: 1, inode, born_at_ns: 1, has_birth_time: true };
    let places = |inode| Some(Places { volumes: directory(inode), quarantine: None, containers: None });
    let engine = Some(KnownEngine { id: "A".to_owned(), root: "/r".to_owned() });
    let ledger = |places| LedgerState { engine: engine.clone(), places, ..LedgerState::default() };
    let here = |places| EngineFacts { places, ..facts() };
    assert_eq!(words(&here(places(2)), &ledger(places(2))), Vec::<&str>::new());
    assert_eq!(words(&here(places(3)), &ledger(places(2))), ["root_copied"]);
    assert_eq!(
        words(&here(places(3)), &ledger(None)),
        Vec::<&str>::new(),
        "acknowledged, or the first sweep"
    );
    assert_eq!(words(&here(None), &ledger(places(2))), Vec::<&str>::new(), "another brake tells of that");
    // The brake of another engine tells of that; nothing is expected of that engine's directories.
    let other = EngineFacts { id: "B".to_owned(), ..here(places(3)) };
    assert_eq!(words(&other, &ledger(places(2))), ["other_engine"]);
    // But for what is noted in the quarantine itself.
    let at = ClockReading { wall: DateTime::UNIX_EPOCH, monotonic: Duration::ZERO, boot_id: "b".to_owned() };
    let (id, mark) = ("a".to_owned(), "m".to_owned());
    let noted = Noted::Known(Note { ledger: id, mark, holds: 0, at, places: places(2) });
    let copied = EngineFacts { noted: noted.clone(), ..here(places(3)) };
    let acknowledged = LedgerState { acknowledged: true, ..ledger(None) };
    assert_eq!(words(&copied, &LedgerState::default()), ["root_copied"], "a new ledger");
    assert_eq!(words(&copied, &acknowledged), Vec::<&str>::new());
    assert_eq!(
        words(&EngineFacts { noted: noted.clone(), ..here(places(2)) }, &ledger(None)),
        Vec::<&str>::new()
    );
    assert_eq!(words(&EngineFacts { noted, ..other }, &ledger(places(2))), ["other_engine", "root_copied"]);
}

#[test]
fn containers_whose_directory_was_replaced_are_missed_until_acknowledged() {
    let directory = |inode| DirectoryIdentity { device: 1, inode, born_at_ns: 1, has_birth_time: true };
    let places = |inode| {
        let containers = Some(directory(inode));
        Some(Places { volumes: directory(1), quarantine: None, containers })
    };
    let engine = Some(KnownEngine { id: "A".to_owned(), root: "/r".to_owned() });
    let ledger = |places| LedgerState { engine: engine.clone(), places, ..LedgerState::default() };
    let here = |places| EngineFacts { places, ..facts() };
    assert_eq!(words(&here(places(2)), &ledger(places(2))), Vec::<&str>::new());
    assert_eq!(words(&here(places(3)), &ledger(places(2))), ["root_copied"]);
    let told = refusals(&here(places(3)), &ledger(places(2)), &limits()).remove(0).text;
    assert!(told.starts_with("/r/containers is another directory"), "{told}");
    assert_eq!(words(&here(places(3)), &ledger(None)), Vec::<&str>::new(), "acknowledged");
    let old = places(2).map(|places| Places { containers: None, ..places });
    assert_eq!(words(&here(places(3)), &ledger(old)), Vec::<&str>::new(), "an earlier volgc knew of none");
}

#[test]
fn a_ledger_that_may_lack_holds_is_refused_until_acknowledged() {
    let at = ClockReading { wall: DateTime::UNIX_EPOCH, monotonic: Duration::ZERO, boot_id: "b".to_owned() };
    let noted = |holds| {
        let (ledger, mark) = ("a".to_owned(), "m".to_owned());
        Noted::Known(Note { ledger, mark, holds, at: at.clone(), places: None })
    };
    let seen = |noted, standing| EngineFacts { noted, standing, ..facts() };
    let ledger = LedgerState::default();
    let acknowledged = LedgerState { acknowledged: true, ..LedgerState::default() };
    for standing in [Standing::Older, Standing::Other] {
        assert_eq!(words(&seen(noted(1), standing), &ledger), ["other_ledger"]);
        assert_eq!(words(&seen(noted(0), standing), &ledger), Vec::<&str>::new(), "none can be missing");
        assert_eq!(words(&seen(noted(1), standing), &acknowledged), Vec::<&str>::new());
    }
    assert_eq!(words(&seen(noted(1), Standing::Same), &ledger), Vec::<&str>::new());
    let damaged = seen(Noted::Unreadable("f".to_owned()), Standing::Unknown);
    assert_eq!(words(&damaged, &ledger), ["other_ledger"]);
}

#[test]
fn an_empty_list_is_refused_when_there_were_many() {
    let ledger = |count| LedgerState { last_containers: Some(count), ..LedgerState::default() };
    let none = EngineFacts { containers: 0, unseen_ends: 1, ..facts() };
    assert_eq!(words(&none, &ledger(11)), ["empty_container_list"]);
    assert_eq!(words(&none, &ledger(10)), Vec::<&str>::new());
    assert_eq!(words(&facts(), &ledger(11)), Vec::<&str>::new());
    // All that held a volume were seen to end.
    assert_eq!(words(&EngineFacts { unseen_ends: 0, ..none }, &ledger(11)), Vec::<&str>::new());
}

#[test]
fn live_restore_is_refused_on_engines_that_lose_references() {
    let with = |version: &str, live_restore| {
        words(&EngineFacts { version: version.to_owned(), live_restore, ..facts() }, &LedgerState::default())
    };
    assert_eq!(with("20.10.18", Some(true)), ["live_restore"]);
    assert_eq!(with("dev", Some(true)), ["live_restore"]);
    assert_eq!(with("20.10.5", None), ["live_restore"]);
    assert_eq!(with("dev", None), ["live_restore"]);
    for fine in [
        ("20.10.19", Some(true)),
        ("20.10.24+dfsg1", Some(true)),
        ("20.10.5", Some(false)),
        ("dev", Some(false)),
    ] {
        assert_eq!(with(fine.0, fine.1), Vec::<&str>::new(), "{fine:?}");
    }
}

#[test]
fn podman_a_rootless_engine_and_a_root_elsewhere_are_refused() {
    let rootless = EngineFacts { is_rootless: true, ..facts() };
    assert_eq!(words(&rootless, &LedgerState::default()), ["rootless"]);
    let elsewhere = EngineFacts { root_problem: Some("gone".to_owned()), is_podman: true, ..facts() };
    assert_eq!(words(&elsewhere, &LedgerState::default()), ["root_not_here", "podman"]);
}

#[test]
fn a_refusal_that_names_the_acknowledgement_is_released_by_it_and_no_other_is() {
    let known = Some(KnownEngine { id: "B".to_owned(), root: "/r".to_owned() });
    let elsewhere = LedgerState { engine: known, last_containers: Some(11), ..LedgerState::default() };
    let at = ClockReading { wall: DateTime::UNIX_EPOCH, monotonic: Duration::ZERO, boot_id: "b".to_owned() };
    let directory = |inode| DirectoryIdentity { device: 1, inode, born_at_ns: 1, has_birth_time: true };
    let places = |inode| Some(Places { volumes: directory(inode), quarantine: None, containers: None });
    let note = Note { ledger: "a".to_owned(), mark: "m".to_owned(), holds: 1, at, places: places(1) };
    let worst = EngineFacts {
        containers: 0,
        unseen_ends: 1,
        is_podman: true,
        is_rootless: true,
        live_restore: None,
        version: "dev".to_owned(),
        root_problem: Some("gone".to_owned()),
        places: places(2),
        noted: Noted::Known(note),
        standing: Standing::Other,
        ..facts()
    };
    let all = refusals(&worst, &elsewhere, &limits());
    assert_eq!(all.len() + 1, WORDS.len(), "{all:?}");
    for refusal in all {
        assert_eq!(
            refusal.acknowledged().is_some(),
            refusal.text.contains("volgc acknowledge"),
            "{refusal:?}"
        );
    }
}
