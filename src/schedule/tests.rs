use chrono::Timelike;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

fn schedule(line: &str, zone: &str) -> Schedule {
    Schedule::parse(line, Zone::parse(zone).expect("zone")).expect("line")
}

fn refusal(line: &str) -> String {
    Schedule::parse(line, Zone::Utc).expect_err(line).to_string()
}

/// The firings after `from` up to and with `to`, as local times with their offsets.
fn local(line: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let schedule = schedule(line, zone);
    let firings = schedule.firings(at(from)).take_while(|firing| *firing <= at(to));
    firings
        .map(|firing| firing.with_timezone(&schedule.zone().tz()).format("%d %H:%M%z").to_string())
        .collect()
}

/// Berlin's gap is 2024-03-31 02:00 to 03:00, its fold 2024-10-27 03:00 back to 02:00.
fn berlin_gap(line: &str) -> Vec<String> {
    local(line, "Europe/Berlin", "2024-03-30T23:59:59Z", "2024-03-31T02:00:00Z")
}

fn berlin_fold(line: &str) -> Vec<String> {
    local(line, "Europe/Berlin", "2024-10-26T22:59:59Z", "2024-10-27T02:00:00Z")
}

#[test]
fn weekdays_are_those_of_crontab_and_not_of_quartz() {
    // 2024-01-01 is a Monday.
    let days = |line: &str| -> Vec<u32> {
        schedule(line, "UTC")
            .upcoming(at("2024-01-01T00:00:00Z"), 7)
            .iter()
            .map(Datelike::day)
            .take(3)
            .collect()
    };
    for sunday in ["0 3 * * 0", "0 3 * * 7", "0 3 * * SUN", "0 3 * * sun"] {
        assert_eq!(days(sunday), [7, 14, 21], "{sunday}");
    }
    assert_eq!(days("0 3 * * 1"), [1, 8, 15]);
    assert_eq!(days("0 3 * * Mon-tue"), [1, 2, 8]);
    assert_eq!(days("0 3 * * 6-7"), [6, 7, 13]);
    assert_eq!(days("0 3 * * SAT,sun"), [6, 7, 13]);
    assert_eq!(days("0 3 * * 5-7/2"), [5, 7, 12]);
    assert_eq!(days("@weekly"), [7, 14, 21]);
    assert_eq!(days("@DAILY"), [2, 3, 4]);
    assert_eq!(days("0 0 * feb,MAR *"), [1, 2, 3]);
}

#[test]
fn two_restricted_day_fields_are_either_and_a_star_makes_them_both() {
    let days = |line: &str| -> Vec<u32> {
        schedule(line, "UTC").upcoming(at("2024-01-01T12:00:00Z"), 5).iter().map(Datelike::day).collect()
    };
    assert_eq!(days("0 3 13 * FRI"), [5, 12, 13, 19, 26]);
    // A list of all days is a restriction, and names every day.
    assert_eq!(days("0 3 1-31 * FRI"), [2, 3, 4, 5, 6]);
    // Odd days that are Mondays; Mondays and Wednesdays that are the 8th to the 14th.
    assert_eq!(days("0 3 */2 * MON"), [15, 29, 5, 19, 11]);
    assert_eq!(days("0 3 8-14 * */3"), [10, 13, 14, 10, 11]);
}

#[test]
fn words_stand_for_what_crontab_says() {
    for (word, line) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ] {
        let from = at("2024-02-03T04:05:06Z");
        assert_eq!(
            schedule(word, "UTC").upcoming(from, 30),
            schedule(line, "UTC").upcoming(from, 30),
            "{word}"
        );
    }
}

