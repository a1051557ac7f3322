//! The words and identifiers of the core: stable, distinct, and the same wherever they are written.

use std::collections::BTreeSet;

use crate::every;
use crate::situations::{every_reason, every_unmovable};
use crate::{DAY, id, limits, manifest, name, now, volume};
use proptest::prelude::*;
use serde::Serialize;
use volgc::gc::entry::{EntryId, EntryState, Manifest};
use volgc::gc::history::Happening;
use volgc::gc::policy::{Disposition, Limits, Match, Mode};
use volgc::gc::reference::{HolderKind, Witness};
use volgc::gc::verdict::{Action, Reason};
use volgc::gc::volume::Class;

fn is_snake_case(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    !word.is_empty()
        && word.chars().all(plain)
        && !word.starts_with('_')
        && !word.ends_with('_')
        && !word.contains("__")
}

/// Distinct, in snake case, and what serde writes.
fn are_words<T: Serialize>(all: &[T], word: impl Fn(&T) -> &'static str) {
    let words: BTreeSet<_> = all.iter().map(&word).collect();
    assert_eq!(words.len(), all.len(), "{words:?}");
    for one in all {
        assert!(is_snake_case(word(one)), "{}", word(one));
        assert_eq!(serde_json::to_value(one).unwrap(), word(one));
    }
}

#[test]
fn every_word_is_distinct_and_in_snake_case() {
    are_words(&every![Action: Keep, Watch, Quarantine, Release, Delete], |one| one.word());
    are_words(&every![Mode: Observe, Quarantine, Enforce], |one| one.word());
    are_words(&every![Class: Anonymous, Named, Unlisted], |one| one.word());
    are_words(&every![Witness: Engine, BindSources, ContainersOnDisk, Kernel, Swarm, Operator], |one| {
        one.word()
    });
    are_words(&every_unmovable(), volgc::gc::volume::Unmovable::word);
    let holders = every![HolderKind: Container, UnloadedContainer, Volume, Plugin, Mount, Process, Service, UnknownSwarm, Hold];
    are_words(&holders, |one| one.word());
    let happenings = every![
        Happening: Quarantined, RolledBack, InDoubt, Restored, Released, Deleted, HoldGiven, HoldReleased, HoldExpired,
        Acknowledged, Refused, Failed, WouldAct, NameUsedAgain, Touched
    ];
    are_words(&happenings, |one| one.word());
    assert_eq!(happenings, Happening::ALL);
}

#[test]
fn no_two_reasons_share_a_word() {
    let reasons: Vec<Reason> = every_reason()
        .into_iter()
        .filter(|reason| !matches!(reason, Reason::Unmovable(_)))
        .chain(every_unmovable().into_iter().map(Reason::Unmovable))
        .collect();
    let words: BTreeSet<_> = reasons.iter().map(Reason::word).collect();
    assert_eq!(words.len(), reasons.len());
    assert!(words.iter().all(|word| is_snake_case(word)));
}

#[test]
fn every_unmovable_has_a_sentence_of_its_own() {
    let all = every_unmovable();
    let sentences: BTreeSet<_> = all.iter().map(volgc::gc::volume::Unmovable::sentence).collect();
    assert_eq!(sentences.len(), all.len());
    assert!(sentences.iter().all(|sentence| !sentence.ends_with('.')), "they are joined with semicolons");
}

#[test]
fn every_witness_is_asked() {
    let all = every![Witness: Engine, BindSources, ContainersOnDisk, Kernel, Swarm, Operator];
    assert_eq!(all, Witness::ALL);
}

#[test]
fn modes_are_in_the_order_of_how_far_they_go() {
    assert!(Mode::Observe < Mode::Quarantine && Mode::Quarantine < Mode::Enforce);
}

