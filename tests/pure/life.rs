//! A simulated host, swept by the pure functions alone, and beside it an oracle that keeps its own account, from true time and
//! not from clocks, of how long a volume was free and an entry in quarantine.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use volgc::gc::entry::{Entry, EntryId, Manifest};
use volgc::gc::guard::approve;
use volgc::gc::holds::{Hold, HoldTarget};
use volgc::gc::inventory::Inventory;
use volgc::gc::ledger::{ClockReading, LedgerState};
use volgc::gc::plan::{Order, Quarantine, Situation, plan};
use volgc::gc::policy::{Disposition, Limits, Policy};
use volgc::gc::reference::{HolderKind, Reference, Witness};
use volgc::gc::verdict::{Action, Step};
use volgc::gc::volume::{Volume, VolumeIdentity, VolumeName};

use super::situations::{entry_id, observe, volume_name};
use super::{
    DAY, HOUR, answers, directory, engine, limits, manifest, now, policy, reading, reference, volume,
};

pub const QUARANTINE_AFTER: Duration = Duration::from_hours(72);
pub const DELETE_AFTER: Duration = Duration::from_hours(96);
const NAMES: usize = 5;

#[derive(Debug, Clone)]
pub enum Event {
    /// Hours in which nothing happens.
    Pass(u32),
    /// Hours in which the host sleeps.
    Suspend(u32),
    /// The wall clock is set, by hours.
    SetClock(i64),
    /// The host is off for hours, and starts anew.
    Reboot(u32),
    /// A container takes or makes the volume.
    Take(usize),
    /// The container goes.
    Leave(usize),
    /// Somebody deletes the volume.
    Remove(usize),
    /// Somebody deletes the volume and makes another of that name.
    Recreate(usize),
    /// An operator holds the volume, for hours by the wall clock. (For none it is held at no time.)
    Hold(usize, u32),
    /// An operator holds an entry, for hours by the wall clock.
    HoldEntry(usize, u32),
    /// An operator restores an entry.
    Restore(usize),
    LoseLedger,
    /// A sweep that remembers, but fails to carry anything out.
    FailingSweep,
    Sweep,
}

pub fn events(length: usize) -> impl Strategy<Value = Vec<Event>> {
    let which = || 0..NAMES;
    let one = prop_oneof![
        20 => (1_u32..30).prop_map(Event::Pass),
        1 => (1_u32..300).prop_map(Event::Suspend),
        1 => (-300_i64..3_000).prop_map(Event::SetClock),
        1 => (0_u32..300).prop_map(Event::Reboot),
        2 => which().prop_map(Event::Take),
        2 => which().prop_map(Event::Leave),
        1 => which().prop_map(Event::Remove),
        1 => which().prop_map(Event::Recreate),
        1 => (which(), 1_u32..200).prop_map(|(which, hours)| Event::Hold(which, hours)),
        1 => (which(), 1_u32..200).prop_map(|(which, hours)| Event::HoldEntry(which, hours)),
        1 => which().prop_map(Event::Restore),
        1 => Just(Event::LoseLedger),
        1 => Just(Event::FailingSweep),
        20 => Just(Event::Sweep),
    ];
    proptest::collection::vec(one, length)
}

#[derive(Debug, Clone)]
struct Present {
    inode: u64,
    is_held: bool,
}

/// How long something was so at every sweep, and at how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Streak {
    watched: Duration,
    sweeps: u32,
}

/// What the oracle knows of the last sweep that was remembered.
#[derive(Debug, Clone)]
struct LastSweep {
    awake: Duration,
    boot: u32,
    present: BTreeMap<VolumeName, u64>,
}

#[derive(Debug, Default)]
struct Oracle {
    last: Option<LastSweep>,
    free: BTreeMap<u64, Streak>,
    kept: BTreeMap<EntryId, Streak>,
    /// Held by an operator at some time since the last sweep: inodes, and entries.
    held_inodes: Vec<(u64, i64)>,
    held_entries: Vec<(EntryId, i64)>,
}

#[derive(Debug)]
pub struct Host {
    awake: Duration,
    /// Hours that the wall clock shows.
    wall: i64,
    boot: u32,
    monotonic: Duration,
    next_inode: u64,
    volumes: BTreeMap<VolumeName, Present>,
    entries: Vec<Manifest>,
    made: usize,
    ledger: LedgerState,
    policy: Policy,
    oracle: Oracle,
    pub quarantined: usize,
    pub deleted: usize,
}

