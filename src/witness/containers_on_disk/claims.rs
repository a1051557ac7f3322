//! What the files of one container say: precisely where they are understood, as bytes to be searched where not.
//!
//! Tolerant of everything that does not decide, strict about what does: a mount of a form that no engine is known to write makes
//! its whole file one that is not understood (I2).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::Contents;
use super::format::{Config, HostConfig, Mount, MountPoint, MountPoints, Object};
use crate::gc::volume::VolumeName;

/// The mounts of a container stand under this key.
const MOUNT_POINTS: &[u8] = b"\"MountPoints\":";

/// What a container names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A volume by its name.
    Volume(VolumeName),
    /// An absolute host path.
    Path(PathBuf),
    /// Another container, whose volumes it has too.
    VolumesFrom(String),
}

/// One thing that a container names, and where it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) target: Target,
    pub(super) how: String,
}

impl Claim {
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Path(path) => Some(path),
            Target::Volume(_) | Target::VolumesFrom(_) => None,
        }
    }
}

/// A file that is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) file: String,
    /// What is wrong with it, after its name in a sentence.
    pub(super) problem: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// How much is known of the mounts that the container had when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mounts {
    /// Every one.
    Known,
    /// The file is a whole JSON text of an unknown form; its bytes are searched.
    Searched,
    /// The file is broken, its list of mounts is not whole.
    Lost(String),
    /// There is no such file.
    NoConfig,
}

/// Everything that the files of one container say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The name of its directory, by rule its ID.
    pub(super) directory: String,
    /// The storage driver that it was made under.
    pub(super) driver: Option<String>,
    pub(super) mounts: Mounts,
    pub(super) claims: Vec<Claim>,
    pub(super) unclear: Vec<Unclear>,
    given_name: Option<String>,
    is_host_config_known: bool,
}

impl Told {
    /// Reads the files of one container, each for itself: one that is understood is not searched for what another has lost.
    pub(super) fn new(directory: String, files: Vec<Contents>) -> Self {
        let (driver, given_name) = (None, None);
        let (claims, unclear) = (Vec::new(), Vec::new());
        let mut told = Self {
            directory,
            driver,
            mounts: Mounts::NoConfig,
            claims,
            unclear,
            given_name,
            is_host_config_known: false,
        };
        // The engine reads `config.v2.json`; a `config.json` beside it is from before Docker 1.10.
        let primary = ["config.v2.json", "config.json"]
            .into_iter()
            .find(|primary| files.iter().any(|contents| contents.file == *primary));
        for contents in files {
            let is_primary = primary == Some(contents.file.as_str());
            if contents.file.contains("hostconfig") {
                told.read_host_config(contents);
            } else {
                told.read_config(contents, is_primary);
            }
        }
        told
    }

    /// Whether the file is missing that every container has.
    pub(super) fn has_no_config(&self) -> bool {
        self.mounts == Mounts::NoConfig
    }

    /// The container's name, else the start of its directory's name.
    pub(super) fn name(&self) -> &str {
        let short = || self.directory.get(..12).unwrap_or(&self.directory);
        self.given_name.as_deref().unwrap_or_else(short)
    }

    /// Whether `hostconfig.json` is understood, which names every volume that was given a name when the container was made.
    pub(super) fn is_host_config_known(&self) -> bool {
        self.is_host_config_known
    }

    /// The containers whose volumes it has too.
    pub(super) fn donors(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().filter_map(|claim| match &claim.target {
            Target::VolumesFrom(donor) => Some(donor.as_str()),
            Target::Volume(_) | Target::Path(_) => None,
        })
    }

    /// Whether `--volumes-from donor` may mean this container.
    pub(super) fn answers_to(&self, donor: &str) -> bool {
        self.given_name.as_deref() == Some(donor) || (!donor.is_empty() && self.directory.starts_with(donor))
    }

