//! `volgc report`.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, Format, metrics, output, sizes};
use crate::gc::plan::Order;
use crate::host::clock;
use crate::report::document::{Report, Sizes};
use crate::report::table;
use crate::sweep::look::look;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Form of the report
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
    /// Do not measure; reading a large volume takes a while
    #[arg(long)]
    no_sizes: bool,
    /// Exit with 10 when something would be done, with 4 when a brake would stop it
    #[arg(long)]
    detailed_exit_code: bool,
    /// Print nothing; replace FILE with metrics, for the textfile collector of Prometheus' `node_exporter`
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    textfile: Option<PathBuf>,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let engine = context.engine_to_look(&settings).await?;
    let now = clock::read()?;
    let remembered = context.remembered()?;
    let look = look(&engine, &remembered, &settings, &Order::Scheduled, now).await?;
    let sizes = if arguments.no_sizes { Sizes::default() } else { sizes::measure(&look).await };
    // The program ends after this: giving the memory of thousands of volumes back piece by piece would only make it late.
    let look = ManuallyDrop::new(look);
    let report = ManuallyDrop::new(Report::new(&look, settings.policy.mode, &sizes));
    match (&arguments.textfile, arguments.format) {
        (Some(file), _) => metrics::write(context, &look, &sizes, file)?,
        (None, Format::Table) => output::print(&table::report(&report))?,
        (None, Format::Json) => output::json(&*report)?,
    }
    let is_anything_due =
        report.totals.due_quarantine + report.totals.due_release + report.totals.due_delete > 0;
    let is_braked = !report.refusals.is_empty() || !report.held_back.is_empty();
    Ok(match (arguments.detailed_exit_code, !is_braked, is_anything_due) {
        (true, false, _) => Exit::Refused,
        (true, true, true) => Exit::WouldChange,
        (true, true, false) | (false, _, _) => Exit::Done,
    })
}
