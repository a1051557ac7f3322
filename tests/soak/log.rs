//! What was done and what came of it, in order, for whoever has to find out why a storm lost something.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A file that grows as the storm goes on.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Mutex<fs::File>,
    began: Instant,
}

impl Log {
    /// Begins one in the directory that Cargo keeps for tests.
    pub fn begin(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = fs::File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, file: Mutex::new(file), began: Instant::now() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub fn note(&self, line: &str) {
        let time = self.began.elapsed().as_secs_f64();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{time:9.3} {}", line.trim_end().replace('\n', " / "))
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }
}
