//! `volgc explain`.

use std::slice;

use clap::Args;

use super::context::Context;
use super::{CliError, Exit, output};
use crate::config::Settings;
use crate::gc::odd::usable;
use crate::gc::plan::Order;
use crate::gc::volume::VolumeName;
use crate::host::clock;
use crate::report::explain::{Dangling, Inside, entries_named, explain, explain_entry, explain_odd};
use crate::report::text::safe;
use crate::sweep::look::{Look, look};
use crate::witness::kernel;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the volume, or an entry of the quarantine, by its ID or how that begins
    #[arg(value_name = "VOLUME|ENTRY", value_parser = named)]
    volume: String,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let Some(name) = usable(&arguments.volume) else {
        return odd(context, &settings, &arguments.volume).await;
    };
    let engine = context.engine(&settings).await?;
    let now = clock::read()?;
    let remembered = context.remembered()?;
    let dangling = if engine.is_dangling(&name).await? { Dangling::Yes } else { Dangling::No };
    let order = Order::Scheduled;
    let look = look(&engine, &remembered, &settings, &order, now).await?;
    let look = look.closer_at(slice::from_ref(&name), &settings, &order);
    let inside = inside(&look, &name).await;
    let story = match explain(&look, &settings, &name, dangling, &inside) {
        Some(story) => story,
        None => entry(&look, &settings, &arguments.volume)?,
    };
    output::print(&story)?;
    Ok(Exit::Done)
}

/// The story of the entry that is meant.
fn entry(look: &Look, settings: &Settings, what: &str) -> Result<String, CliError> {
    match entries_named(look, what).as_slice() {
        [] => Err(not_found(what)),
        [one] => Ok(explain_entry(look, settings, one)),
        several => {
            let choices: Vec<_> = several.iter().map(|entry| safe(entry.shown())).collect();
            let choices = choices.join(", ");
            Err(CliError::Usage(format!("several entries begin with {}: name one of {choices}", safe(what))))
        }
    }
}

/// No volume has an empty name.
fn named(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a volume has a name") } else { Ok(text.to_owned()) }
}

/// A volume whose name cannot be used.
async fn odd(context: &Context<'_>, settings: &Settings, name: &str) -> Result<Exit, CliError> {
    let engine = context.engine(settings).await?;
    let look = look(&engine, &context.remembered()?, settings, &Order::Scheduled, clock::read()?).await?;
    let story = explain_odd(&look, name).ok_or_else(|| not_found(name))?;
    output::print(&story)?;
    Ok(Exit::Done)
}

fn not_found(name: &str) -> CliError {
    CliError::NotFound(format!(
        "there is no volume {}, none of that name in quarantine, and no entry that begins so; `volgc report` and `volgc list` show what \
         there is",
        safe(name)
    ))
}

/// Whether a process is in the volume, as a step that is about to move it asks.
async fn inside(look: &Look, name: &VolumeName) -> Inside {
    let Some(directory) = look.observation.directory.as_deref() else {
        return Inside::Unknown("the docker root is not on this machine".to_owned());
    };
    match kernel::processes_in(directory.volumes(), name.as_str()).await {
        Ok(None) => Inside::Nobody,
        Ok(Some(process)) => Inside::Process(process),
        Err(error) => Inside::Unknown(error.to_string()),
    }
}

/// A volume's name from the command line.
pub(super) fn volume_name(text: &str) -> Result<VolumeName, CliError> {
    VolumeName::new(text).map_err(|error| CliError::Usage(error.to_string()))
}
