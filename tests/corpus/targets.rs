//! What must be true of the parsers of what others write, for any bytes at all. `tests/corpus.rs` replays the committed inputs
//! through these functions, and `fuzz/` feeds them what libFuzzer makes up: both include this file.
//!
//! Each function panics when a property is broken. Where there can be a second opinion, it is asked for: a plain search, a
//! generic JSON reader, a template that is filled in.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use volgc::gc::entry::MANIFEST_VERSION;
use volgc::gc::volume::VolumeName;
use volgc::host::engine::wire::{Container, Info, Version, Volumes};
use volgc::host::proc::mountinfo::parse_mountinfo;
use volgc::host::quarantine::{BadManifest, parse_manifest};
use volgc::report::text::safe;
use volgc::schedule::{Schedule, Zone};
use volgc::witness::claims::{cdi, host_config as claimed};
use volgc::witness::{containers_on_disk, options, swarm};

/// One target: its name, which is that of its corpus, and what is asserted.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const TARGETS: [Target; 12] = [
    ("mountinfo", mountinfo),
    ("containers", containers),
    ("engine_answers", engine_answers),
    ("swarm_answers", swarm_answers),
    ("templates", templates),
    ("manifest", manifest),
    ("config", config),
    ("crontab", crontab),
    ("options", opts),
    ("host_config", host_config),
    ("specification", specification),
    ("shown", shown),
];

/// Volumes that are there, beside those whose names are in the input.
const VOLUMES: [&str; 5] = [
    "db",
    "data-1",
    "a\"b",
    "line\nbreak",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

/// Every line is understood or all are refused, and what is understood is exactly what the kernel had escaped.
pub(crate) fn mountinfo(input: &[u8]) {
    if let Ok(lines) = parse_mountinfo(input) {
        let texts: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        let (last, texts) = texts.split_last().expect("split gives one part at least");
        assert!(last.is_empty(), "a line without its end was taken");
        assert_eq!(lines.len(), texts.len());
        for (line, text) in lines.iter().zip(texts) {
            let fields: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
            assert_eq!(line.root, plain(fields[3]), "{}", String::from_utf8_lossy(text));
            assert_eq!(line.point, plain(fields[4]), "{}", String::from_utf8_lossy(text));
            let digits = fields[0].iter().skip_while(|digit| **digit == b'0').copied().collect::<Vec<u8>>();
            assert_eq!(digits, if line.id == 0 { Vec::new() } else { line.id.to_string().into_bytes() });
        }
    }
    // The other way round: any two paths, as the kernel writes them.
    let (root, point) = input.split_at(input.len() / 2);
    let without_end = |path: &[u8]| path.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>();
    let (root, point) = (without_end(root), without_end(point));
    let line = [
        b"36 35 98:0 /".to_vec(),
        escaped(&root),
        b" /".to_vec(),
        escaped(&point),
        b" rw,noatime master:1 - ext4 /dev/x rw\n".to_vec(),
    ]
    .concat();
    let lines = parse_mountinfo(&line).expect("a line as the kernel writes it");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].root, [b"/", root.as_slice()].concat());
    assert_eq!(lines[0].point, [b"/", point.as_slice()].concat());
}

/// A file is understood exactly when it is an object, and no device in it is overlooked.
pub(crate) fn host_config(input: &[u8]) {
    let value = serde_json::from_slice::<Value>(input).ok().filter(Value::is_object);
    let read = claimed::parse(input);
    assert_eq!(read.is_ok(), value.is_some());
    let (Ok(read), Some(value)) = (read, value) else { return };
    for device in value["Devices"].as_array().into_iter().flatten() {
        let path = device["PathOnHost"].as_str().filter(|path| path.contains('/'));
        assert!(path.is_none_or(|path| read.values.iter().any(|(_, value)| value == path)), "{path:?}");
    }
    let requests = value["DeviceRequests"].as_array().map_or(0, Vec::len);
    assert_eq!(read.wishes.len(), requests);
}

