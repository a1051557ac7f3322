//! How much of the time between two sweeps somebody watched (I8).
//!
//! The service counts the time through which it followed the engine's events, and no other. A sweep by itself asks the engine what
//! happened since the one before. As far as the engine still knows that, all of the time counts; else `max_gap` of it at most.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ledger::ClockReading;

/// How far the wall clock may fall behind the monotonic one between two sweeps before it counts as set back. Adjustments are slow
/// (`adjtimex(2)`), so this is much.
const SLEW: Duration = Duration::from_mins(1);

/// A stretch of time through which the engine's events were followed without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// When it began.
    pub from: ClockReading,
    /// When it ended; none while it goes on.
    pub until: Option<ClockReading>,
}

/// Who watched since the last sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// The two sweeps, and nobody in between.
    Sweeps,
    /// Whoever followed the engine's events, through these stretches, which do not overlap.
    Events(Vec<Followed>),
}

impl Watch {
    /// What a sweep by itself watched since the last one. `oldest` is the time of the oldest event that the engine still knows.
    ///
    /// The engine keeps its last events in order and forgets them when it restarts. So when it knows one from before the last
    /// sweep, it knows all that came since.
    pub fn since(last: &ClockReading, now: &ClockReading, oldest: Option<DateTime<Utc>>) -> Self {
        let is_known = oldest.is_some_and(|oldest| oldest <= last.wall);
        // With a wall clock that was set back, an event from after the last sweep may have an earlier time.
        let is_set_back = by_wall(last, now) + SLEW < now.monotonic.saturating_sub(last.monotonic);
        if is_known && last.boot_id == now.boot_id && !is_set_back {
            Self::Events(vec![Followed { from: last.clone(), until: None }])
        } else {
            Self::Sweeps
        }
    }
}

/// How much of the time between the last complete sweep and now counts as watched: never more than either clock says. A step
/// backward, a suspended host and a stopped service can only delay.
pub fn watched_time(
    last: Option<&ClockReading>,
    now: &ClockReading,
    watch: &Watch,
    max_gap: Duration,
) -> Duration {
    let Some(last) = last else { return Duration::ZERO };
    match watch {
        Watch::Sweeps => passed(last, now).min(max_gap),
        Watch::Events(stretches) => {
            let counted = stretches.iter().map(|stretch| stretch.counted(last, now));
            counted.fold(Duration::ZERO, Duration::saturating_add).min(passed(last, now))
        }
    }
}

impl Followed {
    /// How much of it lies between the last sweep and now.
    fn counted(&self, last: &ClockReading, now: &ClockReading) -> Duration {
        let is_earlier = last.boot_id == self.from.boot_id && last.monotonic > self.from.monotonic;
        let from = if is_earlier { last } else { &self.from };
        let until = self.until.as_ref().unwrap_or(now);
        // Nobody follows anything through a restart of the host.
        if from.boot_id == until.boot_id { passed(from, until) } else { Duration::ZERO }
    }
}

/// By either clock, whichever says less. Of the time before another boot no more counts than the host has been up since: it may have
/// been off for the rest.
fn passed(from: &ClockReading, to: &ClockReading) -> Duration {
    let by_monotonic =
        if from.boot_id == to.boot_id { to.monotonic.saturating_sub(from.monotonic) } else { to.monotonic };
    by_wall(from, to).min(by_monotonic)
}

