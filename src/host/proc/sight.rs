//! Whether this process sees every process that could hold a volume.

use std::path::Path;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use tokio::net::UnixStream;

use super::mountinfo::MountLine;
use super::{ProcError, REMEDY, namespaces, task};
use crate::host::pulse;

/// How long the engine's socket may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Refuses without `CAP_SYS_PTRACE`, and without a `/proc` that shows this process.
///
/// What may not be read is an error when it is read. But `hidepid` (systemd's `ProtectProc`) leaves processes out of `/proc`
/// without a word, and only this capability is certain to see through it, so it is asked for before anything is concluded (I2).
pub fn check() -> Result<(), ProcError> {
    let sets = rustix::thread::capabilities(None)
        .map_err(|source| ProcError::new("the capabilities of this process", source))?;
    if !sets.effective.contains(CapabilitySet::SYS_PTRACE) {
        return Err(ProcError::Capability { missing: "CAP_SYS_PTRACE" });
    }
    task::own().map(|_| ())
}

/// Why processes that could hold a volume may be invisible here; none when they are not.
///
/// A process sees its own pid namespace and those below. Whether that is the machine's first is the wrong question: an engine
/// may run in an LXC or nspawn machine, which is its whole world. What matters is that this process sees whatever the engine
/// sees. The kernel answers that: it writes down who made the engine's socket (`SO_PEERCRED`) and tells it by its number in
/// the asker's pid namespace, 0 when it is not visible there (`unix(7)`). Under socket activation the maker is systemd, of the
/// same pid namespace. A maker that is visible is in our namespace or below, and so are the engine and its containers.
pub async fn blind_spot(socket: &Path) -> Option<String> {
    if let Err(error) = check() {
        return Some(error.to_string());
    }
    if let Some(why) = changed_root() {
        return Some(why);
    }
    let shown = socket.display();
    let connected = pulse::bounded(PATIENCE, UnixStream::connect(socket)).await;
    let peer = match connected {
        Ok(Ok(stream)) => stream.peer_cred(),
        Ok(Err(error)) => return Some(format!("{shown} cannot be asked who serves it: {error}")),
        Err(_) => return Some(format!("{shown} does not answer within {} s", PATIENCE.as_secs())),
    };
    match peer.map(|peer| peer.pid()) {
        Ok(Some(process)) if process > 0 => None,
        Ok(_) => Some(format!(
            "the engine behind {shown} runs in a pid namespace that is not visible here, and so do its containers; {REMEDY}"
        )),
        Err(error) => Some(format!("{shown} does not say who serves it: {error}")),
    }
}

/// With another root directory than the rest of its mount namespace, this process would read every path differently. Then its
/// root is no mount, or one that process 1 sees elsewhere.
#[expect(clippy::disallowed_methods, reason = "process 1 does not end")]
fn changed_root() -> Option<String> {
    let own = match super::own_mounts() {
        Ok(own) => own,
        Err(error) => return Some(error.to_string()),
    };
    let first = match namespaces::read_table("/proc/1/mountinfo") {
        Ok(first) => first.unwrap_or_default(),
        Err(error) => return Some(error.to_string()),
    };
    let root = own.iter().find(|mount| mount.point == b"/");
    let is_root = |root: &MountLine| first.iter().all(|mount| mount.id != root.id || mount.point == b"/");
    if root.is_some_and(is_root) {
        None
    } else {
        Some("volgc runs with a changed root directory (chroot); run it outside".to_owned())
    }
}
