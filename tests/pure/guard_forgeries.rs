//! The guard is an independent re-check: whatever a forged plan claims, no step that breaks an invariant is approved.

use std::collections::BTreeSet;

use crate::situations::{HOLDERS, raw};
use crate::{
    DAY, HOUR, Scene, directory, id, inventory, manifest, name, now, policy, put_off, reference, volume,
};
use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::Index;
use volgc::gc::entry::{Entry, EntryState, Manifest};
use volgc::gc::guard::approve;
use volgc::gc::holds::{Hold, HoldTarget};
use volgc::gc::ledger::{Clock, LedgerState, VolumeRecord};
use volgc::gc::plan::{Order, Plan, Quarantine, plan};
use volgc::gc::policy::{Disposition, Match, Mode, Rule};
use volgc::gc::reference::{HolderKind, Reference, Witness};
use volgc::gc::verdict::{Action, Reason, Step, Verdict};
use volgc::gc::volume::{Class, Unmovable, Volume, VolumeIdentity};

/// Which invariants the guard says are broken.
fn broken(plan: &Plan, scene: &Scene, order: &Order) -> BTreeSet<&'static str> {
    approve(plan, scene.situation(), order)
        .map_or_else(|all| all.into_iter().map(|one| one.invariant).collect(), |_| BTreeSet::new())
}

/// `db` is due for quarantine and `entry-01` for deletion.
fn due() -> Scene {
    let clock = |days| Clock { since: now(), watched: days * DAY, sightings: 100 };
    let volume = volume("db");
    let record = VolumeRecord {
        identity: volume.identity.clone(),
        first_seen_at: now(),
        unreferenced: Some(clock(8)),
        last_holder: None,
        suspected_since: None,
    };
    Scene {
        inventory: inventory(vec![volume], &[]),
        quarantine: Quarantine {
            entries: vec![Entry::Known(Box::new(manifest(&id("entry-01"), "old")))],
            ..Quarantine::default()
        },
        ledger: LedgerState {
            volumes: [(name("db"), record)].into(),
            entries: [(id("entry-01"), clock(15))].into(),
            ..LedgerState::default()
        },
        policy: policy(),
        now: now(),
    }
}

/// The plan that was right before the situation changed, under another situation.
fn stale(change: impl FnOnce(&mut Scene)) -> BTreeSet<&'static str> {
    stale_by(&Order::Scheduled, change)
}

fn stale_by(order: &Order, change: impl FnOnce(&mut Scene)) -> BTreeSet<&'static str> {
    let mut scene = due();
    let plan = plan(scene.situation(), order);
    assert_eq!(broken(&plan, &scene, order), BTreeSet::new());
    assert!(!plan.steps().is_empty());
    change(&mut scene);
    broken(&plan, &scene, order)
}

fn observed(change: impl FnOnce(&mut Volume), references: &[Reference]) -> volgc::gc::inventory::Inventory {
    let mut volume = volume("db");
    change(&mut volume);
    inventory(vec![volume], references)
}

fn kept(name: &str) -> Rule {
    let conditions =
        Match { volume: vec![globset::Glob::new(name).unwrap().compile_matcher()], ..Match::default() };
    Rule { name: "kept".to_owned(), conditions, disposition: Disposition::Keep, in_place: false }
}

fn manifest_of(scene: &mut Scene) -> &mut volgc::gc::entry::Manifest {
    match &mut scene.quarantine.entries[0] {
        Entry::Known(manifest) => manifest,
        Entry::Deleting(_) | Entry::Damaged { .. } => panic!("not known"),
    }
}

fn record(scene: &mut Scene) -> &mut VolumeRecord {
    scene.ledger.volumes.get_mut(&name("db")).unwrap()
}

fn clock(scene: &mut Scene) -> &mut Clock {
    record(scene).unreferenced.as_mut().unwrap()
}

fn entry_clock(scene: &mut Scene) -> &mut Clock {
    scene.ledger.entries.get_mut(&id("entry-01")).unwrap()
}

fn hold_on(target: HoldTarget) -> Hold {
    Hold { target, reason: "hold".to_owned(), given_at: now(), expires_at: None }
}

