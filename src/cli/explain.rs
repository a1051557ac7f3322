//! `volgc explain`.

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, output};
use crate::gc::plan::Order;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::report::explain::{Dangling, explain};
use crate::report::text::safe;
use crate::sweep::look::look;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the volume
    volume: String,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let name = volume_name(&arguments.volume)?;
    let engine = context.engine(&settings).await?;
    let remembered = context.remembered()?;
    let dangling = if engine.is_dangling(&name).await? { Dangling::Yes } else { Dangling::No };
    let look = look(&engine, &remembered, &settings, &Order::Scheduled, clock::read()?).await?;
    match explain(&look, &settings, &name, dangling) {
        Some(story) => {
            output::print(&story)?;
            Ok(Exit::Done)
        }
        None => Err(CliError::NotFound(format!(
            "there is no volume {}, and none of that name in quarantine; `volgc report` and `volgc list` show what there is",
            safe(&arguments.volume)
        ))),
    }
}

/// A volume's name from the command line.
pub(super) fn volume_name(text: &str) -> Result<VolumeName, CliError> {
    VolumeName::new(text).map_err(|error| CliError::Usage(error.to_string()))
}
