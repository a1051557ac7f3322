//! What the engine told between two sweeps goes into the ledger: clocks are set back, last holders kept precise, and a name that
//! is used again is warned of. Nothing here moves data, and nothing makes anything due sooner (I8).

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::mover::StepError;
use crate::gc::entry::{Entry, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::ledger::LedgerState;
use crate::gc::news::News;
use crate::gc::reference::LastHolder;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::host::engine::follow::Inbox;
use crate::host::engine::{Engine, EngineError};
use crate::host::ledger::{HistoryFilter, Ledger, LedgerError};
use crate::host::quarantine::QuarantineDir;
use crate::host::volumes_dir::VolumesDir;
use crate::witness::engine::holder;

/// How many containers are asked for by their IDs. The volumes of more than these stay unknown until the next sweep, unless
/// they are started.
const MOST_ASKED: usize = 200;

/// How often the ledger is read again when another process changed it in between.
const TRIES: u32 = 5;

/// A restore makes the volume itself: what was restored this long before is no accident.
const OWN_RESTORE: TimeDelta = TimeDelta::minutes(1);

/// Asks for the volumes of containers that were made and never started: no event names them.
pub async fn complete(engine: &Engine, inbox: &Inbox, news: &mut News) -> Result<(), EngineError> {
    let asked: Vec<&str> = news.unknown.keys().map(String::as_str).take(MOST_ASKED).collect();
    if asked.is_empty() {
        return Ok(());
    }
    for container in engine.containers_of(&asked).await? {
        let Some(made_at) = news.unknown.remove(&container.id) else { continue };
        let who = holder(&container, "made since the last sweep");
        for volume in volumes_of(&container) {
            inbox.teach(|tracker| tracker.has(&who, volume.clone()));
            news.used(volume, LastHolder { holder: who.clone(), seen_at: made_at });
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "an event without a volume's name is one hint less; every step looks again"
)]
fn volumes_of(container: &crate::host::engine::wire::Container) -> BTreeSet<VolumeName> {
    let names = container.mounts.iter().filter_map(|mount| mount.name.clone());
    names.filter_map(|name| VolumeName::new(name).ok()).collect()
}

/// Puts the news into the ledger. `root` is the docker root of the last look; without one nothing is known of the quarantine.
pub fn heed(news: &News, ledger: &mut Ledger, root: Option<&str>) -> Result<(), StepError> {
    let entries = if news.made.is_empty() { Vec::new() } else { read_entries(root)? };
    let manifests: Vec<&Manifest> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(manifest) => Some(&**manifest),
            Entry::Deleting(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    for _ in 1..TRIES {
        match write_down(news, ledger, &manifests) {
            Err(StepError::Ledger(LedgerError::ChangedMeanwhile { .. })) => {}
            result => return result,
        }
    }
    write_down(news, ledger, &manifests)
}

fn write_down(news: &News, ledger: &mut Ledger, entries: &[&Manifest]) -> Result<(), StepError> {
    let remembered: LedgerState = ledger.read()?;
    let now = clock::read()?.wall;
    let mut records = remembered.heed(&news.uses, now);
    let mut lines = Vec::new();
    for (manifest, record) in remembered.names_used_again(&news.made, entries) {
        records.insert(manifest.name.clone(), record);
        if !is_our_restore(ledger, manifest, now)? {
            lines.push(used_again(manifest, now));
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    ledger.amend(&records, &lines)?;
    for line in &lines {
        tracing::warn!(
            event = line.happening.word(),
            volume = line.volume.as_ref().map_or("", VolumeName::as_str),
            entry = line.entry.as_ref().map_or("", |entry| entry.as_str()),
            "{}",
            line.detail
        );
    }
    tracing::debug!(volumes = records.len(), "heeded what the engine told");
    Ok(())
}

fn used_again(manifest: &Manifest, now: DateTime<Utc>) -> HistoryLine {
    HistoryLine {
        at: now,
        happening: Happening::NameUsedAgain,
        volume: Some(manifest.name.clone()),
        entry: Some(manifest.entry.clone()),
        detail: format!(
            "volume {} was made again and is empty, while its old data is in quarantine; `volgc restore {} --replace` swaps the old \
             data back",
            manifest.name, manifest.entry
        ),
        last_holder: manifest.last_holder.clone(),
        size_bytes: manifest.size_bytes,
    }
}

/// Whether an operator brought a volume of this name back just now.
fn is_our_restore(ledger: &Ledger, manifest: &Manifest, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let filter = HistoryFilter { since: Some(now - OWN_RESTORE), volume: Some(manifest.name.clone()) };
    let lines = ledger.history(&filter)?;
    Ok(lines.iter().any(|line| line.happening == Happening::Restored))
}

fn read_entries(root: Option<&str>) -> Result<Vec<Entry>, StepError> {
    let Some(root) = root else { return Ok(Vec::new()) };
    // Opened for this alone: an open directory would keep an idle docker root from being unmounted.
    let directory = VolumesDir::open(root).map_err(|error| StepError::Refused(error.to_string()))?;
    match QuarantineDir::open_existing(directory.root(), directory.root_path())? {
        Some(quarantine) => Ok(quarantine.entries()?),
        None => Ok(Vec::new()),
    }
}
