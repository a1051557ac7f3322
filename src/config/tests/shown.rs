//! Syntax errors, and how mistakes are shown.

use super::*;

#[test]
fn syntax_errors_are_reported_together() {
    all_say(&[
        (
            "mode = observe\n[limits]\nmin_grace = 24h\nmin_sightings =\nmax_gap = “2d”\n[policy.named]\nkeep = Yes\n\
             [policy.anonymous]\nkeep = off",
            &[
                "1:8: `observe` is not a value; write texts and durations in quotes, as in \"observe\"",
                "3:13: `24h` is not a value; write texts and durations in quotes, as in \"24h\"",
                "4:16: the value is missing; write one after the `=`, or remove the line",
                "5:11: `“2d”` is not a value; write texts and durations in quotes, as in \"2d\"",
                "7:8: `Yes` is not a value; write `true`",
                "9:8: `off` is not a value; write `false`",
            ],
        ),
        (
            "[docker]\nhost = \"unix:///a\"\nhost = \"unix:///b\"\n[limits]\n[docker]\n[[rule]]\n[rule]\n",
            &[
                "3:1: `host` is there twice in this table; remove one of the two",
                "5:2: the table `docker` is there twice; join the two",
                "7:2: there are several rules; write the header of each as [[rule]]",
            ],
        ),
        (
            "mode = \"observe\nlimits",
            &[
                "1:16: not valid TOML: invalid basic string; expected here: `\"`",
                "2:7: not valid TOML: key with no value; expected here: `=`",
            ],
        ),
        // The second error of a line follows from the first.
        ("mode == \"observe\"", &["1:7: not valid TOML: extra `=`; remove it"]),
        ("[policy.named]\nkeep = TRUE", &["2:8: not valid TOML: invalid boolean; expected here: `true`"]),
        // And so do those of every line below a list that is not closed.
        (
            "[containers_on_disk]\nacknowledged = [\"a\"\n[limits]\nmin_sightings = 0\nmax_gap = \"1d\"\n",
            &[
                "3:1: not valid TOML: missing comma between array elements; expected here: `,`, or `]` or `}` at the end above",
            ],
        ),
    ]);
}

