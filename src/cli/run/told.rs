//! What the service tells of a look or sweep: log, counts, result.

use super::super::{CliError, Exit};
use crate::gc::entry::Entry;
use crate::gc::orphans;
use crate::gc::verdict::{Action, Step};
use crate::host::engine::EngineError;
use crate::report::text::safe;
use crate::service::status::{Counts, Refused, Scope, Steps, SweepResult};
use crate::sweep::look::{Look, LookError};
use crate::sweep::recover::Recovered;
use crate::sweep::{Done, SweepError, Swept, count};
use crate::witness::EvidenceError;

pub(super) fn log(swept: &Swept) {
    log_refusals(&swept.look);
    if let Some(why) = &swept.halted {
        tracing::error!(event = "moves_halted", "{}", safe(why));
    }
    if let Some(why) = &swept.unwritten {
        tracing::error!(event = "ledger_blocked", "this sweep is not written down: {}", safe(why));
    }
    for alert in swept.look.observation.inventory.alerts() {
        tracing::warn!(event = "alert", "{}", safe(alert));
    }
    for note in swept.look.observation.inventory.notes() {
        tracing::debug!("{note}");
    }
    tracing::info!(
        event = "swept",
        volumes = swept.look.plan.volumes.len(),
        due = swept.look.plan.due().len(),
        outcome = ?count(&swept.done),
        "sweep done"
    );
}

pub(super) fn log_refusals(look: &Look) {
    for refusal in &look.refusals {
        tracing::warn!(event = "refused", reason = refusal.word, "{}", safe(&refusal.text));
    }
    if let Some(held) = look.held_back() {
        tracing::warn!(event = "held_back", reason = orphans::WORD, volumes = held.volumes, "{}", held.text);
    }
}

pub(super) fn counts(look: &Look) -> Counts {
    let inventory = &look.observation.inventory;
    let volumes = inventory.volumes().len() as u64;
    let held =
        inventory.volumes().filter(|volume| !inventory.references(&volume.name).is_empty()).count() as u64;
    let mut counts = Counts { volumes, held, unreferenced: volumes - held, ..Counts::default() };
    for step in look.plan.due() {
        match step {
            Step::Quarantine(_) => counts.due_for_quarantine += 1,
            Step::Delete(_) => counts.due_for_deletion += 1,
            // It only gives a mark up.
            Step::Release(_) => {}
        }
    }
    for entry in &look.quarantine.entries {
        counts.in_quarantine += 1;
        let size = match entry {
            Entry::Known(manifest) => manifest.size_bytes,
            Entry::Deleting(_) | Entry::Damaged { .. } => None,
        };
        match size {
            Some(bytes) => counts.bytes_in_quarantine += bytes,
            None => counts.entries_without_size += 1,
        }
    }
    let verdicts = look.plan.entries.values();
    let deletions = verdicts.filter_map(|verdict| match verdict.action {
        Action::Delete => Some(look.at.wall),
        Action::Keep => verdict.due_at,
        Action::Watch | Action::Quarantine | Action::Release => None,
    });
    counts.next_deletion_at = deletions.min();
    counts
}

pub(super) fn refusals(look: &Look) -> Vec<Refused> {
    let refused = |word, text: &str, scope| Refused { word, text: safe(text).into_owned(), scope };
    let whole = look.refusals.iter().map(|refusal| refused(refusal.word, &refusal.text, Scope::Everything));
    let part = look.held_back().map(|held| refused(orphans::WORD, &held.text, Scope::SomeVolumes));
    whole.chain(part).collect()
}

pub(super) fn steps(swept: &Swept) -> Steps {
    let mut steps = Steps::default();
    for done in &swept.done {
        match done {
            Done::Quarantined(..) | Done::Marked(..) => steps.quarantined += 1,
            Done::Removed(_) => steps.deleted += 1,
            Done::Deleted(_, freed) => {
                steps.deleted += 1;
                steps.bytes_freed += freed;
            }
            Done::Left(..) | Done::Kept(..) => steps.left += 1,
            Done::InDoubt(..) | Done::Failed(..) => steps.failed += 1,
            Done::DeletionStopped(_) | Done::Released(..) => {}
        }
    }
    for (_, result) in &swept.recovered {
        match result {
            Ok(
                Recovered::Undone
                | Recovered::Committed
                | Recovered::Restored
                | Recovered::Removed
                | Recovered::StillInPlace,
            ) => steps.recovered += 1,
            Ok(Recovered::Unresolved(_)) | Err(_) => steps.failed += 1,
        }
    }
    steps
}

pub(super) fn result(swept: &Swept) -> SweepResult {
    if !swept.look.refusals.is_empty() {
        SweepResult::Refused
    } else if swept.stopped {
        SweepResult::Stopped
    } else if swept.has_failures() {
        SweepResult::StepsFailed
    } else {
        SweepResult::Done
    }
}

/// The result of a sweep that did not take place.
pub(super) fn result_of(error: &CliError) -> SweepResult {
    match error.exit() {
        Exit::Refused => SweepResult::Refused,
        Exit::Done | Exit::Failed | Exit::Usage | Exit::StepsFailed | Exit::WouldChange => {
            SweepResult::Failed(sentence(error))
        }
    }
}

/// What refuses, when the error is that evidence is not complete.
pub(super) fn refusal_of(error: &CliError) -> Option<Refused> {
    let scope = Scope::Everything;
    (error.exit() == Exit::Refused).then(|| Refused {
        word: "incomplete_evidence",
        text: sentence(error),
        scope,
    })
}

/// Whether the engine can be reached, by an error that may have any cause.
pub(super) fn has_answered(error: &CliError) -> bool {
    let of_look = |look: &LookError| {
        if let LookError::Evidence(EvidenceError::Engine(error)) = look { is_silent(error) } else { false }
    };
    let is_silent = match error {
        CliError::Engine(error) => is_silent(error),
        CliError::Look(look) | CliError::Sweep(SweepError::Look(look)) => of_look(look),
        CliError::Config(_)
        | CliError::ConfigFile { .. }
        | CliError::Endpoint(_)
        | CliError::Ledger(_)
        | CliError::Sweep(_)
        | CliError::System(_)
        | CliError::Metrics(_)
        | CliError::Textfile { .. }
        | CliError::Usage(_)
        | CliError::Refused(_)
        | CliError::NotFound(_) => false,
    };
    !is_silent
}

fn is_silent(error: &EngineError) -> bool {
    matches!(error, EngineError::Unreachable { .. } | EngineError::Timeout { .. })
}

/// The error in one line that plays no tricks.
pub(super) fn sentence(error: &CliError) -> String {
    safe(&error.to_string()).into_owned()
}
