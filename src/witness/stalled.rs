//! An engine that does not list its volumes.

use std::collections::BTreeMap;

use super::EvidenceError;
use crate::gc::volume::VolumeName;
use crate::host::engine::EngineError;

/// How many volumes a sentence names.
const MOST_NAMED: usize = 5;

/// Names what it may wait for: up to Docker 20.10 the engine looks at the data of each volume for its list (moby `volume/local`,
/// `CreatedAt`), and waits for ever where a file system without a server is mounted there.
pub(super) fn explain(error: EvidenceError, mounted: &BTreeMap<VolumeName, String>) -> EvidenceError {
    let EvidenceError::Engine(source @ EngineError::Timeout { .. }) = error else { return error };
    if mounted.is_empty() {
        return EvidenceError::Engine(source);
    }
    let names: Vec<&str> = mounted.keys().take(MOST_NAMED).map(VolumeName::as_str).collect();
    let more = mounted.len().saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    EvidenceError::Stalled { source, mounted: format!("{}{more}", names.join(", ")) }
}
