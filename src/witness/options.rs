//! Where else the data of a volume is: paths in its driver options, in its `opts.json`, and behind a `_data` that is a link. What
//! such a path leads into is held by that volume.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;

use super::EvidenceError;
use super::index::{OptionPath, VolumeIndex, without_links};
use crate::gc::reference::{Holder, HolderKind, Witness};
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::engine::wire;
use crate::host::volumes_dir::VolumesDir;

/// Every host path that a volume uses beside or instead of its own directory.
pub fn paths(index: &VolumeIndex, listed: &[wire::Volume]) -> Result<Vec<OptionPath>, EvidenceError> {
    let no_options = BTreeMap::new();
    let mut paths: Vec<OptionPath> = listed
        .iter()
        .flat_map(|volume| option_paths(volume.name.as_str(), volume.options.as_ref().unwrap_or(&no_options)))
        .collect();
    let Some(directory) = index.directory() else { return Ok(paths) };
    for (name, seen) in index.observed() {
        if seen.unmovable.contains(&Unmovable::OptionsFile) {
            paths.extend(option_paths(name.as_str(), &options_on_disk(directory, name)?));
        }
        if seen.unmovable.contains(&Unmovable::NotADirectory) {
            paths.push(linked_path(directory, name, index.view())?);
        }
    }
    Ok(paths)
}

/// Every absolute path in the driver options, whatever the option is called: `device=/x`, `o=lowerdir=/a:/b,upperdir=/c`.
fn option_paths(volume: &str, options: &BTreeMap<String, String>) -> Vec<OptionPath> {
    let is_bind = options
        .iter()
        .any(|(key, value)| key == "o" && value.split(',').any(|option| matches!(option, "bind" | "rbind")));
    options
        .iter()
        .flat_map(|(key, value)| value.split([',', '=', ':']).map(move |part| (key, value, part)))
        .filter(|(_, _, part)| part.starts_with('/'))
        .map(|(key, value, part)| OptionPath {
            path: PathBuf::from(part),
            holder: Holder {
                kind: HolderKind::Volume,
                id: volume.to_owned(),
                name: volume.to_owned(),
                detail: "its driver options lead into this volume".to_owned(),
            },
            // A network file system's device is none of this host's paths: `:/export`, `//server/share`.
            is_local_device: key == "device" && part == value && (is_bind || part.starts_with("/dev/")),
        })
        .collect()
}

/// What a volume whose data directory is a link uses instead: the engine follows the link when it mounts the volume.
fn linked_path(directory: &VolumesDir, name: &VolumeName, view: &Path) -> Result<OptionPath, EvidenceError> {
    let data = directory.path_of(name).join("_data");
    let path = without_links(view, &data).map_err(|error| {
        EvidenceError::Nonsense(format!("{} cannot be followed: {error}", data.display()))
    })?;
    let holder = Holder {
        kind: HolderKind::Volume,
        id: name.to_string(),
        name: name.to_string(),
        detail: "its data directory is a link into this volume".to_owned(),
    };
    Ok(OptionPath { path, holder, is_local_device: false })
}

/// The options that the engine mounts a volume with, under the names that the API has for them. A file that cannot be read or
/// understood hides what it leads into (I2).
pub(super) fn options_on_disk(
    directory: &VolumesDir,
    name: &VolumeName,
) -> Result<BTreeMap<String, String>, EvidenceError> {
    let silent = |why: String| EvidenceError::Silent {
        witness: Witness::BindSources,
        why: format!(
            "{}/opts.json {why}; it tells what volume {name} mounts. Mend the file or remove the volume",
            directory.path_of(name).display()
        ),
    };
    let text = directory.options_file(name).map_err(|error| silent(format!("cannot be read ({error})")))?;
    parse(&text).map_err(|error| silent(format!("is not understood ({error})")))
}

/// Reads the text of an `opts.json`. Pure.
///
/// # Errors
///
/// When it is no object with all three options, empty or not: every engine writes them all (`volume/local` of Docker, 1.9 to 29),
/// so one that is missing is unknown, not absent (I2).
pub fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let options: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text)?;
    let option = |key: &str| match options.get(key) {
        Some(serde_json::Value::String(value)) => Ok(value.clone()),
        Some(_) => Err(serde_json::Error::custom(format!("{key} is no text"))),
        None => Err(serde_json::Error::custom(format!("{key} is missing"))),
    };
    Ok(BTreeMap::from([
        ("type".to_owned(), option("MountType")?),
        ("o".to_owned(), option("MountOpts")?),
        ("device".to_owned(), option("MountDevice")?),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 26.1 writes it.
    const WRITTEN: &str =
        r#"{"MountType":"none","MountOpts":"bind","MountDevice":"/srv","Quota":{"Size":0}}"#;

    #[test]
    fn an_option_that_is_missing_or_no_text_is_unknown() {
        let options = parse(WRITTEN.as_bytes()).unwrap();
        assert_eq!(
            (options["type"].as_str(), options["o"].as_str(), options["device"].as_str()),
            ("none", "bind", "/srv")
        );
        for bad in [
            "",
            "{}",
            "null",
            "[]",
            r#"["none","bind","/srv"]"#,
            r#"{"MountType":"none","MountOpts":"bind"}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for odd in ["null", "7", "[]", r#"["/srv"]"#] {
            assert!(parse(WRITTEN.replace("\"/srv\"", odd).as_bytes()).is_err(), "{odd}");
        }
    }
}
