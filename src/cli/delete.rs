//! `volgc delete`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use chrono::{DateTime, Utc};

use super::context::Context;
use super::{CliError, Exit, sweep};
use crate::gc::entry::{Entry, EntryId};
use crate::gc::plan::Order;
use crate::host::clock;
use crate::report::columns::Columns;
use crate::report::document::{EntryLine, Sizes, entry_lines};
use crate::report::table::Size;
use crate::report::text::{counted, duration, safe, shortened};
use crate::sweep::look::{Look, look};

/// How many entries the question names. The rest is counted.
const NAMED: usize = 10;

/// How wide the names of volumes may be in it: beside an entry, a size and an age that leaves a line of 80 columns.
const NAME_WIDTH: usize = 22;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The entries, as `volgc list` shows them
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Delete also what something used while it was in quarantine
    #[arg(long)]
    touched: bool,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let entries: BTreeSet<EntryId> = arguments
        .entries
        .iter()
        .map(|text| {
            EntryId::new(text.clone()).map_err(|_| {
                CliError::Usage(format!(
                    "{} is no entry; `volgc list` shows them in its first column",
                    safe(text)
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    if !arguments.yes {
        confirm(context, &entries).await?;
    }
    let order = if arguments.touched { Order::DeleteTouched(entries) } else { Order::Delete(entries) };
    sweep::pass(context, "delete", &order).await
}

/// Asks on the terminal; without one, nothing is deleted.
async fn confirm(context: &Context<'_>, entries: &BTreeSet<EntryId>) -> Result<(), CliError> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(CliError::Usage("deleting is for good: say --yes, or run it at a terminal".to_owned()));
    }
    let (settings, _) = context.settings()?;
    let engine = context.engine(&settings).await?;
    let now = clock::read()?;
    let remembered = context.remembered()?;
    let look = look(&engine, &remembered, &settings, &Order::Scheduled, now).await?;
    let lines = entry_lines(&look, &Sizes::default());
    let is_named = |line: &EntryLine| entries.iter().any(|entry| entry.as_str() == line.entry);
    let named: Vec<&EntryLine> = lines.iter().filter(|line| is_named(line)).collect();
    if named.is_empty() {
        let missing: Vec<&str> = entries.iter().map(EntryId::as_str).collect();
        let why = format!("there is no entry {}; `volgc list` shows what there is", missing.join(", "));
        return Err(CliError::NotFound(why));
    }
    let mut prompt = std::io::stderr().lock();
    write!(prompt, "{}", question(&named, |entry| age(&look, entry)))?;
    prompt.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::Refused("nothing was deleted".to_owned()))
    }
}

/// For how long an entry has been in quarantine.
fn age(look: &Look, entry: &str) -> Option<String> {
    let since = |found: &Entry| -> Option<DateTime<Utc>> {
        match found {
            Entry::Known(manifest) if manifest.entry.as_str() == entry => Some(manifest.quarantined_at),
            Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
        }
    };
    let since = look.quarantine.entries.iter().find_map(since)?;
    // A wall clock that was set back makes nothing older.
    (look.at.wall - since).to_std().map_or(None, |age| Some(duration(age)))
}

/// What would be deleted, and the question, in lines of 80 columns.
fn question(lines: &[&EntryLine], age: impl Fn(&str) -> Option<String>) -> String {
    let mut columns = Columns::new(["ENTRY", "VOLUME", "SIZE", "AGE"]).numbers_in(2);
    for line in lines.iter().take(NAMED) {
        let name = line.name.as_ref().map_or("?".into(), |name| safe(name.as_str()));
        columns.add([
            safe(&line.entry),
            shortened(&name, NAME_WIDTH).into(),
            Size { bytes: line.size_bytes, is_at_most: line.size_is_at_most }.shown(),
            age(&line.entry).unwrap_or_else(|| "-".to_owned()).into(),
        ]);
    }
    let mut text = columns.text();
    if lines.len() > NAMED {
        text.push_str(&format!("and {} more\n", lines.len() - NAMED));
    }
    text.push_str(&format!("Delete {} for good? [y/N] ", counted(lines.len(), "entry", "entries")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::verdict::Action;
    use crate::gc::volume::VolumeName;

    fn line(number: usize, name: &str, size_bytes: Option<u64>) -> EntryLine {
        EntryLine {
            entry: format!("20270115-080000-{number:08x}"),
            name: Some(VolumeName::new(name).unwrap()),
            state: "quarantined",
            quarantined_at: None,
            delete_at: None,
            size_bytes,
            size_is_at_most: size_bytes.is_some(),
            name_in_use: false,
            action: Action::Keep,
            reason: String::new(),
            detail: String::new(),
            last_holder: None,
        }
    }

    #[test]
    fn the_question_names_what_would_be_deleted_in_lines_of_80_columns() {
        let lines = [line(1, "db", None), line(2, &"x".repeat(255), Some(u64::MAX))];
        let told = question(&lines.iter().collect::<Vec<_>>(), |entry| {
            entry.ends_with('2').then(|| "9999d 23h".to_owned())
        });
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
        for part in
            ["20270115-080000-00000001  db", "20270115-080000-00000002  xxxx", "at most 18.4 EB", "9999d 23h"]
        {
            assert!(told.contains(part), "no {part}: {told}");
        }
        assert!(told.ends_with("\nDelete 2 entries for good? [y/N] "), "{told}");
    }

    #[test]
    fn of_many_the_first_ten_are_named_and_the_rest_is_counted() {
        let lines: Vec<EntryLine> =
            (1..=12).map(|number| line(number, &format!("v{number}"), Some(1))).collect();
        let told = question(&lines.iter().collect::<Vec<_>>(), |_| None);
        assert!(told.contains("  v10  ") && !told.contains("  v11  "), "{told}");
        assert!(told.ends_with("\nand 2 more\nDelete 12 entries for good? [y/N] "), "{told}");
    }
}
