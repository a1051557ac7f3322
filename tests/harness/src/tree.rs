//! Believable volume content, and digests that notice any change of it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, utimensat,
};

/// A digest over [`tree_listing`]: equal for equal trees, whatever their place and inode numbers.
pub fn tree_digest(path: &Path) -> String {
    let mut hash = Fnv::default();
    for line in tree_listing(path) {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.hex()
}

/// A line for the directory and for every entry below it, in the order of their names: relative path, type and mode,
/// owner, link count, size, modification time, link target, extended attributes and a digest of the content. Entries of
/// one inode name the first of them. Compare two listings to see what a digest only notices.
///
/// Follows no symlink. Paths longer than the kernel's limit are beyond it.
pub fn tree_listing(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inodes = HashMap::new();
    list(path, OsStr::new("."), &mut inodes, &mut lines)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display()));
    lines
}

fn list(
    path: &Path,
    relative: &OsStr,
    inodes: &mut HashMap<(u64, u64), PathBuf>,
    lines: &mut Vec<String>,
) -> io::Result<()> {
    use std::fmt::Write as _;
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    // `{:?}` escapes what is not text, without loss.
    let mut line = format!(
        "{relative:?} mode={:o} owner={}:{} mtime={}.{:09}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).unwrap_or_default();
    if !kind.is_dir() {
        // A directory's size and link count belong to the file system rather than to the content.
        add(format_args!(" size={} links={} rdev={}", meta.size(), meta.nlink(), meta.rdev()));
        let first = inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| PathBuf::from(relative));
        if first.as_os_str() != relative {
            add(format_args!(" same={first:?}"));
        }
    }
    if kind.is_symlink() {
        add(format_args!(" target={:?}", fs::read_link(path)?));
    }
    for (name, value) in xattrs(path)? {
        add(format_args!(" {:?}={:?}", OsStr::from_bytes(&name), OsStr::from_bytes(&value)));
    }
    if kind.is_file() {
        add(format_args!(" content={}", content_digest(path)?));
    }
    lines.push(line);
    if kind.is_dir() {
        let mut names =
            fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            list(&path.join(&name), Path::new(relative).join(&name).as_os_str(), inodes, lines)?;
        }
    }
    Ok(())
}

fn content_digest(path: &Path) -> io::Result<String> {
    let mut file = open_unseen(path)?;
    let mut hash = Fnv::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.hex()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; 64 * 1024];
    let length = match llistxattr(path, &mut names) {
        Ok(length) => length,
        // The file system knows none.
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 * 1024];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value)?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

/// Opens a file so that reading it leaves no trace: a test that looks into a volume is no user of it.
pub(super) fn open_unseen(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// FNV-1a with 128 bits: not against an adversary, but no accident goes unseen.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }

    fn hex(&self) -> String {
        format!("{:032x}", self.0)
    }
}

/// Fills a directory with what real volumes hold, the same for the same seed: a small database with odd owners and
/// modes, sparse and empty files, symlinks, hard links, extended attributes, and names that are not text. Returns the
/// directory's [`tree_digest`].
pub fn fill(dir: &Path, seed: u64) -> String {
    try_fill(dir, seed).unwrap_or_else(|error| panic!("cannot fill {}: {error}", dir.display()));
    tree_digest(dir)
}

fn try_fill(dir: &Path, seed: u64) -> io::Result<()> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let file = |path: &str, mode: u32, owner: u32, content: &[u8]| -> io::Result<()> {
        let path = dir.join(path);
        fs::write(&path, content)?;
        chown(&path, Some(owner), Some(owner))?;
        // After chown, which clears the setuid bit.
        fs::set_permissions(&path, Permissions::from_mode(mode))
    };
    let directory = |path: &str, mode: u32, owner: u32| -> io::Result<()> {
        let path = dir.join(path);
        fs::create_dir_all(&path)?;
        chown(&path, Some(owner), Some(owner))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
    };
    directory("base/1", 0o700, 999)?;
    directory("base", 0o700, 999)?;
    directory("pg_wal", 0o700, 999)?;
    directory("uploads", 0o1777, 33)?;
    directory("empty", 0o755, 0)?;
    file("PG_VERSION", 0o600, 999, b"15\n")?;
    file("README", 0o644, 0, format!("volume content of seed {seed}\n").as_bytes())?;
    for table in 0..4 {
        let length = 512 + usize::try_from(noise.next() % 8192).unwrap_or_default();
        file(&format!("base/1/{}", 16384 + table), 0o600, 999, &noise.bytes(length))?;
    }
    file("pg_wal/000000010000000000000001", 0o600, 999, &noise.bytes(32 * 1024))?;
    file("uploads/a photo of \u{e9}t\u{e9}.jpg", 0o640, 33, &noise.bytes(3000))?;
    file("uploads/two\nlines", 0o444, 33, b"a name with a line break\n")?;
    file("uploads/secret", 0o000, 0, b"unreadable for anybody but root\n")?;
    file("uploads/helper", 0o4755, 0, b"#!/bin/sh\nexit 0\n")?;
    file(".hidden", 0o600, 0, b"")?;
    fs::write(dir.join(std::ffi::OsString::from_vec(b"not\xfftext".to_vec())), noise.bytes(17))?;
    fs::hard_link(dir.join("base/1/16384"), dir.join("pg_wal/16384.backup"))?;
    symlink("base/1", dir.join("current"))?;
    symlink("/etc/passwd", dir.join("outside"))?;
    symlink("nowhere/at all", dir.join("dangling"))?;
    lchown(dir.join("dangling"), Some(1000), Some(1000))?;
    let mut sparse = File::create(dir.join("sparse.img"))?;
    sparse.seek(SeekFrom::Start(3 * 1024 * 1024))?;
    sparse.write_all(&noise.bytes(64))?;
    lsetxattr(dir.join("README"), "user.origin", format!("seed {seed}").as_bytes(), XattrFlags::empty())?;
    lsetxattr(dir.join("uploads"), "user.binary", b"\0\x01\xff", XattrFlags::empty())?;

    // Old, and each at its own time; children before their directories, whose times they change.
    let mut made = vec![dir.to_path_buf()];
    let mut next = 0;
    while let Some(path) = made.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&path)?.is_dir() {
            let mut names =
                fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            names.sort();
            made.extend(names);
        }
    }
    for path in made.iter().rev() {
        let seconds = 1_600_000_000 + i64::try_from(noise.next() % 100_000_000).unwrap_or_default();
        let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// A small generator (xorshift64*), so that content depends on the seed alone.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
