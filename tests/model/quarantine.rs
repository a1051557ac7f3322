//! Quarantine of the volume (`sweep/quarantine.rs`, `sweep/forget.rs`) and the renames below it (`host/quarantine/moving.rs`).

use crate::mutation::Mutation;
use crate::program::{Handler, Op, Ran, Taken, Way, Write};
use crate::protocol::Protocol;
use crate::state::{Answer, DB, Delete, Entry, Manifest, Mark, Place, State};

impl Protocol {
    /// `write_manifest`. Where no power fails, what is not renamed yet does not show, so that two steps are left of four.
    pub fn write(&self, entry: usize, what: Write) -> Vec<Op> {
        let mut ops = Vec::new();
        if self.scope.power_fails {
            ops.push(Op::ManifestWrite(entry));
            if !self.is(Mutation::DoesNotSyncTheManifest) {
                ops.push(Op::ManifestSync(entry));
            }
        }
        ops.push(Op::ManifestRename(entry, what));
        if !self.is(Mutation::DoesNotSyncTheDirectory) {
            ops.push(Op::ManifestSyncDirectory(entry));
        }
        ops
    }

    /// `look_again`: the same volume, movable, known to the engine, held by nobody.
    pub fn look_again(&self, state: &mut State) -> Ran {
        let Some(volume) = state.disk.volumes[DB] else { return Ran::END };
        let (Some(data), Some(entry)) =
            (volume.data, state.disk.entries[..self.scope.entries].iter().position(Option::is_none))
        else {
            return Ran::END;
        };
        if !state.engine.knows[DB] || state.is_counted(DB) || state.is_held(DB) {
            return Ran::END;
        }
        state.program.subject = Some((volume.identity, data));
        let take = vec![Op::TakeRename(entry), Op::TakeSync(entry)];
        let mut ops = vec![Op::EntryMakeDirectory(entry)];
        if self.is(Mutation::RenamesBeforeTheManifest) {
            ops.extend(take);
            ops.extend(self.write(entry, Write::Moving));
        } else {
            ops.extend(self.write(entry, Write::Moving));
            ops.push(Op::Bar);
            ops.extend(take);
        }
        if self.is(Mutation::DoesNotSyncTheRename) {
            ops.retain(|op| *op != Op::TakeSync(entry));
        }
        ops.extend([Op::Or(Handler::Undo(entry)), Op::TakeAskAgain(entry), Op::Or(Handler::Undo(entry))]);
        Ran::Then(ops)
    }

    /// `make_entry`, without its manifest.
    pub fn make_entry(state: &mut State, entry: usize) -> Ran {
        let empty =
            Entry { manifest: None, temporary_synced: false, data: None, deleting: false, due: false };
        state.disk.entries[entry] = Some(empty);
        Ran::DONE
    }

    /// The manifest takes its name.
    pub fn rename_manifest(&self, state: &mut State, number: usize, what: Write) -> Ran {
        let Some(mut entry) = state.disk.entries[number] else { return Ran::Failed };
        let before = entry.manifest;
        let subject = state.program.subject.map(|(directory, data)| Manifest {
            mark: Mark::Moving,
            directory,
            data,
            name_unsafe: false,
            unsynced: false,
        });
        let Some(mut manifest) = before.or(subject) else { return Ran::Failed };
        let open_behind_proxy = manifest.mark == Mark::InDoubt { asked_directly: false, old: false };
        manifest.mark = match what {
            Write::Moving => Mark::Moving,
            Write::InDoubt { asked_directly } => Mark::InDoubt { asked_directly, old: false },
            Write::Quarantined => Mark::Quarantined,
            Write::Committed { answered } => {
                manifest.name_unsafe = open_behind_proxy && !answered;
                Mark::Quarantined
            }
            Write::Restoring { to } => Mark::Restoring { to },
        };
        if self.scope.power_fails {
            manifest.unsynced = !entry.temporary_synced;
            state.disk.unsynced.manifests[number].get_or_insert(before);
        }
        entry.temporary_synced = false;
        entry.manifest = Some(manifest);
        state.disk.entries[number] = Some(entry);
        Ran::DONE
    }