/// Whatever is understood, JSON or YAML, no mount of a device in it is overlooked. What is no specification is refused.
pub(crate) fn specification(input: &[u8]) {
    let read = cdi::parse(input);
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(read) = read else { return };
    assert!(value["kind"].is_string());
    let paths = read.paths(&cdi::Wish::Any);
    for device in value["devices"].as_array().into_iter().flatten() {
        for mount in device["containerEdits"]["mounts"].as_array().into_iter().flatten() {
            let path = mount["hostPath"].as_str().filter(|path| path.contains('/'));
            assert!(path.is_none_or(|path| paths.contains(path)), "{path:?}");
        }
    }
}

/// As `seq_path` of the kernel escapes for mountinfo.
fn escaped(path: &[u8]) -> Vec<u8> {
    let byte = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![*other],
    };
    path.iter().flat_map(byte).collect()
}

fn plain(field: &[u8]) -> Vec<u8> {
    let mut parts = field.split(|byte| *byte == b'\\');
    let mut plain = parts.next().map(<[u8]>::to_vec).unwrap_or_default();
    for part in parts {
        let (digits, rest) = part.split_at(3);
        let digits = std::str::from_utf8(digits).expect("three digits");
        plain.push(u8::from_str_radix(digits, 8).expect("an octal number of one byte"));
        plain.extend(rest);
    }
    plain
}

