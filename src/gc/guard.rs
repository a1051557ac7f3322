//! The guard: re-derives from raw facts that a plan breaks no invariant, without a line of the planner's code. It is the only
//! maker of an [`ApprovedPlan`], and only approved steps are carried out.

mod in_place;

use std::collections::BTreeSet;
use std::time::Duration;

use super::entry::{Entry, EntryId, EntryState, Manifest};
use super::ledger::VolumeRecord;
use super::plan::{Order, Plan, Situation};
use super::policy::{Decision, Disposition, Mode};
use super::touched::{Manner, Reads};
use super::turns::Turns;
use super::verdict::Step;
use super::volume::{Class, Volume, VolumeIdentity, VolumeName};
use in_place::{is_marked, reason_against_end, reason_against_mark, reason_against_release};

/// A way in which a plan breaks an invariant. Any of them means a defect of this program: nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan would break {invariant} for {subject}: {why}")]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// Which volume or entry.
    pub subject: String,
    /// In what way.
    pub why: &'static str,
}

/// Steps that may be carried out, once.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct ApprovedPlan {
    steps: Vec<Step>,
    in_line: Vec<Step>,
}

impl ApprovedPlan {
    /// The steps, deletions last, so that room is not made before everything else is safe.
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// The same, and who has the turn of a step that is left.
    pub fn into_turns(self) -> Turns {
        Turns::new(self.steps, self.in_line)
    }
}

/// Approves the steps of a plan that its mode permits, or says which invariants it breaks.
pub fn approve(plan: &Plan, situation: Situation<'_>, order: &Order) -> Result<ApprovedPlan, Vec<Violation>> {
    let mut steps = plan.steps();
    steps.sort();
    let mut violations = Vec::new();
    let by_hand = match order {
        Order::Scheduled | Order::Pinned { .. } => false,
        Order::Quarantine(_) | Order::Delete(_) | Order::DeleteTouched(_) => true,
    };
    check_totality(plan, situation, &mut violations);
    // What is in line may be carried out as well, so it is held to the same.
    let in_line = plan.steps_in_line();
    for step in steps.iter().chain(&in_line) {
        let reason = match step {
            Step::Quarantine(name) => reason_against_quarantine(situation, name, by_hand),
            Step::Release(id) => reason_against_release(situation, id),
            Step::Delete(id) => reason_against_delete(situation, id, by_hand),
        };
        let reason = reason.or_else(|| reason_against_order(situation, step, order));
        let reason = reason.or_else(|| reason_by_use(situation, step, order));
        let subject = match step {
            Step::Quarantine(name) => name.to_string(),
            Step::Release(id) | Step::Delete(id) => id.to_string(),
        };
        violations.extend(reason.map(|(invariant, why)| Violation { invariant, subject, why }));
    }
    if !by_hand {
        check_limits(&steps, situation, &mut violations);
    }
    if violations.is_empty() { Ok(ApprovedPlan { steps, in_line }) } else { Err(violations) }
}

/// I12: every volume has exactly one verdict, and no verdict is about a volume that was not observed.
fn check_totality(plan: &Plan, situation: Situation<'_>, violations: &mut Vec<Violation>) {
    let observed: BTreeSet<&VolumeName> = situation.inventory.volumes().map(|volume| &volume.name).collect();
    let judged: BTreeSet<&VolumeName> = plan.volumes.keys().collect();
    let found: BTreeSet<&str> = situation.quarantine.entries.iter().map(directory_of).collect();
    let judged_entries: BTreeSet<&str> = plan.entries.keys().map(String::as_str).collect();
    let volumes = observed.symmetric_difference(&judged).map(|name| name.as_str());
    for subject in volumes.chain(found.symmetric_difference(&judged_entries).copied()) {
        violations.push(Violation {
            invariant: "I12",
            subject: subject.to_owned(),
            why: "it is not both observed and judged",
        });
    }
}

fn directory_of(entry: &Entry) -> &str {
    match entry {
        Entry::Known(manifest) => manifest.entry.as_str(),
        Entry::Deleting(id) => id.as_str(),
        Entry::Damaged { directory, .. } => directory,
    }
}

