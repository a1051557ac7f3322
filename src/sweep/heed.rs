//! What the engine told between two sweeps goes into the ledger: clocks are set back, last holders kept precise, and a name that
//! is used again is warned of. Nothing here moves data, and nothing makes anything due sooner (I8).

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::lineage;
use super::mover::StepError;
use super::written::hold_line;
use crate::gc::entry::{Entry, Manifest};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::LedgerState;
use crate::gc::news::{News, Tracker};
use crate::gc::passing::Passing;
use crate::gc::reference::LastHolder;
use crate::gc::volume::{VolumeIdentity, VolumeName};
use crate::gc::watch::Watch;
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
pub async fn complete(
    engine: &Engine,
    inbox: &Inbox,
    news: &mut News,
    passing: &[Passing],
) -> Result<(), EngineError> {
    let asked: Vec<&str> = news.unknown.keys().map(String::as_str).take(MOST_ASKED).collect();
    if asked.is_empty() {
        return Ok(());
    }
    for container in engine.containers_of(&asked).await? {
        let Some(made_at) = news.unknown.remove(&container.id) else { continue };
        if container.only_passes(passing) {
            continue;
        }
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

/// Takes up what happened since the last sweep as far as the engine still knows it, and says who watched that time. What happened before
/// tells which containers have which volumes, and which of them only pass by.
pub async fn catch_up(engine: &Engine, ledger: &mut Ledger, passing: &[Passing]) -> Result<Watch, StepError> {
    let remembered = ledger.read()?;
    let Some(last) = &remembered.last_sweep else { return Ok(Watch::Sweeps) };
    let past = match engine.past().await {
        Ok(past) => past,
        Err(error) => {
            tracing::debug!(%error, "what happened since the last sweep is not known");
            return Ok(Watch::Sweeps);
        }
    };
    let mut tracker = Tracker::default();
    tracker.let_pass(passing.to_vec());
    let (new, old): (Vec<_>, Vec<_>) = past.events.into_iter().partition(|(_, at)| *at > last.wall);
    for (event, _) in old {
        tracker.take(event);
    }
    tracker.drain();
    for (event, _) in new {
        tracker.take(event);
    }
    let root = remembered.engine.as_ref().map(|engine| engine.root.as_str());
    match heed(&tracker.drain(), ledger, root) {
        Ok(()) => Ok(Watch::since(last, &clock::read()?, past.oldest)),
        Err(StepError::Ledger(error)) => Err(StepError::Ledger(error)),
        // What was used is not known to the ledger, so none of that time counts.
        Err(error) => {
            tracing::debug!(%error, "what happened since the last sweep cannot be taken up");
            Ok(Watch::Events(Vec::new()))
        }
    }
}

/// Takes up what the engine told a service, and says how far that followed it. What cannot be written down is kept by the ledger in hand
/// for this sweep, and by the inbox for the time after it.
pub async fn take_up(
    engine: &Engine,
    inbox: &Inbox,
    ledger: &mut Ledger,
    passing: &[Passing],
) -> Result<Watch, StepError> {
    let mut news = inbox.news();
    if news.is_empty() {
        return Ok(inbox.watch());
    }
    if let Err(error) = complete(engine, inbox, &mut news, passing).await {
        tracing::debug!(%error, "cannot ask for the volumes of new containers");
    }
    let root = ledger.read()?.engine.map(|engine| engine.root);
    let heeded = heed(&news, ledger, root.as_deref());
    if heeded.is_err() || ledger.blocked().is_some() {
        inbox.put_back(news);
    }
    match heeded {
        Ok(()) => Ok(inbox.watch()),
        Err(StepError::Ledger(error)) => Err(StepError::Ledger(error)),
        // As above: none of that time counts.
        Err(error) => {
            tracing::debug!(%error, "what the engine told cannot be taken up");
            Ok(Watch::Events(Vec::new()))
        }
    }
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
    if let (false, Some(root)) = (news.removed.is_empty(), root) {
        drop_holds(news, ledger, root)?;
    }
    for _ in 1..TRIES {
        match write_down(news, ledger, &manifests) {
            Err(StepError::Ledger(LedgerError::ChangedMeanwhile { .. })) => {}
            result => return result,
        }
    }
    write_down(news, ledger, &manifests)
}

/// A hold ends with its volume. What has the name and is the very directory that the hold was given to was not removed.
fn drop_holds(news: &News, ledger: &mut Ledger, root: &str) -> Result<(), StepError> {
    let volumes = VolumesDir::open(root).map_err(|error| StepError::Refused(error.to_string()))?;
    // I11: what was removed from another root, as one below a disk that is not mounted, is not what the hold is on.
    let (known, found) = (ledger.read()?.places, lineage::find(Some(&volumes))?.places);
    if known.zip(found).is_none_or(|(known, found)| !found.others_than(&known).is_empty()) {
        return Ok(());
    }
    let is_removed = |hold: &Hold| match &hold.target {
        HoldTarget::Volume { name, identity } => {
            let is_told = news.removed.get(name).is_some_and(|at| *at > hold.given_at);
            let is_there = || {
                let directory = volumes.observe(name).directory;
                directory.is_some_and(|facts| identity.is_same(&VolumeIdentity::Directory(facts.identity)))
            };
            is_told && !is_there()
        }
        HoldTarget::Entry { .. } => false,
    };
    let removed: Vec<Hold> = ledger.holds()?.into_iter().filter(is_removed).collect();
    if removed.is_empty() {
        return Ok(());
    }
    let now = clock::read()?.wall;
    let why = "the engine removed the volume";
    let line = |hold: &Hold| hold_line(hold, Happening::HoldReleased, why, now);
    let lines: Vec<HistoryLine> = removed.iter().map(line).collect();
    match ledger.drop_holds(|hold| removed.contains(hold)) {
        // I15: they hold on, and the next complete look finds out.
        Err(error) if error.stops_writing() => Ok(()),
        dropped => {
            dropped?;
            Ok(ledger.record_or_keep(&lines)?)
        }
    }
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
    ledger.amend_or_keep(&records, &lines)?;
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
            "volume {0} was made again, and has none of the data that is in quarantine: `volgc restore {1} --as {0}-old` brings that \
             back beside it, `volgc restore {1} --replace` in its place, and quarantines what is in it now",
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