#[test]
fn a_refusal_says_which_field_is_wrong_and_what_to_write() {
    for (line, message) in [
        (
            "",
            "the schedule is empty; write five fields: minute hour day month weekday, as in `17 * * * *`, or `@daily`",
        ),
        (
            "0 0 3 * * *",
            "`0 0 3 * * *` has six fields: seconds are not supported; five fields: minute hour day month weekday",
        ),
        ("0 3 * *", "`0 3 * *` has 4 field(s); write five fields: minute hour day month weekday"),
        (
            "CRON_TZ=UTC 0 3 * * *",
            "`CRON_TZ=UTC` is a variable, not a field; the time zone has its own key, `timezone`",
        ),
        ("@every 1h", "`@every` cannot be used like this; in place of `cron`, write `interval = \"1h\"`"),
        (
            "@reboot",
            "`@reboot` cannot be used like this; write when to sweep, as in `@hourly`, and run `volgc sweep` from a unit \
             at boot",
        ),
        ("@daily 3", "`@daily` cannot be used like this; it stands alone, without fields or words after it"),
        (
            "@fortnightly",
            "`@fortnightly` cannot be used like this; write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or \
             @annually",
        ),
        ("60 * * * *", "the minute field `60`: 60 is out of range; write a number from 0 to 59"),
        ("* 24 * * *", "the hour field `24`: 24 is out of range; write a number from 0 to 23"),
        ("* * 0 * *", "the day field `0`: 0 is out of range; write a number from 1 to 31"),
        ("* * * 13 *", "the month field `13`: 13 is out of range; write a number from 1 to 12"),
        (
            "* * * * 8",
            "the weekday field `8`: 8 is out of range; write a number from 0 to 7 (0 and 7 are Sunday)",
        ),
        (
            "99999999999999999999 * * * *",
            "the minute field `99999999999999999999`: 99999999999999999999 is out of range; write a number from 0 to 59",
        ),
        (
            "* * * * Monday",
            "the weekday field `Monday`: `Monday` is not known; write a number from 0 to 7, or a name from SUN to SAT",
        ),
        ("* * L * *", "the day field `L`: `L` is not known; write a number from 1 to 31"),
        ("* * ? * *", "the day field `?`: `?` is not of crontab(5); write `*`"),
        ("+5 * * * *", "the minute field `+5`: `+5` is not known; write a number from 0 to 59"),
        ("1,,2 * * * *", "the minute field `1,,2`: a value is missing; write a number from 0 to 59"),
        ("5/15 * * * *", "the minute field `5/15`: a step needs a range; write `5-59/15`, or `5` alone"),
        ("* * * FEB/2 *", "the month field `FEB/2`: a step needs a range; write `FEB-DEC/2`, or `FEB` alone"),
        (
            "*/90 * * * *",
            "the minute field `*/90`: `/90` is not a step within the minute; write a whole number from 1 to 59 after `/`",
        ),
        (
            "*/0 * * * *",
            "the minute field `*/0`: `/0` is not a step within the minute; write a whole number from 1 to 59 after `/`",
        ),
        ("* * * * FRI-MON", "the weekday field `FRI-MON`: `FRI-MON` runs backwards; write `FRI-SAT,SUN-MON`"),
        ("* * * * sat-sun", "the weekday field `sat-sun`: `sat-sun` runs backwards; write `sat,SUN`"),
        ("* * * NOV-FEB *", "the month field `NOV-FEB`: `NOV-FEB` runs backwards; write `NOV-DEC,JAN-FEB`"),
        ("* 22-2 * * *", "the hour field `22-2`: `22-2` runs backwards; write `22-23,0-2`"),
        ("* 22-2/2 * * *", "the hour field `22-2/2`: `22-2/2` runs backwards; write a list of the values"),
    ] {
        assert_eq!(refusal(line), message, "{line}");
    }
}

#[test]
fn what_a_refusal_tells_to_write_is_accepted() {
    for line in [
        "5-59/15 * * * *",
        "* * * FEB-DEC/2 *",
        "* * * * FRI-SAT,SUN-MON",
        "* * * NOV-DEC,JAN-FEB *",
        "* 22-23,0-2 * * *",
    ] {
        schedule(line, "UTC");
    }
}

#[test]
fn a_line_that_never_comes_is_refused() {
    for line in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30 2 */2"] {
        assert!(refusal(line).contains("never comes"), "{line}");
    }
    // Rare is not never, and with both day fields the Mondays of February remain.
    let leap = schedule("0 0 29 2 *", "UTC");
    assert_eq!(leap.next_after(at("2096-03-01T00:00:00Z")), None);
    assert_eq!(leap.next_after(at("2024-03-01T00:00:00Z")), Some(at("2028-02-29T00:00:00Z")));
    assert_eq!(
        schedule("0 0 30 2 MON", "UTC").next_after(at("2024-01-01T00:00:00Z")),
        Some(at("2024-02-05T00:00:00Z"))
    );
}

