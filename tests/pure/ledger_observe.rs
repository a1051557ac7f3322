//! What one sweep makes of what is remembered, and how much time counts as watched.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::situations::{observe, raw};
use crate::{DAY, HOUR, directory, inventory, later, limits, name, now, reading, reference, volume};
use chrono::TimeDelta;
use proptest::prelude::*;
use volgc::gc::holds::{Hold, HoldTarget};
use volgc::gc::ledger::{ClockReading, LedgerState};
use volgc::gc::plan::Quarantine;
use volgc::gc::reference::{Holder, HolderKind, Reference, Witness};
use volgc::gc::volume::{Volume, VolumeIdentity};
use volgc::gc::watch::{Watch, watched_time};

fn at(hours: u64) -> ClockReading {
    let since = Duration::from_hours(hours);
    reading(later(now(), since), 100 * DAY + since, "boot")
}

/// The ledger after a sweep that saw these volumes, and these references to them.
fn seen(before: &LedgerState, volumes: Vec<Volume>, references: &[Reference], hours: u64) -> LedgerState {
    observe(before, &inventory(volumes, references), &Quarantine::default(), &at(hours), &limits())
}

fn held_by(kind: HolderKind, who: &str) -> Reference {
    let witness = if kind == HolderKind::Hold { Witness::Operator } else { Witness::Kernel };
    reference(&name("db"), witness, kind, who)
}

fn other() -> Volume {
    Volume { identity: VolumeIdentity::Directory(directory(8)), ..volume("db") }
}

#[test]
fn a_clock_starts_when_the_last_holder_is_gone_and_runs_while_there_is_none() {
    let held = [held_by(HolderKind::Mount, "mount")];
    let first = seen(&LedgerState::default(), vec![volume("db")], &held, 0);
    assert_eq!(first.volumes[&name("db")].unreferenced, None);
    let second = seen(&first, vec![volume("db")], &[], 5);
    let clock = |ledger: &LedgerState| ledger.volumes[&name("db")].unreferenced.clone().unwrap();
    assert_eq!(
        (clock(&second).since, clock(&second).watched, clock(&second).sightings),
        (at(5).wall, Duration::ZERO, 1)
    );
    let third = seen(&second, vec![volume("db")], &[], 12);
    assert_eq!(
        (clock(&third).since, clock(&third).watched, clock(&third).sightings),
        (at(5).wall, 7 * HOUR, 2)
    );
    let fourth = seen(&third, vec![volume("db")], &held, 13);
    assert_eq!(fourth.volumes[&name("db")].unreferenced, None);
    assert_eq!(fourth.volumes[&name("db")].first_seen_at, now());
}

/// I1: it holds the volume, and its clock stands meanwhile. But it does not begin anew.
#[test]
fn a_clock_stands_while_a_container_only_passes_by() {
    let backup = Reference {
        holder: Holder { id: "b1".to_owned(), ..held_by(HolderKind::Container, "backup").holder },
        ..held_by(HolderKind::Container, "backup")
    };
    let mount =
        Reference { holder: Holder { kind: HolderKind::Mount, ..backup.holder.clone() }, ..backup.clone() };
    let passed = |before: &LedgerState, references: &[Reference], hours| {
        let passers = BTreeSet::from(["b1".to_owned()]);
        let inventory = inventory(vec![volume("db")], references).with_passers(passers);
        observe(before, &inventory, &Quarantine::default(), &at(hours), &limits())
    };
    let clock = |ledger: &LedgerState| {
        let clock = ledger.volumes[&name("db")].unreferenced.clone().unwrap();
        (clock.watched, clock.sightings)
    };
    let web = held_by(HolderKind::Container, "web");
    let held = passed(&LedgerState::default(), std::slice::from_ref(&web), 0);
    let free = passed(&passed(&held, &[], 1), &[], 5);
    assert_eq!(clock(&free), (4 * HOUR, 2));
    let during = passed(&free, &[backup.clone(), mount.clone()], 6);
    assert_eq!(clock(&during), (4 * HOUR, 2));
    assert_eq!(during.volumes[&name("db")].last_holder.as_ref().unwrap().holder.name, "web");
    assert_eq!(clock(&passed(&during, &[], 7)), (5 * HOUR, 3));
    // Beside another holder it changes nothing.
    assert_eq!(passed(&during, &[backup.clone(), web], 7).volumes[&name("db")].unreferenced, None);
    // The last holder ended while it passed by: the time until the next look is not watched.
    let alone = passed(&held, std::slice::from_ref(&backup), 1);
    assert_eq!(clock(&alone), (Duration::ZERO, 0));
    assert_eq!(clock(&passed(&alone, &[], 9)), (Duration::ZERO, 1));
    // Somebody else's mount is a use.
    let foreign =
        Reference { holder: Holder { id: "4026532000".to_owned(), ..mount.holder.clone() }, ..mount };
    assert_eq!(passed(&free, &[backup, foreign], 6).volumes[&name("db")].unreferenced, None);
}

