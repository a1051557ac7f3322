//! Classes, rules and graces.

use super::*;

#[test]
fn rules_keep_their_order_and_take_lists() {
    let settings = good(
        r#"
[[rule]]
name = "first"
match.volume = ["a-*", "b"]
match.label = ["k=v*", "empty=", "a=b=c", "bare"]
keep = true
[[rule]]
name = "second"
keep = false
quarantine_after = "2d"
delete_after = "1w"
[rule.match]
class = ["anonymous", "named"]
compose_project = "{x,y}-?"
"#,
    );
    let [first, second] = settings.policy.rules.as_slice() else { panic!() };
    assert_eq!((first.name.as_str(), first.disposition), ("first", Disposition::Keep));
    assert_eq!(first.conditions.volume.len(), 2);
    let label = |key: &str, value: &str| {
        let found = first.conditions.label.iter().find(|label| label.key == key).unwrap();
        found.value.as_ref().is_none_or(|pattern| pattern.is_match(value))
    };
    assert!(label("k", "vw") && !label("k", "w"));
    assert!(label("k", "v/w"), "a `/` is a character as any other");
    assert!(label("empty", "") && !label("empty", "x"));
    assert!(label("a", "b=c"));
    assert!(label("bare", "anything"));
    assert_eq!((second.name.as_str(), second.disposition), ("second", collect(2 * DAY, 7 * DAY)));
    assert_eq!(second.conditions.class, [Class::Anonymous, Class::Named]);
    assert!(second.conditions.compose_project[0].is_match("y-1"));
    let inline = good("rule = [{ name = \"x\", match = { volume = \"x\" }, keep = true }]");
    assert_eq!(inline.policy.rules[0].name, "x");
}

#[test]
fn a_rule_permits_in_place_and_names_what_is_not_listed() {
    let collect = "quarantine_after = \"1d\"\ndelete_after = \"2d\"";
    let rule = |more: &str| {
        format!("[[rule]]\nname = \"x\"\nmatch = {{ class = [\"unlisted\", \"named\"] }}\n{collect}\n{more}")
    };
    let in_place = |more: &str| good(&rule(more)).policy.rules[0].in_place;
    assert!(!in_place("") && !in_place("in_place = false") && in_place("in_place = true"));
    assert_eq!(good(&rule("")).policy.rules[0].conditions.class, [Class::Unlisted, Class::Named]);
    let kept = "[[rule]]\nname = \"x\"\nmatch = { volume = \"x\" }\nkeep = true\nin_place = ";
    assert!(!good(&format!("{kept}false")).policy.rules[0].in_place);
    all_say(&[
        (
            &format!("{kept}true"),
            &["5:12: `keep = true` and `in_place` exclude one another; remove one of them"],
        ),
        (
            "[policy.named]\nquarantine_after = \"1d\"\ndelete_after = \"1d\"\nin_place = true",
            &["4:1: unknown key `in_place` in [policy.named]; it belongs in [[rule]]"],
        ),
        (
            &rule("in_place = \"yes\""),
            &["6:12: `in_place` is a text; write `true` or `false`, without quotes"],
        ),
    ]);
}

#[test]
fn a_class_is_kept_or_collected() {
    let policy = |text: &str| good(text).policy;
    assert_eq!(policy("[policy.anonymous]\nkeep = true").anonymous, Disposition::Keep);
    assert_eq!(
        policy("[policy.anonymous]\nkeep = false\nquarantine_after = \"1d\"").anonymous,
        collect(DAY, 14 * DAY)
    );
    assert_eq!(policy("[policy.anonymous]\nkeep = false").anonymous, collect(7 * DAY, 14 * DAY));
    assert_eq!(policy("[policy.anonymous]\ndelete_after = \"1d\"").anonymous, collect(7 * DAY, DAY));
    let both = "[policy.named]\nquarantine_after = \"30d\"\ndelete_after = \"2w\"";
    assert_eq!(policy(both).named, collect(30 * DAY, 14 * DAY));
    all_say(&[
        (
            "[policy.anonymous]\nquarantine_after = \"7d\"\nkeep = true",
            &["3:8: `keep = true` and `quarantine_after` exclude one another; remove one of them"],
        ),
        (
            "[policy.named]\nkeep = true\ndelete_after = \"7d\"",
            &["2:8: `keep = true` and `delete_after` exclude one another; remove one of them"],
        ),
        (
            "[policy.named]\nquarantine_after = \"7d\"",
            &[
                "1:1: `quarantine_after` without `delete_after` in [policy.named]; write both, as in `delete_after = \"14d\"`",
            ],
        ),
        (
            "[policy.named]\ndelete_after = \"7d\"",
            &[
                "1:1: `delete_after` without `quarantine_after` in [policy.named]; write both, as in `quarantine_after = \"7d\"`",
            ],
        ),
        (
            "[policy.named]\nkeep = false",
            &[
                "2:8: `keep = false` does not say what happens instead; write `quarantine_after` and `delete_after`",
            ],
        ),
        (
            "[policy.named]\nkeep = \"yes\"",
            &["2:8: `keep` is a text; write `true` or `false`, without quotes"],
        ),
    ]);
}

