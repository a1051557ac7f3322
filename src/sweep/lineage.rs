//! Whether ledger and docker root belong together, as [`crate::gc::lineage`] says: what a look reads for that, what a sweep notes, and
//! what an operator's acknowledgement binds anew.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::mover::StepError;
use crate::config::Settings;
use crate::gc::entry::{Entry, EntryState, Manifest};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::ledger::{ClockReading, KnownEngine, LedgerState};
use crate::gc::lineage::{Note, Noted, Places, Standing};
use crate::gc::news::Event;
use crate::gc::volume::{VolumeIdentity, VolumeName};
use crate::host::engine::Engine;
use crate::host::engine::past::Past;
use crate::host::ledger::Ledger;
use crate::host::quarantine::{QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;
use crate::host::{clock, directory};
use crate::witness::EvidenceError;
use crate::witness::observe::{Context, Observation, observe};

/// What is found on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The directories; none where they are not on this machine.
    pub(super) places: Option<Places>,
    /// What is noted of the ledger that was used last.
    pub(super) noted: Noted,
}

/// Reads it.
pub(super) fn find(root: Option<&VolumesDir>) -> Result<Found, QuarantineError> {
    let Some(root) = root else { return Ok(Found::default()) };
    let quarantine = QuarantineDir::open_existing(root.root(), root.root_path())?;
    let places = Some(places(root, quarantine.as_ref())?);
    Ok(Found { places, noted: quarantine.map_or(Noted::Nothing, |quarantine| quarantine.noted()) })
}

fn places(root: &VolumesDir, quarantine: Option<&QuarantineDir>) -> Result<Places, QuarantineError> {
    let failed = |name: &str, source| QuarantineError::Io {
        action: "look at",
        path: root.root_path().join(name),
        source,
    };
    let volumes = directory::facts(root.volumes()).map_err(|error| failed("volumes", error))?;
    let containers = root.containers().map_err(|error| failed("containers", error))?;
    Ok(Places {
        volumes: volumes.identity,
        quarantine: quarantine.map(QuarantineDir::identity).transpose()?,
        containers: containers.map(|facts| facts.identity),
    })
}

/// Observes the host, with the holds that have not lapsed. The second are those that have: the engine was seen to remove what they
/// were on.
pub(super) async fn observe_held(
    engine: &Engine,
    before: &LedgerState,
    settings: &Settings,
    at: &ClockReading,
) -> Result<(Observation, Vec<Hold>), EvidenceError> {
    let context = |holds| Context {
        holds,
        acknowledged: &settings.acknowledged_containers,
        passing: &settings.policy.passing,
        now: at.wall,
    };
    let observation = observe(engine, context(&before.holds)).await?;
    let mut lapsed = before.holds_on_removed(&observation.inventory);
    let in_question: Vec<(VolumeName, Hold)> = before
        .holds_in_question(&observation.inventory)
        .map(|(name, hold)| (name.clone(), hold.clone()))
        .collect();
    if in_question.is_empty() {
        return Ok((observation, lapsed));
    }
    let removed = removed(engine).await;
    let is_removed =
        |(name, hold): &(VolumeName, Hold)| removed.get(name).is_some_and(|at| *at > hold.given_at);
    let gone: Vec<Hold> = in_question.into_iter().filter(is_removed).map(|(_, hold)| hold).collect();
    if gone.is_empty() {
        return Ok((observation, lapsed));
    }
    lapsed.extend(gone);
    let held = before.without(&lapsed).holds;
    Ok((observe(engine, context(&held)).await?, lapsed))
}

/// When the engine removed volumes last, as far as it still knows.
async fn removed(engine: &Engine) -> BTreeMap<VolumeName, DateTime<Utc>> {
    let past = engine.past().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "what the engine removed is not known, so every hold is on what has its name");
        Past::default()
    });
    let of = |(event, at): (Event, DateTime<Utc>)| match event {
        Event::Removed { volume, .. } => Some((volume, at)),
        Event::Container { .. } | Event::Mounted { .. } | Event::Made { .. } => None,
    };
    // Oldest first, so the last one of a name stays.
    past.events.into_iter().filter_map(of).collect()
}