    /// `take_data`: checked, then renamed.
    pub fn take(&self, state: &mut State, number: usize) -> Ran {
        let (Some(mut volume), Some(mut entry)) = (state.disk.volumes[DB], state.disk.entries[number]) else {
            return Ran::Failed;
        };
        let subject = entry.manifest.map(|manifest| (manifest.directory, manifest.data));
        let same = volume.data.map(|data| (volume.identity, data));
        if same.is_none() || same != subject.or(state.program.subject) {
            return Ran::Failed;
        }
        if let Some(data) = volume.data {
            self.note_rename(
                state,
                data,
                Place::Volume { name: DB, identity: volume.identity },
                Place::Entry(number),
            );
            if let Some(index) = data.index() {
                state.moved[index] = true;
            }
        }
        entry.data = volume.data.take();
        state.disk.entries[number] = Some(entry);
        state.disk.volumes[DB] = Some(volume);
        Ran::DONE
    }

    /// `reason_to_undo`.
    pub fn ask_again(&self, state: &mut State, entry: usize) -> Ran {
        state.program.subject = None;
        state.program.seen = state.data_of(DB);
        let held = state.is_held(DB) || state.is_entry_used(entry);
        let replaced = state.engine.knows[DB] && !Self::is_its_husk(state, entry);
        let held = held && !self.is(Mutation::TakesNoSecondLook);
        let replaced = replaced && !self.is(Mutation::LooksNotAtTheName);
        let ops = if held || replaced {
            self.undo(state, entry)
        } else if state.engine.knows[DB] || self.is(Mutation::LooksNotAtTheName) {
            self.forget(state, entry, Way::Open)
        } else {
            // There is nothing to forget, and what is made under the name from now on is another volume.
            vec![Op::AskWanted(entry)]
        };
        // From here on a failure is no reason to undo.
        Ran::Instead(ops)
    }

    /// `is_still_its_husk`, but for what the engine says.
    pub fn is_its_husk(state: &State, entry: usize) -> bool {
        let identity = state.manifest(entry).map(|manifest| manifest.directory);
        state.disk.volumes[DB]
            .is_some_and(|volume| volume.data.is_none() && Some(volume.identity) == identity)
    }

    /// `forget`, up to the DELETE.
    pub fn forget(&self, state: &State, entry: usize, way: Way) -> Vec<Op> {
        let earlier_by_proxy = state
            .manifest(entry)
            .is_some_and(|manifest| matches!(manifest.mark, Mark::InDoubt { asked_directly: false, .. }));
        let earlier_by_proxy = earlier_by_proxy && !self.is(Mutation::ForgetsTheProxy);
        let asked_directly = state.program.direct && !earlier_by_proxy;
        let in_doubt = self.write(entry, Write::InDoubt { asked_directly });
        let or = match way {
            Way::Open => vec![Op::Or(Handler::Undo(entry))],
            Way::Closed => Vec::new(),
        };
        let delete = vec![Op::EngineDelete(entry, way)];
        let (first, second) = if self.is(Mutation::WritesInDoubtAfterSending) {
            (delete, in_doubt)
        } else {
            (in_doubt, delete)
        };
        [first, second, or, vec![Op::Await(entry, way)]].concat()
    }

    /// The DELETE is sent.
    pub fn send_delete(state: &mut State) -> Ran {
        if state.engine.deletes.len() == crate::state::DELETES {
            return Ran::Waits;
        }
        let (direct, seen) = (state.program.direct, state.program.seen.take());
        state.change_deletes(|deletes| deletes.push(Delete { direct, awaited: true, answer: None, seen }));
        Ran::DONE
    }

    /// Its answer has come.
    pub fn take_answer(state: &mut State, entry: usize, way: Way) -> Ran {
        let awaited = state.engine.deletes.iter().position(|delete| delete.awaited);
        let Some(answer) = awaited.and_then(|at| state.engine.deletes[at].answer) else { return Ran::Waits };
        state.change_deletes(|deletes| deletes.retain(|delete| !delete.awaited));
        Ran::Then(vec![Op::EngineDeleted(entry, way, answer)])
    }

