//! The list of volumes, apart from those whose names cannot be used: one odd name must not hide all the others (I14).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{Volume, Volumes, objects};
use crate::gc::odd::usable;

/// One volume of the list, whatever its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Listed {
    /// What stands where its name should.
    pub name: String,
    /// See [`Volume::driver`].
    pub driver: String,
    scope: String,
    /// See [`Volume::labels`].
    #[serde(deserialize_with = "Option::deserialize")]
    pub labels: Option<BTreeMap<String, String>>,
    /// See [`Volume::options`].
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// See [`Volume::mountpoint`].
    #[serde(default)]
    pub mountpoint: Option<String>,
    /// See [`Volume::created_at`].
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    cluster_volume: Option<serde::de::IgnoredAny>,
}

/// The answer as it comes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
struct List {
    // Go writes an empty list as null; a missing field is refused.
    #[serde(deserialize_with = "Option::deserialize")]
    volumes: Option<Vec<Listed>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

objects! { Listed List }

impl<'de> Deserialize<'de> for Volumes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let List { volumes: listed, warnings } = <List as Deserialize>::deserialize(deserializer)?;
        let mut odd = Vec::new();
        let volumes = listed.map(|listed| {
            let mut volumes = Vec::with_capacity(listed.len());
            for volume in listed {
                match volume.usable() {
                    Ok(volume) => volumes.push(volume),
                    Err(volume) => odd.push(volume),
                }
            }
            volumes
        });
        Ok(Self { volumes, odd, warnings })
    }
}

impl Listed {
    fn usable(self) -> Result<Volume, Self> {
        let Some(name) = usable(&self.name) else { return Err(self) };
        let Self { driver, scope, labels, options, mountpoint, created_at, cluster_volume, .. } = self;
        Ok(Volume { name, driver, scope, labels, options, mountpoint, created_at, cluster_volume })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail loudly")]

    use super::*;

    #[test]
    fn an_odd_name_hides_no_other_volume() {
        let volume = |name: &str| {
            let name = serde_json::to_string(name).unwrap();
            format!(r#"{{"Name":{name},"Driver":"d","Scope":"local","Labels":null,"Mountpoint":"/m"}}"#)
        };
        let names = ["docs/", "db", "a\u{fffd}", &"\u{fffd}".repeat(100), "..", "a\u{fffd}"];
        let listed: Vec<String> = names.iter().map(|name| volume(name)).collect();
        let text = format!(r#"{{"Volumes":[{}],"Warnings":null}}"#, listed.join(","));
        let volumes: Volumes = serde_json::from_str(&text).unwrap();
        let usable: Vec<&str> = volumes.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        let odd: Vec<&str> = volumes.odd.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(usable, ["db"]);
        assert_eq!(odd, ["docs/", "a\u{fffd}", &"\u{fffd}".repeat(100), "..", "a\u{fffd}"]);
        assert_eq!(volumes.odd[0].mountpoint.as_deref(), Some("/m"));
    }
}
