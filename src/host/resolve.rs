//! Follows a path step by step, as the kernel would. Pure: the file system is a [`Terrain`].
//!
//! The kernel resolves a path to one file and forgets the way. A volume is also needed when it only holds a link on the way, or
//! when the way leads into it and out again, so this walk reports every stop. Three differences to `path_resolution(7)`, each of
//! which can only find more:
//!
//! - links are followed up to Go's limit of 255 (`filepath.EvalSymlinks`), not the kernel's 40;
//! - a path that is missing ends at the deepest directory that exists, with the rest of its names;
//! - a path that cannot be looked at says where and why, and is not taken for a missing one (I2).

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

/// How many links a path may go through. The kernel stops at 40, Go's `filepath.EvalSymlinks` at 255.
const MOST_LINKS: usize = 255;

/// The longest path that a system call takes, in bytes (`PATH_MAX` without its NUL).
const LONGEST: usize = 4095;

/// A file by device and inode, whatever path leads to it.
pub type Place = (u64, u64);

/// The files that a path is followed among.
pub trait Terrain {
    /// A directory or file that the walk stands on.
    type Node;

    /// The directory that absolute paths begin at.
    fn root(&self) -> rustix::io::Result<Stand<Self::Node>>;

    /// What `name` is in the directory `from`. A link is not followed. `path` is the whole path to it without links; none when
    /// it is not known, after a link that names no path.
    fn step(
        &self,
        from: &Self::Node,
        name: &OsStr,
        path: Option<&Path>,
    ) -> rustix::io::Result<Step<Self::Node>>;

    /// Who answers for the files at a step that failed.
    fn server(&self, from: &Self::Node, path: Option<&Path>) -> Option<Server>;

    /// The parent of a directory.
    fn parent(&self, of: &Self::Node) -> rustix::io::Result<Self::Node>;
}

/// Who answers for the files of a mount, where it is not this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// A process on this machine (FUSE).
    Process,
    /// Another machine.
    Network,
}

/// A directory or file, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand<N> {
    /// The terrain's own handle.
    pub node: N,
    /// By device and inode. None for the root of a mount that must not be looked at: it is certain to be no part of the docker
    /// root's file system.
    pub place: Option<Place>,
}

/// What one name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<N> {
    /// A directory, or a file of another kind.
    Stand(Stand<N>),
    /// A symbolic link, with its text.
    Link(PathBuf),
    /// A link of `/proc` that leads to a directory without naming its path, as `/proc/1/root`: every directory from the root of
    /// that mount namespace down to it.
    Jump(Vec<Passed>, N),
}

/// A directory that the walk has passed through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its name; empty for the root.
    pub name: OsString,
    /// See [`Stand::place`].
    pub place: Option<Place>,
}

/// A place where the walk met a link, turned back, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The directories down to it, from the root, none of them a link. The last one may be a file.
    pub passed: Vec<Passed>,
    /// What the path goes on with from there: the name of a link, or what is missing.
    pub rest: PathBuf,
}

impl Stop {
    /// The path without links.
    pub fn path(&self) -> PathBuf {
        let path = path_of(&self.passed);
        // To join nothing would add a slash.
        if self.rest.as_os_str().is_empty() { path } else { path.join(&self.rest) }
    }
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At something that exists.
    There,
    /// Proven to lead to nothing: a name is missing (ENOENT), a file stands where a directory should be (ENOTDIR), links go round
    /// in circles (ELOOP), or a name or the path is too long (ENAMETOOLONG).
    Nowhere(Errno),
    /// Something on the way cannot be looked at, so the path may lead anywhere from there.
    Unknown {
        /// What cannot be looked at.
        at: PathBuf,
        /// The system's words.
        why: Errno,
        /// Who answers for the files there, where it is not this kernel.
        server: Option<Server>,
    },
}

/// The way that a path goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Every stop, the last of which is the end.
    pub stops: Vec<Stop>,
    /// How it ended.
    pub end: End,
}

/// Follows an absolute path, or a relative one from the root.
pub fn follow<T: Terrain>(terrain: &T, path: &Path) -> Way {
    if path.as_os_str().len() > LONGEST {
        return Way { stops: Vec::new(), end: End::Nowhere(Errno::NAMETOOLONG) };
    }
    let todo = path.components().rev().filter_map(step_name).collect();
    match terrain.root() {
        Ok(root) => Walk::new(terrain, root, todo).run(),
        Err(why) => {
            Way { stops: Vec::new(), end: End::Unknown { at: PathBuf::from("/"), why, server: None } }
        }
    }
}