/// Nothing where the clock was set back.
fn by_wall(from: &ClockReading, to: &ClockReading) -> Duration {
    (to.wall - from.wall).to_std().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    /// So many hours by the wall clock and by the other.
    fn at(wall: i64, monotonic: u64, boot_id: &str) -> ClockReading {
        ClockReading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::hours(wall),
            monotonic: HOUR * u32::try_from(monotonic).unwrap(),
            boot_id: boot_id.to_owned(),
        }
    }

    fn followed(from: u64, until: Option<u64>) -> Followed {
        let reading = |hours: u64| at(i64::try_from(hours).unwrap() + 1000, hours, "b");
        Followed { from: reading(from), until: until.map(reading) }
    }

    fn counted(stretches: &[Followed]) -> Duration {
        let (last, now) = (at(1100, 100, "b"), at(1200, 200, "b"));
        watched_time(Some(&last), &now, &Watch::Events(stretches.to_vec()), 2 * DAY)
    }

    #[test]
    fn a_service_counts_what_it_followed_and_nothing_else() {
        assert_eq!(counted(&[]), Duration::ZERO, "it was stopped all the time");
        assert_eq!(counted(&[followed(199, None)]), HOUR, "it was started an hour ago");
        assert_eq!(counted(&[followed(0, None)]), 100 * HOUR, "all the time, which max_gap does not limit");
        assert_eq!(counted(&[followed(0, Some(90))]), Duration::ZERO, "before the last sweep");
        assert_eq!(
            counted(&[followed(0, Some(110)), followed(150, Some(151)), followed(190, None)]),
            21 * HOUR
        );
    }

    #[test]
    fn a_sweep_by_itself_counts_what_the_engine_still_knows_else_max_gap() {
        let last = at(1100, 100, "b");
        let watched = |now: &ClockReading, oldest: Option<i64>| {
            let oldest = oldest.map(|hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours));
            watched_time(Some(&last), now, &Watch::since(&last, now, oldest), 2 * DAY)
        };
        let now = at(1200, 200, "b");
        assert_eq!(watched(&now, Some(1099)), 100 * HOUR);
        assert_eq!(watched(&now, Some(1100)), 100 * HOUR);
        assert_eq!(watched(&now, Some(1101)), 2 * DAY, "it may have forgotten one");
        assert_eq!(watched(&now, None), 2 * DAY, "it was restarted, or cannot be asked");
        assert_eq!(watched(&at(1110, 110, "b"), None), 10 * HOUR);
        // A host that slept: the time awake.
        assert_eq!(watched(&at(1200, 130, "b"), Some(1099)), 30 * HOUR);
        // A clock that was set back by days, and an engine that was restarted since.
        assert_eq!(watched(&at(1160, 200, "b"), Some(1099)), 2 * DAY);
    }

    #[test]
    fn of_the_time_before_another_boot_no_more_counts_than_the_uptime() {
        let last = at(1100, 100, "b");
        for (uptime, expected) in [(0, 0), (1, 1), (47, 47), (60, 48)] {
            let now = at(1200, uptime, "c");
            let oldest = DateTime::<Utc>::UNIX_EPOCH;
            for watch in [Watch::Sweeps, Watch::since(&last, &now, Some(oldest))] {
                assert_eq!(watched_time(Some(&last), &now, &watch, 2 * DAY), expected * HOUR, "{uptime}");
            }
        }
        // The service: since it was started.
        let now = at(1200, 60, "c");
        let since = Followed { from: at(1190, 50, "c"), until: None };
        assert_eq!(watched_time(Some(&last), &now, &Watch::Events(vec![since]), 2 * DAY), 10 * HOUR);
    }

    #[test]
    fn a_clock_that_is_set_never_makes_time() {
        let last = at(1100, 100, "b");
        for now in [at(9000, 101, "b"), at(900, 200, "b"), at(1101, 50, "b")] {
            let stretches = [Followed { from: at(0, 0, "b"), until: None }];
            for watch in
                [Watch::Sweeps, Watch::since(&last, &now, Some(last.wall)), Watch::Events(stretches.to_vec())]
            {
                let watched = watched_time(Some(&last), &now, &watch, 2 * DAY);
                assert!(watched <= HOUR, "{watched:?} {now:?} {watch:?}");
            }
        }
        assert_eq!(watched_time(None, &last, &Watch::Sweeps, DAY), Duration::ZERO);
    }
}
