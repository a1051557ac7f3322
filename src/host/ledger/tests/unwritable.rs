//! A ledger that cannot be written for a while: it is read, what happens is kept, and written later (I15).

use super::*;
use crate::host::ledger::Written;

const ENTRY: &str = "20270115-080000-0000000a";

/// A ledger whose disk is full, for what has no room in its file any more.
fn fill(ledger: &Ledger) {
    ledger.connection.execute_batch("PRAGMA max_page_count = 1").unwrap();
}

fn make_room(ledger: &Ledger) {
    ledger.connection.execute_batch("PRAGMA max_page_count = 100000").unwrap();
}

/// More of a history than the pages that a ledger has from its making can take.
fn many_lines() -> Vec<HistoryLine> {
    let many = |number| HistoryLine { detail: "x".repeat(4096), ..line("db", number) };
    (0..8).map(many).collect()
}

fn history(directory: &TempDir) -> Vec<HistoryLine> {
    reader(directory).history(&HistoryFilter::default()).unwrap()
}

fn is_full(ledger: &Ledger) -> bool {
    matches!(ledger.blocked(), Some(LedgerError::Full { .. }))
}

#[test]
fn what_has_no_room_is_kept_and_written_in_order_once_there_is_some() {
    let directory = directory();
    let mut ledger = open(&directory);
    let state = state_of(&["db", "www"]);
    ledger.write(&state, &[]).unwrap();
    fill(&ledger);
    ledger.record_or_keep(&many_lines()).unwrap();
    assert!(is_full(&ledger), "{:?}", ledger.blocked());
    assert_eq!(ledger.unwritten(), many_lines());
    assert_eq!(history(&directory), []);

    // Still full: nothing is lost, and nothing is written twice later.
    ledger.catch_up(&state).unwrap();
    assert!(is_full(&ledger));
    assert_eq!(ledger.unwritten(), many_lines());

    make_room(&ledger);
    ledger.catch_up(&state).unwrap();
    assert!(ledger.blocked().is_none() && ledger.unwritten().is_empty());
    assert_eq!(history(&directory), many_lines());
    ledger.catch_up(&state).unwrap();
    assert_eq!(history(&directory).len(), many_lines().len());
}

#[test]
fn the_end_of_an_entry_is_written_once() {
    let directory = directory();
    let mut ledger = open(&directory);
    let state = state_of(&["db"]);
    let target = HoldTarget::Entry { entry: entry(ENTRY) };
    let hold = |seconds, expires_at| Hold {
        target: target.clone(),
        reason: "the accountant".to_owned(),
        given_at: at(seconds),
        expires_at,
    };
    ledger.write(&state, &[]).unwrap();
    for hold in [hold(0, None), hold(1, Some(at(2)))] {
        ledger.add_hold(&hold).unwrap();
    }
    let end = HistoryLine { happening: Happening::Deleted, ..line("db", 5) };
    assert!(!ledger.has_happened(&entry(ENTRY), Happening::Deleted).unwrap());
    for _ in 0..2 {
        assert_eq!(ledger.end_entry(&entry(ENTRY), &end).unwrap(), Written::Now);
    }
    assert!(ledger.has_happened(&entry(ENTRY), Happening::Deleted).unwrap());
    assert!(!ledger.has_happened(&entry(ENTRY), Happening::Restored).unwrap());
    assert_eq!(history(&directory), [end]);
    let known = reader(&directory).read().unwrap();
    assert!(known.entries.is_empty());
    assert_eq!(known.holds, [hold(0, None)], "what is over goes, what holds stays");
}

#[test]
fn an_end_that_has_no_room_is_left_to_the_caller() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    fill(&ledger);
    let end = HistoryLine { happening: Happening::Deleted, detail: "x".repeat(65_536), ..line("db", 5) };
    assert_eq!(ledger.end_entry(&entry(ENTRY), &end).unwrap(), Written::Later);
    assert!(is_full(&ledger) && ledger.unwritten().is_empty());
    assert_eq!(history(&directory), []);
    assert!(reader(&directory).read().unwrap().entries.contains_key(&entry(ENTRY)));
    // The change was undone whole; the next one has room again.
    make_room(&ledger);
    assert_eq!(ledger.end_entry(&entry(ENTRY), &end).unwrap(), Written::Now);
    assert_eq!(history(&directory), [end]);
}

#[test]
fn a_ledger_that_is_not_opened_for_writing_is_read_and_caught_up_with() {
    let directory = directory();
    let state = state_of(&["db"]);
    open(&directory).write(&state, &[line("db", 0)]).unwrap();
    let why = LedgerError::NotWritable { file: file(&directory), cause: None };
    let mut ledger = Ledger::open_unwritable(directory.path(), why).unwrap();
    assert_eq!(plain(ledger.read().unwrap()), state);
    assert!(ledger.blocked().is_some());
    let before = snapshot(directory.path());
    let newer = state_of(&["db", "www"]);
    ledger.write_or_keep(&newer, &[line("www", 1)]).unwrap();
    ledger.record_or_keep(&[line("www", 2)]).unwrap();
    assert_eq!(before, snapshot(directory.path()));
    ledger.catch_up(&newer).unwrap();
    assert!(ledger.blocked().is_none());
    assert_eq!(plain(reader(&directory).read().unwrap()), newer);
    assert_eq!(history(&directory), [line("db", 0), line("www", 1), line("www", 2)]);
}

#[test]
fn where_no_ledger_can_be_made_nothing_is_remembered() {
    let directory = directory();
    let why = LedgerError::NotWritable { file: file(&directory), cause: None };
    let mut ledger = Ledger::open_unwritable(directory.path(), why).unwrap();
    assert_eq!(ledger.read().unwrap(), LedgerState::default());
    ledger.write_or_keep(&state_of(&["db"]), &[line("db", 0)]).unwrap();
    assert!(snapshot(directory.path()).is_empty());
    // Once one can be made, it has all that.
    ledger.catch_up(&state_of(&["db"])).unwrap();
    assert_eq!(plain(reader(&directory).read().unwrap()), state_of(&["db"]));
    assert_eq!(history(&directory), [line("db", 0)]);
}

#[test]
fn what_another_process_wrote_in_between_stays() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    fill(&ledger);
    ledger.record_or_keep(&many_lines()).unwrap();
    let theirs = state_of(&["db", "theirs"]);
    let mut other = open(&directory);
    other.read().unwrap();
    other.write(&theirs, &[]).unwrap();
    make_room(&ledger);
    ledger.catch_up(&state_of(&["db"])).unwrap();
    assert_eq!(plain(reader(&directory).read().unwrap()), theirs);
    assert_eq!(history(&directory).len(), many_lines().len());
}

#[test]
fn damage_and_another_writer_are_no_lack_of_room() {
    let path = PathBuf::from("/var/lib/volgc/ledger.db");
    for (error, stops) in [
        (LedgerError::NotWritable { file: path.clone(), cause: None }, true),
        (LedgerError::ChangedMeanwhile { file: path.clone() }, false),
        (LedgerError::Newer { file: path, found: 99, known: 1 }, false),
    ] {
        assert_eq!(error.stops_writing(), stops, "{error}");
    }
}
