//! What is in a tree, to the last byte, whatever is in it: reached by descriptors, so that depth is no limit, and read where
//! there is data, so that a terabyte of nothing is read at once.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A line for each entry, the directory itself first: the number of its parent's line, name, type and mode, owner, links, size,
/// inode, device, modification time, and what a file or symlink holds.
pub(crate) fn listing(path: &Path) -> Vec<String> {
    // A deep tree takes a descriptor a level.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let top = Rc::new(rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap());
    let mut lines = vec![line(&top, c"", 0)];
    let mut pending: Vec<(Rc<OwnedFd>, CString, usize)> = Vec::new();
    push(&mut pending, &top, 0);
    drop(top);
    while let Some((parent, name, above)) = pending.pop() {
        lines.push(line(&parent, &name, above));
        match rustix::fs::openat(&*parent, &name, DIRECTORY, Mode::empty()) {
            Ok(directory) => push(&mut pending, &Rc::new(directory), lines.len() - 1),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => panic!("{name:?}: {error}"),
        }
    }
    lines
}

fn push(pending: &mut Vec<(Rc<OwnedFd>, CString, usize)>, directory: &Rc<OwnedFd>, at: usize) {
    let names = Dir::read_from(&**directory).unwrap().map(|entry| entry.unwrap().file_name().to_owned());
    let mut names: Vec<CString> = names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")).collect();
    names.sort();
    pending.extend(names.into_iter().map(|name| (Rc::clone(directory), name, at)));
}

fn line(parent: &OwnedFd, name: &CStr, above: usize) -> String {
    let flags =
        AtFlags::SYMLINK_NOFOLLOW | if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let facts = rustix::fs::statx(parent, name, flags, StatxFlags::BASIC_STATS).unwrap();
    let mut line = format!(
        "{above} {name:?} mode={:o} owner={}:{} ino={} mtime={}.{}",
        facts.stx_mode,
        facts.stx_uid,
        facts.stx_gid,
        facts.stx_ino,
        facts.stx_mtime.tv_sec,
        facts.stx_mtime.tv_nsec
    );
    let kind = FileType::from_raw_mode(facts.stx_mode.into());
    if kind != FileType::Directory {
        let device = (facts.stx_rdev_major, facts.stx_rdev_minor);
        write!(line, " links={} size={} device={device:?}", facts.stx_nlink, facts.stx_size).unwrap();
    }
    if kind == FileType::Symlink {
        let target = rustix::fs::readlinkat(parent, name, Vec::new()).unwrap();
        write!(line, " target={target:?}").unwrap();
    }
    if kind == FileType::RegularFile && facts.stx_size > 0 {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty()).unwrap();
        write!(line, " content={:x}", content(&file)).unwrap();
    }
    line
}

fn content(file: &OwnedFd) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    // ENXIO: nothing but a hole is left.
    while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap();
        hash.write_u64(data);
        at = data;
        while at < hole {
            let most = buffer.len().min(usize::try_from(hole - at).unwrap());
            let read = rustix::io::pread(file.as_fd(), &mut buffer[..most], at).unwrap();
            assert!(read > 0, "the file became shorter");
            hash.write(&buffer[..read]);
            at += read as u64;
        }
    }
    hash.finish()
}
