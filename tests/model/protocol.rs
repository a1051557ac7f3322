//! The protocol as a state machine: what can happen in a state, and what follows.

use std::sync::atomic::{AtomicBool, Ordering};

use volgc::host::fault::Point;

use crate::mutation::Mutation;
use crate::program::{Handler, Job, Op, Ran, Write};
use crate::state::{AS, DB, ENTRIES, Mark, State};
use crate::world;

/// How much of the world takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// For messages.
    pub name: &'static str,
    /// An engine from 29.4 on, which at its start drops a volume without `_data`.
    pub drops_husks: bool,
    /// volgc may reach the engine through a proxy.
    pub proxy: bool,
    /// The power may fail.
    pub power_fails: bool,
    /// Users make containers.
    pub containers: bool,
    /// `restore --as`.
    pub restores_as: bool,
    /// How many times users make new data under the name.
    pub later: u8,
    /// That a name is unsafe is remembered when its entry is gone (`unsafe.NAME`).
    pub remembers_names: bool,
    /// How many entries the quarantine has at one time.
    pub entries: usize,
}

/// The protocol within a scope, whole or with one mutation.
#[derive(Debug)]
pub struct Protocol {
    pub scope: Scope,
    pub mutation: Option<Mutation>,
    /// Which fault points were passed, in the order of `Point::ALL`.
    pub passed: Vec<AtomicBool>,
}

/// What happens outside volgc. Nothing of it is bounded in number, but for new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    DeleteArrives(usize),
    DeleteIsRefused(usize),
    DeleteIsDropped(usize),
    AnswerIsLost,
    EngineRestarts,
    AnHourPasses,
    GraceEnds(usize),
    /// `docker volume create db`.
    UserCreates,
    /// `docker volume rm db`.
    UserRemoves,
    /// `docker create -v db:/x`.
    ContainerBegins,
    /// `docker create -v <volumes>/db/_data:/x`.
    ContainerBindsPath,
    ContainerIsMade,
    ContainerCopiesUp,
    ContainerStarts,
    /// `docker rm -f`.
    ContainerGoes,
}

/// One transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start(Job, Route),
    /// volgc does what it does next.
    Step(Op),
    /// What it does next fails, and has no effect.
    Fails(Op),
    /// The engine made the volume, and its answer is lost.
    CreateUnanswered,
    /// The engine made no volume, and says so.
    CreateRefused,
    Kill,
    /// What of the unsynced is as before: the manifests, the renamed data.
    PowerFails([bool; 3]),
    World(Happening),
}

/// How volgc reaches the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Direct,
    Proxy,
}

impl Protocol {
    pub fn new(scope: Scope, mutation: Option<Mutation>) -> Self {
        Self { scope, mutation, passed: Point::ALL.iter().map(|_| AtomicBool::new(false)).collect() }
    }

