//! Every effect has a fault point right before it, so that `killed` and `errors` stop the program there. A new effect without one
//! fails here, and a new point without a scenario in `killed::no_fault_point_is_left_out`.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Source, all};
use volgc::host::fault::Point;

/// Calls that change something: on disk, in the ledger or at the engine. What of `rustix::fs` only looks is in [`LOOKS`].
const EFFECTS: [&str; 25] = [
    // Files, whether by `rustix` or by what the standard library has for it.
    "rustix::io::write(",
    "rustix::io::pwrite(",
    "DirBuilder::new()",
    "fs::write(",
    "OpenOptions::new()",
    // Our own functions around one of these: the point is passed where they are called.
    "rename_directory(",
    "sync_both(",
    "sync_new_directory(",
    "write_all(",
    "self.place(",
    // The walk that deletes.
    "delete_contents(",
    // The ledger.
    "commit(transaction",
    "self.change(",
    "execute_batch(",
    "pragma_update",
    // The engine.
    "engine.delete_volume(",
    "self.delete_or_stop(",
    "engine.create_volume(",
    "docker.remove_volume(",
    "docker.create_volume(",
    ".prune_volumes(",
    // Other processes.
    "Command::new(",
    "kill_process(",
    "rustix::mount::",
    "rustix::process::chdir(",
];

/// Calls of `rustix::fs` that change nothing. All others are effects; `openat` is one where it makes a file.
const LOOKS: [&str; 19] = [
    "accessat",
    "fgetxattr",
    "flock",
    "fstat",
    "fstatfs",
    "fstatvfs",
    "getxattr",
    "ioctl_getflags",
    "lgetxattr",
    "major",
    "makedev",
    "minor",
    "openat2",
    "readlink",
    "readlinkat",
    "seek",
    "stat",
    "statat",
    "statx",
];

/// Effects without a point of their own, each with the reason: path, function, effect.
const REASONS: &[(&str, &str, &str, &str)] = &[
    ("src/host/http/listener.rs", "listen", "chmodat", "the socket of the metrics, which holds nothing"),
    ("src/host/http/listener.rs", "bind_unix", "unlinkat", "the same, from a run before"),
    ("src/host/http/listener.rs", "drop", "unlinkat", "the same, at the end"),
    ("src/host/replace.rs", "replace", "renameat", "the file of the metrics, which its user named"),
    ("src/host/replace.rs", "replace", "unlinkat", "the same: what a failure leaves"),
    ("src/host/replace.rs", "write_new", "fchmod", "the same, under its temporary name"),
    ("src/host/replace.rs", "write_new", "write_all(", "the same, under its temporary name"),
    ("src/sweep/earlier.rs", "put_back_or_keep", "self.place(", "a restore, which passes its own points"),
    ("src/host/quarantine/exchange.rs", "swap", "renameat_with", "its callers pass the point"),
    ("src/sweep/restore.rs", "restore", "self.place(", "the same"),
    ("src/host/quarantine/moving.rs", "rename_directory", "renameat_with", "its callers pass the point"),
    ("src/host/quarantine/moving.rs", "place", "rename_directory(", "its callers pass the point"),
    ("src/host/quarantine/moving.rs", "sync_both", "fsync", "its callers pass the point"),
    ("src/host/quarantine/manifest.rs", "write_all", "rustix::io::write(", "its callers pass the point"),
    ("src/host/quarantine/lock.rs", "lock", "rustix::io::pwrite(", "the name of the holder: for people only"),
    (
        "src/host/quarantine/note.rs",
        "note",
        "unlinkat",
        "what a failure leaves, over which the next note is written",
    ),
    ("src/cli/output.rs", "print", "write_all(", "standard output"),
    ("src/host/ledger.rs", "connect", "pragma_update", "where temporary tables are"),
    (
        "src/host/ledger.rs",
        "set_journal",
        "pragma_update",
        "SQLite's own way out of write-ahead mode, into which only somebody else can have put the file: it is recovered by SQLite, and \
         no content changes",
    ),
    (
        "src/host/ledger.rs",
        "make_tables",
        "pragma_update",
        "inside of a transaction, at whose beginning the point is",
    ),
    (
        "src/host/ledger.rs",
        "make_tables",
        "commit(transaction",
        "the same transaction as the tables, before which the point is",
    ),
    (
        "src/host/ledger.rs",
        "make_tables",
        "execute_batch(",
        "inside of a transaction, at whose beginning the point is",
    ),
    (
        "src/host/ledger/lineage.rs",
        "ensure",
        "commit(transaction",
        "the same transaction as the table, before which the point is",
    ),
    ("src/host/ledger/unwritable.rs", "nothing", "execute_batch(", "a database in memory"),
    ("src/host/ledger.rs", "make_file", "sync_new_directory(", "it passes the point itself"),
    ("src/host/ledger.rs", "set_volume_record", "self.change(", "no command calls it"),
    ("src/sweep/forget.rs", "delete_or_stop", "engine.delete_volume(", "its caller passes the point"),
    ("src/host/engine_process.rs", "answering", "write_all(", "a GET"),
    ("src/host/engine/delete.rs", "delete_volume", "docker.remove_volume(", "the steps pass the point"),
    ("src/host/engine/mod.rs", "create_volume", "docker.create_volume(", "the steps pass the point"),
    ("src/host/engine/transport.rs", "dial_ssh", "Command::new(", "a connection"),
    ("src/cli/sweep.rs", "stop_on_signal", "kill_process(", "the end that an operator ordered"),
];

/// A call that changes something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Effect {
    path: String,
    function: String,
    call: String,
    line: usize,
    /// Whether a point was passed since the effect before.
    has_point: bool,
}

