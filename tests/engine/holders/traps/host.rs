//! What the host does with a volume: mounts made by an administrator, processes, containers of another engine. The engine knows of
//! none of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::holders::traps::twins::{
    BOTH, CONTENT, KEPT, LOST, app, assert_holder, assert_kept, assert_pruned, assert_removal_fails, make,
    on_data,
};
use harness::{PrivateEngine, Version, on_each_engine, show};

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[track_caller]
fn bind(mut mount: Command, source: &Path, target: &Path) {
    let output = mount.arg("--bind").args([source, target]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
}

/// Data of the host is mounted at a place in each volume, where the engine sees it. Returns where it is for `lost` and `kept`.
#[track_caller]
fn mount_in_both(engine: &PrivateEngine, place: &str) -> [PathBuf; 2] {
    BOTH.map(|volume| {
        make(engine, volume);
        let outside = engine.dir().join(format!("outside-{volume}"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "of the host").unwrap();
        bind(engine.command_inside("mount"), &outside, &engine.volume_data(volume).join(place));
        outside
    })
}

/// The engine deletes what is mounted in the volume, and then cannot remove the volume; volgc leaves it alone and says why.
#[track_caller]
fn assert_mount_is_emptied(engine: &PrivateEngine, place: &str) {
    let [lost, kept] = mount_in_both(engine, place);
    assert_removal_fails(engine, LOST, "busy");
    assert_eq!(fs::read_dir(&lost).unwrap().count(), 0, "data of the host was deleted with the volume");

    let volgc = assert_kept(engine, &[&kept]);
    let told = volgc.told_of(KEPT);
    assert_eq!(told["reason"], "mounted", "{told:#}");
    assert!(volgc.ok(&["explain", KEPT]).contains("something is mounted on or below its data"));
}

on_each_engine! {
    fn root_shows_a_volume_elsewhere(engine: PrivateEngine) {
        let view = |volume: &str| engine.dir().join(format!("view-of-{volume}"));
        for volume in BOTH {
            make(&engine, volume);
            fs::create_dir(view(volume)).unwrap();
            bind(Command::new("mount"), &engine.volume_data(volume), &view(volume));
        }
        assert!(view(LOST).join("PG_VERSION").exists());
        assert_pruned(&engine);
        assert!(!view(LOST).join("PG_VERSION").exists(), "its data was taken from under the mount");

        let volgc = assert_kept(&engine, &[&view(KEPT)]);
        assert_holder(&volgc, KEPT, "kernel", "mount", &view(KEPT).display().to_string());
    }

    fn data_of_the_host_is_mounted_below_a_volume(engine: PrivateEngine) {
        assert_mount_is_emptied(&engine, "empty");
    }

    fn data_of_the_host_is_mounted_over_a_volume(engine: PrivateEngine) {
        assert_mount_is_emptied(&engine, "");
    }

    fn a_process_works_in_a_volume(engine: PrivateEngine) {
        let [lost, kept] = BOTH.map(|volume| {
            make(&engine, volume);
            Ends(Command::new("sleep").arg("1000").current_dir(engine.volume_data(volume)).spawn().unwrap())
        });
        let works_in = |process: &Ends| fs::read_link(format!("/proc/{}/cwd", process.0.id())).unwrap();
        assert_pruned(&engine);
        assert!(works_in(&lost).to_string_lossy().ends_with(" (deleted)"), "{}", works_in(&lost).display());

        // Processes are looked for when a volume is about to be moved, so it is the sweep that names it.
        let volgc = assert_kept(&engine, &[]);
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("left volume kept: process ") && told.contains(" sleep is in it"), "{told}");
        assert_eq!(works_in(&kept), engine.volume_data(KEPT));
    }

    /// Another engine on this host, as of a build system or of another user.
    fn a_container_of_another_engine_binds_the_data_directory(engine: PrivateEngine) {
        // It has the machine's own root, and sees all of the other's files.
        let other = PrivateEngine::start(Version::V20_10);
        for volume in BOTH {
            make(&engine, volume);
            let bind = on_data(&engine.volume_data(volume));
            other.docker(&["run", "-d", "--name", &app(volume), "-v", &bind, "bb", "sleep", "1000"]);
        }
        let read = |volume: &str| other.try_docker(&["exec", &app(volume), "cat", "/data/PG_VERSION"]);
        assert!(read(LOST).status.success());
        assert_pruned(&engine);
        assert!(!read(LOST).status.success(), "its data was taken from under a running container");

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "kernel", "mount", "/data");
        assert_eq!(String::from_utf8_lossy(&read(KEPT).stdout).trim(), CONTENT);
    }
}
