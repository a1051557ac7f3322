//! What holds for every plan, whatever the situation: P1 to P9.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::every;
use crate::situations::{HOLDERS, Raw, RawState, entry_id, pinned, raw, volume_name};
use crate::{DAY, HOUR, Scene, added, answers, engine, later, manifest, now, put_off, reading, reference};
use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::Index;
use volgc::gc::entry::{Entry, EntryId, EntryState};
use volgc::gc::guard::approve;
use volgc::gc::inventory::{IncompleteInventory, Inventory};
use volgc::gc::ledger::LedgerState;
use volgc::gc::plan::{Order, Plan, plan};
use volgc::gc::policy::{Decision, Disposition, Mode, Rule};
use volgc::gc::reference::{HolderKind, Witness};
use volgc::gc::touched::Manner;
use volgc::gc::verdict::{Action, Reason, Step};
use volgc::gc::volume::{Class, Unmovable, Volume, VolumeIdentity};

fn every_kind() -> Vec<HolderKind> {
    every![HolderKind: Container, UnloadedContainer, Volume, Plugin, Mount, Process, Service, UnknownSwarm, Hold]
}

fn is_by_hand(order: &Order) -> bool {
    order.is_by_hand()
}

fn quarantined(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Quarantine(_))).count()
}

/// The last sweep was `gap` before this one, by both clocks.
fn honest(raw: &Raw, gap: Duration) -> Scene {
    let last = reading(now(), 1_000 * DAY, "boot");
    raw.swept(&last, &reading(later(now(), gap), 1_000 * DAY + gap, "boot"))
}

/// How many of these change more than a mark.
fn harming(steps: &[Step]) -> usize {
    steps.iter().filter(|step| !matches!(step, Step::Release(_))).count()
}

/// Whether an entry is in place, and of this volume.
fn marks(scene: &Scene, id: &EntryId, number: usize) -> bool {
    scene.quarantine.entries.iter().any(|entry| match entry {
        Entry::Known(manifest) => {
            manifest.entry == *id && manifest.state.is_in_place() && manifest.name == volume_name(number)
        }
        Entry::Deleting(_) | Entry::Damaged { .. } => false,
    })
}

/// Moved away, or removed by the engine at the end of its quarantine in place.
fn is_taken(scene: &Scene, steps: &BTreeSet<Step>, volume: &Volume) -> bool {
    let moved = volume.unmovable.is_empty() && steps.contains(&Step::Quarantine(volume.name.clone()));
    moved
        || scene.quarantine.entries.iter().any(|entry| match entry {
            Entry::Known(manifest) => {
                manifest.state.is_in_place()
                    && manifest.name == volume.name
                    && steps.contains(&Step::Delete(manifest.entry.clone()))
            }
            Entry::Deleting(_) | Entry::Damaged { .. } => false,
        })
}

/// What is left after the steps of a plan were carried out.
fn carried_out(scene: &Scene, plan: &Plan) -> Scene {
    let mut after = scene.clone();
    let steps: BTreeSet<Step> = plan.steps().into_iter().collect();
    let volumes = scene.inventory.volumes().filter(|one| !is_taken(scene, &steps, one));
    let of_volumes = scene.inventory.volumes().flat_map(|one| scene.inventory.references(&one.name));
    let of_others = scene.inventory.missing_volumes().flat_map(|(_, references)| references);
    let references: Vec<_> = of_volumes.chain(of_others).cloned().collect();
    after.inventory =
        Inventory::complete(scene.now, engine(), volumes.cloned().collect(), answers(&references)).unwrap();
    after.quarantine.entries.retain(|entry| match entry {
        Entry::Known(manifest) => {
            let id = &manifest.entry;
            !steps.contains(&Step::Delete(id.clone())) && !steps.contains(&Step::Release(id.clone()))
        }
        Entry::Deleting(id) => !steps.contains(&Step::Delete(id.clone())),
        Entry::Damaged { .. } => true,
    });
    for (number, step) in steps.iter().enumerate() {
        if let Step::Quarantine(name) = step {
            let mut made = manifest(&entry_id(50 + number), name.as_str());
            let volume = scene.inventory.volume(name).unwrap();
            if let (false, VolumeIdentity::Directory(directory)) =
                (volume.unmovable.is_empty(), &volume.identity)
            {
                made.state = EntryState::InPlace;
                made.volume_directory = *directory;
            }
            after.quarantine.entries.push(Entry::Known(Box::new(made)));
        }
    }
    after
}

