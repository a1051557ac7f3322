//! One complete observation. It cannot be built from partial evidence (I2).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::slice::ParallelSliceMut as _;

use super::entry::EntryId;
use super::odd::OddVolume;
use super::reference::{Holder, HolderKind, Reference, Witness};
use super::spoken::spoken;
use super::volume::{Unmovable, Volume, VolumeName};

/// Which engine was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineIdentity {
    /// The engine's ID (`GET /info`).
    pub id: String,
    /// Its version, as `20.10.24`.
    pub version: String,
    /// The API version spoken with it.
    pub api_version: String,
    /// The docker root directory, symlinks resolved by the engine (`DockerRootDir`).
    pub root: String,
}

/// The complete answer of one witness: all its references, plus remarks that decide nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub witness: Witness,
    /// Every reference it sees.
    pub references: Vec<Reference>,
    /// Quarantine entries whose data something holds.
    pub entry_holders: Vec<(EntryId, Holder)>,
    /// What an administrator may want to know but what is no reference, as an ancestor bind.
    pub notes: Vec<String>,
    /// What an administrator has to know: one thing that keeps many volumes, or may (I14).
    pub alerts: Vec<String>,
}

impl Answer {
    /// An answer without notes.
    pub fn new(witness: Witness, references: Vec<Reference>) -> Self {
        Self { witness, references, entry_holders: Vec::new(), notes: Vec::new(), alerts: Vec::new() }
    }
}

/// Why an inventory could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncompleteInventory {
    /// A witness gave no answer.
    #[error("the {} witness gave no answer", spoken(.0.word()))]
    Missing(Witness),
    /// A witness answered twice, so one of the answers is not the complete one.
    #[error("the {} witness answered twice", spoken(.0.word()))]
    Twice(Witness),
    /// The same name was listed twice.
    #[error("volume {0} was listed twice")]
    DuplicateVolume(VolumeName),
}

/// One complete observation: volumes, references, when, of which engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    taken_at: DateTime<Utc>,
    engine: EngineIdentity,
    volumes: BTreeMap<VolumeName, Volume>,
    references: BTreeMap<VolumeName, Vec<Reference>>,
    entry_holders: BTreeMap<EntryId, Vec<Holder>>,
    notes: Vec<String>,
    odd: Vec<OddVolume>,
    alerts: Vec<String>,
    passers: BTreeSet<String>,
}

impl Inventory {
    /// Builds an inventory from the volumes and the answer of every witness in [`Witness::ALL`].
    ///
    /// The union of the answers decides, since each witness may see what the others cannot. A reference to a volume that
    /// is not listed is kept: [`Inventory::missing_volumes`] shows it.
    pub fn complete(
        taken_at: DateTime<Utc>,
        engine: EngineIdentity,
        mut volumes: Vec<Volume>,
        answers: Vec<Answer>,
    ) -> Result<Self, IncompleteInventory> {
        let mut answered = BTreeSet::new();
        let mut references: BTreeMap<VolumeName, Vec<Reference>> = BTreeMap::new();
        let mut entry_holders: BTreeMap<EntryId, Vec<Holder>> = BTreeMap::new();
        let (mut notes, mut alerts) = (Vec::new(), Vec::new());
        for answer in answers {
            if !answered.insert(answer.witness) {
                return Err(IncompleteInventory::Twice(answer.witness));
            }
            notes.extend(answer.notes);
            alerts.extend(answer.alerts);
            for (entry, holder) in answer.entry_holders {
                entry_holders.entry(entry).or_default().push(holder);
            }
            for reference in answer.references {
                references.entry(reference.volume.clone()).or_default().push(reference);
            }
        }
        // I2: a witness that is silent is not a witness that saw nothing.
        if let Some(missing) = Witness::ALL.into_iter().find(|witness| !answered.contains(witness)) {
            return Err(IncompleteInventory::Missing(missing));
        }
        for held_by in references.values_mut() {
            held_by.sort();
            held_by.dedup();
        }
        volumes.par_sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if let Some([twice, _]) = volumes.array_windows().find(|[one, next]| one.name == next.name) {
            return Err(IncompleteInventory::DuplicateVolume(twice.name.clone()));
        }
        let volumes = volumes.into_iter().map(|volume| (volume.name.clone(), volume)).collect();
        let (odd, passers) = (Vec::new(), BTreeSet::new());
        Ok(Self { taken_at, engine, volumes, references, entry_holders, notes, odd, alerts, passers })
    }

