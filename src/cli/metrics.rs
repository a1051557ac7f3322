//! What `volgc run` tells the metrics, and the file of `volgc report --textfile`.

use std::path::Path;

use tokio::sync::watch;

use super::CliError;
use super::context::Context;
use crate::config::Settings;
use crate::gc::orphans;
use crate::host::replace::replace;
use crate::metrics::Exporter;
use crate::report::document::Sizes;
use crate::report::metrics::{Figures, Form, Measurable, Measured, Seen, encode};
use crate::service::status::Status;
use crate::sweep::look::Look;

/// None when the configuration wants none.
pub(super) fn start(
    context: &Context<'_>,
    settings: &Settings,
    status: watch::Receiver<Status>,
) -> Result<Option<Exporter>, CliError> {
    let Some(listen) = &settings.metrics else { return Ok(None) };
    Ok(Some(Exporter::start(listen, &settings.schedule, context.state_dir.clone(), status)?))
}

/// Writes what a look showed for `node_exporter` to collect. The one file that a report writes: its user named it (I10).
pub(super) fn write(context: &Context<'_>, look: &Look, sizes: &Sizes, file: &Path) -> Result<(), CliError> {
    let totals = context.ledger_reader()?.map(|reader| reader.totals()).transpose()?;
    let seen = Seen::new(look);
    let measured = measured(&seen, sizes);
    let held_back = look.held_back().map(|_| orphans::WORD);
    let refusals: Vec<&'static str> =
        look.refusals.iter().map(|refusal| refusal.word).chain(held_back).collect();
    let figures = Figures {
        seen: Some(&seen),
        measured: &measured,
        totals: totals.as_ref(),
        last_success_at: context.remembered()?.last_sweep.map(|at| at.wall),
        refusals: &refusals,
        service: None,
    };
    let failed = |why: String| CliError::Textfile { file: file.display().to_string(), why };
    let text = encode(&figures, Form::Prometheus).map_err(|error| failed(error.to_string()))?;
    replace(file, &text).map_err(|error| failed(error.to_string()))
}

fn measured(seen: &Seen, sizes: &Sizes) -> Measured {
    let size = |what: &Measurable| match what {
        Measurable::Volume { name, .. } => sizes.volumes.get(name),
        Measurable::Entry(entry) => sizes.entries.get(entry),
    };
    let complete = |what: &Measurable| Some(size(what).filter(|usage| usage.complete)?.allocated_bytes);
    seen.sizes.iter().filter_map(|(what, _)| Some((what.clone(), complete(what)?))).collect()
}
