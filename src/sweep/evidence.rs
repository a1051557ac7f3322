//! One round of questions for all moves that wait for an answer (I1).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};

use super::mover::{Mover, StepError};
use super::moves::{Move, Reason, system};
use super::quarantine::{held_by, is_plain, is_same, process_inside};
use crate::gc::entry::Manifest;
use crate::gc::protocol::Route;
use crate::gc::reference::{Holder, HolderKind};
use crate::gc::volume::{Unmovable, Volume, VolumeName};
use crate::host::directory;
use crate::host::engine::wire;
use crate::witness::kernel;
use crate::witness::observe::Held;

/// What the witnesses and the engine said, of all volumes that were asked about.
pub(super) struct Round {
    held: Held,
    listed: BTreeMap<VolumeName, wire::Volume>,
    dangling: BTreeSet<VolumeName>,
    /// Processes in the directories that were looked at, by their names.
    inside: BTreeMap<String, Holder>,
}

impl Mover<'_> {
    /// Asks once for all. The directories are those of the volumes, or those of the entries once they have the data.
    pub(super) async fn round(&self, parent: BorrowedFd<'_>, names: Vec<String>) -> Result<Round, StepError> {
        let held = self.held().await?;
        let engine = self.engine.reading();
        let all = engine.volumes().await?;
        let dangling = engine.dangling().await?;
        let listed = all.volumes.into_iter().flatten().map(|volume| (volume.name.clone(), volume)).collect();
        // Last, as processes come and go the fastest.
        let inside = kernel::processes_in_each(parent, names).await?.into_iter().collect();
        Ok(Round { held, listed, dangling, inside })
    }

    /// Before anything is written: the same volume, movable, known to the engine or not as before, held by nobody.
    pub(super) fn against_beginning(
        &self,
        volume: &Volume,
        route: Route,
        round: &Round,
    ) -> Result<(), Reason> {
        let object = |why: &str| Err(Reason::Objection(why.to_owned()));
        let observed = self.volumes.observe(&volume.name);
        if let Some(why) = observed.unmovable.first() {
            return object(why.sentence());
        }
        if !is_same(&observed, &volume.identity) {
            return object("it is another volume of that name by now");
        }
        match self.volumes.has_project_quota(&volume.name) {
            Ok(false) => {}
            Ok(true) => return object(Unmovable::ProjectQuota.sentence()),
            Err(error) => return object(&format!("its quota cannot be asked for: {error}")),
        }
        round.against_use(&volume.name, None, volume.name.as_str())?;
        round.against_listing(&volume.name, &volume.labels, route)
    }

    /// With the link in its place: is there any reason not to go on?
    pub(super) fn against_going_on(&self, moved: &Move<'_>, round: &Round) -> Result<(), Reason> {
        let manifest = &moved.manifest;
        round.against_use(&manifest.name, Some(manifest), manifest.entry.as_str())?;
        if !moved.is_recovery() {
            round.against_listing(&manifest.name, &manifest.labels, moved.route())?;
            if let Some(why) = self.lying_beside(manifest)? {
                return Err(Reason::Objection(why));
            }
            if let Some(pinned) = &moved.data
                && Some(directory::looks(pinned.descriptor.as_fd()).map_err(system)?) != pinned.looks
            {
                // As by a removal that had begun before the exchange (I1).
                return Err(Reason::Objection("something changed its data while it was moved".to_owned()));
            }
        }
        Ok(())
    }
}

impl Round {
    fn against_listing(
        &self,
        name: &VolumeName,
        labels: &BTreeMap<String, String>,
        route: Route,
    ) -> Result<(), Reason> {
        let object = |why: &str| Err(Reason::Objection(why.to_owned()));
        let told = match (route, self.listed.get(name)) {
            (Route::Unlisted, None) => return Ok(()),
            (Route::Unlisted, Some(_)) => return object("the engine lists it by now"),
            (Route::Listed, None) => return object("the engine does not know it any more"),
            (Route::Listed, Some(told)) => told,
        };
        if !is_plain(told) {
            return object("the engine shows another driver, scope or options by now");
        }
        // I11: labels never change, so these are another volume's, which may ask to be kept.
        if told.labels.as_ref().map_or(!labels.is_empty(), |told| told != labels) {
            return object("the engine shows other labels by now");
        }
        // A container that is being made holds the volume in the engine's memory before any list shows it.
        if !self.dangling.contains(name) {
            return object("the engine counts a use of it that no container shows yet");
        }
        Ok(())
    }

    fn against_use(
        &self,
        name: &VolumeName,
        entry: Option<&Manifest>,
        directory: &str,
    ) -> Result<(), Reason> {
        if let Some(reference) = self.held.volumes.get(name).and_then(|held| held.first()) {
            return Err(Reason::Objection(held_by(reference)));
        }
        // A container that was started meanwhile shows its mount at the quarantine's path.
        let holders = entry.and_then(|manifest| self.held.entries.get(&manifest.entry));
        // Our own link leads from its name to the entry.
        let is_link = |holder: &&Holder| holder.kind == HolderKind::Volume && holder.id == name.as_str();
        if let Some(holder) = holders.into_iter().flatten().find(|holder| !is_link(holder)) {
            return Err(Reason::Objection(format!("held by {holder} ({})", holder.detail)));
        }
        if let Some(place) = self.held.mounted.get(name) {
            return Err(Reason::Objection(format!("{}: at {place}", Unmovable::Mounted.sentence())));
        }
        match self.inside.get(directory) {
            Some(process) => Err(Reason::Objection(process_inside(process))),
            None => Ok(()),
        }
    }
}