    /// One thing more that an administrator has to know.
    pub fn alert(&mut self, alert: String) {
        self.alerts.push(alert);
    }

    /// The same, with the volumes whose names cannot be used.
    #[must_use]
    pub fn with_odd(mut self, mut odd: Vec<OddVolume>) -> Self {
        odd.sort();
        self.odd = odd;
        self
    }

    /// The volumes whose names cannot be used, by name.
    pub fn odd(&self) -> &[OddVolume] {
        &self.odd
    }

    /// When the last witness had answered.
    pub fn taken_at(&self) -> DateTime<Utc> {
        self.taken_at
    }

    /// The engine it is of.
    pub fn engine(&self) -> &EngineIdentity {
        &self.engine
    }

    /// Every volume, by name.
    pub fn volumes(&self) -> impl ExactSizeIterator<Item = &Volume> {
        self.volumes.values()
    }

    /// The volume of that name.
    pub fn volume(&self, name: &VolumeName) -> Option<&Volume> {
        self.volumes.get(name)
    }

    /// Adds a reason why a volume cannot be moved, found later. It can only keep more.
    pub fn forbid_move(&mut self, name: &VolumeName, why: Unmovable) {
        if let Some(volume) = self.volumes.get_mut(name)
            && !volume.unmovable.contains(&why)
        {
            volume.unmovable.push(why);
        }
    }

    /// Who holds the volume of that name; empty is our finding *unreferenced*.
    pub fn references(&self, name: &VolumeName) -> &[Reference] {
        self.references.get(name).map_or(&[], Vec::as_slice)
    }

    /// The same, with the IDs of the containers that only pass by.
    #[must_use]
    pub fn with_passers(mut self, passers: BTreeSet<String>) -> Self {
        self.passers = passers;
        self
    }

    /// Whether this container only passes by.
    pub fn is_passer(&self, container: &str) -> bool {
        self.passers.contains(container)
    }

    /// Of who holds the volume of that name, those that do not only pass by.
    pub fn lasting_references(&self, name: &VolumeName) -> impl Iterator<Item = &Reference> {
        self.references(name).iter().filter(|reference| !self.is_passing(reference))
    }

    /// Whether it is of a container that only passes by, or of a mount in such a container.
    fn is_passing(&self, reference: &Reference) -> bool {
        match reference.holder.kind {
            HolderKind::Container | HolderKind::Mount => self.is_passer(&reference.holder.id),
            HolderKind::UnloadedContainer
            | HolderKind::Volume
            | HolderKind::Plugin
            | HolderKind::Process
            | HolderKind::Service
            | HolderKind::UnknownSwarm
            | HolderKind::Hold => false,
        }
    }

    /// Whether a name is in use: a volume has it, or something names it although there is none.
    pub fn is_name_in_use(&self, name: &VolumeName) -> bool {
        self.volumes.contains_key(name) || self.references.contains_key(name)
    }

    /// Names that something references although the engine lists no such volume.
    pub fn missing_volumes(&self) -> impl Iterator<Item = (&VolumeName, &[Reference])> {
        self.references
            .iter()
            .filter(|(name, _)| !self.volumes.contains_key(*name))
            .map(|(name, references)| (name, references.as_slice()))
    }

    /// Who holds the data of quarantine entries.
    pub fn entry_holders(&self) -> &BTreeMap<EntryId, Vec<Holder>> {
        &self.entry_holders
    }

    /// What keeps many volumes at once, or may.
    pub fn alerts(&self) -> &[String] {
        &self.alerts
    }

    /// Remarks of the witnesses.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
