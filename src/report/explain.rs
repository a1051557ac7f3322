//! The whole story of one volume: every witness, every reference, the rule, the clock, the dates.

use super::text::{counted, duration, minute, safe};
use crate::config::Settings;
use crate::gc::entry::{Entry, Manifest};
use crate::gc::policy::{Decision, Disposition};
use crate::gc::reference::Witness;
use crate::gc::verdict::Verdict;
use crate::gc::volume::{Volume, VolumeName};
use crate::sweep::look::Look;

/// What Docker claims of the volume; shown, never decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dangling {
    /// Docker calls it dangling.
    Yes,
    /// Docker says that something uses it.
    No,
}

/// The story of a volume, and of the entries that were a volume of that name. None when there is neither.
pub fn explain(look: &Look, settings: &Settings, name: &VolumeName, dangling: Dangling) -> Option<String> {
    let mut text = String::new();
    let volume = look.observation.inventory.volume(name);
    if let Some(volume) = volume {
        volume_story(&mut text, look, settings, volume, dangling);
    }
    let mut any_entry = false;
    for entry in &look.quarantine.entries {
        if let Entry::Known(manifest) = entry
            && manifest.name == *name
        {
            any_entry = true;
            entry_story(&mut text, look, manifest);
        }
    }
    for refusal in &look.refusals {
        line(&mut text, "brake", &format!("{}: {}", refusal.word, safe(&refusal.text)));
    }
    (volume.is_some() || any_entry).then_some(text)
}

fn volume_story(text: &mut String, look: &Look, settings: &Settings, volume: &Volume, dangling: Dangling) {
    let name = &volume.name;
    let inventory = &look.observation.inventory;
    line(
        text,
        "volume",
        &format!("{} ({}, driver {})", safe(name.as_str()), volume.class.word(), safe(&volume.driver)),
    );
    for (key, value) in &volume.labels {
        line(text, "label", &format!("{}={}", safe(key), safe(value)));
    }
    for witness in Witness::ALL {
        let seen: Vec<_> =
            inventory.references(name).iter().filter(|reference| reference.witness == witness).collect();
        let topic = format!("witness {}", witness.word());
        if seen.is_empty() {
            line(text, &topic, "sees no holder");
        }
        for reference in seen {
            let holder = &reference.holder;
            let story = format!(
                "held by {} {}: {}",
                holder.kind.word().replace('_', " "),
                safe(&holder.name),
                safe(&holder.detail)
            );
            line(text, &topic, &story);
        }
    }
    let claim = match dangling {
        Dangling::Yes => "Docker calls it dangling, which proves nothing",
        Dangling::No => "the engine counts a use of it, so it is left alone",
    };
    line(text, "dangling", claim);
    line(text, "policy", &policy_story(settings, volume));
    if volume.unmovable.is_empty() {
        line(text, "movable", "yes");
    }
    for why in &volume.unmovable {
        line(text, "movable", &format!("no: {} ({})", why.sentence(), why.word()));
    }
    clock_story(text, look, settings, name);
    if let Some(verdict) = look.plan.volumes.get(name) {
        verdict_story(text, verdict);
    }
}

fn policy_story(settings: &Settings, volume: &Volume) -> String {
    let source = |rule: Option<String>| {
        rule.map_or_else(
            || format!("[policy.{}]", volume.class.word()),
            |rule| format!("rule {}", safe(&rule)),
        )
    };
    match settings.policy.decide(volume) {
        Decision::KeepLabel => "the label volgc.keep=true keeps it".to_owned(),
        Decision::MalformedLabel(label) => {
            format!("the label {} is not understood and keeps it", safe(&label))
        }
        Decision::By { rule, disposition: Disposition::Keep } => format!("{} keeps it", source(rule)),
        Decision::By { rule, disposition: Disposition::Collect { quarantine_after, delete_after } } => {
            format!(
                "{}: quarantine after {} without a holder, delete {} later",
                source(rule),
                duration(quarantine_after),
                duration(delete_after)
            )
        }
    }
}

fn clock_story(text: &mut String, look: &Look, settings: &Settings, name: &VolumeName) {
    let Some(record) = look.ledger.volumes.get(name) else { return };
    if let Some(last) = &record.last_holder {
        let story = format!(
            "{} {} ({}), last seen {}",
            last.holder.kind.word().replace('_', " "),
            safe(&last.holder.name),
            safe(&last.holder.detail),
            minute(last.seen_at)
        );
        line(text, "last holder", &story);
    }
    match &record.unreferenced {
        None => line(text, "clock", "stands at zero while something holds it"),
        Some(clock) => {
            let story = format!(
                "unreferenced since {}; {} of it watched; seen so {}, this look included ({} needed)",
                minute(clock.since),
                duration(clock.watched),
                counted(clock.sightings as usize, "time", "times"),
                settings.policy.limits.min_sightings.max(2)
            );
            line(text, "clock", &story);
        }
    }
    if let Some(since) = record.suspected_since {
        line(
            text,
            "sudden orphan",
            &format!("held by the brake since {}; see `volgc acknowledge`", minute(since)),
        );
    }
}

fn entry_story(text: &mut String, look: &Look, manifest: &Manifest) {
    let story = format!(
        "{} in quarantine since {} ({})",
        manifest.entry,
        minute(manifest.quarantined_at),
        manifest.state.word()
    );
    line(text, "entry", &story);
    if let Some(last) = &manifest.last_holder {
        line(text, "last holder", &format!("{} {}", last.holder.kind.word(), safe(&last.holder.name)));
    }
    if let Some(verdict) = look.plan.entries.get(manifest.entry.as_str()) {
        verdict_story(text, verdict);
    }
    line(text, "way back", &format!("volgc restore {}", manifest.entry));
}

fn verdict_story(text: &mut String, verdict: &Verdict) {
    line(
        text,
        "verdict",
        &format!("{} ({}): {}", verdict.action.word(), verdict.reason.word(), safe(&verdict.detail)),
    );
    if let Some(due_at) = verdict.due_at {
        line(text, "due", &minute(due_at));
    }
}

fn line(text: &mut String, topic: &str, story: &str) {
    text.push_str(&format!("{topic:<28}{story}\n"));
}
