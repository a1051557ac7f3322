//! `volgc quarantine`.

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, explain, sweep};
use crate::gc::plan::Order;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Names of the volumes
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let volumes =
        arguments.volumes.iter().map(|name| explain::volume_name(name)).collect::<Result<_, _>>()?;
    sweep::pass(context, "quarantine", &Order::Quarantine(volumes)).await
}
