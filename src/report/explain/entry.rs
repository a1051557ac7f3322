//! The story of one entry of the quarantine: where it is, since when, when it is due, what keeps it, and how to bring it back.

use super::{brake_story, coming_story, dates, line, verdict_story};
use crate::config::Settings;
use crate::gc::entry::{Entry, Manifest};
use crate::gc::spoken::spoken;
use crate::host::quarantine;
use crate::report::text::{bytes, duration, minute, safe};
use crate::sweep::look::Look;

/// The entry with this ID, else every one whose ID begins so.
pub fn entries_named<'a>(look: &'a Look, what: &str) -> Vec<&'a Entry> {
    let entries = &look.quarantine.entries;
    match entries.iter().find(|entry| entry.shown() == what) {
        Some(entry) => vec![entry],
        None => entries.iter().filter(|entry| entry.shown().starts_with(what)).collect(),
    }
}

/// The story of an entry.
pub fn explain_entry(look: &Look, settings: &Settings, entry: &Entry) -> String {
    let mut text = String::new();
    match entry {
        Entry::Known(manifest) => {
            entry_story(&mut text, look, settings, manifest);
            whereabouts(&mut text, look, manifest);
        }
        Entry::Deleting(id) => {
            line(&mut text, "entry", &format!("{id}, or what is left of it"));
            line(&mut text, "where", &safe(&format!("in {}", path(look, ""))));
            unread_story(&mut text, look, entry);
            line(&mut text, "way back", "none: its deletion has begun");
        }
        Entry::Damaged { directory, .. } => {
            line(&mut text, "entry", &format!("{} (damaged)", safe(directory)));
            line(&mut text, "where", &safe(&path(look, directory)));
            unread_story(&mut text, look, entry);
        }
    }
    brake_story(&mut text, look);
    text
}

/// Of an entry without a manifest no more is known than what the plan says of it.
fn unread_story(text: &mut String, look: &Look, entry: &Entry) {
    if let Some(verdict) = look.plan.entries.get(entry.shown()) {
        verdict_story(text, verdict);
    }
}

fn path(look: &Look, directory: &str) -> String {
    look.observation.index.root().join(quarantine::DIRECTORY).join(directory).display().to_string()
}

/// Where the data is, and what has the name of the volume now.
fn whereabouts(text: &mut String, look: &Look, manifest: &Manifest) {
    let name = safe(manifest.name.as_str());
    let was = format!("{name} ({}, driver {})", manifest.class.word(), safe(&manifest.driver));
    if manifest.state.is_in_place() {
        line(text, "volume", &was);
        line(text, "where", "in place: the volume is where it was, and can be used");
        return;
    }
    let now = match look.observation.inventory.volume(&manifest.name) {
        Some(_) => format!("was {was}; another volume has the name now"),
        None => format!("was {was}; no volume has the name now"),
    };
    line(text, "volume", &now);
    line(text, "where", &safe(&format!("{}/data", path(look, manifest.entry.as_str()))));
    if let Some(size) = manifest.size_bytes {
        line(text, "size", &bytes(size));
    }
}

/// The lines of an entry that its volume's story has, too.
pub(super) fn entry_story(text: &mut String, look: &Look, settings: &Settings, manifest: &Manifest) {
    let story = format!(
        "{} in quarantine since {} ({})",
        manifest.entry,
        minute(manifest.quarantined_at),
        spoken(manifest.state.word())
    );
    line(text, "entry", &story);
    let why = match (&manifest.rule, manifest.by_hand) {
        (_, true) => "an operator ordered it".to_owned(),
        (Some(rule), false) => format!("rule {}", safe(rule)),
        (None, false) => format!("[policy.{}]", manifest.class.word()),
    };
    let since = manifest
        .unreferenced_since
        .map_or_else(String::new, |since| format!("; nothing held it since {}", minute(since)));
    line(text, "quarantined by", &format!("{why}{since}"));
    if let Some(last) = &manifest.last_holder {
        line(text, "last holder", &safe(&last.holder.to_string()));
    }
    if let (Some(clock), Some(promised)) = (look.ledger.entries.get(&manifest.entry), manifest.delete_after())
    {
        let story = format!(
            "in quarantine; {} of it watched; {} promised",
            duration(clock.watched),
            duration(promised)
        );
        line(text, "clock", &story);
    }
    if let Some(verdict) = look.plan.entries.get(manifest.entry.as_str()) {
        verdict_story(text, verdict);
        coming_story(text, &dates::of_entry(look, settings, manifest, verdict));
    }
    line(text, "way back", &format!("volgc restore {}", manifest.entry));
}
