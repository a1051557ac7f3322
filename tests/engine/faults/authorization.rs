//! An authorization plugin is asked twice: before the engine does anything, and about the answer when it has done it. A refusal
//! says nothing about what was done (I5).

use std::fs;

use harness::plugin::Plugin;
use harness::treasure::{Treasure, assert_no_husk};
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Version, Volgc, on_each_engine};
use serde_json::{Value, json};

/// When a plugin says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum No {
    /// Before anything is done: 403.
    Before,
    /// When it was done: 403.
    After,
    /// When it was done, by an error of its own: 500.
    ErrorAfter,
}

/// An engine with a plugin that says no to every request of one method.
fn denying(version: Version, method: &'static str, no: No) -> (PrivateEngine, Plugin) {
    let engine = PrivateEngine::start(version);
    let plugin = Plugin::start(&engine, "authz", move |call: &str, asked: &Value| {
        let is_meant = asked["RequestMethod"] == method;
        match (call, no) {
            ("AuthZPlugin.AuthZReq", No::Before) | ("AuthZPlugin.AuthZRes", No::After) if is_meant => {
                json!({ "Allow": false, "Msg": "not today" })
            }
            ("AuthZPlugin.AuthZRes", No::ErrorAfter) if is_meant => json!({ "Err": "out of order" }),
            _ => json!({ "Allow": true }),
        }
    });
    let config = json!({ "authorization-plugins": [plugin.name()] }).to_string();
    fs::write(engine.dir().join("daemon.json"), config).unwrap();
    engine.restart();
    (engine, plugin)
}

on_each_engine! {
    fn the_answer_to_a_delete_is_denied_after_the_fact(version: Version) {
        for no in [No::After, No::ErrorAfter] {
            let (engine, _plugin) = denying(version, "DELETE", no);
            let db = Treasure::make(&engine, "db");
            let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
            let told = volgc.ok(&["quarantine", "db"]);
            assert!(told.contains("quarantined volume db"), "{no:?}: {told}");
            assert_eq!(volgc.entry_of("db")["state"], "quarantined", "{no:?}");
            assert_eq!(engine.volume_names(), Vec::<String>::new(), "{no:?}");
            db.assert_whole(&engine, "in quarantine");
            volgc.ok(&["restore", "db"]);
            db.assert_back(&engine, "db", "restored");
        }
    }

    fn a_delete_is_denied_before_anything_is_done(version: Version) {
        let (engine, _plugin) = denying(version, "DELETE", No::Before);
        let db = Treasure::make(&engine, "db");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let told = volgc.refused(&["quarantine", "db"]);
        assert!(told.contains("left volume db") && told.contains("not today"), "{told}");
        db.assert_back(&engine, "db", "denied");
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    fn the_answer_to_a_removal_in_place_is_denied_after_the_fact(version: Version) {
        let (engine, _plugin) = denying(version, "DELETE", No::After);
        let behind = engine.dir().join("behind");
        fs::create_dir(&behind).unwrap();
        fs::write(behind.join("file"), "data").unwrap();
        let options = json!({ "type": "none", "o": "bind", "device": behind.display().to_string() });
        let body = json!({ "Name": "mount", "Driver": "local", "DriverOpts": options }).to_string();
        engine.json("POST", "/volumes/create", Some(&body));
        let rule = "match = { volume = \"*\" }\nin_place = true";
        let volgc = Volgc::configured(&engine, &KEEP_IN_QUARANTINE.replace("match = { volume = \"*\" }", rule));
        volgc.ok(&["quarantine", "mount"]);
        let entry = volgc.entry_id_of("mount");
        let told = volgc.ok(&["delete", &entry, "--yes"]);
        assert!(told.contains("the engine removed its volume"), "{told}");
        assert_eq!((engine.volume_names(), volgc.entries()), (Vec::<String>::new(), Vec::<Value>::new()));
        assert_eq!(fs::read_to_string(behind.join("file")).unwrap(), "data");
    }

    fn the_answer_to_a_create_is_denied_after_the_fact(version: Version) {
        let (engine, plugin) = denying(version, "POST", No::After);
        // Labels cannot be given afterwards, and the answer is of no matter.
        let body = json!({ "Name": "db", "Driver": "local", "Labels": { "com.example.kept": "db" } }).to_string();
        let (status, said) = engine.api("POST", "/volumes/create", Some(&body));
        assert_eq!(status, 403, "{}: {said}", plugin.name());
        fs::write(engine.volume_data("db").join("file"), "data").unwrap();
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "db"]);
        volgc.ok(&["restore", "db"]);
        assert_eq!(fs::read_to_string(engine.volume_data("db").join("file")).unwrap(), "data");
        assert_eq!(volgc.told_of("db")["labels"]["com.example.kept"], "db");
        assert_eq!(volgc.entries(), Vec::<Value>::new());
        assert_no_husk(&engine, "restored");
    }
}
