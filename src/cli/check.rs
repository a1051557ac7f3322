//! `volgc check`.

use globset::GlobMatcher;

use super::context::Context;
use super::{CliError, Exit, output};
use crate::config::duration::spell;
use crate::config::{ScheduleSettings, Settings};
use crate::gc::orphans;
use crate::gc::passing::Passing;
use crate::gc::plan::Order;
use crate::gc::policy::{Disposition, LabelMatch, Match, Policy};
use crate::gc::spoken::spoken;
use crate::gc::touched::Reads;
use crate::host::clock;
use crate::host::volumes_dir::VolumesDir;
use crate::report::text::{rfc3339, safe};
use crate::sweep::look::look;

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let (settings, file) = context.settings()?;
    let now = clock::read()?;
    let mut text = String::new();
    let source =
        file.map_or_else(|| "built-in defaults (no file)".to_owned(), |file| file.display().to_string());
    line(&mut text, "configuration", &source);
    in_force(&mut text, &settings);
    line(&mut text, "state", &context.state_dir.display().to_string());
    for (number, at) in settings.schedule.schedule.upcoming(now.wall, 5).into_iter().enumerate() {
        line(&mut text, if number == 0 { "next sweeps" } else { "" }, &rfc3339(at));
    }
    for warning in settings.warnings() {
        line(&mut text, "warning", &warning);
    }
    let endpoint = context.endpoint(&settings)?;
    line(&mut text, "engine address", &endpoint.to_string());
    output::print(&text)?;

    let mut text = String::new();
    let engine = context.engine_to_look(&settings).await?;
    let remembered = context.remembered()?;
    let look = look(&engine, &remembered, &settings, &Order::Scheduled, now).await?;
    let identity = look.observation.inventory.engine();
    line(
        &mut text,
        "engine",
        &format!("{} ({}), API {}", safe(&identity.version), safe(&identity.id), identity.api_version),
    );
    line(&mut text, "docker root", &safe(&identity.root));
    line(&mut text, "volumes", &look.observation.inventory.volumes().len().to_string());
    for alert in look.observation.inventory.alerts() {
        line(&mut text, "warning", &safe(alert));
    }
    for note in look.observation.inventory.notes() {
        line(&mut text, "note", &safe(note));
    }
    if let Some(note) = blind_to_reads(&settings, look.observation.directory.as_deref()) {
        line(&mut text, "note", &safe(&note));
    }
    for refusal in &look.refusals {
        line(&mut text, "refused", &format!("{}: {}", spoken(refusal.word), safe(&refusal.text)));
    }
    if let Some(held) = look.held_back() {
        line(&mut text, "held back", &format!("{}: {}", orphans::WORD, held.text));
    }
    if look.refusals.is_empty() {
        line(&mut text, "verdict", "a sweep can act here");
    }
    output::print(&text)?;
    Ok(if look.refusals.is_empty() { Exit::Done } else { Exit::Refused })
}

/// That reads leave no trace, where they should hold something.
fn blind_to_reads(settings: &Settings, root: Option<&VolumesDir>) -> Option<String> {
    let root = root.filter(|_| settings.policy.limits.reads == Reads::Count)?;
    let what = match root.notes_reads() {
        Ok(true) => return None,
        Ok(false) => "is mounted noatime, so reads of what is in quarantine leave no trace".to_owned(),
        Err(error) => format!("does not tell whether reads leave a trace ({error})"),
    };
    Some(format!("{} {what}: only changes keep it from being deleted", root.root_path().display()))
}

fn in_force(text: &mut String, settings: &Settings) {
    let Policy { mode, rules, anonymous, named, limits, passing } = &settings.policy;
    line(text, "mode", mode.word());
    let ScheduleSettings { schedule, jitter, .. } = &settings.schedule;
    line(text, "schedule", &format!("{schedule}, jitter {}", spell(*jitter)));
    if let Some(listen) = &settings.metrics {
        line(text, "metrics", &format!("{listen}, while `volgc run` runs"));
    }
    for rule in rules {
        let in_place = if rule.in_place { ", in place where it cannot be moved" } else { "" };
        let story = format!("{}{in_place}", disposition(rule.disposition));
        line(text, &format!("rule {}", safe(&rule.name)), &story);
        line(text, "", &format!("match {}", conditions(&rule.conditions)));
    }
    line(text, "anonymous volumes", &disposition(*anonymous));
    line(text, "named volumes", &disposition(*named));
    for one in passing {
        line(text, "passing containers", &traits(one));
    }
    line(
        text,
        "limits",
        &format!(
            "grace at least {}, {} sightings, {} volumes or {} % a sweep, gaps up to {} count as watched",
            spell(limits.min_grace),
            limits.min_sightings.max(2),
            limits.max_per_sweep,
            limits.max_share_per_sweep,
            spell(limits.max_gap)
        ),
    );
    line(
        text,
        "sudden orphans",
        &format!(
            "held when more than {}, and at least {} % of those with a holder, lose it between two sweeps and nobody sees why",
            limits.sudden_orphans, limits.sudden_orphan_share
        ),
    );
    let used = match limits.reads {
        Reads::Count => "kept in quarantine when it was changed or read there",
        Reads::Pass => "kept in quarantine when it was changed there; reads do not count",
    };
    line(text, "used data", used);
    let acknowledged: Vec<_> = settings.acknowledged_containers.iter().map(|name| safe(name)).collect();
    let acknowledged = if acknowledged.is_empty() { "none".to_owned() } else { acknowledged.join(", ") };
    line(text, "containers on disk", &format!("acknowledged: {acknowledged}"));
}

