//! The report as tables and one plain sentence.

use std::borrow::Cow;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::columns::Columns;
use super::document::{EntryLine, Report, Totals, VolumeLine};
use super::text::{bytes, counted, rfc3339, safe};
use crate::gc::policy::Mode;
use crate::gc::spoken::spoken;
use crate::gc::verdict::Action;

/// The whole report.
pub fn report(report: &Report<'_>) -> String {
    let mut text = format!(
        "Engine {} ({}), docker root {}, mode {}\n",
        safe(&report.engine.version),
        safe(&report.engine.id),
        safe(&report.engine.root),
        report.mode.word()
    );
    if !report.volumes.is_empty() {
        text.push('\n');
        text.push_str(&volumes(&report.volumes));
    }
    if !report.quarantine.is_empty() {
        text.push_str("\nIn quarantine:\n");
        text.push_str(&entries(&report.quarantine));
    }
    for note in &report.notes {
        text.push_str(&format!("\nNote: {}", safe(note)));
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    for refusal in &report.refusals {
        text.push_str(&format!(
            "\nA sweep would refuse to act ({}): {}\n",
            spoken(refusal.reason),
            safe(&refusal.detail)
        ));
    }
    for line in &report.held_back {
        text.push_str(&format!("\nHeld back ({}): {}\n", line.reason, safe(&line.detail)));
    }
    text.push('\n');
    text.push_str(&summary(&report.totals, report.mode));
    text
}

/// The volumes, what is to happen first.
fn volumes<'a>(lines: &[VolumeLine<'a>]) -> String {
    let mut sorted: Vec<&VolumeLine<'a>> = lines.iter().collect();
    sorted.par_sort_by_key(|line| (rank(line), &line.name));
    let header = ["VOLUME", "CLASS", "SIZE", "UNREFERENCED SINCE", "ACTION", "DUE", "WHY"];
    let mut columns = Columns::new(header).numbers_in(2);
    let row = |line: &&VolumeLine<'a>| {
        [
            safe(line.name),
            line.class.into(),
            Size { bytes: line.size_bytes, is_at_most: line.size_is_at_most }.shown(),
            shown_time(line.unreferenced_since.map(rfc3339)),
            line.action.word().into(),
            shown_time(line.due_at.map(rfc3339)),
            safe(line.detail),
        ]
    };
    columns.add_all(sorted.par_iter().map(row).collect());
    columns.text()
}

fn rank(line: &VolumeLine<'_>) -> u8 {
    match line.action {
        Action::Delete => 0,
        Action::Quarantine => 1,
        Action::Release => 2,
        Action::Watch => 3,
        Action::Keep if line.holders.is_empty() => 4,
        Action::Keep => 5,
    }
}

/// The quarantine.
pub fn entries(lines: &[EntryLine]) -> String {
    let header = ["ENTRY", "VOLUME", "SIZE", "STATE", "QUARANTINED", "DELETE AT", "WHY"];
    let mut columns = Columns::new(header).numbers_in(2);
    for line in lines {
        columns.add([
            safe(&line.entry),
            line.name.as_ref().map_or("?".into(), |name| safe(name.as_str())),
            Size { bytes: line.size_bytes, is_at_most: line.size_is_at_most }.shown(),
            spoken(line.state),
            shown_time(line.quarantined_at.clone()),
            shown_time(line.delete_at.clone()),
            safe(&line.detail),
        ]);
    }
    columns.text()
}

/// One plain sentence at the end.
fn summary(totals: &Totals, mode: Mode) -> String {
    let size = |bytes_known: u64| {
        let how = match (totals.sizes_complete, totals.sizes_are_at_most) {
            (true, false) => "",
            (false, false) => "at least ",
            (true, true) => "at most ",
            (false, true) => "about ",
        };
        if bytes_known == 0 && !totals.sizes_complete {
            String::new()
        } else {
            format!(" ({how}{})", bytes(bytes_known))
        }
    };
    let mut text = format!(
        "{}: {} held, {} unreferenced{}; {} in quarantine{}.\n",
        counted(totals.volumes, "volume", "volumes"),
        totals.held,
        totals.unreferenced,
        size(totals.unreferenced_bytes),
        totals.quarantined,
        size(totals.quarantined_bytes)
    );
    if totals.kept_by_class > 0 {
        text.push_str(&format!(
            "{}{} {} kept by the policy of the class; a [[rule]] would collect what it matches.\n",
            counted(totals.kept_by_class, "unreferenced volume", "unreferenced volumes"),
            size(totals.kept_by_class_bytes),
            if totals.kept_by_class == 1 { "is" } else { "are" }
        ));
    }
    let due = totals.due_quarantine + totals.due_release + totals.due_delete;
    let release = match totals.due_release {
        0 => String::new(),
        count => format!(", {} to release", counted(count, "entry", "entries")),
    };
    let verb = match mode {
        Mode::Observe => "would be due, but mode = \"observe\" changes nothing",
        Mode::Quarantine if totals.due_delete > 0 => "due (mode = \"quarantine\" deletes nothing)",
        Mode::Quarantine | Mode::Enforce => "due at the next sweep",
    };
    if due > 0 {
        text.push_str(&format!(
            "{} to quarantine{release} and {} to delete {verb}.\n",
            counted(totals.due_quarantine, "volume", "volumes"),
            counted(totals.due_delete, "entry", "entries")
        ));
    } else {
        text.push_str("Nothing is due.\n");
    }
    text
}

/// A size of the document.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// None where it is not known.
    pub bytes: Option<u64>,
    /// Whether deleting may give back less.
    pub is_at_most: bool,
}

impl Size {
    /// In words of a table.
    pub fn shown(self) -> Cow<'static, str> {
        match (self.bytes, self.is_at_most) {
            (None, _) => "-".into(),
            (Some(count), false) => bytes(count).into(),
            (Some(count), true) => format!("at most {}", bytes(count)).into(),
        }
    }
}

/// A time of the document to the minute.
pub fn shown_time(rfc3339: Option<String>) -> Cow<'static, str> {
    let Some(mut text) = rfc3339 else { return "-".into() };
    if text.is_char_boundary(16) && text.get(10..11) == Some("T") {
        text.truncate(16);
        text.replace_range(10..11, " ");
        text.push('Z');
    }
    text.into()
}
