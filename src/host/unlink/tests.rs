use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::super::usage::{UsageOptions, measure};
use super::super::walk::fixture::*;
use super::failure::TOLD;
use super::*;
use crate::tests::runs_apart;

fn workers(workers: usize) -> DeleteOptions {
    DeleteOptions { workers: NonZeroUsize::new(workers), ..DeleteOptions::default() }
}

fn delete(path: &Path) -> Result<Deleted, UnlinkError> {
    delete_contents(open(path).as_fd(), &DeleteOptions::default(), &|| false)
}

fn left(result: Result<Deleted, UnlinkError>) -> (Deleted, u64, Vec<Failure>) {
    match result {
        Err(UnlinkError::Left { deleted, count, first }) => (deleted, count, first),
        other => panic!("{other:?}"),
    }
}

/// I6, and all that a container can make.
#[test]
fn deletes_whatever_a_container_made_and_nothing_that_a_link_leads_to() {
    deletes_all_of(|_| ());
}

#[test]
#[ignore = "needs root"]
fn deletes_devices_and_what_is_closed_to_its_owner() {
    deletes_all_of(of_root);
}

fn deletes_all_of(more: fn(&Path)) {
    for around in MEANS {
        let tree = tempfile::tempdir().unwrap();
        let canary = menagerie(tree.path());
        more(tree.path());
        let before = measure(open(tree.path()).as_fd(), &UsageOptions::default(), &|| false);
        let top = rustix::fs::stat(tree.path()).unwrap().st_blocks.cast_unsigned() * 512;
        let limits = Limits { around, ..LIMITS };
        let fd = open(tree.path());
        let deleted = delete_within(&limits, fd.as_fd(), &workers(1), &|| false).unwrap();
        assert!(holds_nothing(tree.path()));
        assert_sings(&canary);
        // Two of the names are further ones of a file.
        assert_eq!((deleted.files, deleted.directories), (before.files + 2, before.directories - 1));
        assert_eq!((deleted.bytes, deleted.stopped), (before.allocated_bytes - top, false));
        assert_eq!(delete(tree.path()).unwrap(), Deleted::default(), "an empty directory is done");
    }
}

/// I6: a container swaps a directory for a symlink while the walk is in it.
#[test]
fn never_follows_a_directory_swapped_for_a_symlink() {
    for around in MEANS {
        // On one file system: nothing but the symlink itself is to keep them apart.
        let (tree, canary) = (tempfile::tempdir().unwrap(), canary());
        let limits = Limits { around, ..LIMITS };
        race(tree.path(), &canary, Duration::from_secs(1), |dir| {
            // Whether it gets all of it, while somebody works against it, does not matter.
            _ = delete_within(&limits, dir, &workers(2), &|| false);
            assert_sings(&canary);
        });
        delete(tree.path()).unwrap();
        assert!(holds_nothing(tree.path()));
        assert_sings(&canary);
    }
}

#[test]
fn a_tree_deeper_than_descriptors_and_paths_is_deleted() {
    if runs_apart(&[]) {
        return;
    }
    for (limit, count) in [(1024, 1), (64, 2)] {
        let tree = in_memory();
        comb(tree.path(), 2200);
        soft_descriptor_limit(limit);
        let (fd, watch) = (open(tree.path()), DescriptorWatch::default());
        let deleted = delete_contents(fd.as_fd(), &workers(count), &|| watch.look()).unwrap();
        assert_eq!((deleted.files, deleted.directories), (2200, 6600));
        assert!(holds_nothing(tree.path()));
        assert!(watch.most() < 20 + usize::try_from(limit).unwrap() / 2, "{} open", watch.most());
    }
}

