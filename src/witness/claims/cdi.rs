//! The host paths in CDI specifications (<https://github.com/cncf-tags/container-device-interface>), which a container gets with a
//! device and which are in no list of mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use rustix::io::Errno;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::Value;

use super::{Claim, Target};
use crate::gc::reference::Holder;
use crate::host::view::View;
use crate::witness::locate::Text;

/// Where an engine looks that does not say where (moby `daemon/config`, 25 to 29).
const USUAL: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A specification larger than this is none that a generator wrote.
const LARGEST: usize = 4 << 20;

/// Which devices a container asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It is not known, so any.
    Any,
    /// These, as `vendor.com/class=name`.
    Named(BTreeSet<String>),
}

impl fmt::Display for Wish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("with devices of a driver"),
            Self::Named(names) => {
                write!(out, "with CDI device {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// One specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// `vendor.com/class`.
    kind: String,
    /// The paths that come with any of its devices.
    common: BTreeSet<String>,
    /// The paths of each device.
    devices: BTreeMap<String, BTreeSet<String>>,
}

/// The paths that the containers get with their devices, or what is to be mended before that can be known.
pub fn claims(wishes: Vec<(Holder, Wish)>, specs: &Result<Vec<Spec>, String>) -> Vec<Claim> {
    let of = |(holder, wish): (Holder, Wish)| match specs {
        Ok(specs) => {
            let paths: BTreeSet<String> = specs.iter().flat_map(|spec| spec.paths(&wish)).collect();
            let claim = |path| Claim::new(Target::Text(Text::Absolute(path)), holder.clone());
            paths.into_iter().map(claim).collect()
        }
        Err(why) => vec![Claim::new(Target::Anything(why.clone()), holder)],
    };
    wishes.into_iter().flat_map(of).collect()
}

/// Reads every specification, as the engine sees them. Blocks on the file system.
///
/// # Errors
///
/// What cannot be read or understood, and what to do.
#[expect(clippy::disallowed_methods, reason = "where the engine does not say where, the usual places count")]
pub fn read(view: &View, told: Option<&[String]>) -> Result<Vec<Spec>, String> {
    let told = told.unwrap_or_default().iter().map(String::as_str);
    let directories: BTreeSet<&str> = told.chain(USUAL).collect();
    let mut specs = Vec::new();
    for directory in directories {
        let names = match view.list(Path::new(directory)) {
            Ok(names) => names,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => {
                return Err(format!("the CDI specifications in {directory} cannot be listed ({error})"));
            }
        };
        for name in names.iter().filter(|name| is_specification(name)) {
            let path = Path::new(directory).join(name);
            let broken = |why: String| format!("the CDI specification {} {why}", path.display());
            match view.read_file(&path, LARGEST) {
                Ok(text) => {
                    let spec = parse(&text).map_err(|why| broken(format!("is not understood ({why})")))?;
                    specs.push(spec);
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(broken(format!("cannot be read ({error})"))),
            }
        }
    }
    Ok(specs)
}

fn is_specification(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(std::ffi::OsStr::to_str);
    matches!(extension, Some("json" | "yaml"))
}

/// Reads the text of a specification, JSON or YAML. Pure.
///
/// # Errors
///
/// When it is neither, or has not the form of a specification.
pub fn parse(text: &[u8]) -> Result<Spec, String> {
    let value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(_) => from_yaml_text(text)?,
    };
    let kind = value.get("kind").and_then(Value::as_str).ok_or("it has no kind")?.to_owned();
    let mut spec = Spec { kind, ..Spec::default() };
    collect(value.get("containerEdits").unwrap_or(&Value::Null), &mut spec.common);
    let devices = match value.get("devices") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(devices)) => devices.as_slice(),
        Some(_) => return Err("its devices are no list".to_owned()),
    };
    for device in devices {
        // Go writes and reads a number as a name only in quotes; whoever forgot them means the number.
        let name = match device.get("name") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) | None => return Err("a device has no name".to_owned()),
        };
        collect(device.get("containerEdits").unwrap_or(&Value::Null), spec.devices.entry(name).or_default());
    }
    Ok(spec)
}

