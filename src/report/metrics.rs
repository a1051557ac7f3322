//! Metrics for Prometheus: from what was seen to text. Nothing in them names a volume, a container or a path, so what they
//! are scraped by learns none of it, and their number does not grow with the host.
//!
//! Names and units: <https://prometheus.io/docs/practices/naming/>. Instants are Unix times in seconds, sizes are bytes.

mod seen;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::gc::verdict::Reason;
use crate::host::ledger::Totals;

pub use seen::{Kind, Measurable, Seen};
pub use text::{Form, encode};

/// What becomes of a volume, for one label: the reasons of a plan, put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Something holds it. In every other state nothing does.
    Held,
    /// Policy or a label keeps it.
    Kept,
    /// It cannot be moved.
    Unmovable,
    /// The sudden-orphan brake holds it.
    Suspected,
    /// Its grace period runs.
    Grace,
    /// It is due; the mode or the limit of a sweep may make it wait.
    Due,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Held, Self::Kept, Self::Unmovable, Self::Suspected, Self::Grace, Self::Due];

    /// The label's value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Kept => "kept",
            Self::Unmovable => "unmovable",
            Self::Suspected => "suspected",
            Self::Grace => "grace",
            Self::Due => "due",
        }
    }

    /// The state of a volume whose verdict has this reason.
    pub fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Held => Self::Held,
            Reason::Unmovable(_) => Self::Unmovable,
            Reason::SuddenOrphan => Self::Suspected,
            Reason::FirstSighting | Reason::WithinGrace | Reason::TooFewSightings => Self::Grace,
            Reason::LimitPerSweep | Reason::NotOrdered | Reason::GraceOver | Reason::ByHand => Self::Due,
            // From `InQuarantine` on they are of entries alone; whatever it would be, it is not collected.
            Reason::KeepLabel
            | Reason::MalformedLabel
            | Reason::RuleKeep
            | Reason::ClassKeep
            | Reason::Hold
            | Reason::InQuarantine
            | Reason::OperatorDeletes
            | Reason::NameInUse
            | Reason::UnfinishedMove
            | Reason::InDoubt
            | Reason::UnfinishedRestore
            | Reason::UnfinishedDeletion
            | Reason::ManifestDamaged
            | Reason::NotListed
            | Reason::InPlace
            | Reason::VolumeGone
            | Reason::Touched
            | Reason::NotOptedIn
            | Reason::OddName
            | Reason::Undeletable => Self::Kept,
        }
    }

    /// Whether to collect a volume in this state would give its space back.
    pub fn is_reclaimable(self) -> bool {
        match self {
            Self::Kept | Self::Suspected | Self::Grace | Self::Due => true,
            Self::Held | Self::Unmovable => false,
        }
    }
}

/// Allocated bytes of what was measured to its end. What is not in it is unmeasured.
pub type Measured = BTreeMap<Measurable, u64>;

/// What only a running service knows. It starts anew with each start.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// How many sweeps ended how.
    pub sweeps: Vec<(&'static str, u64)>,
    /// How long the last sweep took, in seconds, and when it had ended.
    pub last_sweep: Option<(f64, DateTime<Utc>)>,
    /// Whether the engine answered last; none before it was asked.
    pub engine_up: Option<bool>,
    /// When the service was started.
    pub started_at: DateTime<Utc>,
    /// When the next sweep is due.
    pub next_sweep_at: Option<DateTime<Utc>>,
}

/// All that metrics are made from.
#[derive(Debug, Clone, Copy)]
pub struct Figures<'a> {
    /// The last complete look; none before the first.
    pub seen: Option<&'a Seen>,
    /// What was measured of it.
    pub measured: &'a Measured,
    /// What the history adds up to; none when there is no ledger yet.
    pub totals: Option<&'a Totals>,
    /// The last sweep that did all that was to be done; of a service before this one, the last that no brake stopped.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Why a sweep refuses to act: stable words.
    pub refusals: &'a [&'static str],
    /// The service; none for a one-shot report.
    pub service: Option<&'a Service>,
}