/// Notes the ledger in the quarantine directory, with the directories that it is about. Where that fails, an older note stays, which
/// says less.
pub fn note(ledger: &mut Ledger, quarantine: &QuarantineDir, places: Option<Places>) {
    if ledger.blocked().is_some() {
        // Nothing can be written into it, which is told elsewhere.
        return;
    }
    let mut noted = || -> Result<(), StepError> {
        let on_disk = match quarantine.noted() {
            Noted::Known(note) => Some(note.mark),
            Noted::Nothing | Noted::Unreadable(_) => None,
        };
        let note = ledger.begin_note(on_disk.as_deref(), clock::read()?, places)?;
        Ok(quarantine.note(&note)?)
    };
    match noted() {
        Ok(()) => {}
        // I15: what is freed now needs no note, and that the ledger has no room is said by whoever writes more into it than a note.
        Err(error) if error.is_without_room() => {
            tracing::debug!(%error, "no room to note which ledger is in use");
        }
        Err(error) => tracing::warn!(%error, "cannot note which ledger is in use"),
    }
}

/// The same where there may be no quarantine yet: it is made for the first note of a ledger, as far as that can be done. One that is
/// gone later is not made for this: somebody may want to put it back. A ledger that is not the one that was noted is not noted in its
/// place, and what was noted of the directories stays: that is for a sweep to say.
pub fn note_below(ledger: &mut Ledger, root: &VolumesDir) {
    match place_for_a_note(ledger, root) {
        Ok(None) => {}
        Ok(Some((quarantine, places))) => note(ledger, &quarantine, Some(places)),
        Err(error) => tracing::debug!(%error, "no place to note which ledger is in use"),
    }
}

fn place_for_a_note(
    ledger: &Ledger,
    root: &VolumesDir,
) -> Result<Option<(QuarantineDir, Places)>, StepError> {
    let now = clock::read()?;
    let remembered = ledger.read()?;
    let is_first = remembered.lineage.as_ref().is_none_or(|lineage| lineage.marks.is_empty());
    let quarantine = if is_first {
        QuarantineDir::open_or_make(root.root(), root.root_path())?
    } else {
        let Some(quarantine) = QuarantineDir::open_existing(root.root(), root.root_path())? else {
            return Ok(None);
        };
        quarantine
    };
    let noted = quarantine.noted();
    match noted.standing(&remembered, &now) {
        Standing::Same => {}
        Standing::Older | Standing::Other | Standing::Unknown => return Ok(None),
    }
    let places = match noted.places() {
        Some(places) => *places,
        None => places(root, Some(&quarantine))?,
    };
    Ok(Some((quarantine, places)))
}

/// The same for who knows no more than the ledger does.
pub fn note_where_known(ledger: &mut Ledger) -> Result<(), StepError> {
    let Some(engine) = ledger.read()?.engine else { return Ok(()) };
    match VolumesDir::open(&engine.root) {
        Ok(root) => note_below(ledger, &root),
        Err(error) => tracing::debug!(%error, "no place to note which ledger is in use"),
    }
    Ok(())
}

/// What was bound to a docker root that was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bound {
    /// How many holds.
    pub holds: usize,
    /// How many entries.
    pub entries: usize,
    /// Entries that were not, and why.
    pub left: Vec<String>,
}

/// Binds the holds and the entries of an engine's docker root to its directories as they are now: by name, and an entry only where the
/// owner of its data is the one that its manifest names. Nothing when the directories are those that the ledger and the note in the
/// quarantine know.
pub async fn bind_anew(
    ledger: &mut Ledger,
    engine: &KnownEngine,
    whoami: &str,
) -> Result<Bound, super::SweepError> {
    let remembered = ledger.read()?;
    let root = match VolumesDir::open(&engine.root) {
        Ok(root) => root,
        // It is not on this machine, and never was.
        Err(_) if remembered.places.is_none() => return Ok(Bound::default()),
        Err(error) => {
            let why = format!("{error}; acknowledge again when it is there");
            return Err(StepError::Refused(why).into());
        }
    };
    let quarantine = QuarantineDir::open_existing(root.root(), root.root_path())?;
    let noted = quarantine.as_ref().map_or(Noted::Nothing, QuarantineDir::noted);
    let now = places(&root, quarantine.as_ref())?;
    let known =
        remembered.places.filter(|_| remembered.engine.as_ref().is_some_and(|known| known.id == engine.id));
    let is_copied = known.is_some_and(|known| !now.others_than(&known).is_empty());
    if !is_copied && !noted.is_of_others(&now) {
        return Ok(Bound::default());
    }
    let mut bound = Bound::default();
    if let Some(quarantine) = &quarantine {
        bind_entries(quarantine, &root, now, whoami, &mut bound).await?;
    }
    // Holds are on the volumes of the ledger's own engine, which may be another one.
    let is_ours = |noted: &Note| remembered.lineage.as_ref().is_some_and(|ours| ours.ledger == noted.ledger);
    if is_copied || matches!(&noted, Noted::Known(noted) if is_ours(noted)) {
        bound.holds = ledger.bind_holds(|target| match target {
            HoldTarget::Volume { name, .. } => {
                root.observe(name).directory.map(|facts| VolumeIdentity::Directory(facts.identity))
            }
            HoldTarget::Entry { .. } => None,
        })?;
    }
    Ok(bound)
}

