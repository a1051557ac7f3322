//! Carries out what [`crate::gc::protocol`] says, for many moves at once: one round of questions serves all that wait for one, and what
//! has to be durable is synced side by side.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::evidence::Round;
use super::hearing::{Heard, Hearing};
use super::mover::{Mover, StepError, now};
use super::moves::{Move, Pinned, Reason, system};
use super::on_disk::{Disk, objection};
use crate::gc::entry::EntryState;
use crate::gc::history::Happening;
use crate::gc::protocol::{Effect, Fact, Route, wave};
use crate::host::directory;
use crate::host::engine::{self, DeleteAnswer};
use crate::host::fault::{self, Point};
use crate::host::ledger::Written;
use crate::host::pulse;

/// How many moves go together. The witnesses are asked once for all of them, and the last is hidden a while after that: more would make
/// that longer, and save little.
pub(super) const TOGETHER: usize = 64;

/// How often the witnesses are asked again in one wave because something was heard. On a host where containers start all the time, the
/// next sweep goes on.
const ROUNDS: usize = 16;

const THROUGH_A_PROXY: &str = "the engine is reached through a proxy, which may deliver an order late, so nothing is forgotten; give \
                               volgc the engine's own socket";

/// What a wave goes by.
#[derive(Default)]
pub(super) struct Wave {
    /// None until it is needed.
    hearing: Option<Hearing>,
    /// Why nothing is forgotten any more.
    halted: Option<String>,
    /// How often the witnesses were asked again.
    rounds: usize,
}

