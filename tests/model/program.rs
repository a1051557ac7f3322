//! volgc's process: its operations, one at a time, each with the fault point that the code passes there.

use volgc::host::fault::Point;

use crate::state::{Answer, State};

/// What volgc is started for. Each begins with recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// A sweep for which nothing is due.
    Recover,
    /// A sweep, or `volgc quarantine`, that takes the volume if nothing holds it.
    Quarantine,
    /// A sweep that deletes an entry.
    Delete(usize),
    /// `volgc restore ENTRY [--as NAME]`.
    Restore(usize, usize),
}

/// Whether the data may be renamed back (`WayBack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    Open,
    Closed,
}

/// What is written into a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    Moving,
    InDoubt {
        asked_directly: bool,
    },
    /// `quarantined` again, or by an undo that cannot be done.
    Quarantined,
    /// `quarantined` by `commit`. An order behind a proxy that is not answered keeps the name unsafe.
    Committed {
        answered: bool,
    },
    Restoring {
        to: usize,
    },
}

/// What is done when an operation before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    Undo(usize),
    Requarantine(usize),
    GiveUp(usize, usize),
}

/// What an undo does when something has taken the data's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taken {
    Keep,
    Commit,
}

/// One operation. An entry is a number, and so is a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// The end of one routine: a failure does not go further.
    Return,
    /// A failure before it ends the routine, whatever handlers there are behind it.
    Bar,
    /// Runs a handler, and ends the routine, when something before it fails.
    Or(Handler),
    /// `drop_empty_entries`.
    DropEmpty,
    /// The two questions of `recover`, `SETTLED` apart, and the list of the entries.
    Settle(Job),
    /// Reads one manifest and where its data is.
    Recover(usize),
    /// `recover_moving`: does the engine know the volume?
    AskMoving(usize),
    /// `engine_lost_it`: does anything want the volume?
    AskWanted(usize),
    /// `recover_in_doubt`: does the engine know the volume?
    AskInDoubt(usize),
    /// `is_still_its_husk`.
    LookAtHusk(usize),
    /// `recover_in_doubt`: does anything hold it?
    AskHeld(usize),
    /// `recover_restoring`: what is in the volume's place?
    LookAtRestored(usize, usize),
    /// `look_again` and the witnesses.
    LookAgain,
    EntryMakeDirectory(usize),
    ManifestWrite(usize),
    ManifestSync(usize),
    ManifestRename(usize, Write),
    ManifestSyncDirectory(usize),
    TakeRename(usize),
    TakeSync(usize),
    /// `reason_to_undo`: the witnesses, and whether the name is still the volume that was taken.
    TakeAskAgain(usize),
    EngineDelete(usize, Way),
    Await(usize, Way),
    EngineDeleted(usize, Way, Answer),
    PutBackRename(usize, Taken),
    PutBackSync(usize),
    DropUnlink(usize),
    DropDirectory(usize),
    /// `check_restorable`.
    CheckRestorable(usize, usize),
    RestoreMakeDirectory(usize),
    RestoreRename(usize, usize),
    RestoreSync(usize),
    EngineCreate(usize, usize),
    EngineCreated,
    RestoreOwnership(usize, usize),
    /// Does the engine know what it made?
    AskMade(usize),
    /// `give_up`: has somebody made the volume meanwhile?
    AskGivenUp(usize, usize),
    RetakeRename(usize, usize),
    /// `give_up`: has somebody made the volume while its data was taken back?
    AskRetaken(usize, usize),
    RemoveEmptyVolume(usize),
    /// `reason_to_keep`.
    DeleteLook(usize),
    DeleteRename(usize),
    DeleteContents(usize),
    DeleteData(usize),
}

