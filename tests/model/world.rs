//! Everything but volgc: the engine, its users, the clock, and the power.

use crate::protocol::{Happening, Scope};
use crate::state::{
    AS, Answer, Container, DB, Data, Delete, Fate, Mark, Phase, Place, Program, State, VolumeDirectory,
    Wants, Wrong,
};

/// What happens outside volgc in a state. False: it cannot happen there.
pub fn happen(scope: &Scope, state: &mut State, happening: Happening) -> bool {
    match happening {
        Happening::DeleteArrives(at) => delete_arrives(state, at),
        Happening::DeleteIsRefused(at) => {
            let delete = state.engine.deletes[at];
            let open = delete.awaited && delete.answer.is_none();
            if open {
                state.change_deletes(|deletes| deletes[at].answer = Some(Answer::Refused));
            }
            open
        }
        Happening::DeleteIsDropped(at) => {
            let gone = !state.engine.deletes[at].awaited;
            state.change_deletes(|deletes| {
                if gone {
                    deletes.remove(at);
                }
            });
            gone
        }
        Happening::AnswerIsLost => lose_answer(state),
        Happening::EngineRestarts => {
            restart(scope, state);
            true
        }
        Happening::AnHourPasses => hour(state),
        Happening::GraceEnds(entry) => grace_ends(state, entry),
        Happening::UserCreates => user_creates(scope, state),
        Happening::UserRemoves => user_removes(state),
        Happening::ContainerBegins => container_begins(scope, state),
        Happening::ContainerBindsPath => {
            let free = state.engine.container.is_none();
            if free {
                state.engine.container =
                    Some(Container { wants: Wants::Path, phase: Phase::Created, found: state.data_of(DB) });
            }
            free
        }
        Happening::ContainerIsMade => container_is_made(state),
        Happening::ContainerCopiesUp => container_copies_up(scope, state),
        Happening::ContainerStarts => container_starts(scope, state),
        Happening::ContainerGoes => state.engine.container.take().is_some(),
    }
}

/// The engine carries out a DELETE: it removes everything in the volume's directory, whatever it is by now.
fn delete_arrives(state: &mut State, at: usize) -> bool {
    let delete = state.engine.deletes[at];
    if delete.answer.is_some() {
        return false;
    }
    let answer = if !state.engine.knows[DB] {
        Answer::Forgotten
    } else if state.is_counted(DB) {
        Answer::Refused
    } else {
        if let Some(data) = state.data_of(DB) {
            hit(state, delete, data);
        }
        state.disk.volumes[DB] = None;
        state.engine.knows[DB] = false;
        Answer::Forgotten
    };
    state.change_deletes(|deletes| {
        deletes[at].answer = Some(answer);
        if !delete.awaited {
            deletes.remove(at);
        }
    });
    true
}

fn hit(state: &mut State, delete: Delete, data: Data) {
    let Some(index) = data.index() else { return };
    if state.moved[index] {
        state.is_wrong(Wrong::DeleteHitWhatWasPutBack);
    } else if delete.seen == Some(data) {
        state.is_wrong(Wrong::DeleteHitWhatWasSeen);
    }
    state.ends(data, Fate::UnderItsPredecessorsDelete);
}

/// The connection breaks, a gateway answers in the engine's place, or patience ends.
fn lose_answer(state: &mut State) -> bool {
    let Some(at) = state.engine.deletes.iter().position(|delete| delete.awaited) else { return false };
    let lost = state.engine.deletes[at];
    if lost.answer == Some(Answer::Unknown) {
        return false;
    }
    state.change_deletes(|deletes| {
        deletes.remove(at);
        deletes.push(Delete { answer: Some(Answer::Unknown), ..lost });
        if lost.answer.is_none() {
            deletes.push(Delete { awaited: false, ..lost });
        }
    });
    true
}