#[test]
fn next_is_strictly_after_whatever_the_fraction() {
    let daily = schedule("30 2 * * *", "UTC");
    let (due, tomorrow) = (at("2024-01-01T02:30:00Z"), at("2024-01-02T02:30:00Z"));
    assert_eq!(daily.next_after(at("2024-01-01T02:29:59.999999999Z")), Some(due));
    assert_eq!(daily.next_after(due), Some(tomorrow));
    assert_eq!(daily.next_after(at("2024-01-01T02:30:00.000000001Z")), Some(tomorrow));
    let leap_second = at("2016-12-31T23:59:60.5Z");
    assert_eq!(schedule("* * * * *", "UTC").next_after(leap_second), Some(at("2017-01-01T00:00:00Z")));
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for zone in ["UTC", "Pacific/Kiritimati", "America/Anchorage"] {
        for line in ["* * * * *", "0 3 1 * MON"] {
            let schedule = schedule(line, zone);
            assert_eq!(schedule.next_after(DateTime::<Utc>::MAX_UTC), None);
            assert_eq!(schedule.next_after(at("2101-01-02T00:00:00Z")), None);
            assert_eq!(schedule.longest_interval(DateTime::<Utc>::MAX_UTC), None);
            let before = schedule.next_after(at("1960-01-01T00:00:00Z"));
            assert!(before.is_some_and(|first| first > at("1969-12-30T00:00:00Z")), "{before:?}");
            assert!(
                schedule
                    .next_after(DateTime::<Utc>::MIN_UTC)
                    .is_none_or(|first| first > at("1969-12-30T00:00:00Z"))
            );
        }
    }
}

#[test]
fn a_time_in_the_gap_runs_once_right_after_it() {
    assert_eq!(berlin_gap("30 2 * * *"), ["31 03:00+0200"]);
    assert_eq!(berlin_gap("10,20,30 2 * * *"), ["31 03:00+0200"]);
    // A rhythm that has the instant anyway does not run twice; one that has not runs once more.
    assert_eq!(
        berlin_gap("*/30 * * * *"),
        ["31 01:00+0100", "31 01:30+0100", "31 03:00+0200", "31 03:30+0200", "31 04:00+0200"]
    );
    assert_eq!(berlin_gap("17 * * * *"), ["31 01:17+0100", "31 03:00+0200", "31 03:17+0200"]);
    let local = |zone, from, to| local("15 2 * * *", zone, from, to);
    assert_eq!(
        local("America/New_York", "2024-03-09T20:00:00Z", "2024-03-11T12:00:00Z"),
        ["10 03:00-0400", "11 02:15-0400"]
    );
    // 02:00 to 02:30.
    assert_eq!(
        local("Australia/Lord_Howe", "2024-10-04T20:00:00Z", "2024-10-06T20:00:00Z"),
        ["06 02:30+1100", "07 02:15+1100"]
    );
}

#[test]
fn midnight_in_the_gap_is_still_that_day() {
    assert_eq!(
        local("@daily", "Asia/Beirut", "2024-03-29T22:00:00Z", "2024-03-31T22:00:00Z"),
        ["31 01:00+0300", "01 00:00+0300"]
    );
    // Sunday, 31 March: the weekday of the line is that of the time it names.
    assert_eq!(
        local("0 0 * * SUN", "Asia/Beirut", "2024-03-29T22:00:00Z", "2024-04-06T21:00:00Z"),
        ["31 01:00+0300", "07 00:00+0300"]
    );
}

#[test]
fn a_whole_day_in_the_gap_runs_after_it() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        local("0 3 * * *", "Pacific/Apia", "2011-12-29T13:00:00Z", "2011-12-31T14:00:00Z"),
        ["31 00:00+1400", "31 03:00+1400", "01 03:00+1400"]
    );
}

