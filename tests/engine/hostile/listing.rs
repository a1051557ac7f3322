//! What is in a tree, to the last byte, whatever is in it: reached by descriptors, so that depth is no limit, and read where
//! there is data, so that a terabyte of nothing is read at once.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, StatxFlags};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory on the way to where the walk is.
struct Level {
    /// The number of its line.
    line: usize,
    /// What of it is still to be listed, the next one last, and whether it is a directory.
    names: Vec<(CString, FileType)>,
}

/// A line for each entry, the directory itself first: the number of its parent's line, name, type and mode, owner, links, size,
/// inode, device, modification time, and what a file or symlink holds.
///
/// The walk has one directory open at a time: each volgc that runs meanwhile looks at all that this process has open, and a
/// directory so deep that its path cannot be told costs it much.
pub(crate) fn listing(path: &Path) -> Vec<String> {
    let mut here = rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
    let mut lines = vec![line(&here, c"", 0)];
    let mut levels = vec![Level { line: 0, names: names(&here) }];
    while let Some(level) = levels.last_mut() {
        let Some((name, kind)) = level.names.pop() else {
            levels.pop();
            if !levels.is_empty() {
                here = rustix::fs::openat(&here, "..", DIRECTORY, Mode::empty()).unwrap();
            }
            continue;
        };
        lines.push(line(&here, &name, level.line));
        if kind == FileType::Directory {
            here = rustix::fs::openat(&here, &name, DIRECTORY, Mode::empty()).unwrap();
            levels.push(Level { line: lines.len() - 1, names: names(&here) });
        }
    }
    lines
}

fn names(directory: &OwnedFd) -> Vec<(CString, FileType)> {
    let entries = Dir::read_from(directory).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."));
    let mut names: Vec<_> = entries.map(|entry| (entry.file_name().to_owned(), entry.file_type())).collect();
    assert!(names.iter().all(|(_, kind)| *kind != FileType::Unknown), "the file system tells no types");
    names.sort_by(|(one, _), (other, _)| other.cmp(one));
    names
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
