//! `volgc delete`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, sweep};
use crate::gc::entry::EntryId;
use crate::gc::plan::Order;
use crate::report::text::{counted, safe};

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
        ask(entries.len())?;
    }
    let order = if arguments.touched { Order::DeleteTouched(entries) } else { Order::Delete(entries) };
    sweep::pass(context, "delete", &order).await
}

/// Asks on the terminal; without one, nothing is deleted.
fn ask(count: usize) -> Result<(), CliError> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(CliError::Usage("deleting is for good: say --yes, or run it at a terminal".to_owned()));
    }
    let mut prompt = std::io::stderr().lock();
    write!(prompt, "Delete {} for good? [y/N] ", counted(count, "entry", "entries"))?;
    prompt.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::Refused("nothing was deleted".to_owned()))
    }
}
