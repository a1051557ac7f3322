//! Situations as proptest makes them: raw parts, which a test may change before it builds the situation.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use globset::Glob;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use volgc::gc::entry::{Entry, EntryId, EntryState, Manifest};
use volgc::gc::holds::{Hold, HoldTarget};
use volgc::gc::inventory::Inventory;
use volgc::gc::ledger::{Clock, ClockReading, LedgerState, SeenEntry, VolumeRecord};
use volgc::gc::orphans::SeenEnds;
use volgc::gc::plan::{Order, Quarantine};
use volgc::gc::policy::{Disposition, LabelMatch, Limits, Match, Mode, Policy, Rule};
use volgc::gc::reference::{HolderKind, Reference, Witness};
use volgc::gc::touched::{Manner, Reads};
use volgc::gc::verdict::Reason;
use volgc::gc::volume::{Class, DirectoryIdentity, Unmovable, Volume, VolumeIdentity, VolumeName};
use volgc::gc::watch::Watch;

use super::{Scene, answers, directory, engine, id, limits, manifest, name, now, reference, used, volume};
use crate::every;

const HALF_DAY: Duration = Duration::from_hours(12);

pub fn every_unmovable() -> Vec<Unmovable> {
    every![
        Unmovable: OtherDriver, OtherScope, DriverOptions, OptionsFile, NoDirectory, NotADirectory, NoData, ForeignContent,
        OtherFileSystem, Mounted, NameNotAccepted, Immutable, ProjectQuota, Unreadable, NoAnswer, RootNotHere, ClusterVolume,
        RootUnproven, NotAMount, OptionsDiffer, MountPointNotEmpty, RenameRefused, RenameUnsafe
    ]
}

/// Every reason, those that carry one with one of them.
pub fn every_reason() -> Vec<Reason> {
    every![
        Reason: Held, KeepLabel, MalformedLabel, RuleKeep, ClassKeep, Unmovable(Unmovable::Mounted), SuddenOrphan,
        FirstSighting, WithinGrace, TooFewSightings, LimitPerSweep, NotOrdered, GraceOver, ByHand, Hold, InQuarantine,
        OperatorDeletes, NameInUse, UnfinishedMove, InDoubt, UnfinishedRestore, UnfinishedDeletion, ManifestDamaged,
        NotListed, InPlace, VolumeGone, NotOptedIn, OddName, Touched, Undeletable
    ]
}

/// Who may hold a volume, as which witness sees it.
pub const HOLDERS: [(Witness, HolderKind); 8] = [
    (Witness::Engine, HolderKind::Container),
    (Witness::BindSources, HolderKind::Container),
    (Witness::BindSources, HolderKind::Volume),
    (Witness::ContainersOnDisk, HolderKind::UnloadedContainer),
    (Witness::Kernel, HolderKind::Mount),
    (Witness::Kernel, HolderKind::Process),
    (Witness::Swarm, HolderKind::Service),
    (Witness::Swarm, HolderKind::UnknownSwarm),
];

/// What the ledger knows: half days watched, none when it was held; how often seen.
#[derive(Debug, Clone)]
pub struct RawRecord {
    pub clock: Option<(u32, u32)>,
    pub suspected: bool,
    pub other: bool,
}

#[derive(Debug, Clone)]
pub struct RawVolume {
    pub class: Class,
    pub labels: BTreeMap<String, String>,
    pub unmovable: Vec<Unmovable>,
    pub holders: Vec<(Witness, HolderKind)>,
    /// Hours until an operator's hold expires.
    pub hold: Option<i64>,
    pub record: Option<RawRecord>,
}

#[derive(Debug, Clone)]
pub enum RawState {
    Known(EntryState),
    Deleting,
    Damaged,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts that occur in every combination")]
pub struct RawEntry {
    pub state: RawState,
    /// Which volume's name; there may be none that many.
    pub of: usize,
    /// In place: it marked another volume of that name.
    pub other: bool,
    pub labels: BTreeMap<String, String>,
    /// In half days.
    pub promised: Option<u32>,
    pub clock: Option<(u32, u32)>,
    pub is_held: bool,
    /// Part of its data cannot be deleted.
    pub is_undeletable: bool,
    /// Something names its volume, also when there is none.
    pub is_named: bool,
    pub hold: Option<i64>,
    pub touched: Option<Manner>,
}

#[derive(Debug, Clone)]
pub struct Raw {
    pub volumes: Vec<RawVolume>,
    pub entries: Vec<RawEntry>,
    pub policy: Policy,
    pub order: Order,
}

fn clock() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![3 => (8_u32..20, 2_u32..6), 1 => (0_u32..20, 0_u32..6)]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    prop_oneof![
        16 => Just(BTreeMap::new()),
        3 => Just(one("stage", "test")),
        1 => Just(one("volgc.keep", "true")),
        1 => Just(one("volgc.keep", "false")),
        1 => Just(one("volgc.keep", "maybe")),
        1 => Just(one("volgc.other", "")),
    ]
}

