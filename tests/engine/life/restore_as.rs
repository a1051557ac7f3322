//! A rescue under another name stays: no tool finds it by the labels of the old one.

use std::fs;

use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine};
use serde_json::{Value, json};

const OWN: (&str, &str) = ("com.example.backup", "nightly");

/// A volume with content and these labels, quarantined.
fn quarantined(engine: &PrivateEngine, labels: &[(&str, &str)]) -> Volgc {
    engine.create_volume("db", &[labels, &[OWN]].concat());
    fs::write(engine.volume_data("db").join("file"), "data").unwrap();
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    volgc.ok(&["quarantine", "db"]);
    volgc
}

fn labels(engine: &PrivateEngine, volume: &str) -> Value {
    engine.json("GET", &format!("/volumes/{volume}"), None)["Labels"].clone()
}

#[track_caller]
fn assert_there(engine: &PrivateEngine, volume: &str, when: &str) {
    assert_eq!(
        fs::read_to_string(engine.volume_data(volume).join("file")).ok().as_deref(),
        Some("data"),
        "{when}"
    );
    assert_eq!(engine.volume_names(), [volume], "{when}");
}

/// What `docker compose down --volumes` and `docker stack` tidying do, as far as volumes go.
fn remove_all_with(engine: &PrivateEngine, label: &str) {
    let found = engine.docker(&["volume", "ls", "--quiet", "--filter", &format!("label={label}")]);
    for volume in found.lines() {
        engine.docker(&["volume", "rm", volume]);
    }
}

on_each_engine! {
    fn no_prune_takes_it(engine: PrivateEngine) {
        let volgc = quarantined(&engine, &[("com.docker.volume.anonymous", "")]);
        let told = volgc.ok(&["restore", "db", "--as", "rescue"]);
        assert!(told.contains("without labels") && told.contains("com.docker.volume.anonymous"), "{told}");
        assert_eq!(labels(&engine, "rescue"), json!({ OWN.0: OWN.1 }));
        // By its own choice of versions before 23.0, the engine prunes named volumes too.
        if engine.version() != harness::Version::V20_10 {
            engine.docker(&["volume", "prune", "--force"]);
            assert_there(&engine, "rescue", "after a prune");
        }
        assert_eq!(volgc.told_of("rescue")["class"], "named");
        assert!(volgc.ok(&["history"]).contains("without labels that belong to the name db"));
    }

    fn no_compose_or_stack_takes_it(engine: PrivateEngine) {
        let volgc = quarantined(&engine, &[
            ("com.docker.compose.project", "app"),
            ("com.docker.compose.volume", "db"),
            ("com.docker.stack.namespace", "app"),
        ]);
        volgc.ok(&["restore", "db", "--as", "rescue"]);
        remove_all_with(&engine, "com.docker.compose.project=app");
        remove_all_with(&engine, "com.docker.stack.namespace=app");
        assert_there(&engine, "rescue", "after `down --volumes`");
    }

    /// Killed between the answer of the engine and the end of the entry, recovery goes on under the other name.
    fn recovery_leaves_them_out_too(engine: PrivateEngine) {
        let volgc = quarantined(&engine, &[("com.docker.compose.project", "app")]);
        let killed = volgc.clone().env("VOLGC_FAULT", "engine.create=kill").run(&["restore", "db", "--as", "rescue"]);
        assert_eq!(killed.status, None, "{killed:?}");
        volgc.ok(&["sweep"]);
        remove_all_with(&engine, "com.docker.compose.project=app");
        assert_there(&engine, "rescue", "after recovery");
    }

    fn under_its_own_name_it_has_all_of_them(engine: PrivateEngine) {
        let volgc = quarantined(&engine, &[("com.docker.compose.project", "app"), ("com.docker.volume.anonymous", "")]);
        let told = volgc.ok(&["restore", "db"]);
        assert!(!told.contains("without labels") && told.contains("docker volume prune"), "{told}");
        let all = json!({ OWN.0: OWN.1, "com.docker.compose.project": "app", "com.docker.volume.anonymous": "" });
        assert_eq!(labels(&engine, "db"), all);
    }
}
