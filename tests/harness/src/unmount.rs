//! Unmounts what a test mounted, and its copies.
//!
//! Each mount namespace that another test makes meanwhile gets a copy of every mount, and the copy holds a volume as the mount itself
//! does, for as long as that namespace lives.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::wait_until;

/// Not a program of the namespace that it enters, where there may be none: `setns(CLONE_NEWNS)`, and `umount2(MNT_DETACH)`.
const ENTER: &str = r#"
use strict;
my ($process, $point) = @ARGV;
open(my $namespace, "<", "/proc/$process/ns/mnt") or exit;
syscall($ENV{SETNS}, fileno $namespace, 0x20000) == 0 or exit;
syscall($ENV{UMOUNT2}, $point, 2);
"#;

/// Unmounts it in every mount namespace.
#[track_caller]
pub fn unmount(point: &Path) {
    let is_gone = || {
        let copies = copies(point);
        for (process, copy) in &copies {
            detach(process, copy);
        }
        copies.is_empty()
    };
    if std::thread::panicking() {
        // Once will do: whoever has a copy ends some time.
        is_gone();
    } else {
        // What an unprivileged user's namespace has of others cannot be taken from it: it ends with that namespace.
        wait_until(&format!("no namespace has {}", point.display()), is_gone);
    }
}

/// Where it is, each as a process of its namespace sees it: in a container that was given `/` it lies deeper.
fn copies(point: &Path) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut copies = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.file_name().to_string_lossy().into_owned();
        let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt")) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let table = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let found = points.filter(|copy| copy.ends_with(&*point.to_string_lossy()));
        copies.extend(found.map(|copy| (process.clone(), copy.to_owned())));
    }
    copies
}

fn detach(process: &str, point: &str) {
    let [setns, umount2] = if cfg!(target_arch = "x86_64") { ["308", "166"] } else { ["268", "39"] };
    Command::new("perl")
        .args(["-e", ENTER, process, point])
        .env("SETNS", setns)
        .env("UMOUNT2", umount2)
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("cannot run perl: {error}: run tests/setup"));
}