/// When the rest of the process holds most descriptors, ours are given up before the walk fails.
#[test]
fn a_process_short_of_descriptors_still_deletes() {
    if runs_apart(&[]) {
        return;
    }
    let tree = in_memory();
    comb(tree.path(), 500);
    soft_descriptor_limit(128);
    let fd = open(tree.path());
    let mut taken = Vec::new();
    while let Ok(another) = fd.try_clone() {
        taken.push(another);
    }
    taken.truncate(taken.len() - 10);
    // In one pass: a second one could hide that the first lost its way.
    let plan =
        Plan { workers: NonZeroUsize::MIN, batch: BATCH, least_files: usize::MAX, max_depth: MOST_LEVELS };
    let pass = pass(Boundary::around, &plan, fd.as_fd(), &workers(1), &|| false).unwrap();
    assert!(pass.is_clean(), "{pass:?}");
    drop(taken);
    assert!(holds_nothing(tree.path()));
}

#[test]
fn directories_below_the_bounded_depth_are_moved_up() {
    for count in [1, 3] {
        let tree = in_memory();
        comb(tree.path(), 400);
        let limits = Limits { levels: 20, ..LIMITS };
        let fd = open(tree.path());
        let deleted = delete_within(&limits, fd.as_fd(), &workers(count), &|| false).unwrap();
        assert_eq!((deleted.files, deleted.directories), (400, 1200));
        assert!(holds_nothing(tree.path()));
    }
}

#[test]
fn a_tree_deeper_than_the_bounded_depth_is_deleted() {
    let tree = in_memory();
    shaft(tree.path(), MOST_LEVELS + 500);
    delete(tree.path()).unwrap();
    assert!(holds_nothing(tree.path()));
}

/// I6: a mount inside is named, and nothing in it is touched.
#[test]
#[ignore = "needs root"]
fn mounts_inside_are_named_and_not_crossed() {
    for around in MEANS {
        let (tree, canary) = (tempfile::tempdir().unwrap(), canary());
        let path = tree.path();
        for name in ["tmpfs", "a/bind", "other/deep/er"] {
            file(&dir(path.join(name)).join("below"), 1);
        }
        file(&path.join("file"), 1);
        let tmpfs = Mounted::tmpfs(path.join("tmpfs"));
        file(&path.join("tmpfs/mounted"), 1);
        // The same file system: its device tells nothing.
        let bind = Mounted::bind(canary.path(), path.join("a/bind"));
        let on_file = Mounted::bind(&canary.path().join("file-1"), path.join("file"));
        let limits = Limits { around, ..LIMITS };
        let result = delete_within(&limits, open(path).as_fd(), &workers(2), &|| false);
        let text = result.as_ref().unwrap_err().to_string();
        let (deleted, count, mut first) = left(result);
        first.sort_by(|one, other| one.path.cmp(&other.path));
        let mount = |path: &str| Failure { path: path.to_owned(), cause: Cause::Mount };
        assert_eq!(first, [mount("a/bind"), mount("file"), mount("tmpfs")]);
        assert_eq!((count, deleted.files, deleted.directories), (3, 1, 3));
        assert!(text.contains("`a/bind` is a mount point"), "{text}");
        assert!(path.join("tmpfs/mounted").exists());
        assert_sings(&canary);
        drop((tmpfs, bind, on_file));
        delete(path).unwrap();
        assert!(holds_nothing(path));
        assert_sings(&canary);
    }
}

