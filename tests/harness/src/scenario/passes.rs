//! Which fault points an undisturbed run of a scenario passes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Host, Scenario};
use crate::Version;

/// Fault points in the order of their names, each with how often it is passed.
pub(super) type Passes = Vec<(String, u32)>;

/// What was found out in this test process: a scenario passes the same points in every test on an engine of this version.
static KNOWN: Mutex<BTreeMap<(usize, &'static str), Passes>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<(usize, &'static str), Passes>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host<'_> {
    /// The fault points that an undisturbed run of the scenario passes, each with how often. Leaves the host as it was at its
    /// beginning, so it must be called then, or after `clear`.
    pub fn passes(&self, scenario: &Scenario) -> Passes {
        let version = Version::ALL.iter().position(|version| *version == self.engine.version());
        let key = (version.unwrap_or_default(), scenario.name);
        let found = known().get(&key).cloned();
        found.unwrap_or_else(|| {
            let passes = self.trace(scenario);
            self.clear();
            known().insert(key, passes.clone());
            passes
        })
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
