//! One volume with a name that cannot be used is shown and kept, and hides no other (I14).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;

use harness::plugin::Plugin;
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, text};
use serde_json::{Value, json};

/// A volume plugin, and one volume of it that has this name and lies at this place.
fn plugin(engine: &PrivateEngine, name: &'static str, data: &Path) -> Plugin {
    let data = data.display().to_string();
    let known = Mutex::new(false);
    Plugin::start(engine, "VolumeDriver", move |call: &str, _: &Value| {
        let volume = json!({ "Name": name, "Mountpoint": data });
        let mut known = known.lock().unwrap();
        match call {
            "VolumeDriver.Create" => {
                *known = true;
                json!({ "Err": "" })
            }
            "VolumeDriver.Get" if *known => json!({ "Volume": volume, "Err": "" }),
            "VolumeDriver.Get" => json!({ "Err": "no such volume" }),
            "VolumeDriver.List" if *known => json!({ "Volumes": [volume], "Err": "" }),
            "VolumeDriver.Path" | "VolumeDriver.Mount" => json!({ "Mountpoint": data, "Err": "" }),
            "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "local" } }),
            _ => json!({ "Err": "" }),
        }
    })
}

/// The line of the only volume with this name, which is kept for its name.
#[track_caller]
fn assert_kept(volgc: &Volgc, name: &str, count: usize) {
    let report = volgc.report();
    let lines: Vec<&Value> =
        report["volumes"].as_array().unwrap().iter().filter(|line| line["name"] == name).collect();
    assert_eq!(lines.len(), count, "{report:#}");
    for line in lines {
        assert_eq!(
            (text(&line["action"]), text(&line["reason"])),
            ("keep".to_owned(), "odd_name".to_owned())
        );
    }
    let shown = volgc.ok(&["report"]);
    assert!(shown.contains("volgc cannot tell which volume it is"), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    let story = volgc.ok(&["explain", "--", name]);
    assert!(story.contains("keep (odd name)"), "{story}");
}

/// Everything else goes on: a volume that a container has is held, and one that nothing holds is moved.
#[track_caller]
fn assert_the_rest_goes_on(engine: &PrivateEngine, volgc: &Volgc) {
    volgc.sweep_twice();
    assert_eq!(volgc.quarantined_names(), ["free"]);
    assert_eq!(volgc.reason_of("held"), "held");
    assert!(engine.volume_data("held").exists());
    assert_eq!(volgc.run(&["check"]).status, Some(0));
}

fn make_the_rest(engine: &PrivateEngine) {
    for volume in ["free", "held"] {
        engine.create_volume(volume, &[]);
    }
    engine.docker(&["create", "--name", "app", "--network", "none", "-v", "held:/data", "bb", "true"]);
}

on_each_engine! {
    fn a_plugins_volume_whose_name_is_a_path(version: Version) {
        let engine = PrivateEngine::start(version);
        Plugin::keep_apart(&engine);
        make_the_rest(&engine);
        let data = engine.dir().join("docs");
        fs::create_dir(&data).unwrap();
        let plugin = plugin(&engine, "docs/", &data);
        let body = json!({ "Name": "docs/", "Driver": plugin.name() }).to_string();
        engine.json("POST", "/volumes/create", Some(&body));
        // One container names it, too.
        let body = json!({
            "Image": "bb", "Cmd": ["true"],
            "HostConfig": { "NetworkMode": "none", "Mounts": [{
                "Type": "volume", "Source": "docs/", "Target": "/docs",
                "VolumeOptions": { "DriverConfig": { "Name": plugin.name() } },
            }] },
        });
        engine.json("POST", "/containers/create?name=reader", Some(&body.to_string()));
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        assert_kept(&volgc, "docs/", 1);
        assert_the_rest_goes_on(&engine, &volgc);
        assert_kept(&volgc, "docs/", 1);
        // A plan that names it is a plan like any other.
        let plan = engine.dir().join("plan.json");
        fs::write(&plan, volgc.ok(&["report", "--format", "json"])).unwrap();
        volgc.ok(&["sweep", "--plan", plan.to_str().unwrap()]);
    }

    /// The engine writes three bytes for each of these hundred, more than a name may have.
    fn a_directory_of_bytes_that_are_no_text(engine: PrivateEngine) {
        let names: [&[u8]; 3] = [&[0xff; 100], b"a\xffb", b"a\xfeb"];
        make_the_rest(&engine);
        engine.stop();
        for name in names {
            let data = engine.volumes_dir().join(OsStr::from_bytes(name)).join("_data");
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join("file"), "data").unwrap();
        }
        engine.restart();
        // The last two are told by the engine as if they were one.
        let listed = engine.json("GET", "/volumes", None)["Volumes"].as_array().unwrap().len();
        assert_eq!(listed, 5);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        assert_kept(&volgc, &"\u{fffd}".repeat(100), 1);
        assert_kept(&volgc, "a\u{fffd}b", 2);
        assert_the_rest_goes_on(&engine, &volgc);
        for name in names {
            let file = engine.volumes_dir().join(OsStr::from_bytes(name)).join("_data/file");
            assert_eq!(fs::read_to_string(file).unwrap(), "data");
        }
        assert!(!volgc.ok(&["report"]).contains("taken away"), "their data is where it was");
    }

    /// Made behind the engine's back, it is told as what it is, once.
    fn a_directory_of_bytes_that_the_engine_does_not_list(engine: PrivateEngine) {
        make_the_rest(&engine);
        let directory = engine.volumes_dir().join(OsStr::from_bytes(b"\xff\xfe"));
        fs::create_dir_all(directory.join("_data")).unwrap();
        let rule = "[[rule]]\nname = \"strays\"\nmatch = { class = \"unlisted\" }\n\
                    quarantine_after = \"0s\"\ndelete_after = \"1h\"\n[limits]";
        let volgc = Volgc::configured(&engine, &KEEP_IN_QUARANTINE.replace("[limits]", rule));
        assert_kept(&volgc, "\u{fffd}\u{fffd}", 1);
        assert_the_rest_goes_on(&engine, &volgc);
        assert!(directory.join("_data").exists());
    }
}
