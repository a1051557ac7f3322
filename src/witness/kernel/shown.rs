//! What a file system that is made of others shows. Where the text of its mount does not lead to it any more, that is all that tells whose
//! files they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::backing::{Backed, Proof};
use super::clues::Clue;
use super::places::{below, join};
use super::silent::ask;
use crate::host::image;
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::owner;
use crate::host::proc::prints::{self, Extent, LeftOut, Listed, Made, Print};
use rustix::fs::CWD;

/// How many files of one file system are looked for, before all others were looked at.
pub(super) const MOST: usize = 2048;

/// How many after that, as long as there is room.
pub(super) const MANY: usize = 16_384;

/// How many files of a layer are compared with what is seen in the overlay before it counts as not part of it. One is enough that
/// nothing above it hides.
const FEW: usize = 16;

/// How many files are looked at in all overlays together, in one look. Anybody may mount thousands, of hundreds of layers each.
pub(super) const MOST_OF_ALL: usize = 100_000;

/// A mount whose text proves nothing, where it is seen, and what is seen in it.
pub(super) struct Seen<'m> {
    pub(super) namespace: &'m Namespace,
    pub(super) mount: &'m MountLine,
    /// Every namespace in which it is.
    pub(super) namespaces: Vec<&'m Namespace>,
    pub(super) clues: Vec<Clue>,
    /// Why it may show other files too.
    pub(super) doubt: Option<Doubt>,
}

/// Why a file system may show files that were not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It shows more than were looked at, from this directory on.
    More(Vec<u8>),
    /// This cannot be seen of it.
    Unseen(String),
}

impl Doubt {
    pub(super) fn silent() -> Self {
        Self::Unseen("it does not answer, perhaps because a FUSE server hangs".to_owned())
    }

    pub(super) fn why(&self) -> String {
        match self {
            Self::More(_) => "it shows more files than volgc looks at".to_owned(),
            Self::Unseen(why) => why.clone(),
        }
    }

    pub(super) fn of(left_out: LeftOut, top: &[u8]) -> Self {
        match left_out {
            LeftOut::More => Self::More(top.to_vec()),
            LeftOut::Failed(error) => Self::Unseen(format!("some of it cannot be read: {error}")),
        }
    }
}

/// What is seen in the mounts of which the text is not the whole truth.
///
/// Those that an unprivileged user made up come last, and those of the first namespace first: how much is looked at has an end (I14).
pub(super) fn beyond_text<'m, K>(all: Vec<Backed<'_, 'm, K>>, targets: &Arc<[Print]>) -> Vec<Seen<'m>> {
    let mut all: Vec<_> = all.into_iter().filter(|backed| backed.proof == Proof::Content).collect();
    all.sort_by_cached_key(|backed| {
        let is_made_up = |namespace: &Namespace| matches!(owner::unprivileged(&namespace.tasks), Ok(Some(_)));
        let everywhere_made_up = backed.seen.iter().all(|(namespace, _)| is_made_up(namespace));
        (everywhere_made_up, backed.seen.iter().map(|(namespace, _)| namespace.id).min())
    });
    let mut left = MOST_OF_ALL;
    let mut seen: Vec<(&Backed<'_, 'm, K>, Seen<'m>)> = Vec::new();
    for backed in &all {
        seen.extend(look(backed, MOST, targets, &mut left).map(|first| (backed, first)));
    }
    // What is left is for those that show more.
    for (backed, first) in &mut seen {
        if left > MOST
            && matches!(first.doubt, Some(Doubt::More(_)))
            && let Some(again) = look(backed, MANY, targets, &mut left)
        {
            *first = again;
        }
    }
    seen.into_iter().map(|(_, seen)| seen).collect()
}

fn look<'m, K>(
    backed: &Backed<'_, 'm, K>,
    most: usize,
    targets: &Arc<[Print]>,
    left: &mut usize,
) -> Option<Seen<'m>> {
    let &(namespace, mount) = backed.seen.first()?;
    let tops = tops(&backed.seen);
    let seen_in = |namespace: &Namespace, path: &[u8]| Some(prints::seen_by(namespace.window?, path));
    let layers = |ways: &Vec<(&Namespace, Vec<u8>)>| -> Vec<Vec<u8>> {
        ways.iter().filter_map(|(namespace, path)| seen_in(namespace, path)).collect()
    };
    let shown = Shown {
        tops: tops.iter().map(|(_, mount, path)| (path.clone(), (*mount).clone())).collect(),
        layers: backed.layers.iter().map(layers).collect(),
        data: backed.data.iter().map(layers).collect(),
        targets: Arc::clone(targets),
        most,
        left: *left,
    };
    let is_anywhere = !tops.is_empty();
    let (found, still_left) = match ask(mount.device, move || shown.beyond_text()) {
        Some((found, still_left)) => (found, still_left),
        None => (Beyond { doubt: Some(Doubt::silent()), ..Beyond::default() }, *left),
    };
    *left = still_left;
    let (namespace, mount) =
        found.first.and_then(|first| tops.get(first)).map_or((namespace, mount), |top| (top.0, top.1));
    let doubt = if is_anywhere { found.doubt } else { Some(nowhere()) };
    let namespaces = backed.seen.iter().map(|(namespace, _)| *namespace).collect();
    let doubt = doubt.filter(|_| backed.is_open && backed.is_still_there());
    Some(Seen { namespace, mount, namespaces, clues: found.clues, doubt })
}

