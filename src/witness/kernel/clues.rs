//! What is known of a file in use whose place is not: an inode, or how its path ends. A walk through the target finds out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::places::Place;
use super::ways::names;
use crate::host::image::Image;
use crate::host::proc::prints::Print;
use crate::host::search::{Hit, Wanted};

/// One file that may lie in a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clue {
    /// Its inode, on a file system of the targets.
    Inode(u64),
    /// As it is seen through something else.
    Print(Print),
    /// The same of one file alone: it may have been copied up, and have the inode of another one there.
    Copy(Print),
    /// How its path ends: all that is left of it when the mount through which it was opened is gone.
    Plain(Vec<u8>),
    /// A regular file of this many blocks of 512 bytes, of which not even the name is known.
    Blocks(u64),
    /// An image that is mounted.
    Image(Image),
    /// The content of a file elsewhere: how its path ends, and its size.
    Content(Vec<u8>, u64),
    /// The name that a socket was given.
    Socket(Vec<u8>),
}

/// Clues, to be compared with what a walk comes by.
#[derive(Debug)]
pub(super) struct Clues<'c> {
    inodes: HashMap<u64, usize>,
    prints: HashMap<u64, Vec<(Print, usize)>>,
    /// By [`Print::key`].
    copies: HashMap<i128, Vec<(Print, usize)>>,
    /// By the last name of a path.
    named: BTreeMap<Vec<u8>, Vec<(usize, &'c Clue)>>,
    blocks: HashMap<u64, usize>,
    images: Vec<(Image, usize)>,
    wanted: Wanted,
}

impl<'c> Clues<'c> {
    #[expect(clippy::disallowed_methods, reason = "a path without a name is known by its size alone")]
    pub(super) fn new(clues: &'c [Clue]) -> Self {
        let (named, wanted) = (BTreeMap::new(), Wanted::default());
        let (inodes, prints, copies) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut this =
            Self { inodes, prints, copies, named, blocks: HashMap::new(), images: Vec::new(), wanted };
        for (number, clue) in clues.iter().enumerate() {
            match clue {
                Clue::Inode(inode) => {
                    this.inodes.insert(*inode, number);
                }
                Clue::Print(print) | Clue::Copy(print) => {
                    this.prints.entry(print.inode).or_default().push((*print, number));
                    if print.is_directory || matches!(clue, Clue::Copy(_)) {
                        this.copies.entry(print.key()).or_default().push((*print, number));
                    }
                }
                Clue::Blocks(blocks) => {
                    this.blocks.insert(*blocks, number);
                }
                Clue::Image(image) => this.images.push((*image, number)),
                Clue::Plain(path) | Clue::Socket(path) | Clue::Content(path, _) => {
                    let last = names(path).next_back().unwrap_or_default();
                    this.named.entry(last).or_default().push((number, clue));
                }
            }
        }
        this.wanted = Wanted {
            inodes: this.inodes.keys().chain(this.prints.keys()).copied().collect(),
            names: this.named.keys().cloned().collect::<HashSet<_>>(),
            sizes: this.blocks.keys().copied().collect(),
            images: this.images.iter().map(|(image, _)| *image).collect(),
            ..this.keys()
        };
        this
    }