/// Hours until a hold expires; mostly there is none.
fn hold() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![16 => Just(None), 1 => (-50_i64..0).prop_map(Some), 2 => (0_i64..2_000).prop_map(Some)]
}

fn raw_volume() -> impl Strategy<Value = RawVolume> {
    let class = prop_oneof![6 => Just(Class::Anonymous), 2 => Just(Class::Named), 1 => Just(Class::Unlisted)];
    let unmovable = prop_oneof![
        14 => Just(Vec::new()),
        3 => Just(vec![Unmovable::DriverOptions]),
        1 => proptest::sample::subsequence(every_unmovable(), 1..3),
    ];
    let holders = prop_oneof![
        5 => Just(Vec::new()),
        1 => proptest::sample::subsequence(HOLDERS.to_vec(), 1..4),
    ];
    let record = (option::weighted(0.95, clock()), prop::bool::weighted(0.05), prop::bool::weighted(0.05))
        .prop_map(|(clock, suspected, other)| RawRecord { clock, suspected, other });
    (class, labels(), unmovable, holders, hold(), option::weighted(0.95, record)).prop_map(
        |(class, labels, unmovable, holders, hold, record)| RawVolume {
            class,
            labels,
            unmovable,
            holders,
            hold,
            record,
        },
    )
}

fn raw_entry() -> impl Strategy<Value = RawEntry> {
    let state = prop_oneof![
        14 => Just(RawState::Known(EntryState::Quarantined)),
        1 => Just(RawState::Known(EntryState::Moving)),
        1 => Just(RawState::Known(EntryState::InDoubt { in_doubt_since: now(), asked_directly: true })),
        1 => Just(RawState::Known(EntryState::Restoring { restoring_to: name("back") })),
        4 => Just(RawState::Known(EntryState::InPlace)),
        1 => Just(RawState::Known(EntryState::InPlaceInDoubt { in_doubt_since: now(), asked_directly: true })),
        1 => Just(RawState::Deleting),
        1 => Just(RawState::Damaged),
    ];
    let promised = option::weighted(0.9, 4_u32..14);
    let is_held = prop::bool::weighted(0.1);
    let is_undeletable = prop::bool::weighted(0.1);
    let is_named = prop::bool::weighted(0.1);
    let clock = option::weighted(0.9, clock());
    let touched = option::weighted(0.15, prop_oneof![Just(Manner::Changed), Just(Manner::Read)]);
    let seen = (is_held, is_undeletable, is_named, hold(), touched);
    (state, 0_usize..30, prop::bool::weighted(0.1), labels(), promised, clock, seen).prop_map(
        |(state, of, other, labels, promised, clock, (is_held, is_undeletable, is_named, hold, touched))| {
            RawEntry {
                state,
                of,
                other,
                labels,
                promised,
                clock,
                is_held,
                is_undeletable,
                is_named,
                hold,
                touched,
            }
        },
    )
}

fn disposition() -> impl Strategy<Value = Disposition> {
    let collect = |(quarantine, delete): (u32, u32)| Disposition::Collect {
        quarantine_after: HALF_DAY * quarantine,
        delete_after: HALF_DAY * delete,
    };
    prop_oneof![1 => Just(Disposition::Keep), 9 => (0_u32..14, 0_u32..14).prop_map(collect)]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let glob = |text: &str| Glob::new(text).unwrap().compile_matcher();
    let stage = LabelMatch { key: "stage".to_owned(), value: Some(glob("te*")) };
    let conditions = [
        Match { label: vec![stage], ..Match::default() },
        Match { volume: vec![glob("v0[0-3]"), glob("*5")], ..Match::default() },
        Match { class: vec![Class::Named], volume: vec![glob("v*")], ..Match::default() },
        Match { class: vec![Class::Unlisted, Class::Anonymous], ..Match::default() },
    ];
    let rule = (0..conditions.len(), disposition(), any::<bool>());
    vec(rule, 0..3).prop_map(move |rules| {
        let made = rules.into_iter().enumerate().map(|(number, (which, disposition, in_place))| Rule {
            name: format!("rule {number}"),
            conditions: conditions[which].clone(),
            disposition,
            in_place: in_place && disposition != Disposition::Keep,
        });
        made.collect()
    })
}

