//! The next firing in a time zone, through summer time: from wall-clock times, as the `cron` crate gives them, to instants.

use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// Where the years of cron 0.17 end.
const LAST_YEAR: i32 = 2100;

/// The first instant after `after` on which a matching wall-clock time falls, by the rules at the top of
/// `schedule.rs`.
pub(super) fn next_firing(
    days: &[cron::Schedule],
    tz: Tz,
    repeats_in_fold: bool,
    after: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let offset = tz.offset_from_utc_datetime(&after.naive_utc()).fix();
    let wall = after.naive_utc().checked_add_offset(offset)?;
    // Cron 0.17 adds a second to it, and panics where chrono's time ends.
    if wall.year() > LAST_YEAR {
        return None;
    }
    let first = search(days, wall, after, |wall| first_occurrence(tz, wall));
    if !repeats_in_fold {
        return first;
    }
    // In the first half of a fold, earlier wall-clock times are still to come again.
    let start = match tz.from_local_datetime(&wall) {
        MappedLocalTime::Ambiguous(early, late) => wall.checked_sub_signed(late - early)?,
        MappedLocalTime::Single(_) | MappedLocalTime::None => wall,
    };
    let last = search(days, start, after, |wall| Some(tz.from_local_datetime(&wall).latest()?.to_utc()));
    first.into_iter().chain(last).min()
}

/// The first matching wall-clock time after `start` that `map` puts after `after`. `map` must not fall, so
/// that the first one found is the earliest; both callers' do not.
fn search(
    days: &[cron::Schedule],
    start: NaiveDateTime,
    after: DateTime<Utc>,
    map: impl Fn(NaiveDateTime) -> Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let firing = |schedule: &cron::Schedule| {
        schedule.after(&start.and_utc()).filter_map(|wall| map(wall.naive_utc())).find(|at| *at > after)
    };
    days.iter().filter_map(firing).min()
}

fn first_occurrence(tz: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    match tz.from_local_datetime(&wall) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.to_utc()),
        MappedLocalTime::None => Some(GapInfo::new(&wall, &tz)?.end?.to_utc()),
    }
}
