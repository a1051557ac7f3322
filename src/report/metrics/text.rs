//! The text that is scraped.

use std::fmt;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{prometheus_text, text as openmetrics};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::seen::{Kind, Seen};
use super::{Figures, Measured, Service, State};
use crate::gc::brakes;
use crate::gc::history::Happening;
use crate::gc::policy::Mode;
use crate::gc::volume::Class;
use crate::host::ledger::Totals;

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text format 0.0.4, which `node_exporter` reads from files.
    Prometheus,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Form {
    /// The form to answer a request with that accepts this.
    pub fn accepted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The entry states that always have a number, so that an alert on one resolves.
const ENTRY_STATES: [&str; 8] =
    ["quarantined", "linking", "forgetting", "moving", "in_doubt", "restoring", "deleting", "damaged"];

/// The refusal that is no brake's: a witness did not answer completely.
const INCOMPLETE_EVIDENCE: &str = "incomplete_evidence";

type Labelled<const N: usize> = Family<[(&'static str, &'static str); N], Gauge<u64, AtomicU64>>;

/// Writes all that is known. What is not known yet has no sample, rather than a zero.
pub fn encode(figures: &Figures<'_>, form: Form) -> Result<String, fmt::Error> {
    let mut page = Page { registry: Registry::with_prefix("volgc") };
    page.program();
    if let Some(seen) = figures.seen {
        page.look(seen);
        page.sizes(seen, figures.measured);
    }
    page.refusals(figures.refusals);
    if let Some(totals) = figures.totals {
        page.history(totals);
    }
    page.instant(
        "last_success_timestamp",
        "When the last sweep was complete that no brake stopped",
        figures.last_success_at,
    );
    if let Some(service) = figures.service {
        page.service(service);
    }
    let mut text = String::new();
    match form {
        Form::Prometheus => prometheus_text::encode(&mut text, &page.registry)?,
        Form::OpenMetrics => openmetrics::encode(&mut text, &page.registry)?,
    }
    Ok(text)
}

struct Page {
    registry: Registry,
}

impl Page {
    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, metric);
    }

    fn bytes(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register_with_unit(name, help, Unit::Bytes, metric);
    }

    fn instant(&mut self, name: &str, help: &str, at: Option<DateTime<Utc>>) {
        if let Some(at) = at {
            self.registry.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(at.timestamp()));
        }
    }

    fn program(&mut self) {
        let info = Labelled::<1>::default();
        info.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        self.add("build_info", "Which volgc this is", info);
    }

    fn look(&mut self, seen: &Seen) {
        self.instant(
            "last_look_timestamp",
            "When the evidence was complete that the numbers are from",
            Some(seen.taken_at),
        );
        let modes = Labelled::<1>::default();
        for mode in [Mode::Observe, Mode::Quarantine, Mode::Enforce] {
            modes.get_or_create(&[("mode", mode.word())]).set(u64::from(mode == seen.mode));
        }
        self.add("mode", "1 for the mode in force", modes);
        let volumes = Labelled::<2>::default();
        for (state, class) in states() {
            let count = seen.volumes.get(&(state, class.word())).copied().unwrap_or(0);
            volumes.get_or_create(&[("state", state.word()), ("class", class.word())]).set(count);
        }
        self.add(
            "volumes",
            "Volumes by what becomes of them; all but the held ones are unreferenced",
            volumes,
        );
        let entries = Labelled::<1>::default();
        for state in ENTRY_STATES.into_iter().chain(seen.entries.keys().copied()) {
            entries.get_or_create(&[("state", state)]).set(seen.entries.get(state).copied().unwrap_or(0));
        }
        self.add("quarantine_entries", "Entries in quarantine", entries);
        self.add(
            "quarantine_names_in_use",
            "Entries whose name runs on another volume, so that their clock stands still",
            ConstGauge::new(seen.names_in_use),
        );
        let due = Labelled::<1>::default();
        due.get_or_create(&[("action", "quarantine")]).set(seen.due.0);
        due.get_or_create(&[("action", "delete")]).set(seen.due.1);
        self.add(
            "due",
            "Volumes and entries that a sweep would move or delete now, if the mode permits it",
            due,
        );
        self.instant(
            "next_deletion_timestamp",
            "When the next entry is due to be deleted; absent when none is",
            seen.next_deletion_at,
        );
    }

    fn sizes(&mut self, seen: &Seen, measured: &Measured) {
        let reclaimable = Labelled::<2>::default();
        for (state, class) in states().filter(|(state, _)| state.is_reclaimable()) {
            reclaimable.get_or_create(&[("state", state.word()), ("class", class.word())]).set(0);
        }
        let mut quarantined = seen.told_bytes;
        let (mut volumes, mut entries) = (0_u64, 0_u64);
        for (measurable, kind) in &seen.sizes {
            match (measured.get(measurable), kind) {
                (Some(bytes), Kind::Reclaimable(state, class)) => {
                    reclaimable
                        .get_or_create(&[("state", state.word()), ("class", class.word())])
                        .inc_by(*bytes);
                }
                (Some(bytes), Kind::Quarantined) => quarantined = quarantined.saturating_add(*bytes),
                (None, Kind::Reclaimable(..)) => volumes += 1,
                (None, Kind::Quarantined) => entries += 1,
            }
        }
        self.bytes(
            "reclaimable",
            "Allocated by volumes that nothing holds and that can be moved, as far as they are measured",
            reclaimable,
        );
        self.add(
            "unmeasured_volumes",
            "Volumes whose size is missing in volgc_reclaimable_bytes",
            ConstGauge::new(volumes),
        );
        self.bytes(
            "quarantine",
            "Allocated by what is in quarantine, as far as it is measured",
            ConstGauge::new(quarantined),
        );
        self.add(
            "unmeasured_entries",
            "Entries whose size is missing in volgc_quarantine_bytes",
            ConstGauge::new(entries),
        );
    }

    fn refusals(&mut self, refusals: &[&'static str]) {
        let refused = Labelled::<1>::default();
        for word in brakes::WORDS.into_iter().chain([INCOMPLETE_EVIDENCE]) {
            refused.get_or_create(&[("reason", word)]).set(0);
        }
        for word in refusals {
            refused.get_or_create(&[("reason", word)]).set(1);
        }
        self.add("refused", "1 for each reason for which a sweep refuses to act", refused);
    }

    fn history(&mut self, totals: &Totals) {
        let counters = [
            ("quarantined", "Volumes that were quarantined", Happening::Quarantined),
            ("rolled_back", "Moves that were undone", Happening::RolledBack),
            ("restored", "Volumes that were restored", Happening::Restored),
            ("deleted", "Entries that were deleted for good", Happening::Deleted),
            ("failed_steps", "Steps that failed", Happening::Failed),
        ];
        for (name, what, happening) in counters {
            let help = format!("{what}, by the ledger's history");
            self.add(name, &help, ConstCounter::new(totals.count(happening)));
        }
        self.bytes(
            "reclaimed",
            "Allocated bytes that deletions gave back, by the ledger's history",
            ConstCounter::new(totals.deleted_bytes),
        );
    }

    fn service(&mut self, service: &Service) {
        let sweeps = Family::<[(&str, &str); 1], Counter>::default();
        for (result, count) in &service.sweeps {
            sweeps.get_or_create(&[("result", *result)]).inc_by(*count);
        }
        self.add("sweeps", "Sweeps since the service was started, by how they ended", sweeps);
        if let Some((seconds, ended_at)) = service.last_sweep {
            self.registry.register_with_unit(
                "sweep_duration",
                "How long the last sweep took, however it ended",
                Unit::Seconds,
                ConstGauge::new(seconds),
            );
            self.instant(
                "last_sweep_timestamp",
                "When the last sweep had ended, however it did",
                Some(ended_at),
            );
        }
        if let Some(up) = service.engine_up {
            self.add(
                "engine_up",
                "Whether the engine answered when it was asked last",
                ConstGauge::new(u64::from(up)),
            );
        }
        self.instant("start_timestamp", "When the service was started", Some(service.started_at));
        self.instant("next_sweep_timestamp", "When the next sweep is due", service.next_sweep_at);
    }
}

fn states() -> impl Iterator<Item = (State, Class)> {
    State::ALL.into_iter().flat_map(|state| [Class::Anonymous, Class::Named].map(|class| (state, class)))
}
