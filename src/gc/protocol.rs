//! The protocol by which a volume is set aside: what comes next, as a pure function of how things stand and what the last effect showed.
//!
//! `_data` is exchanged with a link into the entry, so that there is no moment in which the data is away. While the link leads to the
//! data, the volume works as before. Then the data takes another name, so that the link leads nowhere, and the engine is asked to forget
//! the volume: with a link that leads nowhere neither its removal nor anything that comes late can reach data.
//!
//! ```text
//!  <volumes>/NAME/_data          <quarantine>/ENTRY/
//!  directory                     link, made ready           as it was
//!  link                          directory `linked`         linked: the volume works
//!  link                          directory `kept`           dangling: starts are refused, the engine is asked
//!  -                             directory `kept`           quarantined
//! ```
//!
//! Each routine is a table: `quarantine` goes forward, `forget` is the end of it, `back` undoes, `recovery` goes on after a crash. The
//! program carries out what [`next`] says, and `tests/model` explores this very function.
//!
//! `R` is why something was not done. It is carried to the end, and never looked at.

mod back;
mod forget;
mod quarantine;
mod recovery;
pub mod wave;

/// How the engine learns that the volume is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// It lists the volume, and is asked to forget it.
    Listed,
    /// It does not list the directory, and must not know the name.
    Unlisted,
}

/// How far a move has come, as the manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The link is being put in the place of the data. Nobody was asked to forget anything.
    Linking,
    /// From here on the engine may have been asked (I5).
    Forgetting,
    /// The engine has forgotten the volume, and no name leads to the data.
    Quarantined,
}

/// What the manifest says of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// How the engine learns of it.
    pub route: Route,
    /// How far it has come.
    pub phase: Phase,
}

/// What `<volumes>/NAME/_data` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameShows {
    /// There is none.
    Nothing,
    /// The directory that the manifest names, in the directory that it names.
    Data,
    /// Our link to the entry.
    Link,
    /// Something else: the name is another volume's, or somebody put something there (I11).
    Other,
}

/// What the entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryShows {
    /// Neither data nor link.
    Nothing,
    /// The link, before it is exchanged or after it was exchanged back.
    Link,
    /// The data that the manifest names, where the link leads.
    Linked,
    /// That data, where the link does not lead.
    Kept,
    /// Another volume's data, where the link leads: it took the place of ours right before the exchange (I11).
    Caught,
    /// Something else.
    Other,
}

/// Both names of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Names {
    /// In the volumes directory.
    pub name: NameShows,
    /// In the quarantine.
    pub entry: EntryShows,
}

impl Names {
    /// Whether the volume's link leads nowhere, and its data is kept.
    pub fn is_dangling(self) -> bool {
        self == Self { name: NameShows::Link, entry: EntryShows::Kept }
    }
}

/// What is to be done. Each is one step that a crash comes before, into, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Look at the volume and ask the witnesses; nothing is written yet (I1).
    Look,
    /// Make the entry: directory, manifest (`Linking`) and link, durable (I4).
    MakeEntry,
    /// Exchange `_data` with the link.
    Exchange,
    /// See whether it was the very data that was looked at which the link has replaced (I11).
    CheckLink,
    /// Look at both names.
    ReadNames,
    /// Make the exchange durable.
    SyncLink,
    /// Write `Forgetting` into the manifest, durably.
    WriteForgetting,
    /// Ask the witnesses again, processes included, and whether the data was changed since (I1).
    LookAgain,
    /// Give the data the name that the link does not lead to, durably.
    Hide,
    /// Ask whether the link is still ours and nothing was heard of the volume since the witnesses were asked.
    LastLook,
    /// Ask the engine once to forget the volume.
    Order,
    /// Ask the engine whether it knows the name.
    AskName,
    /// Give the data the name back that the link leads to.
    Show,
    /// Exchange `_data` back.
    ExchangeBack,
    /// Make that durable, or whatever the volumes directory has of this volume by now.
    SyncBack,
    /// Remove our link, and the volume's directory if there is nothing else in it.
    TakeLinkAway,
    /// Make the volume's directory and the link anew: the engine took the directory for a volume before it was gone.
    LeadBack,
    /// Make it durable that the name is gone.
    SyncName,
    /// Write `Quarantined` into the manifest, durably.
    WriteQuarantined,
    /// Start the entry's clock.
    Commit,
    /// Take the entry away: its data is in the volume (I4).
    DropEntry,
}

/// What an effect showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact<R> {
    /// It is done; nothing speaks against the next step; the engine has forgotten the volume, or does not know it.
    Done,
    /// Something speaks against going on. Of an order: the engine refused. Of a question for a name: the engine knows it.
    Objection(R),
    /// What the names show.
    Names(Names),
    /// It was not done: something was heard since the witnesses were asked, so that they have to be asked again.
    Stale,
    /// The order was sent, and nobody answered: it may still be carried out (I5).
    Silence(R),
    /// It failed. It may have been done.
    Failed(R),
}

/// Where a move is headed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing<R> {
    /// To the quarantine.
    Forward,
    /// The engine does not know the volume any more: the data is kept whatever comes.
    Forgotten,
    /// An order may still be carried out, and nothing else may happen to the name.
    InDoubt(R),
    /// Back to how it was, and why.
    Back(R),
    /// It was interrupted.
    Recovering(R),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Do<R> {
    /// This effect, with this aim.
    Go(Standing<R>, Effect),
    /// Nothing.
    End(Outcome<R>),
}

/// How a move ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome<R> {
    /// The data is in quarantine.
    Quarantined,
    /// Nothing was begun.
    Left(R),
    /// It was begun and undone.
    Undone(R),
    /// Nobody knows whether the engine will still forget the volume. Until it is known, its data is where its name leads, or kept.
    InDoubt(R),
    /// It could be neither finished nor undone; recovery goes on (I12).
    Unfinished(R),
    /// Recovery found it at rest.
    AtRest,
    /// The names show what no step of this protocol leaves: all of it is kept (I2).
    Damaged(Names),
}

/// The first effect of a new move.
pub fn first<R>() -> Do<R> {
    Do::Go(Standing::Forward, Effect::Look)
}

/// The first effect of a recovery. A move in [`Phase::Forgetting`] is taken up only once no order of an earlier run can be on its way (I5).
pub fn recover<R>(why: R) -> Do<R> {
    Do::Go(Standing::Recovering(why), Effect::ReadNames)
}

/// What comes after an effect.
pub fn next<R>(record: Record, standing: Standing<R>, effect: Effect, fact: Fact<R>) -> Do<R> {
    match standing {
        Standing::Forward => quarantine::next(record.route, effect, fact),
        Standing::Forgotten => forget::forgotten(effect, fact),
        Standing::InDoubt(why) => forget::in_doubt(why, effect, fact),
        Standing::Back(why) => back::next(record.phase, why, effect, fact),
        Standing::Recovering(why) => recovery::next(record.phase, why, effect, fact),
    }
}
