//! What always holds, and what must be possible, or the rest would hold of nothing.

use stateright::{Model, Property};

use crate::protocol::{Action, Protocol};
use crate::state::{Container, DB, Data, FOLLOWED, Fate, Mark, Phase, State, Wrong};

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is wrong already needs no further look, and neither does a world without data to lose.
        let left = followed(state).any(|data| data.index().is_some_and(|index| state.fates[index].is_none()));
        if state.wrong.is_none() && left {
            self.possible(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always();
        if self.mutation.is_none() {
            properties.extend(possible());
            if self.scope.later > 0 {
                properties.push(Property::sometimes("its name is used again", |_, state: &State| {
                    is_original_in(state, Mark::Quarantined) && state.data_of(DB).is_some()
                }));
                properties.push(Property::sometimes("a DELETE hits a successor", |_, state: &State| {
                    state.fates.contains(&Some(Fate::UnderItsPredecessorsDelete))
                }));
            }
            if self.scope.entries > 1 {
                properties.push(Property::sometimes("two entries have data", |_, state: &State| {
                    state.disk.entries.iter().flatten().filter(|entry| entry.data.is_some()).count() == 2
                }));
            }
        }
        properties
    }
}

/// The promises.
fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always("I4: data is whole and in exactly one place", |_, state: &State| {
            followed(state).all(|data| {
                places(state, data) == usize::from(state.fates[data.index().unwrap_or(0)].is_none())
            })
        }),
        Property::always("I4: a manifest names the data that is not in its volume", |_, state: &State| {
            state.disk.entries.iter().flatten().all(|entry| {
                entry.deleting
                    || entry
                        .data
                        .is_none_or(|data| entry.manifest.is_some_and(|manifest| manifest.data == data))
            })
        }),
        Property::always("I5: a DELETE never hits data that was put back", |_, state: &State| {
            state.wrong != Some(Wrong::DeleteHitWhatWasPutBack)
        }),
        Property::always("I1: a DELETE never hits what was there at the last look", |_, state: &State| {
            state.wrong != Some(Wrong::DeleteHitWhatWasSeen)
        }),
        Property::always("I3: only what is quarantined, due and unused is deleted", |_, state: &State| {
            state.wrong != Some(Wrong::DeletedTooEarly)
        }),
        Property::always("I7: a restore overwrites nothing", |_, state: &State| {
            state.wrong != Some(Wrong::Overwritten)
        }),
        Property::always("I4: a power cut loses nothing", |_, state: &State| {
            state.wrong != Some(Wrong::LostWithPower)
        }),
        Property::always("no container starts on the empty volume of a restore", |_, state: &State| {
            state.wrong != Some(Wrong::StartedOnHollow)
        }),
        Property::always("I1: what is in use does not stay in quarantine", |_, state: &State| {
            (0..state.disk.entries.len()).all(|entry| !is_kept_from_its_user(state, entry))
        }),
        Property::always("nothing stays half done", Protocol::recovers),
    ]
}

/// What happens in some state.
fn possible() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("the volume is quarantined", |_, state: &State| {
            is_original_in(state, Mark::Quarantined) && !state.engine.knows[DB] && !state.runs()
        }),
        Property::sometimes("it is restored", |_, state: &State| {
            let made_again = state.disk.volumes[DB].is_some_and(|volume| volume.identity != 0);
            made_again && state.data_of(DB) == Some(Data::Original) && !state.runs()
        }),
        Property::sometimes("it is deleted when it is due", |_, state: &State| {
            state.fates[0] == Some(Fate::Deleted)
        }),
        Property::sometimes("a user removes it", |_, state: &State| {
            state.fates[0] == Some(Fate::RemovedByUser)
        }),
        Property::sometimes("a container runs on it while it is moved", |_, state: &State| {
            is_original_in(state, Mark::Moving)
                && state.is_entry_used(state.entry_with(Data::Original).unwrap_or(0))
        }),
    ]
}

fn is_original_in(state: &State, mark: Mark) -> bool {
    let manifest = state.entry_with(Data::Original).and_then(|entry| state.manifest(entry));
    manifest.is_some_and(|manifest| manifest.mark == mark)
}

/// The data that there is, or was.
fn followed(state: &State) -> impl Iterator<Item = Data> {
    let later =
        (0..state.made).map(Data::Later).filter(|data| data.index().is_some_and(|index| index < FOLLOWED));
    std::iter::once(Data::Original).chain(later)
}

/// Where it is whole.
fn places(state: &State, data: Data) -> usize {
    let volumes = state.disk.volumes.iter().flatten().filter(|volume| volume.data == Some(data)).count();
    let emptied = data.index().is_some_and(|index| state.fates[index] == Some(Fate::Deleted));
    let entries = state.disk.entries.iter().flatten().filter(|entry| entry.data == Some(data)).count();
    volumes + if emptied { 0 } else { entries }
}

/// Quarantined, though a container was made or started when it was in its volume; and nothing has its place.
fn is_kept_from_its_user(state: &State, number: usize) -> bool {
    let (Some(manifest), Some(entry)) = (state.manifest(number), state.disk.entries[number]) else {
        return false;
    };
    if manifest.mark != Mark::Quarantined || entry.data.is_none() {
        return false;
    }
    let found = |container: Container| container.phase != Phase::Creating && container.found == entry.data;
    state.data_of(DB).is_none() && state.engine.container.is_some_and(found)
}
