//! Whether the docker root on this machine is the one of the engine that answers. A socket may be forwarded from elsewhere, and
//! a container may have another `/var/lib/docker`: then the directories here belong to somebody else.

use std::os::fd::{AsFd as _, BorrowedFd};

use chrono::{DateTime, Utc};
use rustix::fs::{Mode, OFlags};

use super::index::VolumeIndex;
use crate::gc::volume::Unmovable;
use crate::host::directory;
use crate::host::engine::Engine;
use crate::host::engine::wire::{Container, Info, Volume};
use crate::host::engine_files::{self, Open};
use crate::host::engine_owner;
use crate::host::volumes_dir::VolumesDir;

/// What 20.10 tells as the change time of `_data` when there is none: year 1.
const NO_DATA: i64 = -62_135_596_800;

/// Whether the root here is the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Proven,
    /// Nothing speaks for it and nothing against it, because the engine has neither a container nor a local volume: then nothing
    /// that the engine does not list may be touched either.
    Unproven,
    /// It is not, or what should prove it does not.
    Elsewhere(String),
}

/// Whose root this is.
///
/// Container IDs are random, so one container directory that is here proves it, unless the engine has the list of volumes of another
/// root open: then this is a copy. Without containers that list proves it; where that cannot be seen, the engine's ID on disk (`engine-id`, Docker 24 and later), else a volume whose
/// time of change is the one the engine tells. A root without any volume needs no proof: there is nothing of the engine's to move.
pub fn standing(
    engine: &Engine,
    root: &VolumesDir,
    info: &Info,
    containers: &[Container],
    volumes: &[Volume],
    index: &VolumeIndex,
) -> Standing {
    // Where the engine has containers, their directories prove it, if this is no copy of them: nobody has the list in that open.
    let is_in_use = || matches!(engine_owner::process_of(root.volumes()), Ok(Some(_)));
    if let Some(socket) = engine.endpoint().local_socket()
        && (containers.is_empty() || !is_in_use())
    {
        let here = root.root_path().display();
        match engine_files::database(socket, root.volumes()) {
            Open::This => return Standing::Proven,
            Open::Another { process } => {
                return Standing::Elsewhere(format!(
                    "the engine (process {process}) has another list of volumes open than {here}/volumes/metadata.db: something was \
                     mounted over {here} since it started. Start the engine anew"
                ));
            }
            Open::Unknown => {}
        }
    }
    match judge(root, info, containers, volumes, index) {
        Standing::Elsewhere(why) => {
            let here = root.root_path().display();
            let way_out =
                format!("a container with volgc needs the host's own {here}, as by -v {here}:{here}");
            Standing::Elsewhere(format!("{why}; {way_out}"))
        }
        known @ (Standing::Proven | Standing::Unproven) => known,
    }
}

fn judge(
    root: &VolumesDir,
    info: &Info,
    containers: &[Container],
    volumes: &[Volume],
    index: &VolumeIndex,
) -> Standing {
    let here = root.root_path().display();
    if !containers.is_empty() {
        let found = containers.iter().any(|container| has_container(root.root(), &container.id));
        return if found {
            Standing::Proven
        } else {
            let count = containers.len();
            Standing::Elsewhere(format!(
                "none of the engine's {count} containers has its directory in {here}/containers: the engine runs elsewhere"
            ))
        };
    }
    if let Some(id) = engine_id(root.root()) {
        return if id == info.id {
            Standing::Proven
        } else {
            Standing::Elsewhere(format!("{here}/engine-id is of another engine ({id}, not {})", info.id))
        };
    }
    let is_seen = |volume: &&Volume| volume.driver == "local" && !is_hidden(volume, index);
    let mut local = volumes.iter().filter(is_seen).peekable();
    if local.peek().is_none() {
        return Standing::Unproven;
    }
    let proven = local.any(|volume| changed_when_the_engine_says(volume, index).unwrap_or(false));
    if proven {
        Standing::Proven
    } else {
        let why =
            format!("no volume directory in {here} is as old as the engine says: the engine runs elsewhere");
        Standing::Elsewhere(why)
    }
}

#[expect(clippy::disallowed_methods, reason = "an error does not prove that the root is here")]
fn has_container(root: BorrowedFd<'_>, id: &str) -> bool {
    let find = || {
        // The engine itself follows a `containers` that is a link.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let containers = rustix::fs::openat(root, c"containers", flags, Mode::empty())?;
        directory::facts_of_child(containers.as_fd(), &directory::c_name(id)?)
    };
    find().is_ok_and(|facts| facts.is_directory)
}

#[expect(clippy::disallowed_methods, reason = "without it the root is not proven to be here")]
fn engine_id(root: BorrowedFd<'_>) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, c"engine-id", flags, Mode::empty()).ok()?;
    let mut buffer = [0_u8; 128];
    let length = rustix::io::read(&file, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..length)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Whether the engine's data of a volume is not looked at, so that its times prove nothing.
fn is_hidden(volume: &Volume, index: &VolumeIndex) -> bool {
    index.observed().get(&volume.name).is_some_and(|seen| {
        seen.unmovable.iter().any(|why| matches!(why, Unmovable::Mounted | Unmovable::NoAnswer))
    })
}

/// `CreatedAt` is the change time of `_data` up to Docker 20.10 and of the volume's directory from 23.0 on, in whole seconds.
fn changed_when_the_engine_says(volume: &Volume, index: &VolumeIndex) -> Option<bool> {
    let told = parse_time(volume.created_at.as_deref()?)?.timestamp();
    let seen = index.observed().get(&volume.name)?;
    if told == NO_DATA {
        // A move was interrupted: the engine sees no data, and neither do we.
        return Some(seen.directory.is_some() && seen.data.is_none());
    }
    Some(seen.directory.iter().chain(&seen.data).any(|facts| facts.changed_at == told))
}

/// A time as the engine writes it (RFC 3339, in its own zone). None when it is not one: it decides nothing.
#[expect(clippy::disallowed_methods, reason = "a time that cannot be read proves nothing")]
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}