#[test]
fn a_fixed_time_in_the_fold_runs_at_its_first_occurrence() {
    assert_eq!(berlin_fold("30 2 * * *"), ["27 02:30+0200"]);
    assert_eq!(berlin_fold("*/30 2 * * *"), ["27 02:00+0200", "27 02:30+0200"]);
    assert_eq!(berlin_fold("0 1-3 * * *"), ["27 01:00+0200", "27 02:00+0200", "27 03:00+0100"]);
    // Asked between the two, and in the second: done for today.
    let daily = schedule("30 2 * * *", "Europe/Berlin");
    for asked in
        ["2024-10-27T00:30:00Z", "2024-10-27T00:59:00Z", "2024-10-27T01:10:00Z", "2024-10-27T01:30:00Z"]
    {
        assert_eq!(daily.next_after(at(asked)), Some(at("2024-10-28T01:30:00Z")), "{asked}");
    }
    assert_eq!(
        local("45 1 * * *", "Australia/Lord_Howe", "2024-04-05T20:00:00Z", "2024-04-07T20:00:00Z"),
        ["07 01:45+1100", "08 01:45+1030"]
    );
}

#[test]
fn a_rhythm_runs_in_both_halves_of_the_fold() {
    assert_eq!(berlin_fold("17 * * * *"), ["27 01:17+0200", "27 02:17+0200", "27 02:17+0100"]);
    assert_eq!(
        berlin_fold("*/30 * * * *"),
        [
            "27 01:00+0200",
            "27 01:30+0200",
            "27 02:00+0200",
            "27 02:30+0200",
            "27 02:00+0100",
            "27 02:30+0100",
            "27 03:00+0100"
        ]
    );
    assert_eq!(berlin_fold("0 */2 * * *"), ["27 02:00+0200", "27 02:00+0100"]);
    assert_eq!(berlin_fold("@hourly"), ["27 01:00+0200", "27 02:00+0200", "27 02:00+0100", "27 03:00+0100"]);
    assert_eq!(
        local("*/20 * * * *", "America/New_York", "2024-11-03T05:30:00Z", "2024-11-03T06:40:00Z"),
        ["03 01:40-0400", "03 01:00-0500", "03 01:20-0500", "03 01:40-0500"]
    );
    // 02:00 back to 01:30.
    assert_eq!(
        local("*/15 * * * *", "Australia/Lord_Howe", "2024-04-06T14:20:00Z", "2024-04-06T15:30:00Z"),
        ["07 01:30+1100", "07 01:45+1100", "07 01:30+1030", "07 01:45+1030", "07 02:00+1030"]
    );
    // The fold goes back over midnight, and the day of the line with it.
    assert_eq!(
        local("30 * 26 10 *", "Asia/Beirut", "2024-10-26T19:00:00Z", "2024-10-27T12:00:00Z"),
        ["26 22:30+0300", "26 23:30+0300", "26 23:30+0200"]
    );
}

#[test]
fn an_interval_counts_from_what_it_is_asked() {
    let hourly = Schedule::every(Duration::from_hours(1)).expect("an hour");
    assert_eq!(hourly.next_after(at("2024-03-31T00:30:07Z")), Some(at("2024-03-31T01:30:07Z")));
    assert_eq!(hourly.longest_interval(at("2024-01-01T00:00:00Z")), Some(Duration::from_hours(1)));
    assert_eq!(hourly.next_after(DateTime::<Utc>::MAX_UTC), None);
    assert_eq!(hourly.to_string(), "every 1h");
    assert!(Schedule::every(Duration::from_secs(1)).is_ok());
    let refused = |interval| Schedule::every(interval).expect_err("refused").to_string();
    assert_eq!(refused(Duration::from_millis(999)), "an interval of 999ms is too short; write 1s or more");
    assert!(refused(Duration::MAX).contains("longer than any calendar"));
}