    /// The rest of `forget`.
    pub fn answered(&self, state: &State, entry: usize, way: Way, answer: Answer) -> Ran {
        match (answer, way) {
            (Answer::Forgotten, Way::Open) => {
                Ran::Then(self.write(entry, Write::Committed { answered: true }))
            }
            (Answer::Forgotten, Way::Closed) => {
                Ran::Then(self.write(entry, Write::Committed { answered: false }))
            }
            (Answer::Refused, _) if self.is(Mutation::CommitsWhatWasRefused) => {
                Ran::Then(self.write(entry, Write::Committed { answered: true }))
            }
            (Answer::Refused, Way::Open) => Ran::Instead(self.undo(state, entry)),
            (Answer::Refused, Way::Closed) if self.is(Mutation::RollsBackAfterASecondRefusal) => {
                Ran::Instead(self.undo(state, entry))
            }
            (Answer::Refused, Way::Closed) => {
                Ran::Then(self.write(entry, Write::InDoubt { asked_directly: false }))
            }
            (Answer::Unknown, Way::Open) if self.is(Mutation::RollsBackWithoutAnAnswer) => {
                Ran::Instead(self.undo(state, entry))
            }
            (Answer::Unknown, _) => Ran::END,
        }
    }

    /// `undo`: puts the data back and takes the entry away.
    pub fn undo(&self, state: &State, entry: usize) -> Vec<Op> {
        self.back(state, entry, Taken::Keep)
    }

    /// `put_back`, then `drop_entry`.
    pub fn back(&self, state: &State, entry: usize, taken: Taken) -> Vec<Op> {
        let has_data = state.disk.entries[entry].is_some_and(|entry| entry.data.is_some());
        let drop = [Op::DropUnlink(entry), Op::DropDirectory(entry)];
        if !has_data {
            // Renamed back by one that was killed before it had synced that.
            return if self.is(Mutation::RecoversWithoutASync) {
                drop.to_vec()
            } else {
                [&[Op::PutBackSync(entry)], &drop[..]].concat()
            };
        }
        let mut ops = vec![Op::PutBackRename(entry, taken), Op::PutBackSync(entry)];
        if self.is(Mutation::DropsTheManifestFirst) {
            ops.splice(0..0, [drop[0]]);
            ops.push(drop[1]);
        } else {
            ops.extend(drop);
        }
        ops
    }

    /// `put_back`: into the very directory it came from, and never over anything (I7).
    pub fn put_back(&self, state: &mut State, number: usize, taken: Taken) -> Ran {
        let (Some(mut volume), Some(mut entry)) = (state.disk.volumes[DB], state.disk.entries[number]) else {
            return Ran::Failed;
        };
        let same = entry.manifest.is_none_or(|manifest| manifest.directory == volume.identity);
        if !same || volume.data.is_some() {
            return match taken {
                Taken::Keep => Ran::Instead(self.write(number, Write::Quarantined)),
                Taken::Commit => Ran::Instead(self.write(number, Write::Committed { answered: false })),
            };
        }
        if let Some(data) = entry.data {
            self.note_rename(
                state,
                data,
                Place::Entry(number),
                Place::Volume { name: DB, identity: volume.identity },
            );
        }
        volume.data = entry.data.take();
        state.disk.entries[number] = Some(entry);
        state.disk.volumes[DB] = Some(volume);
        Ran::DONE
    }

    /// `drop_entry`: the manifest.
    pub fn drop_manifest(&self, state: &mut State, number: usize) -> Ran {
        let Some(mut entry) = state.disk.entries[number] else { return Ran::Failed };
        if entry.data.is_some() && !self.is(Mutation::DropsTheManifestFirst) {
            return Ran::Failed;
        }
        if self.scope.power_fails {
            state.disk.unsynced.manifests[number].get_or_insert(entry.manifest);
        }
        // What it said of its name outlives it.
        let name_unsafe = entry.manifest.is_some_and(|manifest| manifest.name_unsafe);
        state.name_unsafe |= name_unsafe && self.scope.remembers_names;
        entry.manifest = None;
        state.disk.entries[number] = Some(entry);
        Ran::DONE
    }

    /// `drop_entry`: the directory, and a sync.
    pub fn drop_directory(state: &mut State, number: usize) -> Ran {
        if state.disk.entries[number].is_some_and(|entry| entry.data.is_some()) {
            return Ran::Failed;
        }
        state.disk.entries[number] = None;
        state.disk.unsynced.manifests[number] = None;
        Ran::DONE
    }

    /// A rename that a power cut may undo until it is synced.
    pub fn note_rename(&self, state: &mut State, data: crate::state::Data, from: Place, to: Place) {
        if !self.scope.power_fails {
            return;
        }
        state.disk.unsynced.renamed = match state.disk.unsynced.renamed {
            // Back to where it is durable.
            Some((renamed, durable)) if renamed == data && durable == to => None,
            Some((renamed, durable)) if renamed == data => Some((data, durable)),
            Some(_) | None => Some((data, from)),
        };
    }
}
