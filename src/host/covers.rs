//! What is mounted on the directories in a directory, from the mount table alone. What is a mount point is told and never touched: a
//! look through it would be one at another file system, whose server may be dead.
//!
//! Mounts of this mount namespace, as none of another is in the way of a look from here. Whether something is mounted there in another
//! one is the kernel witness's to say.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use super::proc::mountinfo::MountLine;
use super::proc::{self, ProcError};

/// What is mounted on one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cover {
    /// Whether the directory itself is a mount point.
    pub is_whole: bool,
    /// The names directly in it that are mount points.
    pub inside: Vec<Vec<u8>>,
}

impl Cover {
    /// Whether a name in it is a mount point.
    pub fn has(&self, name: &[u8]) -> bool {
        self.inside.iter().any(|inside| inside == name)
    }
}

/// The mount points among the directories in a directory, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Covers(BTreeMap<Vec<u8>, Cover>);

impl Covers {
    /// Reads the mount table.
    ///
    /// # Errors
    ///
    /// When it cannot be read: then nothing below may be touched.
    pub fn in_directory(directory: BorrowedFd<'_>) -> Result<Self, ProcError> {
        let (_, path) = proc::mount_and_path(directory)?;
        Ok(Self::of(&proc::own_mounts()?, &path))
    }

    /// What covers the directory of this name; none when nothing does.
    pub fn on(&self, name: &[u8]) -> Option<&Cover> {
        self.0.get(name)
    }

    /// By text: a mount below another one has the same text, and makes no difference here.
    fn of(mounts: &[MountLine], directory: &[u8]) -> Self {
        let mut covers: BTreeMap<Vec<u8>, Cover> = BTreeMap::new();
        for mount in mounts {
            let Some(below) = mount.point.strip_prefix(directory).and_then(|rest| rest.strip_prefix(b"/"))
            else {
                continue;
            };
            let mut steps = below.split(|byte| *byte == b'/');
            let (Some(name), inside, deeper) = (steps.next(), steps.next(), steps.next()) else { continue };
            let cover = covers.entry(name.to_vec()).or_default();
            match (inside, deeper) {
                (None, _) => cover.is_whole = true,
                (Some(inside), None) => cover.inside.push(inside.to_vec()),
                // What is deeper is in the way of no look at a directory.
                (Some(_), Some(_)) => {}
            }
        }
        covers.retain(|_, cover| *cover != Cover::default());
        Self(covers)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail loudly")]

    use super::super::proc::mountinfo::parse_mountinfo;
    use super::*;

    #[test]
    fn mount_points_are_told_by_the_directory_they_are_on() {
        let points = [
            "/",
            "/d/volumes",
            "/d/volumes-2/x",
            "/d/volumes/whole",
            "/d/volumes/nfs/_data",
            "/d/volumes/file/opts.json",
            "/d/volumes/deep/_data/below",
            "/d/volumes/with\\040blank/_data",
            "/e/d/volumes/other",
        ];
        let lines: Vec<String> =
            points.iter().map(|point| format!("2 1 0:9 / {point} rw - fuse x rw\n")).collect();
        let mounts = parse_mountinfo(lines.concat().as_bytes()).unwrap();
        let covers = Covers::of(&mounts, b"/d/volumes");
        let names: Vec<String> =
            covers.0.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, ["file", "nfs", "whole", "with blank"]);
        assert!(covers.on(b"whole").unwrap().is_whole);
        let nfs = covers.on(b"nfs").unwrap();
        assert!(!nfs.is_whole && nfs.has(b"_data") && !nfs.has(b"opts.json"));
        assert_eq!(covers.on(b"deep"), None);
    }
}
