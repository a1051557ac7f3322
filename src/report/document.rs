//! The report as data: a contract with scripts. Times are RFC 3339 in UTC, sizes integers in bytes, order stable.

use std::collections::BTreeMap;
use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::text::rfc3339;
use crate::gc::entry::{Entry, EntryId, Manifest};
use crate::gc::in_order::InOrder;
use crate::gc::ledger::VolumeRecord;
use crate::gc::odd::OddVolume;
use crate::gc::orphans::{self, HeldBack};
use crate::gc::policy::Mode;
use crate::gc::reference::{LastHolder, Reference};
use crate::gc::verdict::{Action, Reason, Verdict};
use crate::gc::volume::{Volume, VolumeIdentity, VolumeName};
use crate::host::sharing::Blocks;
use crate::host::usage::Usage;
use crate::sweep::look::Look;

/// The version of this form. A field may be added without a new version; none is removed or changed.
pub const SCHEMA_VERSION: u32 = 1;

/// `volgc report --format json`. It borrows what it says of each volume: there may be tens of thousands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report<'a> {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the evidence was complete.
    pub taken_at: String,
    /// The configured mode.
    pub mode: Mode,
    /// Which engine.
    pub engine: EngineLine,
    /// Every volume, by name.
    pub volumes: Vec<VolumeLine<'a>>,
    /// Every quarantine entry, oldest first.
    pub quarantine: Vec<EntryLine>,
    /// Sums.
    pub totals: Totals,
    /// Remarks that decide nothing.
    pub notes: Vec<String>,
    /// Why a sweep would refuse to act.
    pub refusals: Vec<RefusalLine>,
    /// What a brake holds back of an otherwise usual sweep.
    pub held_back: Vec<HeldBackLine>,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineLine {
    /// Its ID.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The API version spoken with it.
    pub api_version: String,
    /// The docker root.
    pub root: String,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeLine<'a> {
    /// Its name.
    pub name: &'a str,
    /// `anonymous`, `named` or `unlisted`.
    pub class: &'static str,
    /// The volume driver.
    pub driver: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Which volume of that name; `sweep --plan` compares it.
    #[serde(serialize_with = "as_text")]
    pub identity: &'a VolumeIdentity,
    /// What is to happen.
    pub action: Action,
    /// Why: a stable word.
    pub reason: &'static str,
    /// Why: a sentence.
    pub detail: &'a str,
    /// Who holds it.
    #[serde(serialize_with = "as_holders")]
    pub holders: &'a [Reference],
    /// Since when nothing holds it, as far as it was watched.
    #[serde(serialize_with = "as_time")]
    pub unreferenced_since: Option<DateTime<Utc>>,
    /// When the next step is due.
    #[serde(serialize_with = "as_time")]
    pub due_at: Option<DateTime<Utc>>,
    /// The rule that matched.
    pub rule: Option<&'a str>,
    /// Allocated bytes, if they were measured, completely.
    pub size_bytes: Option<u64>,
    /// Whether deleting it may give back less, because its file system may share blocks between files.
    pub size_is_at_most: bool,
    /// The newest modification time in it.
    #[serde(serialize_with = "as_time")]
    pub last_write_at: Option<DateTime<Utc>>,
    /// Who held it last.
    pub last_holder: Option<&'a LastHolder>,
}

/// One holder, and who saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderLine<'a> {
    /// Which witness.
    pub witness: &'static str,
    /// `container`, `service`, ...
    pub kind: &'static str,
    /// Its ID.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// More, in one line.
    pub detail: &'a str,
}

/// One quarantine entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryLine {
    /// The entry, as `restore` and `delete` take it.
    pub entry: String,
    /// The volume it was; none when its manifest is damaged.
    pub name: Option<VolumeName>,
    /// `quarantined`, `in_place`, `moving`, `in_doubt`, `in_place_in_doubt`, `restoring`, `deleting` or `damaged`.
    pub state: &'static str,
    /// When it was set aside.
    pub quarantined_at: Option<String>,
    /// When it is deleted, as far as watched time can tell; none when only an operator deletes it.
    pub delete_at: Option<String>,
    /// Allocated bytes, if known.
    pub size_bytes: Option<u64>,
    /// Whether deleting it may give back less, because its file system may share blocks between files.
    pub size_is_at_most: bool,
    /// Whether another volume has its name.
    pub name_in_use: bool,
    /// What is to happen.
    pub action: Action,
    /// Why: a stable word.
    pub reason: String,
    /// Why: a sentence.
    pub detail: String,
    /// Who held the volume last.
    pub last_holder: Option<LastHolder>,
}