#[test]
fn an_entry_can_only_name_a_child_of_the_quarantine_directory() {
    let long = "x".repeat(65);
    for bad in [
        "",
        "short-1",
        "-leading-",
        ".",
        "..",
        "../../../etc",
        "a/b-c-d-e",
        "Upper-case",
        "with blank",
        "nul\0-nul",
        "ümlaut-1",
        &long,
    ] {
        assert!(EntryId::new(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<EntryId>(bad.into()).is_err(), "{bad:?}");
    }
    for good in ["eight-ch", "20260301-120000-0000002a", &"x".repeat(64)] {
        assert_eq!(EntryId::new(good).unwrap().as_str(), good);
    }
}

#[test]
fn an_empty_condition_matches_nothing() {
    assert!(!Match::default().matches(&volume("db")));
    assert!(Match { class: vec![Class::Anonymous], ..Match::default() }.matches(&volume("db")));
}

#[test]
fn an_entry_that_only_an_operator_deletes_has_no_grace_period() {
    let given = manifest(&id("entry-01"), "db");
    assert_eq!(given.delete_after(), Some(14 * DAY));
    assert_eq!(Manifest { delete_after_seconds: None, ..given }.delete_after(), None);
    assert_ne!(Disposition::Keep, Disposition::Collect { quarantine_after: DAY, delete_after: DAY });
}

fn states() -> [EntryState; 8] {
    [
        EntryState::Linking,
        EntryState::Forgetting,
        EntryState::Moving,
        EntryState::InDoubt { in_doubt_since: now(), asked_directly: false },
        EntryState::Quarantined,
        EntryState::Restoring { restoring_to: name("back") },
        EntryState::InPlace,
        EntryState::InPlaceInDoubt { in_doubt_since: now(), asked_directly: true },
    ]
}

#[test]
fn a_manifest_is_read_as_it_was_written_in_every_state() {
    for state in states() {
        let word = state.word();
        let written = Manifest { state, ..manifest(&id("entry-01"), "db") };
        let json = serde_json::to_value(&written).unwrap();
        assert_eq!(json["state"], word);
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), written);
    }
}

#[test]
fn a_manifest_that_lacks_what_a_restore_needs_is_not_read() {
    let json = serde_json::to_value(manifest(&id("entry-01"), "db")).unwrap();
    let needed = [
        "manifest_version",
        "entry",
        "state",
        "name",
        "class",
        "driver",
        "labels",
        "ownership",
        "volume_directory",
        "data_directory",
        "engine_id",
        "docker_root",
        "quarantined_at",
        "by_hand",
    ];
    for field in needed {
        let mut lacking = json.clone();
        lacking.as_object_mut().unwrap().remove(field).unwrap();
        assert!(serde_json::from_value::<Manifest>(lacking).is_err(), "{field}");
    }
}

proptest! {
    #[test]
    fn a_generated_entry_is_a_good_one_and_sorts_by_its_time(
        seconds in 0_i64..4_000_000_000, later in 1_i64..1_000_000, a: u32, b: u32,
    ) {
        let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let (first, second) = (EntryId::generate(at(seconds), a), EntryId::generate(at(seconds + later), b));
        prop_assert_eq!(EntryId::new(first.to_string()), Ok(first.clone()));
        prop_assert!(first < second);
        prop_assert_eq!(EntryId::generate(at(seconds), a) == EntryId::generate(at(seconds), b), a == b);
    }

    #[test]
    fn the_larger_of_count_and_share_is_allowed(
        volumes in 0_usize..100_000, count in 0_u32..1_000, share in 0_u32..=100,
    ) {
        let limits = Limits { max_per_sweep: count, max_share_per_sweep: share, ..limits() };
        let allowed = limits.steps_allowed(volumes);
        prop_assert!(allowed >= count as usize && allowed <= volumes.max(count as usize));
        prop_assert!(allowed == count as usize || allowed * 100 <= volumes * share as usize);
        prop_assert!((allowed + 1) * 100 > volumes * share as usize);
    }
}
