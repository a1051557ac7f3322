//! Volumes as they were observed: names, identities, classes, and what stands in the way of moving one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label that the engine sets on a volume made without a name, since Docker 23.0 (API 1.42). Earlier engines set none,
/// and until 27.4 it was missing on anonymous volumes made through `--mount`.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// Prefix of every label that Compose writes; see [`Class::of`].
pub const COMPOSE_LABEL_PREFIX: &str = "com.docker.compose.";

/// The label naming the Compose project a volume belongs to.
pub const COMPOSE_PROJECT_LABEL: &str = "com.docker.compose.project";

/// Prefix of the labels this program reads from volumes.
pub const OWN_LABEL_PREFIX: &str = "volgc.";

/// The label by which the maker of a volume asks for it to be kept for ever.
pub const KEEP_LABEL: &str = "volgc.keep";

/// The name of a volume: not empty, no `/`, no NUL, neither `.` nor `..`, so that it can only ever name a child of the
/// volumes directory (I6).
///
/// A clone is cheap: a host may have tens of thousands, and each name is in a dozen places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(Arc<str>);

/// A text that cannot be the name of a volume directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a volume")]
pub struct BadVolumeName(pub String);

impl VolumeName {
    /// Checks that `name` is a plain file name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, BadVolumeName> {
        let name = name.as_ref();
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) || name.len() > 255 {
            return Err(BadVolumeName(name.to_owned()));
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the engine's API would accept this name in a create call: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`
    /// (`RestrictedNamePattern`, unchanged from Docker 1.9 to 29). The engine adopts directories with any other name at
    /// start, but could never make them again, so such a volume could not be restored under its name.
    pub fn is_accepted_by_api(&self) -> bool {
        let mut bytes = self.0.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let mut rest = bytes.peekable();
        first
            && rest.peek().is_some()
            && rest.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    }

    /// Whether the name is 64 lower-case hexadecimal digits, the form the engine gives to volumes made without a name.
    pub fn is_generated(&self) -> bool {
        self.0.len() == 64 && self.0.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl TryFrom<String> for VolumeName {
    type Error = BadVolumeName;
    fn try_from(name: String) -> Result<Self, BadVolumeName> {
        Self::new(name)
    }
}

impl<'de> Deserialize<'de> for VolumeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = VolumeName;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the name of a volume")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<VolumeName, E> {
                VolumeName::new(name).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl Serialize for VolumeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Which directory on a disk, told apart from every other that had or will have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectoryIdentity {
    /// `st_dev`. It may change when the host starts anew.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Birth time in nanoseconds since the epoch (`statx(2)` `STATX_BTIME`), where the file system records one; else the
    /// change time, which moves only when something is renamed in or out of the directory, so it can only reset a clock.
    /// Until the year 2262.
    pub born_at_ns: i64,
    /// Whether `born_at_ns` is a true birth time.
    pub has_birth_time: bool,
}

impl DirectoryIdentity {
    /// Whether both are the same directory (I11). With a birth time, inode and birth time decide: device numbers are not
    /// stable across a restart of the host, and a clock that restarts with each boot would never run out. Without one, all
    /// three must agree, because file systems hand inode numbers out again at once.
    pub fn is_same(&self, other: &Self) -> bool {
        self.inode == other.inode
            && self.born_at_ns == other.born_at_ns
            && self.has_birth_time == other.has_birth_time
            && (self.has_birth_time || self.device == other.device)
    }

    /// Whether both are the same directory, as far as that can be told of one that we renamed ourselves, or that is where nobody but
    /// root puts anything: then its inode is not handed out again. Without birth times it is the inode alone, as every rename
    /// changes the change time, and a restart of the host the device number.
    pub fn is_same_inode(&self, other: &Self) -> bool {
        let are_told_apart = self.has_birth_time && other.has_birth_time;
        self.inode == other.inode && (!are_told_apart || self.born_at_ns == other.born_at_ns)
    }
}

impl DirectoryIdentity {
    /// Whether both are the same directory, of one that is filled and emptied all the time: without a birth time nothing but the
    /// inode tells. No device number, which another start of the host may change.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let are_born = self.has_birth_time && other.has_birth_time;
        self.inode == other.inode && (!are_born || self.born_at_ns == other.born_at_ns)
    }
}

/// Which volume of that name. A name used again is another volume (I11).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum VolumeIdentity {
    /// Identified by its directory under the volumes directory.
    Directory(DirectoryIdentity),
    /// A volume that has no directory there (another driver, a remote engine): what the API says of it.
    Record {
        /// The volume driver.
        driver: String,
        /// `CreatedAt` as the engine wrote it. Up to Docker 20.10 it moves with the content, which can only reset a clock.
        created_at: String,
    },
}

impl VolumeIdentity {
    /// Whether both are the same volume.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(a), Self::Directory(b)) => a.is_same(b),
            (Self::Record { .. }, Self::Record { .. }) => self == other,
            (Self::Directory(_), Self::Record { .. }) | (Self::Record { .. }, Self::Directory(_)) => false,
        }
    }
}

