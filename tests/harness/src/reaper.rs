//! Takes the pool's engines down when their test process has ended, however it ended: a test runner has no last test, and a
//! static is never dropped.
//!
//! The reaper is the test program itself, run for one test of this name: [`TEST`]. It waits for the end of its standard input,
//! whose other end only the test process holds.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::takedown;

/// The test that [`reaper!`](crate::reaper) makes, at the root of its crate.
const TEST: &str = "engines_end_with_their_test_process";
/// Set for the reaper.
const WAITS: &str = "VOLGC_TEST_REAPER";

/// Makes the test that is also the reaper of its crate. It belongs into the `main.rs` of every test crate with engines.
#[macro_export]
macro_rules! reaper {
    () => {
        #[test]
        fn engines_end_with_their_test_process() {
            $crate::reaper::test();
        }
    };
}

/// Starts the reaper of this process, once.
pub(crate) fn watch_this_process() {
    static END: OnceLock<ChildStdin> = OnceLock::new();
    END.get_or_init(|| spawn().1);
}

fn spawn() -> (Child, ChildStdin) {
    let program =
        std::env::current_exe().unwrap_or_else(|error| panic!("cannot tell which test this is: {error}"));
    let mut child = Command::new(program)
        .args([TEST, "--exact", "--nocapture"])
        .env(WAITS, "1")
        // An interrupt from the terminal ends the tests, and not what clears up after them.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start the reaper: {error}"));
    let input = child.stdin.take().unwrap_or_else(|| unreachable!("it is piped"));
    (child, input)
}

/// What the test does: as the reaper, it waits and takes down; else it tries one on an engine's directory that nobody holds.
pub fn test() {
    if std::env::var_os(WAITS).is_some() {
        let mut nothing = Vec::new();
        std::io::stdin().read_to_end(&mut nothing).unwrap_or_default();
        takedown::sweep(&std::env::temp_dir());
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix(takedown::PREFIX)
        .tempdir()
        .unwrap_or_else(|error| panic!("no directory: {error}"))
        .keep();
    // Held while the engine's process starts, as a test process holds it.
    let lock = super::engine::lock(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut daemon = Command::new("sleep")
        .arg("600")
        .env(takedown::MARK, &dir)
        .spawn()
        .unwrap_or_else(|error| panic!("no process: {error}"));
    let (mut reaper, input) = spawn();
    assert!(!takedown::left_behind(&dir).is_empty());
    drop(lock);
    drop(input);
    reaper.wait().unwrap_or_else(|error| panic!("cannot wait: {error}"));
    daemon.wait().unwrap_or_else(|error| panic!("cannot wait: {error}"));
    // Another test's start sweeps, too, and may still be at it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !takedown::left_behind(&dir).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", takedown::left_behind(&dir));
        std::thread::sleep(Duration::from_millis(10));
    }
}
