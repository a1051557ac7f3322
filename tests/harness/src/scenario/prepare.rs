//! What each scenario needs before its command runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::stock::InPlace;
use super::{Behind, Case, Host};
use crate::treasure::Treasure;

fn case(treasures: Vec<Treasure>, command: &[&str]) -> Case {
    Case {
        treasures,
        behind: None,
        is_deletion: false,
        is_adopted: false,
        is_name_unsafe: false,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        rule: String::new(),
        parked: Vec::new(),
    }
}

fn treasure(host: &Host<'_>) -> Treasure {
    Treasure::make(host.engine, &host.new_name())
}

pub(super) fn quarantine(host: &Host<'_>) -> Case {
    let treasure = treasure(host);
    let name = treasure.name.clone();
    case(vec![treasure], &["quarantine", &name])
}

pub(super) fn restore(host: &Host<'_>, more: &[&str]) -> Case {
    let (treasure, entry) = host.quarantined();
    case(vec![treasure], &[&["restore", &entry], more].concat())
}

pub(super) fn restore_as(host: &Host<'_>) -> Case {
    let mut case = restore(host, &["--as"]);
    case.command.push(format!("{}-other", case.treasures[0].name));
    case
}

pub(super) fn restore_replacing(host: &Host<'_>) -> Case {
    let mut case = restore(host, &["--replace"]);
    case.treasures.push(Treasure::make(host.engine, &case.treasures[0].name));
    case
}

pub(super) fn delete(host: &Host<'_>) -> Case {
    let (treasure, entry) = host.quarantined();
    Case { is_deletion: true, ..case(vec![treasure], &["delete", "--yes", &entry]) }
}

/// A rule for one volume, with a name of its own as several may be in force.
fn rule(name: &str) -> String {
    format!(
        "[[rule]]\nname = \"of {name}\"\nmatch = {{ volume = \"{name}\" }}\nquarantine_after = \"0s\"\ndelete_after = \"0s\"\n"
    )
}

pub(super) fn sweep_quarantines(host: &Host<'_>) -> Case {
    let treasure = treasure(host);
    host.volgc.ok(&["sweep"]);
    Case { rule: rule(&treasure.name), ..case(vec![treasure], &["sweep"]) }
}

/// Somebody changed the data after its clock had started.
pub(super) fn sweep_finds_a_use(host: &Host<'_>) -> Case {
    let case = sweep_quarantines(host);
    let file = host.engine.volume_data(&case.treasures[0].name).join("base/table");
    let changed = fs::set_permissions(&file, fs::Permissions::from_mode(0o600));
    changed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    case
}

/// The ledger remembers other directories than there are, and a hold.
pub(super) fn acknowledge_a_copy(host: &Host<'_>) -> Case {
    let treasure = treasure(host);
    host.volgc.ok(&["hold", &treasure.name, "--reason", "a test"]);
    // One that was killed may have left it so.
    host.forget_places();
    host.volgc.ok(&["sweep"]);
    host.change_ledger("UPDATE lineage SET places = replace(places, '\"inode\":', '\"inode\":1')");
    case(vec![treasure], &["acknowledge"])
}

pub(super) fn sweep_deletes(host: &Host<'_>) -> Case {
    let (treasure, _) = host.quarantined();
    // Starts the clock of the entry.
    host.volgc.ok(&["sweep"]);
    Case { is_deletion: true, rule: rule(&treasure.name), ..case(vec![treasure], &["sweep"]) }
}

pub(super) fn hold(host: &Host<'_>) -> Case {
    let treasure = treasure(host);
    let name = treasure.name.clone();
    case(vec![treasure], &["hold", &name, "--reason", "a test"])
}

pub(super) fn release(host: &Host<'_>) -> Case {
    let treasure = treasure(host);
    let name = treasure.name.clone();
    host.volgc.ok(&["hold", &name, "--reason", "a test"]);
    case(vec![treasure], &["release", &name])
}

pub(super) fn acknowledge(host: &Host<'_>) -> Case {
    case(vec![treasure(host)], &["acknowledge"])
}

/// Nothing is remembered, not even where (I9).
pub(super) fn new_ledger(host: &Host<'_>) -> Case {
    let state = host.volgc.state_dir();
    // The one before may have been stopped before it made the directory.
    if state.exists() {
        fs::remove_dir_all(&state).unwrap_or_else(|error| panic!("{}: {error}", state.display()));
    }
    case(vec![treasure(host)], &["sweep"])
}

/// What a command leaves that is killed at a point, for a sweep to recover.
pub(super) fn unfinished(host: &Host<'_>, before: Case, point: &str) -> Case {
    unfinished_with(host, before, point, "")
}

/// The same, led there by more faults.
pub(super) fn unfinished_with(host: &Host<'_>, before: Case, point: &str, with: &str) -> Case {
    let output = host.run(&before, &format!("{point}@1=kill,{with}"), None);
    assert_eq!(output.status, None, "not killed at {point}: {output:?}");
    Case { command: vec!["sweep".to_owned()], ..before }
}

