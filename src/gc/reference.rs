//! Who holds a volume, and which witness saw it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::spoken::spoken;
use super::volume::VolumeName;

/// One source of references. It answers completely, or it fails (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The engine's container list, by the name of each mount.
    Engine,
    /// Paths that anybody wrote down, followed and compared with the volumes' directories.
    BindSources,
    /// Container directories on disk that the engine does not list.
    ContainersOnDisk,
    /// Mounts of every mount namespace, and processes inside a volume.
    Kernel,
    /// Swarm services.
    Swarm,
    /// Holds given by an operator.
    Operator,
}

impl Witness {
    /// Every witness; an inventory needs the answer of each.
    pub const ALL: [Self; 6] =
        [Self::Engine, Self::BindSources, Self::ContainersOnDisk, Self::Kernel, Self::Swarm, Self::Operator];

    /// The stable word used in JSON and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::BindSources => "bind_sources",
            Self::ContainersOnDisk => "containers_on_disk",
            Self::Kernel => "kernel",
            Self::Swarm => "swarm",
            Self::Operator => "operator",
        }
    }
}

/// What kind of thing holds a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// A container, in any state.
    Container,
    /// A container whose files are on disk but which the engine did not load.
    UnloadedContainer,
    /// Another volume, which leads into this one: by its driver options, a link, or where its plugin has the data.
    Volume,
    /// A managed plugin of the engine, enabled or not.
    Plugin,
    /// A mount in some mount namespace.
    Mount,
    /// A process with an open file, working directory or root there.
    Process,
    /// A Swarm service, its present or previous specification.
    Service,
    /// The Swarm state is not known here, so everything it could use is held.
    UnknownSwarm,
    /// An operator's hold.
    Hold,
}

impl HolderKind {
    /// The stable word used in JSON, the ledger and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::UnloadedContainer => "unloaded_container",
            Self::Volume => "volume",
            Self::Plugin => "plugin",
            Self::Mount => "mount",
            Self::Process => "process",
            Self::Service => "service",
            Self::UnknownSwarm => "unknown_swarm",
            Self::Hold => "hold",
        }
    }
}

/// State, image and Compose labels of a container in one line, for [`Holder::detail`].
pub fn container_detail<'a>(
    state: &str,
    image: Option<&str>,
    label: impl Fn(&'static str) -> Option<&'a str>,
) -> String {
    let mut text = state.to_owned();
    let parts = [
        ("image", image),
        ("Compose project", label("com.docker.compose.project")),
        ("service", label("com.docker.compose.service")),
    ];
    for (what, value) in parts {
        if let Some(value) = value {
            text = format!("{text}, {what} {value}");
        }
    }
    text
}

/// Who holds a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// Its identifier: container or service ID, process ID; of a mount the container it is in, else its namespace.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// State, image, mount point: whatever tells an administrator more, in one line.
    pub detail: String,
}

/// Kind and name, for people: `unloaded container web`.
impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", spoken(self.kind.word()), self.name)
    }
}

/// One holder's claim on one volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The volume that is held.
    pub volume: VolumeName,
    /// Which witness saw it.
    pub witness: Witness,
    /// Who holds it.
    pub holder: Holder,
}

/// Who held a volume last, remembered after the holder is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHolder {
    /// The holder as it was seen.
    #[serde(flatten)]
    pub holder: Holder,
    /// When it was last seen holding the volume.
    pub seen_at: DateTime<Utc>,
}
