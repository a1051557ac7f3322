//! Volumes that are not moved but only marked: an entry without data, while the volume stays where it is and can be used. It is
//! released when anything holds it again, and its end is the engine's own removal.
//!
//! That removal follows a link in the place of `_data`, descends into what is mounted below it, and deletes everything beside it
//! (moby `volume/local` `Root.Remove`, 20.10 to 29). So only a volume whose data is behind a mount that is not there now, over an
//! empty directory, is ever marked (I3).

use super::entries::{entry_grace_verdict, pinned_verdict, told_verdict};
use super::volumes::suspected_verdict;
use super::{Order, Situation};
use crate::gc::entry::{Entry, EntryId, Manifest};
use crate::gc::verdict::{Action, Reason, Verdict};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity};

/// What forbids a quarantine in place of a volume that cannot be moved; none when only its driver options keep it from being
/// moved, which are then those of a mount. What the engine does not list it could not remove either.
pub(super) fn obstacle(volume: &Volume) -> Option<&Unmovable> {
    let is_listed = volume.class != Class::Unlisted;
    volume.unmovable.iter().find(|why| !is_listed || **why != Unmovable::DriverOptions)
}

/// The entry that marks this very volume (I11).
pub(super) fn mark_on<'a>(situation: Situation<'a>, volume: &Volume) -> Option<&'a EntryId> {
    let marks = situation.quarantine.entries.iter().filter_map(|entry| match entry {
        Entry::Known(manifest) if is_mark_on(manifest, volume) => Some(&manifest.entry),
        Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
    });
    marks.min()
}

fn is_mark_on(manifest: &Manifest, volume: &Volume) -> bool {
    let identity = VolumeIdentity::Directory(manifest.volume_directory);
    manifest.state.is_in_place()
        && manifest.name == volume.name
        && volume.class != Class::Unlisted
        && volume.identity.is_same(&identity)
}

/// What becomes of an entry in place.
pub(super) fn in_place_verdict(situation: Situation<'_>, manifest: &Manifest, order: &Order) -> Verdict {
    let marked = situation.inventory.volume(&manifest.name).filter(|volume| is_mark_on(manifest, volume));
    let Some(volume) = marked else {
        let detail = format!("volume {} is gone, or another one has its name", manifest.name);
        return release_verdict(situation, order, Reason::VolumeGone, &detail);
    };
    // I1: something holds it again.
    if let Some(reference) = situation.inventory.lasting_references(&volume.name).next() {
        let detail = format!("held again by {}", reference.holder);
        return release_verdict(situation, order, Reason::Held, &detail);
    }
    if let Some(passing) = situation.inventory.references(&volume.name).first() {
        let detail = format!("held by container {}, which only passes by", passing.holder.name);
        return Verdict::keep(Reason::Held, detail);
    }
    if let Some(holder) = situation.quarantine.held.get(&manifest.entry) {
        return Verdict::keep(Reason::Held, format!("held by {holder}"));
    }
    if let Some(hold) = situation.ledger.hold_on_entry(&manifest.entry, situation.now) {
        return Verdict::keep(Reason::Hold, hold.keeps(&manifest.entry));
    }
    if let Some(kept) = suspected_verdict(situation, volume).or_else(|| unsafe_verdict(volume)) {
        return kept;
    }
    if let Some(verdict) = told_verdict(situation, manifest, order) {
        return verdict;
    }
    let verdict = entry_grace_verdict(situation, manifest, volume);
    if verdict.action == Action::Delete && !situation.policy.permits_in_place(volume) {
        let detail = "no rule permits in_place for it any more, so the engine is not asked to remove it";
        return Verdict::keep(Reason::NotOptedIn, detail);
    }
    pinned_verdict(verdict, manifest, order)
}

/// What makes the engine's removal of the volume a danger by now.
fn unsafe_verdict(volume: &Volume) -> Option<Verdict> {
    let why = match (obstacle(volume), volume.unmovable.first()) {
        (Some(why), _) => why,
        (None, Some(_)) => return None,
        // Its options are gone: then its data lies in its own directory.
        (None, None) => &Unmovable::NotAMount,
    };
    let detail = format!("the engine's removal of it could delete data: {}", why.sentence());
    Some(Verdict::keep(Reason::Unmovable(why.clone()), detail))
}

/// Released by a sweep; an order names other things.
fn release_verdict(situation: Situation<'_>, order: &Order, reason: Reason, detail: &str) -> Verdict {
    match order {
        Order::Scheduled => Verdict {
            action: Action::Release,
            reason,
            detail: format!("{detail}; it leaves the quarantine").into(),
            due_at: Some(situation.now),
            rule: None,
        },
        Order::Pinned { .. } | Order::Quarantine(_) | Order::Delete(_) | Order::DeleteTouched(_) => {
            Verdict::keep(reason, format!("{detail}; a sweep releases it"))
        }
    }
}
