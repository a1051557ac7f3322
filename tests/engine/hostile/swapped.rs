//! A directory is swapped for a symlink while the walk is in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::hostile::trees::{CANARY_BYTES, Canary};
use crate::hostile::watched::{self, Watched};
use harness::{Gate, KEEP_IN_QUARANTINE, Volgc, on_each_engine, wait_until};

/// Directories to be swapped, each with a symlink to swap it for.
const PAIRS: usize = 24;

/// How often the tree is sized, and how often one is deleted.
const ROUNDS: usize = 6;

fn fill(data: &Path, canary: &Canary) {
    for number in 0..PAIRS {
        let directory = data.join(format!("dir-{number}"));
        for sub in ["a", "sub", "z"] {
            fs::create_dir_all(directory.join(sub)).unwrap();
            for file in 0..20 {
                fs::write(directory.join(sub).join(format!("{file}")), "x").unwrap();
            }
        }
        // Straight to it, to what lies in it, and by a way that does not begin at the root.
        let targets = [canary.path().to_owned(), canary.path().join("sub"), "../../../../../canary".into()];
        symlink(&targets[number % 3], data.join(format!("link-{number}"))).unwrap();
    }
}

/// Swaps each directory of the tree for its symlink and back, as fast as it can, until `work` is done, which is shown the number
/// of swaps. By path, so that nothing shows to a witness: a container that was stopped has left no process behind.
fn while_swapping<T>(data: &Path, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let (is_over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for number in 0..PAIRS {
                    let (one, other) =
                        (data.join(format!("dir-{number}")), data.join(format!("link-{number}")));
                    if renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        // Also when `work` panics.
        let over = Over(&is_over);
        let done = work(&swaps);
        drop(over);
        done
    });
    println!("{} swaps", swaps.load(Ordering::Relaxed));
    assert!(swaps.load(Ordering::Relaxed) > 20, "there was no race");
    done
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Deletes an entry; the walk begins while its tree is being swapped.
fn delete_while_swapping(volgc: &Volgc, data: &Path, entry: &str) -> Watched {
    let gate = Gate::new(volgc);
    let waiting = volgc.clone().env("VOLGC_FAULT", gate.order("delete.contents"));
    while_swapping(data, |swaps| {
        scope(|scope| {
            scope.spawn(|| {
                let waits = gate.await_arrival(|| None);
                wait_until("the swaps begin", || swaps.load(Ordering::Relaxed) > 20);
                drop(waits);
            });
            watched::run(&waiting, &["delete", "--yes", entry])
        })
    })
}

fn size(report: &str, of: &str) -> Option<u64> {
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let line = report["volumes"].as_array().unwrap().iter().find(|line| line["name"] == of).unwrap();
    line["size_bytes"].as_u64()
}

on_each_engine! {
    fn a_walk_never_follows_a_directory_that_is_swapped_for_a_symlink(engine: PrivateEngine) {
        let canary = Canary::new(&engine);
        engine.create_volume("swapped", &[]);
        fill(&engine.volume_data("swapped"), &canary);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        while_swapping(&engine.volume_data("swapped"), |_| {
            for _ in 0..ROUNDS {
                let report = watched::ok(&volgc, &["report", "--format", "json"]);
                // Without a size when something went away meanwhile; never with that of the canary.
                let size = size(&report, "swapped").unwrap_or(0);
                assert!(size < CANARY_BYTES as u64, "{size} bytes: the canary was measured");
            }
        });
        canary.assert_sings();

        for round in 0..ROUNDS {
            let name = format!("swapped-{round}");
            engine.create_volume(&name, &[]);
            fill(&engine.volume_data(&name), &canary);
            volgc.ok(&["quarantine", &name]);
            let entry = volgc.entry_id_of(&name);
            let data = engine.root().join("volgc").join(format!("deleting-{entry}")).join("data");
            let watched = delete_while_swapping(&volgc, &data, &entry);
            let status = watched.output.status;
            assert!(matches!(status, Some(0 | 3)), "{:?}", watched.output);
            canary.assert_sings();
            volgc.ok(&["sweep"]);
            assert!(!data.exists(), "{:?}", watched.output);
        }
        canary.assert_sings();
        println!("hostile: {} trees tried, 0 losses", 2 * ROUNDS);
    }
}
