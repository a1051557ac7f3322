//! That nothing was lost, once everything is recovered.

use super::{Case, Host};
use crate::treasure::{self, Place, Treasure};

impl Host<'_> {
    /// One sweep recovers everything that is parked; then nothing is unfinished, and all is well. Says how much was lost: none, or an
    /// assertion has failed.
    #[track_caller]
    pub fn settle(&self, cases: &[(String, Case)], when: &str) -> usize {
        self.recover_all(when);
        self.assert_all_well(cases, when)
    }

    /// One sweep recovers everything that is parked.
    #[track_caller]
    pub fn recover_all(&self, when: &str) {
        self.unpark_all();
        let settled = self.volgc.ok(&["sweep"]);
        assert!(
            !settled.contains("could not be recovered") && !settled.contains("in doubt"),
            "{when}: {settled}"
        );
    }

    /// After recovery: nothing is unfinished, and everything is whole where it is. Of entries that differ in nothing but names and
    /// times, one is restored. Says how much was not seen to be whole, or deleted as ordered: none, or an assertion has failed.
    #[track_caller]
    pub fn assert_all_well(&self, cases: &[(String, Case)], when: &str) -> usize {
        let mut unseen: usize =
            cases.iter().map(|(_, case)| case.treasures.len() + usize::from(case.behind.is_some())).sum();
        treasure::assert_no_husk(self.engine, when);
        for entry in self.volgc.entries() {
            let is_finished = entry["state"] == "quarantined" || entry["state"] == "in_place";
            assert!(is_finished, "{when}: unfinished: {entry:#}");
        }
        for (what, case) in cases {
            let when = &format!("{when}, {what}");
            case.assert_behind(when);
            unseen -= usize::from(case.behind.is_some());
            for (number, treasure) in case.treasures.iter().enumerate() {
                let is_deletion = case.is_deletion && number == 0;
                if !(is_deletion && treasure.places(self.engine).is_empty()) {
                    self.assert_well(case, number, treasure, when);
                }
                unseen -= 1;
            }
        }
        unseen
    }

    #[track_caller]
    fn assert_well(&self, case: &Case, number: usize, treasure: &Treasure, when: &str) {
        let name = match treasure.assert_whole(self.engine, when) {
            Place::Volume(name) => name,
            Place::Deleting(entry) => panic!("{when}: {entry} is still being deleted"),
            Place::Entry(entry, manifest) => {
                assert_eq!(manifest["state"], "quarantined", "{when}: {manifest:#}");
                // Behind a proxy the name is closed while an order to forget it could still arrive.
                let is_closed = self.is_proxied || case.is_name_unsafe;
                let has_other = self.engine.volumes_dir().join(&treasure.name).exists();
                let kind = format!(
                    "{} {number} {is_closed} {has_other} {} {}",
                    case.command[0],
                    case.is_adopted,
                    treasure.kind_of_entry(self.engine, &entry)
                );
                if !self.restored.borrow_mut().insert(kind) {
                    return;
                }
                let name = if is_closed || has_other {
                    format!("{}-back{number}", treasure.name)
                } else {
                    treasure.name.clone()
                };
                self.volgc.ok(&["restore", &entry, "--as", &name]);
                name
            }
        };
        if case.is_adopted {
            // The engine made the volume for somebody else, without labels, around the data that lay there.
            treasure.assert_content(self.engine, &name, when);
        } else {
            treasure.assert_back(self.engine, &name, when);
        }
    }
}
