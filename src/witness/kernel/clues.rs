//! What is known of a file in use whose place is not: an inode, or how its path ends. A walk through the target finds out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::places::Place;
use super::ways::names;
use crate::host::proc::prints::Print;
use crate::host::search::{Hit, Wanted};

/// One file that may lie in a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clue {
    /// Its inode, on a file system of the targets.
    Inode(u64),
    /// Its inode and when it was changed, as it is seen through something else.
    Print(Print),
    /// How its path ends: all that is left of it when the mount through which it was opened is gone.
    Plain(Vec<u8>),
    /// A regular file of this many blocks of 512 bytes, of which not even the name is known.
    Blocks(u64),
    /// The name that a socket was given.
    Socket(Vec<u8>),
}

/// Clues, to be compared with what a walk comes by.
#[derive(Debug)]
pub(super) struct Clues<'c> {
    inodes: HashMap<u64, usize>,
    prints: HashMap<u64, (i128, usize)>,
    /// By the last name of a path.
    named: BTreeMap<Vec<u8>, Vec<(usize, &'c Clue)>>,
    blocks: HashMap<u64, usize>,
    wanted: Wanted,
}

impl<'c> Clues<'c> {
    #[expect(clippy::disallowed_methods, reason = "a path without a name is known by its size alone")]
    pub(super) fn new(clues: &'c [Clue]) -> Self {
        let (named, wanted) = (BTreeMap::new(), Wanted::default());
        let (inodes, prints, blocks) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut this = Self { inodes, prints, named, blocks, wanted };
        for (number, clue) in clues.iter().enumerate() {
            match clue {
                Clue::Inode(inode) => {
                    this.inodes.insert(*inode, number);
                }
                Clue::Print(print) => {
                    this.prints.insert(print.inode, (print.changed_at, number));
                }
                Clue::Blocks(blocks) => {
                    this.blocks.insert(*blocks, number);
                }
                Clue::Plain(path) | Clue::Socket(path) => {
                    let last = names(path).next_back().unwrap_or_default();
                    this.named.entry(last).or_default().push((number, clue));
                }
            }
        }
        this.wanted = Wanted {
            inodes: this.inodes.keys().chain(this.prints.keys()).copied().collect(),
            names: this.named.keys().cloned().collect::<HashSet<_>>(),
            sizes: this.blocks.keys().copied().collect(),
        };
        this
    }

    /// What a walk has to look out for.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The clue that a file of the target is, if it is one; `top` is where the walk began.
    #[expect(
        clippy::disallowed_methods,
        reason = "a path without a name is that of the top, which has no name to compare"
    )]
    pub(super) fn fit(&self, top: &Place, hit: &Hit) -> Option<usize> {
        if let Some(clue) = self.inodes.get(&hit.inode) {
            return Some(*clue);
        }
        if let Some((_, clue)) =
            self.prints.get(&hit.inode).filter(|(changed_at, _)| *changed_at == hit.changed_at)
        {
            return Some(*clue);
        }
        let last = names(&hit.path).next_back().unwrap_or_default();
        let whole = [top.path.as_slice(), b"/", hit.path.as_slice()].concat();
        let named = self.named.get(&last).into_iter().flatten();
        let fits = |clue: &Clue| match clue {
            Clue::Plain(path) => hit.is_plain && ends_with(&whole, path),
            Clue::Socket(_) => hit.is_socket,
            Clue::Inode(_) | Clue::Print(_) | Clue::Blocks(_) => false,
        };
        let named = named.filter(|(_, clue)| fits(clue)).map(|(number, _)| *number).next();
        named.or_else(|| self.blocks.get(&hit.blocks).copied().filter(|_| hit.is_plain))
    }
}

/// Whether a path ends with the names of another.
fn ends_with(whole: &[u8], end: &[u8]) -> bool {
    let mut whole = names(whole).rev();
    names(end).rev().all(|name| whole.next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::proc::mountinfo::Device;

    #[test]
    fn a_clue_fits_what_has_its_inode_or_the_end_of_its_path() {
        let clues = [
            Clue::Inode(7),
            Clue::Plain(b"/images/disk".to_vec()),
            Clue::Socket(b"run/x.sock".to_vec()),
            Clue::Blocks(8),
            Clue::Plain(b"/v/_data/whole".to_vec()),
            Clue::Print(Print { inode: 9, changed_at: 77 }),
        ];
        let clues = Clues::new(&clues);
        let top = Place { device: Device { major: 8, minor: 1 }, path: b"/r/volumes/v".to_vec() };
        let regular = |inode, path: &str, blocks| Hit {
            inode,
            changed_at: 77,
            path: path.into(),
            blocks,
            is_plain: true,
            is_socket: false,
        };
        let fit = |hit: Hit| clues.fit(&top, &hit);
        assert_eq!(fit(regular(7, "_data/x", 0)), Some(0));
        assert_eq!(fit(regular(1, "_data/images/disk", 0)), Some(1));
        assert_eq!(fit(regular(1, "_data/other/disk", 0)), None);
        assert_eq!(fit(regular(1, "_data/whole", 0)), Some(4));
        assert_eq!(fit(regular(1, "_data/y", 8)), Some(3));
        assert_eq!(fit(regular(9, "_data/z", 0)), Some(5));
        assert_eq!(fit(Hit { changed_at: 78, ..regular(9, "_data/z", 0) }), None);
        let socket = |path: &str| Hit { is_plain: false, is_socket: true, ..regular(1, path, 8) };
        assert_eq!(fit(socket("_data/deep/x.sock")), Some(2));
        assert_eq!(fit(socket("_data/images/disk")), None);
    }
}
