//! Brakes: refusals to act because the whole picture looks wrong. Each says what was seen, what was expected and what to do.

use super::ledger::{KnownEngine, LedgerState};
use super::lineage::{Noted, Places, Standing};
use super::orphans;
use super::policy::Limits;

/// The whole picture, as far as a brake looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// The engine's ID.
    pub id: String,
    /// Its docker root.
    pub root: String,
    /// Its version.
    pub version: String,
    /// Whether containers outlive the daemon; none when it does not say.
    pub live_restore: Option<bool>,
    /// How many containers it lists.
    pub containers: u64,
    /// How many containers that held a volume at the last sweep nobody saw end, when it lists none.
    pub unseen_ends: usize,
    /// Whether it is Podman.
    pub is_podman: bool,
    /// Whether it runs as an ordinary user.
    pub is_rootless: bool,
    /// Why the docker root is not on this machine, when it is not.
    pub root_problem: Option<String>,
    /// Its directories; none where they are not on this machine.
    pub places: Option<Places>,
    /// What is noted in the quarantine directory of the ledger that was used last.
    pub noted: Noted,
    /// How the ledger in use stands to that one.
    pub standing: Standing,
}

/// What a brake doubts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// That this is the engine and the root that it is taken for: then not even an interrupted move may be undone.
    Engine,
    /// That the engine sees all references: undoing an interrupted move needs none.
    References,
}

/// A refusal of a whole sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word.
    pub word: &'static str,
    /// What it doubts.
    pub doubt: Doubt,
    /// What was seen, what was expected, what to do.
    pub text: String,
}

/// The word of every brake there is. The last one refuses no sweep, but holds some volumes back; see [`super::orphans`].
pub const WORDS: [&str; 9] = [
    "root_not_here",
    "podman",
    "rootless",
    "other_engine",
    "root_copied",
    "other_ledger",
    "empty_container_list",
    "live_restore",
    orphans::WORD,
];

/// The first version whose reference counts survive a restart under live-restore (moby 44231, 44237, 44238).
const LIVE_RESTORE_FIXED: [u64; 3] = [20, 10, 19];

