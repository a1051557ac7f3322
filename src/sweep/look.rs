//! A look: everything a sweep decides on, and the decision, without a handle that could change anything (I10).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::lineage::{self, Found, observe_held};
use super::obstacles;
use crate::config::Settings;
use crate::gc::brakes::{self, EngineFacts, Refusal};
use crate::gc::entry::Entry;
use crate::gc::holds::Hold;
use crate::gc::ledger::{ClockReading, LedgerState, SeenEntry};
use crate::gc::lineage::Standing;
use crate::gc::orphans::{self, HeldBack, SeenEnds};
use crate::gc::plan::{Order, Plan, Quarantine, Situation, plan};
use crate::gc::policy::Limits;
use crate::gc::verdict::{Action, Reason, Step, Verdict};
use crate::gc::volume::VolumeName;
use crate::gc::watch::Watch;
use crate::host::engine::Engine;
use crate::host::quarantine::{self, QuarantineError};
use crate::witness::observe::Observation;
use crate::witness::{EvidenceError, closely, ends};

/// What was seen, and what follows from it.
#[derive(Debug)]
pub struct Look {
    /// Volumes and references.
    pub observation: Observation,
    /// What is in quarantine.
    pub quarantine: Quarantine,
    /// The ledger as this look changes it; written down by a sweep only.
    pub ledger: LedgerState,
    /// Every brake that holds: then nothing of the plan is carried out.
    pub refusals: Vec<Refusal>,
    /// The plan.
    pub plan: Plan,
    /// What became due with this look, and the mode does not permit: told once in the history.
    pub newly_due: Vec<Step>,
    /// Holds that expired since the last sweep.
    pub newly_expired: Vec<Hold>,
    /// Holds whose volumes the engine was seen to remove.
    pub lapsed: Vec<Hold>,
    /// When.
    pub at: ClockReading,
}

impl Look {
    /// The situation that the plan was made from, for the guard.
    pub fn situation<'a>(&'a self, settings: &'a Settings) -> Situation<'a> {
        Situation {
            inventory: &self.observation.inventory,
            quarantine: &self.quarantine,
            ledger: &self.ledger,
            policy: &settings.policy,
            now: self.at.wall,
        }
    }

    /// What the sudden-orphan brake holds back.
    pub fn held_back(&self) -> Option<HeldBack> {
        orphans::held_back(self.plan.volumes.values().chain(self.plan.entries.values()))
    }

    /// Looks closer at what the plan would move, and whether that forbids any of it; then another plan has to be made.
    fn is_any_forbidden(&mut self) -> bool {
        let is_due =
            |verdict: &Verdict, action| verdict.action == action || verdict.reason == Reason::LimitPerSweep;
        let volumes = self.plan.volumes.iter().filter(|(_, verdict)| is_due(verdict, Action::Quarantine));
        // The end of an entry in place is the engine's removal of the volume, with all that lies in its directory.
        let ending = self.quarantine.entries.iter().filter_map(|entry| match entry {
            Entry::Known(manifest) if manifest.state.is_in_place() => {
                let verdict = self.plan.entries.get(manifest.entry.as_str())?;
                is_due(verdict, Action::Delete).then_some(&manifest.name)
            }
            Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
        });
        let due: Vec<VolumeName> = volumes.map(|(name, _)| name).chain(ending).cloned().collect();
        self.look_closer(&due)
    }

    /// Looks closer at some volumes, and says whether anything forbids to move one.
    fn look_closer(&mut self, volumes: &[VolumeName]) -> bool {
        let Some(root) = self.observation.directory.as_deref() else { return false };
        closely::look(root, &mut self.observation.inventory, volumes)
    }

    /// The same look, with a closer one at some volumes, which may not be due.
    #[must_use]
    pub fn closer_at(mut self, volumes: &[VolumeName], settings: &Settings, order: &Order) -> Self {
        if self.look_closer(volumes) {
            self.plan = plan(self.situation(settings), order);
        }
        self
    }
}

/// Why there is no look.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The evidence is not complete.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The quarantine cannot be read.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
}

/// When somebody looks, and who watched until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The clocks, read before anything else.
    pub at: ClockReading,
    /// Who watched since the last sweep.
    pub watch: Watch,
}

impl From<ClockReading> for Moment {
    /// For those who only read: they take no time for watched that a sweep would not.
    fn from(at: ClockReading) -> Self {
        Self { at, watch: Watch::Sweeps }
    }
}

