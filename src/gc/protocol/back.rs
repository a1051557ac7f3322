//! Back to how it was, from wherever a move has come to. The names say where that is; they are looked at again after each change, since
//! others change them too.
//!
//! ```text
//! | after            | showed                         | comes                                              |
//! |------------------|--------------------------------|----------------------------------------------------|
//! | ReadNames        | link, data kept                | Show                                               |
//! |                  | link, data linked or caught    | ExchangeBack                                       |
//! |                  | the data in its volume         | SyncBack                                           |
//! |                  | nothing or others', linked     | Hide: there is no name that it could go back to    |
//! |                  | nothing or others', kept       | on in `forget`                                     |
//! |                  | the link in the entry alone    | SyncBack: it was back, and a user has removed it   |
//! |                  | neither, phase linking         | SyncBack: it was removed before it was exchanged   |
//! |                  | anything else                  | the end: damaged                                   |
//! | LeadBack         | done, or the name is taken     | ReadNames                                          |
//! | Show, Hide       | done                           | ReadNames                                          |
//! | ExchangeBack     | done                           | ReadNames                                          |
//! | SyncBack         | done                           | DropEntry, the end: undone (I4: never before that) |
//! | any              | it failed                      | the end: unfinished                                |
//! ```

use super::{Do, Effect, EntryShows, Fact, NameShows, Names, Outcome, Phase, Standing, forget};

pub(super) fn next<R>(phase: Phase, why: R, effect: Effect, fact: Fact<R>) -> Do<R> {
    match (effect, fact) {
        (_, Fact::Names(names)) => from(phase, why, names),
        (Effect::LeadBack, Fact::Objection(why)) => Do::Go(Standing::Back(why), Effect::ReadNames),
        (_, Fact::Failed(why) | Fact::Objection(why) | Fact::Silence(why)) => {
            Do::End(Outcome::Unfinished(why))
        }
        (Effect::SyncBack, Fact::Done) => Do::Go(Standing::Back(why), Effect::DropEntry),
        (Effect::DropEntry, Fact::Done) => Do::End(Outcome::Undone(why)),
        (_, Fact::Done | Fact::Stale) => Do::Go(Standing::Back(why), Effect::ReadNames),
    }
}

pub(super) fn from<R>(phase: Phase, why: R, names: Names) -> Do<R> {
    let effect = match (names.name, names.entry) {
        (NameShows::Link, EntryShows::Kept) => Effect::Show,
        (NameShows::Link, EntryShows::Linked | EntryShows::Caught) => Effect::ExchangeBack,
        (NameShows::Nothing | NameShows::Other, EntryShows::Linked) => Effect::Hide,
        (NameShows::Nothing | NameShows::Other, EntryShows::Kept) => return forget::unless_known(names),
        (NameShows::Data, EntryShows::Nothing | EntryShows::Link)
        | (NameShows::Nothing | NameShows::Other, EntryShows::Link) => Effect::SyncBack,
        (NameShows::Nothing | NameShows::Other, EntryShows::Nothing) if phase == Phase::Linking => {
            Effect::SyncBack
        }
        _ => return Do::End(Outcome::Damaged(names)),
    };
    Do::Go(Standing::Back(why), effect)
}