/// Equal for the same volume only; what a report carries and `sweep --plan` compares.
impl fmt::Display for VolumeIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) if directory.has_birth_time => {
                write!(out, "inode {} born {}", directory.inode, directory.born_at_ns)
            }
            Self::Directory(directory) => write!(
                out,
                "device {} inode {} changed {}",
                directory.device, directory.inode, directory.born_at_ns
            ),
            Self::Record { driver, created_at } => write!(out, "driver {driver} created {created_at}"),
        }
    }
}

/// The kinds of volume, which have separate policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Made without a name, as by a `VOLUME` line of an image.
    Anonymous,
    /// Given a name by somebody.
    Named,
    /// No volume of the engine's: a directory among the volumes that it does not list, made behind its back or dropped by it (from
    /// 29.4 on it drops one without `_data` when it starts). Kept unless a rule names this class.
    Unlisted,
}

impl Class {
    /// The class of a volume that the engine lists: anonymous by its label, or by a generated name without Compose labels (engines before 23.0,
    /// and before 27.4 for `--mount`, set no label).
    pub fn of(name: &VolumeName, labels: &BTreeMap<String, String>) -> Self {
        let from_compose = labels.keys().any(|key| key.starts_with(COMPOSE_LABEL_PREFIX));
        if labels.contains_key(ANONYMOUS_LABEL) || (name.is_generated() && !from_compose) {
            Self::Anonymous
        } else {
            Self::Named
        }
    }

    /// The word used in configuration, output and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Named => "named",
            Self::Unlisted => "unlisted",
        }
    }
}

/// A reason why the data of a volume must not be renamed away. One variant for each precondition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmovable {
    /// The volume is served by another driver than `local`.
    OtherDriver,
    /// The scope is not `local`, so other hosts may use it.
    OtherScope,
    /// The volume has driver options (bind, NFS, CIFS, tmpfs, size): its data lives outside Docker's space or under a quota.
    DriverOptions,
    /// `opts.json` is on disk although the API shows no options (a record that was lost).
    OptionsFile,
    /// The engine knows the volume, but there is no directory for it.
    NoDirectory,
    /// `<volume>` or `_data` is a symlink or not a directory.
    NotADirectory,
    /// There is no `_data`.
    NoData,
    /// Something else lies beside `_data`.
    ForeignContent,
    /// `_data` is on another file system than the quarantine directory, or renaming across is not allowed.
    OtherFileSystem,
    /// `_data` is a mount point, or something is mounted below it.
    Mounted,
    /// The API would not accept the name again, so the volume could not be restored.
    NameNotAccepted,
    /// An immutable or append-only attribute (`chattr +i`, `+a`) forbids the rename.
    Immutable,
    /// A project quota applies to the data.
    ProjectQuota,
    /// The directory could not be looked at.
    Unreadable,
    /// The directory is on a file system that does not answer.
    NoAnswer,
    /// The engine's docker root is not on this machine, or could not be proven to be.
    RootNotHere,
    /// A cluster (CSI) volume of Swarm.
    ClusterVolume,
    /// Nothing proves that the docker root here is that of the engine, which lists no volume and no container.
    RootUnproven,
    /// The driver options are not those of a mount alone (`type`, `o`, `device`), so data may lie in `_data` itself.
    NotAMount,
    /// `opts.json` on disk and the options that the engine shows are not the same.
    OptionsDiffer,
    /// The directory that the driver options are mounted on holds something of its own.
    MountPointNotEmpty,
    /// It was tried, and the file system does not rename it into the quarantine directory (`EXDEV`).
    RenameRefused,
    /// It was tried, and the file system cannot rename without replacing what may be there (`EINVAL` on `RENAME_NOREPLACE`).
    RenameUnsafe,
}

