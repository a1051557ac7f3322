//! Damaged state: whatever happened to the ledger, the quarantine directory, an entry or a manifest, no data is lost, the outcome
//! is a defined one with its exit code, and the message names the file and the way out (I4, I9).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "tests have effects, and fail loudly"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod bits;
mod cases;
mod entries;
mod ledgers;
mod manifests;
mod site;
