//! Names of time zones, and the one of the system.

use std::fmt;
use std::str::FromStr as _;

use chrono_tz::Tz;

use super::ScheduleError;

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

    pub(super) fn from_system(answer: Result<String, iana_time_zone::GetTimezoneError>) -> Zone {
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

    pub(super) fn tz(&self) -> Tz {
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
