//! The scenarios in `tests/scenarios/*.toml`: what was seen and remembered, and the verdicts that follow.

use std::collections::BTreeSet;
use std::fs;

use crate::scenario::File;
use crate::situations::{every_reason, every_unmovable};
use volgc::gc::verdict::Reason;

fn files() -> Vec<(String, File)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let shown = path.display().to_string();
        let file = toml::from_str(&fs::read_to_string(path).unwrap());
        (shown.clone(), file.unwrap_or_else(|error| panic!("{shown}: {error}")))
    };
    paths.iter().map(read).collect()
}

fn run() -> (Vec<String>, BTreeSet<&'static str>) {
    let (mut failures, mut words) = (Vec::new(), BTreeSet::new());
    for (path, file) in files() {
        for scenario in &file.scenario {
            match scenario.check(&file) {
                Ok(reasons) => words.extend(reasons),
                Err(why) => failures.push(format!("{path}: {why}")),
            }
        }
    }
    (failures, words)
}

#[test]
fn every_scenario_gets_the_verdicts_it_expects() {
    let (failures, _) = run();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_reason_has_a_scenario() {
    let (_, words) = run();
    let reasons = every_reason().into_iter().chain(every_unmovable().into_iter().map(Reason::Unmovable));
    let missing: Vec<_> = reasons.map(|reason| reason.word()).filter(|word| !words.contains(word)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn there_are_many_and_no_two_have_the_same_name() {
    let files = files();
    let names: Vec<_> = files.iter().flat_map(|(_, file)| &file.scenario).map(|one| &one.name).collect();
    assert!(names.len() >= 80, "{} scenarios", names.len());
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}