    fn keys(&self) -> Wanted {
        let copies = self.copies.values().flatten().map(|(print, _)| print);
        let (directories, files): (Vec<&Print>, Vec<&Print>) = copies.partition(|print| print.is_directory);
        let keys = |prints: Vec<&Print>| prints.into_iter().map(Print::key).collect();
        Wanted { directories: keys(directories), files: keys(files), ..Wanted::default() }
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
        if let Some(clue) = self.inodes.get(&hit.print.inode) {
            return Some(*clue);
        }
        let same = self.prints.get(&hit.print.inode).into_iter();
        let copied = self.copies.get(&hit.print.key()).into_iter();
        let mut seen = same.chain(copied).flatten();
        if let Some((_, clue)) = seen.find(|(print, _)| print.is_of(&hit.print)) {
            return Some(*clue);
        }
        if let Some(image) = hit.image {
            return self.images.iter().find(|(known, _)| *known == image).map(|(_, clue)| *clue);
        }
        let last = names(&hit.path).next_back().unwrap_or_default();
        let whole = [top.path.as_slice(), b"/", hit.path.as_slice()].concat();
        let named = self.named.get(&last).into_iter().flatten();
        let fits = |clue: &Clue| match clue {
            Clue::Plain(path) => hit.is_plain && ends_with(&whole, path),
            Clue::Content(path, size) => hit.is_plain && hit.print.size == *size && ends_with(&whole, path),
            Clue::Socket(_) => hit.is_socket,
            Clue::Inode(_) | Clue::Print(_) | Clue::Copy(_) | Clue::Blocks(_) | Clue::Image(_) => false,
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
    use proptest::prelude::*;

    use super::*;
    use crate::host::proc::mountinfo::Device;

    fn print(inode: u64) -> Print {
        Print { inode, changed_at: 77, modified_at: 70, born_at: Some(7), size: 0, is_directory: false }
    }

    #[test]
    fn what_was_copied_up_is_found_in_both_layers() {
        let lower = Print { size: 5, ..print(9) };
        let upper = Print { inode: 20, changed_at: 99, born_at: Some(98), ..lower };
        let seen = Print { inode: 9, ..upper };
        assert!(seen.is_of(&lower) && seen.is_of(&upper));
        // It was written to since.
        assert!(seen.is_of(&Print { changed_at: 100, modified_at: 100, size: 6, ..upper }));
        let other = Print { inode: 30, ..lower };
        assert!(!seen.is_of(&other) && !seen.is_of(&Print { size: 6, ..lower }));
        assert!(
            !seen.is_of(&Print { changed_at: 97, ..upper }),
            "it was not changed any more since it was seen"
        );
        // Without times of birth.
        let (upper, seen) = (Print { born_at: None, ..upper }, Print { born_at: None, ..seen });
        assert!(seen.is_of(&upper) && !seen.is_of(&Print { size: 6, ..upper }));
        // Directories are made together, and have sizes in common.
        let directory = Print { is_directory: true, ..seen };
        assert!(!directory.is_of(&Print { is_directory: true, ..lower }));
    }

    #[test]
    fn two_clues_with_one_inode_are_both_looked_for() {
        let clues =
            [Clue::Print(print(9)), Clue::Print(Print { changed_at: 5, born_at: Some(5), ..print(9) })];
        let top = Place { device: Device { major: 8, minor: 1 }, path: b"/v".to_vec() };
        for (number, clue) in clues.iter().enumerate() {
            let Clue::Print(print) = *clue else { panic!() };
            let hit =
                Hit { print, path: b"x".to_vec(), blocks: 0, is_plain: true, is_socket: false, image: None };
            assert_eq!(Clues::new(&clues).fit(&top, &hit), Some(number));
        }
    }

    #[test]
    fn a_clue_fits_what_has_its_inode_or_the_end_of_its_path() {
        let clues = [
            Clue::Inode(7),
            Clue::Plain(b"/images/disk".to_vec()),
            Clue::Socket(b"run/x.sock".to_vec()),
            Clue::Blocks(8),
            Clue::Plain(b"/v/_data/whole".to_vec()),
            Clue::Print(print(9)),
        ];
        let clues = Clues::new(&clues);
        let top = Place { device: Device { major: 8, minor: 1 }, path: b"/r/volumes/v".to_vec() };
        let regular = |inode, path: &str, blocks| Hit {
            print: print(inode),
            path: path.into(),
            blocks,
            is_plain: true,
            is_socket: false,
            image: None,
        };
        let fit = |hit: Hit| clues.fit(&top, &hit);
        assert_eq!(fit(regular(7, "_data/x", 0)), Some(0));
        assert_eq!(fit(regular(1, "_data/images/disk", 0)), Some(1));
        assert_eq!(fit(regular(1, "_data/other/disk", 0)), None);
        assert_eq!(fit(regular(1, "_data/whole", 0)), Some(4));
        assert_eq!(fit(regular(1, "_data/y", 8)), Some(3));
        assert_eq!(fit(regular(9, "_data/z", 0)), Some(5));
        let other = Print { changed_at: 78, born_at: Some(6), ..print(9) };
        assert_eq!(fit(Hit { print: other, ..regular(9, "_data/z", 0) }), None);
        let socket = |path: &str| Hit { is_plain: false, is_socket: true, ..regular(1, path, 8) };
        assert_eq!(fit(socket("_data/deep/x.sock")), Some(2));
        assert_eq!(fit(socket("_data/images/disk")), None);
    }

    fn any_print() -> impl Strategy<Value = Print> {
        (0..3_u64, 0..3_i128, 0..2_i128, proptest::option::of(0..2_i128), 0..2_u64, any::<bool>()).prop_map(
            |(inode, changed_at, modified_at, born_at, size, is_directory)| Print {
                inode,
                changed_at,
                modified_at,
                born_at,
                size,
                is_directory,
            },
        )
    }

    fn any_clue() -> impl Strategy<Value = Clue> {
        let path = || prop_oneof![Just(b"/a/x".to_vec()), Just(b"x".to_vec()), Just(b"/".to_vec())];
        prop_oneof![
            (0..3_u64).prop_map(Clue::Inode),
            any_print().prop_map(Clue::Print),
            any_print().prop_map(Clue::Copy),
            path().prop_map(Clue::Plain),
            (path(), 0..2_u64).prop_map(|(path, size)| Clue::Content(path, size)),
            (0..3_u64).prop_map(Clue::Blocks),
            path().prop_map(Clue::Socket),
        ]
    }

    proptest! {
        /// And what a walk passes on is all that one clue alone would have made it pass on.
        #[test]
        fn a_clue_that_is_added_frees_no_file(
            clues in proptest::collection::vec(any_clue(), 1..6),
            print in any_print(),
            (is_plain, is_socket) in any::<(bool, bool)>(),
            blocks in 0..3_u64,
        ) {
            let top = Place { device: Device { major: 8, minor: 1 }, path: b"/v".to_vec() };
            let hit = Hit { print, path: b"a/x".to_vec(), blocks, is_plain, is_socket, image: None };
            let all = Clues::new(&clues);
            for clue in &clues {
                let alone = Clues::new(std::slice::from_ref(clue));
                prop_assert!(alone.fit(&top, &hit).is_none() || all.fit(&top, &hit).is_some());
                prop_assert!(all.wanted().inodes.is_superset(&alone.wanted().inodes));
                prop_assert!(all.wanted().files.is_superset(&alone.wanted().files));
                prop_assert!(all.wanted().directories.is_superset(&alone.wanted().directories));
            }
        }
    }
}
