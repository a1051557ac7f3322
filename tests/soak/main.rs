//! Storms: users, operators and sweeps without any grace, all at once on a real engine, with volgc and dockerd killed at any
//! moment. At the end every volume that anything ever referenced is in its place or can be restored, byte for byte.
//!
//! `make soak MINUTES=60 ENGINE=26.1 SEED=7` runs a long one; `make test` a short one. Each actor (users, sweeps, two operators)
//! draws what it does from the seed alone, so a seed gives each of them the same sequence again. How their sequences meet, and so
//! what comes of an operation, is the machine's: a storm cannot be repeated exactly. What names an entry or a volume that is
//! there at the time can differ too.
//!
//! Ends with a line for machines:
//! `soak: ENGINE, N operations, K kills, C checksums verified, 0 lost, 0 half states, 0 panics`. Anything else than these zeroes
//! is a failure, which names the file with everything that was done.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "tests have effects, and fail loudly"
)]

mod content;
mod dice;
#[path = "../harness/mod.rs"]
mod harness;
mod log;
mod model;
mod operation;
mod operators;
mod storm;
mod users;

use std::time::{Duration, SystemTime};

use dice::Dice;
use harness::on_each_engine;
use operation::Operation;

/// How long, unless `VOLGC_SOAK_MINUTES` says otherwise.
const SHORT: Duration = Duration::from_secs(40);

fn length() -> Duration {
    match std::env::var("VOLGC_SOAK_MINUTES") {
        Err(_) => SHORT,
        Ok(text) if text.is_empty() => SHORT,
        Ok(text) => {
            let minutes: f64 =
                text.parse().unwrap_or_else(|_| panic!("VOLGC_SOAK_MINUTES={text}: not a number"));
            Duration::from_secs_f64(minutes * 60.0)
        }
    }
}

fn seed() -> u64 {
    match std::env::var("VOLGC_SOAK_SEED") {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("VOLGC_SOAK_SEED={text}: not a number"))
        }
        Ok(_) | Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_micros()) ^ now.as_secs()
        }
    }
}

on_each_engine! {
    fn nothing_is_lost(engine: PrivateEngine) {
        storm::storm(&engine, seed(), length());
    }
}

#[test]
fn a_seed_gives_the_same_operations_again() {
    let sequence = |seed| {
        let mut dice = Dice::of(seed, 0);
        (0..500).map(|_| Operation::draw(&mut dice)).collect::<Vec<_>>()
    };
    assert_eq!(sequence(7), sequence(7));
    assert_ne!(sequence(7), sequence(8));
    // Near seeds are storms of their own, and every kind of operation comes.
    let drawn: std::collections::BTreeSet<String> = sequence(9)
        .iter()
        .map(|operation| format!("{operation:?}").split(['(', ' ']).next().unwrap().to_owned())
        .collect();
    assert_eq!(drawn.len(), 14, "{drawn:?}");
}
