//! When the service sweeps: a crontab line in a time zone, or a plain interval.
//!
//! Pure but for [`Zone::parse`] of `local`, which asks the system for the name of its zone. No clock is read
//! here: every question is asked with a time.
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
//! `1` is Sunday, both day fields must match. So a line is read here into sets of numbers and handed on as
//! plain lists, as one Quartz schedule, or as two (by day, by weekday) when either day field is enough. Its
//! years end at 2100, and so do ours.
//!
//! # Summer time
//!
//! Cron 0.17 skips a time in the spring gap, and repeats and reorders those in the autumn fold. So it is only
//! ever asked about wall-clock times, as if they were UTC, and this file maps them to the zone:
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

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, Days, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// The order of the fields, as every message about their number gives it.
const FIELDS: &str = "five fields: minute hour day month weekday";

/// Where the years of cron 0.17 end.
const LAST_YEAR: i32 = 2100;

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
    /// The cron crate refused what this file made of the line: a mistake in this file.
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

/// The time zone of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// No summer time, no surprise.
    Utc,
    /// One of the IANA database.
    Named(Tz),
    /// The system's own.
    Local {
        /// Which it is; UTC when that is not known.
        tz: Tz,
        /// Why it is not known.
        note: Option<String>,
    },
}

impl Zone {
    /// Reads `local`, `UTC` (both in any case) or an IANA name.
    ///
    /// `local` is what `/etc/localtime` or `/etc/timezone` says; the variable `TZ` is not looked at
    /// (iana-time-zone 0.1).
    pub fn parse(text: &str) -> Result<Zone, ScheduleError> {
        let name = text.trim();
        if name.eq_ignore_ascii_case("local") {
            return Ok(Zone::from_system(iana_time_zone::get_timezone()));
        }
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Zone::Utc);
        }
        Tz::from_str(name)
            .map(Zone::Named)
            .map_err(|_| ScheduleError::Zone(name.to_owned(), nearest_zone(name)))
    }

    fn from_system(answer: Result<String, iana_time_zone::GetTimezoneError>) -> Zone {
        let tz = answer.map_err(|error| error.to_string()).and_then(|name| {
            Tz::from_str(&name).map_err(|_| format!("it calls it `{name}`, which is no IANA name"))
        });
        match tz {
            Ok(tz) => Zone::Local { tz, note: None },
            Err(why) => Zone::Local {
                tz: Tz::UTC,
                note: Some(format!("the time zone of this system is not known ({why}): using UTC; name one")),
            },
        }
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.tz().name()
    }

    /// What the administrator should know: why `local` turned out as UTC.
    pub fn note(&self) -> Option<&str> {
        match self {
            Zone::Local { note, .. } => note.as_deref(),
            Zone::Utc | Zone::Named(_) => None,
        }
    }

    fn tz(&self) -> Tz {
        match self {
            Zone::Utc => Tz::UTC,
            Zone::Named(tz) | Zone::Local { tz, .. } => *tz,
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Utc | Zone::Named(_) => f.write_str(self.name()),
            Zone::Local { .. } => write!(f, "{} (local)", self.name()),
        }
    }
}

/// `did you mean ...? `, of the zone whose name, or whose last part, differs from `name` in one place by a
/// few letters. Digits are not guessed at: `UTC+2` is not a slip for `UTC`.
fn nearest_zone(name: &str) -> String {
    let wanted = name.to_lowercase();
    let far = |zone: &str| wanted.len().max(zone.len()) - alike(&wanted, zone);
    let near = |zone: &Tz| {
        let full = zone.name().to_lowercase();
        let city = full.rsplit('/').next().map_or(usize::MAX, far);
        (far(&full).min(city), zone.name())
    };
    match chrono_tz::TZ_VARIANTS.iter().map(near).min() {
        Some((distance, zone)) if distance <= wanted.len() / 4 && !wanted.contains(char::is_numeric) => {
            format!("did you mean `{zone}`? Else ")
        }
        Some(_) | None => String::new(),
    }
}

/// How many bytes two words share at their starts and ends.
fn alike(a: &str, b: &str) -> usize {
    let same = |(x, y): &(u8, u8)| x == y;
    let start = a.bytes().zip(b.bytes()).take_while(same).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(same).count();
    (start + end).min(a.len()).min(b.len())
}

/// The first instant after `after` on which a matching wall-clock time falls, by the rules at the top of this
/// file.
fn next_firing(
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

/// What a word with `@` stands for (crontab(5), "extensions").
fn shortcut(word: &str, alone: bool) -> Result<[&'static str; 5], ScheduleError> {
    let fail = |advice| Err(ScheduleError::Shortcut(word.to_owned(), advice));
    let fields = match word.to_ascii_lowercase().as_str() {
        "@hourly" => ["0", "*", "*", "*", "*"],
        "@daily" | "@midnight" => ["0", "0", "*", "*", "*"],
        "@weekly" => ["0", "0", "*", "*", "0"],
        "@monthly" => ["0", "0", "1", "*", "*"],
        "@yearly" | "@annually" => ["0", "0", "1", "1", "*"],
        "@reboot" => {
            return fail("write when to sweep, as in `@hourly`, and run `volgc sweep` from a unit at boot");
        }
        "@every" => return fail("in place of `cron`, write `interval = \"1h\"`"),
        _ => return fail("write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"),
    };
    if alone { Ok(fields) } else { fail("it stands alone, without fields or words after it") }
}

/// What one field may hold.
struct Unit {
    name: &'static str,
    min: u32,
    max: u32,
    /// Of `min` and what follows it.
    names: &'static [&'static str],
}

