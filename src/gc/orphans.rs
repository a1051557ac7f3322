//! The sudden-orphan brake: when many volumes lost their last holder between two sweeps, and nobody saw these holders end, the evidence
//! is suspected and not the volumes. They are held, and only they (I14), until an operator acknowledges it, their holders return, or
//! complete looks have found nothing for a whole grace period more.
//!
//! A container was seen to end when the engine told of its removal, or when its directory is gone: an engine that has merely lost
//! sight of a container leaves the directory where it is. Where the engine lost most of its containers at once, or has none any more, a
//! directory that is gone proves nothing: all of them may be on a disk that is not mounted now, or somebody emptied `containers`.
//!
//! An engine that runs on forgets no removal after the last one, so a host whose containers were all removed is collected as ever. One that
//! was restarted since has forgotten all: when it lists no container then, each volume that one held is suspected, however few there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ledger::{LedgerState, VolumeRecord};
use super::news::Doing;
use super::policy::{Decision, Disposition, Limits, Policy};
use super::reference::{HolderKind, LastHolder};
use super::verdict::{Reason, Verdict};
use super::volume::{Volume, VolumeName};

/// The word of the brake.
pub const WORD: &str = "sudden_orphans";

/// However short a grace period is, suspicion outlasts this.
const LEAST: Duration = Duration::from_hours(24);

/// The volumes that lost their last holder, each with the container that it was, if that is known.
pub type Orphans = BTreeMap<VolumeName, Option<String>>;

/// Containers that were seen to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenEnds {
    /// The engine told of their removal.
    pub told: BTreeSet<String>,
    /// Their directories are gone.
    pub without_directory: BTreeSet<String>,
}

impl SeenEnds {
    fn has(&self, container: &str, directories: Directories) -> bool {
        self.told.contains(container)
            || match directories {
                Directories::Prove => self.without_directory.contains(container),
                Directories::ProveNothing => false,
            }
    }
}

/// Whether a container directory that is gone proves that the container was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directories {
    Prove,
    ProveNothing,
}

impl Directories {
    /// By how many containers there were and are.
    fn by_count(before: Option<u64>, now: u64, limits: &Limits) -> Self {
        let before = before.unwrap_or(0);
        let lost = before.saturating_sub(now);
        let are_most = lost > u64::from(limits.sudden_orphans) && now < before.div_ceil(2);
        if are_most || (now == 0 && before > 0) { Self::ProveNothing } else { Self::Prove }
    }
}

impl LedgerState {
    /// The volumes that lost their last holder between this state and the one after it.
    pub fn orphans(&self, after: &Self) -> Orphans {
        let is_orphan = |(name, record): &(&VolumeName, &VolumeRecord)| {
            record.unreferenced.is_some()
                && self.volumes.get(*name).is_some_and(|before| {
                    before.unreferenced.is_none() && before.identity.is_same(&record.identity)
                })
        };
        let last_holder = |name| {
            let last = self.volumes.get(name)?.last_holder.as_ref()?;
            let is_known = self.last_sweep.as_ref().is_none_or(|sweep| last.seen_at >= sweep.wall);
            is_known.then(|| container_of(last)).flatten()
        };
        after.volumes.iter().filter(is_orphan).map(|(name, _)| (name.clone(), last_holder(name))).collect()
    }

    /// Whether so many volumes lost their last holder that somebody has to have seen these end.
    pub fn are_many(&self, orphans: usize, limits: &Limits) -> bool {
        let held = self.volumes.values().filter(|record| record.unreferenced.is_none()).count();
        let share = held.saturating_mul(limits.sudden_orphan_share as usize).div_ceil(100);
        orphans > limits.sudden_orphans as usize && orphans >= share
    }

    /// The orphans whose last holder nobody saw end, when these are many; and those that a container held, when there is none any
    /// more. `self` is the state before.
    pub fn suspects(
        &self,
        orphans: &Orphans,
        ends: &SeenEnds,
        containers: u64,
        limits: &Limits,
    ) -> BTreeSet<VolumeName> {
        let directories = Directories::by_count(self.last_containers, containers, limits);
        let is_unseen = |(name, container): &(&VolumeName, &Option<String>)| {
            let was_told = self
                .volumes
                .get(*name)
                .and_then(|record| record.last_holder.as_ref())
                .is_some_and(was_seen_removed);
            !was_told && !container.as_ref().is_some_and(|id| ends.has(id, directories))
        };
        let unseen: Orphans = orphans
            .iter()
            .filter(is_unseen)
            .map(|(name, container)| (name.clone(), container.clone()))
            .collect();
        let is_suspect = |container: &Option<String>| {
            self.are_many(unseen.len(), limits) || (containers == 0 && container.is_some())
        };
        unseen.iter().filter(|(_, container)| is_suspect(container)).map(|(name, _)| name.clone()).collect()
    }

