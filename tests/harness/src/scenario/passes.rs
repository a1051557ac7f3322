//! Which fault points an undisturbed run of a scenario passes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{Host, Scenario};
use crate::Version;

/// Fault points in the order of their names, each with how often it is passed.
pub(super) type Passes = Vec<(String, u32)>;

type Key = (usize, &'static str);

/// What was found out in this test process: a scenario passes the same points in every test on an engine of this version. Without
/// passes, another test is about to find them out.
static KNOWN: Mutex<BTreeMap<Key, Option<Passes>>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

fn known() -> MutexGuard<'static, BTreeMap<Key, Option<Passes>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scenario that this test finds out; given back when it fails.
struct Claim(Key);

impl Drop for Claim {
    fn drop(&mut self) {
        let mut known = known();
        if known.get(&self.0) == Some(&None) {
            known.remove(&self.0);
        }
        CHANGED.notify_all();
    }
}

impl Host<'_> {
    /// The fault points that an undisturbed run of each scenario passes, each with how often. Leaves the host as it was at its
    /// beginning, so it must be called then, or after `clear`.
    pub fn passes(&self, scenarios: &[Scenario]) -> Vec<Passes> {
        let version = Version::ALL.iter().position(|version| *version == self.engine.version());
        let key = |scenario: &Scenario| (version.unwrap_or_default(), scenario.name);
        loop {
            let mut state = known();
            if let Some(scenario) = scenarios.iter().find(|scenario| !state.contains_key(&key(scenario))) {
                let claim = Claim(key(scenario));
                state.insert(claim.0, None);
                drop(state);
                let passes = self.trace(scenario);
                self.clear();
                known().insert(claim.0, Some(passes));
                continue;
            }
            let found: Option<Vec<Passes>> =
                scenarios.iter().map(|scenario| state.get(&key(scenario)).cloned().flatten()).collect();
            match found {
                Some(passes) => return passes,
                None => drop(CHANGED.wait(state)),
            }
        }
    }

    fn trace(&self, scenario: &Scenario) -> Passes {
        let trace = self.engine.dir().join("trace");
        fs::remove_file(&trace).ok();
        let case = self.prepare(scenario);
        let output = self.run(&case, scenario.with, Some(&trace));
        let is_to_fail = scenario.with.contains("=E");
        assert!(is_to_fail || output.status == Some(0), "{} {:?}: {output:?}", scenario.name, case.command);
        if !case.is_deletion {
            case.treasures.iter().for_each(|treasure| {
                treasure.assert_whole(self.engine, scenario.name);
            });
        }
        case.assert_behind(scenario.name);
        let mut passes: BTreeMap<String, u32> = BTreeMap::new();
        for point in fs::read_to_string(&trace).unwrap_or_default().lines() {
            *passes.entry(point.to_owned()).or_default() += 1;
        }
        passes.into_iter().collect()
    }
}
