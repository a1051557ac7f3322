//! volgc: a volume garbage collector for Docker hosts.
//!
//! It finds Docker-managed volumes that nothing holds any more, sets them aside where one command brings them back, and deletes
//! them when their grace period is over. It never touches a volume that anything holds, never touches a bind mount, and never
//! deletes live data.
//!
//! # The map
//!
//! Plan, then execute; the plan is data. Imports point one way:
//!
//! ```text
//! main → cli → service, sweep → witness, host → gc        metrics → service, report → sweep, gc
//! ```
//!
//! - [`gc`]: the pure core: inventory, ledger state, policy, plan, guard. No clock, no file system, no engine.
//! - [`witness`]: who holds a volume; one file a witness, each answers completely or fails.
//! - [`host`]: effects: engine, volumes directory, quarantine, deletion, sizes, ledger.
//! - [`sweep`]: one pass, and every step that moves data.
//! - [`service`]: the schedule, the signals, the watchdog; knows nothing about volumes.
//! - [`metrics`]: what the service shows of itself over HTTP.
//! - [`report`]: plan and outcome as tables, JSON and explanations.
//! - [`config`], [`schedule`]: the operator's intent, validated.
//! - [`cli`]: one file a command.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | volume | a Docker-managed volume; *anonymous* or *named*. Or *unlisted*: a directory among them that the engine does not list |
//! | identity | which volume of that name; a name used again is another volume |
//! | holder | who holds a volume: a container in any state, a bind mount into it, a service, a kernel mount, an operator's hold |
//! | reference | one holder's claim on one volume, and which witness saw it |
//! | witness | one source of references: it answers completely, or it fails |
//! | dangling | Docker's claim; shown, never decided on |
//! | unreferenced | our finding, from complete evidence |
//! | inventory | one complete observation |
//! | ledger | what is remembered between sweeps |
//! | sweep | one pass: observe, plan, approve, execute, record |
//! | quarantine | set aside, restorable; *in place*: only marked, usable all the while |
//! | release | what ends a quarantine in place: something holds the volume again, or it is gone |
//! | restore, delete | back to Docker under a name; gone for good |
//! | hold | an operator's "keep this" |
//! | brake | a refusal to act because the whole picture looks wrong |
//!
//! # Invariants
//!
//! Cited in the code as `I4` where they are upheld; each has tests that fail without it.
//!
//! - **I1** A volume that anything holds is never touched.
//! - **I2** Missing evidence is never evidence of absence. A witness that cannot answer completely makes the sweep refuse; a
//!   field that is missing or has an unknown value counts as held.
//! - **I3** Live data is never deleted: only what stayed in quarantine for its whole grace period, after one more check of all
//!   witnesses and of the data itself.
//! - **I4** At every instant, and after a crash at any instant, a volume's data is whole, in exactly one place, and a durable
//!   manifest written before the move says which.
//! - **I5** Once a DELETE may have been sent to the engine and its fate is not known, the data stays in quarantine until it is.
//! - **I6** Nothing is written, renamed or unlinked outside a volume's own directory and the quarantine directory. No symlink is
//!   followed, no mount is crossed, nothing is copied between file systems.
//! - **I7** A restore never overwrites and never merges.
//! - **I8** Time that nobody watched does not count. A clock step, a suspended host or a stopped service can only delay.
//! - **I9** A new, lost or emptied ledger can only delay. A damaged or newer one is an error that names its file.
//! - **I10** `report` and every other reading command hold no handle with which they could change anything, and call the engine
//!   with GET alone.
//! - **I11** A name used again never inherits the old volume's clock, hold or quarantine.
//! - **I12** Every volume in every plan has a typed reason; every change is in the history, with who held it last.
//! - **I13** A live name, one that the engine knows, never leads to data that is being deleted.
//! - **I14** One thing that cannot be known holds what it may concern, and nothing else. A single odd container, mount, name or
//!   volume never stops the report, nor the collection of what it cannot concern; when it must, one sentence names it and the way
//!   out.
//! - **I15** Freeing space needs no space: a full disk, a full inode table or a ledger that cannot be written stops moves, never
//!   deletions that are due or ordered.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests have effects"))]

pub mod cli;
pub mod config;
pub mod gc;
pub mod host;
pub mod metrics;
pub mod report;
pub mod schedule;
pub mod service;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod witness;
