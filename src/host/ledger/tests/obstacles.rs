//! What stands in the way for good.

use super::*;
use crate::gc::obstacles::{NotRenamed, Undeletable, UndeletableCause};
use crate::gc::volume::Unmovable;

fn not_renamed(inode: u64) -> NotRenamed {
    NotRenamed { identity: identity(inode), why: Unmovable::RenameRefused, tried_at: at(3) }
}

fn undeletable(cause: UndeletableCause) -> Undeletable {
    Undeletable { path: b"a/\xff\n`b".to_vec(), cause, found_at: at(4) }
}

pub(super) fn any_obstacles() -> impl Strategy<Value = Obstacles> {
    let why = prop::sample::select(&[Unmovable::RenameRefused, Unmovable::RenameUnsafe]);
    let volume = (any_identity(), why, any_time()).prop_map(|(identity, why, tried_at)| NotRenamed {
        identity,
        why,
        tried_at,
    });
    let path = prop::collection::vec(1_u8.., 0..12);
    let entry = (path, prop::sample::select(&UndeletableCause::ALL), any_time())
        .prop_map(|(path, cause, found_at)| Undeletable { path, cause, found_at });
    let some = (
        prop::collection::btree_map(any_name(), volume, 0..3),
        prop::collection::btree_map(any_entry(), entry, 0..3),
    );
    prop_oneof![
        1 => Just(Obstacles::default()),
        1 => some.prop_map(|(volumes, entries)| Obstacles { volumes, entries }),
    ]
}

#[test]
fn a_ledger_has_no_table_for_them_before_there_is_one() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    let tables = |ledger: &Ledger| -> i64 {
        let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'obstacles'";
        ledger.connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(tables(&ledger), 0, "an older program would not know it");
    assert_eq!(reader(&directory).read().unwrap().obstacles, Obstacles::default());
    ledger.remember_not_renamed(&name("db"), &not_renamed(1)).unwrap();
    assert_eq!(tables(&ledger), 1);
}

#[test]
fn each_is_remembered_once_and_the_newest_counts() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.remember_not_renamed(&name("db"), &not_renamed(1)).unwrap();
    ledger.remember_not_renamed(&name("db"), &not_renamed(2)).unwrap();
    let id = entry("20270115-080000-0000000a");
    for cause in UndeletableCause::ALL {
        ledger.remember_undeletable(&id, &undeletable(cause)).unwrap();
        let known = reader(&directory).read().unwrap().obstacles;
        assert_eq!(known.volumes, BTreeMap::from([(name("db"), not_renamed(2))]));
        assert_eq!(known.entries, BTreeMap::from([(id.clone(), undeletable(cause))]));
    }
    // A sweep that finds them gone forgets them.
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    assert_eq!(plain(reader(&directory).read().unwrap()), state_of(&["db"]));
}
