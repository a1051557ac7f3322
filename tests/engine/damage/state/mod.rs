//! Damaged state: whatever happened to the ledger, the quarantine directory, an entry or a manifest, no data is lost, the outcome
//! is a defined one with its exit code, and the message names the file and the way out (I4, I9).

mod bits;
mod cases;
mod entries;
mod ledgers;
mod manifests;
mod site;
