//! The whole story of one volume: every witness, every reference, the rule, the clock, the dates.

mod entry;

use super::dates::{self, Coming};
use super::text::{counted, duration, minute, safe};
use crate::config::Settings;
use crate::gc::entry::Entry;
use crate::gc::policy::{Decision, Disposition};
use crate::gc::reference::{Holder, Reference, Witness};
use crate::gc::spoken::spoken;
use crate::gc::verdict::Verdict;
use crate::gc::volume::{Class, Unmovable, Volume, VolumeName};
use crate::sweep::look::Look;
use entry::entry_story;
pub use entry::{entries_named, explain_entry};

/// What Docker claims of the volume; shown, never decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dangling {
    /// Docker calls it dangling.
    Yes,
    /// Docker says that something uses it.
    No,
}

/// What the kernel says of processes in the volume. A sweep asks for it right before it moves a volume, so it is no reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// No process has anything open there.
    Nobody,
    /// This one has.
    Process(Holder),
    /// It is not known: the volume would not be moved.
    Unknown(String),
}

/// The story of a volume, and of the entries that were a volume of that name. None when nothing is known of the name.
pub fn explain(
    look: &Look,
    settings: &Settings,
    name: &VolumeName,
    dangling: Dangling,
    inside: &Inside,
) -> Option<String> {
    let mut text = String::new();
    let volume = look.observation.inventory.volume(name);
    if let Some(volume) = volume {
        volume_story(&mut text, look, settings, volume, dangling, inside);
    } else {
        no_volume_story(&mut text, look, name);
    }
    for entry in &look.quarantine.entries {
        if let Entry::Known(manifest) = entry
            && manifest.name == *name
        {
            entry_story(&mut text, look, settings, manifest);
        }
    }
    if text.is_empty() {
        return None;
    }
    if volume.is_none() {
        text.insert_str(0, &lined("volume", &format!("{} does not exist", safe(name.as_str()))));
    }
    brake_story(&mut text, look);
    Some(text)
}

fn brake_story(text: &mut String, look: &Look) {
    for refusal in &look.refusals {
        line(text, "brake", &format!("{}: {}", spoken(refusal.word), safe(&refusal.text)));
    }
    if !look.refusals.is_empty() {
        line(text, "", "as long as a brake holds, nothing is moved or deleted, whatever its date is");
    }
}

/// The story of the volumes with a name that cannot be used. None when there is none of this name.
pub fn explain_odd(look: &Look, name: &str) -> Option<String> {
    let mut text = String::new();
    for (odd, (_, verdict)) in look.observation.inventory.odd().iter().zip(&look.plan.odd) {
        if odd.name != name {
            continue;
        }
        let story = format!("{} ({}, driver {})", safe(name), odd.class.word(), safe(&odd.driver));
        line(&mut text, "volume", &story);
        for (key, value) in &odd.labels {
            line(&mut text, "label", &format!("{}={}", safe(key), safe(value)));
        }
        verdict_story(&mut text, verdict);
    }
    (!text.is_empty()).then_some(text)
}

