//! Ways to the parsers of this witness for those who test them with any bytes. Not part of the program.

use super::template::{Lead, Template};
use super::wire::{Service, Task};
use super::{claims, meanings};
use crate::witness::EvidenceError;

/// What is read of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRead {
    /// Its source.
    pub source: Option<String>,
    /// The values of its driver's options.
    pub options: Vec<String>,
    /// Whether the source may be a volume.
    pub may_be_volume: bool,
}

/// The mounts of the answers of `GET /services` and `GET /tasks` that hold something; none when an answer is refused.
pub fn mounts(services: &[u8], tasks: &[u8]) -> Option<Vec<MountRead>> {
    let Ok(services) = serde_json::from_slice::<Vec<Service>>(services) else { return None };
    let Ok(tasks) = serde_json::from_slice::<Vec<Task>>(tasks) else { return None };
    let read = |claims: Vec<super::Claim<'_>>| {
        let mounts = claims.iter().map(|claim| MountRead {
            source: claim.mount.source.clone(),
            options: claim.mount.option_values().map(str::to_owned).collect(),
            may_be_volume: meanings(claim.mount).0,
        });
        mounts.collect()
    };
    match claims(&services, &tasks) {
        Ok(claims) => Some(read(claims)),
        Err(
            EvidenceError::Nonsense(_)
            | EvidenceError::Engine(_)
            | EvidenceError::Stalled { .. }
            | EvidenceError::Slow(_)
            | EvidenceError::CountsDiffer { .. }
            | EvidenceError::Silent { .. }
            | EvidenceError::Volumes(_)
            | EvidenceError::Quarantine(_)
            | EvidenceError::Incomplete(_)
            | EvidenceError::Clock(_),
        ) => None,
    }
}

/// Whether a service's mount source can become the volume of this name.
#[expect(clippy::disallowed_methods, reason = "a pattern that cannot be matched refuses the sweep")]
pub fn can_name(source: &str, service: Option<&str>, volume: &str) -> bool {
    let template = Template::parse(source, service);
    match template.text() {
        Some(text) => text == volume,
        None => !template.is_empty() && template.names().is_ok_and(|names| names.is_match(volume)),
    }
}

/// Whether a service's mount source can become this host path.
pub fn can_lead_to(source: &str, service: Option<&str>, path: &str) -> bool {
    match Template::parse(source, service).lead() {
        Lead::Path(only) => only.to_str() == Some(path),
        Lead::Below(directory, begins) => {
            let directory = directory.to_string_lossy();
            path.strip_prefix(directory.as_ref()).is_some_and(|rest| rest.starts_with(&begins))
        }
        Lead::Anywhere => true,
        Lead::Nowhere => false,
    }
}
