//! The operator's validated intent: mode, classes, ordered rules, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::GlobMatcher;
use serde::{Deserialize, Serialize};

use super::passing::Passing;
use super::touched::Reads;
use super::volume::{Class, KEEP_LABEL, OWN_LABEL_PREFIX, Volume};

/// How far a sweep may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The clocks run, nothing is moved.
    Observe,
    /// Volumes are quarantined, nothing is deleted.
    Quarantine,
    /// Volumes are quarantined, and deleted when their grace period is over.
    Enforce,
}

impl Mode {
    /// The word used in configuration, output and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Quarantine => "quarantine",
            Self::Enforce => "enforce",
        }
    }
}

/// What is to become of volumes once nothing holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// They stay.
    Keep,
    /// They are quarantined, later deleted.
    Collect {
        /// Watched time without a holder before the volume is quarantined.
        quarantine_after: Duration,
        /// Watched time in quarantine before it is deleted.
        delete_after: Duration,
    },
}

/// A condition on a label: `key` (any value) or `key=value` (a glob on the value).
#[derive(Debug, Clone)]
pub struct LabelMatch {
    /// The label's key, compared exactly.
    pub key: String,
    /// The value's pattern, if one was given.
    pub value: Option<GlobMatcher>,
}

/// The conditions of a rule. All that are given must hold; within one, any of its values.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Globs on the volume's name.
    pub volume: Vec<GlobMatcher>,
    /// Conditions on labels.
    pub label: Vec<LabelMatch>,
    /// Globs on the Compose project.
    pub compose_project: Vec<GlobMatcher>,
    /// Classes.
    pub class: Vec<Class>,
}

impl Match {
    /// Whether the volume meets every given condition. Without any condition nothing matches, so that a rule left empty by
    /// mistake does not take every volume.
    pub fn matches(&self, volume: &Volume) -> bool {
        let conditions = [
            (!self.volume.is_empty(), self.volume.iter().any(|glob| glob.is_match(volume.name.as_str()))),
            (!self.label.is_empty(), self.label.iter().any(|label| label.is_on(&volume.labels))),
            (
                !self.compose_project.is_empty(),
                volume
                    .compose_project()
                    .is_some_and(|project| self.compose_project.iter().any(|glob| glob.is_match(project))),
            ),
            (!self.class.is_empty(), self.class.contains(&volume.class)),
        ];
        conditions.iter().any(|(given, _)| *given) && conditions.iter().all(|(given, met)| !given || *met)
    }
}

impl LabelMatch {
    /// Whether such a label is among these.
    pub fn is_on(&self, labels: &BTreeMap<String, String>) -> bool {
        labels
            .get(&self.key)
            .is_some_and(|value| self.value.as_ref().is_none_or(|pattern| pattern.is_match(value)))
    }
}

/// One rule; the first that matches decides.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, shown wherever it decided.
    pub name: String,
    /// Its conditions.
    pub conditions: Match,
    /// What becomes of the volumes it matches.
    pub disposition: Disposition,
    /// Whether volumes that cannot be moved are quarantined in place, which ends with the engine's own removal.
    pub in_place: bool,
}

impl Rule {
    /// Whether it decides on the volume. What the engine does not list is collected by no rule that does not name that class;
    /// a rule that keeps protects it like any other.
    fn decides_on(&self, volume: &Volume) -> bool {
        let names_the_class = match (volume.class, self.disposition) {
            (Class::Anonymous | Class::Named, _) | (Class::Unlisted, Disposition::Keep) => true,
            (Class::Unlisted, Disposition::Collect { .. }) => {
                self.conditions.class.contains(&Class::Unlisted)
            }
        };
        names_the_class && self.conditions.matches(volume)
    }
}

/// The blast radius and the floors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// No grace period may be shorter.
    pub min_grace: Duration,
    /// In how many complete sweeps a volume must have been seen unreferenced before it is moved.
    pub min_sightings: u32,
    /// How many volumes one sweep may quarantine, and how many entries it may delete.
    pub max_per_sweep: u32,
    /// The same as a share of all volumes, in percent. The larger of the two counts.
    pub max_share_per_sweep: u32,
    /// The longest time between two complete sweeps that counts as watched.
    pub max_gap: Duration,
    /// The sudden-orphan brake: how many volumes may lose their last holder between two sweeps...
    pub sudden_orphans: u32,
    /// ...when they are also at least this share, in percent, of those that were held before.
    pub sudden_orphan_share: u32,
    /// Whether data in quarantine that somebody read is kept like data that somebody changed.
    pub reads: Reads,
}

impl Limits {
    /// How many steps of one kind a sweep may take on a host with that many volumes.
    pub fn steps_allowed(&self, volumes: usize) -> usize {
        let share = volumes.saturating_mul(self.max_share_per_sweep as usize) / 100;
        share.max(self.max_per_sweep as usize)
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How far a sweep may go.
    pub mode: Mode,
    /// In the order they were written.
    pub rules: Vec<Rule>,
    /// For anonymous volumes that no rule matches.
    pub anonymous: Disposition,
    /// For named volumes that no rule matches.
    pub named: Disposition,
    /// Floors and brakes.
    pub limits: Limits,
    /// Containers that only pass by.
    pub passing: Vec<Passing>,
}

/// What the policy says of one volume, and which part of it said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The volume's maker asked by label that it be kept.
    KeepLabel,
    /// A label in our name space has a value that is not understood; it may have meant "keep".
    MalformedLabel(String),
    /// A rule or class policy.
    By {
        /// The rule's name, or none for the policy of the class.
        rule: Option<String>,
        /// What it says.
        disposition: Disposition,
    },
}

impl Policy {
    /// What is to become of the volume once nothing holds it.
    pub fn decide(&self, volume: &Volume) -> Decision {
        if let Some(by_label) = decide_by_labels(volume) {
            return by_label;
        }
        if let Some(rule) = self.rule_on(volume) {
            return Decision::By { rule: Some(rule.name.clone()), disposition: rule.disposition };
        }
        let disposition = match volume.class {
            Class::Anonymous => self.anonymous,
            Class::Named => self.named,
            // What the engine does not list may be anything: only a rule takes it.
            Class::Unlisted => Disposition::Keep,
        };
        Decision::By { rule: None, disposition }
    }

    /// Whether the rule that decides on the volume permits a quarantine in place. No policy of a class does.
    pub fn permits_in_place(&self, volume: &Volume) -> bool {
        self.rule_on(volume).is_some_and(|rule| rule.in_place)
    }

    fn rule_on(&self, volume: &Volume) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.decides_on(volume))
    }
}

/// Labels come first: whoever made the volume knew what is in it. An unknown label in our name space keeps (I2).
fn decide_by_labels(volume: &Volume) -> Option<Decision> {
    let ours = || volume.labels.iter().filter(|(key, _)| key.starts_with(OWN_LABEL_PREFIX));
    if ours().any(|(key, value)| key == KEEP_LABEL && value == "true") {
        return Some(Decision::KeepLabel);
    }
    ours()
        .find(|(key, value)| !(key.as_str() == KEEP_LABEL && value.as_str() == "false"))
        .map(|(key, value)| Decision::MalformedLabel(format!("{key}={value}")))
}
