//! What must be true of a quarantine in place, derived from raw facts once more.

use super::{Objection, is_suspected, reason_against_its_end_now};
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::plan::Situation;
use crate::gc::policy::{Decision, Disposition};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity};

/// Against marking a volume that cannot be moved.
pub(super) fn reason_against_mark(situation: Situation<'_>, volume: &Volume) -> Objection {
    if !is_mount_alone(volume) {
        return Some(("I6", "it cannot be moved"));
    }
    if !has_opted_in(situation, volume) {
        return Some(("I3", "no rule permits in_place for it"));
    }
    None
}

/// Whether an entry in place is of this very volume.
pub(super) fn is_marked(situation: Situation<'_>, volume: &Volume) -> bool {
    situation.quarantine.entries.iter().any(|entry| match entry {
        Entry::Known(manifest) => manifest.state.is_in_place() && is_of(manifest, volume),
        Entry::Deleting(_) | Entry::Damaged { .. } => false,
    })
}

/// Against the engine's removal of a marked volume.
pub(super) fn reason_against_end(situation: Situation<'_>, manifest: &Manifest, by_hand: bool) -> Objection {
    let Some(volume) = situation.inventory.volume(&manifest.name) else {
        return Some(("I11", "its volume is gone"));
    };
    if !is_of(manifest, volume) {
        return Some(("I11", "another volume has its name"));
    }
    if !situation.inventory.references(&manifest.name).is_empty() {
        return Some(("I1", "something holds it again"));
    }
    if situation.quarantine.held.contains_key(&manifest.entry) {
        return Some(("I1", "something holds its entry"));
    }
    let is_held = situation.ledger.hold_on_volume(&volume.name, situation.now).is_some()
        || situation.ledger.hold_on_entry(&manifest.entry, situation.now).is_some();
    if is_held {
        return Some(("I1", "an operator holds it"));
    }
    let disposition = match situation.policy.decide(volume) {
        Decision::By { disposition, .. } => disposition,
        Decision::KeepLabel | Decision::MalformedLabel(_) => Disposition::Keep,
    };
    let record = situation.ledger.volumes.get(&manifest.name);
    if record.is_some_and(|record| is_suspected(situation, record, disposition)) {
        return Some(("I2", "the sudden-orphan brake holds it"));
    }
    if !is_mount_alone(volume) {
        return Some(("I3", "the engine's removal of it could delete data"));
    }
    if by_hand {
        return None;
    }
    if !has_opted_in(situation, volume) {
        return Some(("I3", "no rule permits in_place for it"));
    }
    reason_against_its_end_now(situation, manifest, volume)
}

/// Against releasing an entry: only a mark is released, and only when it marks nothing or something that is held.
pub(super) fn reason_against_release(situation: Situation<'_>, id: &EntryId) -> Objection {
    let manifest = situation.quarantine.entries.iter().find_map(|entry| match entry {
        Entry::Known(manifest) if manifest.entry == *id => Some(manifest),
        Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
    });
    let Some(manifest) = manifest else {
        return Some(("I4", "there is no such entry"));
    };
    if manifest.state != EntryState::InPlace {
        return Some(("I4", "it holds data, or its end is in doubt"));
    }
    let is_free = situation.inventory.volume(&manifest.name).is_some_and(|volume| is_of(manifest, volume))
        && situation.inventory.references(&manifest.name).is_empty();
    is_free.then_some(("the order", "its volume is there, and nothing holds it"))
}

/// Nothing but the driver options, which the engine shows, keeps it from being moved.
fn is_mount_alone(volume: &Volume) -> bool {
    volume.class != Class::Unlisted && volume.unmovable == [Unmovable::DriverOptions]
}

/// The rule that decides on the volume says so.
fn has_opted_in(situation: Situation<'_>, volume: &Volume) -> bool {
    let Decision::By { rule: Some(name), .. } = situation.policy.decide(volume) else { return false };
    situation.policy.rules.iter().any(|rule| rule.name == name && rule.in_place)
}

fn is_of(manifest: &Manifest, volume: &Volume) -> bool {
    manifest.name == volume.name
        && volume.class != Class::Unlisted
        && volume.identity.is_same(&VolumeIdentity::Directory(manifest.volume_directory))
}
