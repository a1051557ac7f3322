//! What is known at this moment: written by the service and by the measuring, read by whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::host::ledger::Totals;
use crate::report::metrics::{Measured, Seen};

/// What is known besides the status of the service. A copy is cheap: what is large is shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The last complete look.
    pub(super) seen: Option<Arc<Seen>>,
    /// When that was, in monotonic time.
    pub(super) seen_at: Option<Duration>,
    pub(super) measured: Arc<Measured>,
    pub(super) totals: Option<Totals>,
    /// The last complete sweep of the service before, by the ledger.
    pub(super) last_sweep_before: Option<DateTime<Utc>>,
}

/// Where it stands. The lock is held for a copy or a few assignments, never for work.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Known>);

impl Board {
    pub(super) fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
    }

    pub(super) fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
