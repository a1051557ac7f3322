//! The service: its life under a service manager, its events, what it is granted and what it shows of itself.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests have effects, and fail loudly"
)]

mod events;
mod idle;
mod least_privilege;
mod life;
mod metrics;
mod schedule;
mod unit_file;

harness::reaper!();
