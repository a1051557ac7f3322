//! What volgc promises, on real engines. `tests/README.md` says what each folder proves, and how to run one test.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests have effects, and fail loudly"
)]

mod damage;
mod evidence;
mod faults;
mod holders;
mod hostile;
mod life;
mod output;
mod races;
mod selftest;
mod stuck;
mod touched;

harness::reaper!();