/// `.` and `..` and doubled slashes taken out by the text alone, as Go's `filepath.Clean` does.
pub fn normalised(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => clean.push(component),
        }
    }
    clean
}

struct Walk<'t, T: Terrain> {
    terrain: &'t T,
    root: Stand<()>,
    node: T::Node,
    passed: Vec<Passed>,
    /// Whether `passed` is a path in this terrain; not after a jump into another one.
    is_path_known: bool,
    todo: Vec<OsString>,
    stops: Vec<Stop>,
    links: usize,
}

impl<'t, T: Terrain> Walk<'t, T> {
    fn new(terrain: &'t T, root: Stand<T::Node>, todo: Vec<OsString>) -> Self {
        let passed = vec![Passed { name: OsString::new(), place: root.place }];
        Self {
            terrain,
            root: Stand { node: (), place: root.place },
            node: root.node,
            passed,
            is_path_known: true,
            todo,
            stops: Vec::new(),
            links: 0,
        }
    }

    fn run(mut self) -> Way {
        loop {
            let Some(name) = self.todo.pop() else {
                self.stop(PathBuf::new());
                return Way { stops: self.stops, end: End::There };
            };
            let gone = if name == ".." { self.turn_back() } else { self.advance(&name) };
            if let Err(error) = gone {
                self.todo.push(name);
                return self.end_with(error);
            }
        }
    }

    fn turn_back(&mut self) -> rustix::io::Result<()> {
        // The way needs the directory that it leaves again.
        self.stop(PathBuf::new());
        // `..` in the root directory is the root directory.
        if self.passed.len() > 1 {
            self.node = self.terrain.parent(&self.node)?;
            self.passed.pop();
        }
        Ok(())
    }

    fn advance(&mut self, name: &OsStr) -> rustix::io::Result<()> {
        let path = self.is_path_known.then(|| path_of(&self.passed).join(name));
        match self.terrain.step(&self.node, name, path.as_deref())? {
            Step::Stand(stand) => {
                self.node = stand.node;
                self.passed.push(Passed { name: name.to_owned(), place: stand.place });
            }
            Step::Link(target) => {
                self.count_link(name)?;
                if target.is_absolute() {
                    let root = self.terrain.root()?;
                    self.node = root.node;
                    self.passed = vec![Passed { name: OsString::new(), place: self.root.place }];
                    self.is_path_known = true;
                }
                self.todo.extend(target.components().rev().filter_map(step_name));
            }
            Step::Jump(passed, node) => {
                self.count_link(name)?;
                self.node = node;
                self.passed = passed;
                self.is_path_known = false;
            }
        }
        Ok(())
    }

    fn count_link(&mut self, name: &OsStr) -> rustix::io::Result<()> {
        self.stop(PathBuf::from(name));
        self.links += 1;
        if self.links > MOST_LINKS { Err(Errno::LOOP) } else { Ok(()) }
    }

    fn stop(&mut self, rest: PathBuf) {
        let stop = Stop { passed: self.passed.clone(), rest };
        if self.stops.last() != Some(&stop) {
            self.stops.push(stop);
        }
    }

    fn end_with(mut self, error: Errno) -> Way {
        let rest: PathBuf = self.todo.iter().rev().collect();
        let end = match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => End::Nowhere(error),
            why => {
                let here = path_of(&self.passed);
                let at = self.todo.last().map_or(here.clone(), |next| here.join(next));
                let server = self.terrain.server(&self.node, self.is_path_known.then_some(&at));
                End::Unknown { at, why, server }
            }
        };
        // Before and after what is missing is left again by `..`: the kernel fails there, Go takes both out by the text.
        let before = rest.components().take_while(|component| *component != Component::ParentDir);
        self.stop(before.collect());
        self.stop(normalised(&rest));
        Way { stops: self.stops, end }
    }
}

fn step_name(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    }
}

fn path_of(passed: &[Passed]) -> PathBuf {
    let names = passed.iter().skip(1).map(|passed| passed.name.as_os_str());
    std::iter::once(OsStr::new("/")).chain(names).collect()
}
