//! The files of a container as engines write them, as far as they decide.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A JSON object, and nothing else: a derived decoder would take a list for one, by the order of its fields.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// `config.v2.json`, and `config.json` before Docker 1.10. A missing list of mounts is not the same as an empty one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default)]
    pub(super) name: Option<Value>,
    #[serde(default)]
    pub(super) driver: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(super) mount_points: Option<MountPoints>,
    /// Host paths by destination, before Docker 1.7.
    #[serde(default, deserialize_with = "present")]
    pub(super) volumes: Option<PathsByDestination>,
}

/// By destination; Go writes an empty map as null.
pub(super) type MountPoints = Option<BTreeMap<String, Object<MountPoint>>>;

pub(super) type PathsByDestination = Option<BTreeMap<String, String>>;

/// Null when there are none.
pub(super) type Binds = Option<Vec<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountPoint {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(rename = "Type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) spec: Option<Object<Mount>>,
}

/// A mount as it was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(rename = "Type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) target: Option<String>,
}

/// `hostconfig.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default, deserialize_with = "present")]
    pub(super) binds: Option<Binds>,
    #[serde(default)]
    pub(super) mounts: Option<Vec<Object<Mount>>>,
    #[serde(default)]
    pub(super) volumes_from: Option<Vec<String>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}
