//! The effects of a move that are on disk alone, side by side for many.

use std::sync::Mutex;
use std::sync::PoisonError;

use super::mover::StepError;
use super::moves::Reason;
use crate::gc::entry::{EntryState, Manifest};
use crate::gc::protocol::{Effect, EntryShows, Fact, NameShows, Names};
use crate::host::pulse;
use crate::host::quarantine::{Changed, QuarantineDir, QuarantineError};
use crate::host::volumes_dir::VolumesDir;

/// How many are synced side by side: while one commit of a journal is written, the next gathers all others.
const SIDE_BY_SIDE: usize = 16;

/// The two directories that a move is between.
#[derive(Clone, Copy)]
pub(super) struct Disk<'a> {
    pub(super) quarantine: &'a QuarantineDir,
    pub(super) volumes: &'a VolumesDir,
}

impl Disk<'_> {
    pub(super) fn carry_out_all(self, effect: Effect, manifests: &[&Manifest]) -> Vec<Fact<Reason>> {
        if effect == Effect::SyncName {
            // The names of all are in one directory.
            let synced = self
                .quarantine
                .sync_names(self.volumes)
                .map_err(StepError::from)
                .map_err(std::sync::Arc::new);
            let fact = |_: &&Manifest| {
                synced.as_ref().map_or_else(|error| Fact::Failed(Reason::shared(error)), |()| Fact::Done)
            };
            return manifests.iter().map(fact).collect();
        }
        side_by_side(manifests, |manifest| self.carry_out(effect, manifest))
    }

    fn carry_out(self, effect: Effect, manifest: &Manifest) -> Fact<Reason> {
        let Self { quarantine, volumes } = self;
        let done = |result: Result<(), QuarantineError>| match result {
            Ok(()) => Fact::Done,
            Err(error) => Fact::Failed(reason(error)),
        };
        let changed = |result: Result<Changed, QuarantineError>| match result {
            Ok(Changed::Done) => Fact::Done,
            Ok(Changed::NotOurs) => objection("its name is another volume's by now"),
            Err(error) => Fact::Failed(reason(error)),
        };
        match effect {
            Effect::MakeEntry => {
                done(quarantine.make_entry(manifest).and_then(|()| quarantine.make_link(volumes, manifest)))
            }
            Effect::Exchange => done(quarantine.exchange(volumes, manifest)),
            Effect::CheckLink => match quarantine.names(volumes, manifest) {
                Ok(Names { name: NameShows::Link, entry: EntryShows::Linked }) => Fact::Done,
                Ok(_) => objection("it is another volume of that name by now"),
                Err(error) => Fact::Failed(reason(error)),
            },
            Effect::ReadNames => match quarantine.names(volumes, manifest) {
                Ok(names) => Fact::Names(names),
                Err(error) => Fact::Failed(reason(error)),
            },
            Effect::SyncLink => done(quarantine.sync_exchange(manifest)),
            Effect::Hide => done(quarantine.hide(manifest)),
            Effect::Show => done(quarantine.show(manifest)),
            Effect::ExchangeBack => done(quarantine.exchange_back(volumes, manifest)),
            Effect::SyncBack => done(quarantine.sync_put_back(volumes, manifest)),
            Effect::TakeLinkAway => changed(quarantine.take_link_away(volumes, manifest)),
            Effect::LeadBack => changed(quarantine.lead_back(volumes, manifest)),
            Effect::WriteForgetting => done(self.write(manifest, EntryState::Forgetting)),
            Effect::WriteQuarantined => done(self.write(manifest, EntryState::Quarantined)),
            Effect::DropEntry => done(quarantine.drop_entry(&manifest.entry)),
            Effect::Look
            | Effect::LookAgain
            | Effect::LastLook
            | Effect::Order
            | Effect::AskName
            | Effect::SyncName
            | Effect::Commit => objection("that is not on disk"),
        }
    }

    fn write(self, manifest: &Manifest, state: EntryState) -> Result<(), QuarantineError> {
        self.quarantine.write_manifest(&Manifest { state, ..manifest.clone() })
    }
}

fn reason(error: QuarantineError) -> Reason {
    if let QuarantineError::NotRenamed { why, .. } = error {
        return Reason::Never(why);
    }
    Reason::Failure(error.into())
}

pub(super) fn objection(why: &str) -> Fact<Reason> {
    Fact::Objection(Reason::Objection(why.to_owned()))
}

/// Does the same with each, a few at a time, and gives the results in the order of the items.
pub(super) fn side_by_side<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() <= 1 {
        return items.iter().map(each).collect();
    }
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let left = Mutex::new(items.iter().enumerate());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((at, item)) = next() {
            let result = each(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(items.len()) {
            scope.spawn(work);
        }
    });
    pulse::beat();
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
