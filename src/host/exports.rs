//! Directories that this machine exports by NFS. The server is the kernel's: no process has anything open there, and a client comes
//! when it likes.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory;
use crate::host::proc::mountinfo::unescape;

/// What an administrator writes, what `exportfs` made of it, and what the kernel has in use (`exports(5)`, `exportfs(8)`).
const FILES: [&str; 3] = ["etc/exports", "var/lib/nfs/etab", "proc/fs/nfsd/exports"];

/// Where more of the first kind may be.
const MORE: &str = "etc/exports.d";

/// The largest file that is read.
const LARGEST: usize = 16 << 20;

/// Every exported path, and a file that says so, below the root directory of the host.
///
/// # Errors
///
/// The file that cannot be read, and why: what it exports is not known (I2).
pub fn exported(host: &Path) -> Result<BTreeMap<Vec<u8>, String>, (String, Errno)> {
    let mut files: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    files.extend(more(host).map_err(|errno| (format!("/{MORE}"), errno))?);
    let mut exported = BTreeMap::new();
    for file in files {
        let text = read(&host.join(&file)).map_err(|errno| (format!("/{file}"), errno))?;
        for path in paths(&text) {
            exported.entry(path).or_insert_with(|| format!("/{file}"));
        }
    }
    Ok(exported)
}

fn more(host: &Path) -> rustix::io::Result<Vec<String>> {
    let directory = match directory::open_path(&host.join(MORE)) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let names = directory::list(directory.as_fd())?;
    let names =
        names.iter().map(|(name, _)| directory::shown(name)).filter(|name| name.ends_with(".exports"));
    Ok(names.map(|name| format!("{MORE}/{name}")).collect())
}

/// A file that is not there exports nothing, nor does a directory in its place, as a container's bind makes one.
#[expect(clippy::disallowed_methods, reason = "the length is what was read")]
fn read(path: &Path) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut text = Vec::new();
    let mut part = [0_u8; 16 << 10];
    loop {
        match rustix::io::read(&file, &mut part) {
            Ok(0) => return Ok(text),
            Ok(length) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(Errno::ISDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
        if text.len() > LARGEST {
            return Err(Errno::FBIG);
        }
    }
}

/// The first word of each line: quoted where it has spaces, with octal escapes; a line may go on after a backslash, and `#` begins a
/// comment. A word that is no path is none (`-options`). Pure.
fn paths(text: &[u8]) -> Vec<Vec<u8>> {
    let whole = join_lines(text);
    whole.split(|byte| *byte == b'\n').filter_map(first_word).filter(|word| word.starts_with(b"/")).collect()
}

fn join_lines(text: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\\n") {
            joined.push(b' ');
            rest = after;
        } else {
            joined.push(*first);
            rest = after;
        }
    }
    joined
}

fn first_word(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii_start();
    let word = match line.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|byte| *byte == b'"').next()?,
        None => line.split(|byte| matches!(byte, b' ' | b'\t' | b'#')).next()?,
    };
    Some(unescape(word).unwrap_or_else(|| word.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "files for the test")]

    use super::*;

    #[test]
    fn the_first_word_of_each_line_is_exported() {
        let text = b"# comment\n\n/srv/a  *(ro)\n  \"/srv/b c\" host(rw)\n/srv/d\\040e\t10.0.0.0/8(rw) \\\n  other(ro)\n-ro\n/f#x\n/last";
        let expected: [&[u8]; 5] = [b"/srv/a", b"/srv/b c", b"/srv/d e", b"/f", b"/last"];
        assert_eq!(paths(text), expected);
    }

    #[test]
    fn every_file_is_read_and_one_that_cannot_be_is_named() {
        let host = tempfile::tempdir().unwrap();
        assert!(exported(host.path()).unwrap().is_empty());
        std::fs::create_dir_all(host.path().join("etc/exports.d")).unwrap();
        std::fs::write(host.path().join("etc/exports"), "/a *(ro)\n").unwrap();
        std::fs::write(host.path().join("etc/exports.d/x.exports"), "/b *(ro)\n").unwrap();
        std::fs::write(host.path().join("etc/exports.d/x.old"), "/c *(ro)\n").unwrap();
        let found = exported(host.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [b"/a", b"/b"]);
        std::fs::create_dir_all(host.path().join("var/lib/nfs")).unwrap();
        std::os::unix::fs::symlink("etab", host.path().join("var/lib/nfs/etab")).unwrap();
        assert_eq!(exported(host.path()).unwrap_err(), ("/var/lib/nfs/etab".to_owned(), Errno::LOOP));
        // What an engine makes where a container binds a file that is not there.
        std::fs::remove_file(host.path().join("var/lib/nfs/etab")).unwrap();
        std::fs::create_dir(host.path().join("var/lib/nfs/etab")).unwrap();
        assert_eq!(exported(host.path()).unwrap().len(), 2);
    }
}