#[test]
fn a_stale_plan_does_not_quarantine_what_must_stay() {
    let held = reference(&name("db"), Witness::Kernel, HolderKind::Mount, "holder");
    let db = || HoldTarget::Volume { name: name("db"), identity: volume("db").identity };
    let one = |word| BTreeSet::from([word]);
    assert_eq!(stale(|scene| scene.inventory = observed(|_| (), &[held])), one("I1"));
    assert_eq!(stale(|scene| scene.ledger.holds.push(hold_on(db()))), one("I1"));
    assert_eq!(
        stale(|scene| scene.inventory = observed(|db| db.unmovable.push(Unmovable::Mounted), &[])),
        one("I6")
    );
    let label = |db: &mut Volume| db.labels.extend([("volgc.keep".to_owned(), "yes".to_owned())]);
    assert_eq!(stale(|scene| scene.inventory = observed(label, &[])), one("I2"));
    assert_eq!(stale(|scene| scene.policy.rules.push(kept("db"))), one("I1"));
    assert_eq!(stale(|scene| scene.ledger.volumes.clear()), one("I9"));
    let other = VolumeIdentity::Directory(directory(8));
    assert_eq!(stale(|scene| record(scene).identity = other), one("I11"));
    assert_eq!(stale(|scene| record(scene).unreferenced = None), one("I8"));
    assert_eq!(stale(|scene| clock(scene).sightings = 2), one("I8"));
    assert_eq!(stale(|scene| clock(scene).watched = 6 * DAY + 23 * HOUR), one("I8"));
    assert_eq!(stale(|scene| scene.policy.limits.min_grace = 9 * DAY), one("I8"));
    assert_eq!(stale(|scene| record(scene).suspected_since = Some(now())), one("I2"));
}

#[test]
fn a_stale_plan_does_not_delete_what_must_stay() {
    let one = |word| BTreeSet::from([word]);
    assert_eq!(stale(|scene| manifest_of(scene).state = EntryState::Moving), one("I5"));
    let doubt = EntryState::InDoubt { in_doubt_since: now(), asked_directly: true };
    assert_eq!(stale(|scene| manifest_of(scene).state = doubt), one("I5"));
    let back = EntryState::Restoring { restoring_to: name("old") };
    assert_eq!(stale(|scene| manifest_of(scene).state = back), one("I5"));
    let holder = (id("entry-01"), "process tar".to_owned());
    assert_eq!(stale(|scene| scene.quarantine.held.extend([holder])), one("I1"));
    let hold = hold_on(HoldTarget::Entry { entry: id("entry-01") });
    assert_eq!(stale(|scene| scene.ledger.holds.push(hold)), one("I1"));
    assert_eq!(stale(|scene| manifest_of(scene).name = name("db")), one("I11"));
    assert_eq!(stale(|scene| manifest_of(scene).delete_after_seconds = None), one("I3"));
    assert_eq!(stale(|scene| manifest_of(scene).delete_after_seconds = Some(u64::MAX)), one("I3"));
    assert_eq!(stale(|scene| entry_clock(scene).watched = 13 * DAY + 23 * HOUR), one("I3"));
    assert_eq!(stale(|scene| entry_clock(scene).sightings = 1), one("I3"));
    // A clock that has watched for longer than there was time to.
    let began = now() - TimeDelta::days(13);
    assert_eq!(stale(|scene| manifest_of(scene).quarantined_at = began), one("I3"));
    let ahead = now() + TimeDelta::days(400);
    assert_eq!(stale(|scene| manifest_of(scene).quarantined_at = ahead), one("I3"));
    assert_eq!(stale(|scene| scene.ledger.entries.clear()), one("I3"));
    assert_eq!(stale(|scene| scene.policy.rules.push(kept("old"))), one("I3"));
    let longer = Disposition::Collect { quarantine_after: 7 * DAY, delete_after: 30 * DAY };
    assert_eq!(stale(|scene| scene.policy.anonymous = longer), one("I3"));
    let label = ("volgc.keep".to_owned(), "true".to_owned());
    assert_eq!(stale(|scene| manifest_of(scene).labels.extend([label])), one("I2"));
    assert_eq!(stale(|scene| scene.quarantine.entries.clear()), BTreeSet::from(["I3", "I12"]));
}

