//! Restore (`sweep/restore.rs`) and deletion (`sweep/delete.rs`).

use crate::mutation::Mutation;
use crate::program::{Handler, Op, Ran, Write};
use crate::protocol::Protocol;
use crate::state::{DB, Data, Fate, Mark, Place, State, VolumeDirectory, Wrong};

impl Protocol {
    /// `check_restorable`, and the steps up to placed data.
    pub fn check_restorable(&self, state: &State, entry: usize, name: usize) -> Ran {
        let Some(manifest) = state.manifest(entry) else { return Ran::Failed };
        let open_behind_proxy = Mark::InDoubt { asked_directly: false, old: false };
        let named =
            |manifest: crate::state::Manifest| manifest.name_unsafe || manifest.mark == open_behind_proxy;
        let name_unsafe = name == DB
            && (state.name_unsafe
                || state.disk.entries.iter().flatten().filter_map(|entry| entry.manifest).any(named));
        if manifest.mark != Mark::Quarantined
            || name_unsafe && !self.is(Mutation::RestoresUnderADelete)
            || state.engine.knows[name]
        {
            return Ran::Failed;
        }
        let mut ops = self.write(entry, Write::Restoring { to: name });
        ops.push(Op::Bar);
        if self.is(Mutation::CreatesFirst) {
            ops.extend([Op::EngineCreate(entry, name), Op::EngineCreated]);
            ops.extend([
                Op::RestoreRename(entry, name),
                Op::RestoreSync(entry),
                Op::RestoreOwnership(entry, name),
            ]);
            ops.extend([Op::DropUnlink(entry), Op::DropDirectory(entry)]);
            return Ran::Then(ops);
        }
        ops.extend([Op::RestoreMakeDirectory(name), Op::Or(Handler::Requarantine(entry))]);
        ops.extend([
            Op::RestoreRename(entry, name),
            Op::RestoreSync(entry),
            Op::Or(Handler::GiveUp(entry, name)),
        ]);
        ops.extend(Self::finish_restore(entry, name));
        Ran::Then(ops)
    }

    /// `finish_restore`, from placed data on.
    pub fn finish_restore(entry: usize, name: usize) -> Vec<Op> {
        vec![
            Op::EngineCreate(entry, name),
            Op::EngineCreated,
            Op::RestoreOwnership(entry, name),
            Op::AskMade(name),
            Op::DropUnlink(entry),
            Op::DropDirectory(entry),
        ]
    }

    /// `make_volume_directory`: one that exists is never used (I7).
    pub fn make_volume_directory(&self, state: &mut State, name: usize) -> Ran {
        if state.disk.volumes[name].is_some() {
            return if self.is(Mutation::RestoresOver) { Ran::DONE } else { Ran::Failed };
        }
        state.disk.volumes[name] = Some(VolumeDirectory { identity: state.new_identity(), data: None });
        Ran::DONE
    }

    /// `give_data`.
    pub fn give(&self, state: &mut State, number: usize, name: usize) -> Ran {
        let (Some(mut volume), Some(mut entry)) = (state.disk.volumes[name], state.disk.entries[number])
        else {
            return Ran::Failed;
        };
        let Some(data) = entry.data else { return Ran::Failed };
        match volume.data {
            None => {}
            Some(Data::Hollow) if self.is(Mutation::CreatesFirst) => {}
            Some(_) if self.is(Mutation::RestoresOver) => state.is_wrong(Wrong::Overwritten),
            Some(_) => return Ran::Failed,
        }
        self.note_rename(
            state,
            data,
            Place::Entry(number),
            Place::Volume { name, identity: volume.identity },
        );
        volume.data = entry.data.take();
        state.disk.entries[number] = Some(entry);
        state.disk.volumes[name] = Some(volume);
        Ran::DONE
    }

    /// The engine makes the volume, around the data or, when there is none, with an empty directory.
    pub fn create_volume(state: &mut State, name: usize) -> Ran {
        if !state.engine.knows[name] {
            let mut volume = state.disk.volumes[name]
                .unwrap_or_else(|| VolumeDirectory { identity: state.new_identity(), data: None });
            volume.data = volume.data.or(Some(Data::Hollow));
            state.disk.volumes[name] = Some(volume);
            state.engine.knows[name] = true;
        }
        Ran::DONE
    }

    /// `set_ownership`: only of the data that the manifest names.
    pub fn set_ownership(state: &State, entry: usize, name: usize) -> Ran {
        let ours = state.manifest(entry).map(|manifest| manifest.data);
        if ours.is_none() || state.data_of(name) == ours { Ran::DONE } else { Ran::Failed }
    }