/// Every path of the host, in whatever field. A device node has the same path here and there unless it says otherwise.
fn collect(value: &Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.contains('/') => {
            paths.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, paths)),
        Value::Object(fields) => {
            let has_host_path = fields.contains_key("hostPath");
            for (field, value) in fields {
                match field.as_str() {
                    "containerPath" | "env" | "options" => {}
                    "path" if has_host_path => {}
                    _ => collect(value, paths),
                }
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Spec {
    /// The paths that come with the wished ones of its devices.
    pub fn paths(&self, wish: &Wish) -> BTreeSet<String> {
        let is_wished = |name: &str| match wish {
            Wish::Any => true,
            Wish::Named(names) => {
                let of_kind = |wished: &String| {
                    wished.strip_prefix(&self.kind).and_then(|rest| rest.strip_prefix('=')) == Some(name)
                };
                names.iter().any(of_kind)
            }
        };
        let wished: Vec<&BTreeSet<String>> =
            self.devices.iter().filter(|(name, _)| is_wished(name)).map(|(_, paths)| paths).collect();
        let common = self.common.iter().filter(|_| !wished.is_empty());
        common.chain(wished.iter().copied().flatten()).cloned().collect()
    }
}

fn from_yaml_text(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    // The engine reads the first one.
    from_yaml(documents.first().ok_or("it is empty")?)
}

fn from_yaml(node: &Yaml<'_>) -> Result<Value, String> {
    match node {
        Yaml::Value(Scalar::Null) => Ok(Value::Null),
        Yaml::Value(Scalar::Boolean(value)) => Ok(Value::Bool(*value)),
        Yaml::Value(Scalar::Integer(value)) => Ok(Value::from(*value)),
        Yaml::Value(Scalar::FloatingPoint(value)) => Ok(Value::from(value.into_inner())),
        Yaml::Value(Scalar::String(text)) => Ok(Value::String(text.to_string())),
        Yaml::Sequence(items) => items.iter().map(from_yaml).collect(),
        Yaml::Mapping(fields) => {
            let field = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
                let key = key.as_str().ok_or("a key is no text")?.to_owned();
                Ok::<_, String>((key, from_yaml(value)?))
            };
            fields.iter().map(field).collect::<Result<serde_json::Map<_, _>, _>>().map(Value::Object)
        }
        Yaml::Representation(..) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
            Err("it has something that no specification has".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "cdiVersion: 0.6.0\nkind: v.com/data\ncontainerEdits:\n  hooks:\n  - hookName: createContainer\n    \
                        path: /usr/bin/hook\n    args: [hook, \"/c\\x6fmmon\"]\ndevices:\n- name: one\n  containerEdits:\n    \
                        mounts:\n    - &m\n      hostPath: /v/one\n      containerPath: /data\n      options: [ro, bind]\n    \
                        deviceNodes:\n    - path: /dev/a\n      hostPath: /v/dev\n    - path: /dev/b\n- name: two\n  \
                        containerEdits: {mounts: [*m]}\n";

    fn paths(text: &str, wish: &Wish) -> Vec<String> {
        parse(text.as_bytes()).unwrap().paths(wish).into_iter().collect()
    }

    fn named(name: &str) -> Wish {
        Wish::Named(BTreeSet::from([name.to_owned()]))
    }

    #[test]
    fn a_device_brings_its_own_paths_and_the_common_ones() {
        let common = ["/common", "/usr/bin/hook"];
        assert_eq!(
            paths(YAML, &named("v.com/data=one")),
            [&common[..1], &["/dev/b"], &common[1..], &["/v/dev", "/v/one"]].concat()
        );
        assert_eq!(paths(YAML, &named("v.com/data=two")), [&common[..], &["/v/one"]].concat());
        assert_eq!(paths(YAML, &Wish::Any).len(), 5);
        for other in ["v.com/data=three", "v.com/dat=aone", "w.com/data=one"] {
            assert_eq!(paths(YAML, &named(other)), Vec::<String>::new(), "{other}");
        }
    }

    #[test]
    fn json_is_read_too() {
        let json = r#"{"cdiVersion":"0.3.0","kind":"v/c","devices":[{"name":"d","containerEdits":{"mounts":
            [{"hostPath":"/v/\u006fne","containerPath":"/x"}]}}]}"#;
        assert_eq!(paths(json, &named("v/c=d")), ["/v/one"]);
    }

    #[test]
    fn what_is_no_specification_is_not_understood() {
        for text in
            ["", "- a", "kind: [", "devices: []", "kind: a\ndevices: 7", "kind: a\ndevices:\n- x: y", "\u{0}"]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_specification_that_is_not_known_may_name_anything() {
        let holder = Holder {
            kind: crate::gc::reference::HolderKind::Container,
            id: "c".to_owned(),
            name: "c".to_owned(),
            detail: String::new(),
        };
        let claims = claims(vec![(holder, named("v/c=d"))], &Err("it is broken".to_owned()));
        assert!(matches!(claims[0].target, Target::Anything(_)));
    }
}