impl Unmovable {
    /// The stable word used in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::OtherDriver => "other_driver",
            Self::OtherScope => "other_scope",
            Self::DriverOptions => "driver_options",
            Self::OptionsFile => "options_file",
            Self::NoDirectory => "no_directory",
            Self::NotADirectory => "not_a_directory",
            Self::NoData => "no_data",
            Self::ForeignContent => "foreign_content",
            Self::OtherFileSystem => "other_file_system",
            Self::Mounted => "mounted",
            Self::NameNotAccepted => "name_not_accepted",
            Self::Immutable => "immutable",
            Self::ProjectQuota => "project_quota",
            Self::Unreadable => "unreadable",
            Self::NoAnswer => "no_answer",
            Self::RootNotHere => "root_not_here",
            Self::ClusterVolume => "cluster_volume",
            Self::RootUnproven => "root_unproven",
            Self::NotAMount => "not_a_mount",
            Self::OptionsDiffer => "options_differ",
            Self::MountPointNotEmpty => "mount_point_not_empty",
            Self::RenameRefused => "rename_refused",
            Self::RenameUnsafe => "rename_unsafe",
        }
    }

    /// One sentence for the administrator.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::OtherDriver => "it is served by another driver than `local`",
            Self::OtherScope => "its scope is not local: other hosts may use it",
            Self::DriverOptions => "it has driver options, so its data lives outside Docker's own space",
            Self::OptionsFile => "it has an opts.json on disk that the engine does not show",
            Self::NoDirectory => "the engine knows it, but it has no directory",
            Self::NotADirectory => "its directory or `_data` is a symlink or no directory",
            Self::NoData => "it has no `_data` directory",
            Self::ForeignContent => "something else lies beside `_data`",
            Self::OtherFileSystem => "its data is on another file system than the quarantine directory",
            Self::Mounted => "something is mounted on or below its data",
            Self::NameNotAccepted => "the engine would not accept its name again",
            Self::Immutable => "an immutable or append-only attribute is set on it",
            Self::ProjectQuota => "a project quota applies to it",
            Self::Unreadable => "its directory could not be read",
            Self::NoAnswer => "its directory does not answer: is it on a file system whose server is gone?",
            Self::RootNotHere => "the docker root is not on this machine",
            Self::ClusterVolume => "it is a Swarm cluster volume",
            Self::RootUnproven => "nothing proves that this docker root is the engine's, which lists nothing",
            Self::NotAMount => {
                "its driver options are not those of a mount alone, so data may lie in `_data` itself"
            }
            Self::OptionsDiffer => "its opts.json and the options that the engine shows differ",
            Self::MountPointNotEmpty => "the directory that its options are mounted on is not empty itself",
            Self::RenameRefused => {
                "it was tried, and its file system does not rename it into the quarantine directory: it lies in a lower layer of an \
                 overlay, or belongs to another project"
            }
            Self::RenameUnsafe => {
                "it was tried, and its file system, as many in FUSE, cannot rename without replacing what may be there"
            }
        }
    }
}

/// One volume of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Which volume of that name.
    pub identity: VolumeIdentity,
    /// Anonymous or named, or not listed at all.
    pub class: Class,
    /// The volume driver, `local` for the built-in one.
    pub driver: String,
    /// The labels the engine shows.
    pub labels: BTreeMap<String, String>,
    /// Everything that stands in the way of moving it; empty when it can be moved. [`Unmovable::DriverOptions`] alone: a mount
    /// of something else whose own directory is empty, so that the engine's removal of it would delete no data.
    pub unmovable: Vec<Unmovable>,
}

impl Volume {
    /// The Compose project the volume belongs to, if any.
    pub fn compose_project(&self) -> Option<&str> {
        self.labels.get(COMPOSE_PROJECT_LABEL).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VolumeName {
        VolumeName::new(text).unwrap()
    }

    #[test]
    fn a_name_can_only_be_a_child_of_the_volumes_directory() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(VolumeName::new(bad).is_err(), "{bad:?}");
        }
        assert!(VolumeName::new("x".repeat(256)).is_err());
        assert!(VolumeName::new(" ..").is_ok());
    }

    #[test]
    fn the_api_takes_two_restricted_characters_or_more() {
        for good in ["ab", "a.", "0_", "db-data", "Z9"] {
            assert!(name(good).is_accepted_by_api(), "{good}");
        }
        for bad in ["a", ".a", "-a", "a b", "ä1", "a\n", "_x"] {
            assert!(!name(bad).is_accepted_by_api(), "{bad:?}");
        }
    }

    #[test]
    fn a_generated_name_is_anonymous_unless_compose_labelled() {
        let hex = name(&"0a".repeat(32));
        let none = BTreeMap::new();
        let compose = BTreeMap::from([("com.docker.compose.volume".to_owned(), "x".to_owned())]);
        let label = BTreeMap::from([(ANONYMOUS_LABEL.to_owned(), String::new())]);
        assert_eq!(Class::of(&hex, &none), Class::Anonymous);
        assert_eq!(Class::of(&hex, &compose), Class::Named);
        assert_eq!(Class::of(&name("db"), &none), Class::Named);
        assert_eq!(Class::of(&name("db"), &label), Class::Anonymous);
        assert_eq!(Class::of(&name(&"0A".repeat(32)), &none), Class::Named);
    }

    #[test]
    fn a_reused_inode_is_another_volume_and_a_new_device_number_is_not() {
        let a = DirectoryIdentity { device: 1, inode: 7, born_at_ns: 100, has_birth_time: true };
        assert!(a.is_same(&DirectoryIdentity { device: 2, ..a }));
        assert!(!a.is_same(&DirectoryIdentity { born_at_ns: 101, ..a }));
        let b = DirectoryIdentity { has_birth_time: false, ..a };
        assert!(!b.is_same(&DirectoryIdentity { device: 2, ..b }));
        assert!(b.is_same_inode(&DirectoryIdentity { device: 2, born_at_ns: 101, ..b }));
        assert!(!b.is_same_inode(&DirectoryIdentity { inode: 8, ..b }));
        assert!(a.is_same_inode(&b) && !a.is_same_inode(&DirectoryIdentity { born_at_ns: 101, ..a }));
        assert!(!a.is_same(&b));
    }
}
