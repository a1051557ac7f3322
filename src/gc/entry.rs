//! Quarantine entries: what a manifest says. The manifests are the truth about what is in quarantine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ledger::ClockReading;
use super::protocol::Phase;
use super::reference::LastHolder;
use super::touched::{Manner, Reads, Touched};
use super::volume::{Class, DirectoryIdentity, VolumeName};

/// The version of the manifest format that this program writes, and the newest it reads.
pub const MANIFEST_VERSION: u32 = 2;

/// The name of an entry's directory: `[0-9a-z-]`, made by us.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(String);

/// A text that is not the name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a quarantine entry")]
pub struct BadEntryId(pub String);

impl EntryId {
    /// Checks that `text` can only name a child of the quarantine directory (I6).
    pub fn new(text: impl Into<String>) -> Result<Self, BadEntryId> {
        let text = text.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.len() < 8 || text.len() > 64 || !text.bytes().all(plain) || text.starts_with('-') {
            return Err(BadEntryId(text));
        }
        Ok(Self(text))
    }

    /// An identifier made of a time, for order, and random bits, so that two entries of one second differ.
    pub fn generate(at: DateTime<Utc>, random: u32) -> Self {
        Self(format!("{}-{random:08x}", at.format("%Y%m%d-%H%M%S")))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EntryId {
    type Error = BadEntryId;
    fn try_from(text: String) -> Result<Self, BadEntryId> {
        Self::new(text)
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How far an entry's move has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum EntryState {
    /// The link is being put in the place of the data; see [`super::protocol`].
    Linking,
    /// The engine may have been asked to forget the volume.
    Forgetting,
    /// By volgc 0.1: the data is being renamed here; the engine has not been asked to forget the volume. Undone by recovery.
    Moving,
    /// The engine may have been asked to forget the volume, and its answer is not known (I5).
    InDoubt {
        /// When the DELETE was about to be sent.
        in_doubt_since: DateTime<Utc>,
        /// Whether it was to be sent to the engine itself, with no proxy in between that may deliver it later.
        asked_directly: bool,
    },
    /// The data is here and the engine has forgotten the volume.
    Quarantined,
    /// The data is being placed back under `name`.
    Restoring {
        /// The volume it becomes.
        restoring_to: VolumeName,
    },
    /// The volume is only marked: it is where it was, and can be used all the while. There is no data here.
    InPlace,
    /// The engine may have been asked to remove a marked volume, and its answer is not known (I5).
    InPlaceInDoubt {
        /// When the DELETE was about to be sent.
        in_doubt_since: DateTime<Utc>,
        /// Whether it was to be sent to the engine itself, with no proxy in between that may deliver it later.
        asked_directly: bool,
    },
}

impl EntryState {
    /// The stable word used in JSON, tables and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Linking => "linking",
            Self::Forgetting => "forgetting",
            Self::Moving => "moving",
            Self::InDoubt { .. } => "in_doubt",
            Self::Quarantined => "quarantined",
            Self::Restoring { .. } => "restoring",
            Self::InPlace => "in_place",
            Self::InPlaceInDoubt { .. } => "in_place_in_doubt",
        }
    }
}

impl EntryState {
    /// Whether the volume was never moved, so that the entry holds no data.
    pub fn is_in_place(&self) -> bool {
        match self {
            Self::InPlace | Self::InPlaceInDoubt { .. } => true,
            Self::Linking
            | Self::Forgetting
            | Self::Moving
            | Self::InDoubt { .. }
            | Self::Quarantined
            | Self::Restoring { .. } => false,
        }
    }

    /// How far the move has come, where it is one of [`super::protocol`].
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Linking => Some(Phase::Linking),
            Self::Forgetting => Some(Phase::Forgetting),
            Self::Quarantined => Some(Phase::Quarantined),
            Self::Moving
            | Self::InDoubt { .. }
            | Self::Restoring { .. }
            | Self::InPlace
            | Self::InPlaceInDoubt { .. } => None,
        }
    }
}

