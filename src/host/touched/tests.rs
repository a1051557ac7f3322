#![allow(clippy::disallowed_methods, reason = "the trees of the tests are made and looked at by path")]

use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::super::walk::fixture::*;
use super::*;
use crate::gc::touched::Reads;
use crate::host::clock;
use crate::tests::runs_apart;

fn now() -> DateTime<Utc> {
    clock::read().unwrap().wall
}

/// Now, with all that was done before more than a tick ago.
fn later() -> DateTime<Utc> {
    std::thread::sleep(Duration::from_millis(30));
    now()
}

fn look(path: &Path, since: DateTime<Utc>) -> Finding {
    let found = MEANS
        .map(|around| look_within(around, open(path).as_fd(), Since::new(since, Reads::Count), &|| false));
    let [found, again] = found;
    // Where two threads meet, a long path may be cut elsewhere.
    assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&again));
    found
}

#[track_caller]
fn touched(path: &Path, since: DateTime<Utc>) -> (String, Manner, u64) {
    match look(path, since) {
        Finding::Touched(Touched { path, manner, at, others }) => {
            assert!(at > since - TimeDelta::milliseconds(20) && at <= now(), "{at} {since}");
            (path, manner, others)
        }
        other @ (Finding::AtRest | Finding::Unknown(_) | Finding::Stopped) => panic!("{other:?}"),
    }
}

#[test]
fn whatever_a_container_made_is_at_rest_until_it_is_used() {
    for tree in [tempfile::tempdir().unwrap(), in_memory()] {
        let canary = menagerie(tree.path());
        let since = later();
        assert_eq!(look(tree.path(), since), Finding::AtRest);
        // A name that a terminal would obey, deep in the tree.
        let odd = tree.path().join("odd").join(std::ffi::OsStr::from_bytes(b"\x1b[2Jescape"));
        std::fs::write(odd.join("new"), "new").unwrap();
        let (path, manner, others) = touched(tree.path(), since);
        assert_eq!((manner, others), (Manner::Changed, 1), "{path}");
        assert!(path.starts_with("odd/\\u{1b}[2Jescape"), "{path}");
        assert_sings(&canary);
    }
}

/// Each by itself: what is done to a tree, and what is told of it.
#[test]
fn each_way_to_use_something_is_told() {
    type Way = (&'static str, &'static str, Manner, fn(&Path));
    let ways: [Way; 11] = [
        ("append", "sub/file", Manner::Changed, |tree| {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new().append(true).open(tree.join("sub/file")).unwrap();
            file.write_all(b"more").unwrap();
        }),
        ("read", "sub/file", Manner::Read, |tree| {
            let mut text = Vec::new();
            std::fs::File::open(tree.join("sub/file")).unwrap().read_to_end(&mut text).unwrap();
        }),
        ("make a file", "sub", Manner::Changed, |tree| file(&tree.join("sub/new"), 0)),
        ("make one at the top", "", Manner::Changed, |tree| file(&tree.join("new"), 0)),
        ("remove a file", "sub", Manner::Changed, |tree| {
            std::fs::remove_file(tree.join("sub/file")).unwrap();
        }),
        ("remove one at the top", "", Manner::Changed, |tree| {
            std::fs::remove_file(tree.join("top")).unwrap();
        }),
        ("give a mode", "sub/file", Manner::Changed, |tree| {
            rustix::fs::chmod(tree.join("sub/file"), 0o600.into()).unwrap();
        }),
        ("give a link another owner", "link", Manner::Changed, |tree| {
            std::os::unix::fs::lchown(tree.join("link"), Some(7), Some(7)).unwrap();
        }),
        ("rename a directory", "", Manner::Changed, |tree| {
            std::fs::rename(tree.join("sub"), tree.join("sub2")).unwrap();
        }),
        ("link a file", "", Manner::Changed, |tree| {
            std::fs::hard_link(tree.join("sub/file"), tree.join("again")).unwrap();
        }),
        ("set times back", "sub/file", Manner::Changed, |tree| {
            std::fs::write(tree.join("sub/file"), "other").unwrap();
            let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = Timestamps { last_access: long_ago, last_modification: long_ago };
            rustix::fs::utimensat(CWD, tree.join("sub/file"), &times, AtFlags::empty()).unwrap();
        }),
    ];
    for (what, expected, expected_manner, do_it) in ways {
        let tree = tempfile::tempdir().unwrap();
        file(&dir(tree.path().join("sub")).join("file"), 10);
        file(&tree.path().join("top"), 10);
        std::os::unix::fs::symlink("sub", tree.path().join("link")).unwrap();
        let since = later();
        assert_eq!(look(tree.path(), since), Finding::AtRest, "{what}");
        do_it(tree.path());
        let (path, manner, _) = touched(tree.path(), since);
        let is_named = path == expected || (path.starts_with(expected) && manner == Manner::Changed);
        assert!(is_named && manner == expected_manner, "{what}: {path:?} {manner:?}");
    }
}

