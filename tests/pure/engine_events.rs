//! What events change in what is remembered: they set clocks back and name holders, and nothing they say makes anything due sooner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::situations::observe;
use crate::{HOUR, cases, id, inventory, later, limits, manifest, name, now, reading, reference, volume};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use volgc::gc::entry::{EntryState, Manifest};
use volgc::gc::ledger::{ClockReading, LedgerState, VolumeRecord};
use volgc::gc::news::{Doing, Event, News, Tracker};
use volgc::gc::passing::Passing;
use volgc::gc::plan::Quarantine;
use volgc::gc::reference::{HolderKind, Witness};

fn at(minutes: i64) -> DateTime<Utc> {
    now() + TimeDelta::minutes(minutes)
}

fn clocks(minutes: i64) -> ClockReading {
    let since = Duration::from_mins(u64::try_from(minutes).unwrap());
    reading(at(minutes), HOUR + since, "boot")
}

/// The ledger after a sweep that saw the volume `db`, held or not.
fn swept(before: &LedgerState, held: bool, minutes: i64) -> LedgerState {
    let holder = reference(&name("db"), Witness::Engine, HolderKind::Container, "web");
    let references = if held { vec![holder] } else { Vec::new() };
    let inventory = inventory(vec![volume("db")], &references);
    observe(before, &inventory, &Quarantine::default(), &clocks(minutes), &limits())
}

fn container(id: &str, doing: Doing, minutes: i64) -> Event {
    Event::Container {
        id: id.to_owned(),
        name: Some(format!("name of {id}")),
        detail: format!("{doing:?}"),
        image: Some(format!("image of {id}")),
        labels: BTreeMap::new(),
        doing,
        at: at(minutes),
    }
}

fn mounted(container: &str, minutes: i64) -> Event {
    Event::Mounted { volume: name("db"), container: container.to_owned(), at: at(minutes) }
}

fn news(events: impl IntoIterator<Item = Event>) -> News {
    let mut tracker = Tracker::default();
    events.into_iter().for_each(|event| tracker.take(event));
    tracker.drain()
}

fn heeded(before: &LedgerState, news: &News, minutes: i64) -> LedgerState {
    let mut after = before.clone();
    after.volumes.extend(before.heed(&news.uses, at(minutes)));
    after
}

fn record(ledger: &LedgerState) -> &VolumeRecord {
    &ledger.volumes[&name("db")]
}

/// What could not be written down is not forgotten, and nothing older replaces what is newer.
#[test]
fn what_is_put_back_is_told_again_with_what_came_since() {
    let mut tracker = Tracker::default();
    let removed = |minutes| Event::Removed { volume: name("db"), at: at(minutes) };
    for event in [container("c1", Doing::Created, 1), mounted("c2", 2), removed(3)] {
        tracker.take(event);
    }
    let older = tracker.drain();
    assert!(!tracker.has_news());
    tracker.put_back(older.clone());
    assert_eq!(tracker.drain(), older);
    for event in [mounted("c3", 5), removed(6)] {
        tracker.take(event);
    }
    tracker.put_back(older);
    let told = tracker.drain();
    assert_eq!((told.uses[&name("db")].seen_at, told.removed[&name("db")]), (at(5), at(6)));
    assert!(told.unknown.contains_key("c1"));
}

#[test]
fn a_use_between_two_sweeps_sets_the_clock_back_and_is_remembered() {
    let first = swept(&swept(&LedgerState::default(), false, 0), false, 60);
    assert_eq!(record(&first).unreferenced.as_ref().unwrap().watched, HOUR);
    let visit = [
        container("c1", Doing::Created, 80),
        mounted("c1", 81),
        container("c1", Doing::Started, 81),
        container("c1", Doing::Ended, 85),
        container("c1", Doing::Removed, 86),
    ];
    let told = heeded(&first, &news(visit), 90);
    let clock = record(&told).unreferenced.clone().unwrap();
    assert_eq!((clock.since, clock.watched, clock.sightings), (at(86), Duration::ZERO, 0));
    let last = record(&told).last_holder.clone().unwrap();
    assert_eq!((last.holder.name.as_str(), last.seen_at), ("name of c1", at(86)));
    // The time since the last sweep is not counted, although a part of it came after the use.
    let next = swept(&told, false, 120);
    let clock = record(&next).unreferenced.clone().unwrap();
    assert_eq!((clock.since, clock.watched, clock.sightings), (at(86), Duration::ZERO, 1));
    let clock = record(&swept(&next, false, 180)).unreferenced.clone().unwrap();
    assert_eq!((clock.watched, clock.sightings), (HOUR, 2));
}

