//! What is remembered between sweeps, and how one complete observation changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::entry::{EntryId, EntryState, Manifest};
use super::holds::Hold;
use super::inventory::Inventory;
use super::lineage::{Lineage, Places};
use super::obstacles::Obstacles;
use super::policy::Limits;
use super::reference::{HolderKind, LastHolder, Reference, Witness};
use super::volume::{Class, Volume, VolumeIdentity, VolumeName};
use super::watch::{Watch, watched_time};

/// A reading of both clocks of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Wall-clock time; may step.
    pub wall: DateTime<Utc>,
    /// Time since an arbitrary point after boot, without suspends (`CLOCK_MONOTONIC`, `clock_gettime(2)`).
    pub monotonic: Duration,
    /// Which boot the monotonic time belongs to.
    pub boot_id: String,
}

/// A running clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// When it was started, by the wall clock; for people.
    pub since: DateTime<Utc>,
    /// Watched time so far; decides.
    pub watched: Duration,
    /// In how many complete sweeps it was seen running. None when it was set back between two sweeps, see [`super::news`], or started by the
    /// look of a command.
    pub sightings: u32,
}

impl Clock {
    /// A clock that starts now, with its first sighting.
    pub fn start(at: DateTime<Utc>) -> Self {
        Self { since: at, watched: Duration::ZERO, sightings: 1 }
    }

    /// A clock that was set back between two sweeps: what passed since is not counted, and the next sweep is its first sighting.
    pub fn set_back(at: DateTime<Utc>) -> Self {
        Self { since: at, watched: Duration::ZERO, sightings: 0 }
    }

    /// Watched time of an entry whose move began at `began`, by its manifest: never more than the wall clock says has passed since
    /// (I3). So a ledger in which a bit changed ends no grace period early; a clock that was set back can only delay (I8).
    pub fn watched_since(&self, began: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
        let passed = (now - began).to_std().unwrap_or(Duration::ZERO);
        self.watched.min(passed)
    }

    fn tick(&self, elapsed: Duration) -> Self {
        // I8: of the time since the last sweep, a part was before the clock was set back.
        let elapsed = if self.sightings == 0 { Duration::ZERO } else { elapsed };
        Self {
            since: self.since,
            watched: self.watched.saturating_add(elapsed),
            sightings: self.sightings.saturating_add(1),
        }
    }
}

/// What is remembered of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Which volume of that name this is about (I11).
    pub identity: VolumeIdentity,
    /// When a sweep first saw it.
    pub first_seen_at: DateTime<Utc>,
    /// Runs while nothing holds the volume.
    pub unreferenced: Option<Clock>,
    /// Who held it last.
    pub last_holder: Option<LastHolder>,
    /// Since when the sudden-orphan brake holds it.
    pub suspected_since: Option<DateTime<Utc>>,
}

/// The engine that the ledger is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEngine {
    /// Engine ID.
    pub id: String,
    /// Docker root.
    pub root: String,
}

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerState {
    /// The engine it is about; none before the first sweep.
    pub engine: Option<KnownEngine>,
    /// Clocks at the last complete sweep.
    pub last_sweep: Option<ClockReading>,
    /// How many containers the engine listed in the last complete sweep.
    pub last_containers: Option<u64>,
    /// By volume name.
    pub volumes: BTreeMap<VolumeName, VolumeRecord>,
    /// Clocks of the quarantine entries.
    pub entries: BTreeMap<EntryId, Clock>,
    /// Holds, expired ones included until that is confirmed; see [`Self::is_over`].
    pub holds: Vec<Hold>,
    /// Which ledger it is; none of one that was never written.
    pub lineage: Option<Lineage>,
    /// The directories that the last sweep found.
    pub places: Option<Places>,
    /// Whether an operator said since then that what the brakes saw is right.
    pub acknowledged: bool,
    /// What stands in the way of steps for good.
    pub obstacles: Obstacles,
}

/// An entry, and whether its name is in use again, which stops its clock.
#[derive(Debug, Clone, Copy)]
pub struct SeenEntry<'a> {
    /// What its manifest says.
    pub manifest: &'a Manifest,
    /// Whether a volume of that name exists again, or something names it.
    pub name_in_use: bool,
}