#[test]
fn no_grace_is_below_the_floor() {
    all_say(&[
        (
            "[policy.anonymous]\nquarantine_after = \"1h\"",
            &[
                "2:20: `quarantine_after` of 1h is below limits.min_grace, which is 1d; write 1d or more, or lower \
               limits.min_grace if 1h is meant",
            ],
        ),
        (
            "[policy.named]\nquarantine_after = \"2d\"\ndelete_after = \"35h\"\n[limits]\nmin_grace = \"36h\"",
            &[
                "3:16: `delete_after` of 1d11h is below limits.min_grace, which is 1d12h; write 1d12h or more, or lower \
               limits.min_grace if 1d11h is meant",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch.volume = \"a\"\nquarantine_after = \"0s\"\ndelete_after = \"1d\"",
            &[
                "4:20: `quarantine_after` of 0s is below limits.min_grace, which is 1d; write 1d or more, or lower \
               limits.min_grace if 0s is meant",
            ],
        ),
        (
            "[limits]\nmin_grace = \"10d\"",
            &[
                "2:13: `min_grace` of 10d is above the built-in `quarantine_after` of 7d; write `quarantine_after = \"10d\"` \
               or more in [policy.anonymous], or lower `min_grace`",
            ],
        ),
        (
            "[limits]\nmin_grace = \"15d\"\n[policy.anonymous]\nquarantine_after = \"15d\"",
            &[
                "2:13: `min_grace` of 15d is above the built-in `delete_after` of 14d; write `delete_after = \"15d\"` \
               or more in [policy.anonymous], or lower `min_grace`",
            ],
        ),
        (
            "[limits]\nmin_grace = \"8d\"\n[policy.anonymous]\ndelete_after = \"15d\"",
            &[
                "2:13: `min_grace` of 8d is above the built-in `quarantine_after` of 7d; write `quarantine_after = \"8d\"` \
                 or more in [policy.anonymous], or lower `min_grace`",
            ],
        ),
        // A floor that cannot be read is held against nothing.
        (
            "[policy.anonymous]\nquarantine_after = \"1s\"\n[limits]\nmin_grace = \"1\"",
            &["4:13: `1` is not a duration; write it like `90s`, `30m`, `24h`, `7d`, `2w` or `1d12h`"],
        ),
        (
            "limits = 3\n[policy.anonymous]\nquarantine_after = \"1s\"",
            &[
                "1:10: `limits` is an integer, but is a table; write it as [limits], with its keys in the lines below",
            ],
        ),
    ]);
    assert_eq!(good("[limits]\nmin_grace = \"7d\"").policy.limits.min_grace, 7 * DAY);
    let low =
        "[limits]\nmin_grace = \"0s\"\n[policy.anonymous]\nquarantine_after = \"0s\"\ndelete_after = \"0s\"";
    assert_eq!(good(low).policy.anonymous, collect(Duration::ZERO, Duration::ZERO));
    let kept = "[limits]\nmin_grace = \"30d\"\n[policy.anonymous]\nkeep = true";
    assert_eq!(good(kept).policy.limits.min_grace, 30 * DAY);
}

#[test]
fn a_rule_says_what_and_of_which_volumes() {
    all_say(&[
        (
            "\n[[rule]]\n",
            &[
                "2:1: the rule has no name; write one, as in `name = \"ci\"`",
                "2:1: the rule matches nothing; write conditions, as in `match = { volume = \"ci-*\" }`",
                "2:1: the rule decides nothing; write `keep = true`, or `quarantine_after` and `delete_after`",
            ],
        ),
        (
            "[[rule]]\nname = \" \"\nmatch = {}\nquarantine_after = \"7d\"",
            &[
                "1:1: `quarantine_after` without `delete_after` in [[rule]]; write both, as in `delete_after = \"14d\"`",
                "2:8: a rule's name is shown wherever it decides; write a word or two",
                "3:9: an empty `match` matches nothing; name at least one of volume, label, compose_project, class",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { volume = \"a\" }\nkeep = true\n\
             [[rule]]\nname = \"a\"\nmatch = { volume = \"b\" }\nkeep = true",
            &["6:8: the name `a` is taken by the rule in line 2; give each rule its own"],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { volume = \"a\" }\nkeep = true\ndelete_after = \"3d\"",
            &["4:8: `keep = true` and `delete_after` exclude one another; remove one of them"],
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = \"ci-*\"\nkeep = false",
            &[
                "3:9: `match` is a text, but is a table; write it in braces, as in `match = { volume = \"ci-*\" }`",
                "4:8: `keep = false` does not say what happens instead; write `quarantine_after` and `delete_after`",
            ],
        ),
        (
            "[[rule]]\nname = \"a\\nb\"\nmatch.volume = \"a\"\nkeep = \"yes\"",
            &[
                "2:8: a rule's name is shown wherever it decides; write a word or two",
                "4:8: `keep` is a text; write `true` or `false`, without quotes",
            ],
        ),
        (
            "[rule]\nname = \"a\"",
            &["1:1: `rule` is a table, but there can be several; write the header [[rule]]"],
        ),
        ("rule = [1]", &["1:9: a rule is a table, not an integer; write it below a header [[rule]]"]),
        (
            "[[limits]]\nmin_sightings = 3",
            &["1:1: `limits` has double brackets, but there is only one; write the header [limits]"],
        ),
    ]);
}

#[test]
fn a_condition_that_could_never_match_is_a_mistake() {
    for (condition, expected) in [
        ("volume = []", "4:20: an empty list for `volume` matches nothing; name a value or remove the key"),
        (
            "volume = 3",
            "4:20: a value of `volume` is an integer; write a text in quotes, or a list of them, as in `volume = \"ci-*\"`",
        ),
        (
            "class = [\"named\", true]",
            "4:29: a value of `class` is true or false; write a text in quotes, or a list of them, as in `class = \"anonymous\"`",
        ),
        ("volume = \"\"", "4:20: `volume` is empty or has blanks around it; write a pattern such as `ci-*`"),
        (
            "compose_project = \"a \"",
            "4:29: `compose_project` is empty or has blanks around it; write a pattern such as `ci-*`",
        ),
        (
            "volume = [\"a\", \"/var/lib/docker/volumes/a\"]",
            "4:26: `/var/lib/docker/volumes/a` is a path, and `volume` is held against names; write a pattern such as `ci-*`",
        ),
        (
            "volume = \"ci-[\"",
            "4:20: `ci-[` is not a pattern: unclosed character class; missing ']'; write `*` for any text, `?` for one \
             character, [a-z] or {a,b}",
        ),
        (
            "label = \"k={a\"",
            "4:19: `{a` is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); write `*` for \
             any text, `?` for one character, [a-z] or {a,b}",
        ),
        ("label = \"=x\"", "4:19: the label `=x` has no key; write `key` or `key=value`"),
        ("label = \"\"", "4:19: the label `` has no key; write `key` or `key=value`"),
        (
            "label = \"key = value\"",
            "4:19: the label `key = value` has blanks around its key or value; write `key=value` without",
        ),
        (
            "label = \"key =value\"",
            "4:19: the label `key =value` has blanks around its key or value; write `key=value` without",
        ),
        (
            "label = \"key= value\"",
            "4:19: the label `key= value` has blanks around its key or value; write `key=value` without",
        ),
        (
            "label = \"k?y=a\"",
            "4:19: `k?y` has a wildcard, but keys of labels are compared exactly; write the whole key",
        ),
        (
            "label = \"com.example.*\"",
            "4:19: `com.example.*` has a wildcard, but keys of labels are compared exactly; write the whole key",
        ),
        (
            "class = \"anonymos\"",
            "4:19: `anonymos` is not a class; did you mean \"anonymous\"? Write \"anonymous\", \"named\" or \"unlisted\"",
        ),
    ] {
        assert_eq!(said_of(condition), [expected], "{condition}");
    }
}

#[test]
fn a_pattern_that_cannot_be_compiled_is_no_crash() {
    let deep = format!("{}a{}", "{".repeat(300), "}".repeat(300));
    let said = said_of(&format!("volume = \"{deep}\"")).concat();
    assert!(said.starts_with(&format!("4:20: `{deep}` is not a pattern: ")), "{said}");
    assert!(said.ends_with("; write `*` for any text, `?` for one character, [a-z] or {a,b}"), "{said}");
    let long = "a".repeat(1_001);
    assert_eq!(
        said_of(&format!("label = \"k={long}\"")),
        ["4:19: a pattern has 1001 bytes; write at most 1000"]
    );
    good(&format!("[[rule]]\nname = \"a\"\nkeep = true\nmatch.volume = \"{}\"", "[!a]".repeat(250)));
}
