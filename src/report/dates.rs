//! The dates to come: when a volume is quarantined and an entry deleted, by the schedule, if nothing happens until then. And
//! where there is no such date, what would have to change first.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::text::{duration, minute, safe};
use crate::config::{ScheduleSettings, Settings};
use crate::gc::entry::{Entry, Manifest};
use crate::gc::holds::HoldTarget;
use crate::gc::policy::{Decision, Disposition, Mode};
use crate::gc::verdict::{Reason, Step, Verdict};
use crate::gc::volume::Volume;
use crate::sweep::look::Look;

/// What is to come for one volume or entry, each for people. None where the other line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// When it is quarantined, or why it is not.
    pub quarantine: Option<String>,
    /// When it is deleted, or why it is not.
    pub delete: Option<String>,
}

impl Coming {
    fn never(why: impl Into<String>) -> Self {
        Self { quarantine: Some(why.into()), delete: None }
    }
}

/// What is to come for a volume.
pub fn of_volume(look: &Look, settings: &Settings, volume: &Volume, verdict: &Verdict) -> Coming {
    let Decision::By { disposition: Disposition::Collect { quarantine_after, delete_after }, .. } =
        settings.policy.decide(volume)
    else {
        return Coming::never("never, as long as the policy keeps it");
    };
    let limits = &settings.policy.limits;
    let grace = quarantine_after.max(limits.min_grace);
    let now = look.at.wall;
    let schedule = &settings.schedule;
    let clock = look.ledger.volumes.get(&volume.name).and_then(|record| record.unreferenced.as_ref());
    let sightings = clock.map_or(1, |clock| clock.sightings);
    let missing = limits.min_sightings.max(2).saturating_sub(sightings);
    let (at, how) = match verdict.reason {
        Reason::Held => {
            let why =
                format!("not while something holds it; {} after its last holder is gone", duration(grace));
            return Coming::never(format!("{why}, at the earliest"));
        }
        Reason::Unmovable(_) => return Coming::never("never, as long as it cannot be moved"),
        Reason::InPlace => return Coming::never("it is in quarantine already; see its entry"),
        Reason::SuddenOrphan => {
            let why = "not before `volgc acknowledge`, or before complete looks found no holder for a grace period more";
            return Coming::never(why);
        }
        Reason::LimitPerSweep => {
            (sweep_at(schedule, now, 1, now), "or a later sweep, when those before it in the queue are done")
        }
        Reason::GraceOver => (sweep_at(schedule, now, 1, now), "by the next sweep"),
        Reason::FirstSighting => {
            // The clock does not run before a sweep has started it.
            let start = sweep_at(schedule, now, 1, now).unwrap_or(now);
            let how = "by the first sweep after its grace period, which the next sweep starts";
            (sweep_at(schedule, now, missing.saturating_add(1), after(start, grace)), how)
        }
        Reason::WithinGrace | Reason::TooFewSightings => {
            let how = if missing == 0 {
                "by the first sweep after its grace period"
            } else {
                "by the first sweep after its grace period that has seen it often enough"
            };
            (sweep_at(schedule, now, missing.saturating_add(1), verdict.due_at.unwrap_or(now)), how)
        }
        Reason::KeepLabel
        | Reason::MalformedLabel
        | Reason::RuleKeep
        | Reason::ClassKeep
        | Reason::NotOrdered
        | Reason::ByHand
        | Reason::Hold
        | Reason::InQuarantine
        | Reason::OperatorDeletes
        | Reason::NameInUse
        | Reason::UnfinishedMove
        | Reason::InDoubt
        | Reason::UnfinishedRestore
        | Reason::UnfinishedDeletion
        | Reason::ManifestDamaged
        | Reason::NotListed
        | Reason::Touched
        | Reason::VolumeGone
        | Reason::NotOptedIn
        | Reason::OddName
        | Reason::Undeletable => return Coming::never("not as long as that is so"),
    };
    let Some(at) = at else { return Coming::never("at no time: the schedule has no sweep to come") };
    let unless = "unless something holds it by then";
    let delete = sweep_at(schedule, at, 1, after(at, delete_after));
    Coming {
        quarantine: Some(limited(settings, Mode::Quarantine, &format!("{}, {how}, {unless}", minute(at)))),
        delete: delete.map(|at| {
            let story = format!("{}, {} later, unless it is restored", minute(at), duration(delete_after));
            limited(settings, Mode::Enforce, &story)
        }),
    }
}

