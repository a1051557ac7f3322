//! The plan: a pure function of inventory, quarantine, ledger, policy and a time. Every volume and every entry appears in it
//! exactly once, with a verdict (I12).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::entry::{Entry, EntryId, EntryState, Manifest};
use super::inventory::Inventory;
use super::ledger::{Clock, LedgerState};
use super::policy::{Decision, Disposition, Limits, Mode, Policy};
use super::reference::HolderKind;
use super::verdict::{Action, Reason, Step, Verdict};
use super::volume::{Volume, VolumeName};

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
}

/// What is in quarantine, as it was read from the manifests, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// Every entry found.
    pub entries: Vec<Entry>,
    /// Entries whose data something holds, and who.
    pub held: BTreeMap<EntryId, String>,
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
    /// Every entry of the quarantine, by the name of its directory.
    pub entries: BTreeMap<String, Verdict>,
    /// How far the sweep may go.
    pub mode: Mode,
    /// Whether an operator ordered it by hand, which the mode does not limit.
    pub by_hand: bool,
}

impl Plan {
    /// Everything that is due, whether or not the mode permits it.
    pub fn due(&self) -> Vec<Step> {
        let quarantine = self
            .volumes
            .iter()
            .filter(|(_, verdict)| verdict.action == Action::Quarantine)
            .map(|(name, _)| Step::Quarantine(name.clone()));
        let delete = self
            .entries
            .iter()
            .filter(|(_, verdict)| verdict.action == Action::Delete)
            .filter_map(|(id, _)| EntryId::new(id.clone()).map(Step::Delete).ok());
        quarantine.chain(delete).collect()
    }

    /// The steps that the mode permits.
    pub fn steps(&self) -> Vec<Step> {
        self.due().into_iter().filter(|step| self.permits(step)).collect()
    }

    fn permits(&self, step: &Step) -> bool {
        self.by_hand
            || match (self.mode, step) {
                (Mode::Observe, _) | (Mode::Quarantine, Step::Delete(_)) => false,
                (Mode::Quarantine, Step::Quarantine(_)) | (Mode::Enforce, _) => true,
            }
    }
}

/// Makes the plan.
pub fn plan(situation: Situation<'_>, order: &Order) -> Plan {
    let by_hand = matches!(order, Order::Quarantine(_) | Order::Delete(_));
    let mut volumes: BTreeMap<_, _> = situation
        .inventory
        .volumes()
        .map(|volume| (volume.name.clone(), volume_verdict(situation, volume, order)))
        .collect();
    let mut entries: BTreeMap<_, _> = situation
        .quarantine
        .entries
        .iter()
        .map(|entry| (directory_of(entry), entry_verdict(situation, entry, order)))
        .collect();
    if !by_hand {
        let allowed = situation.policy.limits.steps_allowed(volumes.len().saturating_add(entries.len()));
        let watched = |name: &VolumeName| {
            situation.ledger.volumes.get(name).and_then(|record| record.unreferenced.as_ref())
        };
        apply_limit(&mut volumes, Action::Quarantine, allowed, watched);
        apply_limit(&mut entries, Action::Delete, allowed, |id| {
            EntryId::new(id.clone()).ok().and_then(|id| situation.ledger.entries.get(&id))
        });
    }
    Plan { volumes, entries, mode: situation.policy.mode, by_hand }
}

fn directory_of(entry: &Entry) -> String {
    match entry {
        Entry::Known(manifest) => manifest.entry.to_string(),
        Entry::Deleting(id) => id.to_string(),
        Entry::Damaged { directory, .. } => directory.clone(),
    }
}

/// The longest unreferenced go first; the rest waits for the next sweep.
fn apply_limit<'a, Key: Ord + Clone>(
    verdicts: &mut BTreeMap<Key, Verdict>,
    action: Action,
    allowed: usize,
    clock: impl Fn(&Key) -> Option<&'a Clock>,
) {
    let mut due: Vec<(Duration, Key)> = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.action == action && verdict.reason == Reason::GraceOver)
        .map(|(key, _)| (clock(key).map_or(Duration::ZERO, |clock| clock.watched), key.clone()))
        .collect();
    due.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let total = due.len();
    for (_, key) in due.into_iter().skip(allowed) {
        if let Some(verdict) = verdicts.get_mut(&key) {
            verdict.action = Action::Keep;
            verdict.reason = Reason::LimitPerSweep;
            verdict.detail = format!(
                "due, but {total} are and a sweep takes at most {allowed} (limits); it waits for the next"
            );
        }
    }
}

