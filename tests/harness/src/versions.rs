//! The versions of the engine's helpers, said at once.
//!
//! dockerd runs `runc --version` and `docker-init --version` for each `/info` and `/version`, which volgc asks in every step: a
//! quarter of what all tests cost the processors. So an engine of the tests finds a small program under both names, which says what
//! the real one said when the engine was started, and runs the real one for all else. The containers' own runtime is not
//! concerned: containerd finds it by itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::PrivateEngine;
use super::engine::{SEARCH_PATH, engines_dir};

const HELPERS: [&str; 2] = ["runc", "docker-init"];
const SOURCE: &str = include_str!("versions.c");

impl PrivateEngine {
    /// Puts the programs into the engine's directory, which is at the same path inside its root.
    pub(super) fn answer_for_helpers(&self) {
        let place = self.helpers();
        fs::create_dir(&place).unwrap_or_else(|error| panic!("cannot make {}: {error}", place.display()));
        for helper in HELPERS {
            let real = self.real(helper);
            let said = self.command_inside(&real.display().to_string()).arg("--version").output();
            let said = said.unwrap_or_else(|error| panic!("cannot run {}: {error}", real.display()));
            assert!(said.status.success(), "{helper}: {}", super::show(&said));
            let path = |suffix: &str| place.join(format!("{helper}{suffix}"));
            fs::write(path(".version"), said.stdout)
                .and_then(|()| symlink(&real, path(".real")))
                .and_then(|()| fs::copy(program(), path("")))
                .unwrap_or_else(|error| panic!("cannot answer for {helper}: {error}"));
        }
    }

    /// Where dockerd looks for programs.
    pub(super) fn search_path(&self) -> String {
        format!("{}:{SEARCH_PATH}", self.helpers().display())
    }

    fn helpers(&self) -> PathBuf {
        self.dir.join("helpers")
    }

    /// Where the helper is in the engine's own root.
    fn real(&self, helper: &str) -> PathBuf {
        let root = self.version().tree().unwrap_or_else(|| PathBuf::from("/"));
        let mut places = SEARCH_PATH.split(':').map(|place| Path::new(place).join(helper));
        let is_there = |path: &PathBuf| {
            let inside = root.join(path.strip_prefix("/").unwrap_or(path));
            fs::symlink_metadata(inside).is_ok()
        };
        places.find(is_there).unwrap_or_else(|| panic!("no {helper}: run tests/setup"))
    }
}

/// The program, compiled when it is first needed and kept with the other things that tests keep.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cache = engines_dir().join("cache");
        fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("cannot make {}: {error}", cache.display()));
        let file = |suffix: &str| cache.join(format!(".versions-{}{suffix}", std::process::id()));
        let (source, made, kept) = (file(".c"), file(""), cache.join("versions"));
        fs::write(&source, SOURCE).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let output = Command::new("cc").args(["-O1", "-static", "-o"]).args([&made, &source]).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run cc: {error}: run tests/setup"));
        assert!(output.status.success(), "{}", super::show(&output));
        // Renamed, as tests run in parallel.
        fs::rename(&made, &kept)
            .and_then(|()| fs::remove_file(&source))
            .unwrap_or_else(|error| panic!("cannot keep {}: {error}", kept.display()));
        kept
    })
}