const MINUTE: Unit = Unit { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Unit = Unit { name: "hour", min: 0, max: 23, names: &[] };
const DAY: Unit = Unit { name: "day", min: 1, max: 31, names: &[] };
const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTH: Unit = Unit { name: "month", min: 1, max: 12, names: MONTHS };
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEKDAY: Unit = Unit { name: "weekday", min: 0, max: 7, names: WEEKDAYS };

/// One crontab line as one or two of Quartz.
fn translate([minute, hour, day, month, weekday]: [&str; 5]) -> Result<Vec<String>, ScheduleError> {
    // Vixie's rule, on the text: `1-31` names every day and is a restriction all the same.
    let either_day = !day.starts_with('*') && !weekday.starts_with('*');
    let (minute, hour) = (quartz(&MINUTE.read(minute)?), quartz(&HOUR.read(hour)?));
    let (day, month) = (quartz(&DAY.read(day)?), quartz(&MONTH.read(month)?));
    // 0 and 7 are one day, and Quartz calls it 1.
    let mut weekdays: Vec<u32> = WEEKDAY.read(weekday)?.into_iter().map(|day| day % 7 + 1).collect();
    weekdays.sort_unstable();
    let weekday = quartz(&weekdays);
    Ok(if either_day {
        vec![format!("0 {minute} {hour} {day} {month} *"), format!("0 {minute} {hour} * {month} {weekday}")]
    } else {
        vec![format!("0 {minute} {hour} {day} {month} {weekday}")]
    })
}

/// A plain list of numbers, which means the same in both dialects.
fn quartz(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl Unit {
    /// All the values that `text` selects.
    fn read(&self, text: &str) -> Result<Vec<u32>, ScheduleError> {
        let fail = |problem| ScheduleError::Field(self.name, text.to_owned(), problem);
        let mut selected = Vec::new();
        for item in text.split(',') {
            selected.extend(self.item(item).map_err(fail)?);
        }
        Ok(selected)
    }

    /// One item of a list; the error says what to write.
    fn item(&self, item: &str) -> Result<impl Iterator<Item = u32> + use<>, String> {
        let (span, step) = item.split_once('/').map_or((item, None), |(span, step)| (span, Some(step)));
        let (low, high) = match span.split_once('-') {
            _ if span == "*" => (self.min, self.max),
            Some((from, to)) => {
                let (low, high) = (self.value(from)?, self.value(to)?);
                if low > high {
                    return Err(self.backwards(item, from, to, step));
                }
                (low, high)
            }
            None => {
                let value = self.value(span)?;
                if let Some(step) = step {
                    // Quartz reads 5/15 as 5-59/15; crontab(5) has steps "in conjunction with ranges" alone.
                    let max = Self::end(self.names.last(), self.max, span);
                    return Err(format!(
                        "a step needs a range; write `{span}-{max}/{step}`, or `{span}` alone"
                    ));
                }
                (value, value)
            }
        };
        Ok((low..=high).step_by(self.step(step)?))
    }

    fn step(&self, step: Option<&str>) -> Result<usize, String> {
        let Some(text) = step else { return Ok(1) };
        let most = self.max;
        let bad = || {
            format!(
                "`/{text}` is not a step within the {}; write a whole number from 1 to {most} after `/`",
                self.name
            )
        };
        // Vixie takes `*/90` and runs at minute 0 alone, which nobody who writes it means.
        number(text).filter(|step| (1..=most as usize).contains(step)).ok_or_else(bad)
    }

    /// A number or a name.
    fn value(&self, text: &str) -> Result<u32, String> {
        let (min, max) = (self.min, self.max);
        let named = self.names.iter().zip(min..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = named {
            return Ok(value);
        }
        if let Some(value) = number(text).and_then(|value| u32::try_from(value).ok()) {
            let sunday = if max == 7 { " (0 and 7 are Sunday)" } else { "" };
            return if (min..=max).contains(&value) {
                Ok(value)
            } else {
                Err(format!("{text} is out of range; write a number from {min} to {max}{sunday}"))
            };
        }
        let or_name = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or a name from {first} to {last}"),
            _ => String::new(),
        };
        Err(match text {
            "" => format!("a value is missing; write a number from {min} to {max}{or_name}"),
            "?" => "`?` is not of crontab(5); write `*`".to_owned(),
            "*" => {
                "`*` stands alone or before a step, as in `*` or `*/2`; write it without a range".to_owned()
            }
            _ => format!("`{text}` is not known; write a number from {min} to {max}{or_name}"),
        })
    }

    /// A range whose end is before its start: Vixie cron refuses it (entry.c), so that `FRI-MON` has one
    /// meaning nowhere.
    fn backwards(&self, item: &str, from: &str, to: &str, step: Option<&str>) -> String {
        let first = Self::end(self.names.first(), self.min, to);
        let span =
            |a: &str, b: &str| if a.eq_ignore_ascii_case(b) { a.to_owned() } else { format!("{a}-{b}") };
        let (head, tail) = (span(from, &Self::end(self.names.last(), self.max, from)), span(&first, to));
        let instead =
            if step.is_some() { "a list of the values".to_owned() } else { format!("`{head},{tail}`") };
        format!("`{item}` runs backwards; write {instead}")
    }

    /// The first or last value, written as `like` is: by name or by number.
    fn end(name: Option<&&str>, value: u32, like: &str) -> String {
        name.filter(|_| number(like).is_none()).map_or_else(|| value.to_string(), |name| (*name).to_owned())
    }
}

/// Digits alone: `u32::from_str` would take `+5`. Too many of them are a number out of every range.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX as usize))
}

#[cfg(test)]
mod tests;
