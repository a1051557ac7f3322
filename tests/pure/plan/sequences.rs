//! Long lives of a simulated host: no volume is quarantined unless it was free at every sweep for its whole grace period, and
//! none is deleted unless it was in quarantine for all of its own.

use crate::life::{DELETE_AFTER, Event, Host, QUARANTINE_AFTER, events};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn nothing_goes_before_its_time(events in events(120)) {
        let mut host = Host::default();
        for event in &events {
            host.happen(event);
        }
    }
}

/// The sequences above would prove nothing if nothing ever went.
#[test]
fn the_sequences_quarantine_and_delete() {
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let (mut quarantined, mut deleted) = (0, 0);
    for _ in 0..100 {
        let mut host = Host::default();
        let events = events(120).new_tree(&mut runner).unwrap().current();
        for event in &events {
            host.happen(event);
        }
        quarantined += host.quarantined;
        deleted += host.deleted;
    }
    assert!(quarantined > 100 && deleted > 30, "{quarantined} quarantined, {deleted} deleted");
}

/// I8: a hold that is given and over between two sweeps, by a clock that is behind the first of them.
#[test]
fn a_hold_while_the_clock_is_set_back_starts_the_clock_anew() {
    let mut host = Host::default();
    for event in
        [Event::Pass(24), Event::Sweep, Event::SetClock(-5), Event::Hold(0, 1), Event::Pass(8), Event::Sweep]
    {
        host.happen(&event);
    }
}

/// Nor is anything late when every hour is watched.
#[test]
fn on_a_quiet_host_everything_goes_when_it_is_due() {
    let mut host = Host::default();
    host.happen(&Event::Take(0));
    let hours = |duration: std::time::Duration| duration.as_secs() / 3_600;
    host.happen(&Event::Sweep);
    let mut after = |hours: u64| {
        for _ in 0..hours {
            host.happen(&Event::Pass(1));
            host.happen(&Event::Sweep);
        }
        (host.quarantined, host.deleted)
    };
    assert_eq!(after(hours(QUARANTINE_AFTER) - 1), (0, 0));
    assert_eq!(after(1), (4, 0));
    // The clock of an entry starts with the sweep that first sees it there.
    assert_eq!(after(hours(DELETE_AFTER)), (4, 0));
    assert_eq!(after(1), (4, 4));
}
