//! The ledger and its disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::damage::state::cases::{Case, Comes, Told, nothing, try_all};
use crate::damage::state::site::{Site, run};
use harness::fake::Fake;
use harness::{KEEP_IN_QUARANTINE, Volgc, on_each_engine};

/// Moves the ledger away, as each message about a damaged one says.
fn move_ledger_away(site: &Site<'_>) {
    fs::rename(site.ledger(), site.ledger().with_extension("damaged")).unwrap();
}

fn change_ledger(site: &Site<'_>, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(site.ledger()).unwrap();
    fs::write(site.ledger(), change(bytes)).unwrap();
}

/// A tmpfs over the state directory, with the ledger in it.
fn mount_state(site: &Site<'_>, then: impl FnOnce(&Path)) {
    let state = site.volgc.state_dir();
    let ledger = fs::read(site.ledger()).unwrap();
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&state).status();
    assert!(output.unwrap().success());
    site.mounted.set(true);
    fs::write(site.ledger(), ledger).unwrap();
    then(&state);
}

fn unmount_state(site: &Site<'_>) {
    run("umount", &[&site.volgc.state_dir()]);
    site.mounted.set(false);
}

const LEDGER_IS_DAMAGED: &[Told] = &[
    ("report", 1, &["LEDGER", "is damaged", "mv "]),
    ("list", 1, &["LEDGER", "is damaged", "mv "]),
    ("explain ORPHAN", 1, &["LEDGER", "mv "]),
    ("history", 1, &["LEDGER", "mv "]),
    ("sweep", 1, &["LEDGER", "is damaged", "mv "]),
    ("quarantine ORPHAN", 1, &["LEDGER", "mv "]),
    ("restore ENTRY", 1, &["LEDGER", "mv "]),
    ("delete --yes ENTRY", 1, &["LEDGER", "mv "]),
];

const LEDGER_ONLY_DELAYS: &[Told] = &[
    ("report", 0, &["ORPHAN", "KEPT"]),
    ("list", 0, &["ENTRY", "KEPT"]),
    ("sweep", 0, &["nothing was due"]),
];

/// Of the ledger and its disk.
const LEDGERS: &[Case] = &[
    Case {
        what: "the ledger is lost",
        damage: |site| fs::remove_file(site.ledger()).unwrap(),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the state directory is lost",
        damage: |site| fs::remove_dir_all(site.volgc.state_dir()).unwrap(),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is emptied",
        damage: |site| change_ledger(site, |_| Vec::new()),
        told: LEDGER_ONLY_DELAYS,
        mend: nothing,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is cut short",
        damage: |site| change_ledger(site, |bytes| bytes[..bytes.len() / 2].to_vec()),
        told: LEDGER_IS_DAMAGED,
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is noise after its head",
        damage: |site| {
            change_ledger(site, |mut bytes| {
                bytes[4096..].fill(0xa5);
                bytes
            });
        },
        told: LEDGER_IS_DAMAGED,
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is something else",
        damage: |site| change_ledger(site, |_| b"Nov 24 03:00:00 host volgc: sweep done\n".repeat(300)),
        told: &[
            ("report", 1, &["LEDGER", "is not a ledger", "mv "]),
            ("sweep", 1, &["LEDGER", "is not a ledger", "mv "]),
            ("restore ENTRY", 1, &["LEDGER", "is not a ledger", "mv "]),
        ],
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is newer",
        // `user_version` is at byte 60 of the header (SQLite file format, 1.3).
        damage: |site| {
            change_ledger(site, |mut bytes| {
                bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
                bytes
            });
        },
        told: &[
            ("report", 1, &["LEDGER", "newer volgc", "version is 99", "mv "]),
            ("sweep", 1, &["LEDGER", "newer volgc", "Nothing was changed"]),
            ("delete --yes ENTRY", 1, &["LEDGER", "newer volgc"]),
        ],
        mend: move_ledger_away,
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is a directory",
        damage: |site| {
            fs::remove_file(site.ledger()).unwrap();
            fs::create_dir(site.ledger()).unwrap();
        },
        told: &[
            ("report", 1, &["LEDGER", "Check that it is a plain file"]),
            ("sweep", 1, &["LEDGER", "Check that it is a plain file"]),
        ],
        mend: |site| fs::remove_dir(site.ledger()).unwrap(),
        comes_back: Comes::Back,
    },
    Case {
        what: "the ledger is of another engine",
        damage: |site| {
            let fake = Fake::start();
            let other = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
            other.config(KEEP_IN_QUARANTINE);
            other.ok(&["sweep"]);
            fs::copy(other.state_dir().join("ledger.db"), site.ledger()).unwrap();
        },
        told: &[
            ("report", 0, &["would refuse", "FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("sweep", 4, &["refused to act", "FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("quarantine ORPHAN", 4, &["FAKE:ENGINE:ID"]),
            ("restore ENTRY", 4, &["FAKE:ENGINE:ID", "volgc acknowledge"]),
            ("delete --yes ENTRY", 4, &["FAKE:ENGINE:ID"]),
        ],
        mend: |site| {
            site.volgc.ok(&["acknowledge"]);
        },
        comes_back: Comes::Back,
    },
    Case {
        what: "the disk of the ledger is full",
        damage: |site| {
            mount_state(site, |state| {
                let mut filler = fs::File::create(state.join("filler")).unwrap();
                while std::io::Write::write_all(&mut filler, &[0; 512]).is_ok() {}
            });
        },
        told: &[
            ("report", 0, &["ORPHAN", "KEPT"]),
            ("sweep", 3, &["LEDGER", "full", "Make room", "nothing is moved"]),
            ("quarantine ORPHAN", 3, &["LEDGER", "full", "Make room", "nothing is moved"]),
        ],
        mend: unmount_state,
        comes_back: Comes::Back,
    },
    Case {
        what: "the disk of the ledger is read-only",
        damage: |site| {
            mount_state(site, |state| run("mount", &["-o".as_ref(), "remount,ro".as_ref(), state]));
        },
        told: &[
            ("report", 0, &["ORPHAN", "KEPT"]),
            ("list", 0, &["ENTRY"]),
            ("sweep", 3, &["LEDGER", "read-only", "nothing is moved"]),
            ("quarantine ORPHAN", 3, &["LEDGER", "read-only", "nothing is moved"]),
            ("restore ENTRY", 1, &["LEDGER", "read-only"]),
        ],
        mend: unmount_state,
        comes_back: Comes::Back,
    },
];

on_each_engine! {
    fn a_damaged_ledger_loses_no_data_and_tells_the_way_out(engine: PrivateEngine) {
        try_all(&engine, LEDGERS);
    }
}