fn nowhere() -> Doubt {
    Doubt::Unseen("nobody is in there whose root directory is that of the namespace".to_owned())
}

type Top<'m> = (&'m Namespace, &'m MountLine, Vec<u8>);

/// Where a file system may be seen, with the path from here: what shows the most of it first.
fn tops<'m>(seen: &[(&'m Namespace, &'m MountLine)]) -> Vec<Top<'m>> {
    let mut tops: Vec<Top<'m>> = seen
        .iter()
        .filter_map(|(namespace, mount)| {
            Some((*namespace, *mount, prints::seen_by(namespace.window?, &mount.point)))
        })
        .collect();
    tops.sort_by_key(|(_, mount, _)| mount.root.len());
    tops
}

/// A file system by the paths of its mounts and of its parts, as they are seen from here.
struct Shown {
    tops: Vec<(Vec<u8>, MountLine)>,
    layers: Vec<Vec<Vec<u8>>>,
    data: Vec<Vec<Vec<u8>>>,
    /// The directories that are looked for. What is seen below them lies in a layer above them, which is no reference to any one.
    targets: Arc<[Print]>,
    /// How many files are listed.
    most: usize,
    /// How many files may be looked at yet.
    left: usize,
}

/// What is not proved to be explained by the layers.
#[derive(Default)]
struct Beyond {
    clues: Vec<Clue>,
    doubt: Option<Doubt>,
    /// Which of the mounts shows it.
    first: Option<usize>,
}

impl Shown {
    /// And how many files may be looked at after that.
    fn beyond_text(mut self) -> (Beyond, usize) {
        let shown = self.visible();
        let Some((first, top, _)) = shown.first() else {
            let why = match self.left {
                0 => "there are more of its kind than volgc looks at; unmount what is not needed",
                _ => "something else is mounted over it; unmount one of them",
            };
            let doubt = Some(Doubt::Unseen(why.to_owned()));
            return (Beyond { doubt, ..Beyond::default() }, self.left);
        };
        let mut beyond = Beyond { first: Some(*first), ..Beyond::default() };
        match prints::reached(top).and_then(|top| prints::made(&top)) {
            Ok(Made::Erofs(image)) => beyond.clues.extend(self.image(&image)),
            _ if self.is_explained(&shown) => {}
            _ => self.list(&shown, &mut beyond),
        }
        (beyond, self.left)
    }

