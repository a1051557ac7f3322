//! What one damage is, what is told of it, and how each is tried.

use std::fs;
use std::process::Command;

use crate::damage::state::site::Site;
use harness::{PrivateEngine, tree_listing};

/// A command with what must come of it: its exit code, and words that it must say.
pub(crate) type Told = (&'static str, i32, &'static [&'static str]);

/// One damage.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    /// What is done to the host.
    pub(crate) damage: fn(&Site<'_>),
    /// What each command says of it. `ORPHAN`, `KEPT`, `ENTRY`, `LEDGER`, `QUARANTINE` and `MANIFEST` stand for the site's own.
    pub(crate) told: &'static [Told],
    /// What the message said to do.
    pub(crate) mend: fn(&Site<'_>),
    /// Whether the entry is to be restored in the end, under the name it had.
    pub(crate) comes_back: Comes,
}

pub(crate) enum Comes {
    /// By `volgc restore`, under its name.
    Back,
    /// It was restored, or its data was moved by hand, within the case.
    Otherwise,
}

impl Site<'_> {
    /// Everything works again: what was in quarantine comes back, what is due goes there, and comes back too.
    #[track_caller]
    fn assert_works(&self, case: &Case) {
        let what = case.what;
        match case.comes_back {
            Comes::Back => {
                self.run(what, ("restore ENTRY", 0, &["restored volume KEPT"]));
            }
            Comes::Otherwise => {}
        }
        let mut names = self.names();
        // A new ledger sees everything for the first time.
        for _ in 0..2 {
            if !names.contains(&self.orphan) {
                self.run(what, ("sweep", 0, &[]));
                names = self.names();
            }
        }
        assert!(names.contains(&self.orphan), "{what}: nothing is collected any more: {names:?}");
        self.run(what, ("restore ORPHAN", 0, &[]));
        assert_eq!(tree_listing(&self.engine.volume_data(&self.orphan)), self.contents[0], "{what}");
    }
}

pub(crate) fn nothing(_: &Site<'_>) {}

/// Tries each case, and tells all that are wrong.
pub(crate) fn try_all(engine: &PrivateEngine, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let site = Site::new(engine, number);
            (case.damage)(&site);
            site.assert_whole(case.what);
            for told in case.told {
                site.run(case.what, *told);
            }
            (case.mend)(&site);
            site.assert_works(case);
            site.clear();
        }));
        if tried.is_err() {
            wrong.push(case.what);
            clear_by_force(engine);
        }
    }
    assert!(wrong.is_empty(), "of {} cases these are wrong: {wrong:#?}", cases.len());
    println!("damage: {} inputs tried, {} losses", cases.len(), wrong.len());
}

/// So that one case that is wrong says nothing of the others.
fn clear_by_force(engine: &PrivateEngine) {
    for volgc in fs::read_dir(engine.dir()).unwrap().flatten() {
        Command::new("umount").arg("-q").arg(volgc.path().join("state")).status().unwrap();
    }
    for path in [engine.root().join("volgc"), engine.root().join("aside")] {
        Command::new("rm").arg("-rf").arg(path).status().unwrap();
    }
    for name in engine.volume_names() {
        engine.json("DELETE", &format!("/volumes/{name}"), None);
    }
}
