//! What an operator or the service does.

use super::Family::{Deletions, InPlace, Ledger, Quarantines, Restores, Unlisted};
use super::{Case, Family, Host, Scenario, prepare};

/// Each begins with nothing unfinished.
pub const COMMANDS: &[Scenario] = &[
    command("quarantine", Quarantines, prepare::quarantine),
    Scenario {
        with: "exchange.look_again=EIO",
        ..command("quarantine undone", Quarantines, prepare::quarantine)
    },
    command("restore", Restores, |host| prepare::restore(host, &[])),
    command("restore as", Restores, prepare::restore_as),
    command("restore replacing", Restores, prepare::restore_replacing),
    Scenario {
        with: "engine.create=EIO",
        ..command("restore given up", Restores, |host| prepare::restore(host, &[]))
    },
    command("delete", Deletions, prepare::delete),
    Scenario { with: "delete.levels=1", ..command("delete of a deep tree", Deletions, prepare::delete) },
    // Room for nothing: another name for the entry, or a file beside its manifest.
    Scenario { with: "delete.rename=ENOSPC", ..command("delete without room", Deletions, prepare::delete) },
    Scenario {
        with: "manifest.make=ENOSPC",
        ..command("end in place without room", InPlace, prepare::end_in_place)
    },
    Scenario {
        with: "exchange.swap=EXDEV",
        ..command("quarantine of what cannot be renamed", Quarantines, prepare::quarantine)
    },
    command("sweep that quarantines", Quarantines, prepare::sweep_quarantines),
    command("sweep that finds a use", Ledger, prepare::sweep_finds_a_use),
    command("sweep that deletes", Deletions, prepare::sweep_deletes),
    command("hold", Ledger, prepare::hold),
    command("release", Ledger, prepare::release),
    command("acknowledge", Ledger, prepare::acknowledge),
    command("acknowledge of a copied root", Ledger, prepare::acknowledge_a_copy),
    command("sweep with a new ledger", Ledger, prepare::new_ledger),
    command("quarantine of what is not listed", Unlisted, prepare::quarantine_unlisted),
    command("quarantine in place", InPlace, prepare::mark),
    command("release by hand", InPlace, prepare::release_by_hand),
    command("sweep that releases", InPlace, prepare::sweep_releases),
    command("end in place", InPlace, prepare::end_in_place),
    command("restore as, of an unsafe name", Restores, prepare::restore_as_of_an_unsafe_name),
    command("delete, of an unsafe name", Deletions, prepare::delete_of_an_unsafe_name),
];

const fn command(name: &'static str, family: Family, prepare: fn(&Host<'_>) -> Case) -> Scenario {
    Scenario { name, family, with: "", prepare }
}
