//! `volgc sweep`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::context::{Context, whoami};
use super::{CliError, Exit, output};
use crate::gc::entry::EntryId;
use crate::gc::orphans;
use crate::gc::plan::Order;
use crate::gc::policy::{Decision, Disposition, Mode, Policy};
use crate::gc::spoken::spoken;
use crate::gc::verdict::{Action, Reason, Verdict};
use crate::gc::volume::VolumeName;
use crate::host::sharing::Blocks;
use crate::report::document::SCHEMA_VERSION;
use crate::report::text::{bytes, counted, safe};
use crate::sweep::recover::Recovered;
use crate::sweep::{Done, Sweeper, Swept, Watching};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Take only the steps of this report (`volgc report --format json`), if they are still due
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let order = match &arguments.plan {
        None => Order::Scheduled,
        Some(file) => pinned(file)?,
    };
    pass(context, "sweep", &order).await
}

/// One pass with an order, its outcome printed.
pub(super) async fn pass(context: &Context<'_>, command: &str, order: &Order) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let engine = context.changing_engine(&settings).await?;
    let mut ledger = context.ledger_for_pass()?;
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;
    let whoami = whoami(command);
    let mut sweeper = Sweeper {
        engine: &engine,
        settings: &settings,
        ledger: &mut ledger,
        whoami: &whoami,
        stop: &stop,
        watching: Watching::Nobody,
    };
    let swept = sweeper.sweep(order).await?;
    for alert in swept.look.observation.inventory.alerts() {
        tracing::warn!("{}", safe(alert));
    }
    output::print(&told(&swept, &settings.policy, order))?;
    let exit = exit_of(&swept, order);
    Ok(if exit == Exit::Done { exit_of_order(&swept, order) } else { exit })
}

/// The first signal lets the step in hand be finished; a second one ends the program as usual.
pub(super) fn stop_on_signal(stop: &CancellationToken) -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signalled().await;
        tracing::warn!("stopping after the step in hand");
        stop.cancel();
        signalled().await;
        // A signal that was listened to once never ends the program by itself again. Nothing is lost by a sudden end (I4).
        if let Err(error) = kill_process(getpid(), Signal::KILL) {
            tracing::warn!(%error, "cannot end at once");
        }
    });
    Ok(())
}

fn exit_of(swept: &Swept, order: &Order) -> Exit {
    if !swept.look.refusals.is_empty() {
        Exit::Refused
    } else if swept.has_failures() {
        Exit::StepsFailed
    } else if is_for_all(order) && swept.look.held_back().is_some() {
        Exit::Refused
    } else {
        Exit::Done
    }
}

/// Whether it is about whatever is due, and not about some volumes or entries alone.
fn is_for_all(order: &Order) -> bool {
    match order {
        Order::Scheduled | Order::Pinned { .. } => true,
        Order::Quarantine(_) | Order::Delete(_) | Order::DeleteTouched(_) => false,
    }
}

/// A script has to see that what it ordered by name was not done.
fn exit_of_order(swept: &Swept, order: &Order) -> Exit {
    let plan = &swept.look.plan;
    let verdicts: Vec<Option<&Verdict>> = match order {
        Order::Scheduled | Order::Pinned { .. } => return Exit::Done,
        Order::Quarantine(names) => names.iter().map(|name| plan.volumes.get(name)).collect(),
        Order::Delete(ids) | Order::DeleteTouched(ids) => {
            ids.iter().map(|id| plan.entries.get(id.as_str())).collect()
        }
    };
    let was_left = swept.halted.is_some()
        || swept.done.iter().any(|done| matches!(done, Done::Left(..) | Done::Kept(..)));
    if verdicts.iter().any(Option::is_none) {
        Exit::Failed
    } else if was_left || verdicts.iter().flatten().any(|verdict| verdict.action == Action::Keep) {
        Exit::Refused
    } else {
        Exit::Done
    }
}

