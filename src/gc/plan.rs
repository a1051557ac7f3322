//! The plan: a pure function of inventory, quarantine, ledger, policy and a time. Every volume and every entry appears in it
//! exactly once, with a verdict (I12).

mod entries;
mod in_place;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::entry::{Entry, EntryId};
use super::inventory::Inventory;
use super::ledger::{Clock, LedgerState};
use super::policy::{Mode, Policy};
use super::verdict::{Action, Reason, Step, Verdict};
use super::volume::{Volume, VolumeName};
use entries::entry_verdict;
use volumes::volume_verdict;

/// What the sweep was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Whatever is due.
    Scheduled,
    /// Whatever is due, but nothing that is not named here (`sweep --plan`).
    Pinned {
        /// Volumes that may be quarantined, each with its identity as the report wrote it (I11).
        volumes: BTreeMap<VolumeName, String>,
        /// Entries that may be deleted.
        entries: BTreeSet<EntryId>,
    },
    /// These volumes, now: only the clock is skipped.
    Quarantine(BTreeSet<VolumeName>),
    /// These entries, now: only the clock is skipped.
    Delete(BTreeSet<EntryId>),
    /// The same, even those whose data something used while they were in quarantine.
    DeleteTouched(BTreeSet<EntryId>),
}

impl Order {
    /// Whether an operator named what is to be done, which the clock and the mode do not limit.
    pub fn is_by_hand(&self) -> bool {
        match self {
            Self::Scheduled | Self::Pinned { .. } => false,
            Self::Quarantine(_) | Self::Delete(_) | Self::DeleteTouched(_) => true,
        }
    }
}

/// What is in quarantine, as it was read from the manifests, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// Every entry found.
    pub entries: Vec<Entry>,
    /// Entries whose data something holds, and who.
    pub held: BTreeMap<EntryId, String>,
    /// Entries whose data cannot be deleted whole, and what stands in the way.
    pub undeletable: BTreeMap<EntryId, String>,
}

/// All that a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The complete observation.
    pub inventory: &'a Inventory,
    /// The quarantine.
    pub quarantine: &'a Quarantine,
    /// The ledger after this observation, see [`LedgerState::observe`].
    pub ledger: &'a LedgerState,
    /// The operator's intent.
    pub policy: &'a Policy,
    /// The time, as a value.
    pub now: DateTime<Utc>,
}

/// The plan.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every volume of the inventory.
    pub volumes: BTreeMap<VolumeName, Verdict>,
    /// Every volume whose name cannot be used, by name: they are kept. Two may share a name.
    pub odd: Vec<(String, Verdict)>,
    /// Every entry of the quarantine, by the name of its directory.
    pub entries: BTreeMap<String, Verdict>,
    /// What is due too, and only put off by a limit: the next in line of each kind first.
    pub in_line: Vec<Step>,
    /// How far the sweep may go.
    pub mode: Mode,
    /// Whether an operator ordered it by hand, which the mode does not limit.
    pub by_hand: bool,
}

impl Plan {
    /// Everything that is due, whether or not the mode permits it.
    #[expect(clippy::disallowed_methods, reason = "a name that is no entry's is never deleted")]
    pub fn due(&self) -> Vec<Step> {
        let of_entries = |action, step: fn(EntryId) -> Step| {
            self.entries
                .iter()
                .filter(move |(_, verdict)| verdict.action == action)
                .filter_map(move |(id, _)| EntryId::new(id.clone()).map(step).ok())
        };
        let quarantine = self
            .volumes
            .iter()
            .filter(|(_, verdict)| verdict.action == Action::Quarantine)
            .map(|(name, _)| Step::Quarantine(name.clone()));
        let release = of_entries(Action::Release, Step::Release);
        release.chain(quarantine).chain(of_entries(Action::Delete, Step::Delete)).collect()
    }