/// The files of a container that the engine did not load, `config.v2.json` and `hostconfig.json` with a line `---` in between.
///
/// A name that is in the bytes of what cannot be understood is always found, whatever is understood holds what it names, and a
/// broken file that names nothing is refused.
pub(crate) fn containers(input: &[u8]) {
    let separator = b"\n---\n";
    let at = input.windows(separator.len()).position(|window| window == separator);
    let (config, host_config) = match at {
        Some(at) => (&input[..at], &input[at + separator.len()..]),
        None => (input, &br#"{"Binds":null}"#[..]),
    };
    let volumes = names(input);
    let held = containers_on_disk::fuzzing::held(
        &[("config.v2.json", config), ("hostconfig.json", host_config)],
        &volumes,
    );
    let Ok(held) = held else { return };
    let named_in: [fn(&Value) -> Vec<&str>; 2] = [named_in_config, named_in_host_config];
    for (file, named_in) in [config, host_config].into_iter().zip(named_in) {
        let in_bytes = volumes.iter().filter(|volume| is_in(volume.as_str(), file));
        let document = serde_json::from_slice::<Value>(file);
        let named: Option<Vec<&str>> = document.as_ref().ok().map(named_in);
        for volume in in_bytes {
            let is_named = named.as_ref().is_some_and(|named| named.contains(&volume.as_str()));
            if is_named || !is_whole(file) {
                assert!(held.contains(volume), "{volume} is named, and not held");
            }
        }
    }
    // I2: broken before the end of its mounts, and nothing named: what it held is lost, and must not be taken for nothing.
    if !is_whole(config) && held.is_empty() {
        assert!(
            has_whole_mounts(config),
            "a broken configuration that names nothing passed for an empty one"
        );
    }
}

/// Whether it is JSON to its end, whatever it says.
fn is_whole(file: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(file).is_ok()
}

/// What an engine writes where the names of volumes are.
fn named_in_config(document: &Value) -> Vec<&str> {
    let mounts = document["MountPoints"].as_object().into_iter().flatten();
    mounts.filter_map(|(_, mount)| mount["Name"].as_str()).collect()
}

fn named_in_host_config(document: &Value) -> Vec<&str> {
    let binds = document["Binds"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut named: Vec<&str> = binds.filter_map(|bind| Some(bind.split_once(':')?.0)).collect();
    let mounts = document["Mounts"].as_array().into_iter().flatten();
    named.extend(
        mounts.filter(|mount| mount["Type"] == "volume").filter_map(|mount| mount["Source"].as_str()),
    );
    named
}

fn has_whole_mounts(config: &[u8]) -> bool {
    let key = b"\"MountPoints\":";
    let Some(at) = config.windows(key.len()).position(|window| window == key) else { return false };
    let rest = serde_json::Deserializer::from_slice(&config[at + key.len()..]);
    matches!(rest.into_iter::<Value>().next(), Some(Ok(Value::Object(_) | Value::Null)))
}

/// Volumes whose names are in the input, and a few that are there anyway.
fn names(input: &[u8]) -> Vec<VolumeName> {
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let words = input.split(|byte| !is_of_a_name(byte)).filter(|word| word.len() > 1);
    let words: BTreeSet<&str> = words.filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let words = words.into_iter().take(40).chain(VOLUMES);
    words.filter_map(|word| VolumeName::new(word).ok()).collect()
}

fn is_in(needle: &str, bytes: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Nothing of an answer that is taken is lost, and none is taken that is of another form.
pub(crate) fn engine_answers(input: &[u8]) {
    let generic = serde_json::from_slice::<Value>(input);
    if let Ok(volumes) = serde_json::from_slice::<Volumes>(input)
        && let Ok(generic) = &generic
    {
        let listed = &generic["Volumes"];
        assert!(listed.is_null() || listed.is_array(), "{generic}");
        let usable = volumes.volumes.iter().flatten().map(|volume| volume.name.as_str());
        let mut names: Vec<&str> = usable.chain(volumes.odd.iter().map(|odd| odd.name.as_str())).collect();
        let mut told = texts(listed, "Name");
        names.sort_unstable();
        told.sort_unstable();
        assert_eq!(names, told);
        assert!(generic.as_object().is_some_and(|object| object.contains_key("Volumes")));
    }
    if let Ok(containers) = serde_json::from_slice::<Vec<Container>>(input)
        && let Ok(generic) = &generic
    {
        let ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
        assert_eq!(ids, texts(generic, "Id"));
        for (container, generic) in containers.iter().zip(generic.as_array().into_iter().flatten()) {
            assert_eq!(Some(container.mounts.len()), generic["Mounts"].as_array().map(Vec::len));
            for (mount, generic) in
                container.mounts.iter().zip(generic["Mounts"].as_array().into_iter().flatten())
            {
                assert_eq!(mount.name.as_deref(), generic["Name"].as_str());
                assert_eq!(mount.source.as_deref(), generic["Source"].as_str());
            }
            // Shown to people: whatever it is, it can be made.
            assert!(!container.description().is_empty());
            _ = container.name();
        }
    }
    if let Ok(info) = serde_json::from_slice::<Info>(input)
        && let Ok(generic) = &generic
    {
        assert_eq!(Some(info.containers), generic["Containers"].as_u64());
        assert_eq!(Some(info.id.as_str()), generic["ID"].as_str());
        assert_eq!(info.swarm.is_some(), generic["Swarm"].is_object());
        if let Some(swarm) = info.swarm.filter(volgc::host::engine::wire::SwarmInfo::is_outside) {
            assert!(swarm.control_available != Some(true));
        }
    }
    if let Ok(version) = serde_json::from_slice::<Version>(input)
        && let Ok(generic) = &generic
    {
        assert_eq!(Some(version.api_version.as_str()), generic["ApiVersion"].as_str());
        _ = version.is_podman();
    }
}

fn texts<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[key].as_str()).collect()
}

/// Services and tasks, with a line `---` in between: no mount that is there is left out.
pub(crate) fn swarm_answers(input: &[u8]) {
    let separator = b"\n---\n";
    let at = input.windows(separator.len()).position(|window| window == separator);
    let (services, tasks) = match at {
        Some(at) => (&input[..at], &input[at + separator.len()..]),
        None => (input, &b"[]"[..]),
    };
    let Some(mounts) = swarm::fuzzing::mounts(services, tasks) else { return };
    let sources: BTreeSet<Option<&str>> = mounts.iter().map(|mount| mount.source.as_deref()).collect();
    let Ok(generic) = serde_json::from_slice::<Value>(services) else { return };
    assert!(generic.is_array(), "{generic}");
    for service in generic.as_array().into_iter().flatten() {
        let specs = [&service["Spec"], &service["PreviousSpec"]];
        for spec in specs.into_iter().filter(|spec| !spec.is_null()) {
            let container = &spec["TaskTemplate"]["ContainerSpec"];
            assert!(container.is_null() || container.is_object(), "{container}");
            for mount in container["Mounts"].as_array().into_iter().flatten() {
                let source = mount["Source"].as_str();
                assert!(sources.contains(&source), "{source:?} of a service is left out");
            }
        }
    }
}

/// Actions of a template, and what each becomes in a service `web`.
const ACTIONS: [(&str, &str); 10] = [
    (".Node.Hostname", "host-1.example"),
    (".Node.ID", "x9y8z7"),
    (".Service.Name", "web"),
    (".Service.ID", "s1"),
    (".Task.Slot", "3"),
    (".Task.Name", "web.3.abc"),
    ("index .Service.Labels \"a}}b\"", "label"),
    ("/* nothing }} */", ""),
    ("printf \"%s-%d\" .Node.ID 7", "x9y8z7-7"),
    ("if true", ""),
];

/// A template, put together of texts and actions, can name what it becomes when it is filled in (I1).
pub(crate) fn templates(input: &[u8]) {
    // Any text at all can be read.
    let text = String::from_utf8_lossy(input);
    _ = swarm::fuzzing::can_name(&text, Some("web"), "db");
    _ = swarm::fuzzing::can_lead_to(&text, None, "/var/lib/docker/volumes/db/_data");

    let (mut template, mut filled) = (String::new(), String::new());
    let mut trims_next = false;
    for (nth, part) in text.split('|').enumerate() {
        if nth % 2 == 0 {
            let part = part.replace(['{', '}', '\0'], "");
            template.push_str(&part);
            filled.push_str(if trims_next {
                part.trim_start_matches([' ', '\t', '\r', '\n'])
            } else {
                &part
            });
            trims_next = false;
            continue;
        }
        let chosen = part.bytes().next().map_or(0, usize::from);
        let (action, becomes) = ACTIONS[chosen % ACTIONS.len()];
        let (before, after) = (chosen & 64 != 0, chosen & 128 != 0 || part.len() > 1);
        template.push_str(&format!(
            "{{{{{}{action}{}}}}}",
            if before { "- " } else { "" },
            if after { " -" } else { "" }
        ));
        if before {
            filled.truncate(filled.trim_end_matches([' ', '\t', '\r', '\n']).len());
        }
        filled.push_str(becomes);
        trims_next = after;
    }
    let is_usable = !filled.is_empty() && !filled.contains('\n');
    if is_usable {
        assert!(
            swarm::fuzzing::can_name(&template, Some("web"), &filled),
            "{template:?} becomes {filled:?}, and does not match it"
        );
        assert!(swarm::fuzzing::can_name(&template, None, &filled) || !template.contains("{{"));
    }
    if filled.starts_with('/')
        && template.starts_with('/')
        && !filled.contains("..")
        && !filled.contains("//")
    {
        assert!(
            swarm::fuzzing::can_lead_to(&template, Some("web"), &filled),
            "{template:?} becomes {filled:?}, and does not lead there"
        );
    }
}

/// A newer manifest is told from a damaged one, one that is taken is whole, and is read again as it was.
pub(crate) fn manifest(input: &[u8]) {
    const DIRECTORY: &str = "20261124-021500-0000001f";
    let version = serde_json::from_slice::<Value>(input)
        .ok()
        .and_then(|value| value.as_object()?.get("manifest_version")?.as_u64());
    match parse_manifest(input, DIRECTORY) {
        Ok(manifest) => {
            assert_eq!(manifest.entry.as_str(), DIRECTORY);
            assert!(manifest.manifest_version <= MANIFEST_VERSION);
            let text = serde_json::to_vec_pretty(&manifest).expect("a manifest can be written");
            assert_eq!(parse_manifest(&text, DIRECTORY).as_ref(), Ok(&manifest));
            // Renamed, it is another entry's.
            assert!(parse_manifest(input, "20261124-021500-00000020").is_err());
        }
        Err(BadManifest::Newer(newer)) => {
            assert!(newer > MANIFEST_VERSION);
            assert!(version.is_none_or(|version| version == u64::from(newer)));
        }
        Err(BadManifest::Damaged(why)) => {
            assert!(!why.is_empty());
            let newest = u64::from(MANIFEST_VERSION);
            assert!(
                version.is_none_or(|version| version <= newest || version > u64::from(u32::MAX)),
                "{why}"
            );
        }
    }
}

/// Every mistake has a line of the file, and is shown without what could steer a terminal.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match volgc::config::parse(text, "volgc.toml") {
        Ok(settings) => {
            for warning in settings.warnings() {
                assert!(!warning.chars().any(|c| c == '\u{1b}'), "{warning:?}");
            }
        }
        Err(errors) => {
            assert!(!errors.mistakes.is_empty());
            let lines = text.matches('\n').count() + 1;
            for mistake in &errors.mistakes {
                assert!((1..=lines).contains(&mistake.line), "{mistake:?}");
                assert!(mistake.column >= 1 && mistake.width >= 1 && !mistake.message.is_empty());
            }
            let shown = errors.to_string();
            let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            assert!(!shown.contains(is_odd), "{shown:?}");
        }
    }
}

