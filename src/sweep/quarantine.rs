//! Quarantine of one volume, in this order and no other:
//!
//! 1. look at its directory and ask the witnesses again,
//! 2. write the manifest, `moving` (I4),
//! 3. rename `_data` into the entry,
//! 4. ask the witnesses and for processes again, and whose the name is: what began to use the volume meanwhile is seen now,
//! 5. write `in_doubt`: from here on the engine may have been asked (I5),
//! 6. ask the engine once to forget the volume,
//! 7. write `quarantined`, or undo the rename when the engine refused.
//!
//! The last three are in `forget`; for a directory that the engine does not list, `unlisted` takes their place.
//!
//! A crash after any of them leaves a manifest from which `recover` goes on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::forget::WayBack;
use super::mover::{Mover, StepError, now};
use super::recover::Recovered;
use crate::gc::entry::{EntryId, EntryState, MANIFEST_VERSION, Manifest};
use crate::gc::history::Happening;
use crate::gc::policy::{Decision, Disposition};
use crate::gc::reference::{Holder, HolderKind, Reference};
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::directory;
use crate::host::engine::wire;
use crate::host::fault::{self, Point};
use crate::host::quarantine::QuarantineError;
use crate::host::volumes_dir::Observed;
use crate::witness::kernel;

/// What became of the order to quarantine a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quarantined {
    /// It is in quarantine.
    Done(EntryId),
    /// It was left or put back, with the reason.
    Left(String),
    /// Its data is in quarantine, and the engine has not answered.
    InDoubt(EntryId, String),
}

/// What is seen of a volume whose data is in its entry, before the engine is asked to forget it.
enum Away {
    /// The engine knows it, and nothing wants it.
    Forgettable,
    /// The engine does not know it any more.
    Forgotten,
    /// Something wants it, or the name is another volume's.
    Wanted(String),
}

