//! Durations as an administrator writes them: `90s`, `30m`, `24h`, `7d`, `2w`, `1d12h`.
//!
//! Not humantime's grammar: that one reads `1M` as a month and `1m` as a minute, and a grace period must not hang on the
//! shift key.

use std::time::Duration;

/// Units and their seconds, largest first; they must be written in this order.
const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// What people write for units that have no fixed length.
const CALENDAR_UNITS: [&str; 11] =
    ["M", "mo", "mon", "month", "months", "y", "Y", "yr", "yrs", "year", "years"];

/// A hundred years in seconds. Longer ones would leave the range of the calendar when they are added to a date.
const LONGEST: u64 = 36_525 * 86_400;

/// A text that is no duration, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Not of the accepted form.
    #[error("`{0}` is not a duration; write it like `90s`, `30m`, `24h`, `7d`, `2w` or `1d12h`")]
    Form(String),
    /// In months or years.
    #[error("`{0}` counts in months or years, which differ in length; use `d` or `w`, as in `30d` or `52w`")]
    Calendar(String),
    /// More than a hundred years.
    #[error("`{0}` is more than 100 years; write a shorter one")]
    TooLong(String),
}

/// Reads a duration of whole seconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let form = || DurationError::Form(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut units = UNITS.iter();
    let mut seconds = 0_u64;
    let mut rest = text;
    loop {
        let (number, tail) = leading(rest, |c| c.is_ascii_digit());
        let (unit, tail) = leading(tail, char::is_alphabetic);
        if !number.is_empty() && CALENDAR_UNITS.contains(&unit) {
            return Err(DurationError::Calendar(text.to_owned()));
        }
        // The iterator never goes back, so that `1m1d` or `7d7d`, more likely slips than meant, are refused.
        let Some((_, length)) = units.find(|(known, _)| *known == unit) else { return Err(form()) };
        if number.is_empty() {
            return Err(form());
        }
        // All are digits, so this fails for too many of them alone.
        let number = number.parse::<u64>().map_err(|_| too_long())?;
        seconds =
            number.checked_mul(*length).and_then(|more| seconds.checked_add(more)).ok_or_else(too_long)?;
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    if seconds > LONGEST { Err(too_long()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Writes a duration so that [`parse`] reads it again: `14d`, `1d12h`, `0s`. Fractions of a second are left out.
pub fn spell(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    // Without weeks: `14d` is what the documentation says, and `10d` would be `1w3d`.
    for (unit, length) in UNITS.iter().skip(1) {
        if rest >= *length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

/// `text` cut after its longest beginning of such characters.
fn leading(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|letter| !belongs(letter)).unwrap_or(text.len()))
}