    /// Whether it is mutated so.
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Everything that may be tried in a state.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        match state.next_op() {
            None => self.starts(state, actions),
            Some(op) => {
                actions.extend([Action::Step(op), Action::Kill]);
                if !matches!(op, Op::Await(..)) {
                    actions.push(Action::Fails(op));
                }
                if matches!(op, Op::EngineCreate(..)) {
                    actions.extend([Action::CreateUnanswered, Action::CreateRefused]);
                }
            }
        }
        if self.scope.power_fails {
            for choice in 0_u8..8 {
                actions.push(Action::PowerFails([choice & 1 != 0, choice & 2 != 0, choice & 4 != 0]));
            }
        }
        for at in 0..state.engine.deletes.len() {
            let each = [
                Happening::DeleteArrives(at),
                Happening::DeleteIsRefused(at),
                Happening::DeleteIsDropped(at),
            ];
            actions.extend(each.map(Action::World));
        }
        actions.extend((0..ENTRIES).map(|entry| Action::World(Happening::GraceEnds(entry))));
        if self.scope.proxy {
            actions.push(Action::World(Happening::AnHourPasses));
        }
        let always = [
            Happening::AnswerIsLost,
            Happening::EngineRestarts,
            Happening::UserCreates,
            Happening::UserRemoves,
        ];
        actions.extend(always.map(Action::World));
        if self.scope.containers {
            let containers = [
                Happening::ContainerBegins,
                Happening::ContainerBindsPath,
                Happening::ContainerIsMade,
                Happening::ContainerCopiesUp,
                Happening::ContainerStarts,
                Happening::ContainerGoes,
            ];
            actions.extend(containers.map(Action::World));
        }
    }

    fn starts(&self, state: &State, actions: &mut Vec<Action>) {
        let mut jobs = vec![Job::Recover, Job::Quarantine];
        for (number, entry) in state.disk.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            if entry.due || entry.deleting || self.mutation.is_some() {
                jobs.push(Job::Delete(number));
            }
            jobs.push(Job::Restore(number, DB));
            if self.scope.restores_as {
                jobs.push(Job::Restore(number, AS));
            }
        }
        for job in jobs {
            actions.push(Action::Start(job, Route::Direct));
            if self.scope.proxy {
                actions.push(Action::Start(job, Route::Proxy));
            }
        }
    }

    /// The state after an action; none when it cannot happen.
    pub fn after(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Start(job, route) => {
                state.program.direct = route == Route::Direct;
                state.push(vec![Op::DropEmpty, Op::Settle(job)]);
            }
            Action::Step(op) => {
                if let Some(at) = op.point().and_then(|point| Point::ALL.iter().position(|one| *one == point))
                {
                    self.passed[at].store(true, Ordering::Relaxed);
                }
                state.program.todo.pop();
                match self.run(&mut state, op) {
                    Ran::Then(ops) => state.push(ops),
                    Ran::Instead(ops) => state.instead(ops),
                    Ran::Failed => self.fail(&mut state),
                    Ran::Waits => return None,
                }
            }
            Action::Fails(_) => {
                state.program.todo.pop();
                self.fail(&mut state);
            }
            Action::CreateUnanswered | Action::CreateRefused => {
                let Some(Op::EngineCreate(entry, name)) = state.program.todo.pop() else { return None };
                if action == Action::CreateRefused {
                    let ops = self.give_up(&state, entry, name);
                    state.instead(ops);
                } else {
                    Self::create_volume(&mut state, name);
                    self.fail(&mut state);
                }
            }
            Action::Kill => world::kill(&mut state),
            Action::PowerFails(back) => {
                if !world::power_cut(&self.scope, &mut state, back) {
                    return None;
                }
            }
            Action::World(happening) => {
                if !world::happen(&self.scope, &mut state, happening) {
                    return None;
                }
            }
        }
        Some(state)
    }

    fn fail(&self, state: &mut State) {
        state.program.subject = None;
        state.program.seen = None;
        let ops = match state.unwind() {
            None => return,
            Some(Handler::Undo(entry)) => self.undo(state, entry),
            Some(Handler::Requarantine(entry)) => self.write(entry, Write::Quarantined),
            Some(Handler::GiveUp(entry, name)) => self.give_up(state, entry, name),
        };
        state.instead(ops);
    }

    fn run(&self, state: &mut State, op: Op) -> Ran {
        match op {
            Op::Return | Op::Or(_) | Op::Bar | Op::EngineCreated | Op::ManifestWrite(_) => Ran::DONE,
            Op::DropEmpty => Self::drop_empty(state),
            Op::Settle(job) => self.settle(state, job),
            Op::Recover(entry) => self.recover(state, entry),
            Op::AskMoving(entry) => self.ask_moving(state, entry),
            Op::AskWanted(entry) => self.ask_wanted(state, entry),
            Op::AskInDoubt(entry) => self.ask_in_doubt(state, entry),
            Op::LookAtHusk(entry) => self.look_at_husk(state, entry),
            Op::AskHeld(entry) => self.ask_held(state, entry),
            Op::LookAtRestored(entry, name) => self.look_at_restored(state, entry, name),
            Op::LookAgain => self.look_again(state),
            Op::EntryMakeDirectory(entry) => Self::make_entry(state, entry),
            Op::ManifestSync(entry) => sync_temporary(state, entry),
            Op::ManifestRename(entry, what) => self.rename_manifest(state, entry, what),
            Op::ManifestSyncDirectory(entry) => {
                state.disk.unsynced.manifests[entry] = None;
                Ran::DONE
            }
            Op::TakeRename(entry) => self.take(state, entry),
            Op::TakeSync(_) | Op::PutBackSync(_) | Op::RestoreSync(_) => {
                state.disk.unsynced.renamed = None;
                Ran::DONE
            }
            Op::TakeAskAgain(entry) => self.ask_again(state, entry),
            Op::EngineDelete(..) => Self::send_delete(state),
            Op::Await(entry, way) => Self::take_answer(state, entry, way),
            Op::EngineDeleted(entry, way, answer) => self.answered(state, entry, way, answer),
            Op::PutBackRename(entry, taken) => self.put_back(state, entry, taken),
            Op::DropUnlink(entry) => self.drop_manifest(state, entry),
            Op::DropDirectory(entry) => Self::drop_directory(state, entry),
            Op::CheckRestorable(entry, name) => self.check_restorable(state, entry, name),
            Op::RestoreMakeDirectory(name) => self.make_volume_directory(state, name),
            Op::RestoreRename(entry, name) => self.give(state, entry, name),
            Op::EngineCreate(_, name) => Self::create_volume(state, name),
            Op::RestoreOwnership(entry, name) => Self::set_ownership(state, entry, name),
            Op::AskMade(name) => {
                if state.engine.knows[name] {
                    Ran::DONE
                } else {
                    Ran::Failed
                }
            }
            Op::AskGivenUp(entry, name) => Self::ask_given_up(state, entry, name),
            Op::RetakeRename(entry, name) => self.retake(state, entry, name),
            Op::AskRetaken(entry, name) => self.ask_retaken(state, entry, name),
            Op::RemoveEmptyVolume(name) => Self::remove_empty_volume(state, name),
            Op::DeleteLook(entry) => self.delete_look(state, entry),
            Op::DeleteRename(entry) => self.delete_rename(state, entry),
            Op::DeleteContents(entry) => Self::delete_contents(state, entry),
            Op::DeleteData(entry) => Self::delete_data(state, entry),
        }
    }

    /// Whether volgc, started again and left alone, finishes or undoes all that was begun. By then every DELETE is delivered or
    /// dropped, and a proxy has none.
    pub fn recovers(&self, state: &State) -> bool {
        if state.runs() || !has_unfinished(state) {
            return true;
        }
        let mut arrived = state.clone();
        while !arrived.engine.deletes.is_empty() {
            if !world::happen(&self.scope, &mut arrived, Happening::DeleteArrives(0)) {
                return false;
            }
        }
        let mut dropped = state.clone();
        dropped.engine.deletes.clear();
        [arrived, dropped].into_iter().all(|state| self.recovers_undisturbed(state))
    }

    fn recovers_undisturbed(&self, mut state: State) -> bool {
        world::happen(&self.scope, &mut state, Happening::AnHourPasses);
        let Some(mut state) = self.after(&state, Action::Start(Job::Recover, Route::Direct)) else {
            return false;
        };
        for _ in 0..200 {
            let Some(op) = state.next_op() else { return !has_unfinished(&state) };
            if matches!(op, Op::Await(..)) {
                world::happen(&self.scope, &mut state, Happening::DeleteArrives(0));
            }
            let Some(next) = self.after(&state, Action::Step(op)) else { return false };
            state = next;
        }
        false
    }
}

/// Whether any entry is half done. A deletion that was begun is not: its next sweep goes on with it.
pub fn has_unfinished(state: &State) -> bool {
    state.disk.entries.iter().flatten().any(|entry| {
        !entry.deleting && !entry.manifest.is_some_and(|manifest| manifest.mark == Mark::Quarantined)
    })
}

fn sync_temporary(state: &mut State, number: usize) -> Ran {
    let Some(entry) = state.disk.entries[number].as_mut() else { return Ran::Failed };
    entry.temporary_synced = true;
    Ran::DONE
}
