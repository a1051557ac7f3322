//! Files that are damaged or of an unknown form: searched for names, and refused where nothing is left to search.

use super::*;

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