#[test]
fn what_a_syntax_error_swallowed_is_not_missing() {
    all_say(&[
        // The keys below the broken header are not unknown.
        ("[docker\nhost = \"unix:///x\"\n", &["1:8: not valid TOML: unclosed table; expected here: `]`"]),
        (
            "[[rule]]\nname = \"a\"\nmatch = { volume = \"a\"\nkeep = true\n",
            &[
                "4:1: not valid TOML: missing comma between key-value pairs; expected here: `,`, or `]` or `}` at the end above",
            ],
        ),
        // The broken table may have had the grace.
        (
            "[limits]\nmin_grace = \"30d\"\n[policy.anonymous\nquarantine_after = \"40d\"\n",
            &["3:18: not valid TOML: unclosed table; expected here: `]`"],
        ),
        // A word without quotes and a key given twice lose nothing, so the rest is told as well.
        (
            "mode = observe\nmode = \"observe\"\n[[rule]]\nname = a\nkeep = true\n",
            &[
                "1:8: `observe` is not a value; write texts and durations in quotes, as in \"observe\"",
                "2:1: `mode` is there twice in this table; remove one of the two",
                "3:1: the rule matches nothing; write conditions, as in `match = { volume = \"ci-*\" }`",
                "4:8: `a` is not a value; write texts and durations in quotes, as in \"a\"",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nname = \"b\"\nkeep = true\n",
            &[
                "1:1: the rule matches nothing; write conditions, as in `match = { volume = \"ci-*\" }`",
                "3:1: `name` is there twice in this table; remove one of the two",
            ],
        ),
        (
            "hots = localhost\n",
            &[
                "1:1: unknown key `hots` at the top of the file; known here: mode, docker, schedule, policy, rule, \
                 passing, limits, containers_on_disk, metrics",
                "1:8: `localhost` is not a value; write texts and durations in quotes, as in \"localhost\"",
            ],
        ),
        // The parser tells of these two in the other order.
        (
            "mode = \"observe\n[[rule]]\nname == \"a\"\n",
            &[
                "1:16: not valid TOML: invalid basic string; expected here: `\"`",
                "3:7: not valid TOML: extra `=`; remove it",
            ],
        ),
        // Nor does an error further up hide what is wrong further down.
        (
            "mode == \"observe\"\n[[rule]]\nname = \"a\"\nkeep = true\n[limits]\nmin_grace = \"7\"\n",
            &[
                "1:7: not valid TOML: extra `=`; remove it",
                "2:1: the rule matches nothing; write conditions, as in `match = { volume = \"ci-*\" }`",
                "6:13: `7` is not a duration; write it like `90s`, `30m`, `24h`, `7d`, `2w` or `1d12h`",
            ],
        ),
    ]);
}

#[test]
fn every_mistake_is_shown_with_its_line_in_file_order() {
    let text = "mode = \"enforced\"\n\n[limits]\n\tmax_gap = \"7dd\" # a week\nmin_sightings = 0\n\n[docker]\nhots = 1\n\
                [[rule]]\nname = \"ä\"\nmatch = { volume = [\"ä\", \"[\"] }\n";
    let errors = parse(text, "/etc/volgc/config.toml").unwrap_err();
    let shown = r#"/etc/volgc/config.toml:1:8: `enforced` is not a mode; did you mean "enforce"? Write "observe", "quarantine" or "enforce"
    mode = "enforced"
           ^^^^^^^^^^

/etc/volgc/config.toml:4:12: `7dd` is not a duration; write it like `90s`, `30m`, `24h`, `7d`, `2w` or `1d12h`
    TABmax_gap = "7dd" # a week
    TAB          ^^^^^

/etc/volgc/config.toml:5:17: `min_sightings` cannot be 0; write a whole number from 1 to 4294967295
    min_sightings = 0
                    ^

/etc/volgc/config.toml:8:1: unknown key `hots` in [docker]; did you mean `host`?
    hots = 1
    ^^^^

/etc/volgc/config.toml:9:1: the rule decides nothing; write `keep = true`, or `quarantine_after` and `delete_after`
    [[rule]]
    ^^^^^^^^

/etc/volgc/config.toml:11:26: `[` is not a pattern: unclosed character class; missing ']'; write `*` for any text, `?` for one character, [a-z] or {a,b}
    match = { volume = ["ä", "["] }
                             ^^^

6 mistakes in /etc/volgc/config.toml"#;
    assert_eq!(errors.to_string(), shown.replace("TAB", "\t"));
    let nothing_there = parse("mode\n", "c.toml").unwrap_err();
    assert_eq!(nothing_there.mistakes[0].width, 1);
    let first = errors.mistakes.first().unwrap();
    assert_eq!(
        (first.line, first.column, first.width, first.source_line.as_str()),
        (1, 8, 10, "mode = \"enforced\"")
    );
}

#[test]
fn a_mistake_is_shown_without_what_could_play_tricks_on_a_terminal() {
    let errors = parse("\u{feff}mode = \"\\u001b[2Jx\" #\u{9b}\r\n", "c.toml").unwrap_err();
    let shown = "c.toml:1:8: `\u{fffd}[2Jx` is not a mode; write \"observe\", \"quarantine\" or \"enforce\"
    mode = \"\\u001b[2Jx\" #\u{fffd}
           ^^^^^^^^^^^^

1 mistake in c.toml";
    assert_eq!(errors.to_string(), shown);
    let at_the_end = parse("mode = \"\"\"observe\n", "c.toml").unwrap_err();
    let shown = "c.toml:2:1: not valid TOML: invalid multi-line basic string; expected here: `\"`\n\n1 mistake in c.toml";
    assert_eq!(at_the_end.to_string(), shown);
}

#[test]
fn a_file_of_another_kind_is_no_crash() {
    for text in [
        "{\"mode\": \"observe\"}",
        "\0\0\0",
        "[[[[",
        "\"\"\"",
        "a = [",
        "[rule]\n[[rule]]",
        "rule.match.x = 1",
        "'",
        "\u{feff}",
    ] {
        if let Err(errors) = parse(text, "c.toml") {
            assert!(!errors.mistakes.is_empty(), "{text:?}");
        }
    }
    let deep = format!("a = {}", "[".repeat(10_000));
    assert!(parse(&deep, "c.toml").is_err());
    // Cut anywhere, the example is read or refused with a reason.
    for end in (0..EXAMPLE.len()).step_by(7) {
        if let Some(Err(errors)) = EXAMPLE.get(..end).map(|text| parse(text, "c.toml")) {
            assert!(!errors.mistakes.is_empty(), "cut at {end}");
        }
    }
}