async fn bind_entries(
    quarantine: &QuarantineDir,
    root: &VolumesDir,
    now: Places,
    whoami: &str,
    bound: &mut Bound,
) -> Result<(), super::SweepError> {
    let at = clock::read()?.wall;
    let waiting = |holder: &str| tracing::warn!("waiting for {holder}, which changes the quarantine");
    let _lock = quarantine.lock(whoami, super::LOCK_PATIENCE, waiting).await?;
    for entry in quarantine.entries()? {
        if let Entry::Known(manifest) = entry {
            bind_entry(&manifest, quarantine, root, at, bound)?;
        }
    }
    // Last, so that who is interrupted does it again, and who has to mend something first. Which ledger is in use is for a sweep to note.
    if bound.left.is_empty()
        && let Noted::Known(noted) = quarantine.noted()
    {
        quarantine.note(&Note { places: Some(now), ..noted })?;
    }
    Ok(())
}

/// Why an entry is left as it is, and what helps. The next sweep takes the directories for the right ones, and no acknowledgement binds
/// anything after that.
fn not_bound(manifest: &Manifest, path: &Path, data: &directory::Facts) -> String {
    let path = path.display();
    let by_hand =
        "after that, take the data out by hand, as the README says under \"To get data back without volgc\"";
    if !data.is_directory {
        return format!(
            "entry {}: {path} is no directory, so it is left as it is; see what put it there",
            manifest.entry
        );
    }
    let (is, was) = (data.ownership, manifest.ownership);
    format!(
        "entry {}: {path} has owner {}:{} and mode {:o}, and its manifest names {}:{} and {:o}, so it is left as it is. If it is the data \
         that was set aside, run `chown {}:{} {path}`, `chmod {:o} {path}` and `volgc acknowledge` before the next sweep; {by_hand}",
        manifest.entry, is.uid, is.gid, is.mode, was.uid, was.gid, was.mode, was.uid, was.gid, was.mode
    )
}

fn bind_entry(
    manifest: &Manifest,
    quarantine: &QuarantineDir,
    root: &VolumesDir,
    now: DateTime<Utc>,
    bound: &mut Bound,
) -> Result<(), QuarantineError> {
    match manifest.state {
        EntryState::Quarantined
        | EntryState::Linking
        | EntryState::Forgetting
        | EntryState::Moving
        | EntryState::InDoubt { .. }
        | EntryState::Restoring { .. } => {}
        // It marks a volume, which is another one by now: the next sweep releases it.
        EntryState::InPlace | EntryState::InPlaceInDoubt { .. } => return Ok(()),
    }
    let Some(data) = quarantine.data_facts(&manifest.entry)? else { return Ok(()) };
    if data.identity.is_same(&manifest.data_directory) {
        return Ok(());
    }
    let path = quarantine.path_of(&manifest.entry).join("data");
    if !data.is_directory || data.ownership != manifest.ownership {
        bound.left.push(not_bound(manifest, &path, &data));
        return Ok(());
    }
    // Of a move that was interrupted: the emptied directory of the volume.
    let emptied = root.observe(&manifest.name);
    let volume_directory = match (emptied.directory, emptied.data) {
        (Some(facts), None) => facts.identity,
        (Some(_) | None, _) => manifest.volume_directory,
    };
    quarantine.write_manifest(&Manifest {
        volume_directory,
        data_directory: data.identity,
        // A copy has new times everywhere, which are no uses.
        at_rest_since: Some(now),
        ..manifest.clone()
    })?;
    bound.entries += 1;
    Ok(())
}
