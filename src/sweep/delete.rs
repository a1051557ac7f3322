//! Deletion of an entry: taken out of the quarantine under the lock, then deleted by our own walk without it. Never through the
//! engine, which holds a lock over all volumes while it deletes.
//!
//! The manifest goes last, once the history says what became of the entry: so neither a crash nor a ledger that cannot be written
//! leaves a deletion that nobody ever hears of (I12, I15).

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::mover::{Mover, StepError, now};
use super::obstacles::Surveys;
use super::quarantine::held_by;
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::HoldTarget;
use crate::gc::spoken::spoken;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::host::directory;
use crate::host::ledger::{Ledger, Written};
use crate::host::pulse;
use crate::host::quarantine::{DeletionError, QuarantineDir};
use crate::host::unlink::{DeleteOptions, Deleted};
use crate::witness::kernel;

/// A deletion that was begun: nothing but the walk is left.
#[derive(Debug)]
pub struct BegunDeletion {
    /// Which entry.
    pub entry: EntryId,
    /// By whom.
    pub by: BegunBy,
}

/// Which run began a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BegunBy {
    /// This one, which tells of its end.
    This,
    /// One before it. What that one emptied it has told, and only its end is written down.
    Earlier,
}

/// What became of a deletion that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The data is gone for good.
    Deleted {
        /// How many bytes that freed.
        bytes: u64,
        /// Whether the history says so already.
        written: Written,
    },
    /// The data was gone before, and only now the history says so; or another process has ended the entry.
    Closed,
    /// The data was gone before, and the history still does not say so.
    Waiting,
    /// The program shall end; a later sweep goes on.
    Stopped,
}

/// What became of the order to delete an entry.
#[derive(Debug)]
pub enum Begun {
    /// It is out of the quarantine.
    Deletion(BegunDeletion),
    /// It stays, with the reason.
    Kept(String),
    /// It was in place, and the engine removed its volume: nothing is left to do.
    Removed,
    /// It is in place, and the engine has not said whether it removed its volume.
    InDoubt(VolumeName, String),
}

impl Mover<'_> {
    /// Takes an entry out of the quarantine, after one more look (I3). From here on it cannot be restored.
    pub(super) async fn begin_deletion(
        &mut self,
        entry: &EntryId,
        by_hand: bool,
        surveys: &Surveys,
    ) -> Result<Begun, StepError> {
        let unfinished =
            self.quarantine.entries()?.into_iter().any(|found| found == Entry::Deleting(entry.clone()));
        if unfinished {
            // I1: whatever was approved before, what somebody uses by now is left.
            if let Some(holder) = self.held().await?.entries.get(entry).and_then(|holders| holders.first()) {
                return Ok(Begun::Kept(format!("held by {holder} ({})", holder.detail)));
            }
            return Ok(match self.obstacle_to(entry, surveys).await? {
                Some(why) => Begun::Kept(why),
                None => Begun::Deletion(BegunDeletion { entry: entry.clone(), by: BegunBy::Earlier }),
            });
        }
        let manifest = self.quarantine.manifest(entry)?;
        if manifest.state == EntryState::InPlace {
            return self.end_in_place(&manifest).await;
        }
        if manifest.state != EntryState::Quarantined {
            return Err(StepError::Refused(format!("entry {entry} is {}", spoken(manifest.state.word()))));
        }
        if let Some(why) = self.obstacle_to(entry, surveys).await? {
            return Ok(Begun::Kept(why));
        }
        if let Some(why) = self.reason_to_keep(&manifest, by_hand).await? {
            return Ok(Begun::Kept(why));
        }
        // I1: one that was given while the witnesses were asked.
        self.holds = self.ledger.holds()?;
        if let Some(why) = self.hold_on(entry)? {
            return Ok(Begun::Kept(why));
        }
        self.quarantine.begin_deletion(entry)?;
        Ok(Begun::Deletion(BegunDeletion { entry: entry.clone(), by: BegunBy::This }))
    }

    /// An operator's hold on an entry, in words.
    pub(super) fn hold_on(&self, entry: &EntryId) -> Result<Option<String>, StepError> {
        let (now, target) = (now()?, HoldTarget::Entry { entry: entry.clone() });
        let hold = self.holds.iter().find(|hold| hold.target == target && hold.is_active(now));
        Ok(hold.map(|hold| hold.keeps(entry)))
    }

    /// What began to need the entry since the plan was made: the moves before it may have taken long.
    async fn reason_to_keep(&self, manifest: &Manifest, by_hand: bool) -> Result<Option<String>, StepError> {
        // Without data nothing can be lost; other data was never promised to be deleted (I3).
        if let Some(facts) = self.quarantine.data_facts(&manifest.entry)?
            && !(facts.is_directory && facts.identity.is_same_inode(&manifest.data_directory))
        {
            let data = self.quarantine.path_of(&manifest.entry).join("data");
            let why =
                "is not the directory that the manifest names; something exchanged it. Move it away by hand";
            return Ok(Some(format!("{} {why}", data.display())));
        }
        if let Some(why) = self.hold_on(&manifest.entry)? {
            return Ok(Some(why));
        }
        let held = self.held().await?;
        if let Some(holder) = held.entries.get(&manifest.entry).and_then(|holders| holders.first()) {
            return Ok(Some(format!("held by {holder} ({})", holder.detail)));
        }
        if let Some(process) =
            kernel::processes_in(self.quarantine.descriptor(), manifest.entry.as_str()).await?
        {
            return Ok(Some(format!("process {} {} is in it: {}", process.id, process.name, process.detail)));
        }
        if self.engine.reading().volume(&manifest.name).await?.is_some() {
            // What names it, names the volume that has the name now.
            let why = format!("the name {} runs on another volume by now", manifest.name);
            return Ok((!by_hand).then_some(why));
        }
        Ok(held.volumes.get(&manifest.name).and_then(|held| held.first()).map(held_by))
    }
}

