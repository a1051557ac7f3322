//! The form of `tests/scenarios/*.toml`.
//!
//! A file has a configuration, in the syntax of volgc's own, and scenarios. One scenario says what was observed and remembered,
//! and which verdict each volume and each entry gets. Times are counted from its now: `due = "3d"` is in three days.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use volgc::config;
use volgc::gc::guard;
use volgc::gc::inventory::Inventory;
use volgc::gc::ledger::LedgerState;
use volgc::gc::odd::OddVolume;
use volgc::gc::plan::{Plan, Quarantine, plan};
use volgc::gc::reference::Reference;
use volgc::gc::verdict::{Step, Verdict};
use volgc::gc::volume::{Class, VolumeIdentity};

use super::given::{GivenEntry, GivenVolume, Ordered, Sweep, span};
use super::{Scene, answers, engine, id, later, now};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// volgc's configuration; a scenario may have its own.
    config: String,
    pub scenario: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// Instead of the file's.
    config: Option<String>,
    #[serde(default)]
    order: Ordered,
    /// The sweep that is now: without it the ledger is as this sweep left it, with it as the one before did.
    sweep: Option<Sweep>,
    #[serde(default)]
    volumes: Vec<GivenVolume>,
    #[serde(default)]
    entries: Vec<GivenEntry>,
    /// Names that cannot be used.
    #[serde(default)]
    odd: Vec<String>,
    /// By name; `v-01..v-05` is all of these.
    pub expect: BTreeMap<String, Expected>,
    /// What the guard approves; left out, everything that is due.
    steps: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Action and reason, as `keep held`.
    pub verdict: String,
    /// From now; nothing for no time.
    due: Option<String>,
    rule: Option<String>,
    /// What the sentence must say.
    says: Option<String>,
}

impl Scenario {
    fn scene(&self, file: &File) -> Scene {
        let text = self.config.as_ref().unwrap_or(&file.config);
        let settings =
            config::parse(text, &self.name).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let volumes = self.volumes.iter().flat_map(GivenVolume::made).collect();
        let of_volumes = self.volumes.iter().flat_map(GivenVolume::references);
        let references: Vec<Reference> =
            of_volumes.chain(self.entries.iter().filter_map(GivenEntry::reference)).collect();
        let inventory = Inventory::complete(now(), engine(), volumes, answers(&references)).unwrap();
        let inventory = inventory.with_odd(self.odd.iter().map(|name| odd(name)).collect());
        let entries = self.entries.iter().flat_map(GivenEntry::made).collect();
        let held = self.entries.iter().filter_map(|entry| Some((&entry.entry, entry.held_by.clone()?)));
        let held = held.map(|(entry, holder)| (id(entry), holder));
        let undeletable = self.entries.iter();
        let undeletable =
            undeletable.filter_map(|entry| entry.undeletable.clone().map(|why| (id(&entry.entry), why)));
        let quarantine = Quarantine { entries, held: held.collect(), undeletable: undeletable.collect() };
        let mut ledger = LedgerState::default();
        self.volumes.iter().for_each(|volume| volume.records(&mut ledger));
        self.entries.iter().for_each(|entry| entry.remembered(&mut ledger));
        if let Some(sweep) = &self.sweep {
            ledger = sweep.observed(ledger, &inventory, &quarantine, &settings.policy.limits);
        }
        Scene { inventory, quarantine, ledger, policy: settings.policy, now: now() }
    }

    /// Makes the plan and has it approved; says the words of every reason in it, or what is not as expected.
    pub fn check(&self, file: &File) -> Result<BTreeSet<&'static str>, String> {
        let scene = self.scene(file);
        let order = self.order.order();
        let plan = plan(scene.situation(), &order);
        let wrong = |what: String| format!("scenario {:?}: {what}", self.name);
        let mut expected: BTreeMap<String, &Expected> = BTreeMap::new();
        for (names, one) in &self.expect {
            expected.extend(spread(names).into_iter().map(|name| (name, one)));
        }
        let mut words = BTreeSet::new();
        for (subject, verdict) in verdicts(&plan) {
            let one = expected.remove(&subject).ok_or_else(|| wrong(format!("{subject} is not expected")))?;
            one.meets(verdict).map_err(|why| wrong(format!("{subject}: {why}")))?;
            words.insert(verdict.reason.word());
        }
        if let Some((missing, _)) = expected.first_key_value() {
            return Err(wrong(format!("{missing} is not in the plan")));
        }
        let approved = guard::approve(&plan, scene.situation(), &order)
            .map_err(|violations| wrong(format!("the guard refuses: {violations:?}")))?;
        let shown = |steps: Vec<Step>| -> BTreeSet<String> { steps.iter().map(show).collect() };
        let steps = self.steps.as_ref().map(|steps| steps.iter().cloned().collect());
        let (wanted, got) = (steps.unwrap_or_else(|| shown(plan.due())), shown(approved.into_steps()));
        if wanted == got { Ok(words) } else { Err(wrong(format!("steps {got:?}, not {wanted:?}"))) }
    }
}

fn show(step: &Step) -> String {
    match step {
        Step::Quarantine(name) => format!("quarantine {name}"),
        Step::Release(entry) => format!("release {entry}"),
        Step::Delete(entry) => format!("delete {entry}"),
    }
}

fn verdicts(plan: &Plan) -> impl Iterator<Item = (String, &Verdict)> {
    let volumes = plan.volumes.iter().map(|(name, verdict)| (name.to_string(), verdict));
    let odd = plan.odd.iter().map(|(name, verdict)| (name.clone(), verdict));
    volumes.chain(odd).chain(plan.entries.iter().map(|(entry, verdict)| (entry.clone(), verdict)))
}

fn odd(name: &str) -> OddVolume {
    let driver = "plugin".to_owned();
    let identity = VolumeIdentity::Record { driver: driver.clone(), created_at: String::new() };
    OddVolume { name: name.to_owned(), class: Class::Named, driver, labels: BTreeMap::new(), identity }
}

fn spread(names: &str) -> Vec<String> {
    let Some((first, last)) = names.split_once("..") else { return vec![names.to_owned()] };
    let (base, from) = first.rsplit_once('-').unwrap();
    let (_, to) = last.rsplit_once('-').unwrap();
    let (from, to): (u32, u32) = (from.parse().unwrap(), to.parse().unwrap());
    (from..=to).map(|number| format!("{base}-{number:02}")).collect()
}

impl Expected {
    fn meets(&self, verdict: &Verdict) -> Result<(), String> {
        let got = format!("{} {}", verdict.action.word(), verdict.reason.word());
        if got != self.verdict {
            return Err(format!("{got:?} ({}), not {:?}", verdict.detail, self.verdict));
        }
        let due_at = self.due.as_deref().map(|due| later(now(), span(due)));
        if verdict.due_at != due_at {
            return Err(format!("due at {:?}, not {due_at:?}", verdict.due_at));
        }
        if verdict.rule != self.rule {
            return Err(format!("by rule {:?}, not {:?}", verdict.rule, self.rule));
        }
        match &self.says {
            Some(says) if !verdict.detail.contains(says) => {
                Err(format!("it says {:?}, not {says:?}", verdict.detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}
