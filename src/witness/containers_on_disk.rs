//! Containers that are on disk but which the engine did not load: a damaged file, another storage driver, a missing layer.
//!
//! The engine neither lists them nor counts their volumes as used (all versions to 29), so `docker volume prune` deletes the
//! data of a container that comes back as soon as its cause is mended. A container that the engine lists is not read here: the
//! engine witness answers for it, and the cost of a healthy host is one directory listing.
//!
//! What a directory under `<root>/containers/` says, and what follows:
//!
//! | directory | follows |
//! |---|---|
//! | each file is understood | it holds exactly what the files name |
//! | a file is not understood | it also holds every volume whose name occurs in the bytes of that file |
//! | `config.v2.json` is broken before the end of its mounts, and nothing names a volume | refused: what it held is lost |
//! | a file cannot be read | refused |
//! | no `config.v2.json` and no `config.json` | what other files name; a note, because it may just be being made or removed |
//! | acknowledged in the configuration | not looked at; a note |

mod claims;
mod files;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claims::{describe, lies_above};
use super::locate::{Concerns, Located, Text, Whereabouts, locate_all};
use super::{EvidenceError, Scene};
use crate::gc::entry::EntryId;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::Container;
use claims::{Claim, Mounts, Target, Told};
use raw::Needles;

/// Where each host path that a container names leads.
type Places = BTreeMap<Text, Located>;

/// The volumes of one container, each with the way it is named.
type Held = BTreeMap<VolumeName, String>;

/// Every volume that a container holds which is on disk only.
///
/// The containers in the scene were listed before their directories are: one that is made in between has a directory that is
/// not listed yet and holds what its files name, as it should.
pub async fn ask(scene: Scene<'_>) -> Result<Answer, EvidenceError> {
    let mut answer = Answer::new(Witness::ContainersOnDisk, Vec::new());
    if scene.index.directory().is_none() {
        answer.notes.push(
            "the docker root is not at hand: containers that the engine did not load are not seen".into(),
        );
        return Ok(answer);
    }
    if scene.engine.is_podman() {
        // Its containers are in a database, and each is listed. Nothing is moved there whatever this witness says.
        answer
            .notes
            .push("Podman keeps no container directories: only containers that it lists are seen".into());
        return Ok(answer);
    }
    let listed: HashSet<String> = scene.containers.iter().map(|container| container.id.clone()).collect();
    let look = tokio::task::spawn_blocking({
        let (index, acknowledged) = (Arc::clone(scene.index), scene.acknowledged.clone());
        move || files::examine(&index, &listed, &acknowledged)
    });
    let examined = look.await.map_err(|error| silent(error.to_string()))?.map_err(silent)?;
    answer.notes.extend(examined.notes);
    if examined.told.is_empty() {
        return Ok(answer);
    }
    let needles = needles(scene, &examined.told).await?;
    let places = locate_all(scene.index, texts(&examined.told, scene.containers)).await?;
    let known = Known {
        needles,
        places,
        everything: scene.index.observed().keys().chain(scene.index.classes().keys()).cloned().collect(),
        anonymous: scene.index.observed().keys().filter(|name| name.is_generated()).cloned().collect(),
        listed: scene.containers,
        driver: scene.info.driver.as_deref(),
    };
    let found = known.answer(&examined.told, scene.index.root()).map_err(silent)?;
    answer.references.extend(found.references);
    answer.notes.extend(found.notes);
    answer.alerts.extend(found.alerts);
    Ok(answer)
}

fn silent(why: String) -> EvidenceError {
    EvidenceError::Silent { witness: Witness::ContainersOnDisk, why }
}

/// How an operator gets past a directory that stops every sweep.
fn way_out(directory: &str) -> String {
    format!(
        "mend it, or, if that container is not needed any more, add {directory:?} to `acknowledged` under \
         [containers_on_disk] in the configuration"
    )
}

/// What to search for in files that are not understood. The engine is asked too: a volume of another driver has no directory.
async fn needles(scene: Scene<'_>, told: &[Told]) -> Result<Needles, EvidenceError> {
    if told.iter().all(|told| told.unclear.is_empty()) {
        return Ok(Needles::default());
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "null means no volumes; the decoder refuses a missing field"
    )]
    let listed = scene.engine.volumes().await?.volumes.unwrap_or_default();
    let mut names: BTreeSet<VolumeName> = scene.index.observed().keys().cloned().collect();
    // Those in quarantine, too.
    names.extend(scene.index.classes().keys().cloned());
    names.extend(listed.into_iter().map(|volume| volume.name));
    Ok(Needles::new(names))
}

