//! Which processes run the engine: while one that was sent a DELETE lives, it may still carry it out (I5).
#![expect(clippy::disallowed_methods, reason = "reads /proc, which is no volume")]

use std::io;
use std::path::Path;

use crate::gc::entry::EngineProcess;

/// The name of the engine's process (`proc(5)`, `/proc/PID/comm`).
const ENGINE: &str = "dockerd";

/// Every engine process that is visible here.
pub fn running() -> io::Result<Vec<EngineProcess>> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if comm(pid).as_deref() == Some(ENGINE)
            && let Some(start_ticks) = start_ticks(pid)
        {
            found.push(EngineProcess { pid, start_ticks, boot_id: boot_id.clone() });
        }
    }
    Ok(found)
}

/// Whether none of these processes lives any more. An empty list proves nothing: none was visible.
pub fn all_gone(processes: &[EngineProcess]) -> io::Result<bool> {
    let alive = running()?;
    Ok(!processes.is_empty() && processes.iter().all(|process| !alive.contains(process)))
}

/// Whether the other side of a Unix socket is the engine itself, or a service manager that made the socket for it. A proxy in
/// between may deliver a request long after its sender has given up.
pub fn is_direct(socket: &Path) -> io::Result<bool> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?.pid.as_raw_nonzero().get();
    Ok(comm(peer).is_some_and(|name| name == ENGINE || name == "systemd"))
}

fn comm(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|text| text.trim_end().to_owned())
}

fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; field 22 counts from the state behind it, which is field 3.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