#[test]
fn what_only_looks_is_no_use() {
    let tree = tempfile::tempdir().unwrap();
    file(&dir(tree.path().join("sub")).join("file"), 10);
    std::os::unix::fs::symlink("sub/file", tree.path().join("link")).unwrap();
    let since = later();
    run("ls", &["-laR"], tree.path());
    run("find", &["-L"], tree.path());
    du(&["-s"], tree.path());
    std::fs::read_link(tree.path().join("link")).unwrap();
    // As this program does with the top, and the engine when it makes a volume.
    rustix::fs::chmod(tree.path(), 0o755.into()).unwrap();
    let moved = tree.path().with_extension("moved");
    std::fs::rename(tree.path(), &moved).unwrap();
    std::fs::rename(&moved, tree.path()).unwrap();
    assert_eq!(look(tree.path(), since), Finding::AtRest);
}

#[test]
fn looking_moves_no_access_time() {
    let tree = tempfile::tempdir().unwrap();
    file(&dir(tree.path().join("sub")).join("file"), 10);
    let before =
        || ["", "sub", "sub/file"].map(|path| tree.path().join(path).metadata().unwrap().atime_nsec());
    let seen = before();
    let since = later();
    // With `relatime` a list right after a change is noted.
    for _ in 0..3 {
        assert_eq!(look(tree.path(), since), Finding::AtRest);
        super::super::usage::measure(
            open(tree.path()).as_fd(),
            &super::super::usage::UsageOptions::default(),
            &|| false,
        );
    }
    assert_eq!(before(), seen);
    run("ls", &[], &tree.path().join("sub"));
    assert_ne!(before(), seen, "this file system notes nothing, so nothing was shown");
}

#[test]
fn a_tree_deeper_than_descriptors_and_paths_is_looked_through() {
    // It takes every descriptor that the process may have.
    if runs_apart(&[]) {
        return;
    }
    for depth in [1000, 5000] {
        let tree = in_memory();
        comb(tree.path(), depth);
        soft_descriptor_limit(1024);
        let since = later();
        assert_eq!(look(tree.path(), since), Finding::AtRest);
        let lowest = lowest_of(tree.path());
        rustix::fs::mkdirat(&lowest, c"new", 0o755.into()).unwrap();
        let (path, manner, others) = touched(tree.path(), since);
        assert!(path.starts_with(".../d/d/d") && path.len() < 1100, "{path}");
        assert_eq!((manner, others), (Manner::Changed, 1));
        empty(tree.path());
    }
}

/// The lowest of the nested directories `d`.
fn lowest_of(top: &Path) -> rustix::fd::OwnedFd {
    let mut here = open(top);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    while let Ok(below) = rustix::fs::openat(&here, c"d", flags, rustix::fs::Mode::empty()) {
        here = below;
    }
    here
}

/// I2: what cannot be looked at may have been used.
#[test]
fn what_cannot_be_looked_at_is_not_at_rest() {
    let tree = tempfile::tempdir().unwrap();
    let (inner, other) = (dir(tree.path().join("sub/inner")), tempfile::tempdir().unwrap());
    run("mount", &["--bind", other.path().to_str().unwrap()], &inner);
    let since = later();
    let found = look(tree.path(), since);
    run("umount", &[], &inner);
    assert_eq!(found, Finding::Unknown("`sub/inner` is a mount point or another file system".to_owned()));
    assert_eq!(look(tree.path(), since), Finding::AtRest);
    let stopped = look_through(open(tree.path()).as_fd(), Since::new(since, Reads::Count), &|| true);
    assert_eq!(stopped, Finding::Stopped);
}

/// Of many threads' findings the latest is told, and every one is counted.
#[test]
fn every_use_is_counted_and_the_last_is_named() {
    let tree = in_memory();
    for nth in 0..5000 {
        file(&dir(tree.path().join((nth % 50).to_string())).join(format!("f{nth}")), 1);
    }
    let since = later();
    for nth in (0..5000).step_by(10) {
        rustix::fs::chmod(tree.path().join(format!("{}/f{nth}", nth % 50)), 0o600.into()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(30));
    rustix::fs::chmod(tree.path().join("17/f17"), 0o600.into()).unwrap();
    assert_eq!(touched(tree.path(), since), ("17/f17".to_owned(), Manner::Changed, 500));
}
