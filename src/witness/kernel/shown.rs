//! What a file system that is made of others shows. Where the text of its mount does not lead to it any more, or there is no mount of it,
//! that is all that tells whose files they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::backing::{Backed, Proof};
use super::clues::Clue;
use crate::host::clock::Deadline;
use crate::host::patient;
use crate::host::proc::files::{Manner, Use};
use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::prints::{self, Made, Print};

/// How many files of one file system are looked for.
pub(super) const MOST: usize = 2048;

/// How many files of a layer are compared with what is seen in the overlay before it counts as not part of it. One is enough that
/// nothing above it hides.
const FEW: usize = 16;

/// How many files are looked at in all overlays together, in one look. Anybody may mount thousands, of hundreds of layers each.
pub(super) const MOST_OF_ALL: usize = 100_000;

/// How long the first file system may take that does not answer: a FUSE server may be behind it. Each one after it has less time, so that
/// all of them together take no more than twice as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long one that did not answer is left alone. Its device number is another one's some day, which must not be taken for it (I2).
const PAUSE: Duration = Duration::from_mins(10);

static SILENT: Mutex<Silent> = Mutex::new(Silent(BTreeMap::new()));

/// File systems that did not answer, and until when each is left alone.
struct Silent(BTreeMap<Device, Deadline>);

impl Silent {
    fn has(&mut self, device: Device) -> bool {
        self.0.retain(|_, until| !until.has_passed());
        self.0.contains_key(&device)
    }
}

/// Looks at a file system; none when it does not answer.
fn ask<T: Send + 'static>(device: Device, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let silent = || SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    if silent().has(device) {
        return None;
    }
    let count = u32::try_from(silent().0.len()).unwrap_or(u32::MAX).saturating_add(1);
    let answer = patient::one(PATIENCE / count.saturating_mul(count), look);
    if answer.is_none() {
        tracing::warn!(
            "the file system {}:{} does not answer, so volgc believes what its mount says it is made of: find it by that number (`findmnt -o MAJ:MIN,TARGET`), and look for a FUSE server that hangs",
            device.major,
            device.minor
        );
        silent().0.insert(device, Deadline::after(PAUSE));
    }
    answer
}

/// A mount whose text proves nothing, where it is seen, and what is seen in it.
pub(super) struct Seen<'m> {
    pub(super) namespace: &'m Namespace,
    pub(super) mount: &'m MountLine,
    pub(super) clues: Vec<Clue>,
}

/// What is seen in the mounts of which the text is not the whole truth.
///
/// Those of the first namespace come first, which no user can make up: how much is looked at has an end (I14).
pub(super) fn beyond_text<'m, K>(mut all: Vec<Backed<'_, 'm, K>>) -> Vec<Seen<'m>> {
    let first_seen = |backed: &Backed<'_, '_, K>| backed.seen.iter().map(|(namespace, _)| namespace.id).min();
    all.sort_by_key(first_seen);
    let mut left = MOST_OF_ALL;
    all.iter().filter_map(|backed| look(backed, &mut left)).collect()
}

fn look<'m, K>(backed: &Backed<'_, 'm, K>, left: &mut usize) -> Option<Seen<'m>> {
    if backed.proof != Proof::Content {
        return None;
    }
    let (namespace, mount) = *backed.seen.iter().find(|(namespace, _)| namespace.window.is_some())?;
    let top = prints::seen_by(namespace.window?, &mount.point);
    let layers = |ways: &Vec<(&Namespace, Vec<u8>)>| -> Vec<Vec<u8>> {
        ways.iter().filter_map(|(namespace, path)| Some(prints::seen_by(namespace.window?, path))).collect()
    };
    let shown = Shown {
        top,
        device: mount.device,
        is_image: mount.kind == b"erofs",
        layers: backed.layers.iter().map(layers).collect(),
        left: *left,
    };
    let (clues, still_left) = ask(mount.device, move || shown.beyond_text())?;
    *left = still_left;
    Some(Seen { namespace, mount, clues })
}

/// A mount by the paths of its parts, as they are seen from here.
struct Shown {
    top: Vec<u8>,
    device: Device,
    is_image: bool,
    layers: Vec<Vec<Vec<u8>>>,
    /// How many files may be looked at yet.
    left: usize,
}

impl Shown {
    /// What is not proved to be explained by the layers, and how many files may be looked at after that.
    fn beyond_text(mut self) -> (Vec<Clue>, usize) {
        // Something else may be mounted over it by now.
        if !prints::is_on(&self.top, self.device) {
            return (Vec::new(), self.left);
        }
        if self.is_image {
            return (self.image(), self.left);
        }
        if self.is_explained() {
            return (Vec::new(), self.left);
        }
        let shown = prints::listed(&self.top, MOST.min(self.left));
        self.left -= shown.len().min(self.left);
        (shown.into_iter().map(|(_, print)| Clue::Print(print)).collect(), self.left)
    }

    /// Whether something was seen of each layer, and no two of them are one.
    fn is_explained(&mut self) -> bool {
        let layers = std::mem::take(&mut self.layers);
        let mut proved = BTreeSet::new();
        layers.iter().all(|ways| {
            let part = ways.iter().find(|way| self.is_part(way));
            part.and_then(|way| prints::at(way, b"")).is_some_and(|print| proved.insert(print))
        })
    }

    fn is_part(&mut self, way: &[u8]) -> bool {
        self.left = self.left.saturating_sub(2);
        // Of the topmost layer the directory itself is seen.
        if prints::at(way, b"").is_some_and(|print| prints::at(&self.top, b"") == Some(print)) {
            return true;
        }
        let of_layer = prints::listed(way, FEW.min(self.left));
        self.left = self.left.saturating_sub(2 * of_layer.len());
        let is_shown = |(below, print): &(Vec<u8>, Print)| prints::proof_at(&self.top, below) == Some(*print);
        of_layer.iter().any(is_shown)
    }

    /// The image of an EROFS is a file of its size.
    fn image(&self) -> Vec<Clue> {
        let Ok(Made::Erofs(size)) = prints::reached(&self.top).and_then(|top| prints::made(&top)) else {
            return Vec::new();
        };
        let is_it = |way: &Vec<u8>| prints::blocks(way) == Some(size);
        if self.layers.iter().flatten().any(is_it) { Vec::new() } else { vec![Clue::Blocks(size)] }
    }
}

/// What somebody uses of a file system that is in no table: one that was unmounted while he was in it, or never mounted. Of a directory
/// it is the first files of the whole file system, at most `most`. None when it does not show files of others.
pub(super) fn detached(seen: &Use, device: Device, most: usize) -> Option<Vec<Clue>> {
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
            Made::Overlay => Some(prints::all_of(file, most)?.into_iter().map(Clue::Print).collect()),
            Made::Erofs(size) => Some(vec![Clue::Blocks(size)]),
            Made::Other => None,
        })
    };
    match ask(device, look)? {
        Ok(clues) => clues,
        // It was closed, or its process has ended.
        Err(_) => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_did_not_answer_is_left_alone_for_a_while_and_no_other_one_is() {
        let device = |minor| Device { major: 0, minor };
        let mut silent = Silent(BTreeMap::from([
            (device(1), Deadline::after(PAUSE)),
            (device(2), Deadline::after(Duration::ZERO)),
        ]));
        assert!(silent.has(device(1)));
        assert!(!silent.has(device(2)) && !silent.has(device(3)));
        assert_eq!(silent.0.len(), 1, "what is over is not counted");
    }
}
