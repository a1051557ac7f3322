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

/// What each layer does not import.
const ABOVE: [(&str, &[&str]); 10] = [
    ("src/host", &["sweep", "witness", "cli", "service", "report", "gc::plan", "gc::policy", "gc::guard"]),
    ("src/witness", &["sweep", "cli", "service", "report"]),
    ("src/sweep", &["cli", "service", "report"]),
    ("src/report", &["cli", "service", "metrics"]),
    ("src/config", &["cli", "service", "sweep", "witness", "host", "report"]),
    ("src/schedule", &["cli", "service", "sweep", "witness", "host", "report", "gc", "config"]),
    ("src/metrics", &["cli", "witness"]),
    // What runs the service knows nothing about volumes.
    ("src/service", &["gc", "witness", "cli", "metrics"]),
    ("src/gc", &["host", "witness", "sweep", "cli", "service", "config", "report", "schedule"]),
    // The guard shares no code with the planner: it takes the plan, and nothing that made it.
    ("src/gc/guard", &["gc::plan"]),
];

#[test]
fn imports_point_one_way() {
    let of_the_plan = ["gc::plan::Order", "gc::plan::Plan", "gc::plan::Situation"];
    for (layer, above) in ABOVE {
        let mut found = importing(&below(layer), above);
        found.retain(|import| {
            !of_the_plan.iter().any(|allowed| layer == "src/gc/guard" && import.ends_with(allowed))
        });
        assert_eq!(found, NOTHING, "{layer}");
    }
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
    let (map, others): (Vec<_>, Vec<_>) = all().iter().partition(|source| source.path == "src/lib.rs");
    let declared: BTreeSet<u32> = map[0].raw.lines().filter_map(crate::sources::declaration).collect();
    assert!(declared.len() >= 12, "the list is elsewhere: {declared:?}");
    let in_product = others.iter().filter(|source| source.path.starts_with("src/"));
    let upheld: BTreeSet<u32> = in_product.flat_map(|source| invariants(&source.raw)).collect();
    let cited: BTreeSet<u32> = others.iter().flat_map(|source| invariants(&source.raw)).collect();
    assert_eq!(upheld, declared, "cited in src/, and declared");
    assert!(cited.is_subset(&declared), "cited and not declared: {:?}", cited.difference(&declared));
}

#[test]
fn no_file_is_a_drawer_for_everything() {
    let drawers = ["util", "helper", "manager", "common", "misc"];
    let is_drawer = |path: &&String| drawers.iter().any(|drawer| path.to_lowercase().contains(drawer));
    let paths: Vec<&String> = all().iter().map(|source| &source.path).filter(is_drawer).collect();
    assert!(paths.is_empty(), "{paths:?}");
}

/// A plan is data: the reports and the steps are made of the same one.
#[test]
fn nothing_is_done_only_as_if() {
    assert_eq!(found(&below("src"), &["dry_run"]), NOTHING);
}

/// What `make check` leaves out runs in `make test`, which has both.
#[test]
fn a_test_is_left_out_only_for_what_it_needs() {
    for source in all().iter().filter(|source| source.path != "tests/pure/layering.rs") {
        for (_, after) in source.raw.match_indices("#[ignore").map(|(at, _)| source.raw.split_at(at)) {
            let reason = after.lines().next().unwrap();
            let is_need =
                ["root", "strace"].iter().any(|what| reason == format!("#[ignore = \"needs {what}\"]"));
            assert!(is_need, "{}: {reason}", source.path);
        }
    }
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
    assert_eq!(function("fn ab() { 1 }\nfn a() { { 2 } }\nfn c() {}", "a").unwrap(), "fn a() { { 2 } }");
    assert_eq!(invariants("I1, (I12) xI3 I4x I/O I I9"), BTreeSet::from([1, 9, 12]));
    assert_eq!(crate::sources::declaration("//! - **I7** A restore"), Some(7));
}
