//! Keys and values, table by table.

use chrono::DateTime;

use super::*;

#[test]
fn modes_are_words() {
    for mode in [Mode::Observe, Mode::Quarantine, Mode::Enforce] {
        assert_eq!(good(&format!("mode = \"{}\"", mode.word())).policy.mode, mode);
    }
    all_say(&[
        (
            "mode = \"enfroce\"",
            &[
                "1:8: `enfroce` is not a mode; did you mean \"enforce\"? Write \"observe\", \"quarantine\" or \"enforce\"",
            ],
        ),
        ("mode = \"on\"", &["1:8: `on` is not a mode; write \"observe\", \"quarantine\" or \"enforce\""]),
        ("mode = 3", &["1:8: `mode` is an integer; write a text in quotes, as in `mode = \"observe\"`"]),
    ]);
}

#[test]
fn limits_have_types_and_bounds() {
    all_say(&[
        (
            "[limits]\nmin_grace = 24",
            &["2:13: `min_grace` is an integer; write a duration in quotes, as in `min_grace = \"24h\"`"],
        ),
        (
            "[limits]\nmin_sightings = 0",
            &["2:17: `min_sightings` cannot be 0; write a whole number from 1 to 4294967295"],
        ),
        (
            "[limits]\nmax_per_sweep = -1\nsudden_orphans = 4294967296\nmin_sightings = 99999999999999999999999999999999999999999",
            &[
                "2:17: `max_per_sweep` cannot be -1; write a whole number from 0 to 4294967295",
                "3:18: `sudden_orphans` cannot be 4294967296; write a whole number from 0 to 4294967295",
                "4:17: `min_sightings` cannot be 99999999999999999999999999999999999999999; write a whole number from 1 to \
                 4294967295",
            ],
        ),
        (
            "[limits]\nmax_per_sweep = \"20\"\nmin_sightings = 2.5",
            &[
                "2:17: `max_per_sweep` is a text; write a whole number without quotes, as in `max_per_sweep = 20`",
                "3:17: `min_sightings` is a fraction; write a whole number without quotes, as in `min_sightings = 20`",
            ],
        ),
        (
            "[limits]\nmax_share_per_sweep = 10\nsudden_orphan_share = \"101%\"",
            &[
                "2:23: `max_share_per_sweep` is an integer; write a percentage in quotes, as in `max_share_per_sweep = \"10%\"`",
                "3:23: `101%` is not a percentage; write a whole number from `0%` to `100%`",
            ],
        ),
        (
            "[limits]\nmax_per_sweep = 0\nmax_share_per_sweep = \"0%\"",
            &[
                "2:17: with `max_per_sweep = 0` and `max_share_per_sweep = \"0%\"` nothing is ever moved; raise one of them, \
               or write `mode = \"observe\"` if that is meant",
            ],
        ),
        (
            "[limits]\nmax_gap = \"0s\"",
            &[
                "2:11: with a `max_gap` of 0s no clock ever runs; write the longest time between two sweeps that is still \
               normal, such as `2d`",
            ],
        ),
    ]);
    for text in ["10", "%", "-1%", "+1%", "1.5%", "10 %", " 10%", "10%%", ""] {
        let said = mistakes(&format!("[limits]\nsudden_orphan_share = \"{text}\""));
        assert_eq!(
            said,
            [format!("2:23: `{text}` is not a percentage; write a whole number from `0%` to `100%`")]
        );
    }
    let limits = good(
        "[limits]\nmax_per_sweep = 0\nsudden_orphans = 0\nsudden_orphan_share = \"0%\"\nmax_gap = \"1s\"",
    )
    .policy;
    assert_eq!((limits.limits.max_per_sweep, limits.limits.sudden_orphan_share), (0, 0));
    assert_eq!(good("[limits]\nmax_share_per_sweep = \"100%\"").policy.limits.max_share_per_sweep, 100);
    assert_eq!(good("[limits]\nmax_per_sweep = 0x1_0").policy.limits.max_per_sweep, 16);
}