fn volume_story(
    text: &mut String,
    look: &Look,
    settings: &Settings,
    volume: &Volume,
    dangling: Dangling,
    inside: &Inside,
) {
    let name = &volume.name;
    line(
        text,
        "volume",
        &format!("{} ({}, driver {})", safe(name.as_str()), volume.class.word(), safe(&volume.driver)),
    );
    for (key, value) in &volume.labels {
        line(text, "label", &format!("{}={}", safe(key), safe(value)));
    }
    for witness in Witness::ALL {
        witness_story(text, look, name, witness);
    }
    match inside {
        Inside::Nobody => line(text, "processes", "none is in it"),
        Inside::Process(process) => {
            let story = format!("{} {} is in it: {}", process.id, safe(&process.name), safe(&process.detail));
            line(text, "processes", &format!("{story}; a sweep leaves it alone until it is not"));
        }
        Inside::Unknown(why) => {
            line(text, "processes", &format!("are not known, so it would not be moved: {}", safe(why)));
        }
    }
    let claim = match (volume.class, dangling) {
        (Class::Unlisted, _) => "Docker does not list it, so it makes no claim",
        (_, Dangling::Yes) => "Docker calls it dangling, which proves nothing",
        (_, Dangling::No) => "the engine counts a use of it, so it is left alone",
    };
    line(text, "dangling", claim);
    line(text, "policy", &policy_story(settings, volume));
    if volume.unmovable.is_empty() {
        line(text, "movable", "yes");
    }
    for why in &volume.unmovable {
        line(text, "movable", &format!("no: {} ({})", why.sentence(), spoken(why.word())));
    }
    if let Some(place) = look.observation.mounted.get(name) {
        line(text, "mounted", &format!("at {}", safe(place)));
    }
    if volume.unmovable == [Unmovable::DriverOptions] {
        let permitted = if settings.policy.permits_in_place(volume) {
            "the rule permits it"
        } else {
            "possible, where a rule says in_place = true"
        };
        line(text, "in place", permitted);
    }
    clock_story(text, look, settings, name);
    if let Some(verdict) = look.plan.volumes.get(name) {
        verdict_story(text, verdict);
        let coming = dates::of_volume(look, settings, volume, verdict);
        coming_story(text, &coming);
    }
}

fn witness_story(text: &mut String, look: &Look, name: &VolumeName, witness: Witness) {
    let references = look.observation.inventory.references(name);
    let mut seen = references.iter().filter(|reference| reference.witness == witness).peekable();
    let topic = format!("witness {}", spoken(witness.word()));
    if seen.peek().is_none() {
        line(text, &topic, "sees no holder");
    }
    for Reference { holder, .. } in seen {
        let story = format!("held by {}: {}", safe(&holder.to_string()), safe(&holder.detail));
        line(text, &topic, &story);
    }
}

/// What is known of a name that no volume has.
fn no_volume_story(text: &mut String, look: &Look, name: &VolumeName) {
    if look.observation.index.observed().get(name).is_some_and(|seen| seen.directory.is_some()) {
        let path = look.observation.index.root().join("volumes").join(name.as_str());
        let story = "exists, but the engine does not list it: it was made behind its back";
        line(text, "directory", &format!("{} {story}", safe(&path.display().to_string())));
    }
    let references = look.observation.inventory.references(name);
    for witness in Witness::ALL {
        if references.iter().any(|reference| reference.witness == witness) {
            witness_story(text, look, name, witness);
        }
    }
}

fn coming_story(text: &mut String, coming: &Coming) {
    for (topic, story) in [("to be quarantined", &coming.quarantine), ("to be deleted", &coming.delete)] {
        if let Some(story) = story {
            line(text, topic, story);
        }
    }
}

fn policy_story(settings: &Settings, volume: &Volume) -> String {
    let source = |rule: Option<String>| {
        rule.map_or_else(
            || match volume.class {
                Class::Unlisted => "no rule matches, which".to_owned(),
                Class::Anonymous | Class::Named => format!("[policy.{}]", volume.class.word()),
            },
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
            "{} ({}), last seen {}",
            safe(&last.holder.to_string()),
            safe(&last.holder.detail),
            minute(last.seen_at)
        );
        line(text, "last holder", &story);
    }
    match &record.unreferenced {
        None => line(text, "clock", "stands at zero while something holds it"),
        Some(clock) => {
            // The ledger is as a sweep would make it now. One that finds a passing holder counts nothing.
            let is_passed = !look.observation.inventory.references(name).is_empty();
            let sweeps = if is_passed { clock.sightings } else { clock.sightings.saturating_sub(1) };
            let story = format!(
                "unreferenced since {}; {} of it watched; seen so by {} until now ({} needed)",
                minute(clock.since),
                duration(clock.watched),
                counted(sweeps as usize, "sweep", "sweeps"),
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

fn verdict_story(text: &mut String, verdict: &Verdict) {
    line(
        text,
        "verdict",
        &format!("{} ({}): {}", verdict.action.word(), spoken(verdict.reason.word()), safe(&verdict.detail)),
    );
}

fn line(text: &mut String, topic: &str, story: &str) {
    text.push_str(&lined(topic, story));
}

fn lined(topic: &str, story: &str) -> String {
    format!("{topic:<28}{story}\n")
}
