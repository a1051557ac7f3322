//! The fields of a crontab line: read into sets of numbers, and handed on as Quartz has them. What is wrong with one is told with
//! what to write.

use super::ScheduleError;

/// What a word with `@` stands for (crontab(5), "extensions").
pub(super) fn shortcut(word: &str, alone: bool) -> Result<[&'static str; 5], ScheduleError> {
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
pub(super) fn translate(
    [minute, hour, day, month, weekday]: [&str; 5],
) -> Result<Vec<String>, ScheduleError> {
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
    #[expect(clippy::disallowed_methods, reason = "the caller refuses what is not a number")]
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
