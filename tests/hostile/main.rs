//! Volumes are written by untrusted containers: whatever one holds or is called is sized, quarantined, listed, restored byte for
//! byte and deleted, and nothing outside of it is touched (I6).

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
mod listing;
mod mounts;
mod names;
mod protected;
mod swapped;
mod trees;
mod watched;
