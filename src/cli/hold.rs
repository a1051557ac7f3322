//! `volgc hold`, `release` and `holds`.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;

use super::context::{Context, whoami};
use super::{CliError, Exit, Format, output};
use crate::config::duration;
use crate::gc::entry::{Entry, EntryId};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::holds::{Hold, HoldTarget};
use crate::gc::plan::Order;
use crate::gc::policy::Mode;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::host::ledger::Ledger;
use crate::host::quarantine::QuarantineDir;
use crate::report::columns::Columns;
use crate::report::dates;
use crate::report::table::shown_time;
use crate::report::text::{minute, rfc3339, safe};
use crate::sweep::look::{Look, look};
use crate::sweep::{LOCK_PATIENCE, SweepError, lineage};

#[derive(Debug, Args)]
pub struct HoldArguments {
    /// Name of the volume, or a quarantine entry, which is then not deleted
    #[arg(value_name = "VOLUME|ENTRY")]
    what: String,
    /// How long, as 60d or 2w [default: until released]
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// Name of the volume, or a quarantine entry
    #[arg(value_name = "VOLUME|ENTRY")]
    what: String,
}

#[derive(Debug, Args)]
pub struct HoldsArguments {
    /// Form of the list
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
}

/// One hold, as `holds --format json` shows it.
#[derive(Debug, Serialize)]
struct HoldLine {
    kind: &'static str,
    name: String,
    reason: String,
    given_at: String,
    expires_at: Option<String>,
}

pub(super) async fn hold(context: &Context<'_>, arguments: &HoldArguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let (now, remembered) = (clock::read()?, context.remembered()?);
    let expires_at = match &arguments.span {
        None => None,
        Some(text) => {
            let span = duration::parse(text).map_err(|error| CliError::Usage(format!("--for: {error}")))?;
            let from = remembered.hold_from(now.wall);
            #[expect(
                clippy::disallowed_methods,
                reason = "a span longer than the calendar is refused as too long"
            )]
            let until = TimeDelta::from_std(span).ok().and_then(|span| from.checked_add_signed(span));
            Some(until.ok_or_else(|| CliError::Usage(format!("--for {text} is too long")))?)
        }
    };
    if arguments.reason.trim().is_empty() {
        return Err(CliError::Usage("--reason: say why, for whoever finds the hold later".to_owned()));
    }
    let engine = context.engine(&settings).await?;
    let seen = look(&engine, &remembered, &settings, &Order::Scheduled, now.clone()).await?;
    let target = target(&seen, &arguments.what)?;
    let mut ledger = context.ledger()?;
    let reason = arguments.reason.clone();
    let hold = Hold { target: target.clone(), reason: reason.clone(), given_at: now.wall, expires_at };
    ledger.add_hold(&hold)?;
    record(&mut ledger, Happening::HoldGiven, &target, reason)?;
    if let (Some(root), true) = (&seen.observation.directory, settings.policy.mode != Mode::Observe) {
        // So that a ledger from before is not taken for this one.
        lineage::note_below(&mut ledger, root);
    }
    if let HoldTarget::Entry { entry } = &target {
        confirm(&seen, &mut ledger, entry, &target).await?;
    }
    let until =
        expires_at.map_or_else(|| "until it is released".to_owned(), |at| format!("until {}", minute(at)));
    output::print(&format!("holding {} {until}\n", safe(&arguments.what)))?;
    Ok(Exit::Done)
}

/// I1: the entry may be on its way out of the quarantine. The hold was written first, so that a sweep sees it before its next step;
/// when no step is under way any more, the entry has to be there still.
async fn confirm(
    seen: &Look,
    ledger: &mut Ledger,
    entry: &EntryId,
    target: &HoldTarget,
) -> Result<(), CliError> {
    let Some(root) = &seen.observation.directory else { return Ok(()) };
    let opened = QuarantineDir::open_existing(root.root(), root.root_path()).map_err(SweepError::from)?;
    let Some(quarantine) = opened else { return Ok(()) };
    let waiting = |holder: &str| tracing::warn!("the hold is written down; waiting for {holder} to see it");
    let _lock = quarantine.lock(&whoami("hold"), LOCK_PATIENCE, waiting).await.map_err(SweepError::from)?;
    let is_there = quarantine
        .entries()
        .map_err(SweepError::from)?
        .iter()
        .any(|found| matches!(found, Entry::Known(manifest) if manifest.entry == *entry));
    // What was restored meanwhile took its holds along.
    if is_there || ledger.remove_holds(target)? == 0 {
        return Ok(());
    }
    record(ledger, Happening::HoldReleased, target, "its deletion had begun".to_owned())?;
    Err(CliError::NotFound(format!(
        "the deletion of entry {entry} had begun before the hold was given; there is nothing left to hold"
    )))
}

pub(super) async fn release(context: &Context<'_>, arguments: &ReleaseArguments) -> Result<Exit, CliError> {
    let mut ledger = context.ledger()?;
    // By name alone: a hold on a volume that is gone must be releasable too.
    let held: Vec<HoldTarget> = ledger.read()?.holds.into_iter().map(|hold| hold.target).collect();
    let mut targets: Vec<&HoldTarget> =
        held.iter().filter(|target| name_of(target) == arguments.what).collect();
    if targets.is_empty() && held.iter().any(|target| matches!(target, HoldTarget::Entry { .. })) {
        let entries = entries_that_were(context, &arguments.what).await?;
        let is_meant = |target: &&HoldTarget| entries.iter().any(|entry| entry.as_str() == name_of(target));
        targets = held.iter().filter(is_meant).collect();
    }
    if targets.is_empty() {
        return Err(CliError::NotFound(format!(
            "there is no hold on {}; `volgc holds` shows what there is",
            safe(&arguments.what)
        )));
    }
    let mut released: Vec<HoldTarget> = Vec::new();
    for target in targets {
        if ledger.remove_holds(target)? > 0 {
            record(&mut ledger, Happening::HoldReleased, target, "released by an operator".to_owned())?;
            released.push(target.clone());
        }
    }
    lineage::note_where_known(&mut ledger).map_err(SweepError::from)?;
    output::print(&format!("released {}\n", safe(&arguments.what)))?;
    output::print(&to_come(context, &released).await)?;
    Ok(Exit::Done)
}