/// The planner and the guard say so by themselves, each with code of its own.
#[test]
fn a_clock_that_watched_for_longer_than_there_was_time_to_ends_nothing() {
    let mut scene = due();
    manifest_of(&mut scene).quarantined_at = now() - TimeDelta::days(13);
    let early = &plan(scene.situation(), &Order::Scheduled).entries["entry-01"];
    assert_eq!((early.action, &early.reason), (Action::Keep, &Reason::InQuarantine));
    assert_eq!(early.due_at, Some(now() + TimeDelta::days(1)), "when the manifest agrees");
    manifest_of(&mut scene).quarantined_at = now() - TimeDelta::days(14);
    let due = &plan(scene.situation(), &Order::Scheduled).entries["entry-01"];
    assert_eq!(due.action, Action::Delete);
}

#[test]
fn what_is_ordered_by_hand_is_checked_all_the_same() {
    let one = |word| BTreeSet::from([word]);
    let quarantine = Order::Quarantine([name("db")].into());
    let delete = Order::Delete([id("entry-01")].into());
    let mount = reference(&name("db"), Witness::Kernel, HolderKind::Mount, "holder");
    assert_eq!(stale_by(&quarantine, |scene| scene.inventory = observed(|_| (), &[mount])), one("I1"));
    assert_eq!(stale_by(&quarantine, |scene| scene.policy.rules.push(kept("db"))), one("I1"));
    assert_eq!(stale_by(&quarantine, |scene| record(scene).suspected_since = Some(now())), one("I2"));
    assert_eq!(stale_by(&delete, |scene| manifest_of(scene).state = EntryState::Moving), one("I5"));
    let kept_by = hold_on(HoldTarget::Entry { entry: id("entry-01") });
    assert_eq!(stale_by(&delete, |scene| scene.ledger.holds.push(kept_by)), one("I1"));
    // The clock alone is skipped.
    assert_eq!(stale_by(&quarantine, |scene| clock(scene).watched = HOUR), BTreeSet::new());
    assert_eq!(stale_by(&delete, |scene| entry_clock(scene).watched = HOUR), BTreeSet::new());
}

#[test]
fn a_plan_for_another_order_is_not_approved() {
    let scene = due();
    let all = plan(scene.situation(), &Order::Scheduled);
    let pinned = |volumes: &[(&str, u64)], entries: &[&str]| Order::Pinned {
        volumes: (volumes.iter())
            .map(|(of, inode)| (name(of), VolumeIdentity::Directory(directory(*inode)).to_string()))
            .collect(),
        entries: entries.iter().map(|entry| id(entry)).collect(),
    };
    assert_eq!(broken(&all, &scene, &pinned(&[("db", 7)], &["entry-01"])), BTreeSet::new());
    for other in [
        pinned(&[], &["entry-01"]),
        pinned(&[("db", 7)], &[]),
        pinned(&[("db", 8)], &["entry-01"]),
        Order::Quarantine([name("db")].into()),
        Order::Delete([id("entry-01")].into()),
        Order::Quarantine([name("other")].into()),
    ] {
        assert_eq!(broken(&all, &scene, &other), BTreeSet::from(["the order"]), "{other:?}");
    }
}

#[test]
fn a_plan_goes_no_further_than_the_mode_in_force() {
    let mut scene = due();
    let enforced = plan(scene.situation(), &Order::Scheduled);
    let claimed = Plan { mode: Mode::Observe, by_hand: true, ..enforced.clone() };
    for mode in [Mode::Observe, Mode::Quarantine] {
        scene.policy.mode = mode;
        for forged in [&enforced, &claimed] {
            assert_eq!(broken(forged, &scene, &Order::Scheduled), BTreeSet::from(["the mode"]), "{mode:?}");
        }
    }
}

#[test]
fn a_verdict_too_few_or_too_many_is_a_defect() {
    let scene = due();
    let right = plan(scene.situation(), &Order::Scheduled);
    let keep = Verdict { action: Action::Keep, ..right.volumes[&name("db")].clone() };
    let one = BTreeSet::from(["I12"]);
    let forged = |change: &dyn Fn(&mut Plan)| {
        let mut plan = right.clone();
        change(&mut plan);
        broken(&plan, &scene, &Order::Scheduled)
    };
    assert_eq!(forged(&|plan| plan.volumes.clear()), one);
    assert_eq!(forged(&|plan| plan.entries.clear()), one);
    assert_eq!(forged(&|plan| drop(plan.volumes.insert(name("ghost"), keep.clone()))), one);
    assert_eq!(forged(&|plan| drop(plan.entries.insert("ghost-entry".to_owned(), keep.clone()))), one);
    let step = Verdict { action: Action::Quarantine, ..keep.clone() };
    assert_eq!(
        forged(&|plan| drop(plan.volumes.insert(name("ghost"), step.clone()))),
        BTreeSet::from(["I1", "I12"])
    );
}

