use super::fixture::{Mounted, comb, dir, file, open, soft_descriptor_limit};
use super::*;
use crate::tests::runs_apart;
use rustix::fs::OFlags;

fn opened(boundary: &Boundary, top: &Directory, name: &CStr) -> Result<(), Refused> {
    boundary.open(top.fd.as_fd(), name).map(drop)
}

/// I6: the door of each walk. Both means have to judge alike.
#[test]
#[ignore = "needs root"]
fn opens_real_subdirectories_of_the_same_mount_only() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path();
    dir(path.join("real"));
    file(&path.join("file"), 1);
    std::os::unix::fs::symlink("real", path.join("link")).unwrap();
    std::os::unix::fs::symlink("/", path.join("root")).unwrap();
    rustix::fs::mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    let _tmpfs = Mounted::tmpfs(dir(path.join("tmpfs")));
    let _bind = Mounted::bind(&path.join("real"), dir(path.join("bind")));
    for means in [Means::Openat2, Means::Pinned] {
        let (boundary, top) = Boundary::by(means, open(path).as_fd()).unwrap();
        assert_eq!(opened(&boundary, &top, c"real"), Ok(()), "{means:?}");
        assert_eq!(opened(&boundary, &top, c"missing"), Err(Refused::Gone), "{means:?}");
        for name in [c"file", c"link", c"root", c"fifo"] {
            assert_eq!(opened(&boundary, &top, name), Err(Refused::NotADirectory), "{means:?} {name:?}");
        }
        for name in [c"tmpfs", c"bind"] {
            assert_eq!(opened(&boundary, &top, name), Err(Refused::Boundary), "{means:?} {name:?}");
        }
    }
    let (boundary, top) = Boundary::by(Means::Openat2, open(path).as_fd()).unwrap();
    assert_eq!(opened(&boundary, &top, c".."), Err(Refused::Boundary), "beneath");
    assert_eq!(opened(&boundary, &top, c"/"), Err(Refused::Boundary), "beneath");
}

#[test]
fn the_walk_is_kept_inside_by_openat2_where_there_is_one() {
    let tree = tempfile::tempdir().unwrap();
    let (boundary, _) = Boundary::around(open(tree.path()).as_fd()).unwrap();
    assert_eq!(boundary.means, Means::Openat2);
}

/// Kernels before 5.8 tell the mount in `/proc` only.
#[test]
#[ignore = "needs root"]
fn proc_tells_the_same_mount_as_statx() {
    let tree = tempfile::tempdir().unwrap();
    let path = dir(tree.path().join("on"));
    let outside = open(tree.path());
    let outside = (facts_of(outside.as_fd()).unwrap(), mount_from_proc(outside.as_fd()).unwrap());
    let _mount = Mounted::bind(tree.path(), path.clone());
    let pinned = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let inside = (facts_of(pinned.as_fd()).unwrap(), mount_from_proc(pinned.as_fd()).unwrap());
    assert!(tells_mount(&inside.0) && tells_mount(&outside.0));
    assert_eq!((inside.0.stx_mnt_id, outside.0.stx_mnt_id), (inside.1, outside.1));
    assert_ne!(inside.1, outside.1);
}

#[test]
fn a_large_directory_is_read_in_parts_that_together_are_whole() {
    let tree = tempfile::tempdir().unwrap();
    for nth in 0..5000 {
        file(&tree.path().join(format!("{nth:0200}")), 0);
        if nth % 10 == 0 {
            dir(tree.path().join(format!("dir-{nth}")));
        }
    }
    let fd = open(tree.path());
    let mut seen = std::collections::BTreeSet::new();
    let (mut reader, mut parts) = (Reader::new(), 0);
    loop {
        let (mut files, mut directories) = (Names::default(), Names::default());
        let position = reader.read(fd.as_fd(), 100, &mut files, &mut directories).unwrap();
        parts += 1;
        // One buffer may be more than was asked for, two never are.
        assert!(files.footprint() + directories.footprint() < 4 * LISTING_BUFFER);
        for names in [&mut files, &mut directories] {
            while let Some(start) = names.pop() {
                assert!(seen.insert(names.get(start).to_owned()), "read twice");
            }
        }
        if position == Position::End {
            break;
        }
    }
    assert_eq!(seen.len(), 5500);
    assert!(parts > 10, "{parts}");
}

