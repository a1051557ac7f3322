//! The whole life of a volume on real engines: orphans are quarantined, restored, deleted; what anything holds is not touched.

use std::path::Path;

use harness::{KEEP_IN_QUARANTINE, NO_GRACE, Volgc, on_each_engine, tree_digest, tree_listing};

on_each_engine! {
    fn orphans_are_quarantined_then_deleted(engine: PrivateEngine) {
        engine.create_volume("orphan", &[("a", "b")]);
        let digest = engine.fill_volume("orphan", 1);
        let anonymous = engine.docker(&["volume", "create"]).trim().to_owned();
        let volgc = Volgc::configured(&engine, NO_GRACE);

        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names().len(), 2, "the first sighting only starts the clock");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        let list = volgc.json(&["list", "--format", "json"]);
        let names: Vec<&str> = list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"orphan") && names.contains(&anonymous.as_str()), "{list}");
        let entry = list.as_array().unwrap().iter().find(|entry| entry["name"] == "orphan").unwrap();
        let data = engine.root().join("volgc").join(entry["entry"].as_str().unwrap()).join("data");
        assert_eq!(tree_digest(&data), digest, "{:#?}", tree_listing(&data));

        volgc.ok(&["sweep"]);
        assert_eq!(volgc.json(&["list", "--format", "json"]), serde_json::json!([]));
        assert_eq!(engine.left_in_quarantine(), Vec::<String>::new());
    }

    fn a_restore_brings_everything_back(engine: PrivateEngine) {
        engine.create_volume("db", &[("a", "b"), ("com.example", "x y")]);
        let digest = engine.fill_volume("db", 2);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        volgc.ok(&["restore", "db"]);
        assert_eq!(engine.volume_names(), ["db"]);
        assert_eq!(tree_digest(&engine.volume_data("db")), digest);
        let told = engine.json("GET", "/volumes/db", None);
        assert_eq!(told["Labels"], serde_json::json!({"a": "b", "com.example": "x y"}));
        assert!(Path::new(told["Mountpoint"].as_str().unwrap()).join("README").exists());
    }
}