impl Default for Host {
    fn default() -> Self {
        let collect = Disposition::Collect { quarantine_after: QUARANTINE_AFTER, delete_after: DELETE_AFTER };
        let limits = Limits { sudden_orphans: 3, ..limits() };
        let mut host = Self {
            awake: Duration::ZERO,
            wall: 0,
            boot: 0,
            monotonic: Duration::ZERO,
            next_inode: 1,
            volumes: BTreeMap::new(),
            entries: Vec::new(),
            made: 0,
            ledger: LedgerState::default(),
            policy: Policy { anonymous: collect, limits, ..policy() },
            oracle: Oracle::default(),
            quarantined: 0,
            deleted: 0,
        };
        (0..NAMES).for_each(|number| host.make(&volume_name(number)));
        host
    }
}

impl Host {
    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(hours) => {
                self.awake += HOUR * *hours;
                self.monotonic += HOUR * *hours;
                self.wall += i64::from(*hours);
            }
            Event::Suspend(hours) => self.wall += i64::from(*hours),
            Event::SetClock(hours) => self.wall += hours,
            Event::Reboot(hours) => {
                self.wall += i64::from(*hours);
                self.boot += 1;
                self.monotonic = Duration::ZERO;
            }
            Event::Take(number) => {
                let name = volume_name(*number);
                if !self.volumes.contains_key(&name) {
                    self.make(&name);
                }
                self.volumes.entry(name).and_modify(|present| present.is_held = true);
            }
            Event::Leave(number) => {
                self.volumes.entry(volume_name(*number)).and_modify(|present| present.is_held = false);
            }
            Event::Remove(number) => drop(self.volumes.remove(&volume_name(*number))),
            Event::Recreate(number) => self.make(&volume_name(*number)),
            Event::Hold(number, hours) => self.hold(*number, *hours),
            Event::HoldEntry(number, hours) => self.hold_entry(*number, *hours),
            Event::Restore(number) => self.restore(*number),
            Event::LoseLedger => {
                self.ledger = LedgerState::default();
                self.oracle = Oracle::default();
            }
            Event::FailingSweep => drop(self.sweep()),
            Event::Sweep => {
                for step in self.sweep() {
                    self.carry_out(step);
                }
            }
        }
    }

    fn make(&mut self, name: &VolumeName) {
        self.volumes.insert(name.clone(), Present { inode: self.next_inode, is_held: false });
        self.next_inode += 1;
    }

    fn hold(&mut self, number: usize, hours: u32) {
        let name = volume_name(number);
        let Some(present) = self.volumes.get(&name) else { return };
        self.oracle.held_inodes.push((present.inode, self.wall + i64::from(hours)));
        let identity = VolumeIdentity::Directory(directory(present.inode));
        self.give(HoldTarget::Volume { name, identity }, hours);
    }

    fn hold_entry(&mut self, number: usize, hours: u32) {
        let Some(entry) = self.entries.get(number).map(|manifest| manifest.entry.clone()) else { return };
        self.oracle.held_entries.push((entry.clone(), self.wall + i64::from(hours)));
        self.give(HoldTarget::Entry { entry }, hours);
    }

    fn give(&mut self, target: HoldTarget, hours: u32) {
        let given_at = now() + TimeDelta::hours(self.wall);
        let expires_at = Some(self.ledger.hold_from(given_at) + TimeDelta::hours(i64::from(hours)));
        self.ledger.holds.push(Hold { target, reason: "hold".to_owned(), given_at, expires_at });
    }

    fn restore(&mut self, number: usize) {
        let is_free = |manifest: &Manifest| !self.volumes.contains_key(&manifest.name);
        if self.entries.get(number).is_some_and(is_free) {
            let manifest = self.entries.remove(number);
            self.ledger.entries.remove(&manifest.entry);
            self.make(&manifest.name);
        }
    }

    /// Observes, plans, has the plan approved; returns the steps.
    fn sweep(&mut self) -> Vec<Step> {
        let (inventory, at) = (self.inventory(), self.clocks());
        let entries = self.entries.iter().cloned().map(|manifest| Entry::Known(Box::new(manifest))).collect();
        let quarantine = Quarantine { entries, ..Quarantine::default() };
        self.account();
        self.ledger = observe(&self.ledger, &inventory, &quarantine, &at, &self.policy.limits);
        self.compare();
        let situation = Situation {
            inventory: &inventory,
            quarantine: &quarantine,
            ledger: &self.ledger,
            policy: &self.policy,
            now: at.wall,
        };
        let plan = plan(situation, &Order::Scheduled);
        for (name, present) in &self.volumes {
            assert!(!present.is_held || plan.volumes[name].action == Action::Keep, "{name} is held");
        }
        approve(&plan, situation, &Order::Scheduled).unwrap().into_steps()
    }

    fn clocks(&self) -> ClockReading {
        let wall = now() + TimeDelta::hours(self.wall);
        reading(wall, 1_000 * DAY + self.monotonic, &format!("boot {}", self.boot))
    }

    fn inventory(&self) -> Inventory {
        let mut references: Vec<Reference> = Vec::new();
        let mut volumes = Vec::new();
        let at = now() + TimeDelta::hours(self.wall);
        for (name, present) in &self.volumes {
            let identity = VolumeIdentity::Directory(directory(present.inode));
            if present.is_held {
                references.push(reference(name, Witness::Engine, HolderKind::Container, "web"));
            }
            if self.ledger.hold_on_volume(name, at).is_some() {
                references.push(reference(name, Witness::Operator, HolderKind::Hold, "hold"));
            }
            volumes.push(Volume { identity, ..volume(name.as_str()) });
        }
        Inventory::complete(at, engine(), volumes, answers(&references)).unwrap()
    }

    /// The oracle's own account of this sweep.
    fn account(&mut self) {
        let oracle = &mut self.oracle;
        let present: BTreeMap<VolumeName, u64> =
            self.volumes.iter().map(|(name, present)| (name.clone(), present.inode)).collect();
        let last = oracle.last.replace(LastSweep { awake: self.awake, boot: self.boot, present });
        let elapsed = last.as_ref().map_or(Duration::ZERO, |last| {
            let most = self.policy.limits.max_gap;
            // Started anew, nobody can tell how long it was off.
            if last.boot == self.boot { self.awake.saturating_sub(last.awake).min(most) } else { most }
        });
        let longer = |streak: Option<Streak>| {
            streak.map_or(Streak { watched: Duration::ZERO, sweeps: 1 }, |streak| Streak {
                watched: streak.watched + elapsed,
                sweeps: streak.sweeps + 1,
            })
        };
        let mut free = BTreeMap::new();
        for (name, present) in &self.volumes {
            let is_held = |(inode, until): &(u64, i64)| *inode == present.inode && *until > self.wall;
            if present.is_held || oracle.held_inodes.iter().any(is_held) {
                continue;
            }
            let was_held = oracle.held_inodes.iter().any(|(inode, _)| *inode == present.inode);
            let was_there = last.as_ref().is_some_and(|last| last.present.get(name) == Some(&present.inode));
            let before = oracle.free.get(&present.inode).copied().filter(|_| was_there && !was_held);
            free.insert(present.inode, longer(before));
        }
        oracle.free = free;
        let mut kept = BTreeMap::new();
        for manifest in &self.entries {
            let entry = manifest.entry.clone();
            let was_held = oracle.held_entries.iter().any(|(held, _)| *held == entry);
            let was_in_use = last.as_ref().is_some_and(|last| last.present.contains_key(&manifest.name));
            let before = oracle.kept.get(&entry).copied().filter(|_| !was_held);
            let in_use = self.volumes.contains_key(&manifest.name) || was_in_use;
            let now = match before {
                Some(before) if in_use => before,
                Some(_) | None => longer(before),
            };
            kept.insert(entry, now);
        }
        oracle.kept = kept;
        oracle.held_inodes.retain(|(_, until)| *until > self.wall);
        oracle.held_entries.retain(|(_, until)| *until > self.wall);
    }

    /// No clock of the ledger is ahead of the oracle's.
    fn compare(&self) {
        for (name, record) in &self.ledger.volumes {
            if let Some(clock) = &record.unreferenced {
                let streak = self.oracle.free[&self.volumes[name].inode];
                assert!(clock.watched <= streak.watched, "{name}: {clock:?}, {streak:?}");
                assert!(clock.sightings <= streak.sweeps, "{name}: {clock:?}, {streak:?}");
            }
        }
        for (entry, clock) in &self.ledger.entries {
            let streak = self.oracle.kept[entry];
            assert!(clock.watched <= streak.watched, "{entry}: {clock:?}, {streak:?}");
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Quarantine(name) => {
                let present = self.volumes.remove(&name).unwrap();
                let streak = self.oracle.free[&present.inode];
                assert!(!present.is_held, "{name} is held");
                assert!(streak.watched >= QUARANTINE_AFTER && streak.sweeps >= 3, "{name}: {streak:?}");
                self.made += 1;
                self.entries.push(Manifest {
                    volume_directory: directory(present.inode),
                    delete_after_seconds: Some(DELETE_AFTER.as_secs()),
                    ..manifest(&entry_id(self.made), name.as_str())
                });
                self.quarantined += 1;
            }
            Step::Release(entry) => panic!("{entry} is not in place"),
            Step::Delete(entry) => {
                let at = self.entries.iter().position(|manifest| manifest.entry == entry).unwrap();
                let manifest = self.entries.remove(at);
                let streak = self.oracle.kept[&entry];
                assert!(!self.volumes.contains_key(&manifest.name), "{} is in use", manifest.name);
                assert!(!self.oracle.held_entries.iter().any(|(held, _)| *held == entry), "{entry} is held");
                assert!(streak.watched >= DELETE_AFTER, "{entry}: {streak:?}");
                self.deleted += 1;
            }
        }
    }
}
