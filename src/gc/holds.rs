//! Holds: what an operator ordered to keep, until it is released or a time has come.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entry::EntryId;
use super::inventory::Inventory;
use super::ledger::{Clock, KnownEngine, LedgerState};
use super::volume::{VolumeIdentity, VolumeName};

/// How much watched time has to pass after the expiry of a hold before it is forgotten: one that a wrong wall clock ended is as it
/// was when the clock is set right (I8).
const CONFIRMED_AFTER: Duration = Duration::from_hours(7 * 24);

/// An operator's "keep this".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What is held.
    pub target: HoldTarget,
    /// Why.
    pub reason: String,
    /// When it was given.
    pub given_at: DateTime<Utc>,
    /// When it ends by itself; none: when it is released.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Hold {
    /// Why an entry is kept, with the way out.
    pub fn keeps(&self, entry: &EntryId) -> String {
        format!("an operator holds it: {}; `volgc release {entry}` ends that", self.reason)
    }

    /// Whether it still holds. At the instant of its expiry it no longer does.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// What a hold is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum HoldTarget {
    /// A volume: until the engine was seen to remove it, and not a later one of that name (I11). That its directory is another one
    /// proves nothing: somebody may have copied it.
    Volume {
        /// Its name.
        name: VolumeName,
        /// Which volume of that name it was when the hold was given, or bound anew.
        identity: VolumeIdentity,
    },
    /// A quarantine entry, which is then not deleted.
    Entry {
        /// The entry.
        entry: EntryId,
    },
}

impl HoldTarget {
    /// Whether it is the volume of this name.
    pub(super) fn is_on_volume(&self, name: &VolumeName) -> bool {
        match self {
            Self::Volume { name: held, .. } => held == name,
            Self::Entry { .. } => false,
        }
    }

    /// Whether it is this entry.
    pub(super) fn is_on_entry(&self, entry: &EntryId) -> bool {
        match self {
            Self::Entry { entry: held } => held == entry,
            Self::Volume { .. } => false,
        }
    }
}

impl LedgerState {
    /// Since when a hold that is given now counts. A wall clock behind the last sweep was set back: counted from there, the hold could
    /// be over before that sweep, and the next one would not see that there was one (I8).
    pub fn hold_from(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.last_sweep.as_ref().map_or(now, |last| now.max(last.wall))
    }

    /// The active hold on a volume.
    pub fn hold_on_volume(&self, name: &VolumeName, now: DateTime<Utc>) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.is_active(now) && hold.target.is_on_volume(name))
    }

    /// The volumes on which a hold is, although their directories are others by now, and since when each hold was given. Whether
    /// they are other volumes, or the same ones copied, only the engine's events tell.
    pub fn holds_in_question<'a>(
        &'a self,
        inventory: &'a Inventory,
    ) -> impl Iterator<Item = (&'a VolumeName, &'a Hold)> {
        self.holds.iter().filter_map(|hold| match &hold.target {
            HoldTarget::Volume { name, identity } => {
                let volume = inventory.volume(name)?;
                (!volume.identity.is_same(identity)).then_some((name, hold))
            }
            HoldTarget::Entry { .. } => None,
        })
    }

    /// The holds on volumes that the last sweep found and that a complete inventory of the same engine does not have: a later volume of
    /// that name is another one (I11).
    pub fn holds_on_removed(&self, inventory: &Inventory) -> Vec<Hold> {
        let engine = inventory.engine();
        let is_same = |known: &KnownEngine| known.id == engine.id && known.root == engine.root;
        if !self.engine.as_ref().is_some_and(is_same) {
            return Vec::new();
        }
        let is_removed = |hold: &&Hold| match &hold.target {
            HoldTarget::Volume { name, .. } => {
                self.volumes.contains_key(name) && inventory.volume(name).is_none()
            }
            HoldTarget::Entry { .. } => false,
        };
        self.holds.iter().filter(is_removed).cloned().collect()
    }

    /// The same without some of the holds.
    #[must_use]
    pub fn without(&self, lapsed: &[Hold]) -> Self {
        let holds = self.holds.iter().filter(|hold| !lapsed.contains(hold)).cloned().collect();
        Self { holds, ..self.clone() }
    }

    /// The active hold on an entry.
    pub fn hold_on_entry(&self, entry: &EntryId, now: DateTime<Utc>) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.is_active(now) && hold.target.is_on_entry(entry))
    }

    /// The holds that have expired since the last sweep.
    pub fn newly_expired(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter(move |hold| !hold.is_active(now) && self.has_held_until(hold, now))
    }

    /// Whether a hold has expired and can be forgotten. The wall clock alone does not say so (I8): either what it is on was watched
    /// for long since then, or it is a volume that a complete sweep did not find any more (I11).
    pub fn is_over(&self, hold: &Hold, now: DateTime<Utc>) -> bool {
        let is_long = |clock: &Clock| clock.watched >= CONFIRMED_AFTER;
        let is_confirmed = match &hold.target {
            HoldTarget::Volume { name, .. } => {
                self.volumes.get(name).is_none_or(|record| record.unreferenced.as_ref().is_some_and(is_long))
            }
            HoldTarget::Entry { entry } => self.entries.get(entry).is_some_and(is_long),
        };
        !hold.is_active(now) && is_confirmed
    }

    /// Whether a hold held until this sweep, as far as the last one tells.
    fn has_held_until(&self, hold: &Hold, now: DateTime<Utc>) -> bool {
        // A clock that was set back tells nothing of the time since then.
        self.last_sweep.as_ref().is_none_or(|last| hold.is_active(last.wall) || last.wall > now)
    }

    /// Whether there is such a hold, or was one until this sweep.
    pub(super) fn is_held(&self, now: DateTime<Utc>, on: impl Fn(&HoldTarget) -> bool) -> bool {
        self.holds
            .iter()
            .any(|hold| on(&hold.target) && (hold.is_active(now) || self.has_held_until(hold, now)))
    }
}
