//! Whether files of a file system may share their blocks. Then the blocks of a file are no more than deleting it can give back: others may
//! have some of them too.

use std::os::fd::BorrowedFd;

/// Whose blocks those of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocks {
    /// Its own.
    #[default]
    Own,
    /// Perhaps other files' or snapshots' as well.
    MayBeShared,
}

/// `statfs(2)` and `linux/magic.h`; those of file systems outside of Linux from their sources. Reflinks, snapshots or deduplication; an
/// overlay counts what lies in a lower layer, and FUSE what its server says. (XFS tells nobody but by an ioctl whether it has reflinks.)
const MAY_SHARE: [u64; 7] = [
    0x9123_683e, // btrfs
    0x5846_5342, // XFS
    0x794c_7630, // overlay
    0x6573_5546, // FUSE
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x7461_636f, // OCFS2
];

/// Whose blocks those of files in a directory are. Where that cannot be known, "at most" is true in any case.
pub fn blocks_in(directory: BorrowedFd<'_>) -> Blocks {
    match rustix::fs::fstatfs(directory) {
        Ok(facts) if !MAY_SHARE.contains(&facts.f_type.cast_unsigned()) => Blocks::Own,
        Ok(_) | Err(_) => Blocks::MayBeShared,
    }
}
