//! Forward, from the last look to the engine's answer.
//!
//! ```text
//! | after           | showed               | comes                                  |
//! |-----------------|----------------------|----------------------------------------|
//! | Look            | nothing against it   | MakeEntry                              |
//! |                 | anything else        | the end: nothing was begun             |
//! | MakeEntry       | done                 | Exchange                               |
//! | Exchange        | done                 | CheckLink                              |
//! | CheckLink       | it was that data     | SyncLink                               |
//! | SyncLink        | done                 | WriteForgetting                        |
//! | WriteForgetting | done                 | LookAgain                              |
//! | LookAgain       | nothing against it   | Hide                                   |
//! | Hide            | something was heard  | LookAgain                              |
//! |                 | done                 | LastLook: starts are refused           |
//! | LastLook        | nothing against it   | Order; of what is not listed, AskName  |
//! | Order, AskName  | forgotten, not known | on in `forget`                         |
//! | Order           | silence              | in doubt, in `forget`                  |
//! | any but Look    | anything else        | `back`, which looks at the names first |
//! ```

use super::{Do, Effect, Fact, Outcome, Route, Standing};

pub(super) fn next<R>(route: Route, effect: Effect, fact: Fact<R>) -> Do<R> {
    match (effect, fact) {
        (Effect::Look, Fact::Objection(why) | Fact::Failed(why) | Fact::Silence(why)) => {
            Do::End(Outcome::Left(why))
        }
        (Effect::Order, Fact::Silence(why)) => Do::Go(Standing::InDoubt(why), Effect::ReadNames),
        (_, Fact::Objection(why) | Fact::Failed(why) | Fact::Silence(why)) => {
            Do::Go(Standing::Back(why), Effect::ReadNames)
        }
        (_, Fact::Stale) => Do::Go(Standing::Forward, Effect::LookAgain),
        (_, Fact::Names(names)) => Do::End(Outcome::Damaged(names)),
        (effect, Fact::Done) => match after(route, effect) {
            Some(effect) => Do::Go(Standing::Forward, effect),
            None => Do::Go(Standing::Forgotten, Effect::ReadNames),
        },
    }
}

/// None after the engine has forgotten the volume.
fn after(route: Route, effect: Effect) -> Option<Effect> {
    match effect {
        Effect::Look => Some(Effect::MakeEntry),
        Effect::MakeEntry => Some(Effect::Exchange),
        Effect::Exchange => Some(Effect::CheckLink),
        Effect::CheckLink => Some(Effect::SyncLink),
        Effect::SyncLink => Some(Effect::WriteForgetting),
        Effect::WriteForgetting => Some(Effect::LookAgain),
        Effect::LookAgain => Some(Effect::Hide),
        Effect::Hide => Some(Effect::LastLook),
        Effect::LastLook => Some(match route {
            Route::Listed => Effect::Order,
            Route::Unlisted => Effect::AskName,
        }),
        Effect::Order
        | Effect::AskName
        | Effect::ReadNames
        | Effect::Show
        | Effect::ExchangeBack
        | Effect::SyncBack
        | Effect::TakeLinkAway
        | Effect::LeadBack
        | Effect::SyncName
        | Effect::WriteQuarantined
        | Effect::Commit
        | Effect::DropEntry => None,
    }
}
