//! Holders in words: what an administrator has to know to end it.

use crate::gc::reference::{Holder, HolderKind};
use crate::host::proc::devices::LoopFile;
use crate::host::proc::files::{FilePath, Manner, Use};
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::{ProcError, task};

pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// `process 17 nginx of container 0123456789ab`.
#[expect(clippy::disallowed_methods, reason = "only shown to people")]
pub(super) fn process(process: u32) -> String {
    let container = task::container(process).map(|id| format!(" of {CONTAINER}{}", short(&id)));
    format!("process {process} {}{}", task::name(process), container.unwrap_or_default())
}

/// As the engine's own commands shorten an ID.
pub(super) const SHORT: usize = 12;

/// What a container's ID follows.
pub(super) const CONTAINER: &str = "container ";

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// `mount namespace 4026531841 (process 17 nginx)`.
pub(super) fn namespace(namespace: &Namespace) -> String {
    let who =
        namespace.task.map_or_else(|| "which no process is in".to_owned(), |task| process(task.process));
    format!("mount namespace {} ({who})", namespace.id)
}

/// A mount that was seen in one or more namespaces.
#[expect(clippy::disallowed_methods, reason = "only shown to people")]
pub(super) fn mount_holder(point: &[u8], namespaces: &[&Namespace], why: Option<&str>) -> Option<Holder> {
    let (first, others) = namespaces.split_first()?;
    let more = match others.len() {
        0 => String::new(),
        count => format!(", and in {count} more"),
    };
    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
    Some(Holder {
        kind: HolderKind::Mount,
        id: container_of(namespaces).unwrap_or_else(|| first.id.to_string()),
        detail: format!("mounted at {} in {}{more}{why}", text(point), namespace(first)),
        name: text(point),
    })
}

/// The container whose namespaces these are, when all of them are of one. A mount that anybody else has as well is not its own.
fn container_of(namespaces: &[&Namespace]) -> Option<String> {
    let mut containers = namespaces.iter().map(|namespace| task::container(namespace.task?.process));
    let first = containers.next()??;
    containers.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// A mount that shows files of a target, wherever its layers were.
pub(super) fn made_of_holder(seen_in: &Namespace, mount: &MountLine) -> Holder {
    let holder = mount_of(seen_in, mount);
    Holder { detail: format!("{} shows its files", holder.detail), ..holder }
}

/// A mount that is made of others.
pub(super) fn mount_of(seen_in: &Namespace, mount: &MountLine) -> Holder {
    let (kind, point) = (text(&mount.kind), text(&mount.point));
    Holder {
        kind: HolderKind::Mount,
        id: container_of(&[seen_in]).unwrap_or_else(|| seen_in.id.to_string()),
        detail: format!("the {kind} mounted at {point} in {}", namespace(seen_in)),
        name: point,
    }
}

/// A holder of which it is not known what it uses.
pub(super) fn doubtful_holder(holder: &Holder, why: &str) -> Holder {
    Holder {
        detail: format!("{}, and may show files of this volume: {why}", holder.detail),
        ..holder.clone()
    }
}

/// A namespace of which not every mount can be seen.
pub(super) fn hidden_holder(hidden: &Namespace, why: &str) -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: hidden.id.to_string(),
        name: format!("mount namespace {}", hidden.id),
        detail: format!(
            "{}: some of its mounts cannot be seen, and may be of this volume: {why}",
            namespace(hidden)
        ),
    }
}

#[expect(clippy::disallowed_methods, reason = "only shown to people")]
pub(super) fn process_holder(seen: &Use) -> Holder {
    let path = match &seen.path {
        FilePath::Told(path) if seen.manner == Manner::Socket => format!(" bound as {}", text(path)),
        FilePath::Told(path) => format!(" {}", text(path)),
        FilePath::TooLong if seen.manner == Manner::Registered => {
            ": the ring is too busy for the kernel to say which files it has, so it may be one in it"
                .to_owned()
        }
        FilePath::TooLong => " whose path is too long to be told, so it may be in it".to_owned(),
        FilePath::Untold => String::new(),
    };
    let container = task::container(seen.task.process).map(|id| format!(", {CONTAINER}{}", short(&id)));
    Holder {
        kind: HolderKind::Process,
        id: seen.task.process.to_string(),
        name: task::name(seen.task.process),
        detail: format!("{}{path}{}", seen.manner, container.unwrap_or_default()),
    }
}

pub(super) fn closed_holder(process: u32, error: &ProcError) -> Holder {
    Holder {
        kind: HolderKind::Process,
        id: process.to_string(),
        name: task::name(process),
        detail: format!("it cannot be looked at, and may use this volume: {error}"),
    }
}

pub(super) fn loop_holder(file: &LoopFile) -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: format!("/dev/{}", file.device),
        name: file.device.clone(),
        detail: format!("loop device on {}", text(&file.path)),
    }
}

pub(super) fn swap_holder(path: &[u8]) -> Holder {
    Holder {
        kind: HolderKind::Mount,
        id: text(path),
        name: text(path),
        detail: format!("swap file {}; `swapoff` it, and remove it from /etc/fstab", text(path)),
    }
}

/// The holder, once a search found the file in the target.
pub(super) fn found_holder(holder: &Holder, path: &[u8]) -> Holder {
    Holder { detail: format!("{} (found in it: {})", holder.detail, text(path)), ..holder.clone() }
}

pub(super) fn unsearched_holder(why: &str) -> Holder {
    Holder {
        kind: HolderKind::Process,
        id: "unknown".to_owned(),
        name: "unknown".to_owned(),
        detail: format!(
            "processes use files of which the kernel tells the inode alone, and not all of the volume could be searched for \
             them: {why}"
        ),
    }
}