#[test]
fn a_name_used_again_starts_from_nothing() {
    let held = [held_by(HolderKind::Container, "web")];
    let first = seen(&LedgerState::default(), vec![volume("db")], &held, 0);
    let second = seen(&first, vec![volume("db")], &[], 1);
    let third = seen(&second, vec![other()], &[], 30);
    let record = &third.volumes[&name("db")];
    assert_eq!(record.first_seen_at, at(30).wall);
    assert_eq!(record.last_holder, None);
    let clock = record.unreferenced.as_ref().unwrap();
    assert_eq!((clock.since, clock.watched, clock.sightings), (at(30).wall, Duration::ZERO, 1));
}

#[test]
fn a_volume_that_was_away_for_one_sweep_starts_from_nothing() {
    let first = seen(&LedgerState::default(), vec![volume("db")], &[], 0);
    let second = seen(&first, vec![], &[], 1);
    assert!(second.volumes.is_empty());
    let third = seen(&second, vec![volume("db")], &[], 2);
    assert_eq!(third.volumes[&name("db")].unreferenced.as_ref().unwrap().sightings, 1);
}

#[test]
fn a_hold_is_on_a_name_until_its_volume_was_seen_to_go() {
    let target = HoldTarget::Volume { name: name("db"), identity: volume("db").identity };
    let hold = Hold { target, reason: "hold".to_owned(), given_at: now(), expires_at: Some(at(10).wall) };
    let ledger = LedgerState { holds: vec![hold.clone()], ..LedgerState::default() };
    let holds = |name_: &str, volume: Volume, hours| {
        let is_held = ledger.hold_on_volume(&name(name_), at(hours).wall) == Some(&hold);
        // Whether another directory is another volume, or the same one copied, only the engine can tell.
        let inventory = inventory(vec![volume.clone()], &[]);
        let in_question = ledger.holds_in_question(&inventory).count();
        assert_eq!(in_question, usize::from(name_ == "db" && volume.identity != self::volume("db").identity));
        is_held
    };
    assert!(holds("db", volume("db"), 0) && holds("db", volume("db"), 9));
    assert!(!holds("db", volume("db"), 10), "at the instant of its expiry it is over");
    assert!(holds("db", other(), 0));
    assert!(!holds("dc", volume("db"), 0));
    let later = seen(&ledger, vec![other()], &[], 9);
    assert!(!later.is_over(&hold, at(9).wall));
    // That it is not there any more tells when the sweep before had seen it, and of the same engine.
    let none = inventory(vec![], &[]);
    assert_eq!(later.holds_on_removed(&none), std::slice::from_ref(&hold));
    assert_eq!(ledger.holds_on_removed(&none), []);
    assert_eq!(LedgerState { engine: None, ..later.clone() }.holds_on_removed(&none), []);
    assert_eq!(later.without(std::slice::from_ref(&hold)).holds, []);
    assert!(seen(&ledger, vec![], &[], 10).is_over(&hold, at(10).wall), "expired, and nothing is there");
}

/// I8: by the wall clock alone no hold is over, and the grace period begins anew once, when it expires.
#[test]
fn a_hold_is_over_when_time_that_was_watched_says_so() {
    let target = HoldTarget::Volume { name: name("db"), identity: volume("db").identity };
    let hold = Hold { target, reason: "hold".to_owned(), given_at: now(), expires_at: Some(at(10).wall) };
    let mut ledger = LedgerState { holds: vec![hold.clone()], ..LedgerState::default() };
    ledger = seen(&ledger, vec![volume("db")], &[held_by(HolderKind::Hold, "hold")], 9);
    assert_eq!(ledger.newly_expired(at(9).wall).count(), 0);
    assert_eq!(ledger.newly_expired(at(10).wall).collect::<Vec<_>>(), [&hold]);
    // A year ahead, for a moment.
    let far = ClockReading { wall: at(9000).wall, ..at(9) };
    let ahead =
        observe(&ledger, &inventory(vec![volume("db")], &[]), &Quarantine::default(), &far, &limits());
    assert!(!ahead.is_over(&hold, far.wall) && ahead.holds == [hold.clone()]);
    let right_again = seen(&ahead, vec![volume("db")], &[held_by(HolderKind::Hold, "hold")], 9);
    assert!(right_again.hold_on_volume(&name("db"), at(9).wall).is_some());

    for hour in 10..10 + 7 * 24 {
        ledger = seen(&ledger, vec![volume("db")], &[], hour);
        let clock = ledger.volumes[&name("db")].unreferenced.as_ref().unwrap();
        assert_eq!(clock.watched, Duration::from_hours(hour - 10), "{hour}");
        assert!(!ledger.is_over(&hold, at(hour).wall), "{hour}");
    }
    ledger = seen(&ledger, vec![volume("db")], &[], 10 + 7 * 24);
    assert!(ledger.is_over(&hold, at(10 + 7 * 24).wall));
}

