//! What a plan says of one volume or entry: an action and a typed reason (I12).

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entry::EntryId;
use super::volume::{Unmovable, VolumeName};

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    Keep,
    /// Nothing yet: its clock starts.
    Watch,
    /// It is set aside, restorable.
    Quarantine,
    /// It leaves a quarantine in place: something holds it again.
    Release,
    /// It is gone for good.
    Delete,
}

impl Action {
    /// The stable word used in JSON, tables and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Watch => "watch",
            Self::Quarantine => "quarantine",
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

/// Why. Computed by the same function that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Something holds it.
    Held,
    /// The label `volgc.keep=true`.
    KeepLabel,
    /// A `volgc.*` label that is not understood.
    MalformedLabel,
    /// A rule with `keep = true`.
    RuleKeep,
    /// The policy of its class keeps.
    ClassKeep,
    /// It cannot be moved.
    Unmovable(Unmovable),
    /// The sudden-orphan brake holds it.
    SuddenOrphan,
    /// Seen unreferenced for the first time.
    FirstSighting,
    /// Its grace period is not over.
    WithinGrace,
    /// Not yet seen unreferenced often enough.
    TooFewSightings,
    /// Due, but this sweep has taken its share.
    LimitPerSweep,
    /// Due, but not among those that were ordered.
    NotOrdered,
    /// Its grace period is over.
    GraceOver,
    /// An operator ordered it.
    ByHand,
    /// An operator's hold on the entry.
    Hold,
    /// In quarantine, within its grace period.
    InQuarantine,
    /// In quarantine by an operator's order, with no end of its own.
    OperatorDeletes,
    /// Its name runs on another volume; the clock stands still.
    NameInUse,
    /// In quarantine, and something used its data since: only an operator deletes it.
    Touched,
    /// Its move into the quarantine is not finished.
    UnfinishedMove,
    /// The engine's answer to DELETE is not known.
    InDoubt,
    /// Its restore is not finished.
    UnfinishedRestore,
    /// Its deletion was begun and is not finished.
    UnfinishedDeletion,
    /// Its manifest is missing or damaged.
    ManifestDamaged,
    /// The engine does not list it, and no rule names that class.
    NotListed,
    /// In quarantine in place, as another line says.
    InPlace,
    /// The volume that was quarantined in place is gone, or another one has its name.
    VolumeGone,
    /// No rule permits `in_place` for it any more.
    NotOptedIn,
    /// Its name does not say which volume it is.
    OddName,
    /// Something in its data cannot be deleted.
    Undeletable,
}

impl Reason {
    /// The stable word used in JSON, tables and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::KeepLabel => "keep_label",
            Self::MalformedLabel => "malformed_label",
            Self::RuleKeep => "rule_keep",
            Self::ClassKeep => "class_keep",
            Self::Unmovable(what) => what.word(),
            Self::SuddenOrphan => "sudden_orphan",
            Self::FirstSighting => "first_sighting",
            Self::WithinGrace => "within_grace",
            Self::TooFewSightings => "too_few_sightings",
            Self::LimitPerSweep => "limit_per_sweep",
            Self::NotOrdered => "not_ordered",
            Self::GraceOver => "grace_over",
            Self::ByHand => "by_hand",
            Self::Hold => "hold",
            Self::InQuarantine => "in_quarantine",
            Self::OperatorDeletes => "operator_deletes",
            Self::NameInUse => "name_in_use",
            Self::Touched => "touched",
            Self::UnfinishedMove => "unfinished_move",
            Self::InDoubt => "in_doubt",
            Self::UnfinishedRestore => "unfinished_restore",
            Self::UnfinishedDeletion => "unfinished_deletion",
            Self::ManifestDamaged => "manifest_damaged",
            Self::NotListed => "not_listed",
            Self::InPlace => "in_place",
            Self::VolumeGone => "volume_gone",
            Self::NotOptedIn => "not_opted_in",
            Self::OddName => "odd_name",
            Self::Undeletable => "undeletable",
        }
    }
}

/// Action and reason, with what a person wants to know beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is to happen.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// One sentence.
    pub detail: Cow<'static, str>,
    /// When the next step is due, as far as watched time can tell.
    pub due_at: Option<DateTime<Utc>>,
    /// The rule that matched.
    pub rule: Option<String>,
}

impl Verdict {
    pub(crate) fn keep(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { action: Action::Keep, reason, detail: detail.into(), due_at: None, rule: None }
    }
}

/// A verdict that changes something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Release this entry, which is in place.
    Release(EntryId),
    /// Quarantine this volume: moved when it can be, else in place.
    Quarantine(VolumeName),
    /// Delete this entry.
    Delete(EntryId),
}