/// Walks and deletes a begun deletion; needs no lock, because nothing but a deletion can happen to it.
pub async fn finish_deletion(
    begun: BegunDeletion,
    quarantine: &QuarantineDir,
    ledger: &mut Ledger,
    stop: &CancellationToken,
) -> Result<Finished, StepError> {
    let root = directory::parent_of(quarantine.descriptor())?;
    let root_path = quarantine.path().parent().map_or_else(PathBuf::new, PathBuf::from);
    let emptied_at = match begun.by {
        // Somebody took its data out by hand.
        BegunBy::This => None,
        BegunBy::Earlier => quarantine.emptied_at(&begun.entry)?,
    };
    let (entry, token) = (begun.entry.clone(), stop.clone());
    let walk = tokio::task::spawn_blocking(move || {
        let quarantine = QuarantineDir::open_existing(root.as_fd(), &root_path)?;
        let Some(quarantine) = quarantine else { return Ok::<_, DeletionError>(None) };
        quarantine.delete_data(&entry, &DeleteOptions::default(), &|| {
            // Asked for with each directory and each part of a large one: a walk that goes on is no hang, however long it takes.
            pulse::beat();
            token.is_cancelled()
        })
    });
    let deleted = walk.await.map_err(|error| StepError::System(std::io::Error::other(error)))??;
    match (deleted, emptied_at) {
        (None, _) => Ok(Finished::Closed),
        (Some(Deleted { stopped: true, .. }), _) => Ok(Finished::Stopped),
        (Some(deleted), None) => {
            let now = clock::read()?.wall;
            let told = format!(
                "{} {}, {} bytes",
                deleted.files,
                if deleted.files == 1 { "file" } else { "files" },
                deleted.bytes
            );
            let written =
                close(&begun.entry, quarantine, ledger, End { at: now, told, bytes: Some(deleted.bytes) })?;
            Ok(Finished::Deleted { bytes: deleted.bytes, written })
        }
        // A run before this one deleted it, and was killed or could not write it down.
        (Some(_), Some(at)) => {
            let told = "written down later than it was done".to_owned();
            Ok(match close(&begun.entry, quarantine, ledger, End { at, told, bytes: None })? {
                Written::Now => Finished::Closed,
                Written::Later => Finished::Waiting,
            })
        }
    }
}

/// How an entry ended.
struct End {
    at: DateTime<Utc>,
    told: String,
    /// What that freed; the size in the manifest where it is not known.
    bytes: Option<u64>,
}

/// The end of an entry without data: the history first, then what proves it. When the history cannot be written, the manifest stays,
/// and a later sweep does both.
fn close(
    entry: &EntryId,
    quarantine: &QuarantineDir,
    ledger: &mut Ledger,
    end: End,
) -> Result<Written, StepError> {
    let manifest = quarantine.deleting_manifest(entry)?;
    let manifest = manifest.as_ref();
    let line = HistoryLine {
        at: end.at,
        happening: Happening::Deleted,
        volume: manifest.map(|manifest| manifest.name.clone()),
        entry: Some(entry.clone()),
        detail: end.told,
        last_holder: manifest.and_then(|manifest| manifest.last_holder.clone()),
        size_bytes: end.bytes.or_else(|| manifest.and_then(|manifest| manifest.size_bytes)),
    };
    let written = ledger.end_entry(entry, &line)?;
    tracing::info!(
        event = "deleted",
        entry = entry.as_str(),
        volume = manifest.map_or("", |manifest| manifest.name.as_str()),
        "{}",
        line.detail
    );
    if written == Written::Now {
        if let Some(manifest) = manifest {
            remember_name(quarantine, manifest)?;
        }
        quarantine.drop_deleted(entry)?;
    }
    Ok(written)
}

/// Before an entry ends: what it says of its name must not end with it (I5).
pub(super) fn remember_name(quarantine: &QuarantineDir, manifest: &Manifest) -> Result<(), StepError> {
    let now = clock::read()?;
    if manifest.late_order_until(&now).is_some() {
        quarantine.remember_unsafe_name(&manifest.name, now.monotonic)?;
    }
    Ok(())
}
