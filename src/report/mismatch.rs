//! Records of the engine that have nothing on disk, and names that nothing is behind: each with one sentence on what it means.

use crate::gc::entry::Entry;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::{Class, Unmovable, VolumeName};
use crate::sweep::look::Look;

/// One note for each volume without its data, for each directory that is no volume, and for each missing volume that something
/// names.
pub fn notes(look: &Look) -> Vec<String> {
    let mut notes: Vec<String> = without_data(look).chain(unlisted(look)).collect();
    for (name, references) in look.observation.inventory.missing_volumes() {
        notes.extend(missing(look, name, references));
    }
    notes
}

/// Volumes that the engine lists, and whose data somebody else took away. (Not those that volgc is moving.)
fn without_data(look: &Look) -> impl Iterator<Item = String> {
    let volumes = look.observation.inventory.volumes().filter(|volume| volume.driver == "local");
    volumes.filter_map(|volume| {
        let name = &volume.name;
        let what = volume.unmovable.iter().find_map(|why| match why {
            Unmovable::NoDirectory => Some(format!("the directory volumes/{name}")),
            Unmovable::NoData => Some(format!("the directory volumes/{name}/_data")),
            Unmovable::OtherDriver
            | Unmovable::OtherScope
            | Unmovable::DriverOptions
            | Unmovable::OptionsFile
            | Unmovable::NotADirectory
            | Unmovable::ForeignContent
            | Unmovable::OtherFileSystem
            | Unmovable::Mounted
            | Unmovable::NameNotAccepted
            | Unmovable::Immutable
            | Unmovable::ProjectQuota
            | Unmovable::Unreadable
            | Unmovable::NoAnswer
            | Unmovable::RootNotHere
            | Unmovable::ClusterVolume
            | Unmovable::RootUnproven
            | Unmovable::NotAMount
            | Unmovable::OptionsDiffer
            | Unmovable::MountPointNotEmpty
            | Unmovable::RenameRefused
            | Unmovable::RenameUnsafe => None,
        })?;
        entry_of(look, name).is_none().then(|| {
            format!(
                "volume {name} is in the engine's list, but {what} does not exist: its data was taken away behind the engine's \
                 back, and no container can start with it; put it back, or forget the volume with `docker volume rm {name}`"
            )
        })
    })
}

/// Directories among the volumes that the engine does not list.
fn unlisted(look: &Look) -> impl Iterator<Item = String> {
    let inventory = &look.observation.inventory;
    inventory.volumes().filter(|volume| volume.class == Class::Unlisted).map(|volume| {
        let name = &volume.name;
        let holders: Vec<&Holder> =
            inventory.references(name).iter().map(|reference| &reference.holder).collect();
        let used = if holders.is_empty() {
            String::new()
        } else {
            let who = who(&holders, "uses", "use");
            format!("; {who} a path in it, and what is written there is in no volume")
        };
        format!(
            "the directory volumes/{name} is not listed by the engine: it was made behind its back, or dropped by it{used}"
        )
    })
}

/// What it means that something names a volume which the engine does not list.
fn missing(look: &Look, name: &VolumeName, references: &[Reference]) -> Option<String> {
    let way_back = entry_of(look, name).map_or_else(String::new, |entry| {
        format!("; its data is in quarantine, `volgc restore {entry}` brings it back")
    });
    let (by_path, by_name): (Vec<&Reference>, Vec<&Reference>) =
        references.iter().partition(|reference| reference.witness == Witness::BindSources);
    let by_name: Vec<&Holder> = by_name
        .into_iter()
        .map(|reference| &reference.holder)
        .filter(|holder| means_one_that_was(holder.kind))
        .collect();
    if !by_name.is_empty() {
        return Some(format!(
            "volume {name} does not exist, but {} it: it was removed or lost while it was still needed, and what needs it does \
             not start, or starts without its data{way_back}",
            who(&by_name, "names", "name")
        ));
    }
    let by_path: Vec<&Holder> = by_path.into_iter().map(|reference| &reference.holder).collect();
    (!by_path.is_empty()).then(|| {
        format!(
            "the engine lists no volume {name}, but {} a path in its directory: what is written there is in no volume{way_back}",
            who(&by_path, "uses", "use")
        )
    })
}

/// Whether such a holder names a volume that was there once. A service does not: the engine makes its volumes where a task runs.
fn means_one_that_was(kind: HolderKind) -> bool {
    match kind {
        HolderKind::Container
        | HolderKind::UnloadedContainer
        | HolderKind::Volume
        | HolderKind::Plugin
        | HolderKind::Hold => true,
        HolderKind::Mount | HolderKind::Process | HolderKind::Service | HolderKind::UnknownSwarm => false,
    }
}

/// `container web names`, `container web, container db name`.
fn who(holders: &[&Holder], one: &str, many: &str) -> String {
    let mut names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    let verb = if names.len() == 1 { one } else { many };
    format!("{} {verb}", names.join(", "))
}

/// The quarantine entry that was a volume of that name.
fn entry_of<'a>(look: &'a Look, name: &VolumeName) -> Option<&'a str> {
    look.quarantine.entries.iter().find_map(|entry| match entry {
        Entry::Known(manifest) if manifest.name == *name => Some(manifest.entry.as_str()),
        Entry::Known(_) | Entry::Deleting(_) | Entry::Damaged { .. } => None,
    })
}
