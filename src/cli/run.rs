//! `volgc run`.

mod passes;
mod told;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::{CliError, Exit, metrics, sweep};
use crate::config::Settings;
use crate::report::text::safe;
use crate::service;
use passes::Passes;

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let (settings, file) = context.settings()?;
    // A ledger that cannot be used is found now, not at the first sweep.
    check_ledger(context)?;
    warn(&settings);
    tracing::info!(
        mode = settings.policy.mode.word(),
        schedule = %settings.schedule.schedule,
        configuration = %file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string()),
        "started"
    );
    let stop = CancellationToken::new();
    sweep::stop_on_signal(&stop)?;
    let status = service::status::publisher();
    let schedule = settings.schedule.clone();
    let exporter = metrics::start(context, &settings, status.subscribe())?;
    let passes = Passes::new(context, settings, exporter, &status, &stop)?;
    service::run(&passes, schedule, &status, &stop).await?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// One that cannot be written is still good for deletions that are due (I15); where there is none to read either, nothing ever is.
fn check_ledger(context: &Context<'_>) -> Result<(), CliError> {
    let Err(error) = context.ledger() else { return Ok(()) };
    match context.ledger_reader() {
        Ok(Some(_)) => {
            drop(context.ledger_for_pass()?);
            tracing::error!(%error, "until the ledger can be written, nothing is moved, and only what is due is deleted");
            Ok(())
        }
        Ok(None) | Err(_) => Err(error),
    }
}

fn warn(settings: &Settings) {
    for warning in settings.warnings() {
        tracing::warn!("{}", safe(&warning));
    }
}