impl Mover<'_> {
    /// Quarantines one volume. `at_rest_since` is when its data was looked through; none when an order skipped that.
    pub async fn quarantine_volume(
        &mut self,
        volume: &Volume,
        by_hand: bool,
        at_rest_since: Option<DateTime<Utc>>,
    ) -> Result<Quarantined, StepError> {
        let observed = match self.look_again(volume).await? {
            Ok(observed) => observed,
            Err(why) => return Ok(Quarantined::Left(why)),
        };
        let manifest = Manifest { at_rest_since, ..self.make_manifest(volume, &observed, by_hand)? };
        self.quarantine.make_entry(&manifest)?;
        if let Err(error) = self.quarantine.take_data(&self.volumes, &manifest) {
            // Whether or not the rename was done, recovery finds out from the manifest.
            self.undo(&manifest)?;
            return self.not_taken(volume, error);
        }
        match self.look_while_away(&manifest).await {
            Ok(Away::Forgettable) => {}
            Ok(Away::Forgotten) => return self.forgotten_meanwhile(&manifest).await,
            Ok(Away::Wanted(why)) => {
                self.undo(&manifest)?;
                self.record(Happening::RolledBack, &manifest, why.clone())?;
                return Ok(Quarantined::Left(why));
            }
            // I2: evidence that is incomplete is a reason, and a failure.
            Err(error) => {
                self.undo(&manifest)?;
                let why = format!("the evidence could not be asked for again: {error}");
                self.record(Happening::RolledBack, &manifest, why)?;
                return Err(error);
            }
        }
        match volume.class {
            Class::Unlisted => self.settle_unlisted(&manifest).await,
            Class::Anonymous | Class::Named => self.forget(manifest, WayBack::Open).await,
        }
    }

    /// Why the data was not renamed. What would fail each time is a reason to keep the volume, and no failure.
    fn not_taken(&mut self, volume: &Volume, error: QuarantineError) -> Result<Quarantined, StepError> {
        match error {
            QuarantineError::NotRenamed { why, .. } => {
                let sentence = why.sentence().to_owned();
                self.remember_not_renamed(volume, why)?;
                Ok(Quarantined::Left(sentence))
            }
            error @ (QuarantineError::Io { .. }
            | QuarantineError::NewerManifest { .. }
            | QuarantineError::DamagedManifest { .. }
            | QuarantineError::Exists { .. }
            | QuarantineError::NotEmpty { .. }
            | QuarantineError::Mounted { .. }
            | QuarantineError::Covers(_)
            | QuarantineError::Covered { .. }
            | QuarantineError::NotTheSame { .. }) => Err(error.into()),
        }
    }

    /// The last look before anything is written: the same volume, movable, known to the engine or not as before, held by nobody.
    async fn look_again(&self, volume: &Volume) -> Result<Result<Observed, String>, StepError> {
        let observed = self.volumes.observe(&volume.name);
        if let Some(why) = observed.unmovable.first() {
            return Ok(Err(why.sentence().to_owned()));
        }
        if !is_same(&observed, &volume.identity) {
            return Ok(Err("it is another volume of that name by now".to_owned()));
        }
        match self.volumes.has_project_quota(&volume.name) {
            Ok(false) => {}
            Ok(true) => return Ok(Err(Unmovable::ProjectQuota.sentence().to_owned())),
            Err(error) => return Ok(Err(format!("its quota cannot be asked for: {error}"))),
        }
        let objection = match volume.class {
            Class::Unlisted => self.reason_against_unlisted(&volume.name).await?,
            Class::Anonymous | Class::Named => self.reason_against_listed(volume).await?,
        };
        if let Some(why) = objection {
            return Ok(Err(why));
        }
        Ok(match self.who_needs(&volume.name).await? {
            Some(why) => Err(why),
            None => Ok(observed),
        })
    }

    /// Why the engine's view forbids to move a volume that it listed.
    async fn reason_against_listed(&self, volume: &Volume) -> Result<Option<String>, StepError> {
        match self.engine.reading().volume(&volume.name).await? {
            None => return Ok(Some("the engine does not know it any more".to_owned())),
            Some(told) if !is_plain(&told) => {
                return Ok(Some("the engine shows another driver, scope or options by now".to_owned()));
            }
            // I11: labels never change, so these are another volume's, which may ask to be kept.
            Some(told) if !has_labels(&told, &volume.labels) => {
                return Ok(Some("the engine shows other labels by now".to_owned()));
            }
            Some(_) => {}
        }
        self.reason_counted(&volume.name).await
    }

    /// What the engine itself counts as a use, whatever the lists show.
    pub(super) async fn reason_counted(&self, name: &VolumeName) -> Result<Option<String>, StepError> {
        // A container that is being made holds the volume in the engine's memory before any list shows it. The DELETE would be
        // refused, but the data would have been away for a moment, which is enough to make that container's start fail for good.
        let is_counted = !self.engine.reading().is_dangling(name).await?;
        Ok(is_counted.then(|| "the engine counts a use of it that no container shows yet".to_owned()))
    }

    /// I1: what began to use it since the plan was made.
    pub(super) async fn who_needs(&self, name: &VolumeName) -> Result<Option<String>, StepError> {
        let held = self.held().await?;
        if let Some(reference) = held.volumes.get(name).and_then(|held| held.first()) {
            return Ok(Some(held_by(reference)));
        }
        if let Some(place) = held.mounted.get(name) {
            return Ok(Some(format!("{}: at {place}", Unmovable::Mounted.sentence())));
        }
        let process = kernel::processes_in(self.volumes.volumes(), name.as_str()).await?;
        Ok(process.as_ref().map(process_inside))
    }

    pub(super) fn make_manifest(
        &self,
        volume: &Volume,
        observed: &Observed,
        by_hand: bool,
    ) -> Result<Manifest, StepError> {
        let now = now()?;
        let (Some(volume_directory), Some(data)) = (&observed.directory, &observed.data) else {
            return Err(StepError::Refused(format!("volume {} has no data directory", volume.name)));
        };
        let (rule, delete_after) = match self.settings.policy.decide(volume) {
            Decision::By { rule, disposition: Disposition::Collect { delete_after, .. } } => {
                (rule, Some(delete_after))
            }
            Decision::By { rule, disposition: Disposition::Keep } => (rule, None),
            Decision::KeepLabel | Decision::MalformedLabel(_) => (None, None),
        };
        let record = self.remembered.volumes.get(&volume.name);
        Ok(Manifest {
            manifest_version: MANIFEST_VERSION,
            entry: new_entry_id(now),
            state: EntryState::Moving,
            name: volume.name.clone(),
            class: volume.class,
            driver: volume.driver.clone(),
            labels: volume.labels.clone(),
            ownership: data.ownership,
            volume_directory: volume_directory.identity,
            data_directory: data.identity,
            engine_id: self.engine_id.clone(),
            docker_root: self.volumes.root_path().display().to_string(),
            quarantined_at: now,
            unreferenced_since: record
                .and_then(|record| record.unreferenced.as_ref())
                .map(|clock| clock.since),
            rule,
            by_hand,
            delete_after_seconds: delete_after.map(|after| after.as_secs()),
            last_holder: record.and_then(|record| record.last_holder.clone()),
            size_bytes: None,
            name_unsafe_until: None,
            ordered_at: None,
            at_rest_since: None,
            touched: None,
        })
    }

    /// With the data in the entry: is there any reason not to go on?
    async fn look_while_away(&self, manifest: &Manifest) -> Result<Away, StepError> {
        fault::at(Point::TakeAskAgain)
            .map_err(|source| StepError::Fault { action: "asking for the evidence again", source })?;
        let held = self.held().await?;
        if let Some(reference) = held.volumes.get(&manifest.name).and_then(|held| held.first()) {
            return Ok(Away::Wanted(held_by(reference)));
        }
        // A container that was started meanwhile shows its mount at the quarantine's path.
        if let Some(holder) = held.entries.get(&manifest.entry).and_then(|holders| holders.first()) {
            let why = format!("held by {holder} ({})", holder.detail);
            return Ok(Away::Wanted(why));
        }
        // I1: a process that entered between the look and the move has its file or directory in the entry now.
        if let Some(process) =
            kernel::processes_in(self.quarantine.descriptor(), manifest.entry.as_str()).await?
        {
            return Ok(Away::Wanted(process_inside(&process)));
        }
        // Of what the engine does not list, it is asked where its quarantine ends.
        if manifest.class == Class::Unlisted {
            return Ok(Away::Forgettable);
        }
        // I11: a DELETE names no volume but the one that has the name when it arrives.
        let Some(told) = self.engine.reading().volume(&manifest.name).await? else {
            return Ok(Away::Forgotten);
        };
        if !self.is_still_its_husk(manifest, &told)? {
            return Ok(Away::Wanted("the name is another volume's by now".to_owned()));
        }
        Ok(self.lying_beside(manifest)?.map_or(Away::Forgettable, Away::Wanted))
    }

    /// The engine has forgotten the volume unasked. A DELETE could only hit what is made under its name from now on.
    async fn forgotten_meanwhile(&mut self, manifest: &Manifest) -> Result<Quarantined, StepError> {
        Ok(match self.engine_lost_it(manifest).await? {
            Recovered::Committed | Recovered::Removed | Recovered::StillInPlace => {
                Quarantined::Done(manifest.entry.clone())
            }
            Recovered::Restored | Recovered::Undone => Quarantined::Left(
                "the engine had dropped it while it was moved, and something wants it".to_owned(),
            ),
            Recovered::Unresolved(why) => Quarantined::InDoubt(manifest.entry.clone(), why),
        })
    }

    /// Puts the data back and takes the entry away. When something has taken its place meanwhile, the data stays in quarantine
    /// (I7) under a name that is in use.
    pub(super) fn undo(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        if self.quarantine.data_facts(&manifest.entry)?.is_some() {
            match self.quarantine.put_back(&self.volumes, manifest) {
                Ok(()) => {}
                Err(QuarantineError::Exists { .. } | QuarantineError::NotTheSame { .. }) => {
                    self.set_state(manifest, EntryState::Quarantined)?;
                    return Err(StepError::Refused(format!(
                        "volume {} got other data while its own was moved; its own is kept in {}. \
                         `volgc restore {} --replace` puts it back, and the other data into quarantine",
                        manifest.name,
                        self.shown(&manifest.entry),
                        manifest.entry
                    )));
                }
                Err(error) => return Err(error.into()),
            }
            return Ok(self.quarantine.drop_entry(&manifest.entry)?);
        }
        self.drop_put_back(manifest)
    }

    /// Takes away the entry of data that is in its volume. Whoever renamed it there may have been killed before it had synced
    /// that, and a power cut would bring the data back to an entry without a manifest (I4).
    pub(super) fn drop_put_back(&mut self, manifest: &Manifest) -> Result<(), StepError> {
        self.quarantine.sync_put_back(&self.volumes, manifest)?;
        Ok(self.quarantine.drop_entry(&manifest.entry)?)
    }
}

