//! Directories among the volumes that the engine does not list: made behind its back, as by a bind mount of such a path, or dropped
//! by it. They are volumes of a class of their own, seen by every witness like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use super::EvidenceError;
use super::index::VolumeIndex;
use crate::gc::volume::{Class, Unmovable, Volume, VolumeIdentity, VolumeName};
use crate::host::directory::{self, Facts};
use crate::host::engine::Engine;
use crate::host::volumes_dir::VolumesDir;

/// All of them. `listed` are the names that the engine lists.
///
/// Directories and list were looked at together, so a volume that came or went meanwhile looks like one. It is told apart by a
/// second list and a second look, which are made only when there is something to tell.
pub(super) async fn volumes(
    engine: &Engine,
    index: &VolumeIndex,
    listed: &BTreeSet<VolumeName>,
    is_root_proven: bool,
    mounted: &BTreeSet<VolumeName>,
) -> Result<Vec<Volume>, EvidenceError> {
    let is_unlisted = |name: &VolumeName| !listed.contains(name);
    let Some(root) = index.directory().filter(|_| index.observed().keys().any(is_unlisted)) else {
        return Ok(Vec::new());
    };
    let again = engine.volumes().await?.volumes.unwrap_or_default();
    let by_now: BTreeSet<&str> = again.iter().map(|volume| volume.name.as_str()).collect();
    let mut volumes = Vec::new();
    for (name, seen) in index.observed() {
        let Some(facts) = seen.directory.filter(|_| is_unlisted(name) && !by_now.contains(name.as_str()))
        else {
            continue;
        };
        if !is_still_there(root, name, &facts) {
            continue;
        }
        let mut unmovable = seen.unmovable.clone();
        let checks = [
            (!is_root_proven, Unmovable::RootUnproven),
            (!name.is_accepted_by_api(), Unmovable::NameNotAccepted),
            (mounted.contains(name), Unmovable::Mounted),
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
            created_at: None,
            unmovable,
        });
    }
    Ok(volumes)
}

/// A directory that cannot be looked at any more is taken to be there: then it is shown.
fn is_still_there(root: &VolumesDir, name: &VolumeName, before: &Facts) -> bool {
    let facts = directory::c_name(name.as_str())
        .and_then(|name| directory::facts_of_child(root.volumes().as_fd(), &name));
    match facts {
        Ok(facts) => facts.identity.is_same(&before.identity),
        Err(error) => error != rustix::io::Errno::NOENT,
    }
}