#[test]
fn an_unknown_key_is_told_where_it_belongs() {
    all_say(&[
        // A file cannot be left to its top again once a table has begun.
        (
            "[docker]\nhost = \"unix:///x\"\nmode = \"enforce\"",
            &[
                "3:1: unknown key `mode` in [docker]; `mode` belongs at the top of the file, before the first [table]",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch.volume = \"a\"\nkeep = true\nmode = \"enforce\"",
            &[
                "5:1: unknown key `mode` in [[rule]]; `mode` belongs at the top of the file, before the first [table]",
            ],
        ),
        (
            "[limits.docker]",
            &["1:9: unknown key `docker` in [limits]; write it as a table of its own, [docker]"],
        ),
        (
            "[[policy.rule]]\nname = \"x\"",
            &["1:10: unknown key `rule` in [policy]; write each rule under a [[rule]] of its own"],
        ),
        ("cron = \"@daily\"", &["1:1: unknown key `cron` at the top of the file; it belongs in [schedule]"]),
        (
            "[policy]\nkeep = true",
            &[
                "2:1: unknown key `keep` in [policy]; it belongs in [policy.anonymous], [policy.named] or [[rule]]",
            ],
        ),
        ("[docker]\nhots = \"x\"", &["2:1: unknown key `hots` in [docker]; did you mean `host`?"]),
        ("[docker]\nHOST = \"x\"", &["2:1: unknown key `HOST` in [docker]; did you mean `host`?"]),
        (
            "[limits]\nmax-share-per-sweep = \"1%\"",
            &["2:1: unknown key `max-share-per-sweep` in [limits]; did you mean `max_share_per_sweep`?"],
        ),
        // Four letters off is another word.
        (
            "[limits]\nmin_size = 1",
            &[
                "2:1: unknown key `min_size` in [limits]; known here: min_grace, min_sightings, max_per_sweep, \
               max_share_per_sweep, max_gap, sudden_orphans, sudden_orphan_share, reads_hold",
            ],
        ),
        (
            "[limits]\nmin-grace = \"1d\"",
            &["2:1: unknown key `min-grace` in [limits]; did you mean `min_grace`?"],
        ),
        (
            "[schedul]\ncron = \"@daily\"",
            &["1:2: unknown key `schedul` at the top of the file; did you mean `schedule`?"],
        ),
        (
            "[schedule]\nevery = \"1h\"",
            &["2:1: unknown key `every` in [schedule]; known here: cron, timezone, interval, jitter"],
        ),
    ]);
    assert_eq!(
        said_of("volume = \"a\", driver = \"local\""),
        ["4:25: unknown key `driver` in `match`; known here: volume, label, compose_project, class"]
    );
}

#[test]
fn a_slip_of_a_key_is_one_mistake() {
    all_say(&[
        (
            "[[rule]]\nnmae = \"a\"\nmatch.volume = \"a\"\nquarantine_aftr = \"1d\"\ndelete_after = \"2d\"",
            &[
                "2:1: unknown key `nmae` in [[rule]]; did you mean `name`?",
                "4:1: unknown key `quarantine_aftr` in [[rule]]; did you mean `quarantine_after`?",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatches = { volume = \"a\" }\nkep = true",
            &[
                "3:1: unknown key `matches` in [[rule]]; did you mean `match`?",
                "4:1: unknown key `kep` in [[rule]]; did you mean `keep`?",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { volumes = \"a\" }\nkeep = true",
            &["3:11: unknown key `volumes` in `match`; did you mean `volume`?"],
        ),
    ]);
}

#[test]
fn the_schedule_is_a_line_or_an_interval() {
    let settings =
        good("[schedule]\ncron = \"@daily\"\ntimezone = \"Europe/Berlin\"\njitter = \"5m\"").schedule;
    assert_eq!((settings.text.as_str(), settings.jitter), ("@daily", Duration::from_mins(5)));
    assert_eq!(settings.schedule.zone().name(), "Europe/Berlin");
    let settings = good("[schedule]\ninterval = \"90m\"").schedule;
    assert_eq!(settings.schedule.longest_interval(DateTime::UNIX_EPOCH), Some(Duration::from_mins(90)));
    let zone = good("[schedule]\ntimezone = \"UTC\"").schedule;
    assert_eq!((zone.text.as_str(), zone.schedule.zone()), ("17 * * * *", &Zone::Utc));
    all_say(&[
        (
            "[schedule]\ninterval = \"1h\"\ncron = \"17 * * * *\"",
            &["2:12: `interval` and `cron` exclude one another; remove one of them"],
        ),
        ("[schedule]\ninterval = \"0s\"", &["2:12: an interval of 0ns is too short; write 1s or more"]),
        (
            "[schedule]\ncron = \"0 17 * * * *\"\ntimezone = \"Europe/Berlln\"\njitter = 5",
            &[
                "2:8: `0 17 * * * *` has six fields: seconds are not supported; five fields: minute hour day month weekday",
                "3:12: unknown time zone `Europe/Berlln`; did you mean `Europe/Berlin`? Else write `local`, `UTC` or an IANA \
                 name such as `Europe/Berlin`",
                "4:10: `jitter` is an integer; write a duration in quotes, as in `jitter = \"24h\"`",
            ],
        ),
        (
            "schedule = \"@daily\"",
            &[
                "1:12: `schedule` is a text, but is a table; write it as [schedule], with its keys in the lines below",
            ],
        ),
    ]);
}

#[test]
fn an_engine_has_an_address() {
    for host in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "ssh://ops@host"] {
        assert_eq!(good(&format!("[docker]\nhost = \"{host}\"")).host.as_deref(), Some(host));
    }
    all_say(&[(
        "[docker]\nhost = \"unix://var/run/docker.sock\"",
        &[
            "2:8: `unix://var/run/docker.sock` has no absolute path; write three slashes, as in `unix:///var/run/docker.sock`",
        ],
    )]);
    for host in ["", "/var/run/docker.sock", "://x", "tcp://", "localhost:2375"] {
        let said = mistakes(&format!("[docker]\nhost = \"{host}\""));
        let like = "as in `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`";
        assert_eq!(
            said,
            [format!("2:8: `{host}` is not an engine's address; write it with its scheme, {like}")]
        );
    }
}

#[test]
fn containers_are_acknowledged_by_the_name_of_their_directory() {
    let id = "0a".repeat(32);
    let settings = good(&format!("[containers_on_disk]\nacknowledged = [\"{id}\", \"tmp\", \"tmp\"]"));
    assert_eq!(settings.acknowledged_containers, [id.as_str(), "tmp"].map(str::to_owned).into());
    let instead = "write its last part alone, as `ls <docker root>/containers` shows it";
    for name in ["", ".", "..", "a/b", "/x", &"x".repeat(256)] {
        let said = mistakes(&format!("[containers_on_disk]\nacknowledged = [\"ok\", \"{name}\"]"));
        assert_eq!(said, [format!("2:23: `{name}` is not the name of a directory; {instead}")]);
    }
    all_say(&[(
        "[containers_on_disk]\nacknowledged = \"tmp\"",
        &[
            "2:16: `acknowledged` is a text; write a list of texts, as in `acknowledged = [\"0123456789ab...\"]`",
        ],
    )]);
}
