//! What the engine tells between two sweeps, and what it changes in what is remembered.
//!
//! Events are hints. They get lost, come twice and come late; the next sweep's complete look is the truth. So they have one
//! power: to delay (I8, I9). An event sets a clock back and says who held a volume last and until when. It never starts a
//! clock of a volume that was held, never adds watched time or a sighting, and never makes a volume free.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::entry::{EntryState, Manifest};
use super::inventory::Inventory;
use super::ledger::{Clock, LedgerState, VolumeRecord};
use super::passing::{Passing, Traits, only_passes};
use super::reference::{Holder, HolderKind, LastHolder};
use super::volume::{VolumeIdentity, VolumeName};

/// The most containers that are remembered. When there are more, those from before are forgotten, which costs precision alone.
const MOST_CONTAINERS: usize = 50_000;

/// What a container does, as far as it says since when its volumes are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It was made; which volumes it has, the event does not say.
    Created,
    /// It runs.
    Started,
    /// It ended; it still holds its volumes.
    Ended,
    /// It is gone.
    Removed,
}

impl Doing {
    /// The state that the container is in then, as [`Holder::detail`] begins with it.
    pub fn state(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "running",
            Self::Ended => "exited",
            Self::Removed => "removed",
        }
    }
}

/// One thing the engine told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of a container.
    Container {
        /// Its ID.
        id: String,
        /// Its name, if the event has it.
        name: Option<String>,
        /// Image and labels, in one line, with the state before them.
        detail: String,
        /// Its image, if the event has it.
        image: Option<String>,
        /// Its labels. Other attributes of the event may be among them.
        labels: BTreeMap<String, String>,
        /// What it does.
        doing: Doing,
        /// When.
        at: DateTime<Utc>,
    },
    /// A container began or ceased to have a volume mounted.
    Mounted {
        /// The volume.
        volume: VolumeName,
        /// The container's ID.
        container: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// A volume was removed. Docker 20.10 does not say so of those that a prune removes.
    Removed {
        /// Its name.
        volume: VolumeName,
        /// When.
        at: DateTime<Utc>,
    },
    /// A volume was made. Docker 20.10 says so each time a container is made with it, too.
    Made {
        /// Its name.
        volume: VolumeName,
        /// When.
        at: DateTime<Utc>,
    },
}

/// What is known of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    holder: Holder,
    volumes: BTreeSet<VolumeName>,
    use_of: Use,
}

/// What it means for a volume that a container has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is used. Also of a container of which nothing else is known (I2).
    Counts,
    /// The container only passes by.
    Passes,
}

/// What happened since it was asked last, put together: for each volume only the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Who used a volume last, and when.
    pub uses: BTreeMap<VolumeName, LastHolder>,
    /// Volumes that were made.
    pub made: BTreeMap<VolumeName, DateTime<Utc>>,
    /// Volumes that were removed.
    pub removed: BTreeMap<VolumeName, DateTime<Utc>>,
    /// Containers that were made, and whose volumes nobody has told yet.
    pub unknown: BTreeMap<String, DateTime<Utc>>,
}

impl News {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.made.is_empty() && self.removed.is_empty() && self.unknown.is_empty()
    }

    /// Something used a volume.
    pub fn used(&mut self, volume: VolumeName, by: LastHolder) {
        if self.uses.get(&volume).is_none_or(|known| known.seen_at <= by.seen_at) {
            self.uses.insert(volume, by);
        }
    }
}

/// Puts events together: which container has which volumes, and who it is.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    containers: BTreeMap<String, Known>,
    news: News,
    passing: Vec<Passing>,
}

impl Tracker {
    /// Says which containers only pass by, from now on.
    pub fn let_pass(&mut self, passing: Vec<Passing>) {
        self.passing = passing;
    }