/// Every host path that has to be followed.
fn texts(told: &[Told], listed: &[Container]) -> BTreeSet<Text> {
    let text = |target: &Target| match target {
        Target::Path(path) => vec![Text::Path(path.clone())],
        Target::VolumesFrom(donor) => {
            listed_donors(listed, donor).into_iter().flat_map(sources).map(Text::Path).collect()
        }
        Target::Volume(_) => Vec::new(),
    };
    told.iter().flat_map(|told| &told.claims).flat_map(|claim| text(&claim.target)).collect()
}

/// The listed containers that `--volumes-from` may mean, in the order in which the engine looks: ID, name, start of an ID.
fn listed_donors<'a>(listed: &'a [Container], donor: &str) -> Vec<&'a Container> {
    let is_it = |container: &&Container| {
        let mut names = container.names.iter().flatten();
        container.id == donor || names.any(|name| name.trim_start_matches('/') == donor)
    };
    let exact: Vec<&Container> = listed.iter().filter(is_it).collect();
    if exact.is_empty() {
        listed.iter().filter(|container| !donor.is_empty() && container.id.starts_with(donor)).collect()
    } else {
        exact
    }
}

fn sources(container: &Container) -> impl Iterator<Item = PathBuf> {
    let sources = container.mounts.iter().filter_map(|mount| mount.source.as_deref());
    sources.filter(|source| source.starts_with('/')).map(PathBuf::from)
}

/// What is said of one container.
enum Remark {
    Note(String),
    Alert(String),
}

/// What is to be said of files that do not tell all, or why nothing may be concluded from them: a broken file that names
/// nothing is no evidence that nothing was held (I2).
fn remark(told: &Told, held: &Held, shown: &str) -> Result<Option<Remark>, String> {
    match &told.mounts {
        Mounts::Lost(file) if held.is_empty() || !told.is_host_config_known() => Err(format!(
            "{shown}: {file} is damaged, and what is left does not tell which volumes the container held; {}",
            way_out(&told.directory)
        )),
        Mounts::Lost(file) => Ok(Some(Remark::Alert(format!(
            "{shown}: {file} is damaged; every anonymous volume may be its own and is held; {}",
            way_out(&told.directory)
        )))),
        Mounts::NoConfig => Ok(Some(Remark::Note(format!(
            "{shown} has no config.v2.json: it holds what its other files name, if any"
        )))),
        Mounts::Known | Mounts::Searched => Ok(None),
    }
}

/// Everything that turns what the files say into references.
struct Known<'a> {
    needles: Needles,
    places: Places,
    everything: BTreeSet<VolumeName>,
    anonymous: Vec<VolumeName>,
    listed: &'a [Container],
    driver: Option<&'a str>,
}