impl LedgerState {
    /// The ledger after one complete sweep. Volumes that are gone are forgotten, those that are new or have another identity
    /// start from nothing (I9, I11).
    #[must_use]
    pub fn observe(
        &self,
        inventory: &Inventory,
        entries: &[SeenEntry<'_>],
        containers: u64,
        now: &ClockReading,
        watch: &Watch,
        limits: &Limits,
    ) -> Self {
        let elapsed = watched_time(self.last_sweep.as_ref(), now, watch, limits.max_gap);
        let seen: Vec<&Volume> = inventory.volumes().collect();
        let record = |volume: &Volume| {
            (volume.name.clone(), self.observe_volume(volume, inventory, elapsed, now.wall))
        };
        let records: Vec<(VolumeName, VolumeRecord)> = seen.into_par_iter().map(record).collect();
        let engine = inventory.engine();
        Self {
            engine: Some(KnownEngine { id: engine.id.clone(), root: engine.root.clone() }),
            last_sweep: Some(now.clone()),
            last_containers: Some(containers),
            volumes: records.into_iter().collect(),
            entries: entries
                .iter()
                .map(|entry| self.observe_entry(*entry, inventory, elapsed, now.wall))
                .collect(),
            holds: self.holds.clone(),
            lineage: self.lineage.clone(),
            places: self.places,
            acknowledged: false,
            obstacles: self.obstacles.clone(),
        }
    }

    /// The same where a command looked, as one that deletes entries: it is no sweep, so what it saw is no sighting. Time that it found watched
    /// counts. A clock that it started waits for its first sighting.
    #[must_use]
    pub fn without_sightings_since(self, before: &Self) -> Self {
        let uncounted = |clock: Clock, known: Option<&Clock>| {
            let known = known.filter(|known| known.since == clock.since);
            Clock { sightings: known.map_or(0, |known| known.sightings), ..clock }
        };
        let of_volume = |(name, record): (VolumeName, VolumeRecord)| {
            let known = before.volumes.get(&name).filter(|known| known.identity.is_same(&record.identity));
            let known = known.and_then(|known| known.unreferenced.as_ref());
            let unreferenced = record.unreferenced.map(|clock| uncounted(clock, known));
            (name, VolumeRecord { unreferenced, ..record })
        };
        let of_entry = |(id, clock): (EntryId, Clock)| {
            let clock = uncounted(clock, before.entries.get(&id));
            (id, clock)
        };
        Self {
            volumes: self.volumes.into_iter().map(of_volume).collect(),
            entries: self.entries.into_iter().map(of_entry).collect(),
            ..self
        }
    }

    fn observe_volume(
        &self,
        volume: &Volume,
        inventory: &Inventory,
        elapsed: Duration,
        now: DateTime<Utc>,
    ) -> VolumeRecord {
        let before =
            self.volumes.get(&volume.name).filter(|record| record.identity.is_same(&volume.identity));
        let held = Held {
            lasting: most_telling(inventory.lasting_references(&volume.name)),
            passing: inventory.references(&volume.name).first(),
        };
        let mut record = observe_volume(before, &volume.identity, held, elapsed, self.span_until(now));
        // I8: a hold that this sweep finds expired held until now.
        if self.is_held(now, |target| target.is_on_volume(&volume.name)) {
            record.unreferenced = record.unreferenced.map(|_| Clock::start(now));
        }
        record
    }

    /// From the last sweep until now.
    fn span_until(&self, now: DateTime<Utc>) -> Span {
        Span { from: self.last_sweep.as_ref().map(|last| last.wall), now }
    }

    fn observe_entry(
        &self,
        entry: SeenEntry<'_>,
        inventory: &Inventory,
        elapsed: Duration,
        now: DateTime<Utc>,
    ) -> (EntryId, Clock) {
        let id = entry.manifest.entry.clone();
        let clock = match self.entries.get(&id) {
            // I8: what a hold kept has its whole grace period once the hold is over, so that a clock that jumps past the
            // expiry of a hold deletes nothing.
            Some(_) if self.is_held(now, |target| target.is_on_entry(&id)) => Clock::start(now),
            Some(_) if self.is_wanted_in_place(entry.manifest, inventory, now) => Clock::start(now),
            Some(clock) if self.stands_still(entry, inventory) => clock.clone(),
            Some(clock) => clock.tick(elapsed),
            // I9: an entry that the ledger does not know starts its whole grace period anew.
            None => Clock::start(now),
        };
        (id, clock)
    }

    /// Whether the time since the last sweep does not count for an entry.
    fn stands_still(&self, entry: SeenEntry<'_>, inventory: &Inventory) -> bool {
        // The name runs on an empty volume, now or at the last sweep: its owner is likely to come looking for the old data.
        let name_in_use = entry.name_in_use || self.volumes.contains_key(&entry.manifest.name);
        match entry.manifest.state {
            EntryState::Quarantined => name_in_use,
            // Its name is its own; see `is_wanted_in_place`. What still holds it then only passes by.
            EntryState::InPlace => !inventory.references(&entry.manifest.name).is_empty(),
            EntryState::Linking
            | EntryState::Forgetting
            | EntryState::Moving
            | EntryState::InDoubt { .. }
            | EntryState::Restoring { .. }
            | EntryState::InPlaceInDoubt { .. } => true,
        }
    }

    /// Whether something held a volume that is quarantined in place, now or at the last sweep, or it is not that volume (I11): then
    /// its whole grace period begins anew.
    fn is_wanted_in_place(&self, manifest: &Manifest, inventory: &Inventory, now: DateTime<Utc>) -> bool {
        if manifest.state != EntryState::InPlace {
            return false;
        }
        let identity = VolumeIdentity::Directory(manifest.volume_directory);
        let is_there = inventory
            .volume(&manifest.name)
            .is_some_and(|volume| volume.class != Class::Unlisted && volume.identity.is_same(&identity));
        let is_held = inventory.lasting_references(&manifest.name).next().is_some()
            || self.is_held(now, |target| target.is_on_volume(&manifest.name));
        // The record is forgotten when the volume is marked, which it is only when nothing holds it. A clock without a sighting was set
        // back by a use between the two sweeps.
        let was_held = self.volumes.get(&manifest.name).is_some_and(|record| {
            record.unreferenced.as_ref().is_none_or(|clock| clock.sightings == 0)
                || !record.identity.is_same(&identity)
        });
        !is_there || is_held || was_held
    }
}

/// The time between two sweeps, by the wall clock.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl Span {
    /// Since when a volume is unreferenced that lost its last holder in it: since that one was seen last, if it was seen going.
    fn start_of_clock(self, last_holder: Option<&LastHolder>) -> DateTime<Utc> {
        let seen_at = last_holder.map(|last| last.seen_at);
        seen_at.filter(|at| self.from.is_some_and(|from| *at > from) && *at <= self.now).unwrap_or(self.now)
    }
}

