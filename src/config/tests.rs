use std::time::Duration;

use toml::de::DeValue;

use super::*;
use crate::gc::policy::{Disposition, Mode};
use crate::gc::touched::Reads;
use crate::gc::volume::Class;

mod durations;
mod manual;
mod metrics;
mod mistakes;
mod passing;
mod rules;
mod shown;
mod warnings;

/// As Cargo's root has it.
const EXAMPLE: &str = include_str!("../../config.example.toml");

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn good(text: &str) -> Settings {
    parse(text, "c.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// `LINE:COLUMN: message` of every mistake.
#[track_caller]
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(text, "c.toml").expect_err("a mistake");
    let say = |m: &Mistake| format!("{}:{}: {}", m.line, m.column, m.message);
    errors.mistakes.iter().map(say).collect()
}

/// Each text has exactly these mistakes.
#[track_caller]
fn all_say(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(mistakes(text), *expected, "in\n{text}");
    }
}

const fn collect(quarantine_after: Duration, delete_after: Duration) -> Disposition {
    Disposition::Collect { quarantine_after, delete_after }
}

#[test]
fn without_a_file_the_built_in_values_decide() {
    let Settings { host, schedule, policy, acknowledged_containers, metrics } = Settings::default();
    assert_eq!((host, metrics), (None, None));
    assert_eq!((schedule.text.as_str(), schedule.jitter), ("17 * * * *", Duration::ZERO));
    assert_eq!(schedule.schedule.zone(), &Zone::parse("local").unwrap());
    assert_eq!(policy.mode, Mode::Observe);
    assert!(policy.rules.is_empty());
    assert_eq!(policy.anonymous, collect(7 * DAY, 14 * DAY));
    assert_eq!(policy.named, Disposition::Keep);
    let limits = policy.limits;
    assert_eq!((limits.min_grace, limits.max_gap), (DAY, 2 * DAY));
    assert_eq!((limits.min_sightings, limits.max_per_sweep, limits.max_share_per_sweep), (3, 20, 10));
    assert_eq!((limits.sudden_orphans, limits.sudden_orphan_share), (10, 50));
    assert_eq!(limits.reads, Reads::Count);
    assert!(acknowledged_containers.is_empty());
}

#[test]
fn an_empty_file_changes_nothing() {
    let default = format!("{:#?}", Settings::default());
    for text in [
        "",
        "\n# nothing\n",
        "[docker]\n[schedule]\n[policy]\n[limits]\n[containers_on_disk]\n",
        "rule = []\n",
    ] {
        assert_eq!(format!("{:#?}", good(text)), default, "{text:?}");
    }
}

#[test]
fn the_example_file_is_the_defaults() {
    assert_eq!(format!("{:#?}", good(EXAMPLE)), format!("{:#?}", Settings::default()));
    assert_eq!(good(EXAMPLE).warnings(), Vec::<String>::new());
}

/// The lines of the example that are commented out, put in force. Prose has a blank behind its `#`.
fn uncommented(without: &str) -> String {
    let line = |line: &'static str| {
        line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line)
    };
    let lines = EXAMPLE.lines().map(line).filter(|line| !line.starts_with(without));
    lines.collect::<Vec<_>>().join("\n")
}

fn items_of<'t>(value: &'t toml::Spanned<DeValue<'t>>) -> Option<&'t [toml::Spanned<DeValue<'t>>]> {
    if let DeValue::Array(items) = value.get_ref() { Some(items) } else { None }
}