/// A tracker for which containers with this image only pass by.
fn letting_pass(image: &str) -> Tracker {
    let image = vec![globset::Glob::new(image).unwrap().compile_matcher()];
    let mut tracker = Tracker::default();
    tracker.let_pass(vec![Passing { image, ..Passing::default() }]);
    tracker
}

#[test]
fn a_container_that_only_passes_by_between_two_sweeps_sets_no_clock_back() {
    let mut tracker = letting_pass("image of backup*");
    let visit = [
        container("backup1", Doing::Created, 80),
        mounted("backup1", 81),
        container("backup1", Doing::Started, 81),
        container("backup1", Doing::Ended, 85),
        container("backup1", Doing::Removed, 86),
    ];
    for event in visit {
        tracker.take(event);
    }
    assert!(!tracker.has_news(), "{:?}", tracker.drain());
    // Another one meanwhile counts, and so does one of which nothing but a mount is known.
    tracker.take(container("c1", Doing::Created, 82));
    tracker.take(mounted("c1", 83));
    assert_eq!(tracker.drain().uses[&name("db")].holder.name, "name of c1");
    tracker.take(mounted("backup2", 90));
    assert!(tracker.drain().uses.contains_key(&name("db")));
}

#[test]
fn a_container_that_a_look_knew_to_pass_by_needs_no_event_that_says_so() {
    let mut tracker = letting_pass("image of backup*");
    let backup = reference(&name("db"), Witness::Engine, HolderKind::Container, "backup");
    let passers = BTreeSet::from(["id of backup".to_owned()]);
    tracker.learn(&inventory(vec![volume("db")], &[backup]).with_passers(passers));
    tracker.take(mounted("id of backup", 30));
    assert!(!tracker.has_news());
}

#[test]
fn a_holder_that_goes_starts_no_clock_but_dates_it() {
    let held = swept(&LedgerState::default(), true, 0);
    let mut tracker = Tracker::default();
    let web = reference(&name("db"), Witness::Engine, HolderKind::Container, "web");
    tracker.learn(&inventory(vec![volume("db")], &[web]));
    assert!(!tracker.has_news());
    tracker.take(container("id of web", Doing::Removed, 20));
    let told = heeded(&held, &tracker.drain(), 21);
    assert_eq!(record(&told).unreferenced, None, "only a sweep starts a clock");
    let next = swept(&told, false, 60);
    let clock = record(&next).unreferenced.clone().unwrap();
    assert_eq!((clock.since, clock.watched, clock.sightings), (at(20), Duration::ZERO, 1));
    // Without the event it is the sweep's time.
    let clock = record(&swept(&held, false, 60)).unreferenced.clone().unwrap();
    assert_eq!((clock.since, clock.watched, clock.sightings), (at(60), Duration::ZERO, 1));
}

#[test]
fn news_from_before_and_from_the_future_change_nothing_for_the_worse() {
    let first = swept(&LedgerState::default(), false, 60);
    assert_eq!(
        first.heed(&news([mounted("c1", 30)]).uses, at(70))[&name("db")].unreferenced,
        record(&first).unreferenced
    );
    let future = heeded(&first, &news([mounted("c1", 60 * 24 * 365)]), 70);
    assert_eq!(record(&future).unreferenced.as_ref().unwrap().since, at(70));
    let unknown = LedgerState::default();
    assert_eq!(unknown.heed(&news([mounted("c1", 1)]).uses, at(2)), BTreeMap::new());
}

#[test]
fn a_container_whose_volumes_nobody_told_is_asked_for() {
    let told =
        news([container("c1", Doing::Created, 1), container("c2", Doing::Created, 1), mounted("c2", 2)]);
    assert_eq!(told.unknown.keys().collect::<Vec<_>>(), ["c1"]);
    assert_eq!(told.uses.len(), 1);
}

#[test]
fn the_newest_use_counts_whatever_the_order() {
    let one = news([mounted("c1", 5), mounted("c2", 3)]);
    assert_eq!(one.uses[&name("db")].holder.id, "c1");
}

fn made(minutes: i64) -> BTreeMap<volgc::gc::volume::VolumeName, DateTime<Utc>> {
    news([Event::Made { volume: name("db"), at: at(minutes) }]).made
}

