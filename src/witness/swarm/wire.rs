//! The lists that only a manager gives: services and tasks, by their mounts.
//!
//! Strict as the rest of the engine's answers ([`crate::host::engine::wire`]): a missing field that decides refuses the whole
//! list (I2). The fields that Go leaves out when they are empty (`omitempty` in `api/types/swarm` and `api/types/mount`, the same
//! from 20.10 to 29) are the exception: there, missing is what "none" looks like.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::host::engine::wire::objects;

objects! { Service ServiceSpec Task TaskSpec ContainerSpec Mount VolumeOptions DriverConfig }

/// One item of `GET /services`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct Service {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it is to be.
    pub spec: ServiceSpec,
    /// What it was before its last update, and is again after a rollback.
    #[serde(default)]
    pub previous_spec: Option<ServiceSpec>,
}

/// One specification of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct ServiceSpec {
    /// Its name, which no update can change.
    pub name: String,
    /// What its tasks are made from.
    pub task_template: TaskSpec,
}

/// One item of `GET /tasks`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct Task {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service it belongs to; missing on tasks without one.
    #[serde(rename = "ServiceID", default)]
    pub service_id: Option<String>,
    /// What it was made from, which may be older than both specifications of its service.
    pub spec: TaskSpec,
    /// What the manager wants it to be.
    #[serde(default)]
    pub desired_state: Option<String>,
}

/// What a task runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct TaskSpec {
    /// A container.
    #[serde(default)]
    pub container_spec: Option<ContainerSpec>,
    /// A plugin, which mounts nothing that a volume could be.
    #[serde(default)]
    pub plugin_spec: Option<IgnoredAny>,
    /// A container that was started by hand and only attached to a network: the container list has it.
    #[serde(default)]
    pub network_attachment_spec: Option<IgnoredAny>,
    /// Which of these.
    #[serde(default)]
    pub runtime: Option<String>,
}

impl TaskSpec {
    /// The mounts; none when it does not say what it runs, and so nothing can be said of its mounts.
    pub(super) fn mounts(&self) -> Option<&[Mount]> {
        if let Some(container) = &self.container_spec {
            #[expect(clippy::disallowed_methods, reason = "Go leaves out an empty list")]
            return Some(container.mounts.as_deref().unwrap_or_default());
        }
        let runs_no_container = self.plugin_spec.is_some()
            || self.network_attachment_spec.is_some()
            || matches!(self.runtime.as_deref(), Some("plugin" | "attachment"));
        runs_no_container.then_some(&[])
    }
}

/// The container a task runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct ContainerSpec {
    /// Left out when there are none.
    #[serde(default)]
    pub mounts: Option<Vec<Mount>>,
}

/// One mount of a service. Every field is left out when it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct Mount {
    /// `volume`, `bind`, `tmpfs`, `npipe`, `image`, `cluster`; missing when the type is newer than the engine.
    #[serde(rename = "Type", default)]
    pub kind: Option<String>,
    /// A volume's name or a host path, either of them possibly a Go template.
    #[serde(default)]
    pub source: Option<String>,
    /// Where it is in the container.
    #[serde(default)]
    pub target: Option<String>,
    /// How a volume is to be made.
    #[serde(default)]
    pub volume_options: Option<VolumeOptions>,
}

/// How a volume is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct VolumeOptions {
    /// With which driver.
    #[serde(default)]
    pub driver_config: Option<DriverConfig>,
}

/// A volume driver with its options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub(super) struct DriverConfig {
    /// The options, whose values may be Go templates.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
}

impl Mount {
    /// The values of the driver's options.
    pub(super) fn option_values(&self) -> impl Iterator<Item = &str> {
        let driver = self.volume_options.as_ref().and_then(|options| options.driver_config.as_ref());
        driver
            .and_then(|driver| driver.options.as_ref())
            .into_iter()
            .flatten()
            .map(|(_, value)| value.as_str())
    }
}