#[test]
#[ignore = "needs root"]
fn protected_entries_are_named_with_the_remedy_and_the_rest_is_deleted() {
    // Not in memory: tmpfs has no such attributes on older kernels.
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path();
    file(&dir(path.join("sub")).join("stone"), 1);
    file(&path.join("sub/sand"), 1);
    file(&dir(path.join("log\x1b")).join("entry"), 1);
    file(&dir(path.join("log\x1b/below")).join("deleted"), 1);
    file(&dir(path.join("gone/too")).join("file"), 1);
    run("chattr", &["+i"], &path.join("sub/stone"));
    run("chattr", &["+a"], &path.join("log\x1b"));
    let result = delete(path);
    let text = result.as_ref().unwrap_err().to_string();
    run("chattr", &["-i"], &path.join("sub/stone"));
    run("chattr", &["-a"], &path.join("log\x1b"));
    let (deleted, count, mut first) = left(result);
    first.sort_by(|one, other| one.path.cmp(&other.path));
    let protected = |path: &str, attribute, holder: &str| {
        let cause = Cause::Protected { attribute, holder: holder.to_owned() };
        Failure { path: path.to_owned(), cause }
    };
    assert_eq!(
        first,
        [
            protected("log\\u{1b}", 'a', "log\\u{1b}"),
            protected("log\\u{1b}/below", 'a', "log\\u{1b}"),
            protected("log\\u{1b}/entry", 'a', "log\\u{1b}"),
            protected("sub/stone", 'i', "sub/stone"),
        ]
    );
    assert_eq!((count, deleted.files, deleted.directories), (4, 3, 2));
    assert!(text.starts_with("4 not deleted: `"), "{text}");
    assert!(
        text.contains("`sub/stone` is protected: clear the attribute with `chattr -i` on `sub/stone`"),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
    delete(path).unwrap();
    assert!(holds_nothing(path));
}

#[test]
#[ignore = "needs root"]
fn of_many_failures_the_first_few_are_told() {
    let tree = tempfile::tempdir().unwrap();
    for nth in 0..20 {
        file(&tree.path().join(nth.to_string()), 1);
    }
    run("chattr", &["+i"], tree.path());
    let result = delete(tree.path());
    run("chattr", &["-i"], tree.path());
    assert!(result.as_ref().unwrap_err().to_string().ends_with("; ..."));
    let (_, count, first) = left(result);
    assert_eq!((count, first.len()), (20, TOLD));
    let holder = Cause::Protected { attribute: 'i', holder: ".".to_owned() };
    assert!(first.iter().all(|failure| failure.cause == holder), "{first:?}");
}

/// What cannot be moved up for an attribute is told, and everything else is deleted.
#[test]
#[ignore = "needs root"]
fn a_deep_directory_that_cannot_be_moved_is_named() {
    let tree = tempfile::tempdir().unwrap();
    comb(tree.path(), 10);
    run("chattr", &["+i"], &tree.path().join("d/d/d"));
    let limits = Limits { levels: 3, ..LIMITS };
    let result = delete_within(&limits, open(tree.path()).as_fd(), &workers(1), &|| false);
    run("chattr", &["-i"], &tree.path().join("d/d/d"));
    let (_, count, first) = left(result);
    assert_eq!(count, 5, "{first:?}");
    let cause = Cause::Protected { attribute: 'i', holder: "d/d/d".to_owned() };
    assert!(first.contains(&Failure { path: "d/d/d/d".to_owned(), cause }), "{first:?}");
    delete(tree.path()).unwrap();
}

#[test]
fn more_files_than_a_batch_in_one_directory_are_deleted() {
    let tree = in_memory();
    for nth in 0..BATCH + 5000 {
        file(&tree.path().join(nth.to_string()), 0);
    }
    assert_eq!(delete(tree.path()).unwrap().files, BATCH as u64 + 5000);
    assert!(holds_nothing(tree.path()));
}

fn wide(path: &Path) {
    for one in 0..20 {
        for other in 0..20 {
            let sub = dir(path.join(format!("{one}/{other}")));
            (0..20).for_each(|nth| file(&sub.join(nth.to_string()), 0));
        }
    }
}

/// Several threads leave directories to each other; the passes together leave nothing.
#[test]
fn many_threads_delete_each_entry_once() {
    for count in [1, 2, 8, 100] {
        let tree = in_memory();
        wide(tree.path());
        let deleted = delete_contents(open(tree.path()).as_fd(), &workers(count), &|| false).unwrap();
        assert_eq!((deleted.files, deleted.directories), (8000, 420));
        assert!(holds_nothing(tree.path()));
    }
}

#[test]
fn a_stopped_deletion_goes_on_where_it_was() {
    for count in [1, 4] {
        let tree = in_memory();
        wide(tree.path());
        let (mut calls, mut files, mut directories) = (0, 0, 0);
        loop {
            let asked = AtomicU64::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) > 100;
            let deleted = delete_contents(open(tree.path()).as_fd(), &workers(count), &stop).unwrap();
            calls += 1;
            files += deleted.files;
            directories += deleted.directories;
            if !deleted.stopped {
                break;
            }
            assert!(!holds_nothing(tree.path()) || calls > 5);
        }
        assert_eq!((files, directories), (8000, 420));
        assert!(calls > 5, "{calls}");
        assert!(holds_nothing(tree.path()));
    }
}