impl Mover<'_> {
    /// Carries the moves to their ends.
    pub(super) async fn carry(&mut self, moves: &mut [Move<'_>]) {
        let mut wave = Wave::default();
        loop {
            let waiting: Vec<_> = moves.iter().map(Move::waiting).collect();
            let turn = wave::turn(&waiting);
            let first = turn.first().and_then(|first| waiting.get(*first)).and_then(Option::as_ref);
            let Some(effect) = first.map(|first| first.effect) else { return };
            pulse::beat();
            let mut group: Vec<&mut Move<'_>> = moves
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| turn.contains(at))
                .map(|(_, one)| one)
                .collect();
            let facts = self.carry_out(effect, &mut group, &mut wave).await;
            for (moved, fact) in group.into_iter().zip(facts) {
                moved.showed(fact);
            }
        }
    }

    async fn carry_out(
        &mut self,
        effect: Effect,
        group: &mut [&mut Move<'_>],
        wave: &mut Wave,
    ) -> Vec<Fact<Reason>> {
        match effect {
            Effect::Look => self.look_first(group).await,
            Effect::LookAgain => self.look_again(group, wave).await,
            Effect::AskName => self.ask_names(group).await,
            Effect::Order => self.order(group, wave).await,
            Effect::LastLook => group.iter().map(|moved| self.last_look(moved, wave)).collect(),
            Effect::Hide => match self.why_not_hide(group, wave) {
                Some(fact) => vec![fact],
                None => self.on_disk(effect, group),
            },
            Effect::WriteForgetting => self.write(group, effect, &EntryState::Forgetting),
            Effect::WriteQuarantined => {
                for moved in group.iter_mut() {
                    moved.manifest.size_bytes = self.measure(&moved.manifest.entry);
                }
                self.write(group, effect, &EntryState::Quarantined)
            }
            Effect::Commit => self.commit_all(group),
            Effect::DropEntry => self.drop_entries(group),
            Effect::CheckLink => self.check_links(group),
            Effect::MakeEntry
            | Effect::Exchange
            | Effect::ReadNames
            | Effect::SyncLink
            | Effect::Show
            | Effect::ExchangeBack
            | Effect::SyncBack
            | Effect::TakeLinkAway
            | Effect::LeadBack
            | Effect::SyncName => self.on_disk(effect, group),
        }
    }

    fn on_disk(&self, effect: Effect, group: &[&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let manifests: Vec<_> = group.iter().map(|moved| &moved.manifest).collect();
        Disk { quarantine: self.quarantine, volumes: &self.volumes }.carry_out_all(effect, &manifests)
    }

    /// From here on nothing changes the data but others: some file systems count the exchange itself for a change (XFS).
    fn check_links(&self, group: &mut [&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let mut facts = self.on_disk(Effect::CheckLink, group);
        for (moved, fact) in group.iter_mut().zip(&mut facts) {
            let Some(pinned) = &mut moved.data else { continue };
            match directory::looks(pinned.descriptor.as_fd()) {
                Ok(looks) => pinned.looks = Some(looks),
                Err(source) => *fact = Fact::Failed(system(source).into()),
            }
        }
        facts
    }

    fn write(&self, group: &mut [&mut Move<'_>], effect: Effect, state: &EntryState) -> Vec<Fact<Reason>> {
        let facts = self.on_disk(effect, group);
        for (moved, fact) in group.iter_mut().zip(&facts) {
            if matches!(fact, Fact::Done) {
                moved.manifest.state = state.clone();
            }
        }
        facts
    }

    async fn look_first(&mut self, group: &mut [&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let names = group.iter().map(|moved| moved.manifest.name.to_string()).collect();
        let route = self.engine.reading().route(&self.volumes).await;
        let round = self.round(self.volumes.volumes(), names).await;
        each(group, round, |moved, round| {
            let Some(volume) = moved.volume else { return Ok(()) };
            if moved.route() == Route::Listed && route == engine::Route::Proxied {
                // I5: it may deliver an order when nobody waits for it any more.
                return Err(Reason::Objection(THROUGH_A_PROXY.to_owned()));
            }
            self.against_beginning(volume, moved.route(), round)?;
            moved.data = Some(self.pin(moved)?);
            Ok(())
        })
    }

    /// Holds the data open, so that its inode number is no other directory's until the exchange is checked.
    fn pin(&self, moved: &Move<'_>) -> Result<Pinned, StepError> {
        let descriptor = self.volumes.open_data(&moved.manifest.name).map_err(system)?;
        let facts = directory::facts(descriptor.as_fd()).map_err(system)?;
        if !facts.identity.is_same(&moved.manifest.data_directory) {
            return Err(StepError::Refused("it is another volume of that name by now".to_owned()));
        }
        Ok(Pinned { descriptor, looks: None })
    }

    async fn look_again(&mut self, group: &mut [&mut Move<'_>], wave: &mut Wave) -> Vec<Fact<Reason>> {
        wave.rounds += 1;
        let round = async {
            fault::at(Point::LookAgain)
                .map_err(|source| StepError::Fault { action: "asking for the evidence again", source })?;
            // Before the witnesses are asked: what comes while they answer is heard.
            match &wave.hearing {
                Some(hearing) => hearing.listen_anew(),
                None => wave.hearing = Some(Hearing::begin(self.engine.reading(), now()?).await?),
            }
            let names = group.iter().map(|moved| moved.manifest.entry.to_string()).collect();
            self.round(self.quarantine.descriptor(), names).await
        };
        let round = round.await;
        each(group, round, |moved, round| self.against_going_on(moved, round))
    }

    /// Why the data is not given its other name now.
    fn why_not_hide(&self, group: &[&mut Move<'_>], wave: &mut Wave) -> Option<Fact<Reason>> {
        // Nobody waits for an answer while data goes back to a name, or stays with it.
        if !group.first().is_some_and(|moved| moved.is_forward()) {
            return None;
        }
        if let Some(why) = &wave.halted {
            return Some(objection(why));
        }
        if self.stop.is_cancelled() {
            return Some(objection("volgc was stopped"));
        }
        match wave.hearing.as_ref().map(Hearing::heard) {
            Some(Heard::Nothing) => None,
            Some(Heard::Something) if wave.rounds < ROUNDS => Some(Fact::Stale),
            Some(Heard::Something) => {
                Some(objection("containers start all the time; the next sweep goes on"))
            }
            Some(Heard::Broken) | None => Some(objection("the engine cannot be heard any more")),
        }
    }

    fn last_look(&self, moved: &Move<'_>, wave: &Wave) -> Fact<Reason> {
        match wave.hearing.as_ref().map(Hearing::heard) {
            Some(Heard::Nothing) => {}
            Some(Heard::Something) => return objection("something began to need a volume at that moment"),
            Some(Heard::Broken) | None => return objection("the engine cannot be heard any more"),
        }
        match self.quarantine.names(&self.volumes, &moved.manifest) {
            Ok(names) if names.is_dangling() => Fact::Done,
            Ok(_) => objection("the name is another volume's by now"),
            Err(error) => Fact::Failed(Reason::Failure(error.into())),
        }
    }

    /// Asks the engine to forget the volume; only ever one.
    async fn order(&mut self, group: &mut [&mut Move<'_>], wave: &mut Wave) -> Vec<Fact<Reason>> {
        let Some(moved) = group.first() else { return Vec::new() };
        let pass = || fault::at(Point::EngineDelete);
        let answer = self.delete_or_stop(&moved.manifest, engine::Route::Direct, pass).await;
        let answer = match answer {
            Ok(answer) => answer,
            // Nothing was sent.
            Err(source) => {
                let action = "asking the engine to forget the volume";
                return vec![Fact::Failed(StepError::Fault { action, source }.into())];
            }
        };
        if let Err(source) = fault::at(Point::EngineDeleted) {
            let action = "taking up the engine's answer";
            return vec![Fact::Silence(StepError::Fault { action, source }.into())];
        }
        vec![match answer {
            DeleteAnswer::Forgotten => Fact::Done,
            DeleteAnswer::Refused(message) => {
                objection(&format!("the engine refused to forget it: {message}"))
            }
            DeleteAnswer::Unknown(why) => {
                wave.halted = Some("the engine has not answered to an order before it".to_owned());
                Fact::Silence(Reason::Objection(why))
            }
        }]
    }

    async fn ask_names(&mut self, group: &[&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let mut facts = Vec::with_capacity(group.len());
        for moved in group {
            let asked = match fault::at(Point::AskName) {
                Ok(()) => self.engine.reading().volume(&moved.manifest.name).await.map_err(StepError::from),
                Err(source) => Err(StepError::Fault { action: "asking the engine for the name", source }),
            };
            facts.push(match asked {
                Ok(None) => Fact::Done,
                Ok(Some(_)) if moved.route() == Route::Unlisted => objection("the engine lists it by now"),
                Ok(Some(_)) => objection("the engine knows it still"),
                // I2: not to be told is not to be told that it does not know.
                Err(error) => Fact::Failed(error.into()),
            });
        }
        facts
    }

    fn commit_all(&mut self, group: &[&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let commit = |moved: &&mut Move<'_>| match self.commit(&moved.manifest) {
            Ok(()) => Fact::Done,
            Err(error) => Fact::Failed(error.into()),
        };
        group.iter().map(commit).collect()
    }

    /// The volume has its data: the entry goes, after a recovery when the history says so.
    fn drop_entries(&mut self, group: &[&mut Move<'_>]) -> Vec<Fact<Reason>> {
        let mut told = Vec::with_capacity(group.len());
        for moved in group {
            let ended = if moved.is_recovery() {
                self.record_end(Happening::RolledBack, &moved.manifest, "its move had been interrupted")
            } else {
                Ok(Written::Now)
            };
            let dropped = ended.and_then(|written| match written {
                Written::Now => Ok(self.quarantine.drop_entry(&moved.manifest.entry)?),
                Written::Later => Ok(()),
            });
            told.push(dropped.map_or_else(|error| Fact::Failed(error.into()), |()| Fact::Done));
        }
        told
    }
}

/// What one round comes to for each. A round that failed is the failure of each (I2).
fn each(
    group: &mut [&mut Move<'_>],
    round: Result<Round, StepError>,
    against: impl Fn(&mut Move<'_>, &Round) -> Result<(), Reason>,
) -> Vec<Fact<Reason>> {
    let round = round.map_err(Arc::new);
    let mut facts = Vec::with_capacity(group.len());
    for moved in group {
        facts.push(match &round {
            Ok(round) => match against(moved, round) {
                Ok(()) => Fact::Done,
                Err(Reason::Failure(error)) => Fact::Failed(Reason::Failure(error)),
                Err(why) => Fact::Objection(why),
            },
            Err(error) => Fact::Failed(Reason::shared(error)),
        });
    }
    facts
}