/// The call of `rustix::fs` that a piece of code begins with.
fn rustix_call(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("rustix::fs::")?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    rest.get(end..)?.starts_with('(').then(|| rest.get(..end)).flatten()
}

/// The effect that begins here, as it is named.
fn effect_at(code: &str) -> Option<String> {
    if let Some(call) = rustix_call(code) {
        let makes = match call {
            "open" | "openat" => makes_a_file(code),
            other => !LOOKS.contains(&other),
        };
        return makes.then(|| call.to_owned());
    }
    EFFECTS.iter().find(|effect| code.starts_with(**effect)).map(|effect| (*effect).to_owned())
}

/// The lock and the manifest say their flags right before.
fn makes_a_file(code: &str) -> bool {
    let call = code.split(')').next().unwrap_or(code);
    call.contains("Mode::RUSR | Mode::WUSR") || call.contains("OFlags::CREATE")
}

/// Every effect in a file, in order.
fn effects(source: &Source) -> Vec<Effect> {
    let mut found = Vec::new();
    let mut function = String::new();
    let mut has_point = false;
    let mut line = 1;
    for (at, c) in source.code.char_indices() {
        if c == '\n' {
            line += 1;
            continue;
        }
        let before = source.code.get(..at).and_then(|code| code.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let code = source.code.get(at..).unwrap();
        if let Some(name) = code.strip_prefix("fn ") {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
            // A definition is no call of what it defines.
            name.get(..end).unwrap().clone_into(&mut function);
            has_point = false;
        } else if code.starts_with("fault::at(Point::") || code.starts_with("pass(Point::") {
            has_point = true;
        } else if let Some(call) = effect_at(code)
            && !source.code.get(..at).unwrap().ends_with("fn ")
        {
            let path = source.path.clone();
            found.push(Effect { path, function: function.clone(), call, line, has_point });
            has_point = false;
        }
    }
    found
}

fn product_effects() -> Vec<Effect> {
    all()
        .iter()
        // What is there for tests alone, and what only reports.
        .filter(|source| source.is_product() && source.path != "src/host/fault.rs")
        .flat_map(effects)
        .collect()
}

#[test]
fn every_effect_has_a_fault_point_right_before_it() {
    let reasons: BTreeSet<(&str, &str, &str)> =
        REASONS.iter().map(|(path, function, call, _)| (*path, *function, *call)).collect();
    let found = product_effects();
    let bare: Vec<String> = found
        .iter()
        .filter(|effect| !effect.has_point)
        .filter(|effect| {
            !reasons.contains(&(effect.path.as_str(), effect.function.as_str(), effect.call.as_str()))
        })
        .map(|effect| format!("{}:{}: {} in {}", effect.path, effect.line, effect.call, effect.function))
        .collect();
    assert!(bare.is_empty(), "effects without a fault point right before them:\n{}", bare.join("\n"));
    let there: BTreeSet<(&str, &str, &str)> = found
        .iter()
        .filter(|effect| !effect.has_point)
        .map(|effect| (effect.path.as_str(), effect.function.as_str(), effect.call.as_str()))
        .collect();
    let stale: Vec<_> = reasons.difference(&there).collect();
    assert!(stale.is_empty(), "reasons for what is not there: {stale:#?}");
}

/// A point stands for one place: else a kill at its first pass says nothing of the others.
#[test]
fn every_fault_point_is_passed_in_one_place() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in all().iter().filter(|source| source.is_product()) {
        for start in ["fault::at(Point::", "pass(Point::"] {
            for (at, _) in source.code.match_indices(start) {
                let rest = source.code.get(at + start.len()..).unwrap();
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                places.entry(name.to_owned()).or_default().push(source.path.clone());
            }
        }
    }
    let several: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(several.is_empty(), "{several:#?}");
    let declared: BTreeSet<String> = Point::ALL.iter().map(|point| format!("{point:?}")).collect();
    assert_eq!(places.into_keys().collect::<BTreeSet<_>>(), declared);
    let words: BTreeSet<&str> = Point::ALL.iter().map(|point| point.word()).collect();
    assert_eq!(words.len(), Point::ALL.len(), "two points of one name");
}

/// The sieve itself: a check that sees nothing finds nothing.
#[test]
fn effects_are_seen_in_every_form() {
    let code = "fn a() {\n fault::at(Point::One)?;\n rustix::fs::renameat(x, y);\n rustix::fs::fsync(z);\n}\n\
                fn b() {\n rustix::fs::statat(x);\n rustix::fs::openat(d, n, flags, Mode::empty());\n\
                rustix::fs::openat(d, n, flags, Mode::RUSR | Mode::WUSR);\n self.change(x)\n}\n\
                fn sync_both() {\n pass(Point::Two, f)?;\n match rustix::fs::unlinkat(x) {}\n}";
    let source = Source { path: "src/x.rs".to_owned(), raw: String::new(), code: code.to_owned() };
    let seen: Vec<(String, String, bool)> =
        effects(&source).into_iter().map(|effect| (effect.function, effect.call, effect.has_point)).collect();
    let wanted = [
        ("a", "renameat", true),
        ("a", "fsync", false),
        ("b", "openat", false),
        ("b", "self.change(", false),
        ("sync_both", "unlinkat", true),
    ];
    let wanted: Vec<(String, String, bool)> = wanted
        .iter()
        .map(|(function, call, point)| ((*function).to_owned(), (*call).to_owned(), *point))
        .collect();
    assert_eq!(seen, wanted);
    assert!(product_effects().len() >= 45, "{}", product_effects().len());
}
