//! Whether the service lives, and whether it is ready: decisions on what is known, and a time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::ScheduleSettings;
use crate::config::duration::spell;
use crate::service::status::{Phase, Status};

/// How late a sweep may begin. The kernel wakes the service at its time (`host::alarm`), also right after a suspend that it fell
/// into; this is what a loaded machine, and a job that is just being finished, may take from then on.
const LATE: Duration = Duration::from_mins(5);

/// How old the last look may be: two of the longest times between sweeps, so that one may fail.
pub(super) fn look_patience(schedule: &ScheduleSettings, now: DateTime<Utc>) -> Duration {
    // A schedule that never comes again has no longest time.
    let longest = schedule.schedule.longest_interval(now).unwrap_or(Duration::ZERO);
    longest.saturating_add(schedule.jitter).saturating_mul(2).saturating_add(LATE)
}

/// Whether the service's loop lives: it works, or the next sweep is not overdue. Work may take hours, as a large deletion
/// does; that it hangs is for systemd's watchdog to notice.
pub(super) fn lives(status: &Status, up: Duration, now: DateTime<Utc>) -> Result<String, String> {
    match status.phase {
        Phase::Starting if up > LATE => return Err(format!("still starting after {}", seconds(up))),
        Phase::Idle => {}
        Phase::Starting
        | Phase::Waiting(_)
        | Phase::Looking
        | Phase::Sweeping
        | Phase::Recovering
        | Phase::Stopping => return Ok(status.phase.word().to_owned()),
    }
    let Some(next) = status.next_sweep_at else {
        return Ok("idle, and the schedule has no further time".to_owned());
    };
    // Of a time in the future nothing has passed.
    let late = (now - next).to_std().unwrap_or(Duration::ZERO);
    let next = next.format("%Y-%m-%dT%H:%M:%SZ");
    if late > LATE {
        Err(format!("the sweep of {next} has not begun"))
    } else {
        Ok(format!("idle until {next}"))
    }
}

/// Whether there was a complete look, and not too long ago.
pub(super) fn is_ready(
    seen_at: Option<Duration>,
    now: Duration,
    patience: Duration,
) -> Result<String, String> {
    let Some(seen_at) = seen_at else {
        return Err("no look was complete since the start; the log says why".to_owned());
    };
    let age = now.saturating_sub(seen_at);
    if age > patience {
        return Err(format!(
            "the last complete look is {} old, and {} is too old; the log says why",
            seconds(age),
            seconds(patience)
        ));
    }
    Ok(format!("the last complete look is {} old", seconds(age)))
}

fn seconds(span: Duration) -> String {
    spell(Duration::from_secs(span.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_loop_lives_while_it_works_or_its_next_sweep_is_not_overdue() {
        let says = |phase, next, up, now| {
            let status = Status { phase, next_sweep_at: next, ..Status::default() };
            lives(&status, Duration::from_secs(up), at(now))
        };
        assert_eq!(says(Phase::Starting, None, 300, 0), Ok("starting".to_owned()));
        assert_eq!(says(Phase::Starting, None, 301, 0), Err("still starting after 5m1s".to_owned()));
        assert_eq!(
            says(Phase::Idle, Some(at(0)), 999, -50),
            Ok("idle until 2027-01-15T08:00:00Z".to_owned())
        );
        assert!(says(Phase::Idle, Some(at(0)), 999, 300).is_ok());
        let dead = Err("the sweep of 2027-01-15T08:00:00Z has not begun".to_owned());
        assert_eq!(says(Phase::Idle, Some(at(0)), 999, 301), dead);
        assert!(says(Phase::Idle, None, 999, 301).is_ok());
        assert_eq!(says(Phase::Sweeping, Some(at(0)), 999, 9999), Ok("sweeping".to_owned()));
    }

    #[test]
    fn a_service_is_ready_from_its_first_look_until_that_is_too_old() {
        let says = |seen: Option<u64>, now| {
            is_ready(seen.map(Duration::from_secs), Duration::from_secs(now), Duration::from_mins(10))
        };
        assert!(says(None, 1).unwrap_err().contains("no look was complete"));
        assert_eq!(says(Some(2000), 2600), Ok("the last complete look is 10m old".to_owned()));
        let old = "the last complete look is 10m1s old, and 10m is too old; the log says why";
        assert_eq!(says(Some(2000), 2601), Err(old.to_owned()));
    }

    #[test]
    fn the_patience_is_two_of_the_longest_intervals() {
        let schedule = ScheduleSettings {
            schedule: Schedule::every(Duration::from_hours(1)).unwrap(),
            jitter: Duration::from_mins(10),
            text: String::new(),
        };
        assert_eq!(look_patience(&schedule, at(0)), Duration::from_mins(145));
    }
}
