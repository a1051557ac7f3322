use std::time::Duration;

use super::duration;

#[test]
fn durations_have_a_unit_and_no_calendar() {
    for (text, seconds) in [
        ("90s", 90),
        ("30m", 1_800),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        ("1w2d3h4m5s", 788_645),
        ("0s", 0),
        ("007d", 604_800),
        ("36525d", 3_155_760_000),
    ] {
        assert_eq!(duration::parse(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    let forms = "write it like `90s`, `30m`, `24h`, `7d`, `2w` or `1d12h`";
    for text in [
        "", "7", "7dd", "P7D", "-7d", "+7d", "7D", "d", "y", "1.5h", "7 d", " 7d", "1d 12h", "12h1d", "7d7d",
        "7d5", "5ms", "1d,2h", "١d", "forever",
    ] {
        let error = duration::parse(text).unwrap_err();
        assert_eq!(error.to_string(), format!("`{text}` is not a duration; {forms}"));
    }
    for text in ["1M", "6mo", "2months", "1y", "1year", "1y2w"] {
        let expected = format!(
            "`{text}` counts in months or years, which differ in length; use `d` or `w`, as in `30d` or `52w`"
        );
        assert_eq!(duration::parse(text).unwrap_err().to_string(), expected);
    }
    for text in ["36526d", "36525d1s", "99999999999999999999d", "18446744073709551615w"] {
        let expected = format!("`{text}` is more than 100 years; write a shorter one");
        assert_eq!(duration::parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_spelled_duration_is_read_again() {
    for (seconds, text) in [(0, "0s"), (59, "59s"), (3_600, "1h"), (1_209_600, "14d"), (129_601, "1d12h1s")] {
        let duration = Duration::from_secs(seconds);
        assert_eq!(duration::spell(duration), text);
        assert_eq!(duration::parse(text), Ok(duration));
    }
}
