//! The answers of the engine, decoded by ourselves: strict about what decides, tolerant of everything else.
//!
//! A field that decides has no default here: when it is missing the whole answer is refused (I2). What does not decide is not
//! even looked at, so that a plugin's odd status or a state that a later engine invents cannot stop the program.

mod listed;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::gc::passing::{Passing, Traits, only_passes};
use crate::gc::reference::container_detail;
use crate::gc::volume::VolumeName;
pub use listed::Listed;

/// What serde derives also takes a JSON array for a struct, its elements for the fields in their order: `[null]` would be a host
/// without volumes. With `remote = "Self"` it derives a function only, and this makes of it an implementation for objects.
macro_rules! objects {
    ($($object:ident)*) => { $(
        impl<'de> ::serde::Deserialize<'de> for $object {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> ::serde::de::Visitor<'de> for Object {
                    type Value = $object;

                    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        out.write_str(concat!("an object (", stringify!($object), ")"))
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, map: A) -> Result<$object, A::Error> {
                        // The derived function, not this one: what a type has itself comes before what its traits give it.
                        $object::deserialize(::serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }
    )* };
}
pub(crate) use objects;

objects! {
    Version Component Info SwarmInfo PluginsInfo Volume Container Mount
    Plugin PluginSettings PluginMount PluginDevice PluginOnDisk
}

/// `GET /version`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Version {
    /// The newest API version the engine speaks.
    pub api_version: String,
    /// The oldest; engines before 1.13 do not say.
    #[serde(rename = "MinAPIVersion", default)]
    pub min_api_version: Option<String>,
    /// `Engine`, `containerd`, ... or `Podman Engine`.
    #[serde(default)]
    pub components: Option<Vec<Component>>,
}

/// One part of the engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Component {
    /// Its name.
    pub name: String,
}

impl Version {
    /// Whether Podman answers behind the Docker API.
    pub fn is_podman(&self) -> bool {
        self.components
            .iter()
            .flatten()
            .any(|component| component.name.to_ascii_lowercase().contains("podman"))
    }
}

/// `GET /info`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Info {
    /// The engine's ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// How many containers there are, in every state.
    pub containers: u64,
    /// Its version.
    pub server_version: String,
    /// The docker root, symlinks resolved.
    pub docker_root_dir: String,
    /// The storage driver.
    #[serde(default)]
    pub driver: Option<String>,
    /// Whether containers outlive the daemon.
    #[serde(default)]
    pub live_restore_enabled: Option<bool>,
    /// Swarm. Missing is unknown, not absent.
    #[serde(default)]
    pub swarm: Option<SwarmInfo>,
    /// Where it looks for CDI specifications; engines before 25 do not say.
    #[serde(rename = "CDISpecDirs", default)]
    pub cdi_spec_dirs: Option<Vec<String>>,
    /// How containers are confined, and `name=rootless` where the engine itself is.
    #[serde(default)]
    pub security_options: Option<Vec<String>>,
    /// Plugins in use, by kind. Missing is unknown, not absent.
    #[serde(default)]
    pub plugins: Option<PluginsInfo>,
}

/// Plugins in use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct PluginsInfo {
    /// Those that are asked whether a request is allowed; null where there are none.
    #[serde(default)]
    pub authorization: Option<Vec<String>>,
}

/// Whether a plugin may answer in the engine's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// There is none.
    None,
    /// There is one, or the engine does not say (I2).
    Possible,
}

impl Info {
    /// Whether an authorization plugin may put its answer in the place of the engine's.
    pub fn authorization(&self) -> Authorization {
        match &self.plugins {
            Some(PluginsInfo { authorization }) if authorization.as_ref().is_none_or(Vec::is_empty) => {
                Authorization::None
            }
            Some(_) | None => Authorization::Possible,
        }
    }

    /// Whether the engine runs as an ordinary user. It says so among its security options (moby `daemon/info_unix.go`), as
    /// `name=rootless`, and what follows a comma are details.
    pub fn is_rootless(&self) -> bool {
        let mut options = self.security_options.iter().flatten();
        options.any(|option| option.split(',').next() == Some("name=rootless"))
    }
}

/// The engine's part in a swarm.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct SwarmInfo {
    /// `inactive`, `pending`, `active`, `error`, `locked`; empty on engines that never had one.
    pub local_node_state: String,
    /// Whether this node is a manager with a working control plane.
    #[serde(default)]
    pub control_available: Option<bool>,
}

impl SwarmInfo {
    /// Whether the engine is surely in no swarm.
    pub fn is_outside(&self) -> bool {
        matches!(self.local_node_state.as_str(), "inactive" | "") && self.control_available != Some(true)
    }
}

/// `GET /volumes`.
#[derive(Debug, Clone)]
pub struct Volumes {
    /// None where the engine wrote null, as it does for an empty list.
    pub volumes: Option<Vec<Volume>>,
    /// Those whose names cannot be used.
    pub odd: Vec<Listed>,
    /// Drivers that did not answer.
    pub warnings: Option<Vec<String>>,
}

