//! Quarantine of volumes: what [`crate::gc::protocol`] says, from the plan's volumes to what became of each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::mover::{Mover, StepError, now};
use super::moves::{Move, Reason, damage};
use crate::gc::entry::{EntryId, EntryState, MANIFEST_VERSION, Manifest};
use crate::gc::history::Happening;
use crate::gc::policy::{Decision, Disposition};
use crate::gc::protocol::Outcome;
use crate::gc::reference::{Holder, HolderKind, Reference};
use crate::gc::volume::{Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::directory;
use crate::host::engine::wire;
use crate::host::volumes_dir::Observed;
use crate::witness::kernel;

/// What became of the order to quarantine a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quarantined {
    /// It is in quarantine.
    Done(EntryId),
    /// It was left or put back, with the reason.
    Left(String),
    /// Its data is where its name leads or in its entry, and the engine has not answered.
    InDoubt(EntryId, String),
}

/// A volume that the plan approved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned<'v> {
    pub(super) volume: &'v Volume,
    /// When its data was looked through; none when an order skipped that.
    pub(super) at_rest_since: Option<DateTime<Utc>>,
}

impl Mover<'_> {
    /// Quarantines one volume.
    pub async fn quarantine_volume(
        &mut self,
        volume: &Volume,
        by_hand: bool,
    ) -> Result<Quarantined, StepError> {
        let ended = self.quarantine_volumes(&[Planned { volume, at_rest_since: None }], by_hand).await;
        ended.into_iter().next().unwrap_or_else(|| Ok(Quarantined::Left("it was not begun".to_owned())))
    }

    /// Quarantines volumes together; says what became of each, in their order.
    pub(super) async fn quarantine_volumes(
        &mut self,
        planned: &[Planned<'_>],
        by_hand: bool,
    ) -> Vec<Result<Quarantined, StepError>> {
        let mut moves = Vec::with_capacity(planned.len());
        let mut begun = Vec::with_capacity(planned.len());
        for one in planned {
            begun.push(self.begin(one, by_hand).map(|begun| begun.map(|moved| moves.push(moved))));
        }
        self.carry(&mut moves).await;
        let mut moves = moves.into_iter();
        let mut ended = Vec::with_capacity(planned.len());
        for begun in begun {
            ended.push(match begun {
                Err(error) => Err(error),
                Ok(Err(why)) => Ok(Quarantined::Left(why)),
                Ok(Ok(())) => match moves.next() {
                    Some(ended_move) => self.ended(ended_move),
                    None => Ok(Quarantined::Left("it was not begun".to_owned())),
                },
            });
        }
        ended
    }

    fn begin<'v>(&self, planned: &Planned<'v>, by_hand: bool) -> Result<Result<Move<'v>, String>, StepError> {
        let volume = planned.volume;
        let observed = self.volumes.observe(&volume.name);
        if let Some(why) = observed.unmovable.first() {
            return Ok(Err(why.sentence().to_owned()));
        }
        if !is_same(&observed, &volume.identity) {
            return Ok(Err("it is another volume of that name by now".to_owned()));
        }
        let made = self.make_manifest(volume, &observed, by_hand)?;
        let manifest = Manifest { at_rest_since: planned.at_rest_since, ..made };
        Ok(Ok(Move::forward(volume, manifest)))
    }

    /// What a move came to, which is written down.
    fn ended(&mut self, moved: Move<'_>) -> Result<Quarantined, StepError> {
        let (manifest, volume, was_linked, outcome) = moved.into_end();
        match outcome {
            Outcome::Quarantined | Outcome::AtRest => Ok(Quarantined::Done(manifest.entry)),
            Outcome::Left(why) => left(why),
            Outcome::Undone(Reason::Never(why)) => {
                let sentence = why.sentence().to_owned();
                if let Some(volume) = volume {
                    self.remember_not_renamed(volume, why)?;
                }
                Ok(Quarantined::Left(sentence))
            }
            Outcome::Undone(why) => {
                if was_linked {
                    self.record(Happening::RolledBack, &manifest, why.to_string())?;
                }
                left(why)
            }
            Outcome::InDoubt(why) => {
                self.record(Happening::InDoubt, &manifest, format!("the engine did not answer: {why}"))?;
                Ok(Quarantined::InDoubt(manifest.entry, why.to_string()))
            }
            Outcome::Unfinished(Reason::Failure(error)) => Err(error),
            Outcome::Unfinished(why) => Err(StepError::Refused(format!(
                "the move of volume {} to {} is unfinished ({why}); the next sweep finishes or undoes it",
                manifest.name,
                self.shown(&manifest.entry)
            ))),
            Outcome::Damaged(names) => {
                Err(StepError::Refused(format!("{}: {}", self.shown(&manifest.entry), damage(names))))
            }
        }
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
            state: EntryState::Linking,
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
}

fn left(why: Reason) -> Result<Quarantined, StepError> {
    match why {
        Reason::Failure(error) => Err(error),
        why @ (Reason::Objection(_) | Reason::Never(_)) => Ok(Quarantined::Left(why.to_string())),
    }
}

/// Local, and without options: all else is never moved.
pub(super) fn is_plain(told: &wire::Volume) -> bool {
    told.driver == "local"
        && told.scope == "local"
        && told.options.as_ref().is_none_or(BTreeMap::is_empty)
        && told.cluster_volume.is_none()
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
