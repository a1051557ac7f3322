//! The options of a volume on disk, which the engine mounts whatever its API shows.

use std::collections::BTreeMap;

use serde::de::Error as _;

use crate::gc::volume::VolumeName;
use crate::host::volumes_dir::VolumesDir;

/// The options that the engine mounts a volume with, under the names that the API has for them.
///
/// # Errors
///
/// Why the file cannot be read or understood, and what to do: it hides what the volume leads into (I2).
pub(super) fn options_on_disk(
    directory: &VolumesDir,
    name: &VolumeName,
) -> Result<BTreeMap<String, String>, String> {
    let silent = |why: String| {
        format!(
            "{}/opts.json {why}; it tells what the volume mounts. Mend the file or remove the volume",
            directory.path_of(name).display()
        )
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
