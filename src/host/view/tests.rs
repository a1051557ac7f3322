#![expect(clippy::disallowed_methods, reason = "a test makes its own files, by path")]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::host::resolve::{End, follow};

fn own() -> View {
    View::of_process(std::process::id(), 0).unwrap()
}

fn end(view: &View, path: &Path) -> (PathBuf, End) {
    let way = follow(view, path);
    (way.stops.last().unwrap().path(), way.end)
}

#[test]
fn paths_are_followed_as_the_kernel_follows_them() {
    let place = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(place.path()).unwrap();
    fs::create_dir_all(path.join("a/b")).unwrap();
    symlink("a/b", path.join("relative")).unwrap();
    symlink(path.join("relative/.."), path.join("absolute")).unwrap();
    fs::write(path.join("a/file"), "").unwrap();
    let view = own();
    for known in ["a/b", "relative", "absolute", "absolute/b/../../relative", "a/file", "."] {
        let real = fs::canonicalize(path.join(known)).unwrap();
        assert_eq!(end(&view, &path.join(known)), (real, End::There), "{known}");
    }
    assert_eq!(end(&view, &path.join("a/file/x")).1, End::Nowhere(Errno::NOTDIR));
    assert_eq!(
        end(&view, &path.join("absolute/gone/x")),
        (path.join("a/gone/x"), End::Nowhere(Errno::NOENT))
    );
    assert_eq!(end(&view, &path.join("n".repeat(300))).1, End::Nowhere(Errno::NAMETOOLONG));
}

/// Links of `/proc` lead where no path does.
#[test]
fn a_link_to_a_directory_of_a_process_is_entered() {
    let place = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(place.path()).unwrap();
    let open = fs::File::open(&path).unwrap();
    let view = own();
    let link = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    assert_eq!(end(&view, &link), (path.clone(), End::There));
    let through = PathBuf::from("/proc/self/root").join(path.strip_prefix("/").unwrap());
    assert_eq!(end(&view, &through), (path, End::There));
    assert_eq!(end(&view, Path::new("/proc/self/exe")).1, End::There);
}

#[test]
fn the_working_directory_is_told_by_its_path() {
    assert_eq!(own().working_directory().unwrap(), fs::canonicalize(".").unwrap());
}

#[test]
fn small_files_are_read_inside_of_the_root() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("spec.json"), "{}").unwrap();
    symlink("spec.json", place.path().join("link.json")).unwrap();
    let view = own();
    assert_eq!(view.read_file(&place.path().join("link.json"), 10).unwrap(), b"{}");
    assert_eq!(view.read_file(&place.path().join("spec.json"), 1), Err(Errno::FBIG));
    assert_eq!(view.read_file(place.path(), 10), Err(Errno::INVAL));
    let mut names = view.list(place.path()).unwrap();
    names.sort();
    assert_eq!(names, ["link.json", "spec.json"]);
}

#[test]
fn who_serves_a_file_system_is_told_by_its_type() {
    assert_eq!(server(b"fuse.mergerfs"), Some(Server::Process));
    assert_eq!(server(b"fuseblk"), Some(Server::Process));
    assert_eq!(server(b"nfs4"), Some(Server::Network));
    for own in [&b"ext4"[..], b"fusectl", b"overlay", b"nfsd", b"tmpfs"] {
        assert_eq!(server(own), None, "{}", String::from_utf8_lossy(own));
    }
}