    /// `give_up`: the data of a restore that cannot be finished.
    pub fn give_up(&self, state: &State, number: usize, name: usize) -> Vec<Op> {
        let has_data = state.disk.entries[number].is_some_and(|entry| entry.data.is_some());
        let requarantine = self.write(number, Write::Quarantined);
        if has_data {
            return [vec![Op::RemoveEmptyVolume(name)], requarantine].concat();
        }
        if self.is(Mutation::TakesBackWhatIsUsed) {
            let retake = vec![Op::RetakeRename(number, name), Op::RemoveEmptyVolume(name)];
            return [retake, requarantine].concat();
        }
        vec![Op::AskGivenUp(number, name)]
    }

    /// `give_up`: what somebody made a volume of meanwhile stays; recovery goes on with it.
    pub fn ask_given_up(state: &State, number: usize, name: usize) -> Ran {
        if state.engine.knows[name] || state.is_held(name) {
            return Ran::END;
        }
        Ran::Then(vec![Op::RetakeRename(number, name), Op::AskRetaken(number, name)])
    }

    /// `retake_data`, which also syncs.
    pub fn retake(&self, state: &mut State, number: usize, name: usize) -> Ran {
        let (Some(mut volume), Some(mut entry)) = (state.disk.volumes[name], state.disk.entries[number])
        else {
            return Ran::Failed;
        };
        let ours = entry.manifest.map(|manifest| manifest.data);
        let checked = !self.is(Mutation::TakesBackWhatIsUsed);
        if volume.data.is_none() || entry.data.is_some() || checked && volume.data != ours {
            return Ran::Failed;
        }
        entry.data = volume.data.take();
        state.disk.unsynced.renamed = None;
        state.disk.entries[number] = Some(entry);
        state.disk.volumes[name] = Some(volume);
        Ran::DONE
    }

    /// `give_up`: made a volume while the data was taken back: it gets its data again, and recovery goes on with it.
    pub fn ask_retaken(&self, state: &State, number: usize, name: usize) -> Ran {
        if state.engine.knows[name] || state.is_held(name) || state.is_entry_used(number) {
            return Ran::Instead(vec![Op::RestoreRename(number, name), Op::RestoreSync(number)]);
        }
        Ran::Then([vec![Op::RemoveEmptyVolume(name)], self.write(number, Write::Quarantined)].concat())
    }

    /// `begin_deletion`, up to the rename (I3).
    pub fn delete_look(&self, state: &State, number: usize) -> Ran {
        let Some(entry) = state.disk.entries[number] else { return Ran::END };
        let walk = [Op::DeleteContents(number), Op::DeleteData(number)];
        let walk = if entry.data.is_some() { walk.to_vec() } else { Vec::new() };
        let drop = vec![Op::DropUnlink(number), Op::DropDirectory(number)];
        if entry.deleting {
            return Ran::Then([walk, drop].concat());
        }
        let quarantined = entry.manifest.is_some_and(|manifest| manifest.mark == Mark::Quarantined);
        let free = !state.is_held(DB) && !state.is_entry_used(number) && !state.engine.knows[DB];
        let may = (entry.due || self.is(Mutation::DeletesBeforeItIsDue)) && quarantined && free;
        if may || self.is(Mutation::DeletesWithoutALook) {
            Ran::Then([vec![Op::DeleteRename(number)], walk, drop].concat())
        } else {
            Ran::END
        }
    }

    /// From here on it can only be deleted.
    pub fn delete_rename(&self, state: &mut State, number: usize) -> Ran {
        let Some(mut entry) = state.disk.entries[number] else { return Ran::Failed };
        let quarantined = entry.manifest.is_some_and(|manifest| manifest.mark == Mark::Quarantined);
        if !quarantined || !entry.due || state.is_entry_used(number) {
            state.is_wrong(Wrong::DeletedTooEarly);
        }
        let name_unsafe = entry.manifest.is_some_and(|manifest| manifest.name_unsafe);
        state.name_unsafe |= name_unsafe && self.scope.remembers_names;
        entry.deleting = true;
        state.disk.entries[number] = Some(entry);
        Ran::DONE
    }

    /// The walk: the first file that is unlinked ends the data.
    pub fn delete_contents(state: &mut State, number: usize) -> Ran {
        if let Some(data) = state.disk.entries[number].and_then(|entry| entry.data) {
            state.ends(data, Fate::Deleted);
        }
        Ran::DONE
    }

    /// The emptied directory.
    pub fn delete_data(state: &mut State, number: usize) -> Ran {
        let Some(mut entry) = state.disk.entries[number] else { return Ran::Failed };
        entry.data = None;
        state.disk.entries[number] = Some(entry);
        Ran::DONE
    }
}
