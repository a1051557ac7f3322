//! The end of a quarantine, once the engine has forgotten the volume, and what is done when nobody knows whether it has.
//!
//! Forgotten, the data is kept whatever comes:
//!
//! ```text
//! | after            | showed                         | comes                                             |
//! |------------------|--------------------------------|---------------------------------------------------|
//! | ReadNames        | data linked                    | Hide                                              |
//! |                  | link, data kept                | TakeLinkAway                                      |
//! |                  | nothing or others', data kept  | SyncName                                          |
//! |                  | anything else                  | the end: damaged                                  |
//! | Hide             | done                           | ReadNames                                         |
//! | TakeLinkAway     | done                           | AskName: an engine that was started meanwhile     |
//! |                  |                                | has taken the directory for a volume              |
//! |                  | not our link any more          | SyncName                                          |
//! | AskName          | not known                      | SyncName                                          |
//! |                  | known                          | LeadBack, on in `back`                            |
//! | SyncName         | done                           | WriteQuarantined: not before, or a power cut      |
//! |                  |                                | brings the name back to data that is deleted (I13)|
//! | WriteQuarantined | done                           | Commit, the end: quarantined                      |
//! ```
//!
//! In doubt, the data goes back to where its name leads: an order that comes late is refused there, and users go on. Everything else
//! waits for the recovery, which knows when no order can come any more:
//!
//! ```text
//! | after     | showed          | comes             |
//! |-----------|-----------------|-------------------|
//! | ReadNames | link, data kept | Show              |
//! |           | anything else   | the end: in doubt |
//! | Show      | anything        | the end: in doubt |
//! ```

use super::{Do, Effect, EntryShows, Fact, NameShows, Names, Outcome, Standing};

pub(super) fn forgotten<R>(effect: Effect, fact: Fact<R>) -> Do<R> {
    let go = |effect| Do::Go(Standing::Forgotten, effect);
    match (effect, fact) {
        (_, Fact::Names(names)) => from(names),
        (Effect::TakeLinkAway, Fact::Objection(_)) | (Effect::AskName, Fact::Done) => go(Effect::SyncName),
        (Effect::TakeLinkAway, Fact::Done) => go(Effect::AskName),
        (Effect::AskName, Fact::Objection(why)) => Do::Go(Standing::Back(why), Effect::LeadBack),
        (_, Fact::Failed(why) | Fact::Objection(why) | Fact::Silence(why)) => {
            Do::End(Outcome::Unfinished(why))
        }
        (Effect::SyncName, Fact::Done) => go(Effect::WriteQuarantined),
        (Effect::WriteQuarantined, Fact::Done) => go(Effect::Commit),
        (Effect::Commit, Fact::Done) => Do::End(Outcome::Quarantined),
        (_, Fact::Done | Fact::Stale) => go(Effect::ReadNames),
    }
}

pub(super) fn from<R>(names: Names) -> Do<R> {
    let effect = match (names.name, names.entry) {
        (NameShows::Nothing | NameShows::Link | NameShows::Other, EntryShows::Linked) => Effect::Hide,
        (NameShows::Link, EntryShows::Kept) => Effect::TakeLinkAway,
        (NameShows::Nothing | NameShows::Other, EntryShows::Kept) => Effect::SyncName,
        _ => return Do::End(Outcome::Damaged(names)),
    };
    Do::Go(Standing::Forgotten, effect)
}

/// The same where it is not the engine's answer to us that says that it has forgotten the volume: a name that shows nothing may be that
/// of a volume still.
pub(super) fn unless_known<R>(names: Names) -> Do<R> {
    match (names.name, names.entry) {
        (NameShows::Nothing, EntryShows::Kept) => Do::Go(Standing::Forgotten, Effect::AskName),
        _ => from(names),
    }
}

pub(super) fn in_doubt<R>(why: R, effect: Effect, fact: Fact<R>) -> Do<R> {
    match (effect, fact) {
        (Effect::ReadNames, Fact::Names(names)) if names.is_dangling() => {
            Do::Go(Standing::InDoubt(why), Effect::Show)
        }
        (
            _,
            Fact::Names(_)
            | Fact::Done
            | Fact::Stale
            | Fact::Objection(_)
            | Fact::Silence(_)
            | Fact::Failed(_),
        ) => Do::End(Outcome::InDoubt(why)),
    }
}