/// What was done, for people.
fn told(swept: &Swept, policy: &Policy, order: &Order) -> String {
    let mut lines: Vec<String> = swept
        .look
        .refusals
        .iter()
        .map(|refusal| format!("refused to act ({}): {}", spoken(refusal.word), safe(&refusal.text)))
        .collect();
    for (manifest, result) in &swept.recovered {
        let what = match result {
            Ok(Recovered::Undone) => "its interrupted move was undone".to_owned(),
            Ok(Recovered::Committed) => "is in quarantine".to_owned(),
            Ok(Recovered::Restored) => "its interrupted restore was finished".to_owned(),
            Ok(Recovered::Removed) => "was removed by the engine, and is gone for good".to_owned(),
            Ok(Recovered::StillInPlace) => {
                "is in quarantine in place still; the engine had not removed it".to_owned()
            }
            Ok(Recovered::Unresolved(why)) => format!("is in doubt: {}", safe(why)),
            Err(error) => format!("could not be recovered: {}", safe(&error.to_string())),
        };
        lines.push(format!("volume {} (entry {}) {what}", safe(manifest.name.as_str()), manifest.entry));
    }
    let blocks = swept.look.observation.blocks();
    lines.extend(swept.done.iter().map(|done| told_step(done, blocks, |name| is_kept(swept, policy, name))));
    if swept.look.refusals.is_empty() {
        lines.extend(not_done(swept, policy.mode, order));
    }
    if let Some(held) = swept.look.held_back().filter(|_| is_for_all(order)) {
        lines.push(format!("held back ({}): {}", orphans::WORD, held.text));
    }
    if lines.is_empty() {
        lines.push(nothing_due(swept));
    }
    if let Some(why) = &swept.unwritten {
        lines.push(format!(
            "this sweep is not written down, and the next one that can catches up: {}",
            safe(why)
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// That nothing was due, and how much is on its way to be.
fn nothing_due(swept: &Swept) -> String {
    let plan = &swept.look.plan;
    let waiting = plan.volumes.values().filter(|verdict| {
        matches!(verdict.reason, Reason::FirstSighting | Reason::WithinGrace | Reason::TooFewSightings)
    });
    match waiting.count() {
        0 => "nothing was due".to_owned(),
        count => format!(
            "nothing was due; the grace period of {} runs",
            counted(count, "unreferenced volume", "unreferenced volumes")
        ),
    }
}

/// Whether the policy keeps a volume, so that its entry is deleted by no sweep, not even when the policy changes.
fn is_kept(swept: &Swept, policy: &Policy, name: &VolumeName) -> bool {
    let Some(volume) = swept.look.observation.inventory.volume(name) else { return false };
    match policy.decide(volume) {
        Decision::By { disposition: Disposition::Collect { .. }, .. } => false,
        Decision::By { disposition: Disposition::Keep, .. }
        | Decision::KeepLabel
        | Decision::MalformedLabel(_) => true,
    }
}

fn told_step(done: &Done, blocks: Blocks, is_kept: impl Fn(&VolumeName) -> bool) -> String {
    let ends = |name: &VolumeName, entry: &EntryId| {
        if is_kept(name) {
            format!(
                "; the policy keeps this volume, so no sweep deletes the entry: `volgc delete {entry}` does"
            )
        } else {
            String::new()
        }
    };
    match done {
        Done::Quarantined(name, entry) => {
            format!("quarantined volume {name}; `volgc restore {entry}` brings it back{}", ends(name, entry))
        }
        Done::Marked(name, entry) => {
            format!(
                "quarantined volume {name} in place; `volgc restore {entry}` releases it{}",
                ends(name, entry)
            )
        }
        Done::Left(name, why) => format!("left volume {name}: {}", safe(why)),
        Done::InDoubt(name, entry, why) => {
            format!("volume {name} is in doubt (entry {entry}); its data is kept: {}", safe(why))
        }
        Done::Released(entry, why) => format!("released entry {entry}: {}", safe(why)),
        Done::Removed(entry) => format!("deleted entry {entry}: the engine removed its volume"),
        Done::Kept(entry, why) => format!("kept entry {entry}: {}", safe(why)),
        Done::Deleted(entry, freed) => {
            let at_most = match blocks {
                Blocks::Own => "",
                Blocks::MayBeShared => "at most ",
            };
            format!("deleted entry {entry}, {at_most}{}", bytes(*freed))
        }
        Done::DeletionStopped(entry) => format!("stopped deleting entry {entry}; the next sweep goes on"),
        Done::Failed(what, error) => format!("{} failed: {}", safe(what), safe(&error.to_string())),
    }
}

/// What was due or ordered and is not done, each with its reason.
fn not_done(swept: &Swept, mode: Mode, order: &Order) -> Vec<String> {
    let plan = &swept.look.plan;
    let left_by_mode = plan.due().len() - plan.steps().len();
    let mut lines = Vec::new();
    if left_by_mode > 0 {
        lines.push(format!(
            "{left_by_mode} due, but mode = \"{}\" does not permit it; `volgc report` shows what",
            mode.word()
        ));
    }
    if let Some(why) = &swept.halted {
        let has_moved = swept.done.iter().any(|done| matches!(done, Done::Quarantined(..)));
        let before = if has_moved { "from then on " } else { "" };
        lines.push(format!("{before}{}", safe(why)));
    }
    if swept.stopped {
        lines.push("stopped before everything was done; the next sweep goes on".to_owned());
    }
    match order {
        Order::Scheduled | Order::Pinned { .. } => {}
        Order::Quarantine(ordered) => {
            for name in ordered {
                match plan.volumes.get(name) {
                    None => lines.push(format!("there is no volume {}", safe(name.as_str()))),
                    Some(verdict) if verdict.action == Action::Keep => {
                        lines.push(format!("kept volume {}: {}", safe(name.as_str()), safe(&verdict.detail)));
                    }
                    Some(_) => {}
                }
            }
        }
        Order::Delete(ordered) | Order::DeleteTouched(ordered) => {
            for id in ordered {
                match plan.entries.get(id.as_str()) {
                    None => lines.push(format!("there is no entry {id}")),
                    Some(verdict) if verdict.action == Action::Keep => {
                        lines.push(format!("kept entry {id}: {}", safe(&verdict.detail)));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    lines
}

/// Of a report, what an order is made from.
#[derive(Debug, Deserialize)]
struct Planned {
    schema_version: u32,
    volumes: Vec<PlannedVolume>,
    quarantine: Vec<PlannedEntry>,
}

#[derive(Debug, Deserialize)]
struct PlannedVolume {
    name: String,
    identity: String,
    action: Action,
}

#[derive(Debug, Deserialize)]
struct PlannedEntry {
    entry: String,
    action: Action,
}

/// The volumes and entries that an earlier report found due.
#[expect(clippy::disallowed_methods, reason = "reads the plan that the operator names")]
fn pinned(file: &Path) -> Result<Order, CliError> {
    let shown = file.display();
    let text = std::fs::read(file)
        .map_err(|error| CliError::Usage(format!("cannot read the plan {shown}: {error}")))?;
    let report: Planned = serde_json::from_slice(&text).map_err(|error| {
        CliError::Usage(format!("{shown} is no report ({error}); make one with `volgc report --format json`"))
    })?;
    if report.schema_version != SCHEMA_VERSION {
        return Err(CliError::Usage(format!(
            "{shown} has schema version {}, and this volgc knows {SCHEMA_VERSION}; make a new report",
            report.schema_version
        )));
    }
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::Usage(format!("{shown}: {error}; make one with `volgc report --format json`"))
    };
    let entries: BTreeSet<EntryId> = report
        .quarantine
        .iter()
        .filter(|entry| entry.action == Action::Delete)
        .map(|entry| EntryId::new(entry.entry.clone()).map_err(|error| wrong(&error)))
        .collect::<Result<_, _>>()?;
    let volumes = report
        .volumes
        .into_iter()
        .filter(|volume| volume.action == Action::Quarantine)
        .map(|volume| Ok((VolumeName::new(volume.name).map_err(|error| wrong(&error))?, volume.identity)))
        .collect::<Result<_, CliError>>()?;
    Ok(Order::Pinned { volumes, entries })
}
