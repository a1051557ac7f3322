//! Brakes: refusals to act because the whole picture looks wrong. Each says what was seen, what was expected and what to do.

use std::collections::BTreeSet;

use super::ledger::{KnownEngine, LedgerState};
use super::lineage::{Noted, Place, Places, Standing};
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

impl Refusal {
    /// What an acknowledgement says is right; none of a refusal that it does not release.
    pub fn acknowledged(&self) -> Option<&'static str> {
        match self.word {
            "other_engine" => Some("the engine that answers, with its docker root"),
            "root_copied" => Some("the directories of the docker root"),
            "other_ledger" => Some("the ledger, with the holds that it has"),
            "empty_container_list" => Some("the empty list of containers"),
            _ => None,
        }
    }
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

/// The directories are others than at the last sweep: what the ledger and the manifests say of any of them cannot be compared, and what
/// the containers in the old ones held is not known (I2).
fn root_copied(facts: &EngineFacts, ledger: &LedgerState) -> Option<Refusal> {
    let now = facts.places.as_ref()?;
    let is_known = |known: &KnownEngine| known.id == facts.id && known.root == facts.root;
    let before = ledger.places.as_ref().filter(|_| ledger.engine.as_ref().is_some_and(is_known));
    // What was noted in the quarantine directory came along with it, to a new ledger or another engine, too.
    let noted = facts.noted.places().filter(|_| !ledger.acknowledged);
    let others: BTreeSet<Place> =
        before.into_iter().chain(noted).flat_map(|remembered| now.others_than(remembered)).collect();
    if others.is_empty() {
        return None;
    }
    let named: Vec<String> = others.iter().map(|place| format!("{}/{}", facts.root, place.name())).collect();
    let are = if others.len() == 1 { "is another directory" } else { "are other directories" };
    Some(Refusal {
        word: "root_copied",
        doubt: Doubt::Engine,
        text: format!(
            "{} {are} than at the last sweep: the docker root was copied, restored or made anew, or another disk is mounted there. If \
             that is right, run `volgc acknowledge`, which binds holds and what is in quarantine to the new directories; else put \
             back what was there, or mount the right disk",
            named.join(" and ")
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
mod tests;
