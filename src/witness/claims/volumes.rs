//! What volumes claim themselves: where a plugin says that the data is, driver options, `opts.json`, and links in the place of a
//! volume or of its data. What these lead into is held by that volume.

use std::collections::BTreeMap;

use super::{Claim, Missing, Target};
use crate::gc::reference::{Holder, HolderKind};
use crate::gc::volume::{Unmovable, VolumeName};
use crate::host::engine::wire;
use crate::witness::index::VolumeIndex;
use crate::witness::locate::Text;
use crate::witness::options::options_on_disk;

/// Every path that a volume uses beside or instead of its own directory. Blocks on the file system.
///
/// A volume whose name cannot be used claims like any other: only its own directory is none that is compared.
pub fn claims(index: &VolumeIndex, listed: &[wire::Volume], odd: &[wire::Listed]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for volume in listed {
        claims
            .extend(volume.options.iter().flat_map(|options| options_claims(volume.name.as_str(), options)));
        let elsewhere = |path: &&str| !path.is_empty() && !index.is_its_own_data(&volume.name, path);
        claims.extend(
            volume.mountpoint.as_deref().filter(elsewhere).map(|path| mountpoint(volume.name.as_str(), path)),
        );
    }
    for volume in odd {
        claims.extend(volume.options.iter().flat_map(|options| options_claims(&volume.name, options)));
        let is_told = |path: &&str| !path.is_empty();
        claims
            .extend(volume.mountpoint.as_deref().filter(is_told).map(|path| mountpoint(&volume.name, path)));
    }
    let Some(directory) = index.directory() else { return claims };
    for (name, seen) in index.observed() {
        if seen.unmovable.contains(&Unmovable::OptionsFile) {
            match options_on_disk(directory, name) {
                Ok(options) => claims.extend(options_claims(name.as_str(), &options)),
                Err(why) => {
                    claims.push(claim(
                        name.as_str(),
                        Target::Anything(why),
                        "its options on disk are not known",
                    ));
                }
            }
        }
        if seen.unmovable.contains(&Unmovable::NotADirectory) {
            let target = Target::Text(Text::Path(index.data_of(name)));
            claims.push(claim(name.as_str(), target, "its data directory is a link into this volume"));
        }
    }
    claims
}

/// The value of every option, whatever the option is called.
fn options_claims<'a>(
    name: &'a str,
    options: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Claim> + 'a {
    let is_bind = options
        .iter()
        .any(|(key, value)| key == "o" && value.split(',').any(|option| matches!(option, "bind" | "rbind")));
    options.iter().filter(|(_, value)| !value.is_empty()).map(move |(key, value)| {
        // A network file system's device is none of this host's paths: `:/export`, `//server/share`.
        let is_local = value.starts_with('/') && (is_bind || value.starts_with("/dev/"));
        let is_needed = key == "device" && is_local;
        let target = Target::Text(Text::Value(value.clone()));
        let missing = if is_needed { Missing::Told } else { Missing::Silent };
        Claim { missing, ..claim(name, target, "its driver options lead into this volume") }
    })
}

/// Where its driver says that the data is.
fn mountpoint(name: &str, path: &str) -> Claim {
    claim(name, Target::Text(Text::Path(path.into())), "its data is in this volume")
}

fn claim(name: &str, target: Target, detail: &str) -> Claim {
    let holder = Holder {
        kind: HolderKind::Volume,
        id: name.to_owned(),
        name: name.to_owned(),
        detail: detail.to_owned(),
    };
    let claim = Claim::new(target, holder);
    match VolumeName::new(name) {
        Ok(own) => claim.beside(own),
        Err(_) => claim,
    }
}
