//! Plugins: where they say that the data of their volumes is, and what they are set to.

use std::fs;
use std::path::Path;

use harness::plugin::Plugin;
use harness::recording::Recording;
use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine};
use serde_json::{Value, json};

use super::{assert_held, assert_holds, notes, put, shown};

/// A volume plugin with one volume, which lies at this place.
fn plugin(engine: &PrivateEngine, data: &Path) -> Plugin {
    let data = shown(data);
    Plugin::start(engine, "VolumeDriver", move |call: &str, _: &Value| {
        let volume = json!({ "Name": "remote", "Mountpoint": data });
        match call {
            "VolumeDriver.Get" => json!({ "Volume": volume, "Err": "" }),
            "VolumeDriver.List" => json!({ "Volumes": [volume], "Err": "" }),
            "VolumeDriver.Path" | "VolumeDriver.Mount" => json!({ "Mountpoint": data, "Err": "" }),
            "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "local" } }),
            _ => json!({ "Err": "" }),
        }
    })
}

/// A managed plugin that is never enabled, with a mount and a device that can be set.
fn make_managed(engine: &PrivateEngine, name: &str) {
    let place = engine.dir().join(name);
    fs::create_dir_all(place.join("rootfs")).unwrap();
    fs::copy("/bin/busybox", place.join("rootfs/busybox")).unwrap();
    let config = json!({
        "entrypoint": ["/busybox"],
        "interface": { "types": ["docker.volumedriver/1.0"], "socket": "p.sock" },
        "network": { "type": "none" },
        "env": [{ "name": "STATE", "value": "", "settable": ["value"] }],
        "mounts": [{ "name": "keys", "source": "", "destination": "/keys", "type": "bind", "options": ["rbind"],
                     "settable": ["source"] }],
        "linux": { "devices": [{ "name": "dev", "path": "/dev/null", "settable": ["path"] }] },
    });
    fs::write(place.join("config.json"), config.to_string()).unwrap();
    engine.docker(&["plugin", "create", name, &shown(&place)]);
}

on_each_engine! {
    fn a_plugins_volume_in_a_local_one_holds_it(version: Version) {
        // The engine never forgets a plugin of this kind.
        let engine = PrivateEngine::start(version);
        Plugin::keep_apart(&engine);
        put(&engine, "pool");
        let plugin = plugin(&engine, &engine.volume_data("pool").join("base"));
        engine.docker(&["volume", "create", "--driver", plugin.name(), "remote"]);
        let volgc = assert_held(&engine, &["pool"], "volume", "remote");
        assert_eq!(volgc.told_of("remote")["driver"], plugin.name());
        // A container of that volume needs the pool as well.
        engine.docker(&["create", "--name", "app", "-v", "remote:/data", "bb", "true"]);
        assert_holds(&volgc, "pool", "container", "app");
    }

    fn a_disabled_plugin_holds_what_it_is_set_to(engine: PrivateEngine) {
        for volume in ["keys", "dev", "state"] {
            put(&engine, volume);
        }
        make_managed(&engine, "p");
        let data = |volume: &str| shown(&engine.volume_data(volume));
        engine.docker(&["plugin", "set", "p", &format!("keys.source={}", data("keys"))]);
        engine.docker(&["plugin", "set", "p", &format!("dev.path={}/null", data("dev"))]);
        engine.docker(&["plugin", "set", "p", &format!("STATE=file:{}", data("state"))]);
        assert_held(&engine, &["keys", "dev", "state"], "plugin", "p:latest");
        engine.docker(&["plugin", "rm", "p"]);
    }

    /// A proxy need not allow the call: the engine's files tell the same.
    fn a_proxy_that_refuses_plugins_stops_nothing_and_hides_none(engine: PrivateEngine) {
        for volume in ["keys", "free"] {
            put(&engine, volume);
        }
        make_managed(&engine, "p");
        engine.docker(&["plugin", "set", "p", &format!("keys.source={}", shown(&engine.volume_data("keys")))]);
        let proxy = Recording::start_allowing(&engine.dir().join("proxy"), &engine.socket(), |asked| {
            !asked.ends_with("/plugins")
        });
        let volgc = Volgc::new(&engine);
        volgc.config(&NO_GRACE.replace("{socket}", &shown(proxy.socket())));
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["keys"]);
        assert_holds(&volgc, "keys", "plugin", "p:latest");
        // Where they cannot be understood either, nobody knows what the plugin uses.
        let id = engine.docker(&["plugin", "inspect", "-f", "{{.Id}}", "p"]);
        let file = engine.root().join("plugins").join(id).join("config.json");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, "{").unwrap();
        put(&engine, "free");
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["free", "keys"]);
        assert_holds(&volgc, "free", "plugin", "unknown");
        assert!(notes(&volgc).contains("config.json") && notes(&volgc).contains("403"), "{}", notes(&volgc));
        fs::write(&file, whole).unwrap();
        engine.docker(&["plugin", "rm", "p"]);
    }
}