/// It reads the directories again. A DELETE that it had in hand is gone, one that a proxy has is not.
fn restart(scope: &Scope, state: &mut State) {
    for name in [DB, AS] {
        let volume = state.disk.volumes[name];
        state.engine.knows[name] = volume.is_some_and(|volume| volume.data.is_some() || !scope.drops_husks);
    }
    let knows = state.engine.knows[DB];
    if !knows && let Some(container) = state.engine.container.as_mut() {
        // The engine dropped the volume: its data is in quarantine, and the container does not start.
        container.found = None;
    }
    state.engine.container = state.engine.container.and_then(|container| {
        let wants = match container.wants {
            Wants::Name { .. } => Wants::Name { counted: knows },
            Wants::Path => Wants::Path,
        };
        match container.phase {
            // What is not registered is not remembered.
            Phase::Creating => None,
            Phase::Created | Phase::Running(_) => {
                Some(Container { wants, phase: Phase::Created, found: container.found })
            }
        }
    });
    state.change_deletes(|deletes| {
        deletes.retain(|delete| delete.awaited || !delete.direct);
        for delete in deletes.iter_mut().filter(|delete| delete.direct && delete.answer.is_none()) {
            delete.answer = Some(Answer::Unknown);
        }
    });
}

/// Whatever a proxy still had, it has delivered or dropped.
fn hour(state: &mut State) -> bool {
    let before = state.clone();
    if state.engine.deletes.iter().any(|delete| delete.awaited) || state.has_doubt_in_hand() {
        return false;
    }
    state.change_deletes(|deletes| deletes.retain(|delete| delete.direct));
    state.name_unsafe = false;
    for manifest in state.disk.entries.iter_mut().flatten().filter_map(|entry| entry.manifest.as_mut()) {
        manifest.name_unsafe = false;
        if let Mark::InDoubt { old, .. } = &mut manifest.mark {
            *old = true;
        }
    }
    *state != before
}

/// Only where the name is free, which the plan sees to.
fn grace_ends(state: &mut State, number: usize) -> bool {
    let (knows, held) = (state.engine.knows[DB], state.is_held(DB));
    let Some(entry) = state.disk.entries[number].as_mut() else { return false };
    let quarantined = entry.manifest.is_some_and(|manifest| manifest.mark == Mark::Quarantined);
    let ends = quarantined && !entry.due && !entry.deleting && !knows && !held;
    entry.due |= ends;
    ends
}

/// The next data that a user makes, if there may be more.
fn later(scope: &Scope, state: &mut State) -> Option<Data> {
    if state.made >= scope.later {
        return None;
    }
    state.made += 1;
    Some(Data::Later(state.made - 1))
}

/// The engine makes a volume, or takes the directory that is there for one.
fn engine_makes(scope: &Scope, state: &mut State) -> bool {
    let mut volume = state.disk.volumes[DB]
        .unwrap_or_else(|| VolumeDirectory { identity: state.new_identity(), data: None });
    if volume.data.is_none() {
        volume.data = later(scope, state);
        if volume.data.is_none() {
            return false;
        }
    }
    state.disk.volumes[DB] = Some(volume);
    state.engine.knows[DB] = true;
    true
}

fn user_creates(scope: &Scope, state: &mut State) -> bool {
    !state.engine.knows[DB] && engine_makes(scope, state)
}

fn user_removes(state: &mut State) -> bool {
    if !state.engine.knows[DB] || state.is_counted(DB) {
        return false;
    }
    if let Some(data) = state.data_of(DB) {
        state.ends(data, Fate::RemovedByUser);
    }
    if let (Some(volume), Some((_, Place::Volume { name: DB, identity }))) =
        (state.disk.volumes[DB], state.disk.unsynced.renamed)
        && volume.identity == identity
    {
        // No file system removes a directory durably before the rename out of it.
        state.disk.unsynced.renamed = None;
    }
    // What had it for its own has it no more.
    if let Some(container) = state.engine.container.as_mut() {
        container.found = None;
    }
    state.disk.volumes[DB] = None;
    state.engine.knows[DB] = false;
    true
}

fn container_begins(scope: &Scope, state: &mut State) -> bool {
    if state.engine.container.is_some() || !state.engine.knows[DB] && !engine_makes(scope, state) {
        return false;
    }
    state.engine.container = Some(Container {
        wants: Wants::Name { counted: true },
        phase: Phase::Creating,
        found: state.data_of(DB),
    });
    true
}

/// An image without content at the path, or a volume that has some.
fn container_is_made(state: &mut State) -> bool {
    let Some(container) = state.engine.container.as_mut() else { return false };
    let creating = container.phase == Phase::Creating;
    if creating {
        container.phase = Phase::Created;
    }
    creating
}

