//! The project's sources as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the project's root on.
    pub path: String,
    pub raw: String,
    /// Without comments, and without the tests at its end.
    pub code: String,
}

impl Source {
    /// Whether it is part of the program, not of its tests.
    pub fn is_product(&self) -> bool {
        let is_test = self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.ends_with("fixture.rs");
        self.path.starts_with("src/") && !is_test
    }
}

/// Every source of the program and of its tests.
pub fn all() -> &'static [Source] {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        for directory in ["src", "tests", "benches"] {
            collect(root, &root.join(directory), &mut sources);
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    });
    &ALL
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let raw = fs::read_to_string(&path).unwrap();
            let code = code_of(&raw);
            sources.push(Source { path: path.strip_prefix(root).unwrap().display().to_string(), raw, code });
        }
    }
}

/// The sources of a layer: the file, or everything below the directory with the file beside it.
pub fn below(layer: &str) -> Vec<Source> {
    let file = format!("{layer}.rs");
    let directory = format!("{layer}/");
    let is_in = |path: &str| path == layer || path == file || path.starts_with(&directory);
    let found: Vec<Source> =
        all().iter().filter(|source| is_in(&source.path) && source.is_product()).cloned().collect();
    assert!(!found.is_empty(), "{layer} is nowhere");
    found
}

fn code_of(raw: &str) -> String {
    let product = raw.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let without_comment = |line: &str| -> String {
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") { String::new() } else { line.split(" // ").next().unwrap().to_owned() }
    };
    product.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

/// Every path that begins at the crate, written out from there: `gc::plan::Plan`.
pub fn imports(path: &str, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "volgc::"] {
        for (at, _) in code.match_indices(start) {
            let before = code.get(..at).unwrap();
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut base = Vec::new();
            let mut rest = code.get(at..).unwrap();
            if let Some(tail) = rest.strip_prefix("crate::").or_else(|| rest.strip_prefix("volgc::")) {
                rest = tail;
            } else {
                base = module_of(path);
                while let Some(tail) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = tail;
                }
            }
            tree(&base, rest, &mut found);
        }
    }
    found
}

fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// Reads `a::b`, `a::{b, c::d}` and so on; returns what is behind it.
fn tree<'a>(base: &[String], text: &'a str, found: &mut BTreeSet<String>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            let behind = tree(base, rest, found);
            if behind.len() == rest.len() {
                return rest;
            }
            rest = behind;
        }
    }
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let (word, rest) = text.split_at(length);
    let path: Vec<String> = base.iter().cloned().chain([word.to_owned()]).collect();
    match rest.strip_prefix("::") {
        Some(rest) if !word.is_empty() && !rest.starts_with('<') => tree(&path, rest, found),
        Some(_) | None => {
            if !word.is_empty() {
                found.insert(path.join("::"));
            }
            rest
        }
    }
}

/// A function, from its name to its closing brace.
pub fn function(code: &str, name: &str) -> Option<String> {
    let start = code.find(&format!("fn {name}("))?;
    let text = code.get(start..)?;
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return text.get(..=at).map(str::to_owned),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The invariants that a text cites.
pub fn invariants(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter_map(|word| word.strip_prefix('I')?.parse().ok()).collect()
}

/// The invariant that a line of the map declares.
pub fn declaration(line: &str) -> Option<u32> {
    line.strip_prefix("//! - **I")?.split_once("**")?.0.parse().ok()
}
