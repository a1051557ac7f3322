//! Content that is known to the last byte, and where on the disk it is.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use harness::{PrivateEngine, tree_listing};

/// Inode and birth time of a data directory: an inode alone is used again.
pub type Identity = (u64, SystemTime);

/// Where a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `_data` of the volume of this name.
    Volume(String),
    /// `data` of this entry; with the state that its manifest says.
    Entry(String, String),
    /// In an entry that is being deleted.
    Deleting(String),
}

/// A data directory that is held open, so that it is the same one whatever it is renamed to.
#[derive(Debug)]
pub struct Opened(File);

impl Opened {
    /// Opens a directory; fails when it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        Ok(Self(fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    /// Which directory it is.
    pub fn identity(&self) -> io::Result<Identity> {
        identity_of(&self.0.metadata()?)
    }

    /// Its path for as long as it is held open.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Fills it with little, but of several kinds, and returns what is in it now.
    pub fn fill(&self, token: &str) -> io::Result<Vec<String>> {
        let data = self.path();
        fs::create_dir(data.join("base"))?;
        fs::write(data.join("base/table"), format!("{token}\n").repeat(100))?;
        fs::hard_link(data.join("base/table"), data.join("base/backup"))?;
        chown(data.join("base/table"), Some(999), Some(999))?;
        fs::set_permissions(data.join("base/table"), Permissions::from_mode(0o600))?;
        symlink("/etc/passwd", data.join("outside"))?;
        chown(&data, Some(999), Some(998))?;
        fs::set_permissions(&data, Permissions::from_mode(0o2750))?;
        // Last: containers wait for it.
        fs::write(data.join("id"), format!("{token}\n"))?;
        // The path is a link to it: the dot is the directory itself.
        Ok(tree_listing(&data.join(".")))
    }
}

fn identity_of(meta: &fs::Metadata) -> io::Result<Identity> {
    Ok((meta.ino(), meta.created()?))
}

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    identity_of(&meta).ok()
}

/// Every data directory that there is, and everything that is half done.
#[derive(Debug, Default)]
pub struct Scan {
    /// By identity. One inode has one name only.
    pub places: BTreeMap<Identity, Place>,
    /// Entries without manifest or data, unfinished states, volumes without data.
    pub half: Vec<String>,
}

/// Looks at the whole disk of an engine. What moves meanwhile may be missed: for when nothing moves.
pub fn scan(engine: &PrivateEngine) -> Scan {
    let mut scan = Scan::default();
    for name in names(&engine.volumes_dir()) {
        match identity(&engine.volume_data(&name)) {
            Some(identity) => {
                scan.places.insert(identity, Place::Volume(name));
            }
            None => scan.half.push(format!("volume {name} has no _data")),
        }
    }
    let quarantine = engine.root().join("volgc");
    for entry in names(&quarantine) {
        let data = identity(&quarantine.join(&entry).join("data"));
        if entry.starts_with("deleting-") {
            scan.half.push(format!("entry {entry} is left"));
            scan.places.extend(data.map(|data| (data, Place::Deleting(entry))));
            continue;
        }
        let state = match manifest(&quarantine.join(&entry).join("manifest.json")) {
            Ok(manifest) => manifest["state"].as_str().unwrap_or("unreadable").to_owned(),
            Err(error) => {
                scan.half.push(format!("entry {entry} has no readable manifest: {error}"));
                "unreadable".to_owned()
            }
        };
        if state != "quarantined" {
            scan.half.push(format!("entry {entry} is {state}"));
        }
        match data {
            Some(data) => {
                scan.places.insert(data, Place::Entry(entry, state));
            }
            None => scan.half.push(format!("entry {entry} has no data")),
        }
    }
    scan
}

/// Reads a manifest.
pub fn manifest(path: &Path) -> Result<Value, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// The path of what is at a place.
pub fn path_of(engine: &PrivateEngine, place: &Place) -> PathBuf {
    match place {
        Place::Volume(name) => engine.volume_data(name),
        Place::Entry(entry, _) | Place::Deleting(entry) => {
            engine.root().join("volgc").join(entry).join("data")
        }
    }
}

/// The names of the directories in a directory, sorted; none when it does not exist.
pub fn names(path: &Path) -> Vec<String> {
    harness::treasure::names(path)
}
