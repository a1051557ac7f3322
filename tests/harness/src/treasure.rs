//! Volumes whose data must survive whatever happens: where it is, and that it is whole.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{PrivateEngine, tree_listing};

/// A volume with content that is known to the last byte.
#[derive(Debug, Clone)]
pub struct Treasure {
    /// The volume's name.
    pub name: String,
    identity: Identity,
    listing: Vec<String>,
    labels: Value,
}

/// Inode and birth time, as an inode is used again.
type Identity = (u64, SystemTime);

/// Where the data of a treasure is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the volume of this name.
    Volume(String),
    /// In the quarantine entry of this name, with its manifest.
    Entry(String, Box<Value>),
    /// In an entry that is being deleted.
    Deleting(String),
}

impl Treasure {
    /// Makes a volume, and fills it with little, but of every kind. Owner and mode are not those the engine gives.
    #[track_caller]
    pub fn make(engine: &PrivateEngine, name: &str) -> Self {
        engine.create_volume(name, &[("com.example.kept", name), ("empty", "")]);
        let data = engine.volume_data(name);
        fill(&data, name).unwrap_or_else(|error| panic!("cannot fill {}: {error}", data.display()));
        Self {
            name: name.to_owned(),
            identity: identity(&data).unwrap_or_else(|| panic!("volume {name} has no data")),
            listing: tree_listing(&data),
            labels: json!({ "com.example.kept": name, "empty": "" }),
        }
    }

    /// The same in a directory among the volumes that the engine does not list.
    #[track_caller]
    pub fn stray(engine: &PrivateEngine, name: &str) -> Self {
        let data = engine.volume_data(name);
        fs::create_dir_all(&data)
            .and_then(|()| fill(&data, name))
            .unwrap_or_else(|error| panic!("cannot fill {}: {error}", data.display()));
        Self {
            name: name.to_owned(),
            identity: identity(&data).unwrap_or_else(|| panic!("{} is no directory", data.display())),
            listing: tree_listing(&data),
            labels: json!({}),
        }
    }

    /// Every place that holds this data now. One inode is in one directory only, so there is never more than one, unless
    /// somebody copied.
    pub fn places(&self, engine: &PrivateEngine) -> Vec<Place> {
        let mut places = Vec::new();
        for volume in names(&engine.volumes_dir()) {
            if identity(&engine.volume_data(&volume)) == Some(self.identity) {
                places.push(Place::Volume(volume));
            }
        }
        let quarantine = engine.root().join("volgc");
        for entry in names(&quarantine) {
            if identity(&data_in(&quarantine.join(&entry))) != Some(self.identity) {
                continue;
            }
            if entry.starts_with("deleting-") || is_marked(&quarantine.join(&entry)) {
                places.push(Place::Deleting(entry));
                continue;
            }
            let path = quarantine.join(&entry).join("manifest.json");
            let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let manifest: Value = serde_json::from_slice(&text)
                .unwrap_or_else(|error| panic!("{} is not readable: {error}", path.display()));
            assert_eq!(manifest["entry"], json!(entry), "{} is of another entry", path.display());
            assert_eq!(manifest["name"], json!(self.name), "{} names another volume", path.display());
            assert_eq!(manifest["data_directory"]["inode"], json!(self.identity.0), "{manifest:#}");
            places.push(Place::Entry(entry, Box::new(manifest)));
        }
        places
    }

    /// The invariant that holds at every instant (I4): the data is whole, in exactly one place, and a readable manifest names
    /// it unless it is in a volume. (Owner and mode of `_data` itself may be the engine's while a restore is not finished.)
    #[track_caller]
    pub fn assert_whole(&self, engine: &PrivateEngine, when: &str) -> Place {
        let mut places = self.places(engine);
        assert_eq!(places.len(), 1, "{when}: volume {} is in {places:?}", self.name);
        let place = places.remove(0);
        let now = tree_listing(&data_of(engine, &place));
        assert_eq!(now.get(1..), self.listing.get(1..), "{when}: volume {} in {place:?}", self.name);
        place
    }