/// Looks once.
pub async fn look(
    engine: &Engine,
    before: &LedgerState,
    settings: &Settings,
    order: &Order,
    at: impl Into<Moment>,
) -> Result<Look, LookError> {
    let Moment { at, watch } = at.into();
    let (mut observation, lapsed) = observe_held(engine, before, settings, &at).await?;
    let mut quarantine = read_quarantine(&observation)?;
    let obstacles = obstacles::apply(
        &before.obstacles,
        &mut observation.inventory,
        &mut quarantine,
        observation.directory.as_deref(),
        order,
        at.wall,
    )?;
    for (entry, holders) in observation.inventory.entry_holders() {
        // Each once, however many ways of its lead there.
        let names: BTreeSet<String> = holders.iter().map(ToString::to_string).collect();
        quarantine.held.insert(entry.clone(), names.into_iter().collect::<Vec<_>>().join(", "));
    }
    let found = lineage::find(observation.directory.as_deref())?;
    let standing = found.noted.standing(before, &at);
    if let Some(alert) = found.noted.told(standing) {
        observation.inventory.alert(alert);
    }
    let places = found.places;
    // What the brakes compare with is what is remembered, even of a ledger whose clocks are not believed: it can only keep more.
    let remembered = before;
    let before = &match standing {
        Standing::Same if lapsed.is_empty() => Cow::Borrowed(remembered),
        Standing::Same => Cow::Owned(remembered.without(&lapsed)),
        // I9: what such a ledger watched was another time.
        Standing::Older | Standing::Other | Standing::Unknown => {
            Cow::Owned(remembered.without(&lapsed).anew())
        }
    };
    let seen: Vec<SeenEntry<'_>> = quarantine
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(manifest) => Some(SeenEntry {
                manifest,
                name_in_use: observation.inventory.is_name_in_use(&manifest.name),
            }),
            Entry::Deleting(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    let limits = &settings.policy.limits;
    let ledger = before.observe(&observation.inventory, &seen, observation.containers, &at, &watch, limits);
    let ledger = if order.is_by_hand() { ledger.without_sightings_since(before) } else { ledger };
    let mut ledger = LedgerState { places, obstacles, ..ledger };
    let ends = seen_ends(engine, remembered, &ledger, &observation, limits).await;
    let orphans = remembered.orphans(&ledger);
    ledger.suspect(&remembered.suspects(&orphans, &ends, observation.containers, limits), at.wall);
    let facts = EngineFacts {
        unseen_ends: remembered.unseen_ends(&ends),
        ..engine_facts(engine, &observation, found, standing)
    };
    let refusals = brakes::refusals(&facts, remembered, limits);
    let situation = Situation {
        inventory: &observation.inventory,
        quarantine: &quarantine,
        ledger: &ledger,
        policy: &settings.policy,
        now: at.wall,
    };
    let due = plan(situation, order);
    let newly_expired = before.newly_expired(at.wall).cloned().collect();
    let mut look = Look {
        observation,
        quarantine,
        ledger,
        refusals,
        plan: due,
        newly_due: Vec::new(),
        newly_expired,
        lapsed,
        at,
    };
    if look.is_any_forbidden() {
        look.plan = plan(look.situation(settings), order);
    }
    look.newly_due = newly_due(&look.plan, Situation { ledger: before, ..look.situation(settings) }, order);
    Ok(look)
}

/// What the mode does not permit and was not due by the ledger as it was before.
fn newly_due(due: &Plan, before: Situation<'_>, order: &Order) -> Vec<Step> {
    let permitted = due.steps();
    let not_permitted: Vec<Step> = due.due().into_iter().filter(|step| !permitted.contains(step)).collect();
    if not_permitted.is_empty() {
        return not_permitted;
    }
    let told = plan(before, order).due();
    not_permitted.into_iter().filter(|step| !told.contains(step)).collect()
}

fn read_quarantine(observation: &Observation) -> Result<Quarantine, QuarantineError> {
    let entries = quarantine::entries_below(observation.directory.as_deref())?;
    Ok(Quarantine { entries, ..Quarantine::default() })
}

/// Which containers were seen to end since the last sweep. It is only asked where it matters: many volumes lost their holders, or
/// there is no container any more.
async fn seen_ends(
    engine: &Engine,
    before: &LedgerState,
    after: &LedgerState,
    observation: &Observation,
    limits: &Limits,
) -> SeenEnds {
    let Some(last) = &before.last_sweep else { return SeenEnds::default() };
    let orphans = before.orphans(after);
    if !before.are_many(orphans.len(), limits) && observation.containers > 0 {
        return SeenEnds::default();
    }
    let containers = before.last_containers_by_id();
    let root = observation.directory.as_deref();
    let until = after.last_sweep.as_ref().map_or(last.wall, |now| now.wall);
    ends::ask(engine, root, &containers, last.wall, until).await
}

fn engine_facts(engine: &Engine, observation: &Observation, found: Found, standing: Standing) -> EngineFacts {
    EngineFacts {
        id: observation.info.id.clone(),
        root: observation.info.docker_root_dir.clone(),
        version: observation.info.server_version.clone(),
        live_restore: observation.info.live_restore_enabled,
        containers: observation.containers,
        unseen_ends: 0,
        is_podman: engine.is_podman(),
        is_rootless: observation.info.is_rootless(),
        root_problem: observation.root_problem.clone(),
        places: found.places,
        noted: found.noted,
        standing,
    }
}
