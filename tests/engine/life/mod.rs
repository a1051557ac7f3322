//! What nothing holds is quarantined, restored or deleted, and only that.

mod clock_steps;
mod collection;
mod copies;
mod deletion;
mod engines;
mod in_place;
mod movable;
mod names_used_again;
mod restore;
mod restore_as;
mod unlisted;
mod watched_time;
mod whole_life;

use harness::{Contents, NO_GRACE, PrivateEngine, Volgc};

/// The volume `db` in quarantine, due to be deleted by the next sweep; the ID of its entry, and its data.
fn set_aside(engine: &PrivateEngine) -> (Volgc, String, Contents<'_>) {
    engine.create_volume("db", &[]);
    engine.fill_volume("db", 1);
    let volgc = Volgc::configured(engine, NO_GRACE);
    volgc.sweep_twice();
    let entry = volgc.entry_id_of("db");
    let mut kept = Contents::new(engine);
    kept.note(&engine.quarantined_data(&entry));
    (volgc, entry, kept)
}
