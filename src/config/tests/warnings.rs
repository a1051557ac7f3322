use super::*;

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    #[track_caller]
    fn warns(text: &str, expected: &[&str]) {
        assert_eq!(good(text).warnings(), expected, "{text}");
    }
    warns("[schedule]\ninterval = \"2d\"", &[]);
    warns(
        "[schedule]\ninterval = \"2d\"\njitter = \"1h\"",
        &[
            "up to 2d1h pass between two sweeps (`every 2d`), and limits.max_gap is 2d: the time above it does not count as \
           watched, so all graces take longer; sweep more often or raise max_gap",
        ],
    );
    warns(
        "[schedule]\ncron = \"0 3 * * 1-5\"\ntimezone = \"UTC\"",
        &[
            "up to 3d pass between two sweeps (`0 3 * * 1-5`), and limits.max_gap is 2d: the time above it does not count as \
           watched, so all graces take longer; sweep more often or raise max_gap",
        ],
    );
    warns("[schedule]\ninterval = \"1h\"\njitter = \"59m\"", &[]);
    warns(
        "[schedule]\ninterval = \"1h\"\njitter = \"1h\"",
        &[
            "schedule.jitter is 1h, and never more than 1h pass between two times of `every 1h`: sweeps are put off until \
           after the next one is due",
        ],
    );
    warns("[limits]\nmin_grace = \"1h\"", &[]);
    warns(
        "[limits]\nmin_grace = \"59m\"",
        &[
            "limits.min_grace is 59m: a grace that short can take the volumes of a stack that is only being deployed again",
        ],
    );
    warns(
        "[containers_on_disk]\nacknowledged = [\"0123456789ab\", \"temporary-ab\", \"0123456789abc\"]",
        &[
            "containers_on_disk.acknowledged has `0123456789ab`, which looks like a short id: the directories are named by \
           the full 64 digits",
        ],
    );
    let local = Zone::Local { tz: chrono_tz::UTC, note: Some("no zone".to_owned()) };
    let mut settings = Settings::default();
    settings.schedule.schedule = Schedule::parse(DEFAULT_CRON, local).unwrap();
    assert_eq!(settings.warnings(), ["no zone"]);
}

#[test]
fn a_rule_that_repeats_another_is_warned_of() {
    let two = |a: &str, b: &str| {
        let rule = |name: &str, conditions: &str| {
            format!("[[rule]]\nname = \"{name}\"\nkeep = true\nmatch = {{ {conditions} }}\n")
        };
        good(&(rule("a", a) + &rule("b", b))).warnings()
    };
    let expected =
        "rule `b` never decides: rule `a` before it has the same conditions, and the first match wins";
    for (a, b) in [
        ("volume = \"x\"", "volume = [\"x\"]"),
        (
            "volume = [\"x\", \"y\"], label = [\"k=v\", \"l\"]",
            "label = [\"l\", \"k=v\"], volume = [\"y\", \"x\", \"x\"]",
        ),
        (
            "compose_project = \"p\", class = [\"named\", \"anonymous\"]",
            "class = [\"anonymous\", \"named\"], compose_project = \"p\"",
        ),
    ] {
        assert_eq!(two(a, b), [expected], "{a} | {b}");
    }
    for (a, b) in [
        ("volume = \"x\"", "volume = \"y\""),
        ("volume = \"x\"", "compose_project = \"x\""),
        ("label = \"k\"", "label = \"k=\""),
        ("compose_project = \"x\"", "compose_project = \"y\""),
        ("label = \"k=a\"", "label = \"k=b\""),
        ("class = \"named\"", "class = \"anonymous\""),
        ("volume = \"x\"", "volume = \"x\", class = \"named\""),
    ] {
        assert_eq!(two(a, b), Vec::<String>::new(), "{a} | {b}");
    }
}
