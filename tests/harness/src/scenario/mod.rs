//! Every way in which volgc passes its fault points: what is prepared, and which command then runs.
//!
//! A scenario belongs to a [`Family`], so that a test can try some of them by themselves. A [`Host`] makes their cases on an
//! engine, runs them, and at the end sees that nothing was lost.

mod commands;
mod host;
mod passes;
mod prepare;
mod recoveries;
mod settled;
mod stock;

use std::fs;
use std::path::PathBuf;

pub use commands::COMMANDS;
pub use host::Host;
pub use recoveries::RECOVERIES;

use super::treasure::{self, Place, Treasure};
use super::{PrivateEngine, tree_listing};

/// Scenarios that have most of their steps in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A volume goes into quarantine.
    Quarantines,
    /// A volume comes back.
    Restores,
    /// An entry is deleted.
    Deletions,
    /// Only the ledger changes.
    Ledger,
    /// A directory that the engine does not list goes into quarantine.
    Unlisted,
    /// A volume that cannot be moved goes into quarantine where it is, and out of it.
    InPlace,
    /// A sweep finds a move that was cut off.
    CutMoves,
    /// A sweep finds an entry whose DELETE may have been sent.
    Doubts,
    /// A sweep finds a restore that was cut off.
    CutRestores,
    /// A sweep finds a deletion that was cut off.
    CutDeletions,
    /// A sweep finds the move of an unlisted directory that was cut off.
    CutUnlisted,
}

impl Family {
    /// Its scenarios.
    pub fn scenarios(self) -> Vec<Scenario> {
        COMMANDS.iter().chain(RECOVERIES).filter(|scenario| scenario.family == self).copied().collect()
    }
}

/// A way in which fault points are passed.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub family: Family,
    /// Faults that lead the run there, besides the one that is tested.
    pub with: &'static str,
    prepare: fn(&Host<'_>) -> Case,
}

impl Scenario {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        let found = COMMANDS.iter().chain(RECOVERIES).find(|scenario| scenario.name == name);
        *found.unwrap_or_else(|| panic!("there is no scenario {name:?}"))
    }

    /// Each way of moving data once.
    pub fn basic() -> Vec<Self> {
        ["quarantine", "quarantine undone", "restore", "restore replacing", "delete"]
            .map(Self::named)
            .to_vec()
    }
}

/// One run that is about to be disturbed.
#[derive(Debug)]
pub struct Case {
    /// What must survive.
    pub treasures: Vec<Treasure>,
    /// What lies behind a volume in place, which must never change.
    pub behind: Option<Behind>,
    /// The first of the treasures may be deleted, if it is deleted as a whole.
    pub is_deletion: bool,
    /// Somebody asked the engine for the volume while it was being restored.
    pub is_adopted: bool,
    /// An order for its name may still be on its way, so nothing is restored under it.
    pub is_name_unsafe: bool,
    /// The command.
    pub command: Vec<String>,
    /// Configuration beside the usual.
    rule: String,
    parked: Vec<String>,
}

impl Case {
    /// At any instant everything is whole and in one place (I4), but what is being deleted: from the first step of its deletion on
    /// it may only go on.
    #[track_caller]
    pub fn assert_nothing_lost(&self, engine: &PrivateEngine, when: &str) {
        self.assert_behind(when);
        for (number, treasure) in self.treasures.iter().enumerate() {
            let is_deletion = self.is_deletion && number == 0;
            if is_deletion && matches!(treasure.places(engine).as_slice(), [] | [Place::Deleting(_)]) {
                continue;
            }
            treasure.assert_whole(engine, when);
        }
    }

    /// Whatever becomes of a volume in place, what it is a mount of is never touched (I6).
    #[track_caller]
    pub fn assert_behind(&self, when: &str) {
        if let Some(behind) = &self.behind {
            let now = tree_listing(&behind.path);
            let path = behind.path.display();
            assert_eq!(now, behind.listing, "{when}: what is behind the volume, in {path}");
        }
    }
}

/// A directory of somebody else that a volume is a mount of, with what is in it.
#[derive(Debug, Clone)]
pub struct Behind {
    path: PathBuf,
    listing: Vec<String>,
}

impl Behind {
    /// Makes one with content.
    fn make(host: &Host<'_>, name: &str) -> Self {
        let path = host.engine.dir().join("behind").join(name);
        fs::create_dir_all(&path)
            .and_then(|()| treasure::fill(&path, name))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let listing = tree_listing(&path);
        assert!(listing.len() > 3, "{} was not filled: {listing:?}", path.display());
        Self { path, listing }
    }
}