#[test]
fn a_name_used_again_stops_the_clock_of_its_entry_until_a_sweep_finds_it_free() {
    let entry = manifest(&id("entry-0001"), "db");
    let quarantine = Quarantine {
        entries: vec![volgc::gc::entry::Entry::Known(Box::new(entry.clone()))],
        ..Quarantine::default()
    };
    let sweep = |before: &LedgerState, minutes| {
        observe(before, &inventory(Vec::new(), &[]), &quarantine, &clocks(minutes), &limits())
    };
    let second = sweep(&sweep(&LedgerState::default(), 0), 60);
    let watched = |ledger: &LedgerState| ledger.entries[&entry.entry].watched;
    assert_eq!(watched(&second), HOUR);
    let again = second.names_used_again(&made(70), &[&entry]);
    assert_eq!(again.len(), 1);
    let mut told = second.clone();
    told.volumes.insert(name("db"), again[0].1.clone());
    // It is gone again before the next sweep: the time does not count all the same. Afterwards the clock goes on.
    let third = sweep(&told, 120);
    assert_eq!(watched(&third), HOUR);
    assert_eq!(watched(&sweep(&third, 180)), 2 * HOUR);
    assert_eq!(watched(&sweep(&second, 120)), 2 * HOUR, "without the event it would have counted");
    // Told once.
    assert_eq!(told.names_used_again(&made(75), &[&entry]), []);
    // And a sweep that sees the new volume starts from nothing (I11).
    let seen = observe(&told, &inventory(vec![volume("db")], &[]), &quarantine, &clocks(120), &limits());
    assert_eq!(record(&seen).first_seen_at, at(120));
}

#[test]
fn what_no_accident_made_is_not_told() {
    let entry = Manifest { quarantined_at: now(), ..manifest(&id("entry-0001"), "db") };
    let state = LedgerState::default();
    assert_eq!(state.names_used_again(&made(-5), &[&entry]), [], "made before it was quarantined");
    let other = Manifest { name: name("other"), ..entry.clone() };
    assert_eq!(state.names_used_again(&made(5), &[&other]), []);
    for unfinished in [EntryState::Moving, EntryState::Restoring { restoring_to: name("db") }] {
        let unfinished = Manifest { state: unfinished, ..entry.clone() };
        assert_eq!(state.names_used_again(&made(5), &[&unfinished]), []);
    }
    let back = EntryState::Restoring { restoring_to: name("db") };
    let restoring = Manifest { entry: id("entry-0002"), state: back, ..entry.clone() };
    assert_eq!(state.names_used_again(&made(5), &[&entry, &restoring]), [], "a restore makes it");
}

#[derive(Debug, Clone)]
enum Act {
    Sweep { held: bool },
    Mount { ago: i64 },
    Remove { ago: i64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        any::<bool>().prop_map(|held| Act::Sweep { held }),
        (-30..90_i64).prop_map(|ago| Act::Mount { ago }),
        (-30..90_i64).prop_map(|ago| Act::Remove { ago }),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// I8, I9: with any events at any time, no volume is closer to being due than without them.
    #[test]
    fn an_event_may_only_delay(acts in prop::collection::vec((act(), 1..100_i64), 1..25)) {
        let (mut with, mut without) = (LedgerState::default(), LedgerState::default());
        let mut tracker = Tracker::default();
        let mut minute = 0;
        for (act, pause) in acts {
            minute += pause;
            match act {
                Act::Sweep { held } => {
                    with = swept(&with, held, minute);
                    without = swept(&without, held, minute);
                }
                Act::Mount { ago } => tracker.take(mounted("c1", minute - ago)),
                Act::Remove { ago } => tracker.take(container("c1", Doing::Removed, minute - ago)),
            }
            with = heeded(&with, &tracker.drain(), minute);
            let clock = |ledger: &LedgerState| {
                ledger.volumes.get(&name("db")).map(|record| record.unreferenced.clone())
            };
            match (clock(&with), clock(&without)) {
                (Some(Some(with)), Some(Some(without))) => {
                    prop_assert!(with.watched <= without.watched && with.sightings <= without.sightings);
                    prop_assert!(with.since <= later(now(), Duration::from_mins(minute.unsigned_abs())));
                }
                (with, without) => prop_assert_eq!(with, without),
            }
        }
    }
}
