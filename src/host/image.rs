//! Images of EROFS, known by what their superblock says (Linux `fs/erofs/erofs_fs.h`): a file may be larger than the file system in it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, StatFs};
use rustix::io::Errno;

/// Where the superblock lies, and its parts.
const OFFSET: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: usize = 12;
const INODES: usize = 16;
const BLOCKS: usize = 36;
const FEATURES: usize = 80;
const LENGTH: usize = 128;

/// No image is smaller.
pub const LEAST: u64 = OFFSET + LENGTH as u64;

/// `EROFS_FEATURE_INCOMPAT_DEVICE_TABLE`: a part of the blocks is on other devices.
const HAS_DEVICES: u32 = 8;

/// What a mounted file system says of itself, or a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    block: u64,
    /// Their lower 32 bits.
    blocks: u32,
    inodes: u64,
    has_devices: bool,
}

impl Image {
    /// What a mounted one says.
    pub fn mounted(facts: &StatFs) -> rustix::io::Result<Self> {
        Ok(Self {
            block: u64::try_from(facts.f_bsize).map_err(|_| Errno::RANGE)?,
            blocks: low(facts.f_blocks),
            // Linux `fs/erofs/super.c`: all that could be free is `ULLONG_MAX`, less those there are.
            inodes: u64::MAX - facts.f_ffree,
            has_devices: false,
        })
    }

    /// What a file says; none when it is no image.
    pub fn of(file: &OwnedFd) -> rustix::io::Result<Option<Self>> {
        let mut bytes = [0_u8; LENGTH];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(file, rest, OFFSET + filled as u64) {
                Ok(0) => return Ok(None),
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
        let long = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
        if word(0)? != MAGIC {
            return None;
        }
        Some(Self {
            block: 1_u64.checked_shl(u32::from(*bytes.get(BLOCK_BITS)?))?,
            blocks: word(BLOCKS)?,
            inodes: long(INODES)?,
            has_devices: word(FEATURES)? & HAS_DEVICES != 0,
        })
    }

    /// Whether this, which is mounted, may be mounted from a file with that superblock.
    pub fn may_be_from(&self, file: &Self) -> bool {
        let is_whole = if file.has_devices { file.blocks <= self.blocks } else { file.blocks == self.blocks };
        is_whole && (self.block, self.inodes) == (file.block, file.inodes)
    }
}

/// Opens a file without a trace in its times.
pub fn open(directory: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty())
}

#[expect(clippy::cast_possible_truncation, reason = "older superblocks have the lower half alone")]
fn low(blocks: u64) -> u32 {
    blocks as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(blocks: u32, features: u32) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[BLOCK_BITS] = 12;
        bytes[INODES] = 7;
        bytes[BLOCKS..BLOCKS + 4].copy_from_slice(&blocks.to_le_bytes());
        bytes[FEATURES..FEATURES + 4].copy_from_slice(&features.to_le_bytes());
        bytes
    }

    #[test]
    fn an_image_is_known_by_its_superblock() {
        let mounted = Image { block: 4096, blocks: 9, inodes: 7, has_devices: false };
        let may_be = |bytes: &[u8]| Image::parse(bytes).is_some_and(|image| mounted.may_be_from(&image));
        assert!(may_be(&superblock(9, 0)));
        assert!(!may_be(&superblock(8, 0)) && !may_be(&superblock(10, HAS_DEVICES)));
        assert!(may_be(&superblock(8, HAS_DEVICES)), "the others are on a device");
        assert!(!may_be(&[0; LENGTH]) && !may_be(&superblock(9, 0)[..LENGTH / 2]));
        let mut other = superblock(9, 0);
        other[INODES] = 8;
        assert!(!may_be(&other));
        other[BLOCK_BITS] = 200;
        assert_eq!(Image::parse(&other), None);
    }
}
