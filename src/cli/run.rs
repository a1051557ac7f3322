//! `volgc run`.

use tokio_util::sync::CancellationToken;

use super::context::{Context, whoami};
use super::{CliError, Exit, sweep};
use crate::gc::plan::Order;
use crate::service;
use crate::sweep::{SweepError, Sweeper, Swept, count};

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let (settings, file) = context.settings()?;
    // A ledger that cannot be used is found now, not at the first sweep.
    drop(context.ledger()?);
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        mode = settings.policy.mode.word(),
        schedule = %settings.schedule.schedule,
        configuration = %file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string()),
        "started"
    );
    let stop = CancellationToken::new();
    sweep::stop_on_signal(&stop)?;
    let pass = async || {
        match one_pass(context, &settings, &stop).await {
            Ok(swept) => log(&swept),
            Err(CliError::Sweep(SweepError::Stopped)) => {
                tracing::info!("stopped before the engine had answered");
            }
            // The service goes on: the engine may be restarting, a disk be full for a while.
            Err(error) => tracing::error!(%error, "the sweep did not take place"),
        }
    };
    service::run(&settings.schedule, &stop, pass).await?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

async fn one_pass(
    context: &Context<'_>,
    settings: &crate::config::Settings,
    stop: &CancellationToken,
) -> Result<Swept, CliError> {
    let engine = tokio::select! {
        engine = context.changing_engine(settings) => engine?,
        () = stop.cancelled() => return Err(SweepError::Stopped.into()),
    };
    let mut ledger = context.ledger()?;
    let whoami = whoami("run");
    let mut sweeper = Sweeper { engine: &engine, settings, ledger: &mut ledger, whoami: &whoami, stop };
    Ok(sweeper.sweep(&Order::Scheduled).await?)
}

fn log(swept: &Swept) {
    for refusal in &swept.look.refusals {
        tracing::warn!(event = "refused", reason = refusal.word, "{}", refusal.text);
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
