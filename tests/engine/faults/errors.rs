//! Every step of every command fails with every error that a file system gives: the command says so and ends with a documented
//! exit code, nothing is lost, and a later sweep leaves nothing half-done.

use std::collections::{BTreeMap, BTreeSet};

use harness::scenario::{COMMANDS, Case, Family, Host, RECOVERIES, Scenario};
use harness::{PrivateEngine, in_full, on_each_engine};

/// As `VOLGC_FAULT` names them, with the system's words, or volgc's own.
const ERRORS: [(&str, &[&str]); 6] = [
    ("ENOSPC", &["No space left on device"]),
    ("EIO", &["Input/output error"]),
    ("EROFS", &["Read-only file system"]),
    ("EXDEV", &["cross-device link", "does not rename"]),
    ("EBUSY", &["busy"]),
    ("EACCES", &["Permission denied"]),
];

/// Whether a command may succeed in spite of an error: what is due or ordered is deleted without room (I15), and what could not be
/// written into the ledger is tried again at the end, when this error is over. Without a new note about the ledger an older one
/// stays, which says less; and for the first one alone a sweep makes the quarantine directory.
fn is_done_without(order: &Order<'_>, scenario: &Scenario) -> bool {
    let begins = |point: &&str| order.point.starts_with(*point);
    let is_tried_again = ["ledger.", "note."].iter().any(begins);
    let is_for_the_note = scenario.name == "sweep with a new ledger" && begins(&"quarantine.");
    is_tried_again || is_for_the_note || matches!(order.errno, "ENOSPC" | "EROFS")
}

/// An error at one pass of a point.
struct Order<'a> {
    point: &'a str,
    pass: u32,
    errno: &'static str,
    /// Its words.
    words: &'static [&'static str],
}

impl Order<'_> {
    /// The walk comes back to what it could not delete, so there it has to fail each time.
    fn is_walk(&self) -> bool {
        ["delete.file", "delete.directory", "delete.hoist"].contains(&self.point)
    }

    fn text(&self) -> String {
        let Self { point, pass, errno, .. } = self;
        if self.is_walk() { format!("{point}={errno}") } else { format!("{point}@{pass}={errno}") }
    }
}

/// The first scenario of all that passes a point meets every error there, and each other pass meets one of them, in turn.
///
/// The short lane tries less. What becomes of an error is decided by whether there is no room (I15) and by the point, so a new point
/// meets no room and one of the others; and of what comes to a point again, every third.
fn orders<'a>(passes: &'a [(String, u32)], met: &BTreeSet<String>, turn: &mut usize) -> Vec<Order<'a>> {
    let mut orders = Vec::new();
    let each = if in_full() { 1 } else { 3 };
    for (point, passes) in passes {
        let is_new = !met.contains(point);
        let order = |pass, (errno, words)| Order { point, pass, errno, words };
        if is_new {
            *turn += 1;
            let [no_room, others @ ..] = ERRORS;
            let two = vec![no_room, others[*turn % others.len()]];
            let errors = if in_full() { ERRORS.to_vec() } else { two };
            orders.extend(errors.into_iter().map(|error| order(1, error)));
        }
        for pass in (1 + u32::from(is_new))..=*passes {
            *turn += 1;
            if turn.is_multiple_of(each) {
                orders.push(order(pass, ERRORS[*turn / each % ERRORS.len()]));
            }
        }
    }
    orders
}

/// The scenarios before this one, of commands or of recoveries: a recovery ends otherwise than the command that it recovers from, so
/// each of both meets every error by itself.
fn before(scenario: &Scenario) -> Vec<Scenario> {
    let is_other = |other: &&Scenario| other.name != scenario.name;
    let is_command = COMMANDS.iter().any(|other| !is_other(&other));
    let all = if is_command { COMMANDS } else { RECOVERIES };
    all.iter().take_while(is_other).copied().collect()
}

