//! The last witness: the data itself. Before a volume is quarantined and before an entry is deleted, its tree is looked through for
//! uses that no list knows of (I1, I3). Mostly that is done before the lock is taken: other commands must not wait for it.
//!
//! A volume that something changed after its clock had started has its clock started anew. An entry that something used since it
//! was set aside is marked in its manifest, and kept until an operator decides.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustix::io::Errno;

use super::look::Look;
use super::mover::StepError;
use super::steps::Pass;
use super::{Done, SweepError, Sweeper};
use crate::gc::entry::{Entry, EntryId, EntryState, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::ledger::{Clock, VolumeRecord};
use crate::gc::plan::Order;
use crate::gc::touched::{Finding, Reads, Since, Touched};
use crate::gc::verdict::Step;
use crate::gc::volume::VolumeName;
use crate::host::quarantine::{QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;
use crate::host::{clock, pulse, touched};

/// When something was looked through, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Looked {
    /// Before the first inode was looked at.
    pub(super) at: DateTime<Utc>,
    /// What was found.
    pub(super) finding: Finding,
}

/// What was found in the data of all that is due.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) volumes: BTreeMap<VolumeName, Looked>,
    pub(super) entries: BTreeMap<EntryId, Looked>,
}

impl Sweeper<'_> {
    /// Looks through the data of all that the plan would move or delete.
    pub(super) async fn look_through(
        &self,
        look: &Look,
        root: &Arc<VolumesDir>,
        order: &Order,
    ) -> Result<Findings, SweepError> {
        let mut findings = Findings::default();
        for step in look.plan.steps() {
            match step {
                Step::Quarantine(name) => {
                    if let Some(looked) = self.look_through_volume(&name, look, root, order).await? {
                        findings.volumes.insert(name, looked);
                    }
                }
                Step::Delete(entry) => {
                    if let Some(looked) = self.look_through_entry(&entry, look, root, order).await? {
                        findings.entries.insert(entry, looked);
                    }
                }
                Step::Release(_) => {}
            }
        }
        Ok(findings)
    }

    /// None where nothing is moved, and where an operator's order skips the clock.
    async fn look_through_volume(
        &self,
        name: &VolumeName,
        look: &Look,
        root: &Arc<VolumesDir>,
        order: &Order,
    ) -> Result<Option<Looked>, SweepError> {
        let volume = look.observation.inventory.volume(name);
        let is_moved = volume.is_some_and(|volume| volume.unmovable.is_empty());
        let record = look.ledger.volumes.get(name);
        let clock = record.and_then(|record| record.unreferenced.as_ref());
        let (false, true, Some(clock)) = (order.is_by_hand(), is_moved, clock) else { return Ok(None) };
        // A reader that no witness sees reads on in quarantine, and is found before the deletion.
        let since = Since::new(clock.since, Reads::Pass);
        let (root, name) = (Arc::clone(root), name.clone());
        let open = move || match root.open_data(&name) {
            Ok(data) => Ok(Some(data)),
            Err(errno) => Err(format!("its data cannot be opened: {errno}")),
        };
        self.walk(open, since).await.map(Some)
    }

    /// None where there is no data, and where an operator ordered the deletion of what was used, too.
    async fn look_through_entry(
        &self,
        entry: &EntryId,
        look: &Look,
        root: &Arc<VolumesDir>,
        order: &Order,
    ) -> Result<Option<Looked>, SweepError> {
        let known = look.quarantine.entries.iter().find_map(|found| match found {
            Entry::Known(manifest) if manifest.entry == *entry => Some(manifest),
            // A deletion that was begun has changed the data itself; it was looked through before.
            Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
        });
        let is_despite_uses = matches!(order, Order::DeleteTouched(_));
        let Some(manifest) = known else { return Ok(None) };
        if is_despite_uses || manifest.state != EntryState::Quarantined {
            return Ok(None);
        }
        let since = Since::new(manifest.at_rest_since(), self.settings.policy.limits.reads);
        let root = Arc::clone(root);
        let manifest = manifest.clone();
        self.walk(move || open_entry(&root, &manifest), since).await.map(Some)
    }

    async fn walk(
        &self,
        open: impl FnOnce() -> Result<Option<OwnedFd>, String> + Send + 'static,
        since: Since,
    ) -> Result<Looked, SweepError> {
        let at = clock::read()?.wall;
        let stop = self.stop.clone();
        let walk = tokio::task::spawn_blocking(move || match open() {
            Ok(Some(data)) => touched::look_through(data.as_fd(), since, &|| {
                // Asked for with each directory: a walk that goes on is no hang, however long it takes.
                pulse::beat();
                stop.is_cancelled()
            }),
            // Without data nothing can be lost.
            Ok(None) => Finding::AtRest,
            Err(why) => Finding::Unknown(why),
        });
        let finding = walk.await.map_err(std::io::Error::other)?;
        Ok(Looked { at, finding })
    }

    /// Since when the data of a volume that is to be moved is known to be at rest, or why it is left. What became due since the
    /// findings were made is looked through now.
    pub(super) async fn volume_at_rest(
        &mut self,
        name: &VolumeName,
        pass: &Pass<'_>,
    ) -> Result<Result<Option<DateTime<Utc>>, String>, SweepError> {
        let looked = match pass.walks.findings.volumes.get(name) {
            Some(looked) => Some(looked.clone()),
            None => self.look_through_volume(name, pass.look, pass.root, pass.order).await?,
        };
        let Some(looked) = looked else { return Ok(Ok(None)) };
        Ok(match objection(&looked, changed_meanwhile) {
            None => Ok(Some(looked.at)),
            Some(why) => {
                // Found late: the clock that was just written down is started anew.
                let late =
                    Findings { volumes: BTreeMap::from([(name.clone(), looked)]), entries: BTreeMap::new() };
                self.restart_clocks(&late)?;
                Err(why)
            }
        })
    }

    /// Whether the data of an entry that is to be deleted is at rest, or why it is kept.
    pub(super) async fn entry_at_rest(
        &mut self,
        entry: &EntryId,
        pass: &Pass<'_>,
    ) -> Result<Result<(), String>, SweepError> {
        let looked = match pass.walks.findings.entries.get(entry) {
            Some(looked) => Some(looked.clone()),
            None => self.look_through_entry(entry, pass.look, pass.root, pass.order).await?,
        };
        let Some(looked) = looked else { return Ok(Ok(())) };
        let Some(mut why) = objection(&looked, used_in_quarantine) else { return Ok(Ok(())) };
        if let Finding::Unknown(_) = &looked.finding {
            why.push_str(&format!("; `volgc delete --touched {entry}` deletes it all the same"));
        }
        if let Finding::Touched(used) = &looked.finding
            && let Err(error) = self.mark_one(entry, used, pass.quarantine)
        {
            tracing::warn!(entry = entry.as_str(), %error, "cannot mark it as used");
        }
        Ok(Err(why))
    }

    /// Starts the clocks of volumes anew that something changed since they had started.
    pub(super) fn restart_clocks(&mut self, findings: &Findings) -> Result<Vec<Done>, SweepError> {
        let remembered = self.ledger.read()?;
        let mut records: BTreeMap<VolumeName, VolumeRecord> = BTreeMap::new();
        let mut done = Vec::new();
        for (name, looked) in &findings.volumes {
            let (Finding::Touched(used), Some(record)) = (&looked.finding, remembered.volumes.get(name))
            else {
                continue;
            };
            // The look that follows is its first sighting.
            let unreferenced = record.unreferenced.as_ref().map(|_| Clock::set_back(looked.at));
            records.insert(name.clone(), VolumeRecord { unreferenced, ..record.clone() });
            let why = changed_meanwhile(used);
            tracing::info!(volume = name.as_str(), "left: {why}");
            done.push(Done::Left(name.clone(), why));
        }
        if !records.is_empty() {
            self.ledger.amend_or_keep(&records, &[])?;
        }
        Ok(done)
    }

    /// Marks entries that something used, so that they are kept from now on whatever becomes of their times.
    pub(super) fn mark_touched(
        &mut self,
        findings: &Findings,
        quarantine: &QuarantineDir,
        order: &Order,
    ) -> Vec<Done> {
        let mut done = Vec::new();
        for (entry, looked) in &findings.entries {
            let Finding::Touched(used) = &looked.finding else { continue };
            match self.mark_one(entry, used, quarantine) {
                Ok(()) => {}
                // It is kept by this sweep in any case, and the next one finds it again.
                Err(error) => tracing::warn!(entry = entry.as_str(), %error, "cannot mark it as used"),
            }
            // An order by name is answered by the plan, which has the mark.
            if !order.is_by_hand() {
                done.push(Done::Kept(entry.clone(), used_in_quarantine(used)));
            }
        }
        done
    }

    fn mark_one(
        &mut self,
        entry: &EntryId,
        used: &Touched,
        quarantine: &QuarantineDir,
    ) -> Result<(), StepError> {
        let manifest = quarantine.manifest(entry)?;
        if manifest.state != EntryState::Quarantined {
            return Ok(());
        }
        quarantine.write_manifest(&Manifest { touched: Some(used.clone()), ..manifest.clone() })?;
        let line = HistoryLine {
            at: clock::read()?.wall,
            happening: Happening::Touched,
            volume: Some(manifest.name.clone()),
            entry: Some(entry.clone()),
            detail: used_in_quarantine(used),
            last_holder: manifest.last_holder,
            size_bytes: manifest.size_bytes,
        };
        tracing::warn!(
            event = line.happening.word(),
            volume = manifest.name.as_str(),
            entry = entry.as_str(),
            "{}",
            line.detail
        );
        Ok(self.ledger.record_or_keep(&[line])?)
    }
}

