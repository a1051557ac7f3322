//! Names of zones.

use chrono_tz::Tz;

use super::*;

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
