//! CDI specifications (Docker 28 and later): a device brings mounts with it that no list shows.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{NO_GRACE, PrivateEngine, Version, Volgc};

use super::{assert_held, assert_holds, create, notes, put, shown};

/// Makes a specification where the engine alone sees it.
fn specify(engine: &PrivateEngine, file: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(format!("/proc/{}/root/etc/cdi", engine.pid().unwrap())).join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn with_device(engine: &PrivateEngine, container: &str, device: &str) {
    create(engine, container, &["--device", device]);
}

fn yaml(data: &Path) -> String {
    format!(
        "cdiVersion: \"0.6.0\"\nkind: example.com/data\ndevices:\n- name: one\n  containerEdits:\n    mounts:\n    \
         - hostPath: {}\n      containerPath: /data\n      options: [ro, rbind]\n",
        data.display()
    )
}

#[test]
fn a_cdi_device_holds_the_volume_that_it_mounts() {
    let engine = PrivateEngine::start(Version::V28_5);
    put(&engine, "models");
    put(&engine, "other");
    specify(&engine, "data.yaml", &yaml(&engine.volume_data("models")));
    let json = format!(
        r#"{{"cdiVersion":"0.3.0","kind":"example.com/node","containerEdits":{{"deviceNodes":[{{"path":"/dev/x",
            "hostPath":"{}/null","type":"c","major":1,"minor":3}}]}},"devices":[{{"name":"a","containerEdits":{{}}}}]}}"#,
        shown(&engine.volume_data("other"))
    );
    specify(&engine, "node.json", &json);
    engine.docker(&[
        "create",
        "--name",
        "app",
        "--network",
        "none",
        "--device",
        "example.com/data=one",
        "bb",
        "cat",
        "/data/PG_VERSION",
    ]);
    let volgc = assert_held(&engine, &["models"], "container", "app");
    assert!(!engine.volume_names().contains(&"other".to_owned()), "nobody has its device");
    assert_eq!(engine.docker(&["start", "--attach", "app"]), "15");
    put(&engine, "other");
    with_device(&engine, "node", "example.com/node=a");
    assert_holds(&volgc, "other", "container", "node");
}

#[test]
fn a_specification_that_is_not_understood_may_name_any_volume() {
    let engine = PrivateEngine::start(Version::V28_5);
    put(&engine, "models");
    let broken = specify(&engine, "broken.yaml", "kind: [");
    let volgc = Volgc::configured(&engine, NO_GRACE);
    // Nobody asked for a device: it concerns nobody.
    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), Vec::<String>::new());
    put(&engine, "models");
    with_device(&engine, "app", "example.com/data=one");
    volgc.sweep_twice();
    assert_holds(&volgc, "models", "container", "app");
    assert!(
        notes(&volgc).contains("broken.yaml") && notes(&volgc).contains("container app"),
        "{}",
        notes(&volgc)
    );
    fs::remove_file(broken).unwrap();
    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), Vec::<String>::new());
}
