//! `hostconfig.json` of every container: what it was given that is in no list of mounts. Devices, limits of devices, options of the
//! log driver, annotations, and requests for CDI devices.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::Value;

use super::cdi::Wish;
use super::{Claim, Target};
use crate::gc::reference::{Holder, HolderKind};
use crate::host::directory;
use crate::host::engine::wire::Container;
use crate::host::volumes_dir::VolumesDir;
use crate::witness::engine;
use crate::witness::locate::Text;

/// No engine writes a larger one.
const LARGEST: usize = 16 << 20;

/// How often a container without the file is looked at, and how long between: one that is being removed is gone by then.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// What the container list has of these, and what is a path in the container or a text that is none.
const NOT_ON_THE_HOST: [&str; 9] = [
    "Binds",
    "Mounts",
    "VolumesFrom",
    "Tmpfs",
    "PathInContainer",
    "MaskedPaths",
    "ReadonlyPaths",
    "SecurityOpt",
    "CgroupParent",
];

/// What the files of all containers claim.
#[derive(Debug, Default)]
pub struct Found {
    /// Paths.
    pub claims: Vec<Claim>,
    /// Who asked for CDI devices, and for which.
    pub wishes: Vec<(Holder, Wish)>,
}

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Every value with a host path in it, with the field that it stands in.
    pub values: BTreeSet<(String, String)>,
    /// The CDI devices that were asked for.
    pub wishes: Vec<Wish>,
}

/// Reads all of them. A container that the engine does not list counts too, unless an operator declared it irrelevant; its files
/// that are not understood are for the witness of containers on disk. Blocks on the file system.
pub fn read_all(root: &VolumesDir, listed: &[Container], acknowledged: &BTreeSet<String>) -> Found {
    // The engine itself follows a `containers` that is a link.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(containers) = rustix::fs::openat(root.root(), c"containers", flags, Mode::empty()) else {
        // Without it the witness of containers on disk refuses.
        return Found::default();
    };
    let Ok(names) = directory::list(containers.as_fd()) else { return Found::default() };
    let listed: BTreeMap<&str, &Container> =
        listed.iter().map(|container| (container.id.as_str(), container)).collect();
    let names: Vec<String> = names.iter().map(|(name, _)| directory::shown(name)).collect();
    let read = |name: String| {
        let container = listed.get(name.as_str()).copied();
        if container.is_none() && acknowledged.contains(&name) {
            return Found::default();
        }
        match read_file(containers.as_fd(), &name, container) {
            Ok(None) => Found::default(),
            Ok(Some(text)) => match parse(&text) {
                Ok(config) => found(container, &name, config),
                Err(error) => unknown(root, container, &name, &format!("is not understood ({error})")),
            },
            Err(Errno::NOENT) if container.is_some_and(is_ending) => Found::default(),
            Err(error) => unknown(root, container, &name, &format!("cannot be read ({error})")),
        }
    };
    let add = |mut all: Found, one: Found| {
        all.claims.extend(one.claims);
        all.wishes.extend(one.wishes);
        all
    };
    names.into_par_iter().map(read).reduce(Found::default, add)
}