/// One volume, in a list or by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Its driver.
    pub driver: String,
    /// `local` or `global`.
    pub scope: String,
    /// Null where there are none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options; null where there are none. Not every engine writes the field when it is empty.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// Where the data is, for the local driver `<root>/volumes/<name>/_data`.
    #[serde(default)]
    pub mountpoint: Option<String>,
    /// RFC 3339, in the engine's zone. No age: it moves (engines to 20.10: with the content).
    #[serde(default)]
    pub created_at: Option<String>,
    /// Set for Swarm cluster volumes.
    #[serde(default)]
    pub cluster_volume: Option<serde::de::IgnoredAny>,
}

/// One container of `GET /containers/json?all=1`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Container {
    /// Its ID.
    pub id: String,
    /// `/name`, and one more for each link.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// Its image.
    #[serde(default)]
    pub image: Option<String>,
    /// `running`, `exited`, ...; whatever it is, the container holds its volumes.
    #[serde(default)]
    pub state: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Its mounts. Neither missing nor null is "none" (I2).
    pub mounts: Vec<Mount>,
}

impl Container {
    /// The name without its slash, else the ID.
    pub fn name(&self) -> &str {
        let named = self.names.iter().flatten().min_by_key(|name| name.matches('/').count());
        named.map_or(self.id.as_str(), |name| name.trim_start_matches('/'))
    }

    /// Whether it only passes by.
    pub fn only_passes(&self, passing: &[Passing]) -> bool {
        let none = BTreeMap::new();
        let labels = self.labels.as_ref().unwrap_or(&none);
        only_passes(passing, Traits { image: self.image.as_deref(), name: Some(self.name()), labels })
    }

    /// State and image in one line.
    pub fn description(&self) -> String {
        let label = |key| self.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        container_detail(self.state.as_deref().unwrap_or("state unknown"), self.image.as_deref(), label)
    }
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Mount {
    /// `volume`, `bind`, `tmpfs`, ...; empty on containers made before Docker 1.13.
    #[serde(rename = "Type", default)]
    pub kind: Option<String>,
    /// The volume's name, whatever the type says.
    #[serde(default)]
    pub name: Option<String>,
    /// The host path of a bind; empty for anonymous volumes in a list.
    #[serde(default)]
    pub source: Option<String>,
    /// Where it is in the container.
    #[serde(default)]
    pub destination: Option<String>,
}

/// One managed plugin of `GET /plugins`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct Plugin {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub enabled: bool,
    /// What an administrator may have set.
    pub settings: PluginSettings,
}

/// The settings of a plugin. A list that is missing is unknown; Go writes an empty one as null or `[]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct PluginSettings {
    /// What of the host it mounts.
    #[serde(deserialize_with = "Option::deserialize")]
    pub mounts: Option<Vec<PluginMount>>,
    /// Which devices of the host it gets.
    #[serde(deserialize_with = "Option::deserialize")]
    pub devices: Option<Vec<PluginDevice>>,
    /// Its environment, as `NAME=value`.
    #[serde(deserialize_with = "Option::deserialize")]
    pub env: Option<Vec<String>>,
    /// Its arguments.
    #[serde(deserialize_with = "Option::deserialize")]
    pub args: Option<Vec<String>>,
}

/// A mount of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct PluginMount {
    /// The host path; null or empty while none is set.
    #[serde(default)]
    pub source: Option<String>,
}

/// A device of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct PluginDevice {
    /// The host path.
    #[serde(default)]
    pub path: Option<String>,
}

/// A plugin in its `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self")]
pub struct PluginOnDisk {
    /// The plugin, as the API tells it.
    pub plugin: Plugin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_that_decides_is_refused() {
        let refused = [
            r#"[{"Id":"a"}]"#,
            r#"[{"Id":"a","Mounts":null}]"#,
            r#"[{"Mounts":[]}]"#,
            r#"{"Id":"a","Mounts":[]}"#,
            "null",
            r#"[{"Id":"a","Mounts":[{"Name":7}]}]"#,
            r#"[{"Id":"a","Mounts":[["volume","v"]]}]"#,
            r#"[["a",[],"image","exited",{},[]]]"#,
        ];
        for text in refused {
            assert!(serde_json::from_str::<Vec<Container>>(text).is_err(), "{text}");
        }
        let refused = [
            r#"{"Warnings":null}"#,
            "{}",
            "[]",
            "[null]",
            "[[]]",
            r#"{"Volumes":[{"Name":"a"}]}"#,
            r#"{"Volumes":[["a","local","local",null]]}"#,
        ];
        for text in refused {
            assert!(serde_json::from_str::<Volumes>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_does_not_decide_may_be_anything() {
        let volumes: Volumes = serde_json::from_str(
            r#"{"Volumes":[{"Name":"a","Driver":"x","Scope":"odd","Labels":null,"Status":{"hello":"world"},
                "CreatedAt":"garbage","UsageData":7}],"Warnings":null,"New":[]}"#,
        )
        .unwrap();
        assert_eq!(volumes.volumes.unwrap()[0].name.as_str(), "a");
        let containers: Vec<Container> = serde_json::from_str(
            r#"[{"Id":"a","State":"initialized","Mounts":[{"Type":"odd","Name":"v"}],"Ports":"odd"}]"#,
        )
        .unwrap();
        assert_eq!(containers[0].mounts[0].name.as_deref(), Some("v"));
    }
}
