//! After a crash: the phase in the manifest says how far the move had come, the names say the rest.
//!
//! ```text
//! | after           | phase       | showed             | comes                                                  |
//! |-----------------|-------------|--------------------|--------------------------------------------------------|
//! | ReadNames       | linking     | anything           | `back`                                                 |
//! |                 | forgetting  | link, data kept    | AskName                                                |
//! |                 |             | anything else      | `back`, which keeps what has no name to go back to     |
//! |                 | quarantined | link, data kept    | WriteForgetting: a link came back, as with a power cut |
//! |                 |             | anything else      | the end: at rest                                       |
//! | WriteForgetting |             | done               | AskName                                                |
//! | AskName         |             | it is known        | `back`                                                 |
//! |                 |             | not known          | LookAgain                                              |
//! | LookAgain       |             | nothing against it | on in `forget`                                         |
//! |                 |             | anything else      | `back`: whoever holds it finds it where it was         |
//! | any             |             | it failed          | the end: unfinished                                    |
//! ```

use super::{Do, Effect, Fact, Names, Outcome, Phase, Standing, back};

pub(super) fn next<R>(phase: Phase, why: R, effect: Effect, fact: Fact<R>) -> Do<R> {
    match (effect, fact) {
        (_, Fact::Names(names)) => from(phase, why, names),
        (Effect::WriteForgetting, Fact::Done) => Do::Go(Standing::Recovering(why), Effect::AskName),
        (Effect::AskName, Fact::Done) => Do::Go(Standing::Recovering(why), Effect::LookAgain),
        (Effect::AskName | Effect::LookAgain, Fact::Objection(why)) => {
            Do::Go(Standing::Back(why), Effect::ReadNames)
        }
        (_, Fact::Failed(why) | Fact::Objection(why) | Fact::Silence(why)) => {
            Do::End(Outcome::Unfinished(why))
        }
        (_, Fact::Done | Fact::Stale) => Do::Go(Standing::Forgotten, Effect::ReadNames),
    }
}

fn from<R>(phase: Phase, why: R, names: Names) -> Do<R> {
    let go = |why, effect| Do::Go(Standing::Recovering(why), effect);
    match phase {
        Phase::Forgetting if names.is_dangling() => go(why, Effect::AskName),
        Phase::Linking | Phase::Forgetting => back::from(phase, why, names),
        Phase::Quarantined if names.is_dangling() => go(why, Effect::WriteForgetting),
        Phase::Quarantined => Do::End(Outcome::AtRest),
    }
}
