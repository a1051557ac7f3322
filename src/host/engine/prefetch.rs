//! What a look asks first, asked while the engine is connected to. The engine runs other programs to answer `/version` and `/info`
//! (`runc --version`; moby `daemon/info_unix.go`), and could list its volumes meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Answer, Asked, EngineError, wire};
use crate::host::clock::Deadline;

/// How long it counts, from before it was asked. The container list has to lie between two counts (I2): the older the first one is, the
/// more would pass.
const FRESH: Duration = Duration::from_secs(1);

/// The first two answers.
#[derive(Debug)]
pub(super) struct Prefetched {
    pub(super) until: Deadline,
    pub(super) info: Result<Answer<wire::Info>, EngineError>,
    pub(super) volumes: Asked<Answer<wire::Volumes>>,
}

/// Until when answers count that are asked for now.
pub(super) fn fresh() -> Deadline {
    Deadline::after(FRESH)
}

/// A place for answers that are used once, and soon.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Prefetched>>>);

impl Kept {
    pub(super) fn keep(&self, prefetched: Prefetched) {
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(prefetched);
        }
    }

    /// A failure counts for longer: it concludes nothing, and asking again would take as long again.
    pub(super) fn take(&self) -> Option<Prefetched> {
        #[expect(clippy::disallowed_methods, reason = "what was not prefetched is requested again")]
        let prefetched = self.0.lock().ok()?.take();
        prefetched.filter(|prefetched| prefetched.info.is_err() || !prefetched.until.has_passed())
    }
}
