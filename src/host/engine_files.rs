//! Which docker root the engine itself has open. Paths do not tell: another file system may have been mounted over the root since the
//! engine started, and then a path leads both of us there, while what the engine lists is of the one below.
//!
//! Each engine keeps `<docker root>/volumes/metadata.db` open for as long as it runs (moby `volume/service`, 1.11 to 29).
#![expect(clippy::disallowed_methods, reason = "reads /proc, which is no volume")]

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The engine's list of volumes, below `volumes`.
const DATABASE: &std::ffi::CStr = c"metadata.db";
/// How its path ends.
const ENDING: &[u8] = b"/volumes/metadata.db";
/// The engine's name (`proc(5)`, `/proc/PID/comm`).
const ENGINE: &str = "dockerd";

/// Whether an engine has the database of a volumes directory open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The engine that answers has this one.
    This,
    /// The engine has another one, and no engine has this one: this process does.
    Another {
        /// Which process.
        process: u32,
    },
    /// It cannot be told.
    Unknown,
}

/// Looks at the engine behind a socket, or at every engine here where a service manager made the socket.
pub fn database(socket: &Path, volumes: BorrowedFd<'_>) -> Open {
    let Ok(ours) = rustix::fs::statat(volumes, DATABASE, AtFlags::SYMLINK_NOFOLLOW) else {
        return Open::Unknown;
    };
    let ours = (ours.st_dev, ours.st_ino);
    match peer(socket) {
        Ok(Some(process)) if is_engine(process) => match opened(process) {
            Ok(open) if open.contains(&ours) => Open::This,
            Ok(open) if !open.is_empty() => Open::Another { process },
            Ok(_) | Err(_) => Open::Unknown,
        },
        // Which of several engines answers cannot be told, but one of them must have it.
        Ok(_) => engines(ours),
        Err(error) => {
            tracing::debug!(%error, "who listens is not known");
            Open::Unknown
        }
    }
}

fn engines(ours: (u64, u64)) -> Open {
    let Ok(processes) = fs::read_dir("/proc") else { return Open::Unknown };
    let mut other = None;
    for entry in processes.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if !is_engine(process) {
            continue;
        }
        match opened(process) {
            Ok(open) if open.contains(&ours) => return Open::Unknown,
            Ok(open) if !open.is_empty() => other = Some(process),
            Ok(_) => {}
            Err(_) => return Open::Unknown,
        }
    }
    other.map_or(Open::Unknown, |process| Open::Another { process })
}

/// The databases that a process has open, by device and inode.
fn opened(process: u32) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let path = entry?.path();
        // Closed meanwhile.
        let Ok(target) = fs::read_link(&path) else { continue };
        if target.as_os_str().as_bytes().ends_with(ENDING) {
            let facts = fs::metadata(&path)?;
            found.push((facts.dev(), facts.ino()));
        }
    }
    Ok(found)
}

fn is_engine(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|comm| comm.trim_end() == ENGINE)
}

/// Who made the socket listen; none when it cannot be seen from here.
fn peer(socket: &Path) -> io::Result<Option<u32>> {
    let stream =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?.pid.as_raw_nonzero().get();
    Ok(u32::try_from(peer).ok().filter(|peer| *peer > 0))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_a_process_has_open_is_told_by_inode_and_not_by_path() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let volumes = |root: &tempfile::TempDir| {
            let volumes = root.path().join("volumes");
            fs::create_dir(&volumes).unwrap();
            fs::write(volumes.join("metadata.db"), "").unwrap();
            fs::File::open(volumes).unwrap()
        };
        let (one_open, two_open) = (volumes(&one), volumes(&two));
        let held = fs::File::open(one.path().join("volumes/metadata.db")).unwrap();
        let key = |directory: &fs::File| {
            let stat = rustix::fs::statat(directory.as_fd(), DATABASE, AtFlags::empty()).unwrap();
            (stat.st_dev, stat.st_ino)
        };
        let open = opened(std::process::id()).unwrap();
        assert!(open.contains(&key(&one_open)) && !open.contains(&key(&two_open)));
        drop(held);
        assert!(!opened(std::process::id()).unwrap().contains(&key(&one_open)));
        // We are no engine, so nothing is proven by us.
        let socket = one.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(peer(&socket).unwrap(), Some(std::process::id()));
        assert!(!is_engine(std::process::id()));
    }
}
