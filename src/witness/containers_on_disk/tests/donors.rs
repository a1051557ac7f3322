//! Volumes taken from another container, `--volumes-from`.

use super::*;

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
