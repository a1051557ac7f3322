//! Tests that need a process to themselves: a limit or a namespace is the whole process's, and other tests run in threads beside.

use std::process::Command;

const APART: &str = "VOLGC_TEST_APART";

/// Runs the calling test again, alone in a process that `wrapper` starts, and tells whether it did so. The test returns at once
/// then: its body runs in the other process.
pub(crate) fn runs_apart(wrapper: &[&str]) -> bool {
    if std::env::var_os(APART).is_some() {
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().copied().chain([this.to_str().unwrap()]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args(["--include-ignored", "--exact", std::thread::current().name().unwrap()])
        .env(APART, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    true
}
