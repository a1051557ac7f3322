//! `volgc acknowledge`.

use super::context::Context;
use super::{CliError, Exit, output};
use crate::gc::history::{Happening, HistoryLine};
use crate::host::clock;
use crate::report::text::counted;

pub(super) fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let mut ledger = context.ledger()?;
    let released = ledger.acknowledge_all()?;
    ledger.record(&[HistoryLine {
        at: clock::read()?.wall,
        happening: Happening::Acknowledged,
        volume: None,
        entry: None,
        detail: format!("{} released from the sudden-orphan brake", counted(released, "volume", "volumes")),
        last_holder: None,
        size_bytes: None,
    }])?;
    output::print(&format!(
        "acknowledged: {} released from the sudden-orphan brake; the next sweep accepts the engine and its container list as \
         they are then\n",
        counted(released, "volume", "volumes")
    ))?;
    Ok(Exit::Done)
}
