//! Where a path leads that somebody wrote, followed as the one resolver does ([`follow`]) among the mounts of any namespace. Mounts are
//! read from the table and never touched, so that a dead server of NFS or FUSE cannot hang a look.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::places::{Place, below};
use crate::host::proc::links::{self, Node};
use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::Namespace;
use crate::host::resolve::{End, Server, Stand, Step, Terrain, follow};

/// File systems that answer from this machine's memory or disks. Another one is a server's, which may be gone.
const LOCAL: [&[u8]; 20] = [
    b"ext2",
    b"ext3",
    b"ext4",
    b"xfs",
    b"btrfs",
    b"bcachefs",
    b"zfs",
    b"f2fs",
    b"jfs",
    b"reiserfs",
    b"tmpfs",
    b"ramfs",
    b"devtmpfs",
    b"rootfs",
    b"overlay",
    b"squashfs",
    b"erofs",
    b"vfat",
    b"iso9660",
    b"proc",
];

/// What is at the paths of a namespace.
pub(super) trait Sight {
    /// What is at a path, itself and not what it points to.
    fn node(&self, namespace: &Namespace, path: &[u8]) -> Node;
}

/// This machine's.
#[derive(Debug)]
pub(super) struct Here;

impl Sight for Here {
    fn node(&self, namespace: &Namespace, path: &[u8]) -> Node {
        links::look(namespace, path)
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lead {
    /// To this place, which exists as far as is known.
    To {
        /// Where it is on its file system.
        place: Place,
        /// The same as a path of the namespace, without links.
        path: Vec<u8>,
    },
    /// To nothing: the deepest directory on the way that exists, and what should be in it.
    Missing {
        /// The directory.
        place: Place,
        /// The same as a path of the namespace, without links.
        path: Vec<u8>,
        /// The rest of the path.
        rest: Vec<u8>,
    },
    /// Onto a file system of another machine or of a program (NFS, FUSE), which no volume lies on. It is not touched.
    Foreign,
    /// It cannot be followed.
    Unknown,
}

/// The ways of some namespaces.
pub(super) struct Ways<'m> {
    trees: RefCell<HashMap<u64, std::rc::Rc<Tree<'m>>>>,
    /// What is at a place is the same in every namespace.
    known: RefCell<HashMap<Place, Node>>,
    sight: Box<dyn Sight>,
    devices: BTreeSet<Device>,
}

impl<'m> Ways<'m> {
    /// Of volumes on these file systems.
    pub(super) fn new(devices: BTreeSet<Device>, sight: Box<dyn Sight>) -> Self {
        Self { trees: RefCell::default(), known: RefCell::default(), sight, devices }
    }

    /// Where a path leads in this namespace, from a directory of it; `base` has no links.
    pub(super) fn lead(&self, namespace: &'m Namespace, base: &[u8], path: &[u8]) -> Lead {
        let tree = self.tree(namespace);
        let Some(root) = tree.root else { return Lead::Unknown };
        let ground = Ground { ways: self, namespace, tree: &tree, root: tree.top(root) };
        let whole = if path.starts_with(b"/") { path.to_vec() } else { [base, b"/", path].concat() };
        let way = follow(&ground, Path::new(OsStr::from_bytes(&whole)));
        let Some(last) = way.stops.last() else { return Lead::Unknown };
        let spot = ground.spot(last.passed.iter().skip(1).map(|passed| passed.name.as_bytes()));
        let Some(place) = spot.place() else { return Lead::Unknown };
        match way.end {
            End::There => Lead::To { place, path: spot.path() },
            End::Nowhere(Errno::NOENT | Errno::NOTDIR) => {
                Lead::Missing { place, path: spot.path(), rest: last.rest.as_os_str().as_bytes().to_vec() }
            }
            End::Unknown { server: Some(_), .. } => Lead::Foreign,
            // Links that go round in circles did not when this was mounted.
            End::Nowhere(_) | End::Unknown { server: None, .. } => Lead::Unknown,
        }
    }

    fn tree(&self, namespace: &'m Namespace) -> std::rc::Rc<Tree<'m>> {
        let mut trees = self.trees.borrow_mut();
        std::rc::Rc::clone(
            trees.entry(namespace.id).or_insert_with(|| std::rc::Rc::new(Tree::new(&namespace.mounts))),
        )
    }

    fn is_touchable(&self, mount: &MountLine) -> bool {
        LOCAL.contains(&mount.kind.as_slice()) || self.devices.contains(&mount.device)
    }

    fn node(&self, namespace: &Namespace, place: Place, path: &[u8]) -> Node {
        if let Some(node) = self.known.borrow().get(&place) {
            return node.clone();
        }
        let node = self.sight.node(namespace, path);
        // Where nothing can be looked at, nothing is known for the others.
        if namespace.window.is_none() {
            return node;
        }
        self.known.borrow_mut().insert(place, node.clone());
        node
    }
}

/// The mounts of one namespace, each below the one it is mounted on.
#[derive(Debug)]
pub(super) struct Tree<'m> {
    children: HashMap<(u64, &'m [u8]), &'m MountLine>,
    root: Option<&'m MountLine>,
}

impl<'m> Tree<'m> {
    pub(super) fn new(mounts: &'m [MountLine]) -> Self {
        let ids: BTreeSet<u64> = mounts.iter().map(|mount| mount.id).collect();
        let is_first = |mount: &&MountLine| mount.point == b"/" && !ids.contains(&mount.parent);
        let root = mounts.iter().find(is_first).or_else(|| mounts.iter().find(|mount| mount.point == b"/"));
        let children = mounts
            .iter()
            .filter(|mount| mount.id != mount.parent && root.is_none_or(|root| root.id != mount.id))
            .map(|mount| ((mount.parent, mount.point.as_slice()), mount))
            .collect();
        Self { children, root }
    }

