//! The layers, the numbered invariants and the words that must not appear, held by reading the sources.

use std::collections::BTreeSet;

use crate::sources::{Source, all, below, function, imports, invariants};

/// Every place where one of `words` is in the code, as `path: word`.
fn found(sources: &[Source], words: &[&str]) -> Vec<String> {
    let of = |source: &Source| {
        let has = |word: &&&str| source.code.contains(**word);
        words.iter().filter(has).map(|word| format!("{}: {word}", source.path)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

/// Every import of one of `modules`, as `path: module`.
fn importing(sources: &[Source], modules: &[&str]) -> Vec<String> {
    let is_below = |import: &str, module: &str| {
        import.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let of = |source: &Source| {
        let imports = imports(&source.path, &source.code);
        let forbidden = imports.into_iter().filter(|one| modules.iter().any(|module| is_below(one, module)));
        forbidden.map(|import| format!("{}: {import}", source.path)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

const NOTHING: Vec<String> = Vec::new();

#[test]
fn the_core_is_pure() {
    let gc = below("src/gc");
    assert!(gc.len() >= 12, "the core is elsewhere");
    let above = ["host", "witness", "sweep", "cli", "service", "config", "report", "schedule"];
    assert_eq!(importing(&gc, &above), NOTHING);
    let effects = [
        "tokio",
        "bollard",
        "rustix",
        "tracing",
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "std::io",
    ];
    assert_eq!(found(&gc, &effects), NOTHING);
    let clocks = ["Utc::now", "Local::now", "SystemTime", "Instant", "std::thread"];
    assert_eq!(found(&gc, &clocks), NOTHING);
}

#[test]
fn the_guard_shares_no_code_with_the_planner() {
    let guard: Vec<Source> = below("src/gc/guard");
    assert!(guard.len() >= 2, "the guard is elsewhere");
    let allowed = BTreeSet::from(["gc::plan::Order", "gc::plan::Plan", "gc::plan::Situation"]);
    let used: Vec<String> = guard
        .iter()
        .flat_map(|source| imports(&source.path, &source.code))
        .filter(|import| import.starts_with("gc::plan") && !allowed.contains(import.as_str()))
        .collect();
    assert_eq!(used, NOTHING);
}

#[test]
fn imports_point_one_way() {
    let effects = ["sweep", "witness", "cli", "service", "report", "gc::plan", "gc::policy", "gc::guard"];
    assert_eq!(importing(&below("src/host"), &effects), NOTHING);
    assert_eq!(importing(&below("src/witness"), &["sweep", "cli", "service", "report"]), NOTHING);
    assert_eq!(importing(&below("src/sweep"), &["cli", "service", "report"]), NOTHING);
    assert_eq!(importing(&below("src/report"), &["cli", "service"]), NOTHING);
    let intent = ["cli", "service", "sweep", "witness", "host", "report"];
    assert_eq!(importing(&below("src/config"), &intent), NOTHING);
    assert_eq!(importing(&below("src/schedule"), &[&intent[..], &["gc", "config"]].concat()), NOTHING);
    assert_eq!(importing(&below("src/metrics"), &["cli", "witness"]), NOTHING);
    assert_eq!(importing(&below("src/report"), &["metrics"]), NOTHING);
    // What runs the service knows nothing about volumes.
    assert_eq!(importing(&below("src/service"), &["gc", "witness", "cli", "metrics"]), NOTHING);
}

/// I10: no reading command has a name for what could change anything.
#[test]
fn reading_commands_hold_nothing_that_changes_anything() {
    let changing = [
        "ChangingEngine",
        "Ledger::open",
        "Sweeper",
        "changing_engine(",
        ".ledger()",
        "pass(",
        "Mover",
        "finish_deletion",
        "begin_deletion",
        "open_or_make",
    ];
    let mut reading = Vec::new();
    for command in ["report", "explain", "list", "history", "check", "sizes", "output", "metrics"] {
        reading.extend(below(&format!("src/cli/{command}.rs")));
    }
    assert_eq!(reading.len(), 8, "a command is elsewhere");
    let hold = &below("src/cli/hold.rs")[0];
    let holds = function(&hold.code, "holds").unwrap();
    reading.push(Source { path: "src/cli/hold.rs: holds".to_owned(), raw: String::new(), code: holds });
    for layer in ["src/sweep/look.rs", "src/witness", "src/report", "src/metrics"] {
        reading.extend(below(layer));
    }
    assert_eq!(found(&reading, &changing), NOTHING);
}

#[test]
fn every_invariant_is_upheld_somewhere_and_none_is_made_up() {
    let all = all();
    let (map, others): (Vec<_>, Vec<_>) = all.iter().partition(|source| source.path == "src/lib.rs");
    let declared: Vec<u32> = map[0].raw.lines().filter_map(crate::sources::declaration).collect();
    assert_eq!(declared, (1..=12).chain([14]).collect::<Vec<_>>());
    let cited: BTreeSet<u32> = others
        .iter()
        .filter(|source| source.path.starts_with("src/"))
        .flat_map(|source| invariants(&source.raw))
        .collect();
    let anywhere: BTreeSet<u32> = all.iter().flat_map(|source| invariants(&source.raw)).collect();
    assert_eq!(cited, declared.iter().copied().collect(), "cited in src/");
    assert_eq!(anywhere, cited, "cited anywhere");
}

#[test]
fn no_file_is_a_drawer_for_everything() {
    let drawers = ["util", "helper", "manager", "common", "misc"];
    let is_drawer = |path: &&String| drawers.iter().any(|drawer| path.to_lowercase().contains(drawer));
    let paths: Vec<String> = all().into_iter().map(|source| source.path).collect();
    assert_eq!(paths.iter().filter(is_drawer).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn nothing_is_left_undone() {
    let sources: Vec<Source> =
        all().into_iter().filter(|source| source.path != "tests/pure/layering.rs").collect();
    let words = ["todo!", "unimplemented!", "#[ignore", "dry_run"];
    assert_eq!(found(&sources, &words), NOTHING);
}

/// Places where an absence or a failure may become a default, each reviewed: none of it decides that a volume is free (I2).
const REVIEWED: &[(&str, &str, &str)] = &[
    ("src/cli/history.rs", "run", "a span that leaves the calendar means everything"),
    ("src/cli/hold.rs", "hold", "a span that leaves the calendar is refused as too long"),
    ("src/cli/hold.rs", "target", "what is no volume's name may be an entry's; else it is not found"),
    ("src/cli/sweep.rs", "pinned", "what is no entry's name pins no entry"),
    ("src/config/duration.rs", "leading", "the rest is a suffix of the text"),
    ("src/config/keys.rs", "distance", "a row of the table is never empty"),
    ("src/config/mistake.rs", "line_text", "only shows a mistake"),
    ("src/config/mistake.rs", "mistake", "only shows a mistake"),
    ("src/config/mistake.rs", "slice", "only shows a mistake"),
    ("src/config/reader.rs", "count", "what is no number is noted as a mistake"),
    ("src/config/reader.rs", "percent", "what is no number is noted as a mistake"),
    ("src/gc/late_order.rs", "by_both_clocks", "an hour can always be told"),
    ("src/gc/late_order.rs", "by_wall_clock", "a time that cannot be told is never over"),
    ("src/gc/brakes.rs", "parse_version", "a version that is not understood is not known to be fixed"),
    ("src/gc/plan.rs", "after", "a time that cannot be written is not shown"),
    ("src/gc/plan.rs", "due", "what is no entry's name is never deleted"),
    ("src/gc/plan.rs", "plan", "what is no entry's name has no clock"),
    ("src/host/engine/events.rs", "decode", "what is no event is a hint less"),
    ("src/host/engine/events.rs", "event", "what is no volume's name is a hint less"),
    ("src/host/engine/mod.rs", "parse", "a version that is not understood is refused"),
    ("src/host/fault.rs", "parse", "there for tests alone"),
    ("src/host/unlink.rs", "protection", "only tells why a deletion failed"),
    ("src/host/walk.rs", "get", "the offset is one that the buffer gave out"),
    ("src/host/walk.rs", "mount_from_proc", "no mount ID is an error"),
    ("src/host/walk.rs", "split", "the offset is one that the buffer gave out"),
    ("src/host/walk/stack.rs", "split", "a job that cannot be shared is not"),
    ("src/schedule.rs", "longest_interval", "a gap that cannot be told is not shown"),
    ("src/schedule/fields.rs", "value", "what is no number is refused"),
    ("src/sweep/heed.rs", "volumes_of", "what is no volume's name is a hint less"),
    ("src/sweep/restore.rs", "finish_restore", "null is no labels; a volume that is gone is an error"),
    ("src/witness/containers_on_disk.rs", "needles", "null is no volumes; what is no volume's name is none"),
    ("src/witness/containers_on_disk.rs", "volumes_from", "what is no volume's name is none"),
    (
        "src/witness/containers_on_disk/claims.rs",
        "read",
        "asked for without a source it is anonymous; made without name and source it is odd",
    ),
    (
        "src/witness/containers_on_disk/claims.rs",
        "recover",
        "then nothing is recovered, and the bytes are searched",
    ),
    ("src/witness/engine.rs", "volume_of", "an empty name is refused unless the mount is explained"),
    ("src/host/engine_owner.rs", "has_open", "what has ended has nothing open"),
    ("src/host/engine_owner.rs", "owner", "what is no number is no process that could be looked at"),
    (
        "src/host/engine_owner.rs",
        "process_of",
        "a kernel without the list shows no owner, and the host's view counts",
    ),
    (
        "src/host/view.rs",
        "mount_id",
        "a mount that is not known is one of this kernel's own, and is looked at",
    ),
    ("src/witness/binds.rs", "host_configs", "without a docker root there are no files of containers"),
    ("src/witness/claims/cdi.rs", "read", "where the engine does not say where, the usual places count"),
    ("src/witness/claims/containers.rs", "claim", "what is no volume's name is none, and the path counts"),
    ("src/witness/locate.rs", "first_name", "what is no volume's name is none"),
    ("src/witness/locate.rs", "of_text", "a path that does not begin so lies elsewhere"),
    ("src/witness/locate/values.rs", "without_percents", "what is no digit stands for itself"),
    ("src/host/engine/prefetch.rs", "take", "what was not kept is asked for"),
    ("src/witness/observe.rs", "make_volume", "null is no labels; the decoder refuses a missing field"),
    ("src/witness/observe.rs", "observe_once", "null is no volumes; the decoder refuses a missing field"),
    ("src/witness/unlisted.rs", "volumes", "null is no volumes; the decoder refuses a missing field"),
    ("src/sweep/in_place.rs", "look_in_place", "null is no options, and then it is not marked"),
    ("src/witness/directories.rs", "find", "a name the API cannot give is no volume's"),
    ("src/witness/observe.rs", "make_index", "null is no volumes; the decoder refuses a missing field"),
    ("src/witness/root.rs", "engine_id", "then the root is not proven to be here"),
    ("src/witness/root.rs", "parse_time", "a time that is none decides nothing"),
    ("src/host/proc/files.rs", "mapped_files", "what has ended maps nothing"),
    ("src/host/proc/files.rs", "mount_id", "without one the path alone is compared"),
    ("src/host/proc/files.rs", "open_files", "what has ended has no open files"),
    ("src/host/proc/mountinfo.rs", "number", "what is no number makes the line one that is refused"),
    ("src/host/proc/mountinfo.rs", "parse_mountinfo", "behind the last newline is nothing"),
    ("src/host/proc/mountinfo.rs", "unescape", "what is no byte makes the line one that is refused"),
    (
        "src/host/proc/sight.rs",
        "changed_root",
        "process 1 does not end; without its table the root is not found in it",
    ),
    ("src/host/proc/task.rs", "is_ending", "what is no number is refused as strange"),
    ("src/host/proc/task.rs", "name", "only shown to people"),
    ("src/host/proc/task.rs", "namespace_id", "what is no number is refused as strange"),
    ("src/host/proc/task.rs", "numbers", "what is no number is no process, thread or descriptor"),
    ("src/host/proc/task.rs", "own", "what is no number is refused as strange"),
    (
        "src/host/proc/task.rs",
        "permitted",
        "unknown capabilities are not more than ours, so the process is refused",
    ),
    ("src/host/proc/task.rs", "read_all", "the length is what was read"),
    ("src/host/proc/task.rs", "tasks", "what has ended has no threads"),
    (
        "src/host/quarantine/mod.rs",
        "entry_of",
        "a name that is not ours is no entry's; what lists them reads it as a damaged one",
    ),
    ("src/witness/swarm.rs", "by_name", "what is no volume's name is none"),
    ("src/witness/swarm.rs", "references", "without a source it is anonymous, made for one task"),
    ("src/witness/swarm/wire.rs", "mounts", "Go leaves out an empty list"),
];

#[test]
fn a_failure_becomes_a_default_at_reviewed_places_only() {
    let sources = all().into_iter().filter(Source::is_product);
    let found: BTreeSet<(String, String)> = sources
        .flat_map(|source| {
            let places = crate::sources::functions_with(&source.code, &["unwrap_or_default()", ".ok()"]);
            places.into_iter().map(move |function| (source.path.clone(), function))
        })
        .collect();
    let reviewed: BTreeSet<(String, String)> =
        REVIEWED.iter().map(|(path, function, _)| ((*path).to_owned(), (*function).to_owned())).collect();
    let new: Vec<_> = found.difference(&reviewed).collect();
    let gone: Vec<_> = reviewed.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "not reviewed: {new:#?}\nno longer there: {gone:#?}");
}

/// The sieve itself: a check that sees nothing finds nothing.
#[test]
fn imports_are_seen_in_every_form() {
    let code = "use crate::{gc::{plan::{self, Plan}, policy}, host};\nfn f() { crate::cli::run(); super::super::sweep::go() }\n\
                use super::verdict::Step;\nmod x;";
    let seen = imports("src/gc/plan.rs", code);
    let wanted = [
        "cli::run",
        "gc::plan::Plan",
        "gc::plan::self",
        "gc::policy",
        "gc::verdict::Step",
        "host",
        "sweep::go",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    assert_eq!(imports("src/gc/mod.rs", "use super::host::x;").into_iter().collect::<Vec<_>>(), ["host::x"]);
    assert_eq!(imports("src/a/b/mod.rs", "use super::c;").into_iter().collect::<Vec<_>>(), ["a::c"]);
    assert_eq!(
        crate::sources::functions_with("fn a() {}\nfn b() {\n    x.ok();\n}\n", &[".ok()"]),
        BTreeSet::from(["b".to_owned()])
    );
    assert_eq!(function("fn ab() { 1 }\nfn a() { { 2 } }\nfn c() {}", "a").unwrap(), "fn a() { { 2 } }");
    assert_eq!(invariants("I1, (I12) xI3 I4x I/O I I9"), BTreeSet::from([1, 9, 12]));
    assert_eq!(crate::sources::declaration("//! - **I7** A restore"), Some(7));
}
