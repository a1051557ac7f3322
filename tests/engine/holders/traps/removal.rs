//! The engine deletes a volume where it lies: what goes wrong half-way has cost the half.

use std::process::Command;

use crate::holders::traps::twins::{BOTH, KEPT, LOST, assert_removal_fails, make};
use harness::{KEEP_IN_QUARANTINE, Volgc, on_each_engine, tree_listing};

on_each_engine! {
    /// The volume stays listed, with the one file that could not be deleted. What volgc takes is whole, and comes back whole.
    fn a_removal_that_fails_half_way(engine: PrivateEngine) {
        let immutable = |volume: &str, attribute: &str| {
            let file = engine.volume_data(volume).join("PG_VERSION");
            assert!(Command::new("chattr").arg(attribute).arg(file).status().unwrap().success());
        };
        for volume in BOTH {
            make(&engine, volume);
            immutable(volume, "+i");
        }
        let whole = tree_listing(&engine.volume_data(KEPT));
        assert_removal_fails(&engine, LOST, "operation not permitted");
        assert!(engine.volume_names().contains(&LOST.to_owned()));
        let left = tree_listing(&engine.volume_data(LOST));
        assert!(left.len() < 4 && whole.len() > 20, "{left:#?}");
        immutable(LOST, "-i");
        engine.docker(&["volume", "rm", LOST]);

        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), [KEPT]);
        let data = engine.quarantined_data(&volgc.entry_id_of(KEPT));
        assert_eq!(tree_listing(&data), whole);
        volgc.ok(&["restore", KEPT]);
        assert_eq!(tree_listing(&engine.volume_data(KEPT)), whole);
        immutable(KEPT, "-i");
    }
}
