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
//! | any          | unknown        | any                        | no inventory, so no plan                  |

pub mod brakes;
pub mod entry;
pub mod guard;
pub mod history;
pub mod inventory;
pub mod ledger;
pub mod news;
pub mod plan;
pub mod policy;
pub mod reference;
pub mod verdict;
pub mod volume;
