//! Sums over the history.

use super::*;

#[test]
fn the_history_adds_up_across_handles() {
    let dir = tempfile::tempdir().unwrap();
    let line = |happening, size_bytes| HistoryLine {
        at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        happening,
        volume: None,
        entry: None,
        detail: String::new(),
        last_holder: None,
        size_bytes,
    };
    let add = |lines: &[HistoryLine]| Ledger::open(dir.path()).unwrap().record(lines).unwrap();
    add(&[
        line(Happening::Quarantined, Some(5)),
        line(Happening::Deleted, Some(7)),
        line(Happening::Deleted, None),
    ]);
    add(&[line(Happening::Deleted, Some(30))]);
    let totals = LedgerReader::open(dir.path()).unwrap().unwrap().totals().unwrap();
    assert_eq!(totals.count(Happening::Deleted), 3);
    assert_eq!(totals.count(Happening::Quarantined), 1);
    assert_eq!(totals.count(Happening::Restored), 0);
    assert_eq!(totals.deleted_bytes, 37, "of deletions alone");
}