impl Known<'_> {
    /// The references of every container that was read, or why nothing may be concluded.
    fn answer(&self, told: &[Told], root: &Path) -> Result<Answer, String> {
        let own: Vec<Held> = told.iter().map(|told| self.own(told)).collect();
        let mut answer = Answer::new(Witness::ContainersOnDisk, Vec::new());
        let mut lost = Vec::new();
        for (this, own_volumes) in told.iter().zip(&own) {
            let shown = format!("{}/{}", root.join("containers").display(), this.directory);
            let mut held = own_volumes.clone();
            for donor in this.donors() {
                let volumes = self.volumes_from(donor, told.iter().zip(&own));
                // With its own mounts at hand a donor that is gone is no loss: the engine copied them from it.
                if volumes.is_none() && this.mounts != Mounts::Known {
                    let note = "which is gone: what it held through it is not known";
                    answer.notes.push(format!("{shown} has the volumes of container {donor}, {note}"));
                }
                for name in volumes.into_iter().flatten() {
                    held.entry(name).or_insert_with(|| format!("volumes from {donor}"));
                }
            }
            match remark(this, &held, &shown) {
                Ok(Some(Remark::Alert(alert))) => answer.alerts.push(alert),
                Ok(Some(Remark::Note(note))) => answer.notes.push(note),
                Ok(None) => {}
                Err(why) => lost.push(why),
            }
            if let Mounts::Lost(file) = &this.mounts {
                // I2: named volumes are in hostconfig.json, anonymous ones were in the damaged file alone.
                for name in &self.anonymous {
                    let how = format!("any anonymous volume may have been named in {file}");
                    held.entry(name.clone()).or_insert(how);
                }
            }
            self.tell_paths(this, &shown, &mut answer);
            let entries = self.entries(this).map(|(entry, how)| (entry.clone(), self.holder(this, how)));
            answer.entry_holders.extend(entries);
            answer.references.extend(held.into_iter().map(|(volume, how)| Reference {
                volume,
                witness: Witness::ContainersOnDisk,
                holder: self.holder(this, &how),
            }));
        }
        if lost.is_empty() { Ok(answer) } else { Err(lost.join("; ")) }
    }

    /// What a container names itself: precisely where its files are understood, else by the bytes.
    fn own(&self, told: &Told) -> Held {
        let mut held = Held::new();
        for claim in &told.claims {
            match &claim.target {
                Target::Volume(name) => {
                    held.entry(name.clone()).or_insert_with(|| claim.how.clone());
                }
                Target::Path(path) => {
                    for name in self.inside(path) {
                        held.entry(name.clone()).or_insert_with(|| claim.how.clone());
                    }
                }
                Target::VolumesFrom(_) => {}
            }
        }
        for document in &told.unclear {
            for name in self.needles.find(&document.bytes) {
                held.entry(name.clone()).or_insert_with(|| format!("named in {}", document.file));
            }
        }
        held
    }

    /// The volumes of a donor, a listed container or another one on disk. None when there is no such container.
    #[expect(clippy::disallowed_methods, reason = "what is no volume's name is none")]
    fn volumes_from<'t>(
        &self,
        donor: &str,
        on_disk: impl Iterator<Item = (&'t Told, &'t Held)>,
    ) -> Option<BTreeSet<VolumeName>> {
        let listed = listed_donors(self.listed, donor);
        let unloaded: Vec<&Held> =
            on_disk.filter(|(other, _)| other.answers_to(donor)).map(|(_, held)| held).collect();
        if listed.is_empty() && unloaded.is_empty() {
            return None;
        }
        let mut volumes: BTreeSet<VolumeName> =
            unloaded.into_iter().flat_map(|held| held.keys().cloned()).collect();
        for container in listed {
            let names = container.mounts.iter().filter_map(|mount| mount.name.as_deref());
            volumes.extend(names.filter_map(|name| VolumeName::new(name).ok()));
            volumes.extend(
                sources(container)
                    .flat_map(|path| self.inside(&path).into_iter().cloned().collect::<Vec<_>>()),
            );
        }
        Some(volumes)
    }

    /// The volumes that a path leads into: every one, where it cannot be followed (I2).
    fn inside(&self, path: &Path) -> BTreeSet<&VolumeName> {
        let Some(located) = self.located(path) else { return self.everything.iter().collect() };
        if located.may_be_anywhere() {
            return self.everything.iter().collect();
        }
        let inside = located.whereabouts.iter().filter_map(|whereabouts| match whereabouts {
            Whereabouts::Inside(name) => Some(name),
            Whereabouts::Above | Whereabouts::Quarantined(_) => None,
        });
        inside.collect()
    }

    fn located(&self, path: &Path) -> Option<&Located> {
        self.places.get(&Text::Path(path.to_owned()))
    }

    /// The entries of the quarantine that a container's paths lead into.
    fn entries<'t>(&'t self, told: &'t Told) -> impl Iterator<Item = (&'t EntryId, &'t str)> {
        let entry = |whereabouts: &'t Whereabouts| match whereabouts {
            Whereabouts::Quarantined(entry) => Some(entry),
            Whereabouts::Inside(_) | Whereabouts::Above => None,
        };
        told.claims.iter().flat_map(move |claim| {
            let located = claim.path().and_then(|path| self.located(path));
            let places = located.into_iter().flat_map(|located| &located.whereabouts);
            places.filter_map(entry).map(|entry| (entry, claim.how.as_str()))
        })
    }

    fn tell_paths(&self, told: &Told, shown: &str, answer: &mut Answer) {
        let (mut notes, mut alerts) = (BTreeSet::new(), BTreeSet::new());
        for path in told.claims.iter().filter_map(Claim::path) {
            let Some(located) = self.located(path) else { continue };
            let path = path.display();
            if located.whereabouts.contains(&Whereabouts::Above) {
                notes.insert(lies_above(shown, &path));
            }
            let everything = located.doubts.iter().filter(|doubt| doubt.concerns == Concerns::Everything);
            alerts.extend(everything.map(|doubt| {
                format!(
                    "{shown} names {path}: {}, so it may lead into any volume, and all are kept; {}",
                    describe(doubt),
                    way_out(&told.directory)
                )
            }));
        }
        answer.notes.extend(notes);
        answer.alerts.extend(alerts);
    }

    fn holder(&self, told: &Told, how: &str) -> Holder {
        let why = match (&told.mounts, told.cause(), &told.driver, self.driver) {
            (Mounts::NoConfig, ..) => "it has no config.v2.json".to_owned(),
            (_, Some(document), ..) => format!("{} {}", document.file, document.problem),
            (_, None, Some(made), Some(now)) if made != now => {
                format!("made under storage driver {made}, the engine now uses {now}")
            }
            (..) => "its layer may be missing, or it is being made just now".to_owned(),
        };
        Holder {
            kind: HolderKind::UnloadedContainer,
            id: told.directory.clone(),
            name: told.name().to_owned(),
            detail: format!("not loaded by the engine ({why}), {how}"),
        }
    }
}
