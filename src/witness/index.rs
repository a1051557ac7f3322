//! The volumes of one observation, found by name, by directory identity, and by path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::gc::entry::EntryId;
use crate::gc::reference::Holder;
use crate::gc::volume::{Class, DirectoryIdentity, VolumeName};
use crate::host::directory;
use crate::host::quarantine::{DIRECTORY as QUARANTINE, entry_of};
use crate::host::volumes_dir::{Observed, VolumesDir};

/// How many links one path may go through: as many as the kernel allows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// A directory by device and inode: what a path leads to, however it is written.
type Place = (u64, u64);

/// Where a path leads, seen from the volumes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// At or below the directory of this volume, or of a name that would be its directory.
    Inside(VolumeName),
    /// The volumes directory itself or something above it, as backup agents bind.
    Above,
    /// At or below this entry of the quarantine.
    Quarantined(EntryId),
}

/// A host path in the driver options of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionPath {
    /// The path.
    pub path: PathBuf,
    /// The volume, as the holder of what the path leads into.
    pub holder: Holder,
    /// Whether it is a directory or device of this host that the volume cannot be mounted without.
    pub is_local_device: bool,
}

/// The volumes of one observation.
#[derive(Debug, Clone)]
pub struct VolumeIndex {
    root: PathBuf,
    view: PathBuf,
    directory: Option<Arc<VolumesDir>>,
    volumes_place: Option<Place>,
    quarantine_place: Option<Place>,
    ancestors: Vec<Place>,
    by_place: HashMap<Place, VolumeName>,
    observed: BTreeMap<VolumeName, Observed>,
    option_paths: Vec<OptionPath>,
    classes: BTreeMap<VolumeName, Class>,
}

impl VolumeIndex {
    /// An index of the volumes as they were observed. Without a directory (a remote engine) paths are compared as text, which
    /// serves a report only.
    pub fn new(
        root: &str,
        directory: Option<Arc<VolumesDir>>,
        observed: BTreeMap<VolumeName, Observed>,
    ) -> rustix::io::Result<Self> {
        let mut by_place = HashMap::with_capacity(observed.len() * 2);
        for (name, seen) in &observed {
            for facts in seen.directory.iter().chain(&seen.data) {
                by_place.insert(place_of(&facts.identity), name.clone());
            }
        }
        let (volumes_place, quarantine_place, ancestors) = match &directory {
            Some(directory) => (
                Some(place_of(&directory::facts(directory.volumes())?.identity)),
                quarantine_place(directory)?,
                ancestors_of(directory)?,
            ),
            None => (None, None, Vec::new()),
        };
        Ok(Self {
            root: PathBuf::from(root),
            view: PathBuf::from("/"),
            directory,
            volumes_place,
            quarantine_place,
            ancestors,
            by_place,
            observed,
            option_paths: Vec::new(),
            classes: BTreeMap::new(),
        })
    }

    /// The same, with the host's paths looked at below `view`: the engine's bind sources are paths of the host, and this process
    /// may have another root directory (a container).
    #[must_use]
    pub fn seen_through(mut self, view: PathBuf) -> Self {
        self.view = view;
        self
    }

    /// The same, with the host paths that the driver options of volumes name.
    #[must_use]
    pub fn with_option_paths(mut self, paths: Vec<OptionPath>) -> Self {
        self.option_paths = paths;
        self
    }

    /// The same, with every volume that the engine lists, of whatever driver, and those in quarantine, so that what could mean
    /// them holds them too.
    #[must_use]
    pub fn with_classes(mut self, classes: BTreeMap<VolumeName, Class>) -> Self {
        self.classes = classes;
        self
    }

    /// The volumes that the engine lists, of whatever driver, and those in quarantine.
    pub fn classes(&self) -> &BTreeMap<VolumeName, Class> {
        &self.classes
    }

    /// The docker root's path as the engine names it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Below what the host's paths are looked at.
    pub fn view(&self) -> &Path {
        &self.view
    }

    /// The volumes directory, when it is on this machine.
    pub fn directory(&self) -> Option<&VolumesDir> {
        self.directory.as_deref()
    }

    /// Every volume that is observed, and what its directory is.
    pub fn observed(&self) -> &BTreeMap<VolumeName, Observed> {
        &self.observed
    }

    /// Host paths that the driver options of volumes name.
    pub fn option_paths(&self) -> &[OptionPath] {
        &self.option_paths
    }

    /// The volume whose directory or `_data` has this device and inode.
    pub fn by_place(&self, device: u64, inode: u64) -> Option<&VolumeName> {
        self.by_place.get(&(device, inode))
    }

    /// Where an absolute host path leads, by its text, by every link on its way, and by device and inode of what it ends at; for
    /// what does not exist by the deepest directory that does. All of them, because who uses the path needs each (I1): a link
    /// among the volumes is named like one and leads into another. None when it leads elsewhere. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// When a part of the path cannot be looked at: then nothing is known (I2).
    pub fn locate(&self, path: &Path) -> rustix::io::Result<BTreeSet<Whereabouts>> {
        let mut found: BTreeSet<Whereabouts> = self.locate_by_text(path).into_iter().collect();
        if self.directory.is_none() {
            return Ok(found);
        }
        let way = resolve(&self.view, path)?;
        for link in &way.links {
            let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else { continue };
            found.extend(self.locate_by_place(parent, Path::new(name))?);
        }
        found.extend(self.locate_by_place(&way.real, &way.rest)?);
        Ok(found)
    }