/// `mount` is due to be marked, `entry-02` to end in place with its volume `marked`, and `entry-03` to be released.
fn due_in_place() -> Scene {
    let clock = |days| Clock { since: now(), watched: days * DAY, sightings: 100 };
    let mount = |text: &str| Volume { unmovable: vec![Unmovable::DriverOptions], ..volume(text) };
    let marked = |entry: &str, of: &str| {
        let marked = Manifest {
            state: EntryState::InPlace,
            volume_directory: directory(7),
            ..manifest(&id(entry), of)
        };
        Entry::Known(Box::new(marked))
    };
    let record = VolumeRecord {
        identity: volume("mount").identity,
        first_seen_at: now(),
        unreferenced: Some(clock(8)),
        last_holder: None,
        suspected_since: None,
    };
    let mut policy = policy();
    let collect = policy.named;
    policy.rules.push(Rule { disposition: collect, in_place: true, ..kept("m*") });
    Scene {
        inventory: inventory(vec![mount("mount"), mount("marked")], &[]),
        quarantine: Quarantine {
            entries: vec![marked("entry-02", "marked"), marked("entry-03", "gone")],
            ..Quarantine::default()
        },
        ledger: LedgerState {
            volumes: [(name("mount"), record.clone()), (name("marked"), record)].into(),
            entries: [(id("entry-02"), clock(15)), (id("entry-03"), clock(15))].into(),
            ..LedgerState::default()
        },
        policy,
        now: now(),
    }
}

fn stale_in_place(order: &Order, change: impl FnOnce(&mut Scene)) -> BTreeSet<&'static str> {
    let mut scene = due_in_place();
    let plan = plan(scene.situation(), order);
    assert_eq!(broken(&plan, &scene, order), BTreeSet::new());
    assert!(!plan.steps().is_empty());
    change(&mut scene);
    broken(&plan, &scene, order)
}

fn observed_in_place(
    change: impl Fn(&mut Volume),
    references: &[Reference],
) -> volgc::gc::inventory::Inventory {
    let mut volumes: Vec<Volume> = due_in_place().inventory.volumes().cloned().collect();
    volumes.iter_mut().for_each(change);
    inventory(volumes, references)
}

#[test]
fn a_stale_plan_marks_and_ends_nothing_in_place_that_must_stay() {
    let mark = Order::Quarantine([name("mount")].into());
    let end = Order::Delete([id("entry-02")].into());
    let all = Order::Scheduled;
    let steps = plan(due_in_place().situation(), &all).steps();
    assert_eq!(steps.len(), 3, "{steps:?}");
    let one = |word| BTreeSet::from([word]);
    let held = |of: &str| reference(&name(of), Witness::Kernel, HolderKind::Mount, "holder");
    assert_eq!(
        stale_in_place(&all, |scene| scene.inventory = observed_in_place(|_| (), &[held("mount")])),
        one("I1")
    );
    for order in [&all, &end] {
        let now_held = observed_in_place(|_| (), &[held("marked")]);
        assert_eq!(stale_in_place(order, |scene| scene.inventory = now_held), one("I1"));
        let kept = hold_on(HoldTarget::Entry { entry: id("entry-02") });
        assert_eq!(stale_in_place(order, |scene| scene.ledger.holds.push(kept)), one("I1"));
        let on_volume = HoldTarget::Volume { name: name("marked"), identity: volume("marked").identity };
        assert_eq!(stale_in_place(order, |scene| scene.ledger.holds.push(hold_on(on_volume))), one("I1"));
        let brake = |scene: &mut Scene| {
            scene.ledger.volumes.get_mut(&name("marked")).unwrap().suspected_since = Some(now());
        };
        assert_eq!(stale_in_place(order, brake), one("I2"));
        let holder = (id("entry-02"), "process tar".to_owned());
        assert_eq!(stale_in_place(order, |scene| scene.quarantine.held.extend([holder])), one("I1"));
        let doubt = EntryState::InPlaceInDoubt { in_doubt_since: now(), asked_directly: true };
        assert_eq!(stale_in_place(order, |scene| manifest_of(scene).state = doubt), one("I5"));
        assert_eq!(
            stale_in_place(order, |scene| manifest_of(scene).volume_directory = directory(9)),
            one("I11")
        );
        assert_eq!(stale_in_place(order, |scene| manifest_of(scene).name = name("nobody")), one("I11"));
    }
    // Whatever else stands in the way: the engine could delete data.
    let wrong =
        [vec![], vec![Unmovable::DriverOptions, Unmovable::Mounted], vec![Unmovable::OtherFileSystem]];
    for unmovable in wrong {
        let changed = |volume: &mut Volume| volume.unmovable.clone_from(&unmovable);
        let seen = || observed_in_place(changed, &[]);
        assert_eq!(stale_in_place(&end, |scene| scene.inventory = seen()), one("I3"));
        if !unmovable.is_empty() {
            assert_eq!(stale_in_place(&mark, |scene| scene.inventory = seen()), one("I6"));
        }
    }
    assert_eq!(stale_in_place(&mark, |scene| scene.policy.rules[0].in_place = false), one("I3"));
    assert_eq!(stale_in_place(&all, |scene| scene.policy.rules[0].in_place = false), one("I3"));
    assert_eq!(stale_in_place(&mark, |scene| manifest_of(scene).name = name("mount")), one("I11"));
    // By hand the clock and the policy are skipped, as for what was moved.
    assert_eq!(stale_in_place(&end, |scene| scene.ledger.entries.clear()), BTreeSet::new());
    assert_eq!(stale_in_place(&all, |scene| scene.ledger.entries.clear()), one("I3"));
}

