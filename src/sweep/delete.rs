//! Deletion of an entry: renamed out of the quarantine under the lock, then deleted by our own walk without it. Never through the
//! engine, which holds a lock over all volumes while it deletes.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::mover::{Mover, StepError};
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::host::clock;
use crate::host::directory;
use crate::host::ledger::Ledger;
use crate::host::quarantine::{DeletionError, QuarantineDir};
use crate::host::unlink::{DeleteOptions, Deleted};

/// A deletion that was begun: nothing but the walk is left.
#[derive(Debug)]
pub struct BegunDeletion {
    /// Which entry.
    pub entry: EntryId,
    /// What its manifest said, when this run began it.
    pub manifest: Option<Box<Manifest>>,
}

impl Mover<'_> {
    /// Takes an entry out of the quarantine, after one more check (I3). From here on it cannot be restored.
    pub fn begin_deletion(&mut self, entry: &EntryId) -> Result<BegunDeletion, StepError> {
        let unfinished =
            self.quarantine.entries()?.into_iter().any(|found| found == Entry::Deleting(entry.clone()));
        if unfinished {
            return Ok(BegunDeletion { entry: entry.clone(), manifest: None });
        }
        let manifest = self.quarantine.manifest(entry)?;
        if manifest.state != EntryState::Quarantined {
            return Err(StepError::Refused(format!("entry {entry} is {}", manifest.state.word())));
        }
        self.quarantine.begin_deletion(entry)?;
        self.ledger.forget_entry(entry)?;
        Ok(BegunDeletion { entry: entry.clone(), manifest: Some(Box::new(manifest)) })
    }
}

/// Walks and deletes a begun deletion; needs no lock, because nothing but a deletion can happen to it.
pub async fn finish_deletion(
    begun: BegunDeletion,
    quarantine: &QuarantineDir,
    ledger: &mut Ledger,
    stop: &CancellationToken,
) -> Result<Deleted, StepError> {
    let root = directory::parent_of(quarantine.descriptor())?;
    let root_path = quarantine.path().parent().map_or_else(PathBuf::new, PathBuf::from);
    let (entry, token) = (begun.entry.clone(), stop.clone());
    let walk = tokio::task::spawn_blocking(move || {
        let quarantine = QuarantineDir::open_existing(root.as_fd(), &root_path)?;
        let Some(quarantine) = quarantine else { return Ok::<_, DeletionError>(Deleted::default()) };
        quarantine.finish_deletion(&entry, &DeleteOptions::default(), &|| token.is_cancelled())
    });
    let deleted = walk.await.map_err(|error| StepError::System(std::io::Error::other(error)))??;
    if !deleted.stopped {
        let manifest = begun.manifest.as_deref();
        let line = HistoryLine {
            at: clock::read()?.wall,
            happening: Happening::Deleted,
            volume: manifest.map(|manifest| manifest.name.clone()),
            entry: Some(begun.entry.clone()),
            detail: format!("{} files, {} bytes", deleted.files, deleted.bytes),
            last_holder: manifest.and_then(|manifest| manifest.last_holder.clone()),
            size_bytes: Some(deleted.bytes),
        };
        tracing::info!(
            event = "deleted",
            entry = begun.entry.as_str(),
            volume = manifest.map_or("", |manifest| manifest.name.as_str()),
            "{}",
            line.detail
        );
        ledger.record(&[line])?;
    }
    Ok(deleted)
}