/// Sums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Volumes.
    pub volumes: usize,
    /// Volumes that something holds.
    pub held: usize,
    /// Volumes that nothing holds.
    pub unreferenced: usize,
    /// Those of them that the policy of their class keeps, and a rule could collect.
    pub kept_by_class: usize,
    /// Measured bytes in these.
    pub kept_by_class_bytes: u64,
    /// Volumes that are due for quarantine.
    pub due_quarantine: usize,
    /// Entries that are due for deletion.
    pub due_delete: usize,
    /// Entries in place that are due for release.
    pub due_release: usize,
    /// Entries in quarantine.
    pub quarantined: usize,
    /// Measured bytes in volumes that nothing holds.
    pub unreferenced_bytes: u64,
    /// Measured bytes in quarantine.
    pub quarantined_bytes: u64,
    /// Whether both sums are whole: nothing was left unmeasured.
    pub sizes_complete: bool,
    /// Whether deleting all of it may give back less, because blocks may be shared between files.
    pub sizes_are_at_most: bool,
}

/// A brake that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalLine {
    /// A stable word.
    pub reason: &'static str,
    /// What was seen, what was expected, what to do.
    pub detail: String,
}

/// Volumes that a brake holds back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBackLine {
    /// A stable word.
    pub reason: &'static str,
    /// How many volumes.
    pub volumes: usize,
    /// What was seen, what was expected, what to do.
    pub detail: String,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    /// By volume.
    pub volumes: BTreeMap<VolumeName, Usage>,
    /// By entry.
    pub entries: BTreeMap<EntryId, Usage>,
}

impl<'a> Report<'a> {
    /// Puts a look into the form of a report.
    pub fn new(look: &'a Look, mode: Mode, sizes: &Sizes) -> Self {
        let inventory = &look.observation.inventory;
        let engine = inventory.engine();
        let mut verdicts = InOrder::new(&look.plan.volumes);
        let mut records = InOrder::new(&look.ledger.volumes);
        let mut volumes: Vec<VolumeLine<'_>> = inventory
            .volumes()
            .filter_map(|volume| {
                let record = records.get(&volume.name);
                Some(volume_line(look, volume, verdicts.get(&volume.name)?, record, sizes))
            })
            .collect();
        volumes
            .extend(inventory.odd().iter().zip(&look.plan.odd).map(|(odd, (_, kept))| odd_line(odd, kept)));
        let mismatches = super::mismatch::notes(look);
        let quarantine = entry_lines(look, sizes);
        let mut notes = inventory.alerts().to_vec();
        notes.extend_from_slice(inventory.notes());
        notes.extend(mismatches);
        Self {
            schema_version: SCHEMA_VERSION,
            taken_at: rfc3339(inventory.taken_at()),
            mode,
            engine: EngineLine {
                id: engine.id.clone(),
                version: engine.version.clone(),
                api_version: engine.api_version.clone(),
                root: engine.root.clone(),
            },
            totals: totals(&volumes, &quarantine),
            volumes,
            quarantine,
            notes,
            refusals: look
                .refusals
                .iter()
                .map(|refusal| RefusalLine { reason: refusal.word, detail: refusal.text.clone() })
                .collect(),
            held_back: look.held_back().into_iter().map(held_back_line).collect(),
        }
    }
}

fn held_back_line(HeldBack { volumes, text }: HeldBack) -> HeldBackLine {
    HeldBackLine { reason: orphans::WORD, volumes, detail: text }
}

/// The lines of the quarantine, for `report` and `list`.
pub fn entry_lines(look: &Look, sizes: &Sizes) -> Vec<EntryLine> {
    look.quarantine.entries.iter().filter_map(|entry| entry_line(look, entry, sizes)).collect()
}

fn volume_line<'a>(
    look: &'a Look,
    volume: &'a Volume,
    verdict: &'a Verdict,
    record: Option<&'a VolumeRecord>,
    sizes: &Sizes,
) -> VolumeLine<'a> {
    let usage = sizes.volumes.get(&volume.name);
    VolumeLine {
        name: volume.name.as_str(),
        class: volume.class.word(),
        driver: &volume.driver,
        labels: &volume.labels,
        identity: &volume.identity,
        action: verdict.action,
        reason: verdict.reason.word(),
        detail: &verdict.detail,
        holders: look.observation.inventory.references(&volume.name),
        unreferenced_since: record.and_then(|record| Some(record.unreferenced.as_ref()?.since)),
        due_at: verdict.due_at,
        rule: verdict.rule.as_deref(),
        size_bytes: usage.filter(|usage| usage.complete).map(|usage| usage.allocated_bytes),
        size_is_at_most: usage.is_some_and(|usage| usage.complete) && may_share(look),
        last_write_at: usage
            .and_then(|usage| usage.newest_write_at)
            .and_then(|(seconds, _)| DateTime::from_timestamp(seconds, 0)),
        last_holder: record.and_then(|record| record.last_holder.as_ref()),
    }
}

