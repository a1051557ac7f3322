//! What the kernel knows of mounts and processes, read from `/proc`. Thin: what it means for a volume is decided by the kernel
//! witness.
//!
//! Either the answer is complete as far as this page says, or it is an error (I2). Not seen:
//! - a mount namespace that neither a thread is in nor a mount keeps, but only an open descriptor of some process;
//! - mounts that were detached (`umount -l`, `open_tree`), but what is open on them is;
//! - a thread with a descriptor table of its own, in a process of very many descriptors, whose table has the same numbers in it.

mod descriptors;
pub mod devices;
mod enter;
pub mod fdinfo;
pub mod files;
mod filter;
pub mod links;
pub mod maps;
pub mod mountinfo;
pub mod namespaces;
pub mod owner;
pub mod prints;
pub mod sight;
pub mod sockets;
pub mod swaps;
pub mod task;
pub mod view;

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use mountinfo::MountLine;

/// What an administrator has to change when something may not be looked at.
const REMEDY: &str = "volgc has to see every process of the machine: run it as root on the host with CAP_SYS_PTRACE, in a \
     container with --pid=host --cap-add=SYS_PTRACE (and --security-opt apparmor=unconfined or label=disable where one of these \
     is in force)";

/// Why `/proc` gives no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// Not allowed to look.
    #[error("{path} cannot be read: {source}; {REMEDY}")]
    Denied {
        /// What.
        path: String,
        /// The system's words.
        source: Errno,
    },
    /// Another failure.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// What.
        path: String,
        /// The system's words.
        source: Errno,
    },
    /// A capability that is missing: then processes may even be hidden without a word (`hidepid`, `ProtectProc`).
    #[error("this process has no {missing}; {REMEDY}")]
    Capability {
        /// Which.
        missing: &'static str,
    },
    /// Something is not in the form it has on every kernel known.
    #[error("{path} has a form that this volgc does not know")]
    Strange {
        /// What.
        path: String,
    },
    /// A mount table that cannot be understood.
    #[error("in {path}, {source}")]
    Mounts {
        /// Which.
        path: String,
        /// What is wrong.
        source: mountinfo::BadMountLine,
    },
    /// A namespace that can be seen only from inside.
    #[error(
        "the mount namespace {namespace} ({kept_by}) can be read only by entering it, which fails: {source}; volgc needs \
         CAP_SYS_ADMIN and CAP_SYS_CHROOT for it: for the packaged service `systemctl edit volgc` and give it the lines that \
         volgc.service names for this, or end that process"
    )]
    Closed {
        /// Its identifier.
        namespace: u64,
        /// What keeps it.
        kept_by: String,
        /// The system's words.
        source: Errno,
    },
    /// A table that changed every time it was read, or namespaces that went away every time they were looked for.
    #[error("{0} changes faster than it can be read; try again")]
    Restless(String),
}

impl ProcError {
    pub(in crate::host) fn new(path: &str, source: Errno) -> Self {
        let path = path.to_owned();
        match source {
            Errno::ACCESS | Errno::PERM => Self::Denied { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// The mounts of the namespace this process is in.
pub fn own_mounts() -> Result<Vec<MountLine>, ProcError> {
    let path = "/proc/self/mountinfo";
    namespaces::read_table(path)?.ok_or_else(|| ProcError::new(path, Errno::NOENT))
}

/// The whole of a file of `/proc`; none when what it shows has ended.
pub fn read(path: &str) -> Result<Option<Vec<u8>>, ProcError> {
    task::read_whole(path)
}

/// The names in a directory of `/proc` that are numbers; none when what it shows has ended.
pub fn numbers_in(path: &str) -> Result<Option<Vec<u32>>, ProcError> {
    task::numbers(path)
}

/// The mounts of the namespace that a process is in, as it sees them; none when it has ended.
pub fn mounts_of(process: u32) -> Result<Option<Vec<MountLine>>, ProcError> {
    namespaces::read_table(&format!("/proc/{process}/mountinfo"))
}

/// The mount an open file was reached through, and its path as the kernel knows it.
pub fn mount_and_path(file: BorrowedFd<'_>) -> Result<(u64, Vec<u8>), ProcError> {
    let number = file.as_raw_fd();
    // `mnt_id` is there since Linux 3.15, STATX_MNT_ID only since 5.8.
    let info = format!("/proc/self/fdinfo/{number}");
    let mount = files::mount_id(&info)?.ok_or(ProcError::Strange { path: info })?;
    let link = format!("/proc/self/fd/{number}");
    let path = task::link(&link)?.ok_or(ProcError::Strange { path: link })?;
    Ok((mount, path))
}
