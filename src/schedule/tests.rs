use super::*;

mod fields;
mod next;
mod walk;
mod zone;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

fn schedule(line: &str, zone: &str) -> Schedule {
    Schedule::parse(line, Zone::parse(zone).expect("zone")).expect("line")
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