/// Lets every command of a family fail at every pass of every fault point.
fn endure(engine: &PrivateEngine, family: Family) {
    let host = Host::new(engine);
    let scenarios = family.scenarios();
    let passes = host.passes(&scenarios);
    let points = |scenario| {
        let passes = host.passes(&before(scenario));
        passes.into_iter().flatten().map(|(point, _)| point).collect::<BTreeSet<String>>()
    };
    let met: Vec<_> = scenarios.iter().map(points).collect();
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let (mut turn, mut tried, mut losses) = (0, 0, 0);
    for ((scenario, met), passes) in scenarios.iter().zip(&met).zip(&passes) {
        let mut disturbed: Vec<(String, Case)> = Vec::new();
        let orders = orders(passes, met, &mut turn);
        host.expect(orders.len());
        for order in orders {
            let case = host.prepare(scenario);
            let what = format!("{}, {}", scenario.name, order.text());
            let code = fails(&host, scenario, &case, &order, &what);
            *codes.entry(code).or_default() += 1;
            case.assert_nothing_lost(engine, &what);
            host.park();
            disturbed.push((what, case));
        }
        tried += disturbed.len();
        losses += host.settle(&disturbed, "after errors");
        host.clear();
    }
    eprintln!("errors: {tried} errors tried, {losses} losses, exit codes {codes:?}");
}

/// It ends with a documented exit code, and says why.
fn fails(host: &Host<'_>, scenario: &Scenario, case: &Case, order: &Order<'_>, what: &str) -> i32 {
    let output = host.run(case, &format!("{},{}", order.text(), scenario.with), None);
    let code = output.status.unwrap_or_else(|| panic!("{what}: it died: {output:?}"));
    let told = format!("{}{}", output.stdout, output.stderr);
    let says_why = order.words.iter().any(|words| told.contains(words))
        || (order.is_walk() && told.contains("is a mount point"));
    if code == 0 {
        // It looks for its words alone: what it releases is released all the same.
        let is_for_its_words = scenario.name.starts_with("acknowledge") && order.point == "look.directories";
        let is_done = is_done_without(order, scenario) || (is_for_its_words && says_why);
        assert!(is_done, "{what}: nothing was said of it: {output:?}");
        return code;
    }
    assert!(matches!(code, 1 | 3 | 4), "{what}: exit code {code}: {output:?}");
    // Where the scenario itself makes it fail, it says that.
    let says_else = !scenario.with.is_empty() && is_done_without(order, scenario);
    assert!(says_why || says_else, "{what}: it does not say why: {output:?}");
    code
}

on_each_engine! {
    fn quarantines(engine: PrivateEngine) {
        endure(&engine, Family::Quarantines);
    }

    fn restores(engine: PrivateEngine) {
        endure(&engine, Family::Restores);
    }

    fn deletions(engine: PrivateEngine) {
        endure(&engine, Family::Deletions);
    }

    fn changes_of_the_ledger(engine: PrivateEngine) {
        endure(&engine, Family::Ledger);
    }

    fn quarantines_of_what_is_not_listed(engine: PrivateEngine) {
        endure(&engine, Family::Unlisted);
    }

    fn quarantines_in_place(engine: PrivateEngine) {
        endure(&engine, Family::InPlace);
    }

    fn recoveries_of_moves(engine: PrivateEngine) {
        endure(&engine, Family::CutMoves);
    }

    fn recoveries_of_what_is_in_doubt(engine: PrivateEngine) {
        endure(&engine, Family::Doubts);
    }

    fn recoveries_of_restores(engine: PrivateEngine) {
        endure(&engine, Family::CutRestores);
    }

    fn recoveries_of_deletions(engine: PrivateEngine) {
        endure(&engine, Family::CutDeletions);
    }

    fn recoveries_of_what_is_not_listed(engine: PrivateEngine) {
        endure(&engine, Family::CutUnlisted);
    }
}
