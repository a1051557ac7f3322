//! A second reading of crontab(5), made for nothing but comparison: by text, a minute at a time.

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

fn field_matches(field: &str, low: u32, high: u32, value: u32) -> bool {
    field.split(',').any(|item| {
        let (span, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if span == "*" => (low, high),
            None => (span.parse().unwrap(), span.parse().unwrap()),
        };
        (from..=to).contains(&value) && (value - from).is_multiple_of(step.parse().unwrap())
    })
}

fn line_matches(line: &str, wall: NaiveDateTime) -> bool {
    let fields: Vec<&str> = line.split(' ').collect();
    let weekday = wall.weekday().num_days_from_sunday();
    let day = field_matches(fields[2], 1, 31, wall.day());
    let weekday =
        field_matches(fields[4], 0, 7, weekday) || weekday == 0 && field_matches(fields[4], 0, 7, 7);
    let star = fields[2].starts_with('*') || fields[4].starts_with('*');
    field_matches(fields[0], 0, 59, wall.minute())
        && field_matches(fields[1], 0, 23, wall.hour())
        && field_matches(fields[3], 1, 12, wall.month())
        && if star { day && weekday } else { day || weekday }
}

/// Walks real minutes and watches what the clock on the wall does: is it later than it ever was,
/// by how much; or does it show a time again.
fn walk(line: &str, tz: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let rhythm = line.split(' ').nth(1).unwrap().starts_with('*');
    let mut now = after.with_second(0).unwrap().with_nanosecond(0).unwrap() - TimeDelta::days(1);
    let mut latest = now.with_timezone(&tz).naive_local();
    let mut found = Vec::new();
    while now + minute <= until {
        now += minute;
        let wall = now.with_timezone(&tz).naive_local();
        let mut fires = rhythm && wall <= latest && line_matches(line, wall);
        while latest < wall {
            latest += minute;
            fires |= line_matches(line, latest);
        }
        if fires && now > after {
            found.push(now);
        }
    }
    found
}

type Instant = Option<DateTime<Utc>>;

/// The first firing that differs: ours, and the walk's.
fn first_difference(
    schedule: &Schedule,
    walked: &[DateTime<Utc>],
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<(Instant, Instant)> {
    let ours: Vec<_> = schedule.firings(after).take_while(|firing| *firing <= until).collect();
    let longest = ours.len().max(walked.len());
    let pairs = (0..longest).map(|i| (ours.get(i).copied(), walked.get(i).copied()));
    pairs.into_iter().find(|(ours, walked)| ours != walked)
}

fn item(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let step = 1..=high.min(20);
    prop_oneof![
        3 => (low..=high).prop_map(|value| value.to_string()),
        2 => range.clone(),
        2 => (range, step.clone()).prop_map(|(range, step)| format!("{range}/{step}")),
        1 => step.prop_map(|step| format!("*/{step}")),
    ]
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let list = prop::collection::vec(item(low, high), 1..4).prop_map(|items| items.join(","));
    prop_oneof![2 => Just("*".to_owned()), 3 => list]
}

fn line() -> impl Strategy<Value = String> {
    (
        field(0, 59),
        field(0, 23),
        field(1, 31),
        prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 12)],
        field(0, 7),
    )
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(192), ..ProptestConfig::default() })]

    /// Any line, any minute of four years, no transition near: crate, translation and crontab(5) agree.
    #[test]
    fn agrees_with_a_walk_by_the_minute(line in line(), minute in 0_i64..4 * 365 * 1440, second in 0_i64..60) {
        let after = at("2023-01-01T00:00:00Z") + TimeDelta::minutes(minute) + TimeDelta::seconds(second);
        let until = after + TimeDelta::days(4);
        if let Ok(schedule) = Schedule::parse(&line, Zone::Utc) {
            prop_assert_eq!(first_difference(&schedule, &walk(&line, Tz::UTC, after, until), after, until), None);
        }
    }

    /// The same across the transitions, where the walk applies the rules at the top of `schedule.rs` in its own way.
    #[test]
    fn agrees_with_a_walk_across_transitions(
        line in (field(0, 59), field(0, 4), field(1, 31), field(0, 7))
            .prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}")),
        (tz, transition) in prop::sample::select(vec![
            (Tz::Europe__Berlin, "2024-03-31T01:00:00Z"), (Tz::Europe__Berlin, "2024-10-27T01:00:00Z"),
            (Tz::America__New_York, "2024-03-10T07:00:00Z"), (Tz::America__New_York, "2024-11-03T06:00:00Z"),
            (Tz::Asia__Beirut, "2024-03-30T22:00:00Z"), (Tz::Asia__Beirut, "2024-10-26T21:00:00Z"),
            (Tz::Australia__Lord_Howe, "2024-04-06T15:00:00Z"), (Tz::Australia__Lord_Howe, "2024-10-05T15:30:00Z"),
            (Tz::America__Havana, "2024-11-03T05:00:00Z"), (Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
        ]),
        second in -4 * 3600_i64..4 * 3600,
    ) {
        let after = at(transition) + TimeDelta::seconds(second);
        let until = after + TimeDelta::days(1);
        let schedule = Schedule::parse(&line, Zone::Named(tz)).unwrap();
        prop_assert_eq!(first_difference(&schedule, &walk(&line, tz, after, until), after, until), None);
    }

    /// Strictly after, and never back when the question goes forward.
    #[test]
    fn is_strictly_after_and_monotone(line in line(), zone in 0..chrono_tz::TZ_VARIANTS.len(),
        first in 0_i64..3_000_000_000, ahead in 0_i64..200_000)
    {
        if let Ok(schedule) = Schedule::parse(&line, Zone::Named(chrono_tz::TZ_VARIANTS[zone])) {
            let early = DateTime::from_timestamp(first, 0).unwrap();
            let late = early + TimeDelta::seconds(ahead);
            let (a, b) = (schedule.next_after(early).unwrap(), schedule.next_after(late).unwrap());
            prop_assert!(a > early && b > late && a <= b, "{} {} {} {}", early, a, late, b);
            prop_assert!(a > late || b > a);
            prop_assert!(a <= late || b == a);
        }
    }
}