/// Local, and without options: all else is never moved.
pub(super) fn is_plain(told: &wire::Volume) -> bool {
    told.driver == "local"
        && told.scope == "local"
        && told.options.as_ref().is_none_or(BTreeMap::is_empty)
        && told.cluster_volume.is_none()
}

fn has_labels(told: &wire::Volume, labels: &BTreeMap<String, String>) -> bool {
    told.labels.as_ref().map_or(labels.is_empty(), |told| told == labels)
}

/// Whether it is still that very volume (I11).
pub(super) fn is_same(observed: &Observed, identity: &VolumeIdentity) -> bool {
    observed
        .directory
        .as_ref()
        .is_some_and(|facts| identity.is_same(&VolumeIdentity::Directory(facts.identity)))
}

pub(super) fn process_inside(process: &Holder) -> String {
    format!("process {} {} is in it: {}", process.id, process.name, process.detail)
}

pub(super) fn held_by(reference: &Reference) -> String {
    let way_out = if reference.holder.kind == HolderKind::Hold {
        format!("; `volgc release {}` ends that", reference.volume)
    } else {
        String::new()
    };
    format!("held by {} ({}){way_out}", reference.holder, reference.holder.detail)
}

fn new_entry_id(now: DateTime<Utc>) -> EntryId {
    EntryId::generate(now, directory::random())
}