#[test]
fn a_hold_does_not_hide_who_used_the_volume() {
    let last = |ledger: &LedgerState| ledger.volumes[&name("db")].last_holder.clone().unwrap().holder.name;
    let references = [held_by(HolderKind::Mount, "mount"), held_by(HolderKind::Container, "web")];
    let first = seen(&LedgerState::default(), vec![volume("db")], &references, 0);
    assert_eq!(last(&first), "web");
    let second = seen(&first, vec![volume("db")], &[held_by(HolderKind::Hold, "ask Ann")], 1);
    assert_eq!(last(&second), "web");
    let third = seen(&second, vec![volume("db")], &[], 2);
    assert_eq!(last(&third), "web");
    assert_eq!(third.volumes[&name("db")].last_holder.as_ref().unwrap().seen_at, now());
    let alone = seen(&LedgerState::default(), vec![volume("db")], &[held_by(HolderKind::Hold, "ask Ann")], 0);
    assert_eq!(last(&alone), "ask Ann");
}

#[test]
fn the_engine_and_its_containers_are_remembered() {
    let ledger = seen(&LedgerState::default(), vec![], &[], 3);
    assert_eq!(ledger.engine.unwrap().root, "/var/lib/docker");
    assert_eq!((ledger.last_containers, ledger.last_sweep), (Some(1), Some(at(3))));
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn watched_time_is_no_more_than_any_clock_says(
        wall in -10_000_i64..10_000, before in 0_u64..10_000, after in 0_u64..10_000, reboot: bool, most in 0_u64..100
    ) {
        let (before, after) = (Duration::from_hours(before), Duration::from_hours(after));
        let last = reading(now(), before, "boot");
        let here = reading(now() + TimeDelta::hours(wall), after, if reboot { "another" } else { "boot" });
        let most = Duration::from_hours(most);
        let watched = watched_time(Some(&last), &here, &Watch::Sweeps, most);
        prop_assert_eq!(watched_time(None, &here, &Watch::Sweeps, most), Duration::ZERO);
        prop_assert!(watched <= most);
        prop_assert!(watched <= Duration::from_hours(u64::try_from(wall.max(0)).unwrap()));
        let least = if reboot { after } else { after.saturating_sub(before) };
        prop_assert!(watched <= least);
        let by_wall = Duration::from_hours(u64::try_from(wall.max(0)).unwrap());
        prop_assert_eq!(watched, most.min(by_wall).min(least));
    }

    #[test]
    fn no_clock_survives_a_holder_or_another_identity(raw in raw(), gap in 0_u64..100) {
        let scene = raw.swept(&at(0), &at(gap));
        let before = raw.ledger();
        for volume in scene.inventory.volumes() {
            let record = &scene.ledger.volumes[&volume.name];
            prop_assert_eq!(&record.identity, &volume.identity);
            prop_assert_eq!(record.unreferenced.is_some(), scene.inventory.references(&volume.name).is_empty());
            let known = before.volumes.get(&volume.name).filter(|known| known.identity == volume.identity);
            let clock = known.and_then(|known| known.unreferenced.as_ref());
            if let Some(now) = &record.unreferenced {
                let most = clock.map_or(Duration::ZERO, |clock| clock.watched + Duration::from_hours(gap));
                prop_assert!(now.watched <= most);
                prop_assert!(now.sightings <= clock.map_or(1, |clock| clock.sightings + 1));
                prop_assert!(clock.is_some() || now.since == at(gap).wall);
            }
        }
        prop_assert_eq!(scene.ledger.volumes.len(), raw.volumes.len());
    }
}

/// A command that moves or deletes by order looks as well, and writes down what it saw.
#[test]
fn what_a_command_sees_is_no_sighting_and_its_time_counts() {
    let clock = |ledger: &LedgerState| ledger.volumes[&name("db")].unreferenced.clone().unwrap();
    let told = |ledger: &LedgerState| (clock(ledger).since, clock(ledger).watched, clock(ledger).sightings);
    let by_command = |before: &LedgerState, volumes, hours| {
        seen(before, volumes, &[], hours).without_sightings_since(before)
    };
    let first = seen(&LedgerState::default(), vec![volume("db")], &[], 0);
    let mut ledger = first.clone();
    for hours in 1..=5 {
        ledger = by_command(&ledger, vec![volume("db")], hours);
        assert_eq!(told(&ledger), (at(0).wall, u32::try_from(hours).unwrap() * HOUR, 1));
    }
    assert_eq!(told(&seen(&ledger, vec![volume("db")], &[], 6)), (at(0).wall, 6 * HOUR, 2));

    // A clock that a command started, and one of another volume of the name.
    for ledger in
        [by_command(&LedgerState::default(), vec![volume("db")], 1), by_command(&first, vec![other()], 1)]
    {
        assert_eq!(told(&ledger), (at(1).wall, Duration::ZERO, 0));
        let volumes = ledger.volumes[&name("db")].identity.clone();
        let same = || vec![Volume { identity: volumes.clone(), ..volume("db") }];
        assert_eq!(told(&by_command(&ledger, same(), 2)).2, 0);
        assert_eq!(told(&seen(&ledger, same(), &[], 2)), (at(1).wall, Duration::ZERO, 1));
    }
}
