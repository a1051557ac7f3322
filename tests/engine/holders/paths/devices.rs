//! What a container is given that is in no list of mounts: devices, and options of its log driver.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use harness::{PrivateEngine, on_each_engine};

use super::{assert_held, assert_holds, create, notes, put, shown};

#[track_caller]
fn make_node(path: &Path) {
    assert!(Command::new("mknod").arg(path).args(["c", "1", "3"]).status().unwrap().success());
}

/// `hostconfig.json` of a container.
fn host_config(engine: &PrivateEngine, container: &str) -> std::path::PathBuf {
    let id = engine.docker(&["inspect", "-f", "{{.Id}}", container]);
    engine.root().join("containers").join(id).join("hostconfig.json")
}

on_each_engine! {
    fn a_device_in_a_volume_holds_it(engine: PrivateEngine) {
        put(&engine, "dev");
        make_node(&engine.volume_data("dev").join("null"));
        let device = format!("{}:/dev/mine", shown(&engine.volume_data("dev").join("null")));
        engine.docker(&["create", "--name", "app", "--device", &device, "bb", "ls", "/dev/mine"]);
        assert_held(&engine, &["dev"], "container", "app");
        assert_eq!(engine.docker(&["start", "--attach", "app"]), "/dev/mine");
    }

    /// All devices below a directory, through a link of the host.
    fn a_directory_of_devices_holds_the_volume(engine: PrivateEngine) {
        put(&engine, "dev");
        let below = engine.volume_data("dev").join("below");
        fs::create_dir(&below).unwrap();
        make_node(&below.join("null"));
        let link = engine.dir().join("devices");
        symlink(&below, &link).unwrap();
        create(&engine, "app", &["--device", &shown(&link)]);
        assert_held(&engine, &["dev"], "container", "app");
    }

    /// An address of the log driver is a path in an URL.
    fn a_socket_of_the_log_holds_the_volume(engine: PrivateEngine) {
        put(&engine, "log");
        let socket = engine.volume_data("log").join("sock");
        let _log = UnixDatagram::bind(&socket).unwrap();
        let address = format!("syslog-address=unixgram://{}", shown(&socket));
        create(&engine, "app", &["--log-driver", "syslog", "--log-opt", &address]);
        assert_held(&engine, &["log"], "container", "app");
    }

    /// A container that the engine did not load has them too.
    fn a_device_of_a_container_that_is_not_loaded_holds_the_volume(engine: PrivateEngine) {
        put(&engine, "dev");
        make_node(&engine.volume_data("dev").join("null"));
        create(&engine, "app", &["--device", &format!("{}:/dev/mine", shown(&engine.volume_data("dev").join("null")))]);
        let file = host_config(&engine, "app").with_file_name("config.v2.json");
        engine.stop();
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, whole.replace("\"Driver\":\"", "\"Driver\":\"other")).unwrap();
        engine.restart();
        assert_eq!(engine.docker(&["ps", "-aq"]), "");
        let id = file.parent().unwrap().file_name().unwrap().to_str().unwrap()[..12].to_owned();
        assert_held(&engine, &["dev"], "unloaded_container", &id);
    }

    /// The engine has the devices in memory, and nobody else knows them: that container may hold anything, and is named.
    fn a_container_whose_file_is_damaged_may_hold_any_volume(engine: PrivateEngine) {
        put(&engine, "db");
        create(&engine, "app", &[]);
        fs::write(host_config(&engine, "app"), "{\"Devices\":[").unwrap();
        let volgc = harness::Volgc::configured(&engine, harness::NO_GRACE);
        volgc.sweep_twice();
        assert_holds(&volgc, "db", "container", "app");
        assert!(notes(&volgc).contains("container app"), "{}", notes(&volgc));
        let swept = volgc.run(&["sweep"]).stderr;
        assert!(swept.contains("container app") && swept.contains("all are kept"), "{swept}");
        engine.docker(&["rm", "app"]);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    /// A path in the container is none of the host's.
    fn a_path_in_the_container_holds_nothing(engine: PrivateEngine) {
        put(&engine, "db");
        let inside = shown(&engine.volume_data("db"));
        create(&engine, "app", &["--device", &format!("/dev/null:{inside}/null"), "-v", &format!("/usr:{inside}"), "--tmpfs", &format!("{inside}/tmp")]);
        let volgc = harness::Volgc::configured(&engine, harness::NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }
}
