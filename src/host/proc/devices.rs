//! Files that the kernel itself keeps open: behind loop devices, and as swap. No process shows them.

use std::os::fd::AsFd as _;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::mountinfo::unescape;
use super::{ProcError, task};
use crate::host::directory;

/// A file behind a loop device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopFile {
    /// The device, as `loop0`.
    pub device: String,
    /// The path of the file in the namespace where the device was set up. When that is gone, only what is below the mount through
    /// which it was opened is left. Device and inode are told by `LOOP_GET_STATUS64` alone, which no safe code can ask.
    pub path: Vec<u8>,
    /// How large the file is at least, in blocks of 512 bytes.
    pub blocks: Option<u64>,
}

/// Every file behind a loop device.
pub fn loop_files() -> Result<Vec<LoopFile>, ProcError> {
    let path = "/sys/block";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let names = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|block| directory::list(block.as_fd()))
        .map_err(|source| ProcError::new(path, source))?;
    let mut files = Vec::new();
    for (name, _) in names {
        let device = directory::shown(&name);
        if !device.starts_with("loop") {
            continue;
        }
        // A loop device without a file has no such entry; one that is being taken down says ENXIO.
        let text = match attribute(&device, "loop/backing_file") {
            // The kernel tells no path longer than a page. The file is then looked for by its size, as when the namespace is gone in
            // which the device was set up.
            Err(ProcError::Io { source: Errno::NAMETOOLONG, .. }) => Some(b"/".to_vec()),
            text => text?,
        };
        let Some(text) = text else { continue };
        let path = text.strip_suffix(b"\n").unwrap_or(&text).to_vec();
        let offset = attribute(&device, "loop/offset")?.and_then(|text| number(&text)).unwrap_or(0);
        let size = attribute(&device, "size")?.and_then(|text| number(&text));
        files.push(LoopFile { device, path, blocks: size.map(|size| size + offset.div_ceil(512)) });
    }
    Ok(files)
}

fn attribute(device: &str, name: &str) -> Result<Option<Vec<u8>>, ProcError> {
    match task::read_whole(&format!("/sys/block/{device}/{name}")) {
        Err(ProcError::Io { source: Errno::NXIO | Errno::NODEV, .. }) => Ok(None),
        text => text,
    }
}

#[expect(clippy::disallowed_methods, reason = "without a size a file is found by its path alone")]
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Every file that is swap; as of loop devices, the path is what is left of it.
#[expect(clippy::disallowed_methods, reason = "a kernel without swap has no list of it")]
pub fn swap_files() -> Result<Vec<Vec<u8>>, ProcError> {
    let path = "/proc/swaps";
    // A kernel without swap has no such file.
    let text = task::read_whole(path)?.unwrap_or_default();
    parse_swaps(&text).ok_or(ProcError::Strange { path: path.to_owned() })
}

/// `Filename Type Size Used Priority`, below a line of titles; the path is escaped and padded.
fn parse_swaps(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for line in text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let mut fields = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
        let path = unescape(fields.next()?)?;
        // Of a file that was unlinked the kernel says so behind the path.
        let kind = fields.find(|field| matches!(*field, b"file" | b"partition"))?;
        if kind == b"file" {
            files.push(path);
        }
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_files_are_told_from_partitions() {
        // As Linux 6.18 writes it.
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /swap\\040x                               file\t\t8188\t\t0\t\t-2\n\
            /dev/zram0                              partition\t8188\t\t0\t\t100\n\
            /gone\\040(deleted)                       file\t\t8188\t\t0\t\t-2\n";
        assert_eq!(parse_swaps(text).unwrap(), [b"/swap x".to_vec(), b"/gone (deleted)".to_vec()]);
        assert_eq!(parse_swaps(b"Filename\n"), Some(Vec::new()));
        assert_eq!(parse_swaps(b"Filename\n/x\n"), None);
    }
}