/// The same when the engine forgets the volume unasked, before the sweep.
pub(super) fn unfinished_and_removed(host: &Host<'_>, point: &str) -> Case {
    let case = unfinished(host, quarantine(host), point);
    host.engine.json("DELETE", &format!("/volumes/{}", case.treasures[0].name), None);
    case
}

/// What volgc 0.1 left when it was killed: it renamed the data first, and the volume had none.
pub(super) fn left_by_an_earlier_one(host: &Host<'_>, state: &str, more: &serde_json::Value) -> Case {
    let case = unfinished(host, quarantine(host), "exchange.swap");
    let name = &case.treasures[0].name;
    let manifest = host.manifest_of(name);
    let text =
        fs::read_to_string(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    value["manifest_version"] = 1.into();
    value["state"] = state.into();
    for (key, with) in more.as_object().into_iter().flatten() {
        value[key] = with.clone();
    }
    let entry = manifest.with_file_name("");
    fs::write(&manifest, value.to_string())
        .and_then(|()| fs::remove_file(entry.join("use-volgc-restore-or-delete")))
        .and_then(|()| fs::rename(host.engine.volume_data(name), entry.join("data")))
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", entry.display()));
    case
}

/// A directory that the engine does not list, beside a volume that it does: else nothing proves that the root is its own.
pub(super) fn quarantine_unlisted(host: &Host<'_>) -> Case {
    host.engine.create_volume("anchor", &[("volgc.keep", "true")]);
    let treasure = Treasure::stray(host.engine, &host.new_name());
    let name = treasure.name.clone();
    let rule = "[[rule]]\nname = \"strays\"\nmatch = { class = \"unlisted\" }\nquarantine_after = \"0s\"\ndelete_after = \"1h\"\n";
    // It may become a volume, without the labels that others have.
    Case { rule: rule.to_owned(), is_adopted: true, ..case(vec![treasure], &["quarantine", &name]) }
}

/// What is left of it by a kill. The sweep that recovers it has no rule that would take others like it.
pub(super) fn unfinished_unlisted(host: &Host<'_>, point: &str) -> Case {
    let case = unfinished(host, quarantine_unlisted(host), point);
    Case { rule: String::new(), ..case }
}

/// A volume that is a mount of a directory beside the engine's own.
pub(super) fn bound_volume(host: &Host<'_>) -> (String, Behind) {
    let name = host.new_name();
    let behind = Behind::make(host, &name);
    let options = serde_json::json!({ "type": "none", "o": "bind", "device": behind.path });
    let body = serde_json::json!({ "Name": name, "Driver": "local", "DriverOpts": options }).to_string();
    host.engine.json("POST", "/volumes/create", Some(&body));
    (name, behind)
}

/// Permits a volume to be quarantined in place.
pub(super) fn in_place_rule(name: &str) -> String {
    format!("{}in_place = true\n", rule(name)).replace("delete_after = \"0s\"", "delete_after = \"1h\"")
}

pub(super) fn mark(host: &Host<'_>) -> Case {
    let (name, behind) = bound_volume(host);
    let rule = in_place_rule(&name);
    Case { rule, behind: Some(behind), ..case(Vec::new(), &["quarantine", &name]) }
}

pub(super) fn release_by_hand(host: &Host<'_>) -> Case {
    let InPlace { behind, entry, .. } = host.marked();
    Case { behind: Some(behind), ..case(Vec::new(), &["restore", &entry]) }
}

pub(super) fn sweep_releases(host: &Host<'_>) -> Case {
    let InPlace { name, behind, .. } = host.marked();
    host.volgc.ok(&["hold", &name, "--reason", "a test"]);
    Case { behind: Some(behind), ..case(Vec::new(), &["sweep"]) }
}

pub(super) fn end_in_place(host: &Host<'_>) -> Case {
    let InPlace { behind, entry, .. } = host.marked();
    Case { behind: Some(behind), is_deletion: true, ..case(Vec::new(), &["delete", "--yes", &entry]) }
}

/// The entry's name, for which an order may still be on its way through a proxy.
fn make_name_unsafe(host: &Host<'_>, entry: &str) {
    let file = host.engine.root().join("volgc").join(entry).join("manifest.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut manifest: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    manifest["name_unsafe_until"] = (chrono::Utc::now() + chrono::TimeDelta::minutes(50)).to_rfc3339().into();
    fs::write(&file, manifest.to_string()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

pub(super) fn restore_as_of_an_unsafe_name(host: &Host<'_>) -> Case {
    let (treasure, entry) = host.quarantined();
    make_name_unsafe(host, &entry);
    let other = format!("{}-other", treasure.name);
    Case { is_name_unsafe: true, ..case(vec![treasure], &["restore", &entry, "--as", &other]) }
}

pub(super) fn delete_of_an_unsafe_name(host: &Host<'_>) -> Case {
    let (treasure, entry) = host.quarantined();
    make_name_unsafe(host, &entry);
    Case { is_deletion: true, is_name_unsafe: true, ..case(vec![treasure], &["delete", "--yes", &entry]) }
}
