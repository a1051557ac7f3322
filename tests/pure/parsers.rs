//! What was found and what is easily overlooked, for each parser of what others write, through the same assertions that
//! libFuzzer's inputs go through (`make fuzz`).

#[path = "../corpus/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use targets::TARGETS;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpus_holds_what_its_target_asserts() {
    let mut inputs = 0;
    for (name, target) in TARGETS {
        let files = files(&project("tests/corpus").join(name));
        assert!(files.len() >= 5, "{name} has hardly any inputs");
        for file in files {
            // Named before it is tried: what panics, says where.
            println!("{}", file.display());
            let input = fs::read(&file).unwrap();
            target(&input);
            // Cut off, as by a crash: at each place in short inputs, at some in long ones. A configuration takes longest: it looks
            // for the longest time between two sweeps of a year.
            let cuts = if name == "config" { 6 } else { 24 };
            for end in (0..input.len()).step_by(1 + input.len() / cuts) {
                target(&input[..end]);
            }
            inputs += 1;
        }
    }
    println!("corpus: {inputs} inputs in {} targets", TARGETS.len());
}

/// What is fuzzed is what is replayed.
#[test]
fn every_target_is_fuzzed_and_replayed() {
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let fuzzed: Vec<String> = files(&project("fuzz/fuzz_targets")).iter().map(stem).collect();
    assert_eq!(fuzzed, names);
    let directories = files(&project("tests/corpus")).into_iter().filter(|path| path.is_dir());
    assert_eq!(directories.map(|path| stem(&path)).collect::<Vec<_>>(), names);
}
