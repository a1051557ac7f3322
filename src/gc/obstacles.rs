//! What stands in the way of a step for good: a file system that does not rename a volume's data, a part of an entry's data that cannot be
//! deleted. It is found by trying, once, and remembered as a reason to keep: a step that can never succeed is no step.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::entry::EntryId;
use super::inventory::Inventory;
use super::volume::{Unmovable, VolumeIdentity, VolumeName};

/// After this long a volume is tried again: its file system may have been mounted otherwise since then.
const TRIED_AGAIN_AFTER: TimeDelta = TimeDelta::days(30);

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Obstacles {
    /// Volumes whose data could not be renamed.
    pub volumes: BTreeMap<VolumeName, NotRenamed>,
    /// Entries whose data cannot be deleted whole.
    pub entries: BTreeMap<EntryId, Undeletable>,
}

/// A volume whose data could not be renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRenamed {
    /// Which volume of that name (I11).
    pub identity: VolumeIdentity,
    /// Why.
    pub why: Unmovable,
    /// When it was tried.
    pub tried_at: DateTime<Utc>,
}

/// Something in the data of an entry that cannot be deleted, so that nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeletable {
    /// Where it is, below the data; empty for the data itself. Any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub cause: UndeletableCause,
    /// When it was found.
    pub found_at: DateTime<Utc>,
}

/// Why something cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UndeletableCause {
    /// Something is mounted on it.
    Mount,
    /// A subvolume or snapshot of btrfs begins there.
    Subvolume,
    /// Another file system begins there in some other way.
    OtherFileSystem,
    /// The attribute `i`.
    Immutable,
    /// The attribute `a`.
    AppendOnly,
    /// The kernel swaps to it.
    Swap,
    /// It cannot be read, so what is in it is not known.
    Unreadable,
}

impl UndeletableCause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::Mount,
        Self::Subvolume,
        Self::OtherFileSystem,
        Self::Immutable,
        Self::AppendOnly,
        Self::Swap,
        Self::Unreadable,
    ];

    /// The stable word used in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Subvolume => "subvolume",
            Self::OtherFileSystem => "other_file_system",
            Self::Immutable => "immutable",
            Self::AppendOnly => "append_only",
            Self::Swap => "swap",
            Self::Unreadable => "unreadable",
        }
    }

    /// What it is and what helps, for a path that is quoted for a shell.
    pub fn sentence(self, path: &str, entry: &EntryId) -> String {
        let (what, way_out) = match self {
            Self::Mount => ("something is mounted on", format!("run `umount {path}`")),
            Self::Subvolume => (
                "a btrfs subvolume or snapshot begins at",
                format!("run `btrfs subvolume delete {path}`, or move it away"),
            ),
            Self::OtherFileSystem => ("another file system begins at", "move it away".to_owned()),
            Self::Immutable => ("the attribute `i` protects", format!("run `chattr -i {path}`")),
            Self::AppendOnly => ("the attribute `a` protects", format!("run `chattr -a {path}`")),
            Self::Swap => ("the kernel swaps to", format!("run `swapoff {path}`")),
            Self::Unreadable => {
                ("the file system cannot read", "look into the kernel's log (`dmesg`) and mend it".to_owned())
            }
        };
        let then = match self {
            Self::Mount | Self::Unreadable => "and the next sweep goes on".to_owned(),
            // The way in or out changed the data or read it, and nobody can tell by whose hand.
            Self::Subvolume | Self::OtherFileSystem | Self::Immutable | Self::AppendOnly | Self::Swap => {
                format!(
                    "then run `volgc delete --touched {entry}`: a sweep takes that for a use, and keeps the entry"
                )
            }
        };
        format!(
            "{what} {path}, so it cannot be deleted whole and nothing of it is deleted; {way_out}, {then}"
        )
    }
}

impl Obstacles {
    /// What is still of use after a sweep: what is gone, is another one by now, or is to be tried again, is forgotten.
    #[must_use]
    pub fn after(
        &self,
        inventory: &Inventory,
        is_entry: impl Fn(&EntryId) -> bool,
        now: DateTime<Utc>,
    ) -> Self {
        let is_of = |(name, known): &(&VolumeName, &NotRenamed)| known.holds(inventory, name, now);
        Self {
            volumes: self
                .volumes
                .iter()
                .filter(is_of)
                .map(|(name, known)| (name.clone(), known.clone()))
                .collect(),
            entries: self
                .entries
                .iter()
                .filter(|(entry, _)| is_entry(entry))
                .map(|(entry, known)| (entry.clone(), known.clone()))
                .collect(),
        }
    }
}

impl NotRenamed {
    /// Whether it is about the volume that has the name now, and not to be tried again yet.
    pub fn holds(&self, inventory: &Inventory, name: &VolumeName, now: DateTime<Utc>) -> bool {
        // A clock that was set back only tries sooner.
        let age = now - self.tried_at;
        inventory.volume(name).is_some_and(|volume| volume.identity.is_same(&self.identity))
            && age >= TimeDelta::zero()
            && age < TRIED_AGAIN_AFTER
    }
}