    /// The file of the engine's own that is not understood, which is why the engine did not load the container.
    pub(super) fn cause(&self) -> Option<&Unclear> {
        let own = ["config.v2.json", "config.json", "hostconfig.json"];
        self.unclear.iter().find(|unclear| own.contains(&unclear.file.as_str()))
    }

    fn read_config(&mut self, contents: Contents, is_primary: bool) {
        let (mounts, problem) = match serde_json::from_slice::<Object<Config>>(&contents.bytes) {
            Ok(Object(config)) => {
                let read = config.read();
                self.claims.extend(read.claims);
                if is_primary {
                    self.driver = text(config.driver);
                    self.given_name = text(config.name).map(|name| name.trim_start_matches('/').to_owned());
                }
                match read.odd {
                    None => (Mounts::Known, None),
                    Some(Odd) => (Mounts::Searched, Some(UNKNOWN_FORM)),
                }
            }
            Err(error) if error.is_data() && is_whole(&contents.bytes) => {
                (Mounts::Searched, Some(UNKNOWN_FORM))
            }
            // What is broken behind the mounts has lost none of them.
            Err(_) => match recover(&contents.bytes) {
                Some(claims) => {
                    self.claims.extend(claims);
                    (Mounts::Known, Some(DAMAGED))
                }
                None => (Mounts::Lost(contents.file.clone()), Some(DAMAGED)),
            },
        };
        if is_primary {
            self.mounts = mounts;
        }
        self.search(contents, problem);
    }

    fn read_host_config(&mut self, contents: Contents) {
        let problem = match serde_json::from_slice::<Object<HostConfig>>(&contents.bytes) {
            Ok(Object(config)) => {
                let read = config.read();
                self.claims.extend(read.claims);
                read.odd.map(|Odd| UNKNOWN_FORM)
            }
            Err(error) if error.is_data() && is_whole(&contents.bytes) => Some(UNKNOWN_FORM),
            Err(_) => Some(DAMAGED),
        };
        self.is_host_config_known |= problem.is_none() && contents.file == "hostconfig.json";
        self.search(contents, problem);
    }

    fn search(&mut self, contents: Contents, problem: Option<&'static str>) {
        if let Some(problem) = problem {
            self.unclear.push(Unclear { file: contents.file, problem, bytes: contents.bytes });
        }
    }
}

const DAMAGED: &str = "is damaged";
const UNKNOWN_FORM: &str = "is of an unknown form";

/// A mount of a form that no engine is known to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Odd;

fn text(value: Option<Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What a file says, and whether something in it is of an unknown form; then its bytes are searched too.
#[derive(Default)]
struct Reading {
    claims: Vec<Claim>,
    odd: Option<Odd>,
}

impl Reading {
    fn add(&mut self, claim: Result<Option<Claim>, Odd>) {
        match claim {
            Ok(claim) => self.claims.extend(claim),
            Err(odd) => self.odd = Some(odd),
        }
    }

    fn add_mounts(&mut self, mounts: &MountPoints) {
        for (destination, Object(mount)) in mounts.iter().flatten() {
            let before = self.claims.len();
            mount.read(destination, self);
            let needs_no_source = matches!(mount.kind.as_deref(), Some("tmpfs" | "npipe" | "image"));
            if self.claims.len() == before && !needs_no_source {
                self.odd = Some(Odd);
            }
        }
    }
}

impl Config {
    fn read(&self) -> Reading {
        let mut reading = Reading::default();
        match (&self.mount_points, &self.volumes) {
            (None, None) => reading.odd = Some(Odd),
            (Some(mounts), _) => reading.add_mounts(mounts),
            (None, Some(_)) => {}
        }
        for (destination, path) in self.volumes.iter().flatten().flatten() {
            reading.add(named(Some("bind"), path, destination));
        }
        reading
    }
}

impl MountPoint {
    #[expect(
        clippy::disallowed_methods,
        reason = "a mount without name and source is anonymous, or odd and reported so"
    )]
    fn read(&self, destination: &str, reading: &mut Reading) {
        let kind = self.kind.as_deref();
        let name = self.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            reading.add(match VolumeName::new(name) {
                Ok(name) => Ok(Some(at(Target::Volume(name), destination))),
                // The reference of an image, with slashes.
                Err(_) if kind == Some("image") => Ok(None),
                Err(_) => Err(Odd),
            });
        }
        // The source of a volume with a name is that volume's own directory.
        if kind != Some("volume") || name.is_empty() {
            reading.add(named(Some("bind"), self.source.as_deref().unwrap_or_default(), destination));
        }
        if let Some(Object(asked)) = &self.spec {
            reading.add(asked.read(destination));
        }
    }
}

