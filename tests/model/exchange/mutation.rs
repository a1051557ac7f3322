//! Protocols that are wrong. Each must break a promise: they prove that the model would notice.

use volgc::gc::protocol::{Do, Effect, Fact, Outcome, Standing};

use super::Why;
use super::promises::{ENDS, FOUND, KEPT, NAMED, RIGHT};

/// One change of what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// It is not seen whose data the link has replaced.
    TakesWhatItCaught,
    /// What was heard since the witnesses were asked does not matter.
    HearsNothing,
    /// The witnesses are not asked again.
    LooksOnce,
    /// Recovery does not wait until no order can be on its way.
    RecoversUnderAnOrder,
    /// The move is undone while an order is on its way.
    UndoesUnderAnOrder,
    /// `Quarantined` is written before the name is durably gone.
    TrustsTheAnswer,
    /// The entry goes before its data is durably back.
    DropsTheEntryFirst,
    /// No answer is taken for done.
    TakesSilenceForDone,
    /// A link that came back is left.
    LeavesTheLink,
    /// A link that came back is followed under a manifest that says that nobody was asked.
    FollowsTheLinkAtOnce,
}

impl Mutation {
    /// All of them, each with a promise that it breaks.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::TakesWhatItCaught, ENDS),
        (Self::HearsNothing, FOUND),
        (Self::LooksOnce, FOUND),
        (Self::RecoversUnderAnOrder, RIGHT),
        (Self::UndoesUnderAnOrder, RIGHT),
        (Self::TrustsTheAnswer, RIGHT),
        (Self::DropsTheEntryFirst, NAMED),
        (Self::TakesSilenceForDone, RIGHT),
        (Self::LeavesTheLink, RIGHT),
        (Self::FollowsTheLinkAtOnce, KEPT),
    ];

    pub(super) fn changes(
        self,
        standing: &Standing<Why>,
        fact: &Fact<Why>,
        effect: Effect,
        usual: Do<Why>,
    ) -> Do<Why> {
        let go = |effect| Do::Go(Standing::Forward, effect);
        let forgotten = |effect| Do::Go(Standing::Forgotten, effect);
        match (self, standing, effect, fact, &usual) {
            (Self::TakesWhatItCaught, Standing::Forward, Effect::CheckLink, Fact::Objection(_), _) => {
                go(Effect::SyncLink)
            }
            (Self::LooksOnce, Standing::Forward, Effect::LookAgain, Fact::Objection(_), _) => {
                go(Effect::Hide)
            }
            (Self::UndoesUnderAnOrder, Standing::Forward, Effect::Order, Fact::Silence(why), _) => {
                Do::Go(Standing::Back(why), Effect::ReadNames)
            }
            (Self::TakesSilenceForDone, Standing::Forward, Effect::Order, Fact::Silence(_), _) => {
                forgotten(Effect::ReadNames)
            }
            (Self::TrustsTheAnswer, _, _, _, Do::Go(Standing::Forgotten, Effect::SyncName)) => {
                forgotten(Effect::WriteQuarantined)
            }
            (Self::DropsTheEntryFirst, _, _, _, Do::Go(Standing::Back(why), Effect::SyncBack)) => {
                Do::Go(Standing::Back(why), Effect::DropEntry)
            }
            (
                Self::LeavesTheLink,
                Standing::Recovering(_),
                Effect::ReadNames,
                _,
                Do::Go(_, Effect::WriteForgetting),
            ) => Do::End(Outcome::AtRest),
            (
                Self::FollowsTheLinkAtOnce,
                Standing::Recovering(why),
                Effect::ReadNames,
                _,
                Do::Go(_, Effect::WriteForgetting),
            ) => Do::Go(Standing::Back(why), Effect::ReadNames),
            _ => usual,
        }
    }
}
