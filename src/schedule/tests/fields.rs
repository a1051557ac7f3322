//! Lines: what is read, and what is refused.

use chrono::Datelike;

use super::*;

fn refusal(line: &str) -> String {
    Schedule::parse(line, Zone::Utc).expect_err(line).to_string()
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