#[test]
fn only_a_mark_on_nothing_or_on_what_is_held_is_released() {
    let all = Order::Scheduled;
    let last = |scene: &mut Scene, change: &dyn Fn(&mut Manifest)| match &mut scene.quarantine.entries[1] {
        Entry::Known(manifest) => change(manifest),
        Entry::Deleting(_) | Entry::Damaged { .. } => panic!("not known"),
    };
    let one = |word| BTreeSet::from([word]);
    assert_eq!(
        stale_in_place(&all, |scene| last(scene, &|manifest| manifest.state = EntryState::Quarantined)),
        one("I4")
    );
    let doubt = EntryState::InPlaceInDoubt { in_doubt_since: now(), asked_directly: true };
    assert_eq!(
        stale_in_place(&all, |scene| last(scene, &|manifest| manifest.state = doubt.clone())),
        one("I4")
    );
    // `mount` is free: its mark stays. (And what is marked is not marked again.)
    let free = stale_in_place(&all, |scene| last(scene, &|manifest| manifest.name = name("mount")));
    assert_eq!(free, BTreeSet::from(["the order", "I11"]));
    let scene = due_in_place();
    let scheduled = plan(scene.situation(), &all);
    for other in [
        Order::Pinned { volumes: [].into(), entries: [id("entry-02"), id("entry-03")].into() },
        Order::Delete([id("entry-02"), id("entry-03")].into()),
    ] {
        assert_eq!(broken(&scheduled, &scene, &other), one("the order"));
    }
    let mut observing = due_in_place();
    observing.policy.mode = Mode::Observe;
    assert_eq!(broken(&scheduled, &observing, &all), one("the mode"));
}

