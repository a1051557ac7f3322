//! An engine with files of its own: what it was given as a path means what it means to it.
//!
//! The newer engines of these tests have a root and a mount namespace of their own, as one from snapd or with `PrivateTmp=` has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine};

use super::{assert_held, create, mount_volume, put, shown};

/// A path for this test alone, in the engine's files and not in those of the others.
#[track_caller]
fn only_there(engine: &PrivateEngine, name: &str) -> PathBuf {
    let path = PathBuf::from(format!("/mnt/{}-{name}", engine.dir().file_name().unwrap().to_str().unwrap()));
    assert!(!path.exists(), "{} exists here", path.display());
    path
}

#[track_caller]
fn inside(engine: &PrivateEngine, program: &str, arguments: &[&str]) {
    let output = engine.command_inside(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Takes a link of this host away again, if it is there.
struct Here(PathBuf);

impl Drop for Here {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

on_each_engine! {
    fn a_link_that_only_the_engine_sees_is_followed(engine: PrivateEngine) {
        put(&engine, "db");
        let link = only_there(&engine, "link");
        let _here = Here(link.clone());
        inside(&engine, "ln", &["-s", &shown(&engine.volume_data("db")), &shown(&link)]);
        engine.docker(&["create", "--name", "app", "-v", &format!("{}:/data", shown(&link)), "bb", "cat", "/data/PG_VERSION"]);
        assert_held(&engine, &["db"], "container", "app");
        assert_eq!(engine.docker(&["start", "--attach", "app"]), "15");
    }

    /// Through the driver options of a volume, and an absolute link in it.
    fn a_device_that_only_the_engine_sees_is_followed(engine: PrivateEngine) {
        put(&engine, "db");
        put(&engine, "way");
        let (link, device) = (only_there(&engine, "next"), only_there(&engine, "device"));
        let _here = [Here(link.clone()), Here(device.clone())];
        inside(&engine, "ln", &["-s", &shown(&engine.volume_data("db")), &shown(&link)]);
        symlink(&link, engine.volume_data("way").join("next")).unwrap();
        inside(&engine, "ln", &["-s", &shown(&engine.volume_data("way").join("next")), &shown(&device)]);
        let options = [("type", "none"), ("o", "bind"), ("device", shown(&device).leak() as &str)];
        mount_volume(&engine, "alias", &options);
        assert_held(&engine, &["db", "way"], "volume", "alias");
    }

    /// A path that leads into the volume here alone is none of the engine's.
    fn a_link_that_the_engine_does_not_see_holds_nothing(version: Version) {
        let engine = PrivateEngine::builder(version).own_root("").start();
        put(&engine, "db");
        let link = only_there(&engine, "here");
        let _here = Here(link.clone());
        // First, as what the machine has is seen there, too, below what is made there.
        inside(&engine, "mkdir", &[&shown(&link)]);
        symlink(engine.volume_data("db"), &link).unwrap();
        create(&engine, "app", &["-v", &format!("{}:/data", shown(&link))]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }
}