/// What is to come for an entry.
pub fn of_entry(look: &Look, settings: &Settings, manifest: &Manifest, verdict: &Verdict) -> Coming {
    let now = look.at.wall;
    let due = match verdict.reason {
        Reason::GraceOver | Reason::InQuarantine => verdict.due_at.unwrap_or(now),
        Reason::LimitPerSweep => now,
        Reason::VolumeGone | Reason::NotOptedIn => {
            let story = "never: the next sweep releases it".to_owned();
            return Coming { quarantine: None, delete: Some(story) };
        }
        Reason::OperatorDeletes => {
            let story = format!("only by `volgc delete {}`", manifest.entry);
            return Coming { quarantine: None, delete: Some(story) };
        }
        Reason::Touched => {
            let story = format!("only by `volgc delete --touched {}`", manifest.entry);
            return Coming { quarantine: None, delete: Some(story) };
        }
        Reason::NameInUse => {
            let story = format!(
                "not while volume {} exists: until then the clock stands",
                safe(manifest.name.as_str())
            );
            return Coming { quarantine: None, delete: Some(story) };
        }
        Reason::Held
        | Reason::KeepLabel
        | Reason::MalformedLabel
        | Reason::RuleKeep
        | Reason::ClassKeep
        | Reason::Unmovable(_)
        | Reason::SuddenOrphan
        | Reason::FirstSighting
        | Reason::WithinGrace
        | Reason::TooFewSightings
        | Reason::NotOrdered
        | Reason::ByHand
        | Reason::Hold
        | Reason::UnfinishedMove
        | Reason::InDoubt
        | Reason::UnfinishedRestore
        | Reason::UnfinishedDeletion
        | Reason::ManifestDamaged
        | Reason::NotListed
        | Reason::InPlace
        | Reason::OddName
        | Reason::Undeletable => {
            return Coming { quarantine: None, delete: Some("not as long as that is so".to_owned()) };
        }
    };
    let at = sweep_at(&settings.schedule, now, 1, due);
    let story = at.map_or_else(
        || "at no time: the schedule has no sweep to come".to_owned(),
        |at| {
            let story =
                format!("{}, by the first sweep after its grace period, unless it is restored", minute(at));
            limited(settings, Mode::Enforce, &story)
        },
    );
    Coming { quarantine: None, delete: Some(story) }
}

/// What is to come for something that an operator just released; none where it is not there any more. What is overdue goes with the next
/// sweep, which has to be said.
pub fn of_released(look: &Look, settings: &Settings, target: &HoldTarget) -> Option<String> {
    let (what, step, coming) = match target {
        HoldTarget::Volume { name, .. } => {
            let volume = look.observation.inventory.volume(name)?;
            let verdict = look.plan.volumes.get(name)?;
            let what = format!("volume {}", safe(name.as_str()));
            (what, Step::Quarantine(name.clone()), of_volume(look, settings, volume, verdict))
        }
        HoldTarget::Entry { entry } => {
            let manifest = look.quarantine.entries.iter().find_map(|found| match found {
                Entry::Known(manifest) if manifest.entry == *entry => Some(manifest),
                Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
            })?;
            let verdict = look.plan.entries.get(entry.as_str())?;
            let coming = of_entry(look, settings, manifest, verdict);
            (format!("entry {entry}"), Step::Delete(entry.clone()), coming)
        }
    };
    let is_next = look.refusals.is_empty() && look.plan.steps().contains(&step);
    let overdue = if is_next { " is overdue, and the next sweep takes it" } else { "" };
    let dates = [("quarantined", coming.quarantine), ("deleted", coming.delete)];
    let dates =
        dates.into_iter().filter_map(|(what, story)| story.map(|story| format!("to be {what}: {story}")));
    let dates: Vec<String> = dates.collect();
    Some(format!("{what}{overdue}; {}\n", dates.join("; ")))
}

/// What the mode does not permit is no date.
fn limited(settings: &Settings, needed: Mode, story: &str) -> String {
    let mode = settings.policy.mode;
    if mode >= needed {
        return story.to_owned();
    }
    let does = match needed {
        Mode::Observe => "do",
        Mode::Quarantine => "move",
        Mode::Enforce => "delete",
    };
    format!("not in mode \"{}\", which does not {does} it; else {story}", mode.word())
}

/// The first sweep that is neither before a time nor before that many sweeps from now, by the schedule.
fn sweep_at(
    schedule: &ScheduleSettings,
    now: DateTime<Utc>,
    sweeps: u32,
    due: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let counted = (0..sweeps).try_fold(now, |at, _| schedule.schedule.next_after(at))?;
    if counted >= due {
        return Some(counted);
    }
    // At the time itself is early enough.
    schedule.schedule.next_after(due.checked_sub_signed(TimeDelta::seconds(1))?)
}

/// A time that is too far off to be written stays the last one that can be.
fn after(at: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    match TimeDelta::from_std(wait).map(|wait| at.checked_add_signed(wait)) {
        Ok(Some(later)) => later,
        Ok(None) | Err(_) => DateTime::<Utc>::MAX_UTC,
    }
}
