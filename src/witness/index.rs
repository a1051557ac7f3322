//! The volumes of one observation, found by name and by directory identity, and what claims them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::claims::Claim;
use super::locate::{Map, Volumes};
use crate::gc::volume::{Class, DirectoryIdentity, VolumeName};
use crate::host::directory;
use crate::host::quarantine::DIRECTORY as QUARANTINE;
use crate::host::resolve::Place;
use crate::host::view::View;
use crate::host::volumes_dir::{Observed, VolumesDir};

/// The volumes of one observation.
#[derive(Debug, Clone)]
pub struct VolumeIndex {
    map: Map,
    view: Option<Arc<View>>,
    directory: Option<Arc<VolumesDir>>,
    observed: BTreeMap<VolumeName, Observed>,
    claims: Vec<Claim>,
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
        let mut by_place = Volumes::with_capacity(observed.len() * 2);
        for (name, seen) in &observed {
            for facts in seen.directory.iter().chain(&seen.data) {
                by_place.insert(place_of(&facts.identity), name);
            }
        }
        let root = PathBuf::from(root);
        let map = match &directory {
            Some(directory) => Map {
                root,
                volumes: Some(place_of(&directory::facts(directory.volumes())?.identity)),
                quarantine: quarantine_place(directory)?,
                ancestors: ancestors_of(directory)?,
                by_place,
            },
            None => Map { root, by_place, ..Map::default() },
        };
        Ok(Self { map, view: None, directory, observed, claims: Vec::new(), classes: BTreeMap::new() })
    }

    /// The same, with paths followed as the engine sees them. Without a view they are compared by their text alone.
    #[must_use]
    pub fn seen_through(mut self, view: Arc<View>) -> Self {
        self.view = Some(view);
        self
    }

    /// The same, with what the volumes themselves claim.
    #[must_use]
    pub fn with_claims(mut self, claims: Vec<Claim>) -> Self {
        self.claims = claims;
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

    /// The same, with the directories of an earlier index: one that was renamed away since is still recognised.
    #[must_use]
    pub fn remembering(mut self, before: &Self) -> Self {
        self.map.by_place.adopt(&before.map.by_place);
        self
    }

    /// The docker root's path as the engine names it.
    pub fn root(&self) -> &Path {
        &self.map.root
    }

    /// Where the volumes are, for the resolver.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The files as the engine sees them, when it is on this machine.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// The volumes directory, when it is on this machine.
    pub fn directory(&self) -> Option<&VolumesDir> {
        self.directory.as_deref()
    }

    /// The same, to be shared.
    pub fn shared_directory(&self) -> Option<Arc<VolumesDir>> {
        self.directory.clone()
    }

    /// Every volume that is observed, and what its directory is.
    pub fn observed(&self) -> &BTreeMap<VolumeName, Observed> {
        &self.observed
    }

    /// What the volumes themselves claim.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Whether this is the path at which the engine has a volume's data, and nothing but that volume's directory lies there. Then
    /// the path leads nowhere else, and there are too many of them to be followed one by one.
    pub fn is_its_own_data(&self, name: &VolumeName, path: &str) -> bool {
        // Asked of tens of thousands.
        let below = self.root().to_str().and_then(|root| path.strip_prefix(root));
        let named = below.and_then(|below| below.strip_prefix("/volumes/")?.strip_suffix("/_data"));
        named == Some(name.as_str()) && (self.directory.is_none() || self.is_plain(name))
    }

    /// The path at which the engine has the data of a volume of its own driver.
    pub fn data_of(&self, name: &VolumeName) -> PathBuf {
        self.root().join("volumes").join(name.as_str()).join("_data")
    }

    fn is_plain(&self, name: &VolumeName) -> bool {
        self.observed.get(name).is_some_and(|seen| {
            let mut places = seen.directory.iter().chain(&seen.data);
            seen.data.is_some() && places.all(|facts| facts.is_directory)
        })
    }
}

fn place_of(identity: &DirectoryIdentity) -> Place {
    (identity.device, identity.inode)
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

fn facts_at(path: &Path) -> rustix::io::Result<directory::Facts> {
    // O_PATH: nothing is opened, so no device is touched and no FIFO waits.
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    directory::facts(file.as_fd())
}

/// The path of an open file as the kernel knows it (`proc(5)`, `/proc/PID/fd`).
fn real_path(file: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}