fn conditions(conditions: &Match) -> String {
    let Match { volume, label, compose_project, class } = conditions;
    spelled(&[
        ("volume", globs(volume)),
        ("label", labels(label)),
        ("compose_project", globs(compose_project)),
        ("class", class.iter().map(|class| class.word().to_owned()).collect()),
    ])
}

fn traits(passing: &Passing) -> String {
    let Passing { image, label, container } = passing;
    spelled(&[("image", globs(image)), ("label", labels(label)), ("container", globs(container))])
}

fn globs(globs: &[GlobMatcher]) -> Vec<String> {
    globs.iter().map(|glob| glob.glob().glob().to_owned()).collect()
}

fn labels(labels: &[LabelMatch]) -> Vec<String> {
    let label = |label: &LabelMatch| match &label.value {
        Some(value) => format!("{}={}", label.key, value.glob().glob()),
        None => label.key.clone(),
    };
    labels.iter().map(label).collect()
}

/// All of them must hold; of the values of one, any.
fn spelled(given: &[(&str, Vec<String>)]) -> String {
    let told = given.iter().filter(|(_, values)| !values.is_empty()).map(|(key, values)| {
        let values: Vec<String> = values.iter().map(|value| format!("\"{}\"", safe(value))).collect();
        format!("{key} {}", values.join(" or "))
    });
    told.collect::<Vec<_>>().join(", and ")
}

fn disposition(disposition: Disposition) -> String {
    match disposition {
        Disposition::Keep => "kept".to_owned(),
        Disposition::Collect { quarantine_after, delete_after } => {
            format!("quarantined after {}, deleted {} later", spell(quarantine_after), spell(delete_after))
        }
    }
}

fn line(text: &mut String, topic: &str, story: &str) {
    text.push_str(&format!("{topic:<20}{story}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_is_in_force_is_shown() {
        let settings = crate::config::parse(
            r#"
[schedule]
cron = "@daily"
timezone = "UTC"
jitter = "5m"
[[rule]]
name = "ci"
match = { volume = ["ci-*", "test-*"], label = ["com.example.ci=nightly-*", "x"], compose_project = "ci", class = "named" }
quarantine_after = "1d"
delete_after = "3d"
in_place = true
[[passing]]
image = "restic/*"
label = "com.example.role=backup"
[limits]
sudden_orphans = 12
sudden_orphan_share = "60%"
[containers_on_disk]
acknowledged = ["0eec", "396184"]
[metrics]
listen = "127.0.0.1:9710"
"#,
            "volgc.toml",
        )
        .unwrap();
        let mut text = String::new();
        in_force(&mut text, &settings);
        let expected = r#"
mode                observe
schedule            @daily in UTC, jitter 5m
metrics             http://127.0.0.1:9710, while `volgc run` runs
rule ci             quarantined after 1d, deleted 3d later, in place where it cannot be moved
                    match volume "ci-*" or "test-*", and label "com.example.ci=nightly-*" or "x", and compose_project "ci", and class "named"
anonymous volumes   quarantined after 7d, deleted 14d later
named volumes       kept
passing containers  image "restic/*", and label "com.example.role=backup"
limits              grace at least 1d, 3 sightings, 20 volumes or 10 % a sweep, gaps up to 2d count as watched
sudden orphans      held when more than 12, and at least 60 % of those with a holder, lose it between two sweeps and nobody sees why
used data           kept in quarantine when it was changed or read there
containers on disk  acknowledged: 0eec, 396184
"#;
        assert_eq!(text, expected.trim_start());
    }
}