/// Also with graces below the floor, which a configuration cannot have: the floor holds all the same.
fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![1 => Just(Mode::Observe), 1 => Just(Mode::Quarantine), 4 => Just(Mode::Enforce)];
    let floors = (0_u32..8, 1_u32..5, 0_u32..5, 0_u32..60, 0_u32..4);
    (mode, rules(), disposition(), disposition(), floors).prop_map(
        |(mode, rules, anonymous, named, (min_grace, min_sightings, max_per_sweep, share, orphans))| {
            let limits = Limits {
                min_grace: HALF_DAY * min_grace,
                min_sightings,
                max_per_sweep,
                max_share_per_sweep: share,
                sudden_orphans: orphans,
                reads: if min_sightings % 2 == 0 { Reads::Count } else { Reads::Pass },
                ..limits()
            };
            Policy { mode, rules, anonymous, named, limits, passing: Vec::new() }
        },
    )
}

/// A pinned plan, some of it about other volumes of those names.
pub fn pinned() -> impl Strategy<Value = Order> {
    (vec(0_usize..14, 0..10), vec(0_usize..14, 0..3), vec(0_usize..14, 0..8)).prop_map(
        |(volumes, others, entries)| Order::Pinned {
            volumes: (volumes.into_iter().map(|number| (volume_name(number), identity(number).to_string())))
                .chain(others.into_iter().map(|number| (volume_name(number), identity(99).to_string())))
                .collect(),
            entries: entries.into_iter().map(entry_id).collect(),
        },
    )
}

fn order() -> impl Strategy<Value = Order> {
    let numbers = || vec(0_usize..14, 0..8);
    prop_oneof![
        4 => Just(Order::Scheduled),
        1 => pinned(),
        1 => numbers().prop_map(|some| Order::Quarantine(some.into_iter().map(volume_name).collect())),
        1 => numbers().prop_map(|some| Order::Delete(some.into_iter().map(entry_id).collect())),
        1 => numbers().prop_map(|some| Order::DeleteTouched(some.into_iter().map(entry_id).collect())),
    ]
}

/// Any situation and order.
pub fn raw() -> impl Strategy<Value = Raw> {
    (vec(raw_volume(), 0..18), vec(raw_entry(), 0..12), policy(), order())
        .prop_map(|(volumes, entries, policy, order)| Raw { volumes, entries, policy, order })
}

pub fn volume_name(number: usize) -> VolumeName {
    name(&format!("v{number:02}"))
}

pub fn entry_id(number: usize) -> EntryId {
    id(&format!("entry-{number:02}"))
}

fn identity(number: usize) -> VolumeIdentity {
    VolumeIdentity::Directory(directory(number as u64))
}

fn made_clock((half_days, sightings): (u32, u32)) -> Clock {
    Clock { since: now(), watched: HALF_DAY * half_days, sightings }
}

impl RawEntry {
    fn volume_directory(&self) -> DirectoryIdentity {
        match &self.state {
            RawState::Known(state) if state.is_in_place() && !self.other => directory(self.of as u64),
            RawState::Known(_) | RawState::Deleting | RawState::Damaged => directory(1_003),
        }
    }

    fn build(&self, number: usize) -> Entry {
        match &self.state {
            RawState::Deleting => Entry::Deleting(entry_id(number)),
            RawState::Damaged => {
                Entry::Damaged { directory: entry_id(number).to_string(), problem: "damaged".to_owned() }
            }
            RawState::Known(state) => Entry::Known(Box::new(Manifest {
                state: state.clone(),
                volume_directory: self.volume_directory(),
                labels: self.labels.clone(),
                delete_after_seconds: self.promised.map(|half_days| (HALF_DAY * half_days).as_secs()),
                touched: self.touched.map(used),
                ..manifest(&entry_id(number), volume_name(self.of).as_str())
            })),
        }
    }
}

impl Raw {
    pub fn volume(&self, number: usize) -> Volume {
        let raw = &self.volumes[number];
        Volume {
            identity: identity(number),
            class: raw.class,
            labels: raw.labels.clone(),
            unmovable: raw.unmovable.clone(),
            ..volume(volume_name(number).as_str())
        }
    }

