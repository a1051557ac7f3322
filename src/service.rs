//! The service: sweeps on schedule until it is told to end. Nothing here is about volumes.

pub mod status;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::ScheduleSettings;
use crate::host::{clock, directory};

/// How long the service sleeps at the most before it looks at the wall clock again: a clock that was set, or a host that was
/// suspended, must not leave it asleep until long after the next sweep is due.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Runs `pass` at each time of the schedule, never two at once, until `stop` is requested. The pass itself looks at the same
/// request between its steps.
pub async fn run(
    settings: &ScheduleSettings,
    stop: &CancellationToken,
    mut pass: impl AsyncFnMut(),
) -> std::io::Result<()> {
    while !stop.is_cancelled() {
        let now = clock::read()?.wall;
        let Some(next) = settings.schedule.next_after(now) else {
            tracing::error!("the schedule has no further time; stopping");
            return Ok(());
        };
        let due = next + jitter(settings.jitter);
        tracing::info!(next_sweep = %due.to_rfc3339(), "sleeping");
        if !sleep_until(due, stop).await? {
            break;
        }
        pass().await;
    }
    Ok(())
}

/// Whether the time came; else a stop was requested.
async fn sleep_until(due: chrono::DateTime<chrono::Utc>, stop: &CancellationToken) -> std::io::Result<bool> {
    loop {
        let left = due - clock::read()?.wall;
        let Ok(left) = left.to_std() else { return Ok(true) };
        if left.is_zero() {
            return Ok(true);
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// A random part of the jitter, so that many hosts do not sweep at one instant.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(directory::random()) / f64::from(u32::MAX))
}
