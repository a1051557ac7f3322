//! The files of a container as engines write them: what is understood holds exactly what it names.

use super::*;

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
