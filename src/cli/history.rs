//! `volgc history`.

use chrono::TimeDelta;
use clap::Args;

use super::context::Context;
use super::{CliError, Exit, Format, explain, output};
use crate::config::duration;
use crate::gc::history::HistoryLine;
use crate::gc::spoken::spoken;
use crate::host::clock;
use crate::host::ledger::HistoryFilter;
use crate::report::columns::Columns;
use crate::report::text::safe;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only what happened in this last time, as 7d
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Only what happened to this volume
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,
    /// Form of the history
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
}

#[expect(clippy::disallowed_methods, reason = "a span longer than the calendar means the whole history")]
pub(super) fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let since = match &arguments.since {
        None => None,
        Some(text) => {
            let span = duration::parse(text).map_err(|error| CliError::Usage(format!("--since: {error}")))?;
            let now = clock::read()?.wall;
            TimeDelta::from_std(span).ok().and_then(|span| now.checked_sub_signed(span))
        }
    };
    let volume = arguments.volume.as_deref().map(explain::volume_name).transpose()?;
    let lines = match context.ledger_reader()? {
        Some(reader) => reader.history(&HistoryFilter { since, volume })?,
        None => Vec::new(),
    };
    match arguments.format {
        Format::Json => output::json(&lines)?,
        Format::Table if lines.is_empty() => output::print("nothing has happened\n")?,
        Format::Table => output::print(&shown(&lines))?,
    }
    Ok(Exit::Done)
}

fn shown(lines: &[HistoryLine]) -> String {
    let mut columns = Columns::new(["WHEN", "WHAT", "VOLUME", "ENTRY", "LAST HOLDER", "DETAIL"]);
    for line in lines {
        columns.add([
            line.at.format("%Y-%m-%d %H:%M:%SZ").to_string().into(),
            spoken(line.happening.word()),
            line.volume.as_ref().map_or("-".into(), |name| safe(name.as_str())),
            line.entry.as_ref().map_or("-".into(), |entry| entry.to_string().into()),
            line.last_holder.as_ref().map_or("-".into(), |last| safe(&last.holder.name)),
            safe(&line.detail),
        ]);
    }
    columns.text()
}