/// A schedule that is taken comes, ever later, and at the times that it says.
pub(crate) fn crontab(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (zone, line) = text.split_once('\n').unwrap_or(("UTC", text));
    let Ok(zone) = Zone::parse(zone) else { return };
    let is_utc = zone.name() == "UTC";
    match Schedule::parse(line, zone) {
        Ok(schedule) => {
            let start: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::days(365 * 56);
            let upcoming = schedule.upcoming(start, 4);
            assert!(!upcoming.is_empty(), "{line:?} never comes");
            let mut before = start;
            for at in upcoming {
                assert!(at > before, "{line:?}: {at} after {before}");
                if is_utc {
                    assert_eq!(at.timestamp() % 60, 0, "{line:?}: {at}");
                    assert!(says(line, at), "{line:?}: {at}");
                }
                before = at;
            }
            _ = schedule.longest_interval(start);
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.is_empty() && !shown.contains("please report"), "{line:?}: {shown}");
        }
    }
}

/// Whether a line of plain numbers, lists and stars names this minute. What is more than that is not judged.
fn says(line: &str, at: DateTime<Utc>) -> bool {
    use chrono::{Datelike as _, Timelike as _};
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else { return true };
    let has = |field: &str, value: u32| {
        let numbers: Option<Vec<u32>> = field.split(',').map(|number| number.parse().ok()).collect();
        field == "*" || numbers.is_none_or(|numbers| numbers.contains(&value))
    };
    let weekday_is = |field: &str| {
        let day = at.weekday().num_days_from_sunday();
        has(field, day) || (day == 0 && has(field, 7))
    };
    let days = match (day.starts_with('*'), weekday.starts_with('*')) {
        (false, false) => has(day, at.day()) || weekday_is(weekday),
        _ => has(day, at.day()) && weekday_is(weekday),
    };
    has(minute, at.minute()) && has(hour, at.hour()) && has(month, at.month()) && days
}

/// What is taken says exactly what the file says.
pub(crate) fn opts(input: &[u8]) {
    let Ok(options) = options::parse(input) else { return };
    let generic: Value = serde_json::from_slice(input).expect("what is taken is JSON");
    assert!(generic.is_object(), "{generic}");
    for (key, written) in [("type", "MountType"), ("o", "MountOpts"), ("device", "MountDevice")] {
        assert_eq!(options.get(key).map(String::as_str), generic[written].as_str());
    }
}

/// Nothing that steers a terminal gets through, and nothing else is changed.
pub(crate) fn shown(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let clean = safe(&text);
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!clean.contains(steers), "{clean:?}");
    assert_eq!(clean.lines().count(), usize::from(!text.is_empty()));
    assert_eq!(safe(&clean), clean);
    if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        assert_eq!(clean, text);
    }
}