#[test]
fn a_stop_before_the_start_deletes_nothing() {
    let tree = tempfile::tempdir().unwrap();
    file(&tree.path().join("file"), 1);
    let deleted = delete_contents(open(tree.path()).as_fd(), &workers(1), &|| true).unwrap();
    assert_eq!(deleted, Deleted { stopped: true, ..Deleted::default() });
    assert!(!holds_nothing(tree.path()));
}

#[test]
fn pauses_are_kept_and_end_with_a_stop() {
    let tree = in_memory();
    (0..50).for_each(|nth| file(&tree.path().join(nth.to_string()), 0));
    let pause = Duration::from_millis(10);
    let options = DeleteOptions { pause_every: 10, pause, ..workers(1) };
    let begin = Instant::now();
    delete_contents(open(tree.path()).as_fd(), &options, &|| false).unwrap();
    assert!(begin.elapsed() >= pause * 5);

    (0..500).for_each(|nth| file(&tree.path().join(nth.to_string()), 0));
    let options = DeleteOptions { pause: Duration::from_hours(1), ..options };
    let begin = Instant::now();
    let stop = || begin.elapsed() > Duration::from_millis(200);
    let deleted = delete_contents(open(tree.path()).as_fd(), &options, &stop).unwrap();
    assert!(deleted.stopped && !holds_nothing(tree.path()));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_directory_that_fills_again_is_stopped_by_the_caller() {
    let tree = in_memory();
    let path = dir(tree.path().join("sub"));
    let begin = Instant::now();
    // Whenever asked, there is a new file: no pass finds it done.
    let stop = || {
        _ = std::fs::create_dir(&path);
        _ = std::fs::write(path.join(format!("{:?}", begin.elapsed())), b"");
        begin.elapsed() > Duration::from_millis(300)
    };
    let deleted = delete_contents(open(tree.path()).as_fd(), &workers(1), &stop).unwrap();
    assert!(deleted.stopped);
}

/// Whenever it comes, also when the listing is over.
#[test]
fn what_appears_during_the_deletion_is_deleted() {
    for at in 0..10 {
        let tree = in_memory();
        file(&tree.path().join("early"), 1);
        let asked = AtomicU64::new(0);
        let stop = || {
            if asked.fetch_add(1, Ordering::Relaxed) == at {
                file(&tree.path().join("late"), 1);
            }
            false
        };
        delete_contents(open(tree.path()).as_fd(), &workers(1), &stop).unwrap();
        assert!(holds_nothing(tree.path()), "{at}");
    }
}

#[test]
fn what_is_no_directory_is_told() {
    let tree = tempfile::tempdir().unwrap();
    file(&tree.path().join("file"), 1);
    let fd = std::fs::File::open(tree.path().join("file")).unwrap();
    let result = delete_contents(fd.as_fd(), &DeleteOptions::default(), &|| false);
    assert!(matches!(result, Err(UnlinkError::Unreadable(Errno::NOTDIR))), "{result:?}");
}

#[test]
#[ignore = "needs root"]
fn directories_that_the_listing_does_not_tell_are_deleted() {
    let around = tempfile::tempdir().unwrap();
    let tree = dir(around.path().join("tree"));
    let _mount = Mounted::without_types(&around.path().join("image"), tree.clone());
    let canary = menagerie(&tree);
    comb(&tree, 40);
    delete(&tree).unwrap();
    assert!(holds_nothing(&tree));
    assert_sings(&canary);
}
