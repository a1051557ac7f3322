//! What always holds, and what must be possible, or the rest would hold of nothing.

use stateright::{Model as _, Property};
use volgc::gc::protocol::Phase;

use super::disk::{FOLLOWED, Slot};
use super::{Action, Exchange, State, User};

pub(super) const WHOLE: &str = "I4: data is whole, in exactly one place";
pub(super) const NAMED: &str = "I4: what is in an entry has a manifest that names it";
pub(super) const RIGHT: &str = "nothing went wrong";
pub(super) const KEPT: &str = "I4: only what is kept is said to be quarantined";
pub(super) const ENDS: &str = "recovery, left alone, ends";
pub(super) const FOUND: &str = "I1: what was held when the engine was asked is not left in quarantine";

pub(super) fn all(exchange: &Exchange) -> Vec<Property<Exchange>> {
    let mut all = vec![
        Property::always(WHOLE, |_, state: &State| {
            let of = |data: u8| state.disk.places(data) == usize::from(!state.disk.has_ended(data));
            let known = u8::try_from(FOLLOWED).unwrap_or(0);
            (0..known).filter(|data| *data <= state.made).all(of)
        }),
        Property::always(NAMED, |_, state: &State| {
            let has_data =
                [state.disk.linked, state.disk.kept].iter().any(|slot| matches!(slot, Slot::Data(_)));
            !has_data || state.disk.phase.is_some()
        }),
        Property::always(KEPT, |_, state: &State| {
            state.disk.phase != Some(Phase::Quarantined) || state.disk.kept == Slot::Data(0)
        }),
        Property::always(RIGHT, |_, state: &State| state.wrong.is_none()),
        Property::always(FOUND, |_, state: &State| {
            let is_kept = state.disk.phase == Some(Phase::Quarantined) && state.program.is_none();
            // Who came after the engine was asked has the name refused.
            let holds = matches!(state.user, Some(User::Created | User::Running(0) | User::ByPath(0)));
            !(is_kept && holds && state.disk.name == Slot::Nothing)
        }),
        Property::always(ENDS, |exchange: &Exchange, state: &State| exchange.recovers(state)),
    ];
    if exchange.mutation.is_none() {
        for told in ["quarantined", "left", "undone", "at rest", "deleted"] {
            let holds = match told {
                "quarantined" => |_: &Exchange, state: &State| state.told == Some("quarantined"),
                "left" => |_: &Exchange, state: &State| state.told == Some("left"),
                "undone" => |_: &Exchange, state: &State| state.told == Some("undone"),
                "at rest" => |_: &Exchange, state: &State| state.told == Some("at rest"),
                _ => |_: &Exchange, state: &State| state.told == Some("deleted"),
            };
            all.push(Property::sometimes(told, holds));
        }
    }
    all
}

impl Exchange {
    /// Whether a recovery that nobody disturbs comes to an end, and leaves nothing to recover.
    fn recovers(&self, state: &State) -> bool {
        if state.program.is_some()
            || state.order.is_some()
            || state.disk.phase.is_none()
            || state.wrong.is_some()
        {
            return true;
        }
        let mut state = state.clone();
        for action in std::iter::once(Action::Recover).chain(std::iter::repeat_n(Action::Step, 40)) {
            state = match self.next_state(&state, action) {
                Some(state) => state,
                None => break,
            };
            if state.program.is_none() {
                return matches!(state.told, Some("quarantined" | "undone" | "at rest"));
            }
        }
        false
    }
}