/// Every brake that holds.
pub fn refusals(facts: &EngineFacts, ledger: &LedgerState, limits: &Limits) -> Vec<Refusal> {
    [
        facts.root_problem.as_ref().map(|problem| Refusal {
            word: "root_not_here",
            doubt: Doubt::Engine,
            text: format!("{problem}. Run volgc on the engine's machine, as root; `volgc report` works from anywhere"),
        }),
        facts.is_podman.then(|| Refusal {
            word: "podman",
            doubt: Doubt::Engine,
            text: "this is Podman, which deletes any volume whose name begins with the one given (podman issue 23943); \
                   volgc reports on it, and moves nothing"
                .to_owned(),
        }),
        facts.is_rootless.then(|| Refusal {
            word: "rootless",
            doubt: Doubt::Engine,
            text: "this engine runs rootless: it cannot use a volume directory that root makes, so volgc could not bring a volume back; \
                   volgc reports on it, and moves nothing"
                .to_owned(),
        }),
        other_engine(facts, ledger),
        root_copied(facts, ledger),
        other_ledger(facts, ledger),
        empty_list(facts, ledger, limits),
        live_restore(facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn other_engine(facts: &EngineFacts, ledger: &LedgerState) -> Option<Refusal> {
    let known = ledger.engine.as_ref()?;
    if known.id == facts.id && known.root == facts.root {
        return None;
    }
    Some(Refusal {
        word: "other_engine",
        doubt: Doubt::Engine,
        text: format!(
            "the engine that answers is {} with root {}, but the ledger is about {} with root {}. If that is right, run \
             `volgc acknowledge`; else check [docker] host and --state-dir",
            facts.id, facts.root, known.id, known.root
        ),
    })
}

/// The directories are others than at the last sweep: what the ledger and the manifests say of any of them cannot be compared.
fn root_copied(facts: &EngineFacts, ledger: &LedgerState) -> Option<Refusal> {
    let now = facts.places.as_ref()?;
    let is_known = |known: &KnownEngine| known.id == facts.id && known.root == facts.root;
    let before = ledger.places.as_ref().filter(|_| ledger.engine.as_ref().is_some_and(is_known));
    // What was noted in the quarantine directory came along with it, to a new ledger or another engine, too.
    let is_noted_otherwise = !ledger.acknowledged && facts.noted.is_of_others(now);
    if !before.is_some_and(|before| now.differ_from(before)) && !is_noted_otherwise {
        return None;
    }
    Some(Refusal {
        word: "root_copied",
        doubt: Doubt::Engine,
        text: format!(
            "{}/volumes or its quarantine is another directory than at the last sweep: the docker root was copied, restored or made \
             anew, or another disk is mounted there. If that is right, run `volgc acknowledge`, which binds holds and what is in \
             quarantine to the new directories; else mount the right disk",
            facts.root
        ),
    })
}

/// Holds that were given with another ledger are not known to this one (I1).
fn other_ledger(facts: &EngineFacts, ledger: &LedgerState) -> Option<Refusal> {
    if ledger.acknowledged || !facts.noted.may_miss_holds() {
        return None;
    }
    let used =
        facts.noted.at().map_or_else(String::new, |at| format!(" at {}", at.format("%Y-%m-%d %H:%MZ")));
    let what = match (facts.standing, &facts.noted) {
        (Standing::Same, _) => return None,
        (Standing::Older, _) => {
            format!("the ledger is older than the one that was used here last{used}, as from a backup")
        }
        (Standing::Other, _) => format!("the ledger is not the one that was used here last{used}"),
        (Standing::Unknown, Noted::Unreadable(why)) => why.clone(),
        (Standing::Unknown, Noted::Nothing | Noted::Known(_)) => {
            "which ledger was used here last is not known".to_owned()
        }
    };
    Some(Refusal {
        word: "other_ledger",
        doubt: Doubt::References,
        text: format!(
            "{what}. So holds may be missing: look at `volgc holds`, give again what is missing, and run `volgc acknowledge`; or put \
             the right ledger back, or name its directory with --state-dir"
        ),
    })
}

fn empty_list(facts: &EngineFacts, ledger: &LedgerState, limits: &Limits) -> Option<Refusal> {
    let before = ledger.last_containers?;
    let is_sudden = before > u64::from(limits.sudden_orphans) && facts.unseen_ends > 0;
    (facts.containers == 0 && is_sudden).then(|| Refusal {
        word: "empty_container_list",
        doubt: Doubt::References,
        text: format!(
            "the engine lists no container at all, there were {before} at the last sweep, and nobody saw {} of them end that \
             held volumes. If they were all removed on purpose, run `volgc acknowledge`; else find out why the engine does \
             not show them",
            facts.unseen_ends
        ),
    })
}

fn live_restore(facts: &EngineFacts) -> Option<Refusal> {
    if facts.live_restore == Some(false) {
        return None;
    }
    let version = parse_version(&facts.version);
    let is_fixed = version.is_some_and(|version| version >= LIVE_RESTORE_FIXED);
    // I1: an engine that does not say whether it uses live-restore is judged by its version, and one whose version says nothing may have
    // the defect.
    if is_fixed {
        return None;
    }
    Some(Refusal {
        word: "live_restore",
        doubt: Doubt::References,
        text: format!(
            "engine {} {} its volume references when it restarts under live-restore (moby issue 44231, fixed in 20.10.19); \
             upgrade the engine or switch live-restore off",
            facts.version,
            if version.is_some() { "loses" } else { "may lose" }
        ),
    })
}

/// The numbers at the front: `20.10.24+dfsg1` is 20, 10, 24.
#[expect(clippy::disallowed_methods, reason = "a version that we cannot read counts as one with the defect")]
fn parse_version(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Some([number()?, number()?, number()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::ledger::ClockReading;
    use crate::gc::lineage::Note;
    use crate::gc::touched::Reads;
    use crate::gc::volume::DirectoryIdentity;
    use chrono::DateTime;
    use std::time::Duration;

    fn facts() -> EngineFacts {
        EngineFacts {
            id: "A".to_owned(),
            root: "/r".to_owned(),
            version: "26.1.5+dfsg1".to_owned(),
            live_restore: Some(false),
            containers: 3,
            unseen_ends: 0,
            is_podman: false,
            is_rootless: false,
            root_problem: None,
            places: None,
            noted: Noted::Nothing,
            standing: Standing::Same,
        }
    }

    fn limits() -> Limits {
        Limits {
            min_grace: Duration::ZERO,
            min_sightings: 1,
            max_per_sweep: 1,
            max_share_per_sweep: 1,
            max_gap: Duration::ZERO,
            sudden_orphans: 10,
            sudden_orphan_share: 50,
            reads: Reads::Count,
        }
    }

    fn words(facts: &EngineFacts, ledger: &LedgerState) -> Vec<&'static str> {
        let words: Vec<_> =
            refusals(facts, ledger, &limits()).into_iter().map(|refusal| refusal.word).collect();
        assert!(words.iter().all(|word| WORDS.contains(word)), "{words:?}");
        words
    }

    #[test]
    fn a_usual_engine_is_not_refused() {
        assert_eq!(words(&facts(), &LedgerState::default()), Vec::<&str>::new());
    }

    #[test]
    fn another_engine_or_root_is_refused_until_acknowledged() {
        let known = |id: &str, root: &str| LedgerState {
            engine: Some(KnownEngine { id: id.to_owned(), root: root.to_owned() }),
            ..LedgerState::default()
        };
        assert_eq!(words(&facts(), &known("A", "/r")), Vec::<&str>::new());
        assert_eq!(words(&facts(), &known("B", "/r")), ["other_engine"]);
        assert_eq!(words(&facts(), &known("A", "/s")), ["other_engine"]);
    }

    #[test]
    fn directories_that_are_others_by_now_are_refused_until_acknowledged() {
        let directory = |inode| DirectoryIdentity { device: 1, inode, born_at_ns: 1, has_birth_time: true };
        let places = |inode| Some(Places { volumes: directory(inode), quarantine: None });
        let engine = Some(KnownEngine { id: "A".to_owned(), root: "/r".to_owned() });
        let ledger = |places| LedgerState { engine: engine.clone(), places, ..LedgerState::default() };
        let here = |places| EngineFacts { places, ..facts() };
        assert_eq!(words(&here(places(2)), &ledger(places(2))), Vec::<&str>::new());
        assert_eq!(words(&here(places(3)), &ledger(places(2))), ["root_copied"]);
        assert_eq!(
            words(&here(places(3)), &ledger(None)),
            Vec::<&str>::new(),
            "acknowledged, or the first sweep"
        );
        assert_eq!(words(&here(None), &ledger(places(2))), Vec::<&str>::new(), "another brake tells of that");
        // Of another engine it is told, and of its directories nothing is expected.
        let other = EngineFacts { id: "B".to_owned(), ..here(places(3)) };
        assert_eq!(words(&other, &ledger(places(2))), ["other_engine"]);
        // But for what is noted in the quarantine itself.
        let at =
            ClockReading { wall: DateTime::UNIX_EPOCH, monotonic: Duration::ZERO, boot_id: "b".to_owned() };
        let (id, mark) = ("a".to_owned(), "m".to_owned());
        let noted = Noted::Known(Note { ledger: id, mark, holds: 0, at, places: places(2) });
        let copied = EngineFacts { noted: noted.clone(), ..here(places(3)) };
        let acknowledged = LedgerState { acknowledged: true, ..ledger(None) };
        assert_eq!(words(&copied, &LedgerState::default()), ["root_copied"], "a new ledger");
        assert_eq!(words(&copied, &acknowledged), Vec::<&str>::new());
        assert_eq!(
            words(&EngineFacts { noted: noted.clone(), ..here(places(2)) }, &ledger(None)),
            Vec::<&str>::new()
        );
        assert_eq!(
            words(&EngineFacts { noted, ..other }, &ledger(places(2))),
            ["other_engine", "root_copied"]
        );
    }

    #[test]
    fn a_ledger_that_may_lack_holds_is_refused_until_acknowledged() {
        let at =
            ClockReading { wall: DateTime::UNIX_EPOCH, monotonic: Duration::ZERO, boot_id: "b".to_owned() };
        let noted = |holds| {
            let (ledger, mark) = ("a".to_owned(), "m".to_owned());
            Noted::Known(Note { ledger, mark, holds, at: at.clone(), places: None })
        };
        let seen = |noted, standing| EngineFacts { noted, standing, ..facts() };
        let ledger = LedgerState::default();
        let acknowledged = LedgerState { acknowledged: true, ..LedgerState::default() };
        for standing in [Standing::Older, Standing::Other] {
            assert_eq!(words(&seen(noted(1), standing), &ledger), ["other_ledger"]);
            assert_eq!(words(&seen(noted(0), standing), &ledger), Vec::<&str>::new(), "none can be missing");
            assert_eq!(words(&seen(noted(1), standing), &acknowledged), Vec::<&str>::new());
        }
        assert_eq!(words(&seen(noted(1), Standing::Same), &ledger), Vec::<&str>::new());
        let damaged = seen(Noted::Unreadable("f".to_owned()), Standing::Unknown);
        assert_eq!(words(&damaged, &ledger), ["other_ledger"]);
    }

    #[test]
    fn an_empty_list_is_refused_when_there_were_many() {
        let ledger = |count| LedgerState { last_containers: Some(count), ..LedgerState::default() };
        let none = EngineFacts { containers: 0, unseen_ends: 1, ..facts() };
        assert_eq!(words(&none, &ledger(11)), ["empty_container_list"]);
        assert_eq!(words(&none, &ledger(10)), Vec::<&str>::new());
        assert_eq!(words(&facts(), &ledger(11)), Vec::<&str>::new());
        // All that held a volume were seen to end.
        assert_eq!(words(&EngineFacts { unseen_ends: 0, ..none }, &ledger(11)), Vec::<&str>::new());
    }

    #[test]
    fn live_restore_is_refused_on_engines_that_lose_references() {
        let with = |version: &str, live_restore| {
            words(
                &EngineFacts { version: version.to_owned(), live_restore, ..facts() },
                &LedgerState::default(),
            )
        };
        assert_eq!(with("20.10.18", Some(true)), ["live_restore"]);
        assert_eq!(with("dev", Some(true)), ["live_restore"]);
        assert_eq!(with("20.10.5", None), ["live_restore"]);
        assert_eq!(with("dev", None), ["live_restore"]);
        for fine in [
            ("20.10.19", Some(true)),
            ("20.10.24+dfsg1", Some(true)),
            ("20.10.5", Some(false)),
            ("dev", Some(false)),
        ] {
            assert_eq!(with(fine.0, fine.1), Vec::<&str>::new(), "{fine:?}");
        }
    }

    #[test]
    fn podman_a_rootless_engine_and_a_root_elsewhere_are_refused() {
        let rootless = EngineFacts { is_rootless: true, ..facts() };
        assert_eq!(words(&rootless, &LedgerState::default()), ["rootless"]);
        let elsewhere = EngineFacts { root_problem: Some("gone".to_owned()), is_podman: true, ..facts() };
        assert_eq!(words(&elsewhere, &LedgerState::default()), ["root_not_here", "podman"]);
    }
}
