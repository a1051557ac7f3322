#![expect(clippy::disallowed_methods, reason = "a test makes its own docker root, by path")]

use std::collections::{BTreeSet, HashSet};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::host::volumes_dir::VolumesDir;

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
        let names = directory.names().unwrap();
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
        let places = paths(&examined.told, &self.listed);
        let places = places.into_keys().map(|path| (path.clone(), index.locate(&path).unwrap())).collect();
        let known = Known {
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
        self.ask().unwrap().notes.join("\n")
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

#[test]
fn a_container_the_engine_does_not_list_holds_exactly_what_its_files_name() {
    let root = Root::new(&["pg", "decoy", "shop"])
        .container(ID, &[("config.v2.json", &mount("pg")), ("hostconfig.json", NO_BINDS)]);
    let answer = root.ask().unwrap();
    assert_eq!(answer.witness, Witness::ContainersOnDisk);
    assert_eq!(answer.notes, Vec::<String>::new());
    let [reference] = answer.references.as_slice() else { panic!("{answer:?}") };
    assert_eq!(reference.volume.as_str(), "pg");
    assert_eq!(reference.witness, Witness::ContainersOnDisk);
    assert_eq!(
        reference.holder,
        Holder {
            kind: HolderKind::UnloadedContainer,
            id: ID.to_owned(),
            name: "shop-db-1".to_owned(),
            detail:
                "not loaded by the engine (its layer may be missing, or it is being made just now), at /data"
                    .to_owned(),
        }
    );
}

#[test]
fn a_listed_container_is_not_read() {
    // Its file could not be: a fifo in its place would be refused.
    let root = Root::new(&["pg"]).container(ID, &[]).listed(ID, "db", "[]");
    fifo(&root.directory(ID).join("config.v2.json"));
    assert_eq!(root.ask().unwrap(), Answer::new(Witness::ContainersOnDisk, Vec::new()));
}

#[test]
fn a_container_made_under_another_storage_driver_is_held_and_says_so() {
    let text = mount("pg").replace("overlay2", "vfs");
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &text), ("hostconfig.json", NO_BINDS)]);
    let answer = root.ask().unwrap();
    assert_eq!(
        answer.references[0].holder.detail,
        "not loaded by the engine (made under storage driver vfs, the engine now uses overlay2), at /data"
    );
}