    /// By device and inode of `real`, in which nothing is a link, and of what is above it; `rest` is what the path goes on with.
    fn locate_by_place(&self, real: &Path, rest: &Path) -> rustix::io::Result<Option<Whereabouts>> {
        let whole = real.join(rest);
        for ancestor in real.ancestors() {
            let facts = match facts_at(&seen_through(&self.view, ancestor)) {
                Ok(facts) => facts,
                // It went away between resolving and looking: what is left of the path tells.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            let place = place_of(&facts.identity);
            if let Some(name) = self.by_place.get(&place) {
                return Ok(Some(Whereabouts::Inside(name.clone())));
            }
            let below = whole.strip_prefix(ancestor).unwrap_or(rest);
            if self.quarantine_place == Some(place)
                && let Some(entry) = first_entry(below)
            {
                return Ok(Some(Whereabouts::Quarantined(entry)));
            }
            if self.volumes_place == Some(place) {
                return Ok(Some(first_name(below).map_or(Whereabouts::Above, Whereabouts::Inside)));
            }
            if below.as_os_str().is_empty() && self.ancestors.contains(&place) {
                return Ok(Some(Whereabouts::Above));
            }
        }
        Ok(None)
    }

    /// Whether anything is at an absolute host path, links followed. Nothing is opened.
    ///
    /// # Errors
    ///
    /// When a part of the path cannot be looked at.
    pub fn exists(&self, path: &Path) -> rustix::io::Result<bool> {
        resolve(&self.view, path).map(|way| way.rest.as_os_str().is_empty())
    }

    /// The same by the text of the path alone, `.` and `..` and doubled slashes taken out. It still says where a path led after a
    /// volume's data was renamed away.
    #[expect(clippy::disallowed_methods, reason = "a path that does not begin so lies elsewhere")]
    fn locate_by_text(&self, path: &Path) -> Option<Whereabouts> {
        let path = normalised(path);
        if let Some(entry) = path.strip_prefix(self.root.join(QUARANTINE)).ok().and_then(first_entry) {
            return Some(Whereabouts::Quarantined(entry));
        }
        let volumes = self.root.join("volumes");
        match path.strip_prefix(&volumes) {
            Ok(below) => Some(first_name(below).map_or(Whereabouts::Above, Whereabouts::Inside)),
            Err(_) if volumes.starts_with(&path) => Some(Whereabouts::Above),
            Err(_) => None,
        }
    }
}

fn place_of(identity: &DirectoryIdentity) -> Place {
    (identity.device, identity.inode)
}

fn first_entry(below: &Path) -> Option<EntryId> {
    first_name(below).and_then(|name| entry_of(name.as_str()))
}

#[expect(clippy::disallowed_methods, reason = "what is no volume's name is none")]
fn first_name(below: &Path) -> Option<VolumeName> {
    match below.components().next() {
        Some(Component::Normal(name)) => VolumeName::new(name.to_string_lossy()).ok(),
        Some(Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_)) | None => {
            None
        }
    }
}

fn normalised(path: &Path) -> PathBuf {
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

fn quarantine_place(directory: &VolumesDir) -> rustix::io::Result<Option<Place>> {
    match directory::facts_of_child(directory.root(), &directory::c_name(QUARANTINE)?) {
        Ok(facts) => Ok(Some(place_of(&facts.identity))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directories from the volumes directory's parent up to `/`.
fn ancestors_of(directory: &VolumesDir) -> rustix::io::Result<Vec<Place>> {
    let real = real_path(directory.volumes())?;
    real.ancestors().skip(1).map(|ancestor| Ok(place_of(&facts_at(ancestor)?.identity))).collect()
}

/// A host path as it is reached from here.
fn seen_through(view: &Path, path: &Path) -> PathBuf {
    view.join(path.strip_prefix("/").unwrap_or(path))
}

fn facts_at(path: &Path) -> rustix::io::Result<directory::Facts> {
    // O_PATH: nothing is opened, so no device is touched and no FIFO waits.
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    directory::facts(file.as_fd())
}

/// Where a host path, looked at below `view`, leads when every link in it is followed, also one whose target is not there.
pub fn without_links(view: &Path, path: &Path) -> rustix::io::Result<PathBuf> {
    resolve(view, path).map(|way| way.real.join(way.rest))
}

/// The way that a path goes.
struct Way {
    /// The real path of the deepest part of it that exists.
    real: PathBuf,
    /// What is left of it below that.
    rest: PathBuf,
    /// Every link that was followed, by the real path of its directory and its name.
    links: Vec<PathBuf>,
}

/// The way that `path` goes. Links are followed by hand, because one whose target was just renamed into the quarantine must still
/// lead there, and because an absolute one begins at the host's root directory and not at that of this process.
fn resolve(view: &Path, path: &Path) -> rustix::io::Result<Way> {
    let mut real = PathBuf::from("/");
    let mut todo: Vec<OsString> = path.components().rev().filter_map(step).collect();
    let mut links = Vec::new();
    while let Some(name) = todo.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        match rustix::fs::readlink(seen_through(view, &next), Vec::new()) {
            Ok(target) => {
                links.push(next);
                if links.len() > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                todo.extend(target.components().rev().filter_map(step));
            }
            // Not a link.
            Err(Errno::INVAL) => real = next,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                todo.push(name);
                let rest: PathBuf = todo.iter().rev().collect();
                return Ok(Way { real, rest: normalised(&rest), links });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Way { real, rest: PathBuf::new(), links })
}

fn step(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    }
}

/// The path of an open file as the kernel knows it (`proc(5)`, `/proc/PID/fd`).
fn real_path(file: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}