/// By hand, what was ordered and nothing else; unasked, what the mode permits and a given plan names.
fn reason_against_order(situation: Situation<'_>, step: &Step, order: &Order) -> Objection {
    let is_ordered = match (order, step) {
        (Order::Scheduled, _) => true,
        (Order::Pinned { volumes, .. }, Step::Quarantine(name)) => {
            let observed = situation.inventory.volume(name).map(|volume| volume.identity.to_string());
            observed.is_some() && volumes.get(name) == observed.as_ref()
        }
        (
            Order::Pinned { entries, .. } | Order::Delete(entries) | Order::DeleteTouched(entries),
            Step::Delete(id),
        ) => entries.contains(id),
        (Order::Quarantine(volumes), Step::Quarantine(name)) => volumes.contains(name),
        // A release is never what an operator names: that is a restore.
        (Order::Quarantine(_), Step::Delete(_) | Step::Release(_))
        | (Order::Delete(_) | Order::DeleteTouched(_), Step::Quarantine(_) | Step::Release(_))
        | (Order::Pinned { .. }, Step::Release(_)) => false,
    };
    if !is_ordered {
        return Some(("the order", "nobody ordered it"));
    }
    let is_permitted = match (order, situation.policy.mode, step) {
        (Order::Quarantine(_) | Order::Delete(_) | Order::DeleteTouched(_), _, _)
        | (_, Mode::Enforce, _)
        | (_, Mode::Quarantine, Step::Quarantine(_) | Step::Release(_)) => true,
        (Order::Scheduled | Order::Pinned { .. }, Mode::Quarantine, Step::Delete(_))
        | (Order::Scheduled | Order::Pinned { .. }, Mode::Observe, _) => false,
    };
    (!is_permitted).then_some(("the mode", "it does not go that far"))
}

/// What was used in quarantine is deleted by an order that says so, and by no other.
fn reason_by_use(situation: Situation<'_>, step: &Step, order: &Order) -> Objection {
    let Step::Delete(id) = step else { return None };
    let was_used = situation.quarantine.entries.iter().any(|entry| match entry {
        Entry::Known(manifest) if manifest.entry == *id => {
            match (&manifest.touched, situation.policy.limits.reads) {
                (None, _) => false,
                (Some(_), Reads::Count) => true,
                (Some(touched), Reads::Pass) => touched.manner != Manner::Read,
            }
        }
        Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => false,
    });
    let is_meant = match order {
        Order::DeleteTouched(entries) => entries.contains(id),
        Order::Scheduled | Order::Pinned { .. } | Order::Quarantine(_) | Order::Delete(_) => false,
    };
    (was_used && !is_meant).then_some(("I3", "something used it since it was set aside"))
}

