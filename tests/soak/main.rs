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
mod log;
mod model;
mod operation;
mod operators;
mod storm;
mod users;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use content::Identity;
use dice::Dice;
use harness::on_each_engine;
use model::{Fate, Kept, Model};
use operation::{Name, Operation};

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
    // Near seeds are storms of their own, and so are the actors of one.
    let near: BTreeSet<String> = (0..64).map(|seed| format!("{:?}", sequence(seed))).collect();
    assert_eq!(near.len(), 64);
    let mut actors: Vec<Dice> = (0..4).map(|actor| Dice::of(7, actor)).collect();
    let firsts: BTreeSet<u64> = actors.iter_mut().map(|dice| dice.below(u64::MAX)).collect();
    assert_eq!(firsts.len(), 4);
    // Every kind of operation comes.
    let drawn: BTreeSet<String> = sequence(9)
        .iter()
        .map(|operation| format!("{operation:?}").split(['(', ' ']).next().unwrap().to_owned())
        .collect();
    assert_eq!(drawn.len(), 14, "{drawn:?}");
}

/// Who removes a volume himself may lose what was in it, and nothing else.
#[test]
fn a_volume_removed_by_hand_excuses_only_what_went_with_it() {
    let data = |inode| -> Identity { (inode, SystemTime::UNIX_EPOCH) };
    let mut model = Model::default();
    // In the volume, in quarantine under the same name, nowhere since long ago, and in another volume.
    for (inode, name) in [(1, "shop_db0"), (2, "shop_db0"), (3, "shop_db0"), (4, "shop_db1")] {
        let token = model.token(name);
        model
            .kept
            .insert(data(inode), Kept { token, listing: Vec::new(), fate: Fate::Kept, is_strict: false });
    }
    let before = BTreeSet::from([data(1), data(2), data(4)]);
    let after = BTreeSet::from([data(2)]);
    assert_eq!(model.removed_by_hand(Name::Service(0), &before, &after), 1);
    let kept: Vec<u64> =
        model.kept.iter().filter(|(_, kept)| kept.fate == Fate::Kept).map(|((inode, _), _)| *inode).collect();
    assert_eq!(kept, [2, 3, 4]);
}

/// A user may end anything that nothing uses, not only what is of no worth.
#[test]
fn volumes_of_services_are_removed_by_hand_now_and_then() {
    let mut dice = Dice::of(7, 0);
    let drawn: Vec<Operation> = (0..2000).map(|_| Operation::draw(&mut dice)).collect();
    let removed = |operation: &&Operation| matches!(operation, Operation::RemoveVolume(Name::Service(_)));
    let count = drawn.iter().filter(removed).count();
    assert!((10..100).contains(&count), "{count}");
}

harness::reaper!();
