//! Replaces a file that the operator named, so that its readers see the old text or the new one and nothing in between.

use std::ffi::{CString, OsStr};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory;

/// Everybody may read it: other users' collectors do.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// Writes `text` beside `file` and renames it there. The name in between begins with a dot and has another ending, so that
/// what collects `*.prom` does not see it.
pub fn replace(file: &Path, text: &str) -> io::Result<()> {
    let name =
        file.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let directory = directory::open_path(parent)?;
    let mut between = OsStr::new(".").to_owned();
    between.push(name);
    between.push(format!(".{}-{:08x}.new", std::process::id(), directory::random()));
    let (name, between) = (CString::new(name.as_bytes())?, CString::new(between.as_bytes())?);
    let done = write_new(directory.as_fd(), &between, text)
        .and_then(|()| Ok(rustix::fs::renameat(&directory, &between, &directory, &name)?));
    if done.is_err() {
        match rustix::fs::unlinkat(&directory, &between, AtFlags::empty()) {
            // It may not even have been made.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => tracing::warn!(%error, "a temporary file stays beside {}", file.display()),
        }
    }
    done
}

fn write_new(directory: BorrowedFd<'_>, name: &CString, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, name, flags, MODE)?;
    // Whatever the umask is.
    rustix::fs::fchmod(&file, MODE)?;
    let mut file = std::fs::File::from(file);
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
