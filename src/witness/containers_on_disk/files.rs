//! The container directories that the engine does not list, read by descriptor.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::claims::Told;
use super::way_out;
use crate::host::directory;
use crate::witness::index::VolumeIndex;

/// A configuration larger than this is none that an engine wrote.
const LIMIT: u64 = 64 << 20;

/// How often a directory without a configuration is looked at, and how long between. One that is being made gets its files
/// within this time, one that is being removed is gone by then.
const LOOKS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// Every container that the engine does not list.
    pub(super) told: Vec<Told>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

/// One file with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads every container directory that is not in `listed`. Blocks on the file system.
///
/// A directory that is not readable is an error that names it (I2), all of them at once, so that an operator has not to go
/// through them one refusal at a time.
pub(super) fn examine(
    index: &VolumeIndex,
    listed: &HashSet<String>,
    acknowledged: &BTreeSet<String>,
) -> Result<Examined, String> {
    let mut examined = Examined::default();
    let Some(root) = index.directory() else { return Ok(examined) };
    let path = index.root().join("containers");
    let cannot = |error: Errno| {
        format!("{} cannot be read ({error}); volgc needs the whole docker root, as root", path.display())
    };
    let containers = root.open_containers().map_err(cannot)?;
    let mut unlisted = Vec::new();
    for (name, kind) in directory::list(containers.as_fd()).map_err(cannot)? {
        let shown = directory::shown(&name);
        if listed.contains(&shown) || is_foreign(kind) {
            continue;
        }
        if acknowledged.contains(&shown) {
            let note = "is acknowledged in the configuration: what it holds does not count";
            examined.notes.push(format!("{}/{shown} {note}", path.display()));
        } else {
            unlisted.push(name);
        }
    }
    let read = read_all(containers.as_fd(), unlisted);
    examined.told = read.map_err(|unreadable| {
        let whole = unreadable
            .iter()
            .map(|(name, why)| format!("{}/{name}: {why}; {}", path.display(), way_out(name)));
        whole.collect::<Vec<String>>().join("; ")
    })?;
    examined.notes.sort();
    Ok(examined)
}

/// What each directory says, or each one that cannot be read with the reason.
fn read_all(
    containers: BorrowedFd<'_>,
    mut pending: Vec<CString>,
) -> Result<Vec<Told>, Vec<(String, String)>> {
    let mut told = Vec::new();
    let mut unreadable = Vec::new();
    for look in 1..=LOOKS {
        let mut unfinished = Vec::new();
        for name in pending {
            match read(containers, &name) {
                Ok(Seen::NoContainer) => {}
                Ok(Seen::Files(files)) => {
                    let one = Told::new(directory::shown(&name), files);
                    if look < LOOKS && one.has_no_config() {
                        unfinished.push(name);
                    } else {
                        told.push(one);
                    }
                }
                Err(why) => unreadable.push((directory::shown(&name), why)),
            }
        }
        pending = unfinished;
        if pending.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    told.sort_by(|one, other| one.directory.cmp(&other.directory));
    if unreadable.is_empty() { Ok(told) } else { Err(unreadable) }
}

/// Whether it can be no container. A link can: an administrator may have moved a container's directory to another disk.
fn is_foreign(kind: FileType) -> bool {
    match kind {
        FileType::Directory | FileType::Symlink | FileType::Unknown => false,
        FileType::RegularFile
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice => true,
    }
}

/// What a look at one name gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is gone, or nothing in it is a container's.
    NoContainer,
    /// Every file with a configuration in it.
    Files(Vec<Contents>),
}

fn read(containers: BorrowedFd<'_>, name: &CStr) -> Result<Seen, String> {
    let directory = match directory::open_child(containers, name) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Seen::NoContainer),
        Err(error) => return not_opened(containers, name, error),
    };
    read_open(containers, name, directory.as_fd())
}

/// Reads an open directory, and then looks whether it is still there.
pub(super) fn read_open(
    containers: BorrowedFd<'_>,
    name: &CStr,
    directory: BorrowedFd<'_>,
) -> Result<Seen, String> {
    let names = match directory::list(directory) {
        Ok(names) => names,
        Err(Errno::NOENT) => Vec::new(),
        Err(error) => return Err(format!("it cannot be listed ({error})")),
    };
    let mut files = Vec::new();
    for file in names.into_iter().map(|(file, _)| file).filter(|file| is_configuration(file)) {
        if let Some(bytes) = read_file(directory, &file)? {
            files.push(Contents { file: directory::shown(&file), bytes });
        }
    }
    files.sort_by(|one, other| one.file.cmp(&other.file));
    // Whether files are missing or the directory went away while it was read: only its name tells.
    let exists = directory::child_exists(containers, name)
        .map_err(|error| format!("it cannot be looked at ({error})"))?;
    // Without a file a foreign name, as `lost+found`, is none of a container.
    let is_container = !files.is_empty() || is_id(name);
    Ok(if exists && is_container { Seen::Files(files) } else { Seen::NoContainer })
}

/// What does not open as a directory: something foreign, or a refusal (I2).
fn not_opened(containers: BorrowedFd<'_>, name: &CStr, error: Errno) -> Result<Seen, String> {
    let kind = rustix::fs::statat(containers, name, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Err(Errno::NOENT) => Ok(Seen::NoContainer),
        Ok(FileType::Symlink) => Err("it is a symbolic link, which is not followed".to_owned()),
        Ok(kind) if is_foreign(kind) => Ok(Seen::NoContainer),
        Ok(_) | Err(_) => Err(format!("it cannot be opened ({error})")),
    }
}

/// `config.v2.json`, `hostconfig.json`, `config.json` (before Docker 1.10), and what an interrupted write or an
/// administrator left of them: `.tmp-config.v2.json1234`, `config.v2.json.bak`.
fn is_configuration(name: &CStr) -> bool {
    let name = directory::shown(name);
    name.contains("config.v2.json") || name.contains("config.json")
}

fn is_id(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
}

/// The bytes of a file; none when it is gone. Whatever else stands in its place cannot be read, and must not be waited for.
fn read_file(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<Vec<u8>>, String> {
    let shown = directory::shown(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(format!("{shown} is a symbolic link, which is not followed")),
        Err(error) => return Err(format!("{shown} cannot be opened ({error})")),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| format!("{shown} cannot be looked at ({error})"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("{shown} is no regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::from(file).take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{shown} cannot be read ({error})"))?;
    if bytes.len() as u64 > LIMIT {
        return Err(format!("{shown} is larger than {} MiB", LIMIT >> 20));
    }
    Ok(Some(bytes))
}
