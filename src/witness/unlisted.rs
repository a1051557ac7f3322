//! Directories among the volumes that the engine does not list: made behind its back, as by a bind mount of such a path, or dropped
//! by it. They are volumes of a class of their own, seen by every witness like any other.

use std::collections::{BTreeMap, BTreeSet};

use super::EvidenceError;
use super::index::VolumeIndex;
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::engine::Engine;
use crate::host::volumes_dir::Observed;

/// All of them. `listed` is what the engine lists, sorted by name.
///
/// Directories and list were looked at together, so a volume that came or went meanwhile looks like one. It is told apart by a
/// second list and a second look, which are made only when there is something to tell.
pub(super) async fn volumes(
    engine: &Engine,
    index: &VolumeIndex,
    listed: &[Volume],
    is_root_proven: bool,
    mounted: &BTreeMap<VolumeName, String>,
) -> Result<Vec<Volume>, EvidenceError> {
    let found = not_among(index.observed(), listed);
    let Some(root) = index.directory().filter(|_| !found.is_empty()) else { return Ok(Vec::new()) };
    #[expect(
        clippy::disallowed_methods,
        reason = "null means no volumes; the decoder refuses a missing field"
    )]
    let again = engine.volumes().await?.volumes.unwrap_or_default();
    let by_now: BTreeSet<&VolumeName> = again.iter().map(|volume| &volume.name).collect();
    let mut volumes = Vec::new();
    for (name, seen) in found {
        let Some(facts) = seen.directory.filter(|_| !by_now.contains(name)) else { continue };
        if !root.is_still(name, facts.identity) {
            continue;
        }
        let mut unmovable = seen.unmovable.clone();
        let checks = [
            (!is_root_proven, Unmovable::RootUnproven),
            (!name.is_accepted_by_api(), Unmovable::NameNotAccepted),
            (mounted.contains_key(name), Unmovable::Mounted),
        ];
        unmovable.extend(checks.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why));
        unmovable.sort();
        unmovable.dedup();
        volumes.push(Volume {
            name: name.clone(),
            identity: VolumeIdentity::Directory(facts.identity),
            class: Class::Unlisted,
            driver: "local".to_owned(),
            labels: BTreeMap::new(),
            unmovable,
        });
    }
    Ok(volumes)
}

/// The directories whose names are not listed; both are in the order of names.
fn not_among<'a>(
    directories: &'a BTreeMap<VolumeName, Observed>,
    listed: &[Volume],
) -> Vec<(&'a VolumeName, &'a Observed)> {
    let mut listed = listed.iter().map(|volume| &volume.name).peekable();
    let is_unlisted = |(name, _): &(&VolumeName, &Observed)| {
        while listed.next_if(|listed| listed < name).is_some() {}
        listed.peek() != Some(name)
    };
    directories.iter().filter(is_unlisted).collect()
}