    /// What is seen at the point of a mount: the last of those that are mounted over each other.
    fn top(&self, mut mount: &'m MountLine) -> &'m MountLine {
        // A mount on itself is left out above, and a table is finite: each step goes to another mount.
        for _ in 0..self.children.len() {
            match self.children.get(&(mount.id, mount.point.as_slice())) {
                Some(over) => mount = over,
                None => break,
            }
        }
        mount
    }

    /// Whether something is mounted further down: then this is a directory, and need not be touched to know it.
    fn leads_to_a_mount(&self, path: &[u8]) -> bool {
        self.children.keys().any(|(_, point)| below(point, path).is_some_and(|rest| !rest.is_empty()))
    }

    fn over(&self, mount: &MountLine, path: &[u8]) -> Option<&'m MountLine> {
        self.children.get(&(mount.id, path)).map(|mount| self.top(mount))
    }
}

/// The files of one namespace, along its table.
struct Ground<'w, 'm> {
    ways: &'w Ways<'m>,
    namespace: &'m Namespace,
    tree: &'w Tree<'m>,
    root: &'m MountLine,
}

impl<'m> Ground<'_, 'm> {
    /// Where these names lead, none of which is a link.
    fn spot<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Spot<'m> {
        names.fold(Spot { root: self.root, levels: Vec::new() }, |spot, name| self.below(&spot, name).0)
    }

    /// What `name` is in a directory, and whether something is mounted there.
    fn below(&self, from: &Spot<'m>, name: &[u8]) -> (Spot<'m>, bool) {
        let mut spot = from.clone();
        spot.levels.push((name.to_vec(), from.mount()));
        let over = self.tree.over(from.mount(), &spot.path());
        if let (Some(over), Some(last)) = (over, spot.levels.last_mut()) {
            last.1 = over;
        }
        (spot, over.is_some())
    }
}

impl<'m> Terrain for Ground<'_, 'm> {
    type Node = Spot<'m>;

    fn root(&self) -> rustix::io::Result<Stand<Spot<'m>>> {
        Ok(Stand { node: Spot { root: self.root, levels: Vec::new() }, place: None })
    }

    fn step(&self, from: &Spot<'m>, name: &OsStr, _: Option<&Path>) -> rustix::io::Result<Step<Spot<'m>>> {
        let is_touchable = self.ways.is_touchable(from.mount());
        let (node, is_mounted) = self.below(from, name.as_bytes());
        if is_mounted || (!is_touchable && self.tree.leads_to_a_mount(&node.path())) {
            return Ok(Step::Stand(Stand { node, place: None }));
        }
        if !is_touchable {
            return Err(Errno::XDEV);
        }
        if is_reader(from, name.as_bytes()) {
            return Err(Errno::IO);
        }
        let place = node.place().ok_or(Errno::IO)?;
        match self.ways.node(self.namespace, place, &node.path()) {
            Node::Other => Ok(Step::Stand(Stand { node, place: None })),
            Node::Link(target) => Ok(Step::Link(PathBuf::from(OsString::from_vec(target)))),
            Node::Missing => Err(Errno::NOENT),
            Node::Unknown => Err(Errno::IO),
        }
    }

    fn server(&self, from: &Spot<'m>, _: Option<&Path>) -> Option<Server> {
        let is_fuse = from.mount().kind.starts_with(b"fuse");
        let server = if is_fuse { Server::Process } else { Server::Network };
        (!self.ways.is_touchable(from.mount())).then_some(server)
    }

    fn parent(&self, of: &Spot<'m>) -> rustix::io::Result<Spot<'m>> {
        let mut spot = of.clone();
        spot.levels.pop();
        Ok(spot)
    }
}

/// Whether a name in `/proc` is that of whoever reads it: the one who wrote the path meant another one than this process.
fn is_reader(from: &Spot<'_>, name: &[u8]) -> bool {
    let mount = from.mount();
    mount.kind == b"proc" && from.path() == mount.point && matches!(name, b"self" | b"thread-self")
}

/// How far a path has led: a name and a mount at each level.
#[derive(Debug, Clone)]
struct Spot<'m> {
    root: &'m MountLine,
    levels: Vec<(Vec<u8>, &'m MountLine)>,
}

impl<'m> Spot<'m> {
    fn mount(&self) -> &'m MountLine {
        self.levels.last().map_or(self.root, |(_, mount)| mount)
    }

    fn path(&self) -> Vec<u8> {
        if self.levels.is_empty() {
            return b"/".to_vec();
        }
        self.levels.iter().flat_map(|(name, _)| [b"/", name.as_slice()].concat()).collect()
    }

    fn place(&self) -> Option<Place> {
        Place::through(self.mount(), &self.path())
    }
}

/// The names in a path, without what says nothing.
pub(super) fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

#[cfg(test)]
#[path = "ways_tests.rs"]
mod tests;
