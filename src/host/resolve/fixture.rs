//! A file system in memory, for tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Place, Server, Stand, Step, Terrain};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Link(PathBuf),
    /// It cannot be looked at.
    Refused(Errno),
}

/// Everything there is, by its path without links. A directory is made for each parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fake {
    files: BTreeMap<PathBuf, (Kind, Place)>,
    servers: BTreeMap<PathBuf, Server>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let mut fake = Self::default();
        fake.add("/", Kind::Directory);
        fake
    }

    /// Adds something, unless there is something. Returns its place.
    pub(crate) fn add(&mut self, path: impl AsRef<Path>, kind: Kind) -> Place {
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            self.add(parent, Kind::Directory);
        }
        let inode = 1 + self.files.len() as u64;
        self.files.entry(path.to_owned()).or_insert((kind, (1, inode))).1
    }

    pub(crate) fn directory(&mut self, path: impl AsRef<Path>) -> Place {
        self.add(path, Kind::Directory)
    }

    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.add(path, Kind::Link(target.into()));
    }

    pub(crate) fn serve(&mut self, path: impl Into<PathBuf>, server: Server) {
        self.servers.insert(path.into(), server);
    }

    /// The same with something else at a path.
    pub(crate) fn with(&self, path: &Path, kind: Kind) -> Self {
        let mut other = self.clone();
        if let Some(file) = other.files.get_mut(path) {
            file.0 = kind;
        }
        other
    }

    pub(crate) fn place(&self, path: impl AsRef<Path>) -> Option<Place> {
        self.files.get(path.as_ref()).map(|(_, place)| *place)
    }
}

impl Terrain for Fake {
    type Node = PathBuf;

    fn root(&self) -> rustix::io::Result<Stand<PathBuf>> {
        Ok(Stand { node: PathBuf::from("/"), place: self.place("/") })
    }

    fn step(&self, from: &PathBuf, name: &OsStr, path: Option<&Path>) -> rustix::io::Result<Step<PathBuf>> {
        let node = from.join(name);
        assert!(
            path.is_none_or(|path| path == node),
            "{} is not {}",
            node.display(),
            path.unwrap().display()
        );
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        if matches!(self.files.get(from), Some((Kind::File, _))) {
            return Err(Errno::NOTDIR);
        }
        match self.files.get(&node) {
            Some((Kind::Link(target), _)) => Ok(Step::Link(target.clone())),
            Some((Kind::Refused(error), _)) => Err(*error),
            Some((Kind::Directory | Kind::File, place)) => {
                Ok(Step::Stand(Stand { node, place: Some(*place) }))
            }
            None => Err(Errno::NOENT),
        }
    }

    fn server(&self, from: &PathBuf, path: Option<&Path>) -> Option<Server> {
        let path = path.unwrap_or(from);
        path.ancestors().find_map(|above| self.servers.get(above)).copied()
    }

    fn parent(&self, of: &PathBuf) -> rustix::io::Result<PathBuf> {
        if matches!(self.files.get(of), Some((Kind::File, _))) {
            return Err(Errno::NOTDIR);
        }
        Ok(of.parent().unwrap_or(of).to_owned())
    }
}
