//! `volgc check`.

use super::context::Context;
use super::{CliError, Exit, output};
use crate::config::Settings;
use crate::config::duration::spell;
use crate::gc::plan::Order;
use crate::gc::policy::{Disposition, Policy};
use crate::host::clock;
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
    let engine = context.engine(&settings).await?;
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
    for note in look.observation.inventory.notes() {
        line(&mut text, "note", &safe(note));
    }
    for refusal in &look.refusals {
        line(&mut text, "refused", &format!("{}: {}", refusal.word, safe(&refusal.text)));
    }
    if look.refusals.is_empty() {
        line(&mut text, "verdict", "a sweep can act here");
    }
    output::print(&text)?;
    Ok(if look.refusals.is_empty() { Exit::Done } else { Exit::Refused })
}

fn in_force(text: &mut String, settings: &Settings) {
    let Policy { mode, rules, anonymous, named, limits } = &settings.policy;
    line(text, "mode", mode.word());
    line(text, "schedule", &settings.schedule.schedule.to_string());
    if let Some(listen) = &settings.metrics {
        line(text, "metrics", &format!("{listen}, while `volgc run` runs"));
    }
    for rule in rules {
        let in_place = if rule.in_place { ", in place where it cannot be moved" } else { "" };
        let story = format!("{}{in_place}", disposition(rule.disposition));
        line(text, &format!("rule {}", safe(&rule.name)), &story);
    }
    line(text, "anonymous volumes", &disposition(*anonymous));
    line(text, "named volumes", &disposition(*named));
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