fn odd_line<'a>(odd: &'a OddVolume, verdict: &'a Verdict) -> VolumeLine<'a> {
    VolumeLine {
        name: &odd.name,
        class: odd.class.word(),
        driver: &odd.driver,
        labels: &odd.labels,
        identity: &odd.identity,
        action: verdict.action,
        reason: verdict.reason.word(),
        detail: &verdict.detail,
        holders: &[],
        unreferenced_since: None,
        due_at: None,
        rule: None,
        size_bytes: None,
        size_is_at_most: false,
        last_write_at: None,
        last_holder: None,
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn as_time<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}

fn as_holders<S: Serializer>(references: &[Reference], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(references.iter().map(|Reference { witness, holder, .. }| HolderLine {
        witness: witness.word(),
        kind: holder.kind.word(),
        id: &holder.id,
        name: &holder.name,
        detail: &holder.detail,
    }))
}

fn entry_line(look: &Look, entry: &Entry, sizes: &Sizes) -> Option<EntryLine> {
    let (directory, state, manifest): (String, &'static str, Option<&Manifest>) = match entry {
        Entry::Known(manifest) => (manifest.entry.to_string(), manifest.state.word(), Some(manifest)),
        Entry::Deleting(id) => (id.to_string(), "deleting", None),
        Entry::Damaged { directory, .. } => (directory.clone(), "damaged", None),
    };
    let verdict = look.plan.entries.get(&directory)?;
    let measured = manifest
        .and_then(|manifest| sizes.entries.get(&manifest.entry))
        .filter(|usage| usage.complete)
        .map(|usage| usage.allocated_bytes);
    let size_bytes = measured.or_else(|| manifest.and_then(|manifest| manifest.size_bytes));
    Some(EntryLine {
        entry: directory,
        name: manifest.map(|manifest| manifest.name.clone()),
        state,
        quarantined_at: manifest.map(|manifest| rfc3339(manifest.quarantined_at)),
        delete_at: verdict.due_at.map(rfc3339),
        size_bytes,
        // In place nothing of Docker's own space is given back.
        size_is_at_most: size_bytes.is_some_and(|bytes| bytes > 0) && may_share(look),
        name_in_use: manifest.is_some_and(|manifest| is_name_in_use(look, manifest)),
        action: verdict.action,
        reason: verdict.reason.word().to_owned(),
        detail: verdict.detail.to_string(),
        last_holder: manifest.and_then(|manifest| manifest.last_holder.clone()),
    })
}

/// Whether sizes are no more than what deleting gives back.
fn may_share(look: &Look) -> bool {
    look.observation.blocks() == Blocks::MayBeShared
}

/// An entry in place is its volume, as long as that is there.
fn is_name_in_use(look: &Look, manifest: &Manifest) -> bool {
    let identity = VolumeIdentity::Directory(manifest.volume_directory);
    look.observation
        .inventory
        .volume(&manifest.name)
        .is_some_and(|volume| !(manifest.state.is_in_place() && volume.identity.is_same(&identity)))
}

fn totals(volumes: &[VolumeLine<'_>], quarantine: &[EntryLine]) -> Totals {
    let mut totals = Totals {
        volumes: volumes.len(),
        due_delete: quarantine.iter().filter(|entry| entry.action == Action::Delete).count(),
        due_release: quarantine.iter().filter(|entry| entry.action == Action::Release).count(),
        quarantined: quarantine.len(),
        quarantined_bytes: quarantine.iter().filter_map(|entry| entry.size_bytes).sum(),
        sizes_complete: quarantine.iter().all(|entry| entry.size_bytes.is_some()),
        sizes_are_at_most: quarantine.iter().any(|entry| entry.size_is_at_most),
        ..Totals::default()
    };
    for volume in volumes {
        if volume.action == Action::Quarantine {
            totals.due_quarantine += 1;
        }
        // I2: who holds what cannot be told apart is not known, so it counts as held.
        if !volume.holders.is_empty() || volume.reason == Reason::OddName.word() {
            totals.held += 1;
            continue;
        }
        let size = volume.size_bytes.unwrap_or(0);
        totals.unreferenced += 1;
        totals.unreferenced_bytes += size;
        totals.sizes_complete &= volume.size_bytes.is_some();
        totals.sizes_are_at_most |= volume.size_is_at_most;
        if volume.reason == Reason::ClassKeep.word() {
            totals.kept_by_class += 1;
            totals.kept_by_class_bytes += size;
        }
    }
    totals
}
