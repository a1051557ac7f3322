//! Nothing keeps what is due for ever: not a full disk, not a busy host, not what cannot be taken, not a file system of its own kind, and
//! not a backup each night (I14, I15).

mod brake;
mod file_systems;
mod full;
mod passing;
mod turns;

use std::ffi::OsStr;
use std::process::Command;

use harness::show;

/// `NO_GRACE` for another mode, and with more behind it.
fn config(mode: &str, also: &str) -> String {
    format!("{}{also}", harness::NO_GRACE.replace("\"enforce\"", &format!("\"{mode}\"")))
}

#[track_caller]
fn succeed<S: AsRef<OsStr>>(program: &str, arguments: &[S]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", show(&output));
}