#[test]
fn every_kind_of_mount_that_names_a_volume_counts() {
    let cases = [
        (r#"{"/d":{"Name":"pg","Type":"volume","Source":""}}"#, "before and after 1.13"),
        (r#"{"/d":{"Name":"pg","RW":true,"Source":"/elsewhere"}}"#, "without a type"),
        (r#"{"/d":{"Name":"pg","Type":"something-new"}}"#, "a type of tomorrow"),
        (r#"{"/d":{"Type":"volume","Spec":{"Type":"volume","Source":"pg"}}}"#, "as it was asked for"),
        (r#"{"/d":{"Type":"cluster","Source":"pg"}}"#, "another kind of volume"),
        (r#"{"/d":{"Type":"bind","Source":"ROOT/volumes/pg/_data"}}"#, "a bind of the data"),
        (r#"{"/d":{"Type":"bind","Source":"ROOT/volumes/pg/_data/sub"}}"#, "a bind below"),
        (r#"{"/d":{"Type":"bind","Source":"ROOT/link/sub"}}"#, "a bind through a link"),
        (r#"{"/d":{"Type":"bind","Spec":{"Type":"bind","Source":"ROOT/link"}}}"#, "a bind as asked for"),
        (r#"{"/d":{"Source":"ROOT/link"}}"#, "a bind without a type"),
    ];
    for (mounts, what) in cases {
        let root = Root::new(&["pg", "decoy"]);
        let at = root.path().to_str().unwrap().to_owned();
        std::os::unix::fs::symlink(root.path().join("volumes/pg/_data"), root.path().join("link")).unwrap();
        let text = config(&mounts.replace("ROOT", &at));
        let root = root.container(ID, &[("config.v2.json", &text), ("hostconfig.json", NO_BINDS)]);
        assert_eq!(root.volumes(), ["pg"], "{what}");
    }
}

#[test]
fn mounts_that_name_no_volume_hold_none() {
    for mounts in [
        "{}",
        "null",
        r#"{"/d":{"Type":"tmpfs","Spec":{"Type":"tmpfs"}}}"#,
        r#"{"/d":{"Type":"image","Name":"reg/decoy:1"}}"#,
        r#"{"/d":{"Type":"bind","Source":"/srv/decoy","Spec":{"Type":"bind","Source":"/srv/decoy"}}}"#,
    ] {
        let root = one(mounts, &["decoy"]);
        assert_eq!(root.ask().unwrap(), Answer::new(Witness::ContainersOnDisk, Vec::new()), "{mounts}");
    }
}

#[test]
fn a_bind_of_an_ancestor_is_a_note() {
    let root = Root::new(&["pg"]);
    let text = config(&format!(r#"{{"/d":{{"Type":"bind","Source":"{}"}}}}"#, root.path().display()));
    let root = root.container(ID, &[("config.v2.json", &text), ("hostconfig.json", NO_BINDS)]);
    assert_eq!(root.volumes(), Vec::<String>::new());
    assert!(root.notes().contains("lies above every volume"), "{}", root.notes());
}

#[test]
fn what_was_asked_for_in_hostconfig_counts() {
    let cases = [
        r#"{"Binds":["pg:/d:ro"]}"#,
        r#"{"Binds":["/anonymous","pg:/d"]}"#,
        r#"{"Binds":["ROOT/volumes/pg/_data:/d"]}"#,
        r#"{"Binds":null,"Mounts":[{"Type":"volume","Source":"pg","Target":"/d"}]}"#,
        r#"{"Binds":null,"Mounts":[{"Type":"bind","Source":"ROOT/volumes/pg","Target":"/d"}]}"#,
        // One item of an unknown form does not take the others with it.
        r#"{"Binds":["odd/name:/x","ROOT/volumes/pg/_data:/d"]}"#,
        r#"{"Mounts":[{"Type":"volume","Source":"pg","Target":"/d"}]}"#,
    ];
    for text in cases {
        let root = Root::new(&["pg", "decoy"]);
        let text = text.replace("ROOT", root.path().to_str().unwrap());
        let root =
            root.container(ID, &[("config.v2.json", &config("{}")), ("hostconfig.json", text.as_str())]);
        assert_eq!(root.volumes(), ["pg"], "{text}");
    }
}

#[test]
fn mounts_before_docker_1_7_are_host_paths() {
    let root = Root::new(&["pg", "decoy"]);
    let path = root.path().join("volumes/pg/_data");
    let text = format!(
        r#"{{"ID":"{ID}","Name":"/old","Driver":"aufs","Volumes":{{"/d":"{}"}},"VolumesRW":{{"/d":true}}}}"#,
        path.display()
    );
    let root = root.container(ID, &[("config.json", &text), ("hostconfig.json", NO_BINDS)]);
    let answer = root.ask().unwrap();
    assert_eq!(answer.references.len(), 1, "{answer:?}");
    assert_eq!(answer.references[0].holder.name, "old");
    assert_eq!(answer.notes, Vec::<String>::new());
}

#[test]
fn volumes_from_a_listed_container_are_held() {
    let mounts =
        r#"[{"Type":"volume","Name":"pg","Source":""},{"Type":"bind","Source":"ROOT/volumes/logs/_data"}]"#;
    for donor in ["donor", "donor:ro", OTHER, &OTHER[..12]] {
        let text = format!(r#"{{"Binds":null,"VolumesFrom":["{donor}"]}}"#);
        let root = host(&text, &["pg", "logs", "decoy"]);
        let mounts = mounts.replace("ROOT", root.path().to_str().unwrap());
        let root = root.listed(OTHER, "donor", &mounts).listed(
            &OTHER.replace('b', "c"),
            "d",
            r#"[{"Type":"volume","Name":"decoy"}]"#,
        );
        assert_eq!(root.volumes(), ["logs", "pg"], "{donor}");
        assert!(root.ask().unwrap().references[0].holder.detail.contains("volumes from"), "{donor}");
    }
}

#[test]
fn volumes_from_another_container_on_disk_are_held_by_both() {
    for donor in ["shop-db-1", OTHER, "bbbb"] {
        let text = format!(r#"{{"Binds":null,"VolumesFrom":["{donor}"]}}"#);
        let consumer = config("{}").replace("/shop-db-1", "/consumer");
        let root = Root::new(&["pg"])
            .container(ID, &[("config.v2.json", &consumer), ("hostconfig.json", &text)])
            .container(OTHER, &[("config.v2.json", &mount("pg")), ("hostconfig.json", NO_BINDS)]);
        assert_eq!(
            root.held(),
            [("pg".to_owned(), ID[..12].to_owned()), ("pg".to_owned(), OTHER[..12].to_owned())],
            "{donor}"
        );
    }
}

#[test]
fn a_donor_that_is_gone_is_a_note_where_the_mounts_are_not_known() {
    let from = r#"{"Binds":["pg:/d"],"VolumesFrom":["gone"]}"#;
    let root = host(from, &["pg"]);
    assert_eq!(root.notes(), "");
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", "{broken"), ("hostconfig.json", from)]);
    assert_eq!(root.volumes(), ["pg"]);
    assert!(root.notes().contains("container gone, which is gone"), "{}", root.notes());
}

#[test]
fn a_damaged_file_is_searched_for_every_volume() {
    let text = mount("pg-data").replace("MountPoints", "Mount\u{0}Points");
    for broken in [&text[..text.len() - 1], &text[..text.find("\"Driver\":\"local\"").unwrap()], "pg-data"] {
        let mut root = Root::new(&["pg-data", "other-data"])
            .container(ID, &[("config.v2.json", broken), ("hostconfig.json", NO_BINDS)]);
        root.other_volumes.push("plugin-volume");
        assert_eq!(root.volumes(), ["pg-data"], "{broken}");
        let answer = root.ask().unwrap();
        assert_eq!(
            answer.references[0].holder.detail,
            "not loaded by the engine (config.v2.json is damaged), named in config.v2.json"
        );
        assert_eq!(answer.references[0].holder.name, &ID[..12]);
        assert!(root.notes().contains("every anonymous volume may be its own"), "{}", root.notes());
    }
    let broken = ("config.v2.json", r#""Name":"plugin-volume","Dri"#);
    let mut root = Root::new(&[]).container(ID, &[broken, ("hostconfig.json", NO_BINDS)]);
    root.other_volumes.push("plugin-volume");
    assert_eq!(root.volumes(), ["plugin-volume"]);
    // Without the other file nobody knows which named volumes it had.
    let cut = ("config.v2.json", r#"{"Name":"plugin-volume","Dri"#);
    let mut root = Root::new(&[]).container(ID, &[cut]);
    root.other_volumes.push("plugin-volume");
    assert_refuses(
        &root.refusal(),
        &root.directory(ID),
        "config.v2.json is damaged, and what is left does not tell",
    );
}

#[test]
fn a_damaged_file_may_have_named_any_anonymous_volume() {
    let anonymous = "ab".repeat(32);
    let binds = r#"{"Binds":["pg-data:/d"]}"#;
    let root = Root::new(&["pg-data", "other-data", &anonymous])
        .container(ID, &[("config.v2.json", "{\"ID\":\"x\",\"Sta"), ("hostconfig.json", binds)]);
    assert_eq!(root.volumes(), [anonymous.as_str(), "pg-data"]);
}

#[test]
fn bytes_that_are_no_utf_8_are_searched_too() {
    let root = Root::new(&["pg-data"]).container(ID, &[("hostconfig.json", NO_BINDS)]);
    let mut bytes = mount("pg-data").into_bytes();
    let at = bytes.windows(4).position(|window| window == b"Name").unwrap();
    bytes[at] = 0xff;
    std::fs::write(root.directory(ID).join("config.v2.json"), &bytes).unwrap();
    assert_eq!(root.volumes(), ["pg-data"]);
}

#[test]
fn damage_behind_the_mounts_loses_none_of_them() {
    let root = Root::new(&["pg", "shm"]);
    std::os::unix::fs::symlink(root.path().join("volumes/pg/_data"), root.path().join("link")).unwrap();
    let link = root.path().join("link");
    let text = config(&format!(r#"{{"/d":{{"Type":"bind","Source":"{}"}}}}"#, link.display()));
    let text = &text[..text.find("\"MountLabel").unwrap()];
    let root = root.container(ID, &[("config.v2.json", text), ("hostconfig.json", NO_BINDS)]);
    assert_eq!(root.volumes(), ["pg"]);
    assert_eq!(root.notes(), "");
    // So one that held nothing is no reason to refuse.
    let text = config("{}");
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &text[..text.len() - 5])]);
    assert_eq!(root.ask().unwrap(), Answer::new(Witness::ContainersOnDisk, Vec::new()));
}

#[test]
fn mounts_of_an_unknown_form_are_searched_for() {
    for mounts in [
        r#"[{"Volume":"pg-data"}]"#,
        r#""pg-data""#,
        r#"{"/d":{"Name":7,"New":"pg-data"}}"#,
        r#"{"/d":{"Type":"volume","New":"pg-data"}}"#,
        r#"{"/d":["pg-data"]}"#,
        r#"{"/d":{"Name":"pg-data/sub"}}"#,
    ] {
        let root = one(mounts, &["pg-data", "other-data"]);
        let answer = root.ask().unwrap();
        assert_eq!(root.volumes(), ["pg-data"], "{mounts}");
        assert!(answer.references[0].holder.detail.contains("of an unknown form"), "{answer:?}");
    }
    // No mounts at all is not the same as none.
    let text = r#"{"ID":"x","Mounts":{"/d":"pg-data"}}"#;
    let root = Root::new(&["pg-data"]).container(ID, &[("config.v2.json", text)]);
    assert_eq!(root.volumes(), ["pg-data"]);
}

#[test]
fn a_damaged_hostconfig_is_searched_and_the_other_file_is_not() {
    let root = Root::new(&["pg-data", "decoy"])
        .container(ID, &[("config.v2.json", &config("{}")), ("hostconfig.json", r#"{"Binds":["pg-data:/"#)]);
    assert_eq!(root.volumes(), ["pg-data"]);
    assert!(root.ask().unwrap().references[0].holder.detail.contains("hostconfig.json is damaged"));
    for odd in [r#"["pg-data:/d"]"#, r#"{"NewBinds":["pg-data:/d"]}"#, r#"{"Binds":{"/d":"pg-data"}}"#] {
        assert_eq!(host(odd, &["pg-data", "decoy"]).volumes(), ["pg-data"], "{odd}");
    }
}

#[test]
fn a_broken_file_that_names_nothing_is_refused() {
    let unknown_form =
        [r#"{"MountPoints":[1"#, r#"{"Name":"/web","MountPoints":{"/d":{"Name":7,"Type":"volu"#];
    for lost in ["", "\0\0\0\0\0\0\0\0", "{\"ID\":\"x\",\"Sta"].into_iter().chain(unknown_form) {
        let root =
            Root::new(&["pg-data"]).container(ID, &[("config.v2.json", lost), ("hostconfig.json", NO_BINDS)]);
        assert_refuses(&root.refusal(), &root.directory(ID), "config.v2.json is damaged");
        // What the other file names is held, and the sweep goes on.
        let binds = r#"{"Binds":["pg-data:/d"]}"#;
        let root =
            Root::new(&["pg-data"]).container(ID, &[("config.v2.json", lost), ("hostconfig.json", binds)]);
        assert_eq!(root.volumes(), ["pg-data"], "{lost}");
        assert!(root.notes().contains("every anonymous volume may be its own"), "{}", root.notes());
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_way_out() {
    type Break = fn(&Path);
    let cases: [(Break, &str); 6] = [
        (|path| fifo(&path.join("config.v2.json")), "config.v2.json is no regular file"),
        (|path| std::fs::create_dir(path.join("config.v2.json")).unwrap(), "config.v2.json is no regular"),
        (|path| std::fs::create_dir(path.join("hostconfig.json")).unwrap(), "hostconfig.json is no regular"),
        (
            |path| std::os::unix::fs::symlink("/etc/hostname", path.join("config.json")).unwrap(),
            "config.json is a symbolic link",
        ),
        (|path| sparse(&path.join("config.v2.json")), "config.v2.json is larger than 64 MiB"),
        (
            |path| {
                std::fs::remove_dir(path).unwrap();
                std::os::unix::fs::symlink("/etc", path).unwrap();
            },
            "it is a symbolic link",
        ),
    ];
    for (make_unreadable, why) in cases {
        let root = Root::new(&["pg"]).container(ID, &[]).container(OTHER, &[]);
        make_unreadable(&root.directory(ID));
        fifo(&root.directory(OTHER).join("config.v2.json"));
        let refusal = root.refusal();
        assert_refuses(&refusal, &root.directory(ID), why);
        // Both at once.
        assert_refuses(&refusal, &root.directory(OTHER), "config.v2.json is no regular file");
        let acknowledged = root.acknowledging(ID).acknowledging(OTHER);
        assert_eq!(acknowledged.volumes(), Vec::<String>::new());
        let notes = acknowledged.notes();
        assert!(notes.contains(ID) && notes.contains("acknowledged in the configuration"), "{notes}");
    }
}

#[test]
fn an_acknowledged_directory_holds_nothing_even_when_it_is_readable() {
    let root = Root::new(&["pg"])
        .container(ID, &[("config.v2.json", &mount("pg"))])
        .container(OTHER, &[("config.v2.json", &mount("pg"))])
        .acknowledging(ID)
        .acknowledging("never-there");
    assert_eq!(root.held(), [("pg".to_owned(), OTHER[..12].to_owned())]);
    assert_eq!(root.notes().lines().count(), 1, "{}", root.notes());
}

#[test]
fn without_the_containers_directory_nothing_is_known() {
    let root = Root::new(&["pg"]);
    std::fs::remove_dir(root.path().join("containers")).unwrap();
    assert!(root.refusal().contains("/containers cannot be read"), "{}", root.refusal());
}

#[test]
fn a_containers_directory_that_is_a_link_is_followed_as_the_engine_does() {
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &mount("pg"))]);
    std::fs::rename(root.path().join("containers"), root.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("moved", root.path().join("containers")).unwrap();
    assert_eq!(root.volumes(), ["pg"]);
}

#[test]
fn a_directory_without_a_configuration_holds_what_its_other_files_name() {
    let root = Root::new(&["pg"]).container(ID, &[]);
    assert_eq!(root.volumes(), Vec::<String>::new());
    assert!(root.notes().contains("has no config.v2.json"), "{}", root.notes());

    let root = Root::new(&["pg"]).container(ID, &[("hostconfig.json", r#"{"Binds":["pg:/d"]}"#)]);
    assert_eq!(root.volumes(), ["pg"]);
    assert!(root.ask().unwrap().references[0].holder.detail.contains("it has no config.v2.json"));

    for leftover in [".tmp-config.v2.json123", "config.v2.json.bak"] {
        let root = Root::new(&["pg", "pg-data"])
            .container(ID, &[(leftover, &mount("pg"))])
            .container(OTHER, &[(leftover, r#"{"x":"pg-data"#)]);
        assert_eq!(root.volumes(), ["pg", "pg", "pg-data"], "{leftover}");
    }
}

#[test]
fn leftovers_beside_a_good_configuration_count_too() {
    let root = Root::new(&["pg", "old-data"]).container(
        ID,
        &[
            ("config.v2.json", &mount("pg")),
            ("hostconfig.json", NO_BINDS),
            (".tmp-config.v2.json77", r#"{"Name":"old-data","#),
            (".tmp-hostconfig.json78", ""),
            ("config.v2.json.bak", ""),
        ],
    );
    assert_eq!(root.volumes(), ["old-data", "pg"]);
    let answer = root.ask().unwrap();
    assert_eq!(answer.notes, Vec::<String>::new());
    assert!(answer.references.iter().all(|reference| reference.holder.detail.contains("its layer may be")));
}

#[test]
fn any_directory_with_a_configuration_counts_and_foreign_ones_do_not() {
    let root = Root::new(&["pg"])
        .container("lost+found", &[])
        .container("notes", &[("readme.txt", "pg")])
        .container("a-copy-made-by-hand", &[("config.v2.json", &mount("pg"))]);
    std::fs::write(root.directory("file"), "pg").unwrap();
    fifo(&root.directory("fifo"));
    let answer = root.ask().unwrap();
    assert_eq!(answer.references.len(), 1, "{answer:?}");
    assert_eq!(answer.references[0].holder.id, "a-copy-made-by-hand");
    assert_eq!(answer.notes, Vec::<String>::new());
}

#[test]
fn a_container_that_is_just_being_made_is_looked_at_again() {
    let root = Root::new(&["pg"]).container(ID, &[]).container(OTHER, &[]);
    let (made, removed) = (root.directory(ID).join("config.v2.json"), root.directory(OTHER));
    let meanwhile = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(made, mount("pg")).unwrap();
        std::fs::remove_dir(removed).unwrap();
    });
    let answer = root.ask().unwrap();
    meanwhile.join().unwrap();
    assert_eq!(answer.references.len(), 1, "{answer:?}");
    assert_eq!(answer.notes, Vec::<String>::new());
}

#[test]
fn a_container_that_goes_away_while_it_is_read_holds_nothing() {
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &mount("pg"))]);
    let open = |path: PathBuf| crate::host::directory::open_path(&path).unwrap();
    let (containers, directory) = (open(root.path().join("containers")), open(root.directory(ID)));
    let id = std::ffi::CString::new(ID).unwrap();
    let read = || files::read_open(containers.as_fd(), &id, directory.as_fd()).unwrap();
    assert_ne!(read(), files::Seen::NoContainer);
    std::fs::remove_dir_all(root.directory(ID)).unwrap();
    assert_eq!(read(), files::Seen::NoContainer);
}

#[test]
fn names_are_found_as_json_writes_them() {
    let odd = ["a<b>&c", "quo\"te", "back\\slash", "tab\tbed", "bell\u{7}s", "größe", "x"];
    let names = odd.into_iter().chain(["never"]).map(|name| VolumeName::new(name).unwrap());
    let needles = Needles::new(names);
    let go = r#"a\u003cb\u003e\u0026c quo\"te back\\slash tab\tbed bell\u0007s größe"#;
    let plain = odd.join(" ");
    for text in [go, plain.as_str()] {
        let found: Vec<&str> = needles.find(text.as_bytes()).into_iter().map(VolumeName::as_str).collect();
        let mut wanted: Vec<&str> = odd.into_iter().filter(|name| *name != "x" || text == plain).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn names_are_found_at_both_ends_and_inside_words() {
    for text in ["pg-data", "xpg-data", "pg-datax", "pgpg-data", "pg-dat pg-data"] {
        let needles = Needles::new([VolumeName::new("pg-data").unwrap(), VolumeName::new("pg-da").unwrap()]);
        assert_eq!(needles.find(text.as_bytes()).len(), 2, "{text}");
    }
    assert!(Needles::new([VolumeName::new("pg-data").unwrap()]).find(b"pg-dat").is_empty());
    assert!(Needles::new([VolumeName::new("ab").unwrap()]).find(b"a").is_empty());
}

#[test]
fn the_search_does_not_go_name_by_name() {
    // Ten thousand names that differ at their end only, in bytes full of their beginning: name by name these are 10^9 steps and more.
    let name = |n: usize| VolumeName::new(format!("ci-runner-cache-{n:08}")).unwrap();
    let needles = Needles::new((0..10_000).map(name));
    let mut text = "ci-runner-cache-x".repeat(20_000);
    text.push_str("ci-runner-cache-00001234");
    let found: Vec<&str> = needles.find(text.as_bytes()).into_iter().map(VolumeName::as_str).collect();
    assert_eq!(found, ["ci-runner-cache-00001234"]);
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

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn sparse(path: &Path) {
    std::fs::File::create(path).unwrap().set_len((64 << 20) + 1).unwrap();
}