/// Owner, group and permission bits of `_data`, which the engine resets when a volume is made (all versions to 29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Permission bits including set-user-ID, set-group-ID and sticky (`0o7777`).
    pub mode: u32,
}

/// Everything that is needed to bring a volume back, written before its data moves (I4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version, see [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// The entry's own name, so that a renamed directory is noticed.
    pub entry: EntryId,
    /// How far the move has come.
    #[serde(flatten)]
    pub state: EntryState,
    /// The volume's name.
    pub name: VolumeName,
    /// Anonymous or named, or not listed at all.
    pub class: Class,
    /// The volume driver.
    pub driver: String,
    /// The labels the engine showed.
    pub labels: BTreeMap<String, String>,
    /// Owner and mode of `_data`.
    pub ownership: Ownership,
    /// Identity of `<volumes>/<name>`.
    pub volume_directory: DirectoryIdentity,
    /// Identity of `_data`, which travels with it.
    pub data_directory: DirectoryIdentity,
    /// The engine the volume was taken from.
    pub engine_id: String,
    /// That engine's docker root.
    pub docker_root: String,
    /// When the move began.
    pub quarantined_at: DateTime<Utc>,
    /// Since when nothing held the volume, as far as it was watched.
    pub unreferenced_since: Option<DateTime<Utc>>,
    /// The rule that matched, or none for the policy of the class.
    pub rule: Option<String>,
    /// Whether an operator ordered it by hand.
    pub by_hand: bool,
    /// Watched seconds in quarantine before deletion; none when only an operator may delete it.
    pub delete_after_seconds: Option<u64>,
    /// Who held it last.
    pub last_holder: Option<LastHolder>,
    /// Allocated bytes, if they were measured.
    pub size_bytes: Option<u64>,
    /// Until when an order to forget the volume may still reach the engine through a proxy: until then nothing may be restored
    /// under its name (I5).
    #[serde(default)]
    pub name_unsafe_until: Option<DateTime<Utc>>,
    /// When the last order through a proxy was about to be sent, by both clocks; see [`super::late_order`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<ClockReading>,
    /// When its data was last known to be at rest: looked through right before the move, or bound to this manifest anew. None: since
    /// the move began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_rest_since: Option<DateTime<Utc>>,
    /// A use of the data that was found after that. Only an operator deletes it then (I3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Touched>,
}

impl Manifest {
    /// The grace period promised when the volume was quarantined.
    pub fn delete_after(&self) -> Option<Duration> {
        self.delete_after_seconds.map(Duration::from_secs)
    }

    /// From when on a use of the data is one that no list knew of.
    pub fn at_rest_since(&self) -> DateTime<Utc> {
        self.at_rest_since.unwrap_or(self.quarantined_at)
    }

    /// The use that was found, if it is one by what counts now.
    pub fn touched(&self, reads: Reads) -> Option<&Touched> {
        self.touched.as_ref().filter(|touched| match (touched.manner, reads) {
            (Manner::Changed, _) | (Manner::Read, Reads::Count) => true,
            (Manner::Read, Reads::Pass) => false,
        })
    }
}

/// An entry as it was found in the quarantine directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Its manifest was read.
    Known(Box<Manifest>),
    /// It was taken out of the quarantine for deletion, which is not finished.
    Deleting(EntryId),
    /// Its manifest is missing or damaged: kept until an operator looks at it (I2).
    Damaged {
        /// The directory's name, as found.
        directory: String,
        /// What is wrong, naming the file.
        problem: String,
    },
}

impl Entry {
    /// Its ID, by which commands name it; of a damaged one the name of its directory.
    pub fn shown(&self) -> &str {
        match self {
            Self::Known(manifest) => manifest.entry.as_str(),
            Self::Deleting(id) => id.as_str(),
            Self::Damaged { directory, .. } => directory,
        }
    }

    /// Whether a move or restore of it was begun and not finished. A deletion is taken up by the next sweep.
    pub fn is_unfinished(&self) -> bool {
        match self {
            Self::Known(manifest) => manifest.state != EntryState::Quarantined,
            Self::Deleting(_) | Self::Damaged { .. } => false,
        }
    }
}
