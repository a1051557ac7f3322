//! The files that the kernel swaps to (`proc_swaps(5)`). It refuses to unlink them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::mountinfo::unescape;
use super::task::read_all;

/// A file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// Every file that is swapped to and that has a name here.
pub fn files() -> rustix::io::Result<BTreeSet<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let text = match rustix::fs::openat(CWD, c"/proc/swaps", flags, Mode::empty()) {
        Ok(file) => read_all(&file)?,
        // A kernel without swapping.
        Err(Errno::NOENT) => return Ok(BTreeSet::new()),
        Err(errno) => return Err(errno),
    };
    let mut files = BTreeSet::new();
    for path in paths(&text) {
        match rustix::fs::stat(path) {
            Ok(stat) => _ = files.insert(File { device: stat.st_dev, inode: stat.st_ino }),
            // It has no name any more, or none in this mount namespace.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(files)
}

/// The first column of each line behind the header.
fn paths(text: &[u8]) -> Vec<OsString> {
    let lines = text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty());
    let first = lines.filter_map(|line| line.split(|byte| *byte == b' ' || *byte == b'\t').next());
    first.filter_map(unescape).map(OsString::from_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_out_of_the_table() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1                               partition\t8388604\t\t0\t\t-2\n\
            /var/lib/a\\040b/swap                    file\t\t1020\t\t0\t\t-3\n";
        assert_eq!(paths(text), ["/dev/dm-1", "/var/lib/a b/swap"]);
        assert_eq!(paths(b"Filename\n"), Vec::<OsString>::new());
    }
}
