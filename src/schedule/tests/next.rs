//! The next firing, in zones with gaps and folds.

use super::*;

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
