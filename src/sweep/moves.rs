//! A volume on its way into quarantine or back, and how its way ends.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::mover::StepError;
use crate::gc::entry::Manifest;
use crate::gc::protocol::wave::Waiting;
use crate::gc::protocol::{
    self, Do, Effect, EntryShows, Fact, NameShows, Names, Outcome, Phase, Record, Route, Standing,
};
use crate::gc::volume::{Class, Unmovable, Volume};
use crate::host::directory::Looks;

/// Why a step of a move was not done.
#[derive(Debug)]
pub(super) enum Reason {
    /// Something speaks against it, in words.
    Objection(String),
    /// It would fail each time.
    Never(Unmovable),
    /// It failed.
    Failure(StepError),
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objection(why) => out.write_str(why),
            Self::Never(why) => out.write_str(why.sentence()),
            Self::Failure(error) => error.fmt(out),
        }
    }
}

impl From<StepError> for Reason {
    fn from(error: StepError) -> Self {
        Self::Failure(error)
    }
}

impl Reason {
    /// The same failure for each of many.
    pub(super) fn shared(error: &Arc<StepError>) -> Self {
        Self::Failure(StepError::Shared(Arc::clone(error)))
    }
}

/// One move.
#[derive(Debug)]
pub(super) struct Move<'v> {
    pub(super) manifest: Manifest,
    /// As it was planned; none in a recovery.
    pub(super) volume: Option<&'v Volume>,
    /// The data, held open so that its inode is no other one's meanwhile, with how it looked when the link was in its place.
    pub(super) data: Option<Pinned>,
    /// Whether the link was ever in the place of the data, so that the history tells of it.
    pub(super) was_linked: bool,
    is_dangling: bool,
    what: Do<Reason>,
}

/// Data that is held open.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) descriptor: OwnedFd,
    /// Right after the exchange.
    pub(super) looks: Option<Looks>,
}

impl<'v> Move<'v> {
    pub(super) fn forward(volume: &'v Volume, manifest: Manifest) -> Self {
        Self::new(manifest, Some(volume), protocol::first())
    }

    pub(super) fn recovery(manifest: Manifest) -> Self {
        let why = Reason::Objection("its move had been interrupted".to_owned());
        Self::new(manifest, None, protocol::recover(why))
    }

    fn new(manifest: Manifest, volume: Option<&'v Volume>, what: Do<Reason>) -> Self {
        Self { manifest, volume, data: None, was_linked: false, is_dangling: false, what }
    }

    pub(super) fn route(&self) -> Route {
        if self.manifest.class == Class::Unlisted { Route::Unlisted } else { Route::Listed }
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        match &self.what {
            Do::Go(_, effect) => Some(Waiting { effect: *effect, is_dangling: self.is_dangling }),
            Do::End(_) => None,
        }
    }

    pub(super) fn is_forward(&self) -> bool {
        matches!(self.what, Do::Go(Standing::Forward, _))
    }

    /// Whether it goes on after a crash: then nothing is in the engine's list as it was.
    pub(super) fn is_recovery(&self) -> bool {
        self.volume.is_none()
    }

    /// Takes up what its effect showed.
    pub(super) fn showed(&mut self, fact: Fact<Reason>) {
        let ended = Do::End(Outcome::Unfinished(Reason::Objection("it had ended".to_owned())));
        let Do::Go(standing, effect) = std::mem::replace(&mut self.what, ended) else { return };
        let is_done = matches!(fact, Fact::Done);
        // Whether or not it says that it failed.
        self.was_linked |= effect == Effect::Exchange;
        if effect == Effect::Hide && !matches!(fact, Fact::Stale) {
            self.is_dangling = self.route() == Route::Listed;
        } else if is_done && matches!(effect, Effect::Order | Effect::Show | Effect::TakeLinkAway) {
            self.is_dangling = false;
        }
        let phase = self.manifest.state.phase().unwrap_or(Phase::Quarantined);
        self.what = protocol::next(Record { route: self.route(), phase }, standing, effect, fact);
    }

    /// How it ended. What has not ended is unfinished.
    pub(super) fn into_end(self) -> (Manifest, Option<&'v Volume>, bool, Outcome<Reason>) {
        let outcome = match self.what {
            Do::End(outcome) => outcome,
            Do::Go(..) => Outcome::Unfinished(Reason::Objection("it was stopped".to_owned())),
        };
        (self.manifest, self.volume, self.was_linked, outcome)
    }
}

/// What the names show where no step of the protocol leaves it so, in words.
pub(super) fn damage(names: Names) -> String {
    let name = match names.name {
        NameShows::Nothing => "there is no volume of its name",
        NameShows::Data => "its volume has the data",
        NameShows::Link => "its volume has our link",
        NameShows::Other => "its name is another volume's",
    };
    let entry = match names.entry {
        EntryShows::Nothing => "the entry has neither data nor link",
        EntryShows::Link => "the entry has the link",
        EntryShows::Linked | EntryShows::Kept => "the entry has the data",
        EntryShows::Caught => "the entry has other data",
        EntryShows::Other => "the entry has something else",
    };
    format!("{name}, and {entry}, which no step of volgc leaves so; nothing was touched")
}

pub(super) fn system(source: rustix::io::Errno) -> StepError {
    StepError::System(source.into())
}