impl Mount {
    #[expect(
        clippy::disallowed_methods,
        reason = "a mount without name and source is anonymous, or odd and reported so"
    )]
    fn read(&self, destination: &str) -> Result<Option<Claim>, Odd> {
        named(self.kind.as_deref(), self.source.as_deref().unwrap_or_default(), destination)
    }
}

/// The engine keeps what was asked for as it was asked: `-v`, `--mount` and `--volumes-from`.
impl HostConfig {
    fn read(&self) -> Reading {
        // Every engine writes this list, and null when it is empty.
        let odd = self.binds.is_none().then_some(Odd);
        let mut reading = Reading { claims: Vec::new(), odd };
        for bind in self.binds.iter().flatten().flatten() {
            // One without a colon is a volume without a name: its name is in the other file.
            if let Some((source, rest)) = bind.split_once(':') {
                let destination = rest.split(':').next().unwrap_or(rest);
                reading.add(named(None, source, destination));
            }
        }
        for Object(mount) in self.mounts.iter().flatten() {
            reading.add(mount.read(mount.target.as_deref().unwrap_or("?")));
        }
        for donor in self.volumes_from.iter().flatten() {
            let container = donor.split(':').next().unwrap_or(donor);
            let how = format!("volumes from {container}");
            reading.claims.push(Claim { target: Target::VolumesFrom(container.to_owned()), how });
        }
        reading
    }
}

/// A source, by what it is: an absolute path, a volume's name, or nothing.
fn named(kind: Option<&str>, source: &str, destination: &str) -> Result<Option<Claim>, Odd> {
    let how = |what: &str| format!("{what} at {destination}");
    if source.is_empty() {
        return Ok(None);
    }
    if source.starts_with('/') {
        let how = how(&format!("bind of {source}"));
        return Ok(Some(Claim { target: Target::Path(PathBuf::from(source)), how }));
    }
    match VolumeName::new(source) {
        // These name no volume.
        _ if matches!(kind, Some("tmpfs" | "npipe" | "image")) => Ok(None),
        Ok(name) => Ok(Some(at(Target::Volume(name), destination))),
        Err(_) => Err(Odd),
    }
}

fn at(target: Target, destination: &str) -> Claim {
    Claim { target, how: format!("at {destination}") }
}

/// Whether it is JSON to its end. The decoder stops at the first thing of an unknown form, and says nothing of what follows: a
/// damaged byte there and a lost half behind it are no whole file of an unknown form (I2).
fn is_whole(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The mounts of a configuration that is broken elsewhere, when their list is whole.
fn recover(bytes: &[u8]) -> Option<Vec<Claim>> {
    // Inside a string the key's quotes would be escaped, so this is the key itself.
    let key = bytes.windows(MOUNT_POINTS.len()).position(|window| window == MOUNT_POINTS)?;
    let rest = bytes.get(key + MOUNT_POINTS.len()..)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "when nothing can be recovered, the bytes are searched instead"
    )]
    let mounts = serde_json::Deserializer::from_slice(rest).into_iter::<MountPoints>().next()?.ok()?;
    let mut reading = Reading::default();
    reading.add_mounts(&mounts);
    reading.odd.is_none().then_some(reading.claims)
}