#[test]
fn the_longest_interval_is_that_of_a_year() {
    let longest = |line: &str| {
        let longest =
            schedule(line, "UTC").longest_interval(at("2024-01-01T00:00:00Z")).expect("two firings");
        TimeDelta::from_std(longest).expect("fits")
    };
    assert_eq!(longest("*/5 * * * *"), TimeDelta::minutes(5));
    assert_eq!(longest("0 3 * * *"), TimeDelta::days(1));
    // Friday 17:55 to Monday 09:00: far more than 50 firings away.
    assert_eq!(longest("*/5 9-17 * * MON-FRI"), TimeDelta::minutes(3 * 1440 - 8 * 60 - 55));
    assert_eq!(longest("0 * * 1-3 *"), TimeDelta::hours(275 * 24 + 1));
    // Rarer than yearly: as many firings as it takes. Friday or Sunday, 13 January; the 29th of February.
    let rare = schedule("0 0 13 1 */5", "UTC").upcoming(at("2024-01-01T00:00:00Z"), 50);
    let gaps: Vec<TimeDelta> =
        rare.iter().zip(rare.iter().skip(1)).map(|(early, late)| *late - *early).collect();
    assert!(gaps.first() < gaps.iter().max());
    assert_eq!(Some(&longest("0 0 13 1 */5")), gaps.iter().max());
    assert_eq!(longest("0 0 29 2 *"), TimeDelta::days(4 * 365 + 1));
    assert_eq!(schedule("0 0 1 1 *", "UTC").longest_interval(at("2099-06-01T00:00:00Z")), None);
}

#[test]
fn a_schedule_prints_its_line_and_its_zone() {
    assert_eq!(schedule(" 17  * * *\t* ", "Europe/Berlin").to_string(), "17 * * * * in Europe/Berlin");
    let zone = Zone::from_system(Ok("Asia/Beirut".to_owned()));
    assert_eq!(Schedule::parse("@daily", zone).expect("line").to_string(), "@daily in Asia/Beirut (local)");
}

#[test]
fn zones_are_read_and_a_slip_gets_a_hint() {
    assert_eq!(Zone::parse("utc").expect("UTC"), Zone::Utc);
    assert_eq!(Zone::parse(" Europe/Berlin ").expect("Berlin"), Zone::Named(Tz::Europe__Berlin));
    assert_eq!(Zone::parse("Europe/Berlin").expect("Berlin").name(), "Europe/Berlin");
    assert!(matches!(Zone::parse("Local").expect("local"), Zone::Local { .. }));
    let refused = |name: &str| Zone::parse(name).expect_err(name).to_string();
    for (slip, meant) in [
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("Europe/Berlinn", "Europe/Berlin"),
        ("Lord Howe", "Australia/Lord_Howe"),
        ("America/New York", "America/New_York"),
        ("Europe/Mnich", "Europe/Munich"),
    ] {
        if meant == "Europe/Munich" {
            assert!(!refused(slip).contains("Munich"), "there is no such zone");
        } else {
            assert!(refused(slip).contains(&format!("did you mean `{meant}`?")), "{}", refused(slip));
        }
    }
    for name in ["", "Nowhere/Atlantis", "UTC+2", "GMT+1", "Zürich/Ö"] {
        assert_eq!(
            refused(name),
            format!(
                "unknown time zone `{name}`; write `local`, `UTC` or an IANA name such as `Europe/Berlin`"
            )
        );
    }
}

#[test]
fn a_system_that_does_not_know_its_zone_gets_utc_and_a_note() {
    let known = Zone::from_system(Ok("Europe/Berlin".to_owned()));
    assert_eq!((known.name(), known.note()), ("Europe/Berlin", None));
    for answer in [Ok("Mars/Olympus".to_owned()), Err(iana_time_zone::GetTimezoneError::OsError)] {
        let zone = Zone::from_system(answer);
        assert_eq!(zone.name(), "UTC");
        assert!(zone.note().is_some_and(|note| note.contains("using UTC")), "{zone:?}");
    }
}

// A second reading of crontab(5), made for nothing but comparison: by text, a minute at a time.

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
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Any line, any minute of four years, no transition near: crate, translation and crontab(5) agree.
    #[test]
    fn agrees_with_a_walk_by_the_minute(line in line(), minute in 0_i64..4 * 365 * 1440, second in 0_i64..60) {
        let after = at("2023-01-01T00:00:00Z") + TimeDelta::minutes(minute) + TimeDelta::seconds(second);
        let until = after + TimeDelta::days(4);
        if let Ok(schedule) = Schedule::parse(&line, Zone::Utc) {
            prop_assert_eq!(first_difference(&schedule, &walk(&line, Tz::UTC, after, until), after, until), None);
        }
    }

    /// The same across the transitions, where the walk applies the rules at the top of the file in its own way.
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
