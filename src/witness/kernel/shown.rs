//! What a file system that is made of others shows. Where the text of its mount does not lead to it any more, or there is no mount of it,
//! that is all that tells whose files they are.

use std::time::Duration;

use super::backing::{Backed, Proof};
use super::clues::Clue;
use crate::host::patient;
use crate::host::proc::files::{Manner, Use};
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::prints::{self, Made, Print};

/// How many files of one file system are looked for.
const MOST: usize = 2048;

/// How many files of a layer are compared with what is seen in the overlay before it counts as not part of it. One is enough that
/// nothing above it hides.
const FEW: usize = 64;

/// How long a file system may take that is in no table. It can be one of a FUSE server that never answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a mount is seen whose text proves nothing, and what of it is not explained by where that text leads now.
pub(super) fn unexplained<'m, K>(
    backed: &Backed<'_, 'm, K>,
) -> Option<(&'m Namespace, &'m MountLine, Vec<Clue>)> {
    if backed.proof != Proof::Content {
        return None;
    }
    // Something else may be mounted over it by now.
    let (namespace, mount, top) = backed.seen.iter().find_map(|&(namespace, mount)| {
        let top = prints::seen_by(namespace.window?, &mount.point);
        (prints::device(&top) == Some(mount.device)).then_some((namespace, mount, top))
    })?;
    let layers = |ways: &Vec<(&Namespace, Vec<u8>)>| -> Vec<Vec<u8>> {
        ways.iter().filter_map(|(namespace, path)| Some(prints::seen_by(namespace.window?, path))).collect()
    };
    let layers: Vec<Vec<Vec<u8>>> = backed.layers.iter().map(layers).collect();
    let clues = match mount.kind.as_slice() {
        b"erofs" => image(&top, &layers),
        _ => directories(&top, &layers),
    };
    Some((namespace, mount, clues))
}

/// What an overlay shows that none of its layers has. Nothing, once something was seen of each of them.
fn directories(top: &[u8], layers: &[Vec<Vec<u8>>]) -> Vec<Clue> {
    let is_shown = |(below, print): &(Vec<u8>, Print)| prints::at(top, below) == Some(*print);
    let is_part = |way: &Vec<u8>| {
        // Of the topmost layer the directory itself is seen.
        prints::at(way, b"").is_some_and(|print| prints::at(top, b"") == Some(print))
            || prints::listed(way, FEW).iter().any(is_shown)
    };
    if layers.iter().all(|ways| ways.iter().any(is_part)) {
        return Vec::new();
    }
    let is_explained = |(below, print): &(Vec<u8>, Print)| {
        layers.iter().flatten().any(|way| prints::at(way, below) == Some(*print))
    };
    let shown = prints::listed(top, MOST).into_iter();
    shown.filter(|one| !is_explained(one)).map(|(_, print)| Clue::Print(print)).collect()
}

/// The image of an EROFS is a file of its size.
fn image(top: &[u8], layers: &[Vec<Vec<u8>>]) -> Vec<Clue> {
    let Ok(Made::Erofs(size)) = prints::reached(top).and_then(|top| prints::made(&top)) else {
        return Vec::new();
    };
    let is_it = |way: &Vec<u8>| prints::blocks(way) == Some(size);
    if layers.iter().flatten().any(is_it) { Vec::new() } else { vec![Clue::Blocks(size)] }
}

/// What somebody uses of a file system that is in no table: one that was unmounted while he was in it, or never mounted. None when it
/// does not show files of others.
pub(super) fn detached(seen: &Use) -> Option<Vec<Clue>> {
    let link = match seen.manner {
        Manner::WorkingDirectory => "cwd".to_owned(),
        Manner::RootDirectory => "root".to_owned(),
        Manner::Executable => "exe".to_owned(),
        Manner::OpenFile(number) => format!("fd/{number}"),
        Manner::MappedFile | Manner::Socket | Manner::Watch | Manner::Registered | Manner::Served => {
            return None;
        }
    };
    let link = seen.task.path(&link).into_bytes();
    let look = move || -> rustix::io::Result<Option<Vec<Clue>>> {
        let file = prints::reached(&link)?;
        Ok(match prints::made(&file)? {
            Made::Overlay => Some(prints::all_of(file, MOST)?.into_iter().map(Clue::Print).collect()),
            Made::Erofs(size) => Some(vec![Clue::Blocks(size)]),
            Made::Other => None,
        })
    };
    match patient::one(PATIENCE, look) {
        Some(Ok(clues)) => clues,
        // It was closed, or its process has ended.
        Some(Err(_)) => Some(Vec::new()),
        // A FUSE server that does not answer; the words of its command line are looked at.
        None => None,
    }
}
