use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::host::view::View;
use crate::host::volumes_dir::VolumesDir;
use crate::witness::index::VolumeIndex;
use crate::witness::locate::resolve;

mod damage;
mod directories;
mod donors;
mod formats;
mod raw;

const ID: &str = "aaaaaaaaaaaa0000000000000000000000000000000000000000000000000000";
const OTHER: &str = "bbbbbbbbbbbb0000000000000000000000000000000000000000000000000000";
const NO_BINDS: &str = r#"{"Binds":null,"Mounts":null,"VolumesFrom":null}"#;

/// A docker root, and what the witness is told besides.
struct Root {
    place: tempfile::TempDir,
    listed: Vec<Container>,
    acknowledged: BTreeSet<String>,
    other_volumes: Vec<&'static str>,
}

impl Root {
    fn new(volumes: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("containers")).unwrap();
        std::fs::create_dir(place.path().join("volumes")).unwrap();
        for volume in volumes {
            std::fs::create_dir_all(place.path().join("volumes").join(volume).join("_data/sub")).unwrap();
        }
        Self { place, listed: Vec::new(), acknowledged: BTreeSet::new(), other_volumes: Vec::new() }
    }

    fn container(self, directory: &str, files: &[(&str, &str)]) -> Self {
        let path = self.directory(directory);
        std::fs::create_dir(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        self
    }

    fn listed(mut self, id: &str, name: &str, mounts: &str) -> Self {
        let text = format!(r#"{{"Id":"{id}","Names":["/{name}"],"Mounts":{mounts}}}"#);
        self.listed.push(serde_json::from_str(&text).unwrap());
        self
    }

    fn acknowledging(mut self, directory: &str) -> Self {
        self.acknowledged.insert(directory.to_owned());
        self
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.path().join("containers").join(name)
    }

    fn index(&self) -> VolumeIndex {
        let root = self.path().to_str().unwrap();
        let directory = VolumesDir::open(root).unwrap();
        let names = directory.names(&directory.covers().unwrap()).unwrap();
        let names = names.iter().map(|name| VolumeName::new(name.to_str().unwrap()).unwrap());
        let observed = names.map(|name| (name.clone(), directory.observe(&name))).collect();
        VolumeIndex::new(root, Some(Arc::new(directory)), observed).unwrap()
    }

    /// The same steps as [`ask`], without an engine.
    fn ask(&self) -> Result<Answer, String> {
        let index = self.index();
        let listed: HashSet<String> = self.listed.iter().map(|container| container.id.clone()).collect();
        let examined = files::examine(&index, &listed, &self.acknowledged)?;
        let mut names: Vec<VolumeName> = index.observed().keys().cloned().collect();
        names.extend(self.other_volumes.iter().map(|name| VolumeName::new(*name).unwrap()));
        let view = View::of_process(std::process::id(), 0).unwrap();
        let found = |text: &Text| resolve(index.map(), &view, Ok(Path::new("/")), text);
        let places = texts(&examined.told, &self.listed)
            .into_iter()
            .map(|text| (text.clone(), found(&text)))
            .collect();
        let known = Known {
            everything: BTreeSet::new(),
            needles: Needles::new(names),
            places,
            anonymous: self.index().observed().keys().filter(|name| name.is_generated()).cloned().collect(),
            listed: &self.listed,
            driver: Some("overlay2"),
        };
        let mut answer = known.answer(&examined.told, index.root())?;
        answer.notes.extend(examined.notes);
        Ok(answer)
    }

    /// Which volumes are held by which directories.
    fn held(&self) -> Vec<(String, String)> {
        let references = self.ask().unwrap().references;
        let pair =
            |reference: Reference| (reference.volume.to_string(), reference.holder.id[..12].to_owned());
        references.into_iter().map(pair).collect()
    }

    fn volumes(&self) -> Vec<String> {
        self.held().into_iter().map(|(volume, _)| volume).collect()
    }

    fn notes(&self) -> String {
        let answer = self.ask().unwrap();
        [answer.notes, answer.alerts].concat().join("\n")
    }

    fn refusal(&self) -> String {
        self.ask().unwrap_err()
    }
}

/// A configuration as an engine writes it, with the mounts given.
fn config(mounts: &str) -> String {
    format!(
        r#"{{"StreamConfig":{{}},"State":{{"Running":false}},"ID":"{ID}","Created":"2024-01-01T00:00:00Z","Path":"sh",
        "Config":{{"Env":["A=decoy"],"Volumes":{{"/decoy":{{}}}},"Labels":{{"a":"decoy"}}}},"Name":"/shop-db-1",
        "Driver":"overlay2","MountPoints":{mounts},"SecretReferences":null,"MountLabel":""}}"#
    )
}

fn mount(name: &str) -> String {
    config(&format!(
        r#"{{"/data":{{"Source":"","Destination":"/data","RW":true,"Name":"{name}","Driver":"local","Type":"volume",
        "Spec":{{"Type":"volume","Target":"/data"}}}}}}"#
    ))
}

fn one(mounts: &str, volumes: &[&str]) -> Root {
    Root::new(volumes).container(ID, &[("config.v2.json", &config(mounts)), ("hostconfig.json", NO_BINDS)])
}

fn host(text: &str, volumes: &[&str]) -> Root {
    Root::new(volumes).container(ID, &[("config.v2.json", &config("{}")), ("hostconfig.json", text)])
}

fn assert_refuses(refusal: &str, directory: &Path, why: &str) {
    let name = directory.file_name().unwrap().to_str().unwrap();
    let parts = [
        format!("{}: {why}", directory.display()),
        format!("add {name:?} to `acknowledged` under [containers_on_disk] in the configuration"),
    ];
    for part in parts {
        assert!(refusal.contains(&part), "{part:?} is not in {refusal:?}");
    }
}
