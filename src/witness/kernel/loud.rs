//! Who keeps many volumes is named aloud (I14).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::gc::reference::Holder;
use crate::host::clock::Deadline;

/// How long until it is said again. A sweep asks before each step.
const PAUSE: Duration = Duration::from_mins(10);

static TOLD: Mutex<BTreeMap<String, Deadline>> = Mutex::new(BTreeMap::new());

/// Names a holder that keeps whatever it can reach.
pub(super) fn tell(holder: &Holder) {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.retain(|_, until| !until.has_passed());
    if told.insert(holder.detail.clone(), Deadline::after(PAUSE)).is_none() {
        tracing::warn!(
            "{}. Until that ends, it keeps every volume and entry that can be reached there from being moved or deleted",
            holder.detail
        );
    }
}