/// Who holds a volume at a sweep.
#[derive(Debug, Clone, Copy)]
struct Held<'a> {
    /// The one to remember of those that use it.
    lasting: Option<&'a Reference>,
    /// Anybody at all; without a lasting one it only passes by.
    passing: Option<&'a Reference>,
}

fn observe_volume(
    before: Option<&VolumeRecord>,
    identity: &VolumeIdentity,
    held: Held<'_>,
    elapsed: Duration,
    span: Span,
) -> VolumeRecord {
    let now = span.now;
    let first_seen_at = before.map_or(now, |record| record.first_seen_at);
    let remembered = before.and_then(|record| record.last_holder.clone());
    if let Some(reference) = held.lasting {
        let seen = LastHolder { holder: reference.holder.clone(), seen_at: now };
        // A hold tells nothing of what the volume was for: what is known of that stays.
        let last_holder = match seen.holder.kind {
            HolderKind::Hold | HolderKind::UnknownSwarm => remembered.or(Some(seen)),
            HolderKind::Container
            | HolderKind::UnloadedContainer
            | HolderKind::Volume
            | HolderKind::Plugin
            | HolderKind::Mount
            | HolderKind::Process
            | HolderKind::Service => Some(seen),
        };
        return VolumeRecord {
            identity: identity.clone(),
            first_seen_at,
            unreferenced: None,
            last_holder,
            suspected_since: None,
        };
    }
    let clock = before.and_then(|record| record.unreferenced.as_ref());
    let unreferenced = match (clock, held.passing) {
        (Some(clock), None) => clock.tick(elapsed),
        (None, None) => Clock::start(span.start_of_clock(remembered.as_ref())),
        // I1: it is held, so this is no sighting, and it is not used, so the clock does not begin anew.
        (Some(clock), Some(_)) => clock.clone(),
        (None, Some(_)) => Clock::set_back(now),
    };
    let passer = held.passing.map(|passing| LastHolder { holder: passing.holder.clone(), seen_at: now });
    VolumeRecord {
        identity: identity.clone(),
        first_seen_at,
        unreferenced: Some(unreferenced),
        last_holder: remembered.or(passer),
        suspected_since: before.and_then(|record| record.suspected_since),
    }
}

/// The holder worth remembering: a container before a mount, since its name tells an administrator what the volume was for.
fn most_telling<'a>(references: impl Iterator<Item = &'a Reference>) -> Option<&'a Reference> {
    references.min_by_key(|reference| {
        let rank = match reference.holder.kind {
            HolderKind::Container => 0,
            HolderKind::Service => 1,
            HolderKind::UnloadedContainer => 2,
            HolderKind::Volume => 3,
            HolderKind::Plugin => 4,
            HolderKind::Process => 5,
            HolderKind::Mount => 6,
            HolderKind::UnknownSwarm => 7,
            HolderKind::Hold => 8,
        };
        (rank, reference.witness != Witness::Engine)
    })
}
