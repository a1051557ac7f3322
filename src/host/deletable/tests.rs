use std::os::fd::AsFd as _;
use std::path::Path;

use super::super::walk::fixture::*;
use super::*;

fn surveyed(path: &Path) -> Survey {
    survey(open(path).as_fd(), &|| false).unwrap()
}

fn obstacle(path: &str, cause: UndeletableCause) -> Survey {
    Survey::Obstacle { path: path.as_bytes().to_vec(), cause }
}

#[test]
fn whatever_a_container_can_make_can_be_deleted() {
    let tree = tempfile::tempdir().unwrap();
    let canary = menagerie(tree.path());
    assert_eq!(surveyed(tree.path()), Survey::Deletable);
    assert_eq!(survey(open(tree.path()).as_fd(), &|| true).unwrap(), Survey::Stopped);
    assert_sings(&canary);
    empty(tree.path());
}

#[test]
#[ignore = "needs root"]
fn an_attribute_is_found_and_its_end_is_seen() {
    let tree = tempfile::tempdir().unwrap();
    let below = dir(tree.path().join("a/b"));
    file(&below.join("f"), 1);
    let cases = [
        ("+i", "a/b/f", UndeletableCause::Immutable),
        ("+a", "a/b/f", UndeletableCause::AppendOnly),
        ("+i", "a/b", UndeletableCause::Immutable),
        ("+a", "a", UndeletableCause::AppendOnly),
        ("+i", "", UndeletableCause::Immutable),
    ];
    for (change, path, cause) in cases {
        run("chattr", &[change], &tree.path().join(path));
        let found = surveyed(tree.path());
        let is_there = is_still_there(open(tree.path()).as_fd(), path.as_bytes(), cause);
        run("chattr", &["-ia"], &tree.path().join(path));
        assert_eq!(found, obstacle(path, cause));
        assert!(is_there, "{path}");
        assert!(!is_still_there(open(tree.path()).as_fd(), path.as_bytes(), cause), "{path}");
        assert_eq!(surveyed(tree.path()), Survey::Deletable);
    }
}

#[test]
#[ignore = "needs root"]
fn mounts_on_directories_and_on_files_are_found() {
    let (tree, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    dir(tree.path().join("a/mount"));
    file(&tree.path().join("a/file"), 1);
    dir(elsewhere.path().join("mount"));
    file(&elsewhere.path().join("file"), 1);
    for what in ["mount", "file"] {
        let (from, path) = (elsewhere.path().join(what), format!("a/{what}"));
        run("mount", &["--bind", from.to_str().unwrap()], &tree.path().join(&path));
        let found = surveyed(tree.path());
        let is_there = is_still_there(open(tree.path()).as_fd(), path.as_bytes(), UndeletableCause::Mount);
        run("umount", &[], &tree.path().join(&path));
        assert_eq!(found, obstacle(&path, UndeletableCause::Mount));
        assert!(
            is_there && !is_still_there(open(tree.path()).as_fd(), path.as_bytes(), UndeletableCause::Mount)
        );
    }
    assert_eq!(surveyed(tree.path()), Survey::Deletable);
}

#[test]
#[ignore = "needs root"]
fn a_file_that_is_swapped_to_is_found() {
    let tree = tempfile::tempdir().unwrap();
    let swap = tree.path().join("swap");
    file(&swap, 1 << 20);
    std::fs::set_permissions(&swap, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    run("mkswap", &["-q"], &swap);
    run("swapon", &[], &swap);
    let found = surveyed(tree.path());
    let is_there = is_still_there(open(tree.path()).as_fd(), b"swap", UndeletableCause::Swap);
    run("swapoff", &[], &swap);
    assert_eq!(found, obstacle("swap", UndeletableCause::Swap));
    assert!(is_there && !is_still_there(open(tree.path()).as_fd(), b"swap", UndeletableCause::Swap));
    assert_eq!(surveyed(tree.path()), Survey::Deletable);
}
