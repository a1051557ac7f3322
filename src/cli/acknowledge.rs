//! `volgc acknowledge`.

use super::context::{Context, whoami};
use super::{CliError, Exit, output};
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::ledger::KnownEngine;
use crate::host::clock;
use crate::report::text::{counted, safe};
use crate::sweep::lineage::{self, Bound};

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let engine = answering(context).await?;
    let mut ledger = context.ledger()?;
    let bound = lineage::bind_anew(&mut ledger, &engine, &whoami("acknowledge")).await?;
    let released = ledger.acknowledge_all()?;
    ledger.record(&[HistoryLine {
        at: clock::read()?.wall,
        happening: Happening::Acknowledged,
        volume: None,
        entry: None,
        detail: format!(
            "{} released from the sudden-orphan brake, {} and {} bound to a copied docker root",
            counted(released, "volume", "volumes"),
            counted(bound.holds, "hold", "holds"),
            counted(bound.entries, "entry", "entries")
        ),
        last_holder: None,
        size_bytes: None,
    }])?;
    output::print(&format!(
        "acknowledged: {} released from the sudden-orphan brake; the next sweep accepts the engine and its container list as \
         they are then\n",
        counted(released, "volume", "volumes")
    ))?;
    output::print(&told(&bound))?;
    Ok(if bound.left.is_empty() { Exit::Done } else { Exit::StepsFailed })
}

/// The engine that answers. Without one nobody knows which docker root is meant, so nothing is acknowledged: a brake that was released
/// then would let the next sweep take whatever it finds for right.
async fn answering(context: &Context<'_>) -> Result<KnownEngine, CliError> {
    let (settings, _) = context.settings()?;
    let info = context.engine(&settings).await?.info().await?;
    Ok(KnownEngine { id: info.id, root: info.docker_root_dir })
}

/// What was bound to a docker root that was copied; nothing for one that was not.
fn told(bound: &Bound) -> String {
    let mut text = String::new();
    if bound.holds + bound.entries > 0 {
        text.push_str(&format!(
            "the docker root was copied: {} and {} in quarantine are bound to the new directories\n",
            counted(bound.holds, "hold", "holds"),
            counted(bound.entries, "entry", "entries")
        ));
    }
    for left in &bound.left {
        text.push_str(&format!("not bound: {}\n", safe(left)));
    }
    text
}
