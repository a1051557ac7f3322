//! Orders to forget a volume that nobody waits for any more. A proxy between us and the engine may still deliver one, and then the
//! engine deletes whatever has the name by then (I5).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::entry::{EntryState, Manifest};
use super::ledger::ClockReading;

/// How long a proxy may keep an order whose sender is gone before it delivers it.
const BEHIND_PROXY: Duration = Duration::from_hours(1);

/// Until when an order that was given at this time may arrive, by the wall clock alone.
pub fn by_wall_clock(ordered_at: DateTime<Utc>) -> DateTime<Utc> {
    later(ordered_at, BEHIND_PROXY)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a time outside the calendar is never reached, so the name stays unsafe (I5)"
)]
fn later(from: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let reached = TimeDelta::from_std(span).ok().and_then(|span| from.checked_add_signed(span));
    reached.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Until when it may arrive by both clocks; none when it cannot any more. `ordered` is the monotonic time of the order in this boot,
/// where that is known: a wall clock that is set forward proves nothing (I8).
pub fn by_both_clocks(
    until: DateTime<Utc>,
    ordered: Option<Duration>,
    now: &ClockReading,
) -> Option<DateTime<Utc>> {
    let passed = ordered.and_then(|ordered| now.monotonic.checked_sub(ordered));
    let left = passed.and_then(|passed| BEHIND_PROXY.checked_sub(passed)).filter(|left| !left.is_zero());
    let by_monotonic = left.map(|left| later(now.wall, left));
    Some(until).filter(|until| now.wall < *until).max(by_monotonic)
}

impl Manifest {
    /// Until when an order to forget the volume of this entry may still arrive; none when none can.
    pub fn late_order_until(&self, now: &ClockReading) -> Option<DateTime<Utc>> {
        let until = match self.state {
            EntryState::InDoubt { in_doubt_since, asked_directly }
            | EntryState::InPlaceInDoubt { in_doubt_since, asked_directly } => {
                (!asked_directly).then(|| by_wall_clock(in_doubt_since))?
            }
            EntryState::Linking
            | EntryState::Forgetting
            | EntryState::Moving
            | EntryState::Quarantined
            | EntryState::Restoring { .. }
            | EntryState::InPlace => self.name_unsafe_until?,
        };
        // With the boot ended whoever was on the way.
        let ordered = self.ordered_at.as_ref().filter(|ordered| ordered.boot_id == now.boot_id);
        by_both_clocks(until, ordered.map(|ordered| ordered.monotonic), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall_minutes: i64, monotonic_minutes: u64, boot_id: &str) -> ClockReading {
        ClockReading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::minutes(wall_minutes),
            monotonic: Duration::from_mins(monotonic_minutes),
            boot_id: boot_id.to_owned(),
        }
    }

    fn is_open(now: &ClockReading) -> bool {
        // Ordered at minute 1000 of the wall clock and 100 of the other.
        let until = by_wall_clock(reading(1000, 0, "").wall);
        by_both_clocks(until, Some(Duration::from_mins(100)), now).is_none()
    }

    #[test]
    fn an_hour_has_passed_when_both_clocks_say_so() {
        let cases = [
            ((1000, 100), false),
            ((1059, 159), false),
            ((1060, 160), true),
            // Set forward, set back.
            ((5000, 101), false),
            ((5000, 159), false),
            ((5000, 160), true),
            ((900, 160), false),
            // After a restart of the host the other clock begins anew.
            ((1059, 5), false),
            ((1060, 5), true),
        ];
        for ((wall, monotonic), expected) in cases {
            assert_eq!(is_open(&reading(wall, monotonic, "b")), expected, "{wall} {monotonic}");
        }
    }

    #[test]
    fn what_is_left_is_told_by_the_clock_that_has_more_of_it() {
        let until = by_wall_clock(reading(1000, 0, "").wall);
        let told = |now: &ClockReading| by_both_clocks(until, Some(Duration::from_mins(100)), now);
        assert_eq!(told(&reading(1030, 130, "b")), Some(reading(1060, 0, "").wall));
        assert_eq!(told(&reading(5000, 130, "b")), Some(reading(5030, 0, "").wall));
    }

    /// The hour that is left by the other clock ends after the last day there is: that is no proof that it has passed.
    #[test]
    fn at_the_end_of_the_calendar_an_order_may_still_arrive() {
        let end = DateTime::<Utc>::MAX_UTC;
        let now = ClockReading { wall: end, ..reading(0, 100, "b") };
        assert_eq!(by_both_clocks(end, Some(Duration::from_mins(100)), &now), Some(end));
    }
}
