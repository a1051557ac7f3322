//! What the users of the volume do.

use super::disk::{Slot, Undo};
use super::{Exchange, State, User};
use volgc::gc::protocol::Phase;

/// One thing that a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// `docker create -v NAME:/d`.
    Create,
    /// `docker start`.
    Start,
    /// `docker run -v <volumes>/NAME/_data:/d`.
    RunByPath,
    /// A program opens something in it.
    Enter,
    /// The container or process ends.
    End,
    /// `docker volume rm`.
    Remove,
    /// `docker volume create`.
    Make,
    /// A backup of the volumes directory is restored.
    BringTheLinkBack,
}

pub(super) fn possible(exchange: &Exchange, state: &State) -> Vec<Act> {
    let mut acts = match state.user {
        None => vec![Act::RunByPath, Act::Enter],
        Some(User::Created) => vec![Act::Start, Act::End],
        Some(User::Running(_) | User::ByPath(_) | User::Process(_)) => vec![Act::End],
    };
    if state.user.is_none() && state.knows {
        acts.extend([Act::Create, Act::Remove]);
    }
    if !state.knows && state.made < exchange.scope.later {
        acts.push(Act::Make);
    }
    let is_restored = !exchange.scope.power_fails;
    if is_restored
        && state.program.is_none()
        && state.disk.phase == Some(Phase::Quarantined)
        && state.disk.name == Slot::Nothing
    {
        acts.push(Act::BringTheLinkBack);
    }
    acts
}

pub(super) fn act(state: &mut State, act: Act) {
    state.heard |= matches!(act, Act::Create | Act::Start | Act::RunByPath);
    match act {
        // A start is refused where the link leads nowhere, and so is a creation that copies up.
        Act::Create if state.led_to().is_some() => state.user = Some(User::Created),
        // Else it is refused, loudly: the link leads nowhere, or there is nothing to mount.
        Act::Start => {
            if let Some(data) = state.led_to() {
                state.user = Some(User::Running(data));
            }
        }
        Act::RunByPath | Act::Enter => {
            if let Some(data) = state.led_to() {
                state.user = Some(if act == Act::Enter { User::Process(data) } else { User::ByPath(data) });
            } else if state.knows
                && state.disk.name == Slot::Nothing
                && state.disk.phase != Some(Phase::Forgetting)
            {
                // While a link that came back is taken away, an engine that was started at that moment has such a name until
                // recovery leads it back.
                state
                    .wrong
                    .get_or_insert("a bind by path makes an empty directory in a volume that has data");
            }
        }
        Act::End => state.user = None,
        Act::Remove => match (state.disk.name, state.led_to()) {
            (Slot::Link, Some(_)) => {}
            (Slot::Data(_) | Slot::Link | Slot::Nothing, _) => state.forget(),
        },
        Act::Make => {
            state.knows = true;
            if state.disk.name == Slot::Nothing {
                state.made += 1;
                let made = state.made;
                state.change(Undo::volume(), |disk| disk.name = Slot::Data(made));
            }
        }
        Act::Create => {}
        Act::BringTheLinkBack => (state.disk.name, state.told) = (Slot::Link, None),
    }
}
