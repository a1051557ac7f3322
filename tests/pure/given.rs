//! What a scenario gives: volumes, entries, what the ledger knows of them, an order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use volgc::config;
use volgc::gc::entry::{Entry, EntryId, EntryState, Manifest};
use volgc::gc::holds::{Hold, HoldTarget};
use volgc::gc::inventory::Inventory;
use volgc::gc::ledger::{Clock, LedgerState, VolumeRecord};
use volgc::gc::plan::{Order, Quarantine};
use volgc::gc::policy::Limits;
use volgc::gc::reference::{HolderKind, Reference, Witness};
use volgc::gc::touched::Manner;
use volgc::gc::volume::{Class, Unmovable, Volume, VolumeIdentity};

use super::situations::observe;
use super::{directory, id, manifest, name, now, reading, reference, used, volume};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Ordered {
    #[default]
    Scheduled,
    Quarantine(Vec<String>),
    Delete(Vec<String>),
    DeleteTouched(Vec<String>),
    Pinned {
        volumes: Vec<String>,
        /// In the report it was another volume of that name.
        #[serde(default)]
        other_volumes: Vec<String>,
        entries: Vec<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// By the wall clock since the last one; negative when it was set back.
    wall_hours: i64,
    /// By the monotonic clock; the same where it is left out.
    monotonic_hours: Option<u64>,
    /// Whether the host was started anew in between.
    #[serde(default)]
    rebooted: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenVolume {
    name: String,
    /// Makes that many, `-01` and so on.
    count: Option<u32>,
    #[serde(default = "anonymous")]
    class: Class,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    unmovable: Vec<Unmovable>,
    /// Witness, kind and name of each holder.
    #[serde(default)]
    held_by: Vec<(Witness, HolderKind, String)>,
    /// An operator's hold that the ledger has: how long it has left.
    hold_hours_left: Option<i64>,
    /// That hold is on another volume of the name.
    #[serde(default)]
    hold_on_other: bool,
    /// What the ledger knows.
    ledger: Option<Known>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Nothing: something held it at the last sweep.
    watched: Option<String>,
    /// The second volume of `count` was watched that much longer, and so on.
    #[serde(default)]
    each: Option<String>,
    #[serde(default = "many")]
    sightings: u32,
    #[serde(default)]
    suspected: bool,
    /// The ledger is about another volume of that name.
    #[serde(default)]
    other: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEntry {
    pub entry: String,
    count: Option<u32>,
    #[serde(default = "lost")]
    name: String,
    #[serde(default)]
    state: State,
    #[serde(default = "anonymous")]
    class: Class,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    rule: Option<String>,
    /// As promised; `operator` for none.
    #[serde(default = "fortnight")]
    delete_after: String,
    ledger: Option<Known>,
    pub held_by: Option<String>,
    /// What stands in the way of its deletion.
    pub undeletable: Option<String>,
    /// A container that names its volume, which there is none of.
    named_by: Option<String>,
    /// At the last sweep its name was in use.
    #[serde(default)]
    name_was_in_use: bool,
    /// In place: it marked another volume of that name.
    #[serde(default)]
    other_volume: bool,
    /// How something used its data.
    touched: Option<Manner>,
    /// An operator's hold; with how many hours it has left, none for ever.
    hold: Option<GivenHold>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenHold {
    reason: String,
    hours_left: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Quarantined,
    Moving,
    InDoubt,
    Restoring,
    InPlace,
    InPlaceInDoubt,
    Deleting,
    Damaged,
}

fn hold(target: HoldTarget, reason: String, hours_left: Option<i64>) -> Hold {
    let expires_at = hours_left.map(|hours| now() + chrono::TimeDelta::hours(hours));
    Hold { target, reason, given_at: now(), expires_at }
}

fn anonymous() -> Class {
    Class::Anonymous
}

fn lost() -> String {
    "lost".to_owned()
}

fn fortnight() -> String {
    "14d".to_owned()
}

fn many() -> u32 {
    100
}

pub fn span(text: &str) -> Duration {
    config::duration::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// `v-01` and so on; the name itself without a count.
fn numbered(base: &str, count: Option<u32>) -> Vec<(u32, String)> {
    count.map_or_else(
        || vec![(0, base.to_owned())],
        |count| (1..=count).map(|number| (number - 1, format!("{base}-{number:02}"))).collect(),
    )
}

impl Known {
    fn clock(&self, nth: u32) -> Option<Clock> {
        let each = self.each.as_deref().map_or(Duration::ZERO, span);
        let watched = span(self.watched.as_deref()?) + each * nth;
        Some(Clock { since: now(), watched, sightings: self.sightings })
    }
}

impl GivenVolume {
    pub fn made(&self) -> Vec<Volume> {
        let made = |(_, text): (u32, String)| Volume {
            class: self.class,
            labels: self.labels.clone(),
            unmovable: self.unmovable.clone(),
            ..volume(&text)
        };
        numbered(&self.name, self.count).into_iter().map(made).collect()
    }

    pub fn references(&self) -> Vec<Reference> {
        let of = |(_, text): (u32, String)| {
            let name = name(&text);
            let held = self.held_by.iter().map(|(witness, kind, who)| reference(&name, *witness, *kind, who));
            held.collect::<Vec<_>>()
        };
        numbered(&self.name, self.count).into_iter().flat_map(of).collect()
    }

    pub fn records(&self, ledger: &mut LedgerState) {
        if let Some(hours) = self.hold_hours_left {
            let identity = VolumeIdentity::Directory(directory(if self.hold_on_other { 8 } else { 7 }));
            let target = HoldTarget::Volume { name: name(&self.name), identity };
            ledger.holds.push(hold(target, "hold".to_owned(), Some(hours)));
        }
        let Some(known) = &self.ledger else { return };
        for (nth, text) in numbered(&self.name, self.count) {
            let identity = VolumeIdentity::Directory(if known.other { directory(8) } else { directory(7) });
            let record = VolumeRecord {
                identity,
                first_seen_at: now(),
                unreferenced: known.clock(nth),
                last_holder: None,
                suspected_since: known.suspected.then(now),
            };
            ledger.volumes.insert(name(&text), record);
        }
    }
}

impl GivenEntry {
    pub fn made(&self) -> Vec<Entry> {
        numbered(&self.entry, self.count).into_iter().map(|(_, text)| self.one(&text)).collect()
    }

    pub fn reference(&self) -> Option<Reference> {
        let who = self.named_by.as_deref()?;
        Some(reference(&name(&self.name), Witness::Engine, HolderKind::Container, who))
    }

    fn one(&self, text: &str) -> Entry {
        let state = match self.state {
            State::Quarantined => EntryState::Quarantined,
            State::Moving => EntryState::Moving,
            State::InDoubt => EntryState::InDoubt { in_doubt_since: now(), asked_directly: true },
            State::Restoring => EntryState::Restoring { restoring_to: name(&self.name) },
            State::InPlace => EntryState::InPlace,
            State::InPlaceInDoubt => {
                EntryState::InPlaceInDoubt { in_doubt_since: now(), asked_directly: true }
            }
            State::Deleting => return Entry::Deleting(id(text)),
            State::Damaged => {
                return Entry::Damaged { directory: text.to_owned(), problem: "not JSON".to_owned() };
            }
        };
        let promised = (self.delete_after != "operator").then(|| span(&self.delete_after).as_secs());
        Entry::Known(Box::new(Manifest {
            state,
            class: self.class,
            labels: self.labels.clone(),
            rule: self.rule.clone(),
            volume_directory: directory(if self.other_volume { 9 } else { 7 }),
            delete_after_seconds: promised,
            touched: self.touched.map(used),
            ..manifest(&id(text), &self.name)
        }))
    }

    pub fn remembered(&self, ledger: &mut LedgerState) {
        for (nth, text) in numbered(&self.entry, self.count) {
            if let Some(clock) = self.ledger.as_ref().and_then(|known| known.clock(nth)) {
                ledger.entries.insert(id(&text), clock);
            }
            if let Some(GivenHold { reason, hours_left }) = self.hold.clone() {
                let target = HoldTarget::Entry { entry: id(&text) };
                ledger.holds.push(hold(target, reason, hours_left));
            }
        }
        if self.name_was_in_use {
            let identity = VolumeIdentity::Directory(directory(9));
            let clock = Clock::start(now());
            let record = VolumeRecord {
                identity,
                first_seen_at: now(),
                unreferenced: Some(clock),
                last_holder: None,
                suspected_since: None,
            };
            ledger.volumes.insert(name(&self.name), record);
        }
    }
}

impl Ordered {
    pub fn order(&self) -> Order {
        let names = |texts: &[String]| texts.iter().map(|text| name(text)).collect();
        let ids = |texts: &[String]| texts.iter().map(|text| id(text)).collect::<BTreeSet<EntryId>>();
        let shown = |inode| VolumeIdentity::Directory(directory(inode)).to_string();
        match self {
            Self::Scheduled => Order::Scheduled,
            Self::Quarantine(volumes) => Order::Quarantine(names(volumes)),
            Self::Delete(entries) => Order::Delete(ids(entries)),
            Self::DeleteTouched(entries) => Order::DeleteTouched(ids(entries)),
            Self::Pinned { volumes, other_volumes, entries } => Order::Pinned {
                volumes: (volumes.iter().map(|text| (name(text), shown(7))))
                    .chain(other_volumes.iter().map(|text| (name(text), shown(9))))
                    .collect(),
                entries: ids(entries),
            },
        }
    }
}

impl Sweep {
    pub fn observed(
        &self,
        before: LedgerState,
        inventory: &Inventory,
        quarantine: &Quarantine,
        limits: &Limits,
    ) -> LedgerState {
        let by_monotonic = self.monotonic_hours.unwrap_or_else(|| self.wall_hours.unsigned_abs());
        let start = Duration::from_hours(10_000);
        let last = reading(now() - chrono::TimeDelta::hours(self.wall_hours), start, "boot");
        let after = start + Duration::from_hours(by_monotonic);
        let here = reading(now(), after, if self.rebooted { "another" } else { "boot" });
        observe(&LedgerState { last_sweep: Some(last), ..before }, inventory, quarantine, &here, limits)
    }
}