    /// What a restore of its entry depends on, without what differs in each: names, numbers and times.
    pub fn kind_of_entry(&self, engine: &PrivateEngine, entry: &str) -> String {
        let directory = engine.root().join("volgc").join(entry);
        let path = directory.join("manifest.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut manifest: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is not readable: {error}", path.display()));
        self.blank(&mut manifest, entry);
        let mut files: Vec<String> = fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        // Owner and mode of the data may still be the engine's, of a restore that was given up.
        let is_own = tree_listing(&data_in(&directory)).first() == self.listing.first();
        format!("{manifest} {files:?} {is_own}")
    }

    fn blank(&self, value: &mut Value, entry: &str) {
        match value {
            Value::Object(fields) => {
                let others = fields.iter_mut().filter(|(name, _)| *name != "ownership");
                others.for_each(|(_, field)| self.blank(field, entry));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.blank(item, entry)),
            Value::String(text) => {
                let is_time = text.len() > 19 && text.as_bytes().get(10) == Some(&b'T');
                *text = if is_time {
                    "TIME".to_owned()
                } else {
                    text.replace(entry, "ENTRY").replace(&self.name, "NAME")
                };
            }
            Value::Number(_) => *value = Value::from(0),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// The data is back, as a volume of this name that the engine lists with the labels it had, down to owner and mode.
    #[track_caller]
    pub fn assert_back(&self, engine: &PrivateEngine, name: &str, when: &str) {
        self.assert_content(engine, name, when);
        let (status, told) = engine.api("GET", &format!("/volumes/{name}"), None);
        assert_eq!(status, 200, "{when}: the engine does not list volume {name}: {told}");
        let told: Value = serde_json::from_str(&told).unwrap_or_default();
        assert_eq!(told["Labels"], self.labels, "{when}: labels of volume {name}");
    }

    /// The data is back, byte for byte, down to owner and mode.
    #[track_caller]
    pub fn assert_content(&self, engine: &PrivateEngine, name: &str, when: &str) {
        assert_eq!(tree_listing(&engine.volume_data(name)), self.listing, "{when}: volume {name}");
    }
}

/// Whether an entry kept its name when its deletion was begun: the sticky bit says so then.
fn is_marked(entry: &Path) -> bool {
    fs::symlink_metadata(entry).is_ok_and(|metadata| metadata.permissions().mode() & 0o1000 != 0)
}

/// Every volume that the engine lists has its `_data`.
#[track_caller]
pub fn assert_no_husk(engine: &PrivateEngine, when: &str) {
    let husks: Vec<String> =
        engine.volume_names().into_iter().filter(|name| !engine.volume_data(name).is_dir()).collect();
    assert!(husks.is_empty(), "{when}: volumes without _data: {husks:?}");
}

fn data_of(engine: &PrivateEngine, place: &Place) -> PathBuf {
    match place {
        Place::Volume(name) => engine.volume_data(name),
        Place::Entry(entry, _) | Place::Deleting(entry) => data_in(&engine.root().join("volgc").join(entry)),
    }
}

/// The data in an entry: where its volume's link leads, or where it does not.
fn data_in(entry: &Path) -> PathBuf {
    let linked = entry.join("use-volgc-restore-or-delete");
    if linked.is_dir() && !linked.is_symlink() { linked } else { entry.join("data") }
}

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.ino(), meta.created().ok()?))
}

/// The names of the directories in a directory; none when it does not exist.
pub fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Fills a directory with little, but of every kind.
pub fn fill(data: &Path, name: &str) -> std::io::Result<()> {
    fs::write(data.join("id"), name)?;
    fs::create_dir(data.join("base"))?;
    fs::write(data.join("base/table"), name.repeat(200))?;
    fs::hard_link(data.join("base/table"), data.join("base/backup"))?;
    fs::set_permissions(data.join("base/table"), fs::Permissions::from_mode(0o600))?;
    chown(data.join("base/table"), Some(999), Some(999))?;
    symlink("/etc/passwd", data.join("outside"))?;
    // Two deep, so that something is deeper than one.
    fs::create_dir(data.join("base/old"))?;
    fs::write(data.join("base/old/table"), name)?;
    fs::create_dir(data.join("empty"))?;
    chown(data, Some(999), Some(998))?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o2750))
}