#[test]
fn split_names_are_together_the_whole() {
    let mut names = Names::default();
    for nth in 0..7 {
        names.push(nth, &std::ffi::CString::new(format!("name-{nth}")).unwrap());
    }
    names.sort();
    let mut given = names.split();
    assert_eq!((given.len(), names.len()), (4, 3));
    let mut all: Vec<String> = Vec::new();
    for part in [&mut names, &mut given] {
        while let Some(start) = part.pop() {
            all.push(part.get(start).to_string_lossy().into_owned());
        }
    }
    assert_eq!(all, ["name-0", "name-1", "name-2", "name-3", "name-4", "name-5", "name-6"]);
}

#[test]
fn what_is_shown_of_a_name_cannot_steer_a_terminal() {
    assert_eq!(printable(b"plain/name 'quoted' \xc3\xbc"), "plain/name 'quoted' ü");
    assert_eq!(printable(b"\x1b[2J\xff\n\\"), "\\u{1b}[2J\\xff\\n\\\\");
    assert_eq!(printable("\u{202e}\u{9b}".as_bytes()), "\\u{202e}\\u{9b}");
}

/// Down to the bottom of a deep tree and up again, with eight descriptors.
#[test]
fn closed_levels_are_found_again_on_the_way_up() {
    const DEPTH: usize = 1000;
    let tree = super::fixture::in_memory();
    comb(tree.path(), DEPTH);
    let (boundary, top) = Boundary::around(open(tree.path()).as_fd()).unwrap();
    let mut stack = stack::Stack::new(&boundary, stack::Job::new(top), 8, usize::MAX);
    for _ in 0..DEPTH {
        let directory = stack.open(c"d").unwrap();
        stack.enter(c"d".to_owned(), directory);
        assert!(stack.open_levels() <= 8);
    }
    for depth in (0..DEPTH).rev() {
        stack.leave().unwrap();
        stack.reopen().unwrap();
        assert!(stack.open_levels() <= 8);
        // It is the right one: there are as many below it as there should be only at the right depth.
        assert!(stack.open(c"before").is_ok() && stack.open(c"d").is_ok(), "{depth}");
    }
    assert!(stack.leave().is_none());
    super::fixture::empty(tree.path());
}

/// I6: an impostor under the name of a closed level is not taken for it.
#[test]
fn a_directory_that_was_swapped_is_not_found_again() {
    let tree = super::fixture::in_memory();
    comb(tree.path(), 100);
    let (boundary, top) = Boundary::around(open(tree.path()).as_fd()).unwrap();
    let mut stack = stack::Stack::new(&boundary, stack::Job::new(top), 8, usize::MAX);
    for _ in 0..100 {
        let directory = stack.open(c"d").unwrap();
        stack.enter(c"d".to_owned(), directory);
    }
    let third = tree.path().join("d/d/d");
    std::fs::rename(&third, tree.path().join("moved")).unwrap();
    comb(&dir(third), 100);
    let mut lost = None;
    while stack.leave().is_some() {
        if let Err((path, refused)) = stack.reopen() {
            assert_eq!(refused, Refused::Gone);
            assert!(lost.replace(path).is_none(), "lost more than once");
        }
    }
    assert_eq!(lost.unwrap(), b"d/d/d");
}

#[test]
fn descriptors_are_left_for_others() {
    if runs_apart(&[]) {
        return;
    }
    soft_descriptor_limit(1024);
    assert_eq!(descriptors_each(8), 64);
    assert_eq!(descriptors_each(1000), 8);
    raise_descriptor_limit();
    let limit = getrlimit(Resource::Nofile);
    assert_eq!(limit.current, limit.maximum);
}

/// A container that makes millions of directories on each level cannot make the walk hold all of their names.
#[test]
fn many_pending_names_are_as_bad_as_depth() {
    let tree = tempfile::tempdir().unwrap();
    let (boundary, top) = Boundary::around(open(tree.path()).as_fd()).unwrap();
    let mut stack = stack::Stack::new(&boundary, stack::Job::new(top), 8, usize::MAX);
    let name = std::ffi::CString::new("n".repeat(250)).unwrap();
    for _ in 0..10_000 {
        stack.also_directory(&name);
    }
    assert!(!stack.is_too_deep());
    for _ in 0..200_000 {
        stack.also_directory(&name);
    }
    assert!(stack.is_too_deep());
}

#[test]
fn a_directory_removed_while_it_is_read_is_empty() {
    let tree = tempfile::tempdir().unwrap();
    let path = dir(tree.path().join("sub"));
    let fd = open(&path);
    std::fs::remove_dir(path).unwrap();
    let (mut files, mut directories) = (Names::default(), Names::default());
    assert_eq!(Reader::new().read(fd.as_fd(), 1, &mut files, &mut directories), Ok(Position::End));
}
