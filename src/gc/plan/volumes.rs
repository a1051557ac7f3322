//! What becomes of each volume of the inventory.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::in_place;
use super::{Order, Situation, after};
use crate::gc::ledger::Clock;
use crate::gc::orphans;
use crate::gc::policy::{Decision, Disposition, Limits};
use crate::gc::reference::{HolderKind, Reference};
use crate::gc::verdict::{Action, Reason, Verdict};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeName};

pub(super) fn volume_verdict(situation: Situation<'_>, volume: &Volume, order: &Order) -> Verdict {
    // I1: whatever else is true, a volume that anything holds is kept.
    let references = situation.inventory.references(&volume.name);
    if let Some(holder) = references.first().map(|reference| &reference.holder) {
        let who = |reference: &'_ Reference| (reference.holder.kind, reference.holder.id.clone());
        let others = references.iter().map(who).collect::<BTreeSet<_>>().len() - 1;
        let more = if others == 0 { String::new() } else { format!(" and {others} more") };
        let who = if holder.kind == HolderKind::Hold {
            format!("an operator: {} (`volgc release {}` ends that)", holder.name, volume.name)
        } else {
            holder.to_string()
        };
        let only_passes = situation.inventory.lasting_references(&volume.name).next().is_none();
        let passing = if only_passes { ", which only passes by: its clock stands meanwhile" } else { "" };
        let detail = format!("held by {who}{more}{passing}");
        return Verdict::keep(Reason::Held, detail);
    }
    if let Some(entry) = in_place::mark_on(situation, volume) {
        let detail =
            format!("in quarantine in place, usable all the while; `volgc restore {entry}` releases it");
        return Verdict::keep(Reason::InPlace, detail);
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
        Order::Delete(_) | Order::DeleteTouched(_) => {
            Verdict::keep(Reason::NotOrdered, "not among those that were ordered")
        }
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
    if let (Class::Unlisted, Disposition::Keep) = (volume.class, disposition) {
        return not_listed_verdict();
    }
    if let Some(kept) = unmovable_verdict(situation, volume).or_else(|| suspected_verdict(situation, volume))
    {
        return kept;
    }
    Verdict {
        action: Action::Quarantine,
        reason: Reason::ByHand,
        detail: "ordered by hand; nothing holds it".into(),
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
        (Disposition::Keep, None) if volume.class == Class::Unlisted => return not_listed_verdict(),
        (Disposition::Keep, None) => {
            let detail = format!(
                "unreferenced, but {} volumes are kept unless a rule says otherwise",
                volume.class.word()
            );
            return Verdict::keep(Reason::ClassKeep, detail);
        }
        (Disposition::Collect { quarantine_after, .. }, _) => quarantine_after,
    };
    if let Some(kept) = unmovable_verdict(situation, volume).or_else(|| suspected_verdict(situation, volume))
    {
        return kept;
    }
    grace_verdict(situation.now, clock, quarantine_after, &situation.policy.limits)
}

fn not_listed_verdict() -> Verdict {
    let detail = "the engine does not list this directory: it was made behind its back, or dropped by it; it is kept unless a \
                  rule with class = \"unlisted\" matches it";
    Verdict::keep(Reason::NotListed, detail)
}

/// A volume that can neither be moved nor, where a rule permits it, be quarantined in place.
fn unmovable_verdict(situation: Situation<'_>, volume: &Volume) -> Option<Verdict> {
    let first = volume.unmovable.first()?;
    let is_permitted = situation.policy.permits_in_place(volume);
    let obstacle = in_place::obstacle(volume);
    if is_permitted && obstacle.is_none() {
        return None;
    }
    let sentences: Vec<&str> = volume.unmovable.iter().map(Unmovable::sentence).collect();
    let mut detail = format!("cannot be moved: {}", sentences.join("; "));
    if is_permitted {
        detail.push_str(
            "; nor can it be quarantined in place, as the engine's removal of it could delete data",
        );
    }
    Some(Verdict::keep(Reason::Unmovable(first.clone()), detail))
}

pub(super) fn suspected_verdict(situation: Situation<'_>, volume: &Volume) -> Option<Verdict> {
    orphans::suspicion(situation.policy, situation.ledger.volumes.get(&volume.name)?, volume)
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
            detail: "unreferenced; its clock starts".into(),
            due_at: after(now, quarantine_after),
            rule: None,
        };
    };
    let needed = limits.min_sightings.max(2);
    let remaining = quarantine_after.saturating_sub(clock.watched);
    let verdict = |action, reason, detail: Cow<'static, str>| Verdict {
        action,
        reason,
        detail,
        due_at: after(now, remaining),
        rule: None,
    };
    if remaining > Duration::ZERO {
        verdict(Action::Keep, Reason::WithinGrace, "unreferenced; its grace period runs".into())
    } else if clock.sightings < needed {
        let detail = format!("unreferenced in {} of {needed} sweeps", clock.sightings);
        verdict(Action::Keep, Reason::TooFewSightings, detail.into())
    } else {
        verdict(Action::Quarantine, Reason::GraceOver, "unreferenced for its whole grace period".into())
    }
}
