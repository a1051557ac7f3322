//! What becomes of each entry of the quarantine.

use std::time::Duration;

use super::in_place::in_place_verdict;
use super::{Order, Situation, after};
use crate::gc::entry::{Entry, EntryState, Manifest};
use crate::gc::policy::{Decision, Disposition};
use crate::gc::verdict::{Action, Reason, Verdict};
use crate::gc::volume::{Volume, VolumeIdentity};

pub(super) fn entry_verdict(situation: Situation<'_>, entry: &Entry, order: &Order) -> Verdict {
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
            if let Some(why) = situation.quarantine.undeletable.get(id) {
                return Verdict::keep(Reason::Undeletable, format!("its deletion was begun, but {why}"));
            }
            let ordered = match order {
                Order::Scheduled => true,
                Order::Pinned { entries, .. } | Order::Delete(entries) | Order::DeleteTouched(entries) => {
                    entries.contains(id)
                }
                Order::Quarantine(_) => false,
            };
            if ordered {
                Verdict {
                    action: Action::Delete,
                    reason: Reason::UnfinishedDeletion,
                    detail: "its deletion was begun and is taken up again".into(),
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
    if manifest.state == EntryState::InPlace {
        return in_place_verdict(situation, manifest, order);
    }
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
            "{} names the volume; `volgc restore {}` brings it back",
            reference.holder, manifest.entry
        );
        return Verdict::keep(Reason::Held, detail);
    }
    if let Some(hold) = situation.ledger.hold_on_entry(&manifest.entry, situation.now) {
        return Verdict::keep(Reason::Hold, hold.keeps(&manifest.entry));
    }
    if let Some(why) = situation.quarantine.undeletable.get(&manifest.entry) {
        return Verdict::keep(Reason::Undeletable, why.clone());
    }
    if let Some(verdict) = told_verdict(situation, manifest, order) {
        return verdict;
    }
    if name_in_use {
        let detail = format!(
            "the name {0} runs on another volume; `volgc restore {1} --replace` puts the data of this entry there and what is there \
             now into quarantine, `volgc delete {1}` gives it up",
            manifest.name, manifest.entry
        );
        return Verdict::keep(Reason::NameInUse, detail);
    }
    let verdict = entry_grace_verdict(situation, manifest, &volume_of(manifest));
    pinned_verdict(verdict, manifest, order)
}

/// What an operator or the data itself tells of an entry that nothing holds.
pub(super) fn told_verdict(situation: Situation<'_>, manifest: &Manifest, order: &Order) -> Option<Verdict> {
    let touched = touched_verdict(situation, manifest, order);
    let (Order::Delete(ordered) | Order::DeleteTouched(ordered)) = order else { return touched };
    if !ordered.contains(&manifest.entry) {
        return Some(Verdict::keep(Reason::NotOrdered, "not among those that were ordered"));
    }
    Some(touched.unwrap_or_else(|| Verdict {
        action: Action::Delete,
        reason: Reason::ByHand,
        detail: "ordered by hand; nothing holds it".into(),
        due_at: Some(situation.now),
        rule: manifest.rule.clone(),
    }))
}

/// I3: what something used since it was set aside is not deleted, unless an operator says so in as many words.
fn touched_verdict(situation: Situation<'_>, manifest: &Manifest, order: &Order) -> Option<Verdict> {
    if matches!(order, Order::DeleteTouched(_)) {
        return None;
    }
    let touched = manifest.touched(situation.policy.limits.reads)?;
    let entry = &manifest.entry;
    let detail = format!(
        "{}, while it was in quarantine: by something that volgc does not see, or by a backup or an administrator. `volgc restore \
         {entry}` brings it back, `volgc delete --touched {entry}` deletes it all the same",
        touched.sentence()
    );
    Some(Verdict { rule: manifest.rule.clone(), ..Verdict::keep(Reason::Touched, detail) })
}

/// What is due and was not ordered stays.
pub(super) fn pinned_verdict(verdict: Verdict, manifest: &Manifest, order: &Order) -> Verdict {
    let pinned_out = match order {
        Order::Pinned { entries, .. } => !entries.contains(&manifest.entry),
        Order::Quarantine(_) => true,
        Order::Scheduled | Order::Delete(_) | Order::DeleteTouched(_) => false,
    };
    if verdict.action == Action::Delete && pinned_out {
        return Verdict::keep(Reason::NotOrdered, "due, but not among those that were ordered");
    }
    Verdict { rule: manifest.rule.clone(), ..verdict }
}

fn unfinished_verdict(state: &EntryState) -> Option<Verdict> {
    match state {
        EntryState::Quarantined | EntryState::InPlace => None,
        EntryState::Linking | EntryState::Moving => {
            Some(Verdict::keep(Reason::UnfinishedMove, "its move was interrupted; the next sweep undoes it"))
        }
        EntryState::Forgetting | EntryState::InDoubt { .. } => Some(Verdict::keep(
            Reason::InDoubt,
            "the engine has not said whether it forgot the volume; the data stays here until it has",
        )),
        EntryState::InPlaceInDoubt { .. } => Some(Verdict::keep(
            Reason::InDoubt,
            "the engine has not said whether it removed the volume; nothing is done until it has",
        )),
        EntryState::Restoring { .. } => Some(Verdict::keep(
            Reason::UnfinishedRestore,
            "its restore was interrupted; the next sweep finishes or undoes it",
        )),
    }
}

/// I3: deleted only after its whole grace period in quarantine, both as promised in the manifest and as the policy is now.
///
/// `volume` is what the policy judges.
pub(super) fn entry_grace_verdict(situation: Situation<'_>, manifest: &Manifest, volume: &Volume) -> Verdict {
    let Some(promised) = manifest.delete_after() else {
        let detail = format!(
            "quarantined by hand, and the policy kept the volume, so no sweep deletes it; `volgc delete {}` does",
            manifest.entry
        );
        return Verdict::keep(Reason::OperatorDeletes, detail);
    };
    let delete_after = match situation.policy.decide(volume) {
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
    let remaining = delete_after.saturating_sub(clock.watched_since(manifest.quarantined_at, situation.now));
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
        detail: "in quarantine for its whole grace period".into(),
        due_at,
        rule: None,
    }
}

/// The volume that an entry was, for the policy to judge by name, labels and class.
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