/// Copy-up into a volume whose `_data` went away between two looks of the engine makes it again.
fn container_copies_up(scope: &Scope, state: &mut State) -> bool {
    let creating = state.engine.container.is_some_and(|container| container.phase == Phase::Creating);
    let Some(mut volume) = state.disk.volumes[DB] else { return false };
    if !creating || volume.data.is_some() {
        return false;
    }
    let Some(data) = later(scope, state) else { return false };
    volume.data = Some(data);
    state.disk.volumes[DB] = Some(volume);
    container_is_made(state)
}

/// By name it needs the data; by path the engine makes what is missing.
fn container_starts(scope: &Scope, state: &mut State) -> bool {
    let Some(container) = state.engine.container else { return false };
    if container.phase != Phase::Created {
        return false;
    }
    let data = match container.wants {
        Wants::Name { .. } if !state.engine.knows[DB] => None,
        Wants::Name { .. } => state.data_of(DB),
        Wants::Path => state.data_of(DB).or_else(|| {
            let identity =
                state.disk.volumes[DB].map_or_else(|| state.new_identity(), |volume| volume.identity);
            let data = later(scope, state)?;
            state.disk.volumes[DB] = Some(VolumeDirectory { identity, data: Some(data) });
            Some(data)
        }),
    };
    let Some(data) = data else { return false };
    let removed = state.fates.contains(&Some(Fate::RemovedByUser));
    if data == Data::Hollow && !removed {
        state.is_wrong(Wrong::StartedOnHollow);
    }
    let wants = match container.wants {
        Wants::Name { .. } => Wants::Name { counted: true },
        Wants::Path => Wants::Path,
    };
    state.engine.container = Some(Container { wants, phase: Phase::Running(data), found: Some(data) });
    true
}

/// volgc is killed: nobody waits any more for what it sent.
pub fn kill(state: &mut State) {
    state.program = Program::default();
    state.change_deletes(|deletes| {
        for delete in deletes.iter_mut() {
            delete.awaited = false;
        }
    });
}

/// The power fails. Each thing that is not synced is there afterwards, or is as it was before: `back` says which of them are.
pub fn power_cut(scope: &Scope, state: &mut State, back: [bool; 3]) -> bool {
    let unsynced = std::mem::take(&mut state.disk.unsynced);
    for (number, before) in unsynced.manifests.into_iter().enumerate() {
        match (before, back[number]) {
            (None, true) => return false,
            (Some(before), true) => {
                if let Some(entry) = state.disk.entries[number].as_mut() {
                    entry.manifest = before;
                }
            }
            (_, false) => {}
        }
        if let Some(entry) = state.disk.entries[number].as_mut() {
            entry.temporary_synced = false;
            // Its name is durable and its content is not: it is empty.
            entry.manifest = entry.manifest.filter(|manifest| !manifest.unsynced);
        }
    }
    match (unsynced.renamed, back[2]) {
        (None, true) => return false,
        (Some((data, place)), true) if !put_where_durable(state, data, place) => return false,
        (_, _) => {}
    }
    kill(state);
    restart(scope, state);
    true
}

/// False: something else has the name in that directory since, and no file system makes that durable without the rename before it.
fn put_where_durable(state: &mut State, data: Data, place: Place) -> bool {
    let there = |state: &State| match place {
        Place::Volume { name, identity } => {
            state.disk.volumes[name].filter(|volume| volume.identity == identity).map(|volume| volume.data)
        }
        Place::Entry(number) => state.disk.entries[number].map(|entry| entry.data),
    };
    match there(state) {
        Some(Some(_)) => return false,
        Some(None) => {}
        None => state.is_wrong(Wrong::LostWithPower),
    }
    for volume in state.disk.volumes.iter_mut().flatten().filter(|volume| volume.data == Some(data)) {
        volume.data = None;
    }
    for entry in state.disk.entries.iter_mut().flatten().filter(|entry| entry.data == Some(data)) {
        entry.data = None;
    }
    match place {
        Place::Volume { name, .. } => {
            state.disk.volumes[name].iter_mut().for_each(|volume| volume.data = Some(data));
        }
        Place::Entry(number) => {
            state.disk.entries[number].iter_mut().for_each(|entry| entry.data = Some(data));
        }
    }
    true
}
