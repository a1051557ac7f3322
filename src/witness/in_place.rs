//! Whether the engine's own removal of a volume with driver options would delete nothing but its record.
//!
//! The removal unmounts `_data` where the options are those of a mount, then deletes what is in it and everything beside it (moby
//! `volume/local` `Root.Remove`, 20.10 to 29). So the options must be a mount by both accounts, the engine's and the disk's, and
//! the directory below must hold nothing.

use std::collections::BTreeMap;

use super::options;
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::volumes_dir::VolumesDir;

/// What forbids it. To be asked only of a volume with nothing mounted on or below its directory: a dead network file system would
/// never answer.
pub fn obstacles(
    directory: &VolumesDir,
    name: &VolumeName,
    told: &BTreeMap<String, String>,
) -> Vec<Unmovable> {
    // I2: what cannot be read forbids it.
    let Ok(on_disk) = options::options_on_disk(directory, name) else {
        return vec![Unmovable::OptionsDiffer];
    };
    let mut why = Vec::new();
    let is_mount = ["type", "device"].iter().all(|key| !value(told, key).is_empty());
    let is_mount_alone = told.keys().all(|key| matches!(key.as_str(), "type" | "o" | "device"));
    if !is_mount || !is_mount_alone {
        why.push(Unmovable::NotAMount);
    }
    if ["type", "o", "device"].iter().any(|key| value(told, key) != value(&on_disk, key)) {
        why.push(Unmovable::OptionsDiffer);
    }
    match directory.is_mount_point_empty(name) {
        Ok(true) => {}
        Ok(false) => why.push(Unmovable::MountPointNotEmpty),
        Err(_) => why.push(Unmovable::Unreadable),
    }
    why
}

/// The engine writes an option that was not given as an empty one.
fn value<'a>(options: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    options.get(key).map_or("", String::as_str)
}
