//! What a look showed, counted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::State;
use crate::gc::entry::{Entry, EntryId, EntryState};
use crate::gc::policy::Mode;
use crate::gc::verdict::{Action, Reason};
use crate::gc::volume::{Class, VolumeName};
use crate::sweep::look::Look;

/// Something whose size is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measurable {
    /// A volume that nothing holds: this one, not a later one of that name (I11).
    Volume {
        /// Its name.
        name: VolumeName,
        /// Which volume of that name.
        identity: String,
    },
    /// An entry that was too large to be measured when it was quarantined.
    Entry(EntryId),
}

/// Which sum a size belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a volume.
    Reclaimable(State, Class),
    /// Of an entry.
    Quarantined,
}

/// What a look showed, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When the evidence was complete.
    pub taken_at: DateTime<Utc>,
    /// How far a sweep may go.
    pub mode: Mode,
    /// How many volumes of which state and class.
    pub volumes: BTreeMap<(State, &'static str), u64>,
    /// How many entries in which state.
    pub entries: BTreeMap<&'static str, u64>,
    /// How many entries have a name that is in use again.
    pub names_in_use: u64,
    /// Bytes of the entries whose manifest tells their size.
    pub told_bytes: u64,
    /// What has to be measured, and for what.
    pub sizes: Vec<(Measurable, Kind)>,
    /// How many volumes are due to be quarantined, and how many entries to be deleted, whatever the mode permits.
    pub due: (u64, u64),
    /// When the next entry is going to be deleted; none when none is, as in a mode that deletes nothing.
    pub next_deletion_at: Option<DateTime<Utc>>,
}

impl Seen {
    /// Counts.
    pub fn new(look: &Look) -> Self {
        let mut seen = Self {
            taken_at: look.observation.inventory.taken_at(),
            mode: look.plan.mode,
            volumes: BTreeMap::new(),
            entries: BTreeMap::new(),
            names_in_use: 0,
            told_bytes: 0,
            sizes: Vec::new(),
            due: (0, 0),
            next_deletion_at: None,
        };
        seen.count_volumes(look);
        seen.count_odd(look);
        for entry in &look.quarantine.entries {
            seen.count_entry(look, entry);
        }
        if seen.mode == Mode::Enforce {
            seen.next_deletion_at = next_deletion(look);
        }
        seen
    }

    fn count_volumes(&mut self, look: &Look) {
        for volume in look.observation.inventory.volumes() {
            let Some(verdict) = look.plan.volumes.get(&volume.name) else { continue };
            let state = State::of(&verdict.reason);
            *self.volumes.entry((state, volume.class.word())).or_insert(0) += 1;
            self.due.0 += u64::from(verdict.action == Action::Quarantine);
            // Kept volumes that could not be moved either: policy is asked before the disk.
            if state.is_reclaimable() && volume.unmovable.is_empty() {
                let identity = volume.identity.to_string();
                let measurable = Measurable::Volume { name: volume.name.clone(), identity };
                self.sizes.push((measurable, Kind::Reclaimable(state, volume.class)));
            }
        }
    }

    /// Kept, and never measured: nothing says which directory is theirs.
    fn count_odd(&mut self, look: &Look) {
        for odd in look.observation.inventory.odd() {
            *self.volumes.entry((State::Kept, odd.class.word())).or_insert(0) += 1;
        }
    }

    fn count_entry(&mut self, look: &Look, entry: &Entry) {
        let word = match entry {
            Entry::Known(manifest) => {
                match (manifest.size_bytes, &manifest.state) {
                    (Some(bytes), _) => self.told_bytes = self.told_bytes.saturating_add(bytes),
                    (None, EntryState::Quarantined) => {
                        self.sizes.push((Measurable::Entry(manifest.entry.clone()), Kind::Quarantined));
                    }
                    // On its way; it has its size, or is gone, by the next look. In place its data is where it was.
                    (
                        None,
                        EntryState::Linking
                        | EntryState::Forgetting
                        | EntryState::Moving
                        | EntryState::InDoubt { .. }
                        | EntryState::Restoring { .. }
                        | EntryState::InPlace
                        | EntryState::InPlaceInDoubt { .. },
                    ) => {}
                }
                let in_use = !manifest.state.is_in_place()
                    && look.observation.inventory.volume(&manifest.name).is_some();
                self.names_in_use += u64::from(in_use);
                manifest.state.word()
            }
            Entry::Deleting(_) => "deleting",
            Entry::Damaged { .. } => "damaged",
        };
        *self.entries.entry(word).or_insert(0) += 1;
    }
}

impl Seen {
    /// How many of a state there are, of both classes.
    pub fn count(&self, state: State) -> u64 {
        self.volumes.iter().filter(|((of, _), _)| *of == state).map(|(_, count)| count).sum()
    }
}

/// The earliest end of a grace period in quarantine. What is held or in doubt has none.
fn next_deletion(look: &Look) -> Option<DateTime<Utc>> {
    let waits = |reason: &Reason| matches!(reason, Reason::InQuarantine | Reason::LimitPerSweep);
    look.plan
        .entries
        .values()
        .filter(|verdict| verdict.action == Action::Delete || waits(&verdict.reason))
        .filter_map(|verdict| verdict.due_at)
        .min()
}
