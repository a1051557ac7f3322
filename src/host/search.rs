//! Looks for files in a tree by what is known of them: an inode, a name, a size. Nothing is opened but directories, and
//! files that may be images; no mount is crossed (I6).
#![expect(clippy::disallowed_methods, reason = "a search ends after a while")]

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::image::{self, Image};
use super::proc::prints::Print;
use super::pulse;
use super::walk::crew::{Found, Plan, Visited, Visitor, walk};
use super::walk::{Boundary, Refused, printable};

/// How many threads walk through one tree.
const WORKERS: usize = 4;

/// Names read of one directory before they are looked at.
const BATCH: usize = 4096;

/// Fewer names are compared sooner than handed over.
const LEAST_FILES_SHARED: usize = 2048;

/// A deeper tree is not searched to its end.
const MOST_LEVELS: usize = 16_384;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Inodes, of directories too.
    pub inodes: HashSet<u64>,
    /// Names of files and directories.
    pub names: HashSet<Vec<u8>>,
    /// Sizes of regular files, in blocks of 512 bytes.
    pub sizes: HashSet<u64>,
    /// Images of mounted file systems.
    pub images: Vec<Image>,
    /// By [`Print::key`], directories that may have another inode here.
    pub directories: HashSet<i128>,
    /// The same of other files. It takes a call for each file.
    pub files: HashSet<i128>,
}

/// What may be one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What tells it from all others.
    pub print: Print,
    /// Its path from the top of the tree.
    pub path: Vec<u8>,
    /// Its size in blocks of 512 bytes, rounded up.
    pub blocks: u64,
    /// Whether it is a regular file or a directory.
    pub is_plain: bool,
    /// Whether it is a socket.
    pub is_socket: bool,
    /// Which of [`Wanted::images`] this file is, by its superblock.
    pub image: Option<Image>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The hits.
    pub hits: Vec<Hit>,
    /// Why not all of the tree was searched, when it was not.
    pub left_out: Option<String>,
}

/// Searches the tree at `dir`, for no longer than `patience`.
pub fn search(dir: BorrowedFd<'_>, wanted: &Wanted, patience: Duration) -> Searched {
    let end = Instant::now() + patience;
    let stop = || {
        // A search that goes on is no hang.
        pulse::beat();
        Instant::now() > end
    };
    let (boundary, top) = match Boundary::around(dir) {
        Ok(opened) => opened,
        Err(errno) => {
            return Searched { hits: Vec::new(), left_out: Some(format!("it cannot be read: {errno}")) };
        }
    };
    let plan = Plan {
        workers: NonZeroUsize::MIN.saturating_add(WORKERS - 1),
        batch: BATCH,
        least_files: LEAST_FILES_SHARED,
        max_depth: MOST_LEVELS,
    };
    let new = || Searcher { boundary: &boundary, wanted, hits: Vec::new(), left_out: None };
    let mut first = new();
    first.directory(&top.facts);
    let (searchers, stopped) = walk(&boundary, top, &plan, &stop, &new);
    let mut left_out = stopped.then(|| format!("that takes more than {} s", patience.as_secs()));
    let mut hits = first.hits;
    for searcher in searchers {
        hits.extend(searcher.hits);
        left_out = left_out.or(searcher.left_out);
    }
    Searched { hits, left_out }
}

struct Searcher<'a> {
    boundary: &'a Boundary,
    wanted: &'a Wanted,
    hits: Vec<Hit>,
    left_out: Option<String>,
}

impl Searcher<'_> {
    fn directory(&mut self, facts: &Statx) {
        let seen = hit(facts, b"a directory".to_vec());
        if self.wanted.inodes.contains(&seen.print.inode)
            || self.wanted.directories.contains(&seen.print.key())
        {
            self.hits.push(seen);
        }
    }

    /// Which of the images a file is, by what is in it.
    fn image(&mut self, found: &Found<'_>, seen: &Hit) -> Option<Image> {
        let is_regular = seen.is_plain && !seen.print.is_directory;
        if self.wanted.images.is_empty() || !is_regular || seen.print.size < image::LEAST {
            return None;
        }
        match image::open(found.dir, found.name).and_then(|file| Image::of(&file)) {
            Ok(image) => {
                let image = image?;
                self.wanted.images.iter().find(|wanted| wanted.may_be_from(&image)).copied()
            }
            Err(Errno::NOENT) => None,
            Err(error) => {
                self.fail(&seen.path, &error.to_string());
                None
            }
        }
    }

    fn fail(&mut self, path: &[u8], what: &str) {
        self.left_out.get_or_insert_with(|| format!("`{}`: {what}", printable(path)));
    }
}

fn hit(facts: &Statx, path: Vec<u8>) -> Hit {
    let kind = FileType::from_raw_mode(facts.stx_mode.into());
    Hit {
        print: Print::of(facts),
        path,
        blocks: facts.stx_size.div_ceil(512),
        is_plain: matches!(kind, FileType::RegularFile | FileType::Directory),
        is_socket: kind == FileType::Socket,
        image: None,
    }
}

impl Visitor for Searcher<'_> {
    fn entered(&mut self, _: &Found<'_>, facts: &Statx) {
        self.directory(facts);
    }

    fn file(&mut self, found: &Found<'_>) -> Visited {
        // Most names are done with here: no further call a file.
        let is_wanted = self.wanted.inodes.contains(&found.inode)
            || self.wanted.names.contains(found.name.to_bytes())
            || !self.wanted.sizes.is_empty()
            || !self.wanted.files.is_empty()
            || !self.wanted.images.is_empty()
            || found.inode == 0;
        if !is_wanted {
            return Visited::Done;
        }
        match self.boundary.look(found.dir, found.name) {
            Ok(facts) if FileType::from_raw_mode(facts.stx_mode.into()) == FileType::Directory => {
                Visited::Directory
            }
            Ok(facts) => {
                let mut seen = hit(&facts, found.path());
                seen.image = self.image(found, &seen);
                let is_hit = seen.image.is_some()
                    || self.wanted.inodes.contains(&seen.print.inode)
                    || self.wanted.files.contains(&seen.print.key())
                    || self.wanted.names.contains(found.name.to_bytes())
                    || (seen.is_plain && self.wanted.sizes.contains(&seen.blocks));
                if is_hit {
                    self.hits.push(seen);
                }
                Visited::Done
            }
            Err(Refused::Gone) => Visited::Done,
            Err(refused) => {
                self.failed(&found.path(), refused);
                Visited::Done
            }
        }
    }

    fn left(&mut self, found: &Found<'_>, _: u64) {
        if self.wanted.names.contains(found.name.to_bytes())
            && let Ok(facts) = self.boundary.look(found.dir, found.name)
        {
            self.hits.push(hit(&facts, found.path()));
        }
    }

    fn too_deep(&mut self, found: &Found<'_>) {
        self.fail(&found.path(), "it lies too deep");
    }

    fn failed(&mut self, path: &[u8], refused: Refused) {
        match refused {
            // A mount in it keeps the volume in any case; what was moved away is no more in it. In a subvolume of btrfs other files
            // have the same inodes, as in a snapshot: what is used in there, its times tell.
            Refused::Gone | Refused::NotADirectory | Refused::Boundary => {}
            Refused::Failed(errno) => self.fail(path, &errno.to_string()),
        }
    }
}