#[test]
fn every_key_is_in_the_example_file() {
    let text = uncommented("no key");
    let (tree, errors) = DeTable::parse_recoverable(&text);
    assert!(errors.is_empty(), "{errors:?}");
    let root = toml::Spanned::new(0..0, DeValue::Table(tree.into_inner()));
    let paths: [(&keys::Table, &[&str]); 12] = [
        (&keys::TOP, &[]),
        (&keys::DOCKER, &["docker"]),
        (&keys::SCHEDULE, &["schedule"]),
        (&keys::POLICY, &["policy"]),
        (&keys::ANONYMOUS, &["policy", "anonymous"]),
        (&keys::NAMED, &["policy", "named"]),
        (&keys::RULE, &["rule"]),
        (&keys::MATCH, &["rule", "match"]),
        (&keys::PASSING, &["passing"]),
        (&keys::LIMITS, &["limits"]),
        (&keys::CONTAINERS_ON_DISK, &["containers_on_disk"]),
        (&keys::METRICS, &["metrics"]),
    ];
    assert_eq!(paths.map(|(table, _)| table.title), keys::ALL.map(|table| table.title));
    for (table, path) in paths {
        let mut found = vec![&root];
        for step in path {
            let below = found.iter().filter_map(|value| value.get_ref().get(*step));
            let each = |value| match items_of(value) {
                Some(items) => items.iter().collect(),
                None => vec![value],
            };
            found = below.flat_map(each).collect();
        }
        for key in table.keys {
            let there = found.iter().any(|value| value.get_ref().get(*key).is_some());
            // Both are in the prose of their tables, and would contradict what is shown there.
            let in_prose = match (table.title, *key) {
                ("[policy.anonymous]", "keep") => EXAMPLE.contains("Write `keep = true` in place of both"),
                ("[policy.named]", "quarantine_after" | "delete_after") => {
                    EXAMPLE.contains("# both `quarantine_after` and `delete_after` here in place of `keep`")
                }
                _ => false,
            };
            assert!(there || in_prose, "`{key}` of {} is not in the example", table.title);
        }
    }
}

#[test]
fn what_the_example_file_has_commented_out_can_be_put_in_force() {
    let settings = good(&uncommented("interval"));
    assert_eq!(settings.host.as_deref(), Some("unix:///var/run/docker.sock"));
    assert_eq!((settings.policy.rules.len(), settings.policy.passing.len()), (4, 2));
    assert_eq!(settings.warnings(), Vec::<String>::new());
    assert_eq!(good(&uncommented("cron")).schedule.text, "every 1h");
}

#[test]
fn a_usual_file_is_read() {
    let settings = good(
        r#"
mode = "enforce"
[docker]
host = "unix:///var/run/docker.sock"
[schedule]
cron = "17 * * * *"
timezone = "local"
[policy.anonymous]
quarantine_after = "6d"
delete_after = "13d"
[policy.named]
keep = true
[[rule]]
name = "ci"
match = { volume = "ci-*", label = "com.example.ci", compose_project = "ci", class = "named" }
quarantine_after = "1d"
delete_after = "3d"
[limits]
min_grace = "23h"
min_sightings = 4
max_per_sweep = 21
max_share_per_sweep = "11%"
max_gap = "3d"
sudden_orphans = 12
sudden_orphan_share = "60%"
reads_hold = false
[containers_on_disk]
acknowledged = ["0a", "b"]
"#,
    );
    assert_eq!(settings.host.as_deref(), Some("unix:///var/run/docker.sock"));
    let policy = settings.policy;
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(policy.anonymous, collect(6 * DAY, 13 * DAY));
    assert_eq!(policy.named, Disposition::Keep);
    let limits = policy.limits;
    assert_eq!((limits.min_grace, limits.max_gap), (23 * HOUR, 3 * DAY));
    assert_eq!((limits.min_sightings, limits.max_per_sweep, limits.max_share_per_sweep), (4, 21, 11));
    assert_eq!((limits.sudden_orphans, limits.sudden_orphan_share), (12, 60));
    assert_eq!(limits.reads, Reads::Pass);
    assert_eq!(settings.acknowledged_containers, ["0a", "b"].map(str::to_owned).into());
    let [rule] = policy.rules.as_slice() else { panic!("{:?}", policy.rules) };
    assert_eq!((rule.name.as_str(), rule.disposition), ("ci", collect(DAY, 3 * DAY)));
    let conditions = &rule.conditions;
    let [volume] = conditions.volume.as_slice() else { panic!("{conditions:?}") };
    assert!(volume.is_match("ci-1") && !volume.is_match("xci-1"));
    let [label] = conditions.label.as_slice() else { panic!("{conditions:?}") };
    assert_eq!((label.key.as_str(), label.value.is_none()), ("com.example.ci", true));
    let [project] = conditions.compose_project.as_slice() else { panic!("{conditions:?}") };
    assert!(project.is_match("ci") && !project.is_match("ci-1"));
    assert_eq!(conditions.class, [Class::Named]);
}

/// What a `match` with this condition is told; the column is counted from `match`.
fn said_of(condition: &str) -> Vec<String> {
    mistakes(&format!("[[rule]]\nname = \"a\"\nkeep = true\nmatch = {{ {condition} }}"))
}
