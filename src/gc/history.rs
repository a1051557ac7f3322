//! What happened, for people to read back (I12).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entry::EntryId;
use super::reference::LastHolder;
use super::volume::VolumeName;

/// What was done, or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A volume was quarantined.
    Quarantined,
    /// A move was undone: something held the volume after all, or a crash had interrupted it.
    RolledBack,
    /// The engine's answer to DELETE is not known.
    InDoubt,
    /// A volume was restored.
    Restored,
    /// A volume left its quarantine in place: something holds it again, or it is gone, or an operator said so.
    Released,
    /// An entry was deleted for good.
    Deleted,
    /// An operator's hold began.
    HoldGiven,
    /// An operator's hold was released.
    HoldReleased,
    /// An operator's hold ended by itself.
    HoldExpired,
    /// An operator told the sudden-orphan brake to let go.
    Acknowledged,
    /// A sweep refused to act.
    Refused,
    /// A step failed.
    Failed,
    /// In mode `observe`: a volume became due for quarantine, or an entry for deletion, and nothing was done.
    WouldAct,
    /// A volume was made under a name whose old data is in quarantine.
    NameUsedAgain,
    /// Something used the data of an entry, as its times tell.
    Touched,
}

impl Happening {
    /// Every happening.
    pub const ALL: [Self; 15] = [
        Self::Quarantined,
        Self::RolledBack,
        Self::InDoubt,
        Self::Restored,
        Self::Released,
        Self::Deleted,
        Self::HoldGiven,
        Self::HoldReleased,
        Self::HoldExpired,
        Self::Acknowledged,
        Self::Refused,
        Self::Failed,
        Self::WouldAct,
        Self::NameUsedAgain,
        Self::Touched,
    ];

    /// The stable word used in the ledger, JSON, tables and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::RolledBack => "rolled_back",
            Self::InDoubt => "in_doubt",
            Self::Restored => "restored",
            Self::Released => "released",
            Self::Deleted => "deleted",
            Self::HoldGiven => "hold_given",
            Self::HoldReleased => "hold_released",
            Self::HoldExpired => "hold_expired",
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::WouldAct => "would_act",
            Self::NameUsedAgain => "name_used_again",
            Self::Touched => "touched",
        }
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub happening: Happening,
    /// Which volume.
    pub volume: Option<VolumeName>,
    /// Which quarantine entry.
    pub entry: Option<EntryId>,
    /// Why, in one sentence.
    pub detail: String,
    /// Who held it last.
    pub last_holder: Option<LastHolder>,
    /// Allocated bytes, if known.
    pub size_bytes: Option<u64>,
}
