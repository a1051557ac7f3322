//! The pure core (plan, guard, ledger, events), the parsers, and rules that the sources keep: no root, no engine, no clock.
//!
//! Here is what they share: short makers of volumes, entries and situations.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests read files, and fail loudly"
)]

mod engine_events;
mod fault_points;
mod given;
mod guard_forgeries;
mod layering;
mod ledger_observe;
mod life;
mod parsers;
mod plan;
mod scenario;
mod situations;
mod sources;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::test_runner::Config as ProptestConfig;
use volgc::gc::entry::{EntryId, EntryState, MANIFEST_VERSION, Manifest, Ownership};
use volgc::gc::inventory::{Answer, EngineIdentity, Inventory};
use volgc::gc::ledger::{ClockReading, LedgerState};
use volgc::gc::plan::{Plan, Quarantine, Situation};
use volgc::gc::policy::{Disposition, Limits, Mode, Policy};
use volgc::gc::reference::{Holder, HolderKind, Reference, Witness};
use volgc::gc::touched::{Manner, Reads, Touched};
use volgc::gc::verdict::{Reason, Step};
use volgc::gc::volume::{Class, DirectoryIdentity, Volume, VolumeIdentity, VolumeName};

pub const HOUR: Duration = Duration::from_hours(1);
pub const DAY: Duration = Duration::from_hours(24);

/// That many cases, or as many as `PROPTEST_CASES` says.
pub fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { usual };
    ProptestConfig { cases, ..default }
}

/// The instant at which most tests take place.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_366_400, 0).unwrap()
}

pub fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    at + TimeDelta::from_std(by).unwrap()
}

pub fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

pub fn id(text: &str) -> EntryId {
    EntryId::new(text).unwrap()
}

pub fn directory(inode: u64) -> DirectoryIdentity {
    DirectoryIdentity { device: 1, inode, born_at_ns: 1_000, has_birth_time: true }
}

/// A movable anonymous volume.
pub fn volume(text: &str) -> Volume {
    Volume {
        name: name(text),
        identity: VolumeIdentity::Directory(directory(7)),
        class: Class::Anonymous,
        driver: "local".to_owned(),
        labels: BTreeMap::new(),
        unmovable: Vec::new(),
    }
}

pub fn reference(volume: &VolumeName, witness: Witness, kind: HolderKind, who: &str) -> Reference {
    let holder = Holder { kind, id: format!("id of {who}"), name: who.to_owned(), detail: String::new() };
    Reference { volume: volume.clone(), witness, holder }
}

/// The complete answers of every witness, holding these references.
pub fn answers(references: &[Reference]) -> Vec<Answer> {
    let of = |witness| references.iter().filter(move |reference| reference.witness == witness).cloned();
    Witness::ALL.into_iter().map(|witness| Answer::new(witness, of(witness).collect())).collect()
}

pub fn engine() -> EngineIdentity {
    EngineIdentity {
        id: "engine".to_owned(),
        version: "26.1.5".to_owned(),
        api_version: "1.45".to_owned(),
        root: "/var/lib/docker".to_owned(),
    }
}

pub fn inventory(volumes: Vec<Volume>, references: &[Reference]) -> Inventory {
    Inventory::complete(now(), engine(), volumes, answers(references)).unwrap()
}

/// An entry that is wholly in quarantine since ten years, to be deleted when its clock says two weeks.
pub fn manifest(entry: &EntryId, of: &str) -> Manifest {
    Manifest {
        manifest_version: MANIFEST_VERSION,
        entry: entry.clone(),
        state: EntryState::Quarantined,
        name: name(of),
        class: Class::Anonymous,
        driver: "local".to_owned(),
        labels: BTreeMap::new(),
        ownership: Ownership { uid: 0, gid: 0, mode: 0o755 },
        volume_directory: directory(3),
        data_directory: directory(4),
        engine_id: "engine".to_owned(),
        docker_root: "/var/lib/docker".to_owned(),
        quarantined_at: now() - TimeDelta::days(3650),
        unreferenced_since: None,
        rule: None,
        by_hand: false,
        delete_after_seconds: Some((14 * DAY).as_secs()),
        last_holder: None,
        size_bytes: None,
        name_unsafe_until: None,
        ordered_at: None,
        at_rest_since: None,
        touched: None,
    }
}

/// A use of the data of an entry.
pub fn used(manner: Manner) -> Touched {
    Touched { path: "base/1".to_owned(), manner, at: now(), others: 0 }
}

pub fn limits() -> Limits {
    Limits {
        min_grace: DAY,
        min_sightings: 3,
        max_per_sweep: 20,
        max_share_per_sweep: 10,
        max_gap: 2 * DAY,
        sudden_orphans: 10,
        sudden_orphan_share: 50,
        reads: Reads::Count,
    }
}

/// Everything collected: quarantined after a week, deleted two weeks later.
pub fn policy() -> Policy {
    let collect = Disposition::Collect { quarantine_after: 7 * DAY, delete_after: 14 * DAY };
    Policy {
        mode: Mode::Enforce,
        rules: Vec::new(),
        anonymous: collect,
        named: collect,
        limits: limits(),
        passing: Vec::new(),
    }
}

pub fn reading(wall: DateTime<Utc>, monotonic: Duration, boot: &str) -> ClockReading {
    ClockReading { wall, monotonic, boot_id: boot.to_owned() }
}

/// A situation that owns its parts.
#[derive(Debug, Clone)]
pub struct Scene {
    pub inventory: Inventory,
    pub quarantine: Quarantine,
    pub ledger: LedgerState,
    pub policy: Policy,
    pub now: DateTime<Utc>,
}

impl Scene {
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            inventory: &self.inventory,
            quarantine: &self.quarantine,
            ledger: &self.ledger,
            policy: &self.policy,
            now: self.now,
        }
    }
}

/// The steps that the limit put off. Whoever takes a due volume away lets one of these move up.
pub fn put_off(plan: &Plan) -> BTreeSet<Step> {
    let is_put_off = |reason: &Reason| *reason == Reason::LimitPerSweep;
    let volumes = plan.volumes.iter().filter(|(_, verdict)| is_put_off(&verdict.reason));
    let entries = plan.entries.iter().filter(|(_, verdict)| is_put_off(&verdict.reason));
    volumes
        .map(|(name, _)| Step::Quarantine(name.clone()))
        .chain(entries.map(|(entry, _)| Step::Delete(id(entry))))
        .collect()
}

/// Steps of `after` that `before` neither had nor only put off for its limit. A release harms nobody.
pub fn added(before: &Plan, after: &Plan) -> Vec<Step> {
    let mut wanted: BTreeSet<Step> = before.due().into_iter().collect();
    wanted.extend(put_off(before));
    let is_new = |step: &Step| !matches!(step, Step::Release(_)) && !wanted.contains(step);
    after.due().into_iter().filter(is_new).collect()
}

/// An array of every variant, which does not compile when one is missing.
macro_rules! every {
    ($of:ident: $($variant:ident $(($($field:expr),+))?),+ $(,)?) => {{
        let _complete = |one: &$of| match one {
            $($of::$variant { .. } => (),)+
        };
        vec![$($of::$variant $(($($field),+))?),+]
    }};
}
pub(crate) use every;