fn volume_verdict(situation: Situation<'_>, volume: &Volume, order: &Order) -> Verdict {
    // I1: whatever else is true, a volume that anything holds is kept.
    if let Some(reference) = situation.inventory.references(&volume.name).first() {
        let others = situation.inventory.references(&volume.name).len() - 1;
        let holder = &reference.holder;
        let more = if others == 0 { String::new() } else { format!(" and {others} more") };
        let who = if holder.kind == HolderKind::Hold {
            format!("an operator: {}", holder.name)
        } else {
            format!("{} {}", holder.kind.word().replace('_', " "), holder.name)
        };
        let detail = format!("held by {who}{more}");
        return Verdict::keep(Reason::Held, detail);
    }
    let (rule, disposition) = match situation.policy.decide(volume) {
        Decision::KeepLabel => return Verdict::keep(Reason::KeepLabel, "its label volgc.keep=true keeps it"),
        Decision::MalformedLabel(label) => {
            let detail = format!("its label {label} is not understood, so it is kept");
            return Verdict::keep(Reason::MalformedLabel, detail);
        }
        Decision::By { rule, disposition } => (rule, disposition),
    };
    let verdict = match order {
        Order::Quarantine(ordered) => {
            quarantine_by_hand(situation, volume, rule.as_deref(), disposition, ordered)
        }
        Order::Delete(_) => Verdict::keep(Reason::NotOrdered, "not among those that were ordered"),
        Order::Scheduled => scheduled_verdict(situation, volume, rule.as_deref(), disposition),
        Order::Pinned { volumes, .. } => {
            let verdict = scheduled_verdict(situation, volume, rule.as_deref(), disposition);
            if verdict.action == Action::Quarantine
                && volumes.get(&volume.name) != Some(&volume.identity.to_string())
            {
                Verdict::keep(Reason::NotOrdered, "due, but not in the given plan")
            } else {
                verdict
            }
        }
    };
    Verdict { rule, ..verdict }
}

fn quarantine_by_hand(
    situation: Situation<'_>,
    volume: &Volume,
    rule: Option<&str>,
    disposition: Disposition,
    ordered: &BTreeSet<VolumeName>,
) -> Verdict {
    if !ordered.contains(&volume.name) {
        return Verdict::keep(Reason::NotOrdered, "not among those that were ordered");
    }
    // The policy of a class says what happens unasked; a rule names what must stay.
    if let (Some(rule), Disposition::Keep) = (rule, disposition) {
        return Verdict::keep(Reason::RuleKeep, format!("rule {rule} keeps it; change the rule first"));
    }
    if let Some(kept) = unmovable_verdict(volume).or_else(|| suspected_verdict(situation, volume)) {
        return kept;
    }
    Verdict {
        action: Action::Quarantine,
        reason: Reason::ByHand,
        detail: "ordered by hand; nothing holds it".to_owned(),
        due_at: Some(situation.now),
        rule: None,
    }
}

fn scheduled_verdict(
    situation: Situation<'_>,
    volume: &Volume,
    rule: Option<&str>,
    disposition: Disposition,
) -> Verdict {
    let record = situation.ledger.volumes.get(&volume.name);
    // I11: the clock of another volume of that name is none.
    let clock = record
        .filter(|record| record.identity.is_same(&volume.identity))
        .and_then(|record| record.unreferenced.as_ref());
    let quarantine_after = match (disposition, rule) {
        (Disposition::Keep, Some(rule)) => {
            return Verdict::keep(Reason::RuleKeep, format!("unreferenced, but rule {rule} keeps it"));
        }
        (Disposition::Keep, None) => {
            let detail = format!(
                "unreferenced, but {} volumes are kept unless a rule says otherwise",
                volume.class.word()
            );
            return Verdict::keep(Reason::ClassKeep, detail);
        }
        (Disposition::Collect { quarantine_after, .. }, _) => quarantine_after,
    };
    if let Some(kept) = unmovable_verdict(volume).or_else(|| suspected_verdict(situation, volume)) {
        return kept;
    }
    grace_verdict(situation.now, clock, quarantine_after, &situation.policy.limits)
}

