//! Recovery (`sweep/recover.rs`).

use crate::mutation::Mutation;
use crate::program::{Job, Op, Ran, Taken, Way, Write};
use crate::protocol::Protocol;
use crate::state::{DB, ENTRIES, Mark, State};

impl Protocol {
    /// `drop_empty_entries`.
    pub fn drop_empty(state: &mut State) -> Ran {
        for number in 0..ENTRIES {
            let empty = |entry: crate::state::Entry| {
                entry.manifest.is_none() && entry.data.is_none() && !entry.deleting
            };
            if state.disk.entries[number].is_some_and(empty) {
                state.disk.entries[number] = None;
                state.disk.unsynced.manifests[number] = None;
            }
        }
        Ran::DONE
    }

    /// The engine has settled: whatever was sent to it directly by one who is gone, is done or dropped. Then entry after entry.
    pub fn settle(&self, state: &State, job: Job) -> Ran {
        let doubt = (0..ENTRIES).any(|entry| {
            state.manifest(entry).is_some_and(|manifest| matches!(manifest.mark, Mark::InDoubt { .. }))
        });
        let on_its_way = state.engine.deletes.iter().any(|delete| delete.direct);
        if doubt && on_its_way && !self.is(Mutation::RecoversWithoutWaiting) {
            return Ran::Waits;
        }
        let mut ops = Vec::new();
        for entry in 0..ENTRIES {
            ops.extend([Op::Recover(entry), Op::Return]);
        }
        if self.is(Mutation::RecoversNothing) {
            ops.clear();
        }
        ops.extend(match job {
            Job::Recover => None,
            Job::Quarantine => Some(Op::LookAgain),
            Job::Delete(entry) => Some(Op::DeleteLook(entry)),
            Job::Restore(entry, name) => Some(Op::CheckRestorable(entry, name)),
        });
        Ran::Then(ops)
    }

    /// What the manifest and the place of the data say.
    pub fn recover(&self, state: &State, number: usize) -> Ran {
        let Some(entry) = state.disk.entries[number] else { return Ran::END };
        let Some(manifest) = entry.manifest else { return Ran::END };
        if entry.deleting {
            return Ran::END;
        }
        match manifest.mark {
            Mark::Quarantined => Ran::END,
            Mark::Moving | Mark::InDoubt { .. } if entry.data.is_none() => {
                Ran::Then(self.undo(state, number))
            }
            Mark::Moving => Ran::Then(vec![Op::AskMoving(number)]),
            Mark::InDoubt { .. } => Ran::Then(vec![Op::AskInDoubt(number)]),
            Mark::Restoring { to } => Ran::Then(vec![Op::LookAtRestored(number, to)]),
        }
    }

    /// `recover_moving`.
    pub fn ask_moving(&self, state: &State, entry: usize) -> Ran {
        if state.engine.knows[DB] {
            Ran::Then(self.back(state, entry, Taken::Commit))
        } else {
            Ran::Then(vec![Op::AskWanted(entry)])
        }
    }

    /// `engine_lost_it`.
    pub fn ask_wanted(&self, state: &State, entry: usize) -> Ran {
        let commit = self.write(entry, Write::Committed { answered: false });
        let restore = state.is_held(DB).then_some(Op::CheckRestorable(entry, DB));
        Ran::Then([vec![Op::RemoveEmptyVolume(DB)], commit, restore.into_iter().collect()].concat())
    }

    /// `recover_in_doubt`, first question.
    pub fn ask_in_doubt(&self, state: &State, entry: usize) -> Ran {
        if self.is(Mutation::UndoesEveryDoubt) && state.engine.knows[DB] {
            return Ran::Then(self.undo(state, entry));
        }
        if state.engine.knows[DB] {
            return Ran::Then(vec![Op::LookAtHusk(entry)]);
        }
        let commit = self.write(entry, Write::Committed { answered: false });
        Ran::Then([vec![Op::RemoveEmptyVolume(DB)], commit].concat())
    }

    /// `recover_in_doubt`: the name is another volume's by now.
    pub fn look_at_husk(&self, state: &mut State, entry: usize) -> Ran {
        state.program.seen = state.data_of(DB);
        if Self::is_its_husk(state, entry) {
            Ran::Then(vec![Op::AskHeld(entry)])
        } else {
            Ran::Then(self.write(entry, Write::Committed { answered: false }))
        }
    }

    /// `recover_in_doubt`: forward for nobody, back for a holder, and only on proof.
    pub fn ask_held(&self, state: &State, entry: usize) -> Ran {
        let Some(manifest) = state.manifest(entry) else { return Ran::Failed };
        let proven = match manifest.mark {
            Mark::InDoubt { asked_directly, old } => asked_directly || old,
            Mark::Moving | Mark::Quarantined | Mark::Restoring { .. } => return Ran::Failed,
        };
        let way = if proven || self.is(Mutation::TrustsAProxy) { Way::Open } else { Way::Closed };
        match (state.is_held(DB), way) {
            (false, _) => Ran::Then(self.forget(state, entry, way)),
            (true, Way::Open) => Ran::Then(self.back(state, entry, Taken::Commit)),
            (true, Way::Closed) => Ran::END,
        }
    }

    /// `recover_restoring`.
    pub fn look_at_restored(&self, state: &State, number: usize, name: usize) -> Ran {
        let Some(entry) = state.disk.entries[number] else { return Ran::Failed };
        let there = state.disk.volumes[name];
        if entry.data.is_some() {
            if there.is_some_and(|volume| volume.data.is_none()) {
                let place = vec![Op::RestoreRename(number, name), Op::RestoreSync(number)];
                return Ran::Then([place, Self::finish_restore(number, name)].concat());
            }
            return Ran::Then(self.write(number, Write::Quarantined));
        }
        let ours = entry.manifest.map(|manifest| manifest.data);
        if ours.is_some() && state.data_of(name) == ours {
            let sync = (!self.is(Mutation::RecoversWithoutASync)).then_some(Op::RestoreSync(number));
            Ran::Then(sync.into_iter().chain(Self::finish_restore(number, name)).collect())
        } else {
            // Placed, and removed by somebody since.
            Ran::Then(vec![Op::DropUnlink(number), Op::DropDirectory(number)])
        }
    }

    /// `remove_empty_volume_directory`: `rmdir` refuses whatever is not empty.
    pub fn remove_empty_volume(state: &mut State, name: usize) -> Ran {
        if state.disk.volumes[name].is_some_and(|volume| volume.data.is_none()) {
            state.disk.volumes[name] = None;
        }
        Ran::DONE
    }
}
