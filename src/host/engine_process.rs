//! Which process answers at the engine's socket, and whether it is the engine.
//!
//! A proxy in between may deliver a request long after its sender has given up (I5). Who made the socket proves nothing: under socket
//! activation systemd makes it, for an engine and for a proxy alike. A name proves nothing either: anything may be called `dockerd`.
//! Two facts prove it. The kernel notes with every message of a Unix socket which process sent it (`SO_PASSCRED`, unix(7)). And the
//! engine of a docker root holds that root's volume database open as long as it runs (moby `volume/service`, 1.11 to 29): bbolt
//! locks it, so no second engine does.
#![expect(clippy::disallowed_methods, reason = "reads /proc, which is no volume")]

use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use super::pulse;

/// How long an answer may take. Whoever takes longer is taken for a proxy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every engine answers this one without any work, whatever its version.
const QUESTION: &[u8] = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";

/// The database of the engine's volumes, in the volumes directory.
const DATABASE: &str = "metadata.db";

/// A file by device and inode.
type Place = (u64, u64);

/// Whether the process that answers at `socket` is the engine of this volumes directory.
///
/// # Errors
///
/// When it cannot be known: then assume a proxy.
pub async fn is_direct(socket: &Path, volumes: BorrowedFd<'_>) -> io::Result<bool> {
    let database = place_of_database(volumes)?;
    let process = match pulse::bounded(PATIENCE, answering(socket)).await {
        Ok(process) => process?,
        Err(_) => return Err(ErrorKind::TimedOut.into()),
    };
    match process {
        Some(process) => holds(process, database),
        None => Ok(false),
    }
}

fn place_of_database(volumes: BorrowedFd<'_>) -> io::Result<Place> {
    let facts = rustix::fs::statat(volumes, DATABASE, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((facts.st_dev, facts.st_ino))
}

/// The process that answers a request at `socket`; none when it is in a pid namespace that is not visible here.
async fn answering(socket: &Path) -> io::Result<Option<i32>> {
    let mut stream = UnixStream::connect(socket).await?;
    rustix::net::sockopt::set_socket_passcred(&stream, true)?;
    stream.write_all(QUESTION).await?;
    let sender = stream.async_io(Interest::READABLE, || receive_sender(&stream)).await?;
    Ok(Some(sender.pid()).filter(|process| *process > 0))
}

/// Takes the first bytes of the answer, and who sent them.
fn receive_sender(stream: &UnixStream) -> io::Result<UnixCredentials> {
    let mut control = cmsg_space!(UnixCredentials);
    let mut byte = [0_u8; 1];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut control), MsgFlags::empty())?;
    let sender = message.cmsgs()?.find_map(|message| {
        if let ControlMessageOwned::ScmCredentials(sender) = message { Some(sender) } else { None }
    });
    sender.ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

/// Whether a process has this file open.
fn holds(process: i32, file: Place) -> io::Result<bool> {
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        let link = entry?.path();
        // By name first: what is not called so is not looked at, so that no dead file system is touched.
        let target = match rustix::fs::readlink(&link, Vec::new()) {
            Ok(target) => target,
            // Closed meanwhile.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if !target.to_bytes().ends_with(DATABASE.as_bytes()) {
            continue;
        }
        match rustix::fs::stat(&link) {
            Ok(facts) if (facts.st_dev, facts.st_ino) == file => return Ok(true),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
