//! Text for a terminal. Names and labels come from strangers: nothing of them reaches a terminal unchecked.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A text on one line without control, formatting or bidirectional characters: each is written as `\u{...}`.
pub fn safe(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            clean.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Controls, line and paragraph separators, zero-width and bidirectional formatting (Unicode categories Cc, Zl, Zp, Cf), and what
/// is no character.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xAD | 0x61C
                | 0x180E
                | 0x200B..=0x200F
                | 0x2028..=0x202E
                | 0x2060..=0x206F
                | 0xFE00..=0xFE0F
                | 0xFEFF
                | 0xFFF0..=0xFFFB
                | 0xE0000..=0xE0FFF
                | 0xE000..=0xF8FF
        )
}

/// A text in so many places of a terminal: what is longer ends in `…`.
pub fn shortened(text: &str, places: usize) -> String {
    if text.width() <= places {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = places.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(c);
    }
    short.push('…');
    short
}

/// Bytes with a decimal unit, as `df -H` and the Docker CLI write them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut divisor = 1000_u64;
    while count / divisor >= 1000 && unit + 1 < UNITS.len() {
        divisor = divisor.saturating_mul(1000);
        unit += 1;
    }
    let tenths = u128::from(count) * 10 / u128::from(divisor);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EB"))
}

/// The two largest units of a duration: `3d 4h`, `12m 5s`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts
        .iter()
        .skip(first)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// A time for people: UTC, to the minute.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%MZ").to_string()
}

/// A time for programs: RFC 3339, UTC, whole seconds.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `1 volume`, `2 volumes`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(safe("a\u{1b}[31mb\n\u{202e}c\u{7f}"), "a\\u{1b}[31mb\\u{a}\\u{202e}c\\u{7f}");
        assert_eq!(safe("größe-日本"), "größe-日本");
    }

    #[test]
    fn what_is_too_long_is_cut_by_its_width() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("日本日本", 6), "日本…");
        assert_eq!(shortened("größe", 3), "gr…");
    }

    #[test]
    fn sizes_are_decimal() {
        let cases =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_999_999, "1.9 MB"), (u64::MAX, "18.4 EB")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations_show_two_units() {
        let cases = [(0, "0s"), (59, "59s"), (3600, "1h"), (90_061, "1d 1h"), (86_460, "1d"), (61, "1m 1s")];
        for (seconds, text) in cases {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