    /// What each witness says at a time: that decides which holds are over.
    pub fn references(&self, at: DateTime<Utc>) -> Vec<Reference> {
        let mut references = Vec::new();
        for (number, raw) in self.volumes.iter().enumerate() {
            let name = volume_name(number);
            let held = raw.holders.iter().map(|(witness, kind)| reference(&name, *witness, *kind, "holder"));
            references.extend(held);
            if raw.hold.is_some_and(|hours| at < now() + TimeDelta::hours(hours)) {
                references.push(reference(&name, Witness::Operator, HolderKind::Hold, "hold"));
            }
        }
        for raw in self.entries.iter().filter(|entry| entry.is_named) {
            references.push(reference(&volume_name(raw.of), Witness::Engine, HolderKind::Container, "named"));
        }
        references
    }

    pub fn inventory(&self, at: DateTime<Utc>) -> Inventory {
        let volumes = (0..self.volumes.len()).map(|number| self.volume(number)).collect();
        Inventory::complete(at, engine(), volumes, answers(&self.references(at))).unwrap()
    }

    pub fn quarantine(&self) -> Quarantine {
        let numbered = || self.entries.iter().enumerate();
        let held = numbered().filter(|(_, entry)| entry.is_held);
        let undeletable = numbered().filter(|(_, entry)| entry.is_undeletable);
        Quarantine {
            entries: numbered().map(|(number, entry)| entry.build(number)).collect(),
            held: held.map(|(number, _)| (entry_id(number), "process tar".to_owned())).collect(),
            undeletable: undeletable
                .map(|(number, _)| (entry_id(number), "the attribute `i`".to_owned()))
                .collect(),
        }
    }

    pub fn ledger(&self) -> LedgerState {
        let mut ledger = LedgerState::default();
        let expiry = |hours| Some(now() + TimeDelta::hours(hours));
        let mut hold = |target, hours| {
            let reason = "hold".to_owned();
            ledger.holds.push(Hold { target, reason, given_at: now(), expires_at: expiry(hours) });
        };
        for (number, raw) in self.volumes.iter().enumerate() {
            if let Some(hours) = raw.hold {
                hold(HoldTarget::Volume { name: volume_name(number), identity: identity(number) }, hours);
            }
        }
        for (number, raw) in self.entries.iter().enumerate() {
            if let Some(hours) = raw.hold {
                hold(HoldTarget::Entry { entry: entry_id(number) }, hours);
            }
        }
        for (number, raw) in self.volumes.iter().enumerate() {
            let Some(record) = &raw.record else { continue };
            let record = VolumeRecord {
                identity: identity(if record.other { 99 } else { number }),
                first_seen_at: now(),
                unreferenced: record.clock.map(made_clock),
                last_holder: None,
                suspected_since: record.suspected.then(now),
            };
            ledger.volumes.insert(volume_name(number), record);
        }
        let clocks = self.entries.iter().enumerate();
        ledger.entries =
            clocks.filter_map(|(number, raw)| Some((entry_id(number), made_clock(raw.clock?)))).collect();
        ledger
    }

    /// The situation with the ledger as it is.
    pub fn scene(&self) -> Scene {
        Scene {
            inventory: self.inventory(now()),
            quarantine: self.quarantine(),
            ledger: self.ledger(),
            policy: self.policy.clone(),
            now: now(),
        }
    }

    /// The situation after a sweep that follows the ledger's last one, whose clocks were `last`.
    pub fn swept(&self, last: &ClockReading, at: &ClockReading) -> Scene {
        let (inventory, quarantine) = (self.inventory(at.wall), self.quarantine());
        let before = LedgerState { last_sweep: Some(last.clone()), ..self.ledger() };
        let ledger = observe(&before, &inventory, &quarantine, at, &self.policy.limits);
        Scene { inventory, quarantine, ledger, policy: self.policy.clone(), now: at.wall }
    }
}

/// One observation, as a look makes it.
pub fn observe(
    before: &LedgerState,
    inventory: &Inventory,
    quarantine: &Quarantine,
    at: &ClockReading,
    limits: &Limits,
) -> LedgerState {
    let seen: Vec<SeenEntry<'_>> = quarantine
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(manifest) => {
                Some(SeenEntry { manifest, name_in_use: inventory.is_name_in_use(&manifest.name) })
            }
            Entry::Deleting(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    let mut after = before.observe(inventory, &seen, 1, at, &Watch::Sweeps, limits);
    let suspects = before.suspects(&before.orphans(&after), &SeenEnds::default(), 1, limits);
    after.suspect(&suspects, at.wall);
    after
}