    /// Those mounts that nothing is mounted over, without those that show a part of what another one shows.
    fn visible(&mut self) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let mut visible: Vec<(usize, Vec<u8>, Vec<u8>)> = Vec::new();
        for (number, (path, mount)) in self.tops.iter().enumerate() {
            if self.left == 0 {
                break;
            }
            if visible.iter().any(|(_, _, root)| below(&mount.root, root).is_some()) {
                continue;
            }
            self.left -= 1;
            if prints::is_on(path, mount) {
                visible.push((number, path.clone(), mount.root.clone()));
            }
        }
        visible
    }

    fn list(&mut self, shown: &[(usize, Vec<u8>, Vec<u8>)], beyond: &mut Beyond) {
        for (_, top, root) in shown {
            let Listed { found, left_out } =
                prints::listed(top, Extent { most: self.most.min(self.left), without: &self.targets });
            self.left -= found.len().min(self.left);
            // A part of it may be one file, or a directory, that was copied up.
            let is_part = root != b"/";
            let clue = |(path, print): (Vec<u8>, Print)| {
                if is_part && path.is_empty() { Clue::Copy(print) } else { Clue::Print(print) }
            };
            beyond.clues.extend(found.into_iter().map(clue));
            let doubt = left_out.map(|left_out| Doubt::of(left_out, top));
            beyond.doubt = beyond.doubt.take().or(doubt);
        }
        if !self.data.is_empty() {
            self.contents(beyond);
        }
    }

    /// The files of other layers tell where in a layer of data alone their content is.
    fn contents(&mut self, beyond: &mut Beyond) {
        let most = self.most.min(self.left);
        let ways = self.layers.iter().filter_map(|ways| ways.first());
        let found: Vec<Clue> = ways
            .flat_map(|way| prints::contents_elsewhere(way, most))
            .map(|(path, size)| Clue::Content(path, size))
            .collect();
        self.left -= found.len().min(self.left);
        // Where it leads somewhere and nothing refers to it, its text is all there is.
        if found.is_empty() && self.data.iter().any(Vec::is_empty) {
            beyond.doubt.get_or_insert_with(|| {
                Doubt::Unseen("nothing tells which files of its layer of data alone it shows".to_owned())
            });
        }
        beyond.clues.extend(found);
    }

    /// Whether something was seen of each layer, and no two of them are one.
    fn is_explained(&mut self, shown: &[(usize, Vec<u8>, Vec<u8>)]) -> bool {
        if !self.data.is_empty() {
            return false;
        }
        let layers = std::mem::take(&mut self.layers);
        let mut proved = BTreeSet::new();
        let is_explained = layers.iter().all(|ways| {
            let part =
                ways.iter().find(|way| shown.iter().any(|(_, top, root)| self.is_part(way, top, root)));
            part.and_then(|way| prints::at(way, b"")).is_some_and(|print| proved.insert(print))
        });
        self.layers = layers;
        is_explained
    }

    fn is_part(&mut self, way: &[u8], top: &[u8], root: &[u8]) -> bool {
        let way =
            if root == b"/" { way.to_vec() } else { join(way, root.strip_prefix(b"/").unwrap_or(root)) };
        self.left = self.left.saturating_sub(2);
        // Of the topmost layer the directory itself is seen.
        if prints::at(&way, b"").is_some_and(|print| prints::at(top, b"") == Some(print)) {
            return true;
        }
        let of_layer = prints::listed(&way, Extent::of(FEW.min(self.left))).found;
        self.left = self.left.saturating_sub(2 * of_layer.len());
        let is_shown = |(below, print): &(Vec<u8>, Print)| prints::proof_at(top, below) == Some(*print);
        of_layer.iter().any(is_shown)
    }

    /// An EROFS is of a file with its superblock.
    fn image(&self, mounted: &image::Image) -> Option<Clue> {
        let is_it = |way: &Vec<u8>| {
            let file = image::open(CWD, way.as_slice()).and_then(|file| image::Image::of(&file));
            matches!(file, Ok(Some(file)) if mounted.may_be_from(&file))
        };
        (!self.layers.iter().flatten().any(is_it)).then_some(Clue::Image(*mounted))
    }
}
