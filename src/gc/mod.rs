//! The pure core: what was observed, what is remembered, what is wanted, and what follows from them.
//!
//! Nothing here knows a clock, a file system or an engine; time is a value. It imports nothing from the layers above it, no
//! tokio, no bollard, no `std::fs` (a test holds that).
//!
//! ```text
//!  inventory ──┐
//!  quarantine ─┤
//!  ledger ─────┼─ plan ─► Plan ─ guard ─► ApprovedPlan
//!  policy ─────┤
//!  now ────────┘
//! ```
//!
//! | quarantined? | held now?      | clock                      | verdict                                   |
//! |--------------|----------------|----------------------------|-------------------------------------------|
//! | no           | yes            | -                          | keep; the clock is reset                  |
//! | no           | no             | first sighting             | watch; the clock starts                   |
//! | no           | no             | grace or sightings lacking | keep                                      |
//! | no           | no             | both reached               | quarantine                                |
//! | yes          | name not used  | before `delete_after`      | keep in quarantine                        |
//! | yes          | name in use    | any                        | keep in quarantine, clock stopped, warn   |
//! | yes          | no             | `delete_after` reached     | delete                                    |
//! | in place     | yes, or gone   | any                        | release; the clock is reset               |
//! | in place     | no             | before `delete_after`      | keep in quarantine                        |
//! | in place     | no             | `delete_after` reached     | delete, which the engine does             |
//! | any          | unknown        | any                        | no inventory, so no plan                  |
//!
//! What cannot be moved is quarantined in place when a rule permits it and only the record of a mount would be lost. A directory
//! that the engine does not list has a class of its own, [`volume::Class::Unlisted`], and is kept unless a rule names that class.

pub mod brakes;
pub mod entry;
pub mod guard;
pub mod history;
pub mod holds;
pub mod in_order;
pub mod inventory;
pub mod labels;
pub mod late_order;
pub mod ledger;
pub mod lineage;
pub mod news;
pub mod obstacles;
pub mod odd;
pub mod orphans;
pub mod passing;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod reference;
pub mod spoken;
pub mod touched;
pub mod turns;
pub mod verdict;
pub mod volume;
pub mod watch;
