//! Who is at the other side of the engine's socket.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

/// The names under which the engine itself, or a service manager that made the socket for it, listens (`proc(5)`,
/// `/proc/PID/comm`).
const DIRECT: [&str; 2] = ["dockerd", "systemd"];

/// Whether the other side of a Unix socket is the engine itself. A proxy in between may deliver a request long after its sender
/// has given up. A process that cannot be seen from here counts as a proxy.
#[expect(clippy::disallowed_methods, reason = "reads /proc, which is no volume")]
pub async fn is_direct(socket: &Path) -> io::Result<bool> {
    let peer = UnixStream::connect(socket).await?.peer_cred()?.pid();
    let Some(pid) = peer.filter(|pid| *pid > 0) else { return Ok(false) };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(comm) => Ok(DIRECT.contains(&comm.trim_end())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
