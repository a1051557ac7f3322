//! When the service sweeps: a crontab line in a time zone, or a plain interval.
//!
//! Pure but for [`Zone::parse`] of `local`, which asks the system for the name of its zone. No clock is read
//! here: every question is asked with a time.
//!
//! | file | what |
//! |------|------|
//! | `fields.rs` | the fields of a line, read into sets of numbers |
//! | `next.rs` | the next firing in a time zone, through summer time |
//! | `zone.rs` | names of time zones, and the one of the system |
//!
//! # The line
//!
//! Five fields, `minute hour day month weekday`, as crontab(5) has them: `*`, numbers, ranges, lists, steps
//! on `*` or a range, `JAN`-`DEC` and `SUN`-`SAT` in any case, `0` and `7` both Sunday. Lists and ranges of
//! names are taken too: the page says they are "not allowed", Vixie's code has always read them. When
//! *neither* day field starts with `*`, a day matches if *either* does; else both must match (crontab(5);
//! Vixie's entry.c looks at the first character, so `*/2` is a `*` here and a list that starts with one is
//! too).
//!
//! The `cron` crate does the calendar. It speaks Quartz (cron 0.17): six or seven fields with seconds first,
//! `1` is Sunday, both day fields must match. So a line is read into sets of numbers and handed on as
//! plain lists, as one Quartz schedule, or as two (by day, by weekday) when either day field is enough. Its
//! years end at 2100, and so do ours.
//!
//! # Summer time
//!
//! Cron 0.17 skips a time in the spring gap, and repeats and reorders those in the autumn fold. So it is only
//! ever asked about wall-clock times, as if they were UTC, and `next.rs` maps them to the zone:
//!
//! - **A time that exists once** runs then.
//! - **A time in the gap** runs at the first instant after the gap; all the times of one gap together run
//!   once, and a line that names that instant as well still runs once. That is so for every line: an extra
//!   sweep harms nobody, a missing one can. (cron(8) does the same for fixed times "soon after the change",
//!   and drops those of wildcard jobs.)
//! - **A time in the fold** runs once, at its first occurrence, unless the *hour field starts with `*`* (`*`,
//!   `*/2`, `@hourly`): such a line is a rhythm, and runs in both halves, so that `17 * * * *` runs every 60
//!   real minutes through it. cron(8) calls a job with `*` in the hour *or* the minute a wildcard. Here the
//!   minute alone does not count: `*/15 2 * * *` names an hour, and that hour is meant once.
//!
//! Nothing depends on the shift being an hour: Lord Howe's is 30 minutes, and Beirut's gap is midnight
//! itself.

mod fields;
mod next;
#[cfg(test)]
mod tests;
mod zone;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, TimeDelta, Utc};

use fields::{shortcut, translate};
use next::next_firing;
pub use zone::Zone;

/// The order of the fields, as every message about their number gives it.
const FIELDS: &str = "five fields: minute hour day month weekday";

/// [`Schedule::longest_interval`] looks at this many firings at least.
const MIN_FIRINGS: usize = 50;
/// ... and at a year of them, so that it sees the longest night, weekend and season of a line such as `*/5
/// 9-17 * * 1-5`,
const LOOK_AHEAD: Days = Days::new(400);
/// ... but at no more than this: two weeks of `* * * * *`.
const MAX_FIRINGS: usize = 20_000;

/// When to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    rhythm: Rhythm,
    text: String,
    zone: Zone,
}

#[derive(Clone, Debug)]
enum Rhythm {
    Every(TimeDelta),
    /// The union of one or two Quartz schedules, over wall-clock times.
    Cron {
        days: Vec<cron::Schedule>,
        repeats_in_fold: bool,
    },
}