impl Op {
    /// The fault point that the code passes right before the effect. Questions have none: they change nothing.
    pub fn point(self) -> Option<Point> {
        match self {
            Self::EntryMakeDirectory(_) => Some(Point::EntryMakeDirectory),
            Self::ManifestWrite(_) => Some(Point::ManifestWrite),
            Self::ManifestSync(_) => Some(Point::ManifestSync),
            Self::ManifestRename(..) => Some(Point::ManifestRename),
            Self::ManifestSyncDirectory(_) => Some(Point::ManifestSyncDirectory),
            Self::TakeRename(_) => Some(Point::TakeRename),
            Self::TakeSync(_) => Some(Point::TakeSync),
            Self::TakeAskAgain(_) => Some(Point::TakeAskAgain),
            Self::EngineDelete(..) => Some(Point::EngineDelete),
            Self::EngineDeleted(..) => Some(Point::EngineDeleted),
            Self::PutBackRename(..) => Some(Point::PutBackRename),
            Self::PutBackSync(_) => Some(Point::PutBackSync),
            Self::DropUnlink(_) => Some(Point::DropUnlink),
            Self::DropDirectory(_) => Some(Point::DropDirectory),
            Self::RestoreMakeDirectory(_) => Some(Point::RestoreMakeDirectory),
            Self::RestoreRename(..) => Some(Point::RestoreRename),
            Self::RestoreSync(_) => Some(Point::RestoreSync),
            Self::EngineCreate(..) => Some(Point::EngineCreate),
            Self::EngineCreated => Some(Point::EngineCreated),
            Self::RestoreOwnership(..) => Some(Point::RestoreOwnership),
            Self::RemoveEmptyVolume(_) => Some(Point::RemoveEmptyVolume),
            Self::DeleteRename(_) => Some(Point::DeleteRename),
            Self::DeleteContents(_) => Some(Point::DeleteContents),
            Self::DeleteData(_) => Some(Point::DeleteData),
            Self::Return
            | Self::Or(_)
            | Self::Bar
            | Self::DropEmpty
            | Self::Settle(_)
            | Self::Recover(_)
            | Self::AskMoving(_)
            | Self::AskWanted(_)
            | Self::AskInDoubt(_)
            | Self::LookAtHusk(_)
            | Self::AskHeld(_)
            | Self::LookAtRestored(..)
            | Self::LookAgain
            | Self::Await(..)
            | Self::CheckRestorable(..)
            | Self::AskMade(_)
            | Self::AskGivenUp(..)
            | Self::RetakeRename(..)
            | Self::AskRetaken(..)
            | Self::DeleteLook(_) => None,
        }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It was done; these come next.
    Then(Vec<Op>),
    /// It was done, these come next, and the rest of the routine does not.
    Instead(Vec<Op>),
    /// It failed.
    Failed,
    /// It still waits.
    Waits,
}

impl Ran {
    /// It was done.
    pub const DONE: Self = Self::Then(Vec::new());
    /// It ends the routine.
    pub const END: Self = Self::Instead(Vec::new());
}

impl State {
    /// What volgc does next.
    pub fn next_op(&self) -> Option<Op> {
        self.program.todo.last().copied()
    }

    /// Puts operations before all others.
    pub fn push(&mut self, ops: Vec<Op>) {
        self.program.todo.extend(ops.into_iter().rev());
        self.tidy();
    }

    /// Leaves the routine, and does these in it first.
    pub fn instead(&mut self, ops: Vec<Op>) {
        while self.program.todo.last().is_some_and(|op| *op != Op::Return) {
            self.program.todo.pop();
        }
        self.push(ops);
    }

    /// The handler of a failure, having left everything before it.
    pub fn unwind(&mut self) -> Option<Handler> {
        let mut barred = false;
        loop {
            match self.program.todo.pop() {
                Some(Op::Or(handler)) if !barred => return Some(handler),
                Some(Op::Bar) => barred = true,
                Some(Op::Return) | None => {
                    self.tidy();
                    return None;
                }
                Some(_) => {}
            }
        }
    }

    /// Ends of routines are no steps.
    fn tidy(&mut self) {
        while matches!(self.program.todo.last(), Some(Op::Return | Op::Or(_) | Op::Bar)) {
            self.program.todo.pop();
        }
        if self.program.todo.is_empty() {
            self.program = crate::state::Program::default();
        }
    }
}