/// The text of the file; none when the container is gone, or what stands there is none.
fn read_file(
    containers: BorrowedFd<'_>,
    name: &str,
    listed: Option<&Container>,
) -> rustix::io::Result<Option<Vec<u8>>> {
    let name = directory::c_name(name)?;
    // The engine follows a link in the place of a container's directory.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let flags = if listed.is_some() { flags } else { flags | OFlags::NOFOLLOW };
    for look in 1..=LOOKS {
        let directory = match rustix::fs::openat(containers, &name, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            // What is listed is a container, whatever stands there.
            Err(Errno::NOTDIR | Errno::LOOP) if listed.is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        match directory::read_file(directory.as_fd(), c"hostconfig.json", LARGEST) {
            Ok(text) => return Ok(Some(text)),
            Err(Errno::NOENT) if look < LOOKS => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::NOENT)
}

/// Whether the engine has begun to remove the container, and its files with it: it never starts again. What its mounts name is in
/// the list still.
fn is_ending(container: &Container) -> bool {
    matches!(container.state.as_deref(), Some("dead" | "removing"))
}

fn found(container: Option<&Container>, name: &str, config: HostConfig) -> Found {
    let claim = |(field, value): (String, String)| {
        Claim::new(
            Target::Text(Text::Absolute(value.clone())),
            holder(container, name, &format!("{field} {value}")),
        )
    };
    let wish = |wish: Wish| (holder(container, name, &wish.to_string()), wish);
    Found {
        claims: config.values.into_iter().map(claim).collect(),
        wishes: config.wishes.into_iter().map(wish).collect(),
    }
}

/// The engine runs a listed container by what it has in memory, so a file that is damaged or missing hides what that is (I2).
fn unknown(root: &VolumesDir, container: Option<&Container>, name: &str, problem: &str) -> Found {
    let Some(container) = container else { return Found::default() };
    let path = root.root_path().join("containers").join(name).join("hostconfig.json");
    let why = format!(
        "{} {problem}, so its devices are not known. Mend the file or remove the container",
        path.display()
    );
    let holder = holder(Some(container), name, "its hostconfig.json is not known");
    Found { claims: vec![Claim::new(Target::Anything(why), holder)], wishes: Vec::new() }
}

fn holder(container: Option<&Container>, directory: &str, what: &str) -> Holder {
    match container {
        Some(container) => engine::holder(container, what),
        None => Holder {
            kind: HolderKind::UnloadedContainer,
            id: directory.to_owned(),
            name: directory.get(..12).unwrap_or(directory).to_owned(),
            detail: format!("not loaded by the engine, {what}"),
        },
    }
}

/// Reads the text of a `hostconfig.json`. Pure.
///
/// # Errors
///
/// When it is no JSON object.
pub fn parse(text: &[u8]) -> Result<HostConfig, serde_json::Error> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(text)?;
    let mut config = HostConfig::default();
    for (field, value) in &fields {
        if field == "DeviceRequests" {
            config.wishes.extend(value.as_array().into_iter().flatten().map(wish));
        }
        collect(field, value, &mut config.values);
    }
    Ok(config)
}

/// Every text with a slash in it, whatever field it is in: later engines have fields that this program does not know.
fn collect(field: &str, value: &Value, values: &mut BTreeSet<(String, String)>) {
    if NOT_ON_THE_HOST.contains(&field) {
        return;
    }
    match value {
        Value::String(text) if text.contains('/') => {
            values.insert((field.to_owned(), text.clone()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(field, item, values)),
        Value::Object(fields) => fields.iter().for_each(|(field, value)| collect(field, value, values)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Other drivers than `cdi` may look their devices up among the same specifications, as that for `--gpus` does from Docker 28.3 on.
fn wish(request: &Value) -> Wish {
    let names = request.get("DeviceIDs").and_then(Value::as_array);
    let names: Option<BTreeSet<String>> =
        names.and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    match (request.get("Driver").and_then(Value::as_str), names) {
        (Some("cdi"), Some(names)) if !names.is_empty() => Wish::Named(names),
        _ => Wish::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 20.10 writes it, shortened.
    const WRITTEN: &str = r#"{"Binds":["/srv/a:/b"],"ContainerIDFile":"","LogConfig":{"Type":"syslog","Config":{"syslog-address":
        "unixgram:///v/log/_data/sock"}},"NetworkMode":"none","VolumesFrom":null,"CgroupParent":"/x","BlkioDeviceReadBps":
        [{"Path":"/v/limit/_data/null","Rate":1}],"Devices":[{"PathOnHost":"/v/dev/_data/null","PathInContainer":"/v/other/_data",
        "CgroupPermissions":"rwm"}],"DeviceRequests":[{"Driver":"cdi","Count":0,"DeviceIDs":["v.com/c=d"],"Capabilities":null,
        "Options":null}],"MaskedPaths":["/proc/asound"],"Mounts":[{"Type":"bind","Source":"/srv/c","Target":"/d"}]}"#;

    #[test]
    fn paths_of_the_host_are_told_apart_from_those_in_the_container() {
        let config = parse(WRITTEN.as_bytes()).unwrap();
        let values: Vec<(&str, &str)> =
            config.values.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
        assert_eq!(
            values,
            [
                ("DeviceIDs", "v.com/c=d"),
                ("Path", "/v/limit/_data/null"),
                ("PathOnHost", "/v/dev/_data/null"),
                ("syslog-address", "unixgram:///v/log/_data/sock"),
            ]
        );
        assert_eq!(config.wishes, [Wish::Named(BTreeSet::from(["v.com/c=d".to_owned()]))]);
    }

    #[test]
    fn another_driver_may_use_any_device() {
        for request in [r#"{"Driver":"","Count":-1,"Capabilities":[["gpu"]]}"#, r#"{"Driver":"cdi"}"#, "7"] {
            let config = parse(format!(r#"{{"DeviceRequests":[{request}]}}"#).as_bytes()).unwrap();
            assert_eq!(config.wishes, [Wish::Any], "{request}");
        }
        assert_eq!(parse(br#"{"DeviceRequests":null}"#).unwrap(), HostConfig::default());
    }

    #[test]
    fn what_is_no_object_is_not_understood() {
        for text in ["", "null", "[]", r#"{"Devices":["#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
