//! Whose files are the host's, for a process that has a root directory of its own: in a container `/srv` is not the host's `/srv`,
//! and a link there leads elsewhere, or is not there at all.

use rustix::io::Errno;

use super::mountinfo::MountLine;
use super::{ProcError, namespaces, own_mounts, task};

/// The first process of the host.
const FIRST: u32 = 1;

/// A process that sees the host's files at their paths: this one, or in a container that sees the host's processes the first of
/// them.
///
/// A sandbox of systemd has a mount namespace of its own too, but shows the same file system at `/`.
///
/// # Errors
///
/// When the mounts of this process or of process 1 cannot be read.
pub fn host_process() -> Result<u32, ProcError> {
    let own = own_mounts()?;
    let path = "/proc/1/mountinfo";
    let first = namespaces::read_table(path)?.ok_or_else(|| ProcError::new(path, Errno::NOENT))?;
    if is_elsewhere(&own, &first) { Ok(FIRST) } else { task::own() }
}

/// Whether the two have different directories at `/`. Mounts may be stacked there; the last one is seen.
fn is_elsewhere(own: &[MountLine], first: &[MountLine]) -> bool {
    let root = |mounts: &[MountLine]| {
        let mount = mounts.iter().rfind(|mount| mount.point == b"/");
        mount.map(|mount| (mount.device, mount.root.clone()))
    };
    match (root(own), root(first)) {
        (Some(own), Some(first)) => own != first,
        // A changed root is refused by the kernel witness.
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::mountinfo::parse_mountinfo;
    use super::*;

    fn is_elsewhere_by_text(own: &str, first: &str) -> bool {
        is_elsewhere(&parse_mountinfo(own.as_bytes()).unwrap(), &parse_mountinfo(first.as_bytes()).unwrap())
    }

    const HOST: &str = "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:20 / /proc rw - proc proc rw\n";

    #[test]
    fn a_container_has_its_root_elsewhere() {
        assert!(is_elsewhere_by_text("90 50 0:51 / / ro - overlay overlay rw\n", HOST));
        // A directory of the host's own file system, as systemd-nspawn takes one.
        assert!(is_elsewhere_by_text("90 50 254:0 /srv/tree / rw - ext4 /dev/vda rw\n", HOST));
    }

    #[test]
    fn a_sandbox_of_systemd_has_the_same_root() {
        assert!(!is_elsewhere_by_text("90 50 254:0 / / ro - ext4 /dev/vda rw\n", HOST));
    }

    #[test]
    fn here_it_is_the_same() {
        assert_eq!(host_process().unwrap(), std::process::id());
    }
}