fn check_limits(steps: &[Step], situation: Situation<'_>, violations: &mut Vec<Violation>) {
    let known = situation.inventory.volumes().len().saturating_add(situation.quarantine.entries.len());
    let allowed = situation.policy.limits.steps_allowed(known);
    let quarantines = steps.iter().filter(|step| matches!(step, Step::Quarantine(_))).count();
    let unfinished: BTreeSet<&EntryId> = situation
        .quarantine
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Deleting(id) => Some(id),
            Entry::Known(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    let deletes =
        steps.iter().filter(|step| matches!(step, Step::Delete(id) if !unfinished.contains(id))).count();
    if quarantines > allowed || deletes > allowed {
        violations.push(Violation {
            invariant: "the limit per sweep",
            subject: "sweep".to_owned(),
            why: "it has more steps than the limits allow",
        });
    }
}

type Objection = Option<(&'static str, &'static str)>;

fn reason_against_quarantine(situation: Situation<'_>, name: &VolumeName, by_hand: bool) -> Objection {
    let Some(volume) = situation.inventory.volume(name) else {
        return Some(("I1", "it was not observed"));
    };
    if !situation.inventory.references(name).is_empty() {
        return Some(("I1", "something holds it"));
    }
    if situation.ledger.hold_on_volume(name, situation.now).is_some() {
        return Some(("I1", "an operator holds it"));
    }
    if is_marked(situation, volume) {
        return Some(("I11", "it is in quarantine in place already"));
    }
    if !volume.unmovable.is_empty()
        && let Some(objection) = reason_against_mark(situation, volume)
    {
        return Some(objection);
    }
    let Decision::By { rule, disposition } = situation.policy.decide(volume) else {
        return Some(("I2", "a label keeps it"));
    };
    let record = situation.ledger.volumes.get(name);
    if record.is_some_and(|record| is_suspected(situation, record, disposition)) {
        return Some(("I2", "the sudden-orphan brake holds it"));
    }
    if volume.class == Class::Unlisted && !is_named_as_unlisted(situation, rule.as_deref()) {
        return Some(("I1", "no rule takes what the engine does not list"));
    }
    if by_hand {
        return match (rule, disposition) {
            (Some(_), Disposition::Keep) => Some(("I1", "a rule keeps it")),
            (None, Disposition::Keep) | (_, Disposition::Collect { .. }) => None,
        };
    }
    let Disposition::Collect { quarantine_after, .. } = disposition else {
        return Some(("I1", "the policy keeps it"));
    };
    let limits = &situation.policy.limits;
    let Some(record) = record else {
        return Some(("I9", "the ledger does not know it"));
    };
    if !record.identity.is_same(&volume.identity) {
        return Some(("I11", "the ledger knows another volume of that name"));
    }
    match &record.unreferenced {
        None => Some(("I8", "its clock does not run")),
        Some(clock) if clock.sightings < limits.min_sightings.max(2) => Some(("I8", "too few sightings")),
        Some(clock) if clock.watched < quarantine_after.max(limits.min_grace) => {
            Some(("I8", "its grace period is not over"))
        }
        Some(_) => None,
    }
}

fn reason_against_delete(situation: Situation<'_>, id: &EntryId, by_hand: bool) -> Objection {
    let mut manifest: Option<&Manifest> = None;
    for entry in &situation.quarantine.entries {
        match entry {
            // Its deletion was approved before it was begun.
            Entry::Deleting(deleting) if deleting == id => {
                let held = situation.quarantine.held.get(id).map(|_| ("I1", "something holds its data"));
                return held.or_else(|| reason_against_deleting_it(situation, id));
            }
            Entry::Known(known) if known.entry == *id => manifest = Some(known),
            Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => {}
        }
    }
    let Some(manifest) = manifest else {
        return Some(("I3", "there is no such entry"));
    };
    match manifest.state {
        EntryState::Quarantined => {}
        EntryState::InPlace => return reason_against_end(situation, manifest, by_hand),
        EntryState::Linking
        | EntryState::Forgetting
        | EntryState::Moving
        | EntryState::InDoubt { .. }
        | EntryState::Restoring { .. }
        | EntryState::InPlaceInDoubt { .. } => return Some(("I5", "its move is not finished")),
    }
    if situation.quarantine.held.contains_key(id) {
        return Some(("I1", "something holds its data"));
    }
    if situation.ledger.hold_on_entry(id, situation.now).is_some() {
        return Some(("I1", "an operator holds it"));
    }
    if let Some(objection) = reason_against_deleting_it(situation, id) {
        return Some(objection);
    }
    let is_volume = situation.inventory.volume(&manifest.name).is_some();
    if !is_volume && !situation.inventory.references(&manifest.name).is_empty() {
        return Some(("I1", "something names its volume"));
    }
    if by_hand {
        return None;
    }
    if is_volume {
        return Some(("I11", "its name is in use again"));
    }
    reason_against_its_end_now(situation, manifest, &volume_of(manifest))
}

fn reason_against_deleting_it(situation: Situation<'_>, id: &EntryId) -> Objection {
    situation.quarantine.undeletable.contains_key(id).then_some(("I14", "it cannot be deleted whole"))
}

/// Whether the sudden-orphan brake holds a volume: until it was watched for twice its grace period, and for a day.
fn is_suspected(situation: Situation<'_>, record: &VolumeRecord, disposition: Disposition) -> bool {
    let grace = match disposition {
        Disposition::Collect { quarantine_after, .. } => quarantine_after,
        Disposition::Keep => Duration::ZERO,
    };
    let whole = grace.max(situation.policy.limits.min_grace).saturating_mul(2).max(Duration::from_hours(24));
    let is_watched = record.unreferenced.as_ref().is_some_and(|clock| clock.watched >= whole);
    record.suspected_since.is_some() && !is_watched
}

/// Policy and clock of an entry.
fn reason_against_its_end_now(situation: Situation<'_>, manifest: &Manifest, volume: &Volume) -> Objection {
    let (Some(promised), Some(clock)) =
        (manifest.delete_after(), situation.ledger.entries.get(&manifest.entry))
    else {
        return Some(("I3", "it has no running grace period"));
    };
    let Decision::By { disposition, .. } = situation.policy.decide(volume) else {
        return Some(("I2", "a label keeps it"));
    };
    let Disposition::Collect { delete_after, .. } = disposition else {
        return Some(("I3", "the policy keeps it"));
    };
    // What the ledger says is believed as far as the manifest agrees: they do not fail together.
    let passed = (situation.now - manifest.quarantined_at).to_std().unwrap_or(Duration::ZERO);
    let grace = promised.max(delete_after);
    if clock.sightings < 2 || clock.watched < grace || passed < grace {
        return Some(("I3", "its grace period is not over"));
    }
    None
}

/// Whether the rule that decided names what the engine does not list.
fn is_named_as_unlisted(situation: Situation<'_>, rule: Option<&str>) -> bool {
    let mut deciding = situation.policy.rules.iter().filter(|one| Some(one.name.as_str()) == rule);
    deciding.any(|one| one.conditions.class.contains(&Class::Unlisted))
}

/// What a rule can be held against: the volume as its manifest has it.
fn volume_of(manifest: &Manifest) -> Volume {
    Volume {
        name: manifest.name.clone(),
        identity: VolumeIdentity::Directory(manifest.volume_directory),
        class: manifest.class,
        driver: manifest.driver.clone(),
        labels: manifest.labels.clone(),
        unmovable: Vec::new(),
    }
}