/// What is wrong with a schedule or its time zone, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Nothing but blanks.
    #[error("the schedule is empty; write {FIELDS}, as in `17 * * * *`, or `@daily`")]
    Empty,
    /// Six fields: the dialect with seconds, of Quartz and of many tools around Docker.
    #[error("`{0}` has six fields: seconds are not supported; {FIELDS}")]
    Seconds(String),
    /// Neither five fields nor six: the line, and how many.
    #[error("`{0}` has {1} field(s); write {FIELDS}")]
    FieldCount(String, usize),
    /// `CRON_TZ=...` before the line.
    #[error("`{0}` is a variable, not a field; the time zone has its own key, `timezone`")]
    Variable(String),
    /// A word with `@` that has no meaning here, and what to use.
    #[error("`{0}` cannot be used like this; {1}")]
    Shortcut(String, &'static str),
    /// One field cannot be read: its name, all of it, what is wrong with which part and what to write.
    #[error("the {0} field `{1}`: {2}")]
    Field(&'static str, String, String),
    /// Well formed, and no such day exists.
    #[error("`{0}` never comes: no month it names has such a day; change the day or the month field")]
    Never(String),
    /// The cron crate refused what this module made of the line: a mistake in this module.
    #[error("`{0}` was understood, but the cron library refused its translation; please report this")]
    Library(String, #[source] cron::error::Error),
    /// Less than a second, or more than a calendar holds: which of the two, and what to write.
    #[error("an interval of {0:?} is {1}")]
    Interval(Duration, &'static str),
    /// Not in the IANA database that this binary carries; and a guess at the one that is meant, or nothing.
    #[error("unknown time zone `{0}`; {1}write `local`, `UTC` or an IANA name such as `Europe/Berlin`")]
    Zone(String, String),
}

impl Schedule {
    /// Reads a crontab line, or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`,
    /// `@annually`.
    ///
    /// A line that never comes, such as `0 0 30 2 *`, is an error: a collector that silently never runs helps
    /// nobody.
    pub fn parse(line: &str, zone: Zone) -> Result<Schedule, ScheduleError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = words.join(" ");
        let fields = match words.as_slice() {
            [] => return Err(ScheduleError::Empty),
            [word, ..] if word.contains('=') => {
                return Err(ScheduleError::Variable((*word).to_owned()));
            }
            [word, ..] if word.starts_with('@') => shortcut(word, words.len() == 1)?,
            [minute, hour, day, month, weekday] => [*minute, *hour, *day, *month, *weekday],
            [_, _, _, _, _, _] => return Err(ScheduleError::Seconds(text)),
            other => return Err(ScheduleError::FieldCount(text, other.len())),
        };
        let mut days = Vec::new();
        for line in translate(fields)? {
            let read = cron::Schedule::from_str(&line);
            days.push(read.map_err(|source| ScheduleError::Library(text.clone(), source))?);
        }
        // From the crate's first year; 1972 has every day a year can have.
        if days.iter().all(|schedule| schedule.after(&DateTime::UNIX_EPOCH).next().is_none()) {
            return Err(ScheduleError::Never(text));
        }
        let [_, hour, ..] = fields;
        let repeats_in_fold = hour.starts_with('*');
        Ok(Schedule { rhythm: Rhythm::Cron { days, repeats_in_fold }, text, zone })
    }

    /// Every `interval`, counted from whatever [`Schedule::next_after`] is asked about. At least a second.
    pub fn every(interval: Duration) -> Result<Schedule, ScheduleError> {
        let refuse = |problem| Err(ScheduleError::Interval(interval, problem));
        if interval < Duration::from_secs(1) {
            return refuse("too short; write 1s or more");
        }
        let Ok(step) = TimeDelta::from_std(interval) else {
            return refuse("longer than any calendar; write a shorter one, such as 1h");
        };
        Ok(Schedule {
            rhythm: Rhythm::Every(step),
            text: format!("every {}", humantime::format_duration(interval)),
            zone: Zone::Utc,
        })
    }

    /// The first firing strictly after `after`; never goes back when `after` goes forward. `None` at the end
    /// of time: for a line, after 2100.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rhythm {
            Rhythm::Every(step) => after.checked_add_signed(*step),
            Rhythm::Cron { days, repeats_in_fold } => {
                next_firing(days, self.zone.tz(), *repeats_in_fold, after)
            }
        }
    }

    /// The next `count` firings, in order; fewer at the end of time.
    pub fn upcoming(&self, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
        self.firings(after).take(count).collect()
    }

    /// The longest time between two firings, among those after `from`; `None` if there are not two.
    ///
    /// Seen are 50 firings, and more until they cover 400 days or are 20,000. So a line that runs hourly or
    /// less often is seen for a whole year, one that runs every minute for two weeks.
    #[expect(clippy::disallowed_methods, reason = "an interval that cannot be told is not shown")]
    pub fn longest_interval(&self, from: DateTime<Utc>) -> Option<Duration> {
        // All intervals are the same, and a second's would be counted for hours.
        if let Rhythm::Every(step) = &self.rhythm {
            return step.to_std().ok();
        }
        let end = from.checked_add_days(LOOK_AHEAD).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let mut longest = None;
        let mut previous = None;
        for (seen, at) in self.firings(from).take(MAX_FIRINGS).enumerate() {
            longest = longest.max(previous.map(|before| at - before));
            previous = Some(at);
            // After the interval is counted, so that the one which spans the end is.
            if seen >= MIN_FIRINGS && at > end {
                break;
            }
        }
        longest.and_then(|gap| gap.to_std().ok())
    }

    /// The time zone of the line. An interval has none, and says UTC.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    fn firings(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rhythm {
            Rhythm::Every(_) => f.write_str(&self.text),
            Rhythm::Cron { .. } => write!(f, "{} in {}", self.text, self.zone),
        }
    }
}