    /// Takes one event.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Made { volume, at } => {
                let newest = self.news.made.entry(volume).or_insert(at);
                *newest = at.max(*newest);
            }
            Event::Removed { volume, at } => {
                let newest = self.news.removed.entry(volume).or_insert(at);
                *newest = at.max(*newest);
            }
            Event::Mounted { volume, container, at } => {
                self.news.unknown.remove(&container);
                let known = self.known(container);
                known.volumes.insert(volume.clone());
                let (holder, use_of) = (known.holder.clone(), known.use_of);
                if use_of == Use::Counts {
                    self.used(volume, holder, at);
                }
            }
            Event::Container { id, name, detail, image, labels, doing, at } => {
                let traits = Traits { image: image.as_deref(), name: name.as_deref(), labels: &labels };
                let passes = only_passes(&self.passing, traits);
                let known = self.known(id.clone());
                known.use_of = if passes { Use::Passes } else { Use::Counts };
                if let Some(name) = name {
                    known.holder.name = name;
                }
                known.holder.detail = detail;
                let Known { holder, volumes, use_of } = known.clone();
                match (doing, use_of) {
                    (Doing::Created, Use::Counts) => {
                        self.news.unknown.insert(id, at);
                    }
                    (Doing::Created, Use::Passes) | (Doing::Started | Doing::Ended, _) => {}
                    (Doing::Removed, _) => {
                        self.containers.remove(&id);
                    }
                }
                if use_of == Use::Passes {
                    return;
                }
                for volume in volumes {
                    self.used(volume, holder.clone(), at);
                }
            }
        }
    }

    /// Learns from a complete look which container has which volumes.
    pub fn learn(&mut self, inventory: &Inventory) {
        for volume in inventory.volumes() {
            for reference in inventory.references(&volume.name) {
                if reference.holder.kind == HolderKind::Container {
                    self.has(&reference.holder, volume.name.clone());
                    if inventory.is_passer(&reference.holder.id) {
                        self.known(reference.holder.id.clone()).use_of = Use::Passes;
                    }
                }
            }
        }
    }

    /// What happened since this was asked last.
    pub fn drain(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// What was drained happened all the same: it could not be written down.
    pub fn put_back(&mut self, older: News) {
        for (volume, by) in older.uses {
            self.news.used(volume, by);
        }
        for (known, older) in [(&mut self.news.made, older.made), (&mut self.news.removed, older.removed)] {
            for (volume, at) in older {
                let newest = known.entry(volume).or_insert(at);
                *newest = at.max(*newest);
            }
        }
        for (container, at) in older.unknown {
            self.news.unknown.entry(container).or_insert(at);
        }
    }

    /// Whether anything happened.
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// A container has a volume.
    pub fn has(&mut self, holder: &Holder, volume: VolumeName) {
        let known = self.known(holder.id.clone());
        known.holder = holder.clone();
        known.volumes.insert(volume);
    }

    fn known(&mut self, id: String) -> &mut Known {
        if self.containers.len() >= MOST_CONTAINERS && !self.containers.contains_key(&id) {
            self.containers.clear();
        }
        self.containers.entry(id.clone()).or_insert_with(|| Known {
            holder: Holder {
                kind: HolderKind::Container,
                name: id.chars().take(12).collect(),
                id,
                detail: String::new(),
            },
            volumes: BTreeSet::new(),
            use_of: Use::Counts,
        })
    }

    fn used(&mut self, volume: VolumeName, holder: Holder, at: DateTime<Utc>) {
        self.news.used(volume, LastHolder { holder, seen_at: at });
    }
}

impl LedgerState {
    /// The records that uses between two sweeps change. A volume the ledger does not know has nothing that could be changed: the
    /// next sweep sees it for the first time.
    pub fn heed(
        &self,
        uses: &BTreeMap<VolumeName, LastHolder>,
        now: DateTime<Utc>,
    ) -> BTreeMap<VolumeName, VolumeRecord> {
        let changed = |(name, told): (&VolumeName, &LastHolder)| {
            let record = self.volumes.get(name)?;
            let after = record.used(told, now);
            (after != *record).then(|| (name.clone(), after))
        };
        uses.iter().filter_map(changed).collect()
    }

    /// Which of these entries' names were taken by a new volume that no sweep knew of, and what is to be remembered of that
    /// volume: with it in the ledger the entry's clock stands still until a sweep finds the name free again, and for the time
    /// until then.
    pub fn names_used_again<'a>(
        &self,
        made: &BTreeMap<VolumeName, DateTime<Utc>>,
        entries: &[&'a Manifest],
    ) -> Vec<(&'a Manifest, VolumeRecord)> {
        let is_restored_to = |name: &VolumeName| {
            let restoring_to = |entry: &&Manifest| match &entry.state {
                EntryState::Restoring { restoring_to } => restoring_to == name,
                EntryState::Linking
                | EntryState::Forgetting
                | EntryState::Moving
                | EntryState::InDoubt { .. }
                | EntryState::Quarantined
                | EntryState::InPlace
                | EntryState::InPlaceInDoubt { .. } => false,
            };
            entries.iter().any(restoring_to)
        };
        let used_again = |manifest: &&'a Manifest| {
            let at = *made.get(&manifest.name).filter(|at| **at > manifest.quarantined_at)?;
            let is_new = manifest.state == EntryState::Quarantined
                && !self.volumes.contains_key(&manifest.name)
                && !is_restored_to(&manifest.name);
            is_new.then(|| (*manifest, VolumeRecord::unseen(at)))
        };
        entries.iter().filter_map(used_again).collect()
    }
}

impl VolumeRecord {
    /// What is remembered after something used the volume. Only ever later, only ever further from due (I8).
    fn used(&self, told: &LastHolder, now: DateTime<Utc>) -> Self {
        // An engine whose clock is ahead does not make a volume used in the future.
        let told = LastHolder { seen_at: told.seen_at.min(now), ..told.clone() };
        let mut after = self.clone();
        if self.last_holder.as_ref().is_none_or(|known| known.seen_at <= told.seen_at) {
            after.last_holder = Some(told.clone());
        }
        after.unreferenced = self.unreferenced.as_ref().map(|clock| {
            if told.seen_at > clock.since { Clock::set_back(told.seen_at) } else { clock.clone() }
        });
        after
    }

    /// A volume that only an event told of. Its identity is no volume's, so the sweep that sees it starts from nothing (I11).
    fn unseen(at: DateTime<Utc>) -> Self {
        Self {
            identity: VolumeIdentity::Record { driver: String::new(), created_at: String::new() },
            first_seen_at: at,
            unreferenced: Some(Clock::set_back(at)),
            last_holder: None,
            suspected_since: None,
        }
    }
}
