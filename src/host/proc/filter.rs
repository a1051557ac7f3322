//! Which of the files in use are looked at.

use std::collections::{BTreeSet, HashMap};

use rustix::fs::FileType;

use super::mountinfo::Device;
use super::sockets::Bound;

/// Which of all files could concern the one who asks.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Devices of files, as `stat` names them.
    pub files: Devices,
    /// The same file systems as mountinfo, maps and marks name them.
    pub systems: Devices,
    /// Every known mount: whether anything that concerns the one who asks can be reached through it.
    pub mounts: HashMap<u64, Reach>,
    /// The file systems of all known mounts.
    pub mounted: BTreeSet<Device>,
    /// That of pipes without a name.
    pub pipes: Option<Device>,
    /// Sockets that are bound to a path.
    pub sockets: Bound,
}

/// Some devices, or all of them where the file system gives its files several.
#[derive(Debug, Clone)]
pub enum Devices {
    /// These alone.
    These(BTreeSet<Device>),
    /// Any.
    Any,
}

impl Devices {
    /// Whether a device is one of them.
    pub fn include(&self, device: Device) -> bool {
        match self {
            Self::These(devices) => devices.contains(&device),
            Self::Any => true,
        }
    }
}

/// The file system of pipes without a name; none where there is no room for one more.
#[expect(clippy::disallowed_methods, reason = "then each pipe is looked at as a file with a name is")]
pub fn pipes() -> Option<Device> {
    let (pipe, _) = std::io::pipe().ok()?;
    let facts = rustix::fs::fstat(&pipe).ok()?;
    Some(Device { major: rustix::fs::major(facts.st_dev), minor: rustix::fs::minor(facts.st_dev) })
}

/// What can be reached through a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Something that concerns the one who asks.
    Something,
    /// Nothing of it.
    Nothing,
}

/// What has to be looked at of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regard {
    /// All of it.
    Whole,
    /// Its path alone. The mount through which a process opened the file shows none of the targets. But somebody may have moved the file out
    /// of that mount's directory since, and then the kernel tells no path.
    Path,
    /// Nothing.
    None,
}

impl Filter {
    /// Whether files on this device are on a file system that is in no table: unmounted while it was in use, or never mounted.
    pub fn is_detached(&self, device: Device) -> bool {
        device.major == 0 && !self.mounted.contains(&device)
    }

    pub(super) fn regard(&self, device: Device, mount: Option<u64>, kind: FileType) -> Regard {
        let reach = mount.and_then(|mount| self.mounts.get(&mount));
        let is_nameless = match kind {
            FileType::Fifo => Some(device) == self.pipes,
            FileType::Socket | FileType::Unknown => true,
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::CharacterDevice
            | FileType::BlockDevice => false,
        };
        match (self.files.include(device), reach) {
            (true, Some(Reach::Nothing)) => Regard::Path,
            (true, Some(Reach::Something) | None) => Regard::Whole,
            // A file system that is in no table: unmounted while it was in use, or never mounted.
            (false, None) if mount.is_some() && !is_nameless && device.major == 0 => Regard::Whole,
            (false, Some(_) | None) => Regard::None,
        }
    }
}