fn unmovable_verdict(volume: &Volume) -> Option<Verdict> {
    let first = volume.unmovable.first()?;
    let sentences: Vec<&str> = volume.unmovable.iter().map(super::volume::Unmovable::sentence).collect();
    Some(Verdict::keep(
        Reason::Unmovable(first.clone()),
        format!("cannot be moved: {}", sentences.join("; ")),
    ))
}

fn suspected_verdict(situation: Situation<'_>, volume: &Volume) -> Option<Verdict> {
    let since = situation.ledger.volumes.get(&volume.name)?.suspected_since?;
    let detail = format!(
        "lost its last holder together with many others at {}; see `volgc acknowledge`",
        since.format("%Y-%m-%d %H:%M:%SZ")
    );
    Some(Verdict::keep(Reason::SuddenOrphan, detail))
}

/// The clock of an unreferenced volume against its grace period and the number of sightings.
fn grace_verdict(
    now: DateTime<Utc>,
    clock: Option<&Clock>,
    quarantine_after: Duration,
    limits: &Limits,
) -> Verdict {
    let quarantine_after = quarantine_after.max(limits.min_grace);
    // I9: whatever the policy says, what was not seen before is not touched now.
    let Some(clock) = clock.filter(|clock| clock.sightings > 1) else {
        return Verdict {
            action: Action::Watch,
            reason: Reason::FirstSighting,
            detail: "unreferenced; its clock starts".to_owned(),
            due_at: after(now, quarantine_after),
            rule: None,
        };
    };
    let needed = limits.min_sightings.max(2);
    let remaining = quarantine_after.saturating_sub(clock.watched);
    let verdict = |action, reason, detail| Verdict {
        action,
        reason,
        detail,
        due_at: after(now, remaining),
        rule: None,
    };
    if remaining > Duration::ZERO {
        verdict(Action::Keep, Reason::WithinGrace, "unreferenced; its grace period runs".to_owned())
    } else if clock.sightings < needed {
        let detail = format!("unreferenced in {} of {needed} sweeps", clock.sightings);
        verdict(Action::Keep, Reason::TooFewSightings, detail)
    } else {
        verdict(Action::Quarantine, Reason::GraceOver, "unreferenced for its whole grace period".to_owned())
    }
}

fn entry_verdict(situation: Situation<'_>, entry: &Entry, order: &Order) -> Verdict {
    match entry {
        Entry::Known(manifest) => known_entry_verdict(situation, manifest, order),
        Entry::Damaged { problem, .. } => Verdict::keep(Reason::ManifestDamaged, problem.clone()),
        Entry::Deleting(id) => {
            if let Some(holder) = situation.quarantine.held.get(id) {
                return Verdict::keep(
                    Reason::Held,
                    format!("its deletion was begun, but it is held by {holder}"),
                );
            }
            let ordered = match order {
                Order::Scheduled => true,
                Order::Pinned { entries, .. } | Order::Delete(entries) => entries.contains(id),
                Order::Quarantine(_) => false,
            };
            if ordered {
                Verdict {
                    action: Action::Delete,
                    reason: Reason::UnfinishedDeletion,
                    detail: "its deletion was begun and is taken up again".to_owned(),
                    due_at: Some(situation.now),
                    rule: None,
                }
            } else {
                Verdict::keep(Reason::NotOrdered, "not among those that were ordered")
            }
        }
    }
}

fn known_entry_verdict(situation: Situation<'_>, manifest: &Manifest, order: &Order) -> Verdict {
    let name_in_use = situation.inventory.volume(&manifest.name).is_some();
    if let Some(kept) = unfinished_verdict(&manifest.state) {
        return kept;
    }
    if let Some(holder) = situation.quarantine.held.get(&manifest.entry) {
        return Verdict::keep(Reason::Held, format!("held by {holder}"));
    }
    // I1: what names the volume finds it missing; its data must not go as well.
    if let (false, Some(reference)) = (name_in_use, situation.inventory.references(&manifest.name).first()) {
        let detail = format!(
            "{} {} names the volume; `volgc restore {}` brings it back",
            reference.holder.kind.word().replace('_', " "),
            reference.holder.name,
            manifest.entry
        );
        return Verdict::keep(Reason::Held, detail);
    }
    if let Some(hold) = situation.ledger.hold_on_entry(&manifest.entry, situation.now) {
        return Verdict::keep(Reason::Hold, format!("an operator holds it: {}", hold.reason));
    }
    if let Order::Delete(ordered) = order {
        return if ordered.contains(&manifest.entry) {
            Verdict {
                action: Action::Delete,
                reason: Reason::ByHand,
                detail: "ordered by hand; nothing holds it".to_owned(),
                due_at: Some(situation.now),
                rule: manifest.rule.clone(),
            }
        } else {
            Verdict::keep(Reason::NotOrdered, "not among those that were ordered")
        };
    }
    if name_in_use {
        let detail = format!(
            "the name {0} runs on another volume; `volgc restore {1} --replace` swaps the old data back, `volgc delete {1}` gives it up",
            manifest.name, manifest.entry
        );
        return Verdict::keep(Reason::NameInUse, detail);
    }
    let verdict = entry_grace_verdict(situation, manifest);
    let pinned_out = match order {
        Order::Pinned { entries, .. } => !entries.contains(&manifest.entry),
        Order::Quarantine(_) => true,
        Order::Scheduled | Order::Delete(_) => false,
    };
    if verdict.action == Action::Delete && pinned_out {
        return Verdict::keep(Reason::NotOrdered, "due, but not among those that were ordered");
    }
    Verdict { rule: manifest.rule.clone(), ..verdict }
}