/// What the next sweeps will do with what was released. A failed look is said, and takes nothing back: the release is done.
async fn to_come(context: &Context<'_>, released: &[HoldTarget]) -> String {
    let seen = async {
        let (settings, _) = context.settings()?;
        let engine = context.engine_to_look(&settings).await?;
        let now = clock::read()?;
        let look = look(&engine, &context.remembered()?, &settings, &Order::Scheduled, now).await?;
        Ok::<_, CliError>((look, settings))
    };
    match seen.await {
        Ok((look, settings)) => {
            // Two holds may have been on one volume.
            let told = released.iter().filter_map(|target| dates::of_released(&look, &settings, target));
            told.collect::<BTreeSet<String>>().into_iter().collect()
        }
        Err(error) => format!("when it is due is not known, because {}\n", safe(&error.to_string())),
    }
}

pub(super) fn holds(context: &Context<'_>, arguments: &HoldsArguments) -> Result<Exit, CliError> {
    let now = clock::read()?.wall;
    let lines: Vec<HoldLine> = context
        .remembered()?
        .holds
        .iter()
        .filter(|hold| hold.is_active(now))
        .map(|hold| HoldLine {
            kind: match &hold.target {
                HoldTarget::Volume { .. } => "volume",
                HoldTarget::Entry { .. } => "entry",
            },
            name: name_of(&hold.target).to_owned(),
            reason: hold.reason.clone(),
            given_at: rfc3339(hold.given_at),
            expires_at: hold.expires_at.map(rfc3339),
        })
        .collect();
    match arguments.format {
        Format::Json => output::json(&lines)?,
        Format::Table if lines.is_empty() => output::print("nothing is held\n")?,
        Format::Table => {
            let mut columns = Columns::new(["HELD", "KIND", "SINCE", "UNTIL", "REASON"]);
            for line in &lines {
                // A word as `released` would pass for what has happened.
                let until = line.expires_at.clone().map_or("no end".into(), |at| shown_time(Some(at)));
                columns.add([
                    safe(&line.name),
                    line.kind.into(),
                    shown_time(Some(line.given_at.clone())),
                    until,
                    safe(&line.reason),
                ]);
            }
            output::print(&columns.text())?;
        }
    }
    Ok(Exit::Done)
}

/// The volume of that name, else the entry, else the only entry that was a volume of that name.
#[expect(
    clippy::disallowed_methods,
    reason = "what is no volume's name may be an entry's, and else is not found"
)]
fn target(look: &Look, what: &str) -> Result<HoldTarget, CliError> {
    if let Some(volume) = VolumeName::new(what).ok().and_then(|name| look.observation.inventory.volume(&name))
    {
        return Ok(HoldTarget::Volume { name: volume.name.clone(), identity: volume.identity.clone() });
    }
    match entries_of(look, what).as_slice() {
        [entry] => Ok(HoldTarget::Entry { entry: entry.clone() }),
        [] => Err(CliError::NotFound(format!(
            "there is no volume and no entry {}; `volgc report` and `volgc list` show what there is",
            safe(what)
        ))),
        _ => Err(CliError::Usage(format!(
            "several entries were a volume {}: name one of those that `volgc list` shows",
            safe(what)
        ))),
    }
}

/// The entry of that name, and those that were a volume of that name.
fn entries_of(look: &Look, what: &str) -> Vec<EntryId> {
    let entries = look.quarantine.entries.iter().filter_map(|entry| match entry {
        Entry::Known(manifest) if manifest.entry.as_str() == what || manifest.name.as_str() == what => {
            Some(manifest.entry.clone())
        }
        Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
    });
    entries.collect()
}

/// The same, looked for now.
async fn entries_that_were(context: &Context<'_>, what: &str) -> Result<Vec<EntryId>, CliError> {
    let (settings, _) = context.settings()?;
    let engine = context.engine(&settings).await?;
    let now = clock::read()?;
    let seen = look(&engine, &context.remembered()?, &settings, &Order::Scheduled, now).await?;
    Ok(entries_of(&seen, what))
}

fn name_of(target: &HoldTarget) -> &str {
    match target {
        HoldTarget::Volume { name, .. } => name.as_str(),
        HoldTarget::Entry { entry } => entry.as_str(),
    }
}

fn record(
    ledger: &mut Ledger,
    happening: Happening,
    target: &HoldTarget,
    detail: String,
) -> Result<(), CliError> {
    let (volume, entry) = match target {
        HoldTarget::Volume { name, .. } => (Some(name.clone()), None),
        HoldTarget::Entry { entry } => (None, Some(entry.clone())),
    };
    let at = clock::read()?.wall;
    Ok(ledger.record(&[HistoryLine {
        at,
        happening,
        volume,
        entry,
        detail,
        last_holder: None,
        size_bytes: None,
    }])?)
}
