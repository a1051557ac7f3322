//! `volgc list`.

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, Format, output};
use crate::gc::plan::Order;
use crate::host::clock;
use crate::report::document::{Sizes, entry_lines};
use crate::report::table;
use crate::sweep::look::look;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Form of the list
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let engine = context.engine_to_look(&settings).await?;
    let now = clock::read()?;
    let remembered = context.remembered()?;
    let look = look(&engine, &remembered, &settings, &Order::Scheduled, now).await?;
    if let Some(problem) = &look.observation.root_problem {
        // Not "nothing is in quarantine": it cannot be seen from here.
        return Err(CliError::Refused(format!("{problem}. Run volgc on the engine's machine, as root")));
    }
    let lines = entry_lines(&look, &Sizes::default());
    match arguments.format {
        Format::Json => output::json(&lines)?,
        Format::Table if lines.is_empty() => output::print("nothing is in quarantine\n")?,
        Format::Table => output::print(&table::entries(&lines))?,
    }
    Ok(Exit::Done)
}