fn unfinished_verdict(state: &EntryState) -> Option<Verdict> {
    match state {
        EntryState::Quarantined => None,
        EntryState::Moving => {
            Some(Verdict::keep(Reason::UnfinishedMove, "its move was interrupted; the next sweep undoes it"))
        }
        EntryState::InDoubt { .. } => Some(Verdict::keep(
            Reason::InDoubt,
            "the engine has not said whether it forgot the volume; the data stays here until it has",
        )),
        EntryState::Restoring { .. } => Some(Verdict::keep(
            Reason::UnfinishedRestore,
            "its restore was interrupted; the next sweep finishes or undoes it",
        )),
    }
}

/// I3: deleted only after its whole grace period in quarantine, both as promised in the manifest and as the policy is now.
fn entry_grace_verdict(situation: Situation<'_>, manifest: &Manifest) -> Verdict {
    let Some(promised) = manifest.delete_after() else {
        let detail = "quarantined by hand; only `volgc delete` deletes it";
        return Verdict::keep(Reason::OperatorDeletes, detail);
    };
    let delete_after = match situation.policy.decide(&volume_of(manifest)) {
        Decision::KeepLabel => return Verdict::keep(Reason::KeepLabel, "its label volgc.keep=true keeps it"),
        Decision::MalformedLabel(label) => {
            return Verdict::keep(Reason::MalformedLabel, format!("its label {label} is not understood"));
        }
        Decision::By { disposition: Disposition::Keep, rule: Some(rule) } => {
            return Verdict::keep(Reason::RuleKeep, format!("rule {rule} now keeps it"));
        }
        Decision::By { disposition: Disposition::Keep, rule: None } => {
            return Verdict::keep(Reason::ClassKeep, "the policy of its class now keeps it");
        }
        Decision::By { disposition: Disposition::Collect { delete_after, .. }, .. } => {
            delete_after.max(promised)
        }
    };
    let Some(clock) = situation.ledger.entries.get(&manifest.entry).filter(|clock| clock.sightings > 1)
    else {
        return Verdict {
            due_at: after(situation.now, delete_after),
            ..Verdict::keep(Reason::InQuarantine, "in quarantine; its clock starts")
        };
    };
    let remaining = delete_after.saturating_sub(clock.watched);
    let due_at = after(situation.now, remaining);
    if remaining > Duration::ZERO {
        return Verdict {
            due_at,
            ..Verdict::keep(Reason::InQuarantine, "in quarantine; its grace period runs")
        };
    }
    Verdict {
        action: Action::Delete,
        reason: Reason::GraceOver,
        detail: "in quarantine for its whole grace period".to_owned(),
        due_at,
        rule: None,
    }
}

/// The volume that an entry was, for the policy to judge by name, labels and class.
fn volume_of(manifest: &Manifest) -> Volume {
    Volume {
        name: manifest.name.clone(),
        identity: super::volume::VolumeIdentity::Directory(manifest.volume_directory),
        class: manifest.class,
        driver: manifest.driver.clone(),
        labels: manifest.labels.clone(),
        created_at: None,
        unmovable: Vec::new(),
    }
}

/// A time so far off that it cannot be written is no time.
fn after(now: DateTime<Utc>, wait: Duration) -> Option<DateTime<Utc>> {
    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait))
}