/// Why what was found forbids a step; none when nothing does.
fn objection(looked: &Looked, say: impl FnOnce(&Touched) -> String) -> Option<String> {
    match &looked.finding {
        Finding::AtRest => None,
        Finding::Touched(used) => Some(say(used)),
        Finding::Unknown(why) => {
            Some(format!("not all of its data can be looked at, so something may use it: {why}"))
        }
        Finding::Stopped => Some("volgc was stopped while it looked through the data".to_owned()),
    }
}

/// Of a volume.
fn changed_meanwhile(used: &Touched) -> String {
    format!(
        "{}, after its clock had started, by something that volgc does not see; its clock starts anew",
        used.sentence()
    )
}

/// Of an entry.
fn used_in_quarantine(used: &Touched) -> String {
    format!(
        "{}, while it was in quarantine; it is kept until somebody restores or deletes it",
        used.sentence()
    )
}

/// The data of an entry; none when it is not there, or is not what the manifest names: then it is not deleted anyway. Both are asked as
/// the deletion asks them, or it would delete what was not looked through: without birth times our own rename changed the rest.
fn open_entry(root: &VolumesDir, manifest: &Manifest) -> Result<Option<OwnedFd>, String> {
    let shown = |error: QuarantineError| error.to_string();
    let quarantine = QuarantineDir::open_existing(root.root(), root.root_path()).map_err(shown)?;
    let Some(quarantine) = quarantine else { return Ok(None) };
    match quarantine.data_facts(&manifest.entry) {
        Ok(Some(facts)) if facts.is_directory && facts.identity.is_same_inode(&manifest.data_directory) => {}
        Ok(Some(_) | None) | Err(QuarantineError::Io { source: Errno::NOENT, .. }) => return Ok(None),
        Err(error) => return Err(shown(error)),
    }
    match quarantine.open_data(&manifest.entry) {
        Ok(data) => Ok(Some(data)),
        Err(QuarantineError::Io { source: Errno::NOENT, .. }) => Ok(None),
        Err(error) => Err(shown(error)),
    }
}