#[test]
fn what_is_not_listed_needs_a_rule_that_names_its_class() {
    let one = |word| BTreeSet::from([word]);
    let unlisted = || observed(|db| db.class = Class::Unlisted, &[]);
    // Taken by the policy of its class while it was listed.
    assert_eq!(stale(|scene| scene.inventory = unlisted()), one("I1"));
    let by_name = |class: Vec<Class>| {
        let rule = kept("db");
        let disposition = policy().named;
        Rule { disposition, conditions: Match { class, ..rule.conditions }, ..rule }
    };
    let with = |class: Vec<Class>| {
        stale(|scene| {
            scene.inventory = unlisted();
            scene.policy.rules.push(by_name(class));
        })
    };
    assert_eq!(with(vec![]), one("I1"));
    assert_eq!(with(vec![Class::Named, Class::Anonymous]), one("I1"));
    assert_eq!(with(vec![Class::Unlisted]), BTreeSet::new());
    let by_hand = Order::Quarantine([name("db")].into());
    assert_eq!(stale_by(&by_hand, |scene| scene.inventory = unlisted()), one("I1"));
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn whatever_is_kept_cannot_be_forced(raw in raw(), which: Index) {
        let mut scene = raw.scene();
        scene.policy.mode = Mode::Enforce;
        let right = plan(scene.situation(), &raw.order);
        let kept_volumes = right.volumes.iter().filter(|(_, verdict)| verdict.action != Action::Quarantine);
        let kept_entries = right.entries.iter().filter(|(_, verdict)| verdict.action != Action::Delete);
        let not_released = right.entries.iter().filter(|(_, verdict)| verdict.action != Action::Release);
        let kept: Vec<Step> = kept_volumes.map(|(name, _)| Step::Quarantine(name.clone()))
            .chain(kept_entries.map(|(entry, _)| Step::Delete(id(entry))))
            .chain(not_released.map(|(entry, _)| Step::Release(id(entry))))
            .collect();
        prop_assume!(!kept.is_empty());
        let forced = which.get(&kept);
        let mut forged = right.clone();
        let verdict = match forced {
            Step::Quarantine(name) => forged.volumes.get_mut(name).unwrap(),
            Step::Release(entry) | Step::Delete(entry) => forged.entries.get_mut(entry.as_str()).unwrap(),
        };
        verdict.action = match forced {
            Step::Quarantine(_) => Action::Quarantine,
            Step::Release(_) => Action::Release,
            Step::Delete(_) => Action::Delete,
        };
        verdict.reason = Reason::GraceOver;
        let violations = approve(&forged, scene.situation(), &raw.order);
        prop_assert!(violations.is_err(), "{forced:?} was kept: {:?}", right);
        if put_off(&right).contains(forced) {
            prop_assert_eq!(broken(&forged, &scene, &raw.order), BTreeSet::from(["the limit per sweep"]));
        }
    }

    #[test]
    fn one_more_holder_makes_no_forgery_good(raw in raw(), forged in raw_plan(), which: Index, who: Index) {
        prop_assume!(!raw.volumes.is_empty());
        let before = raw.scene();
        let mut more = raw.clone();
        more.volumes[which.index(raw.volumes.len())].holders.push(HOLDERS[who.index(HOLDERS.len())]);
        let plan = forged.over(&plan(before.situation(), &raw.order));
        let approved = |scene: &Scene| approve(&plan, scene.situation(), &raw.order).is_ok();
        prop_assert!(approved(&before) || !approved(&more.scene()));
    }

    #[test]
    fn what_is_approved_harms_nobody(raw in raw(), forged in raw_plan()) {
        let scene = raw.scene();
        let plan = forged.over(&plan(scene.situation(), &raw.order));
        let Ok(approved) = approve(&plan, scene.situation(), &raw.order) else { return Ok(()) };
        let mut due = scene.clone();
        due.policy.limits.max_per_sweep = u32::MAX;
        let due: BTreeSet<Step> = volgc::gc::plan::plan(due.situation(), &raw.order).steps().into_iter().collect();
        for step in approved.into_steps() {
            prop_assert!(due.contains(&step), "{step:?} is approved but not due");
        }
    }
}

/// Which verdicts are turned into steps or kept, and what the plan claims of itself.
#[derive(Debug, Clone)]
struct Forgery {
    bits: u32,
    mask: u32,
    mode: Mode,
    by_hand: bool,
}

fn raw_plan() -> impl Strategy<Value = Forgery> {
    let mode = prop_oneof![Just(Mode::Observe), Just(Mode::Quarantine), Just(Mode::Enforce)];
    // Few changes, so that some forgeries are good.
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), mode, any::<bool>())
        .prop_map(|(bits, a, b, c, mode, by_hand)| Forgery { bits, mask: a & b & c, mode, by_hand })
}

impl Forgery {
    fn over(&self, plan: &Plan) -> Plan {
        let mut forged = Plan { mode: self.mode, by_hand: self.by_hand, ..plan.clone() };
        let volumes = forged.volumes.values_mut().map(|verdict| (verdict, Action::Quarantine));
        let entries = forged.entries.values_mut().map(|verdict| (verdict, Action::Delete));
        for (number, (verdict, step)) in volumes.chain(entries).enumerate() {
            if self.mask >> number & 1 == 1 {
                verdict.action = if self.bits >> number & 1 == 1 { step } else { Action::Keep };
            }
        }
        forged
    }
}