    /// The steps that the mode permits.
    pub fn steps(&self) -> Vec<Step> {
        self.due().into_iter().filter(|step| self.permits(step)).collect()
    }

    /// The steps that the mode permits and a limit puts off.
    pub fn steps_in_line(&self) -> Vec<Step> {
        self.in_line.iter().filter(|step| self.permits(step)).cloned().collect()
    }

    fn permits(&self, step: &Step) -> bool {
        self.by_hand
            || match (self.mode, step) {
                (Mode::Observe, _) | (Mode::Quarantine, Step::Delete(_)) => false,
                (Mode::Quarantine, Step::Quarantine(_) | Step::Release(_)) | (Mode::Enforce, _) => true,
            }
    }
}

/// Makes the plan.
#[expect(clippy::disallowed_methods, reason = "a name that is no entry's has no clock, and no turn")]
pub fn plan(situation: Situation<'_>, order: &Order) -> Plan {
    let by_hand = order.is_by_hand();
    let volumes: Vec<&Volume> = situation.inventory.volumes().collect();
    let verdict = |volume: &Volume| (volume.name.clone(), volume_verdict(situation, volume, order));
    let volumes: Vec<(VolumeName, Verdict)> = volumes.into_par_iter().map(verdict).collect();
    let mut volumes: BTreeMap<VolumeName, Verdict> = volumes.into_iter().collect();
    let mut entries: BTreeMap<_, _> = situation
        .quarantine
        .entries
        .iter()
        .map(|entry| (entry.shown().to_owned(), entry_verdict(situation, entry, order)))
        .collect();
    let mut in_line = Vec::new();
    if !by_hand {
        let allowed = situation.policy.limits.steps_allowed(volumes.len().saturating_add(entries.len()));
        let watched = |name: &VolumeName| {
            situation.ledger.volumes.get(name).and_then(|record| record.unreferenced.as_ref())
        };
        let waiting = apply_limit(&mut volumes, Action::Quarantine, allowed, watched);
        in_line.extend(waiting.into_iter().map(Step::Quarantine));
        let waiting = apply_limit(&mut entries, Action::Delete, allowed, |id| {
            EntryId::new(id.clone()).ok().and_then(|id| situation.ledger.entries.get(&id))
        });
        in_line.extend(waiting.into_iter().filter_map(|id| EntryId::new(id).ok()).map(Step::Delete));
    }
    let odd = situation.inventory.odd().iter().map(|odd| (odd.name.clone(), odd.verdict())).collect();
    Plan { volumes, odd, entries, in_line, mode: situation.policy.mode, by_hand }
}

/// The longest unreferenced go first; the rest waits for the next sweep, and is returned in its order.
fn apply_limit<'a, Key: Ord + Clone>(
    verdicts: &mut BTreeMap<Key, Verdict>,
    action: Action,
    allowed: usize,
    clock: impl Fn(&Key) -> Option<&'a Clock>,
) -> Vec<Key> {
    let mut due: Vec<(Duration, Key)> = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.action == action && verdict.reason == Reason::GraceOver)
        .map(|(key, _)| (clock(key).map_or(Duration::ZERO, |clock| clock.watched), key.clone()))
        .collect();
    due.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let total = due.len();
    let waiting: Vec<Key> = due.into_iter().skip(allowed).map(|(_, key)| key).collect();
    for key in &waiting {
        if let Some(verdict) = verdicts.get_mut(key) {
            verdict.action = Action::Keep;
            verdict.reason = Reason::LimitPerSweep;
            verdict.detail = format!(
                "due, but {total} are and a sweep takes at most {allowed} (limits); it waits for the next"
            )
            .into();
        }
    }
    waiting
}

/// A time so far off that it cannot be written is no time.
#[expect(clippy::disallowed_methods, reason = "a time outside the calendar is not shown")]
fn after(now: DateTime<Utc>, wait: Duration) -> Option<DateTime<Utc>> {
    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait))
}