/// Whether the sudden-orphan brake holds a volume: as long as it was not watched for twice its grace period.
fn is_suspected(raw: &Raw, number: usize) -> bool {
    let Some(record) = raw.volumes[number].record.as_ref().filter(|record| record.suspected) else {
        return false;
    };
    let grace = match raw.policy.decide(&raw.volume(number)) {
        Decision::By { disposition: Disposition::Collect { quarantine_after, .. }, .. } => quarantine_after,
        Decision::By { .. } | Decision::KeepLabel | Decision::MalformedLabel(_) => Duration::ZERO,
    };
    let whole = 2 * grace.max(raw.policy.limits.min_grace);
    record.clock.is_none_or(|(watched, _)| 12 * HOUR * watched < whole)
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn p1_no_step_touches_what_anything_holds(raw in raw()) {
        let scene = raw.scene();
        for step in plan(scene.situation(), &raw.order).due() {
            match step {
                Step::Quarantine(name) => prop_assert_eq!(scene.inventory.references(&name), &[]),
                Step::Release(_) => {}
                Step::Delete(id) => prop_assert!(!scene.quarantine.held.contains_key(&id)),
            }
        }
    }

    /// P1 for who is seen by the data alone, whatever the clock says and whoever orders it.
    #[test]
    fn what_was_used_in_quarantine_is_deleted_by_an_order_that_says_so_and_by_no_other(mut raw in raw(), which: Index) {
        prop_assume!(!raw.entries.is_empty());
        let number = which.index(raw.entries.len());
        let is_moved = matches!(raw.entries[number].state, RawState::Known(EntryState::Quarantined));
        raw.entries[number].touched = None;
        let at_rest = plan(raw.scene().situation(), &raw.order);
        raw.entries[number].touched = Some(Manner::Changed);
        let scene = raw.scene();
        let used = plan(scene.situation(), &raw.order);
        prop_assert_eq!(added(&at_rest, &used).into_iter().filter(|step| *step == Step::Delete(entry_id(number))).count(), 0);
        let is_deleted = used.due().contains(&Step::Delete(entry_id(number)));
        let says_so = matches!(&raw.order, Order::DeleteTouched(entries) if entries.contains(&entry_id(number)));
        prop_assert!(!is_deleted || says_so || !is_moved, "{:?}", used.entries);
        // And a plan from before it was used is not approved any more.
        if is_moved && !says_so && at_rest.steps().contains(&Step::Delete(entry_id(number))) {
            prop_assert!(approve(&at_rest, scene.situation(), &raw.order).is_err());
        }
    }

    #[test]
    fn p2_one_more_holder_never_adds_a_step(mut raw in raw(), which: Index, who: Index) {
        prop_assume!(!raw.volumes.is_empty());
        let before = raw.scene();
        let swept_before = honest(&raw, HOUR);
        let number = which.index(raw.volumes.len());
        raw.volumes[number].holders.push(HOLDERS[who.index(HOLDERS.len())]);
        let mut pairs = vec![(before, raw.scene())];
        // The sudden-orphan brake counts, so one that did not come free may release it. Those are far from due then, which
        // an order by hand does not ask.
        if !is_by_hand(&raw.order) {
            pairs.push((swept_before, honest(&raw, HOUR)));
        }
        for (before, after) in pairs {
            let one = plan(before.situation(), &raw.order);
            let other = plan(after.situation(), &raw.order);
            prop_assert_eq!(added(&one, &other), vec![]);
            prop_assert!(harming(&other.due()) <= harming(&one.due()));
            prop_assert_eq!(&other.volumes[&volume_name(number)].reason, &Reason::Held);
            // And a plan from before the holder came is not approved any more.
            let touched = one.steps().iter().chain(&one.steps_in_line()).any(|step| match step {
                Step::Quarantine(name) => *name == volume_name(number),
                Step::Delete(id) => marks(&before, id, number),
                Step::Release(_) => false,
            });
            prop_assert_eq!(approve(&one, after.situation(), &raw.order).is_err(), touched);
        }
    }

    #[test]
    fn p2_what_names_the_volume_of_an_entry_keeps_it(mut raw in raw(), which: Index) {
        prop_assume!(!raw.entries.is_empty());
        let before = plan(raw.scene().situation(), &raw.order);
        let number = which.index(raw.entries.len());
        raw.entries[number].is_named = true;
        let after = plan(raw.scene().situation(), &raw.order);
        prop_assert_eq!(added(&before, &after), vec![]);
        let is_known = matches!(raw.entries[number].state, RawState::Known(_));
        let is_volume = raw.entries[number].of < raw.volumes.len();
        let verdict = &after.entries[entry_id(number).as_str()];
        prop_assert!(!is_known || is_volume || verdict.action != Action::Delete);
    }

    #[test]
    fn p2_any_reference_of_any_witness_never_adds_a_step(
        raw in raw(), number in 0_usize..30, witness: Index, kind: Index,
    ) {
        let before = raw.scene();
        let (witness, kind) = (Witness::ALL[witness.index(Witness::ALL.len())], every_kind()[kind.index(every_kind().len())]);
        let mut references = raw.references(now());
        references.push(reference(&volume_name(number), witness, kind, "anybody"));
        let volumes = (0..raw.volumes.len()).map(|number| raw.volume(number)).collect();
        let mut after = before.clone();
        after.inventory = Inventory::complete(now(), engine(), volumes, answers(&references)).unwrap();
        let (one, other) = (plan(before.situation(), &raw.order), plan(after.situation(), &raw.order));
        prop_assert_eq!(added(&one, &other), vec![]);
        prop_assert!(!other.due().contains(&Step::Quarantine(volume_name(number))));
        // What is quarantined under a name that no volume has, and somebody names, stays as well.
        for (at, entry) in raw.entries.iter().enumerate().filter(|(_, entry)| entry.of == number) {
            let is_known = matches!(entry.state, RawState::Known(_)) && number >= raw.volumes.len();
            prop_assert!(!is_known || !other.due().contains(&Step::Delete(entry_id(at))));
        }
        // And a plan from before is not approved any more, if it touched that volume.
        let touched = one.steps().contains(&Step::Quarantine(volume_name(number)));
        prop_assert!(!touched || approve(&one, after.situation(), &raw.order).is_err());
    }

    #[test]
    fn p2_whatever_holds_the_data_of_an_entry_keeps_it(mut raw in raw(), which: Index) {
        prop_assume!(!raw.entries.is_empty());
        let before = plan(raw.scene().situation(), &raw.order);
        let number = which.index(raw.entries.len());
        raw.entries[number].is_held = true;
        let scene = raw.scene();
        let after = plan(scene.situation(), &raw.order);
        prop_assert_eq!(added(&before, &after), vec![]);
        prop_assert!(!after.due().contains(&Step::Delete(entry_id(number))));
        let touched = before.steps().contains(&Step::Delete(entry_id(number)));
        prop_assert!(!touched || approve(&before, scene.situation(), &raw.order).is_err());
    }

    #[test]
    fn p3_without_one_witness_there_is_no_inventory(raw in raw(), which: Index) {
        let references = raw.references(now());
        let missing = Witness::ALL[which.index(Witness::ALL.len())];
        let mut some = answers(&references);
        some.retain(|answer| answer.witness != missing);
        let volumes: Vec<_> = (0..raw.volumes.len()).map(|number| raw.volume(number)).collect();
        let built = Inventory::complete(now(), engine(), volumes.clone(), some.clone());
        prop_assert_eq!(built, Err(IncompleteInventory::Missing(missing)));
        // Nor when another answers in its stead.
        some.push(some[0].clone());
        let built = Inventory::complete(now(), engine(), volumes, some);
        prop_assert!(matches!(built, Err(IncompleteInventory::Twice(_))));
    }

    #[test]
    fn p4_a_deletion_keeps_what_was_promised_and_what_is_wanted_now(raw in raw()) {
        let scene = raw.scene();
        for (key, verdict) in &plan(scene.situation(), &raw.order).entries {
            let number: usize = key.trim_start_matches("entry-").parse().unwrap();
            let given = &raw.entries[number];
            if verdict.action != Action::Delete || matches!(given.state, RawState::Deleting) {
                continue;
            }
            prop_assert!(given.hold.is_none_or(|hours| hours <= 0));
            let in_place = matches!(given.state, RawState::Known(EntryState::InPlace));
            prop_assert!(in_place || matches!(given.state, RawState::Known(EntryState::Quarantined)) && !given.is_held);
            let is_volume = given.of < raw.volumes.len();
            prop_assert!(is_volume || !in_place && !scene.inventory.is_name_in_use(&volume_name(given.of)));
            if in_place {
                let marked = &raw.volumes[given.of];
                prop_assert!(marked.unmovable == [Unmovable::DriverOptions] && marked.class != Class::Unlisted);
                prop_assert!(scene.inventory.references(&volume_name(given.of)).is_empty() && !given.other);
                prop_assert!(!is_suspected(&raw, given.of));
            }
            if let Order::Delete(ordered) | Order::DeleteTouched(ordered) = &raw.order {
                prop_assert!(ordered.contains(&entry_id(number)));
                continue;
            }
            let (watched, sightings) = given.clock.unwrap();
            prop_assert!(watched >= given.promised.unwrap() && sightings >= 2);
            prop_assert!(!is_volume || in_place, "its name is in use");
            let Entry::Known(manifest) = &scene.quarantine.entries[number] else { panic!("not known") };
            let same = if in_place {
                prop_assert!(raw.policy.permits_in_place(&raw.volume(given.of)));
                raw.volume(given.of)
            } else {
                Volume { labels: manifest.labels.clone(), ..crate::volume(manifest.name.as_str()) }
            };
            let Decision::By { disposition: Disposition::Collect { delete_after, .. }, .. } = raw.policy.decide(&same)
            else {
                panic!("it is kept");
            };
            prop_assert!(12 * HOUR * watched >= delete_after);
        }
    }

    #[test]
    fn p4_a_quarantine_keeps_every_floor(raw in raw()) {
        let scene = raw.scene();
        for (name, verdict) in &plan(scene.situation(), &raw.order).volumes {
            let number: usize = name.as_str()[1..].parse().unwrap();
            let given = &raw.volumes[number];
            if verdict.action != Action::Quarantine {
                continue;
            }
            let volume = raw.volume(number);
            let in_place = given.unmovable == [Unmovable::DriverOptions] && raw.policy.permits_in_place(&volume);
            prop_assert!(given.unmovable.is_empty() || in_place);
            if given.class == Class::Unlisted {
                let named = |rule: &Rule| rule.conditions.class.contains(&Class::Unlisted);
                prop_assert!(raw.policy.rules.iter().any(named), "no rule names what the engine does not list");
            }
            prop_assert!(!is_suspected(&raw, number));
            if let Order::Quarantine(ordered) = &raw.order {
                prop_assert!(ordered.contains(name));
                continue;
            }
            let record = given.record.as_ref().unwrap();
            let (watched, sightings) = record.clock.unwrap();
            prop_assert!(!record.other, "the clock is another volume's (I11)");
            prop_assert!(sightings >= raw.policy.limits.min_sightings.max(2));
            prop_assert!(12 * HOUR * watched >= raw.policy.limits.min_grace);
            let Decision::By { disposition: Disposition::Collect { quarantine_after, .. }, .. } =
                raw.policy.decide(&raw.volume(number))
            else {
                panic!("it is kept");
            };
            prop_assert!(12 * HOUR * watched >= quarantine_after);
        }
    }

    #[test]
    fn p5_an_empty_ledger_only_delays(raw in raw()) {
        let scene = Scene { ledger: LedgerState::default(), ..raw.scene() };
        let at = reading(now(), 9 * DAY, "boot");
        let seen = crate::situations::observe(
            &scene.ledger, &scene.inventory, &scene.quarantine, &at, &raw.policy.limits);
        for ledger in [LedgerState::default(), seen] {
            let plan = plan(Scene { ledger, ..scene.clone() }.situation(), &raw.order);
            let begun = |step: &Step| match step {
                Step::Delete(id) => plan.entries[id.as_str()].reason == Reason::UnfinishedDeletion,
                // What was marked stays what it is.
                Step::Release(_) => true,
                Step::Quarantine(_) => false,
            };
            prop_assert!(is_by_hand(&raw.order) || plan.due().iter().all(begun));
        }
    }

    #[test]
    fn p6_no_clock_adds_a_step(raw in raw(), gap in 0_u64..60, jump in -20_000_i64..20_000, awake in 0_u64..60) {
        let gap = HOUR * u32::try_from(gap).unwrap();
        let awake = (HOUR * u32::try_from(awake).unwrap()).min(gap);
        let (last, wall, start) = (reading(now(), 1_000 * DAY, "boot"), later(now(), gap), 1_000 * DAY);
        let shifted = wall + TimeDelta::hours(jump);
        let right = plan(honest(&raw, gap).situation(), &raw.order);
        let odd = [
            // The wall clock was set.
            reading(shifted, start + gap, "boot"),
            // The host was suspended for a part of it.
            reading(wall, start + awake, "boot"),
            // Both.
            reading(shifted, start + awake, "boot"),
        ];
        for at in odd {
            let plan = plan(raw.swept(&last, &at).situation(), &raw.order);
            // An order by hand is given at its time, whatever that is; holds expire by the wall clock.
            if !is_by_hand(&raw.order) {
                prop_assert_eq!(added(&right, &plan), vec![]);
            }
        }
        // Started anew, it may have been watched for `max_gap` at most, whatever the wall clock says.
        let most = plan(honest(&raw, raw.policy.limits.max_gap).situation(), &raw.order);
        let rebooted = plan(raw.swept(&last, &reading(shifted, HOUR, "another")).situation(), &raw.order);
        prop_assert!(is_by_hand(&raw.order) || added(&most, &rebooted).is_empty());
    }

    #[test]
    fn p7_a_plan_that_was_carried_out_leaves_nothing_to_do(raw in raw()) {
        let scene = raw.scene();
        let first = plan(scene.situation(), &raw.order);
        let after = carried_out(&scene, &first);
        let second = plan(after.situation(), &raw.order);
        let mut allowed = put_off(&first);
        // A name that the first pass made free no longer stops an entry that was over before.
        allowed.extend(first.entries.iter().filter(|(_, verdict)| verdict.reason == Reason::NameInUse)
            .map(|(id, _)| Step::Delete(crate::id(id))));
        // A second mark on a volume that is gone by now marks nothing.
        let is_release = |step: &Step| matches!(step, Step::Release(_));
        prop_assert!(second.steps().iter().all(|step| allowed.contains(step) || is_release(step)), "{:?}", second.steps());
    }

    #[test]
    fn p8_the_order_of_what_is_given_does_not_matter(raw in raw(), seed: u64) {
        let scene = raw.scene();
        let mut random = seed;
        let mut shuffle = |length: usize| -> Vec<usize> {
            let mut order: Vec<usize> = (0..length).collect();
            order.sort_by_cached_key(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random >> 33
            });
            order
        };
        let volumes = shuffle(raw.volumes.len()).into_iter().map(|number| raw.volume(number)).collect();
        let references = raw.references(now());
        let references: Vec<_> = shuffle(references.len()).into_iter().map(|nth| references[nth].clone()).collect();
        let answers = answers(&references);
        let answers = shuffle(answers.len()).into_iter().map(|nth| answers[nth].clone()).collect();
        let mut other = scene.clone();
        other.inventory = Inventory::complete(now(), engine(), volumes, answers).unwrap();
        let entries = &scene.quarantine.entries;
        other.quarantine.entries = shuffle(entries.len()).into_iter().map(|nth| entries[nth].clone()).collect();
        let holds = &scene.ledger.holds;
        other.ledger.holds = shuffle(holds.len()).into_iter().map(|nth| holds[nth].clone()).collect();
        prop_assert_eq!(plan(scene.situation(), &raw.order), plan(other.situation(), &raw.order));
    }

    #[test]
    fn p9_everything_is_judged_once_and_no_more_is_done_than_the_limits_allow(raw in raw()) {
        let scene = raw.scene();
        let plan = plan(scene.situation(), &raw.order);
        let names: Vec<_> = scene.inventory.volumes().map(|volume| volume.name.clone()).collect();
        prop_assert_eq!(plan.volumes.keys().cloned().collect::<Vec<_>>(), names);
        let entries: BTreeSet<String> = (0..raw.entries.len()).map(|number| entry_id(number).to_string()).collect();
        prop_assert_eq!(plan.entries.keys().cloned().collect::<BTreeSet<_>>(), entries);
        for verdict in plan.volumes.values().chain(plan.entries.values()) {
            prop_assert!(!verdict.detail.is_empty());
        }
        if !is_by_hand(&raw.order) {
            let known = raw.volumes.len() + raw.entries.len();
            let limits = &raw.policy.limits;
            let allowed = (limits.max_per_sweep as usize).max(known * limits.max_share_per_sweep as usize / 100);
            let begun = plan.entries.values().filter(|verdict| verdict.reason == Reason::UnfinishedDeletion).count();
            let due = plan.due();
            prop_assert!(quarantined(&due) <= allowed);
            prop_assert!(harming(&due) - quarantined(&due) - begun.min(harming(&due)) <= allowed);
            // What is put off was not unreferenced for longer than what goes.
            let watched = |name| scene.ledger.volumes.get(name)
                .and_then(|record| record.unreferenced.as_ref()).map(|clock| clock.watched);
            let of = |reason: &Reason| plan.volumes.iter().filter(|(_, verdict)| verdict.reason == *reason)
                .map(|(name, _)| watched(name)).collect::<Vec<_>>();
            let (goes, waits) = (of(&Reason::GraceOver), of(&Reason::LimitPerSweep));
            prop_assert!(waits.is_empty() || goes.len() == allowed);
            prop_assert!(goes.iter().min().is_none_or(|least| waits.iter().all(|one| one <= least)));
        }
    }

    #[test]
    fn the_guard_approves_exactly_the_steps_of_the_plan_and_deletes_last(raw in raw()) {
        let scene = raw.scene();
        let plan = plan(scene.situation(), &raw.order);
        let approved = approve(&plan, scene.situation(), &raw.order);
        prop_assert!(approved.is_ok(), "{approved:?}");
        let steps = approved.unwrap().into_steps();
        prop_assert_eq!(steps.iter().cloned().collect::<BTreeSet<_>>(), plan.steps().into_iter().collect());
        let is_delete = |step: &Step| matches!(step, Step::Delete(_));
        prop_assert!(steps.iter().skip_while(|step| !is_delete(step)).all(is_delete));
    }

    #[test]
    fn a_mode_that_goes_less_far_does_less(raw in raw()) {
        let steps = |mode| {
            let mut scene = raw.scene();
            scene.policy.mode = mode;
            plan(scene.situation(), &raw.order).steps().into_iter().collect::<BTreeSet<_>>()
        };
        let (observe, quarantine, enforce) = (steps(Mode::Observe), steps(Mode::Quarantine), steps(Mode::Enforce));
        if is_by_hand(&raw.order) {
            prop_assert!(observe == quarantine && quarantine == enforce);
        } else {
            prop_assert_eq!(&observe, &BTreeSet::new());
            let moved: BTreeSet<_> = enforce.into_iter().filter(|step| !matches!(step, Step::Delete(_))).collect();
            prop_assert_eq!(quarantine, moved);
        }
    }

    #[test]
    fn a_pinned_plan_takes_nothing_that_is_not_due(raw in raw(), order in pinned()) {
        let raw = Raw { order, ..raw };
        let scene = raw.scene();
        let (scheduled, pinned) = (plan(scene.situation(), &Order::Scheduled), plan(scene.situation(), &raw.order));
        prop_assert_eq!(added(&scheduled, &pinned), vec![]);
        let Order::Pinned { volumes, entries } = &raw.order else { panic!("it is") };
        for step in pinned.due() {
            match step {
                Step::Quarantine(name) => {
                    let identity = scene.inventory.volume(&name).unwrap().identity.to_string();
                    prop_assert_eq!(volumes.get(&name), Some(&identity));
                }
                Step::Release(id) => prop_assert!(false, "{} is released", id),
                Step::Delete(id) => prop_assert!(entries.contains(&id)),
            }
        }
    }
}