    /// Holds volumes by the brake from now on.
    pub fn suspect(&mut self, suspects: &BTreeSet<VolumeName>, now: DateTime<Utc>) {
        for name in suspects {
            if let Some(record) = self.volumes.get_mut(name) {
                record.suspected_since = Some(now);
            }
        }
    }

    /// How many containers held a volume at the last sweep and were not seen to end, when there is none now: an empty list explains
    /// nothing by itself, and neither does a directory that is gone.
    pub fn unseen_ends(&self, ends: &SeenEnds) -> usize {
        let held = self.volumes.values().filter(|record| record.unreferenced.is_none());
        let holders: BTreeSet<String> = held
            .filter_map(|record| record.last_holder.as_ref())
            .filter(|last| !was_seen_removed(last))
            .filter_map(container_of)
            .collect();
        holders.iter().filter(|id| !ends.has(id, Directories::ProveNothing)).count()
    }

    /// The containers that held a volume at the last sweep.
    pub fn last_containers_by_id(&self) -> BTreeSet<String> {
        let held = self.volumes.values().filter(|record| record.unreferenced.is_none());
        held.filter_map(|record| record.last_holder.as_ref()).filter_map(container_of).collect()
    }
}

fn container_of(last: &LastHolder) -> Option<String> {
    match last.holder.kind {
        HolderKind::Container | HolderKind::UnloadedContainer => Some(last.holder.id.clone()),
        HolderKind::Volume
        | HolderKind::Plugin
        | HolderKind::Mount
        | HolderKind::Process
        | HolderKind::Service
        | HolderKind::UnknownSwarm
        | HolderKind::Hold => None,
    }
}

/// Whether an event told of its removal while the service ran; see [`Doing::state`].
fn was_seen_removed(last: &LastHolder) -> bool {
    last.holder.kind == HolderKind::Container
        && last.holder.detail.split(',').next() == Some(Doing::Removed.state())
}

/// Why the brake holds a volume; none when it does not.
pub fn suspicion(policy: &Policy, record: &VolumeRecord, volume: &Volume) -> Option<Verdict> {
    let since = record.suspected_since?;
    if is_over(policy, record, volume) {
        return None;
    }
    let detail = format!(
        "lost its last holder at {}, together with many others or with all that the engine had, and nobody saw these end; see `volgc \
         acknowledge`",
        since.format("%Y-%m-%d %H:%M:%SZ")
    );
    Some(Verdict::keep(Reason::SuddenOrphan, detail))
}

/// Suspicion lasts for a whole grace period of complete looks, and the volume's own one comes on top.
fn is_over(policy: &Policy, record: &VolumeRecord, volume: &Volume) -> bool {
    let own = match policy.decide(volume) {
        Decision::By { disposition: Disposition::Collect { quarantine_after, .. }, .. } => quarantine_after,
        Decision::By { disposition: Disposition::Keep, .. }
        | Decision::KeepLabel
        | Decision::MalformedLabel(_) => Duration::ZERO,
    };
    let own = own.max(policy.limits.min_grace);
    let whole = own.saturating_add(own.max(LEAST));
    record.unreferenced.as_ref().is_some_and(|clock| clock.watched >= whole)
}

/// What the brake holds back in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// How many volumes.
    pub volumes: usize,
    /// What was seen, what was expected, what to do.
    pub text: String,
}

/// What the brake holds back by the verdicts of a plan; none when it holds nothing that would not be kept anyway.
pub fn held_back<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Option<HeldBack> {
    let volumes = verdicts.filter(|verdict| verdict.reason == Reason::SuddenOrphan).count();
    let what = if volumes == 1 { "volume" } else { "volumes" };
    (volumes > 0).then(|| HeldBack {
        volumes,
        text: format!(
            "{volumes} {what} lost the last holder together with many others or with every container, and nobody saw these holders end: \
             either the engine does not show them any more, as after somebody emptied its directory `containers`, or they ended while \
             nobody watched. Nothing is done with what they held \
             until that is clear. If it is right, run `volgc acknowledge`; else find out why the engine does not show them. \
             `volgc report` names the volumes"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            min_grace: Duration::ZERO,
            min_sightings: 1,
            max_per_sweep: 1,
            max_share_per_sweep: 1,
            max_gap: Duration::ZERO,
            sudden_orphans: 10,
            sudden_orphan_share: 50,
            reads: super::super::touched::Reads::Count,
        }
    }

    #[test]
    fn a_directory_that_is_gone_proves_nothing_where_most_containers_are_gone() {
        let cases = [
            ((Some(20), 20), Directories::Prove),
            ((Some(20), 10), Directories::Prove),
            ((Some(20), 9), Directories::ProveNothing),
            // Few.
            ((Some(11), 1), Directories::Prove),
            ((Some(12), 1), Directories::ProveNothing),
            // All.
            ((Some(1), 0), Directories::ProveNothing),
            ((Some(0), 0), Directories::Prove),
            ((None, 0), Directories::Prove),
        ];
        for ((before, now), expected) in cases {
            assert_eq!(Directories::by_count(before, now, &limits()), expected, "{before:?} {now}");
        }
    }
}
