//! Paths in driver options: whole, with separators in them, with escapes, relative.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, on_each_engine};

use super::{assert_held, mount_volume, notes, put, shown};

/// A directory of the host whose path has a separator of options in it, with a link into the volume.
fn project(engine: &PrivateEngine, directory: &str, volume: &str) -> String {
    let project = engine.dir().join(directory);
    fs::create_dir(&project).unwrap();
    symlink(engine.volume_data(volume), project.join("data")).unwrap();
    shown(&project.join("data"))
}

on_each_engine! {
    fn a_device_with_an_equals_sign_holds_what_it_leads_to(engine: PrivateEngine) {
        put(&engine, "real");
        let device = project(&engine, "proj=1", "real");
        mount_volume(&engine, "alias", &[("type", "none"), ("o", "bind"), ("device", &device)]);
        let volgc = assert_held(&engine, &["real"], "volume", "alias");
        assert!(!notes(&volgc).contains("does not exist"), "{}", notes(&volgc));
    }

    /// The same in the layers of an overlay, where the comma has to be escaped.
    fn a_layer_with_an_escaped_comma_holds_what_it_leads_to(engine: PrivateEngine) {
        put(&engine, "lower");
        put(&engine, "upper");
        let lower = project(&engine, "a,b c", "lower").replace(',', "\\,");
        let upper = project(&engine, "c=d", "upper");
        let layers = format!("lowerdir={lower}:/,upperdir={upper},workdir=/nowhere");
        mount_volume(&engine, "alias", &[("type", "overlay"), ("device", "overlay"), ("o", &layers)]);
        assert_held(&engine, &["lower", "upper"], "volume", "alias");
    }

    /// From the engine's working directory.
    fn a_relative_device_holds_what_it_leads_to(engine: PrivateEngine) {
        put(&engine, "real");
        let directory = std::fs::read_link(format!("/proc/{}/cwd", engine.pid().unwrap())).unwrap();
        let up = "../".repeat(directory.components().count() - 1);
        let device = format!("{up}{}", shown(&engine.volume_data("real")).trim_start_matches('/'));
        mount_volume(&engine, "alias", &[("type", "none"), ("o", "bind"), ("device", &device)]);
        engine.docker(&["create", "--name", "app", "-v", "alias:/data", "bb", "cat", "/data/PG_VERSION"]);
        assert_held(&engine, &["real"], "volume", "alias");
        assert_eq!(engine.docker(&["start", "--attach", "app"]), "15");
    }

    /// So do the layers of an overlay.
    fn relative_layers_hold_what_they_lead_to(engine: PrivateEngine) {
        let directory = std::fs::read_link(format!("/proc/{}/cwd", engine.pid().unwrap())).unwrap();
        let up = "../".repeat(directory.components().count() - 1);
        for layer in ["lower", "upper"] {
            put(&engine, layer);
        }
        let place = |layer: &str| format!("{up}{}", shown(&engine.volume_data(layer)).trim_start_matches('/'));
        let options = format!("lowerdir={},upperdir={},workdir={}w", place("lower"), place("upper"), place("upper"));
        mount_volume(&engine, "alias", &[("type", "overlay"), ("o", &options), ("device", "overlay")]);
        assert_held(&engine, &["lower", "upper"], "volume", "alias");
    }

    /// A volume that leads there twice is one holder.
    fn a_volume_with_two_ways_into_another_is_named_once(engine: PrivateEngine) {
        put(&engine, "real");
        let data = shown(&engine.volume_data("real"));
        let options = format!("lowerdir={data}:{data}/base,upperdir=/nowhere/u,workdir=/nowhere/w");
        mount_volume(&engine, "va", &[("type", "overlay"), ("o", &options), ("device", &data)]);
        let volgc = assert_held(&engine, &["real"], "volume", "va");
        let held = volgc.report();
        let line = held["volumes"].as_array().unwrap().iter().find(|line| line["name"] == "real").unwrap();
        assert_eq!(line["holders"].as_array().unwrap().len(), 1, "{line:#}");
    }

    /// Options stand in the engine's list and on disk: that volume is named once.
    fn a_volume_that_leads_into_the_quarantine_is_named_once(engine: PrivateEngine) {
        put(&engine, "db");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        let entry = volgc.entry_id_of("db");
        let data = shown(&engine.root().join("volgc").join(&entry).join("data"));
        mount_volume(&engine, "va", &[("type", "none"), ("o", "bind"), ("device", &data)]);
        let report = volgc.report();
        assert_eq!(report["quarantine"][0]["detail"], "held by volume va", "{report:#}");
    }

    /// Options in which words are no paths: nothing is held by what they look like.
    fn words_of_options_hold_nothing(engine: PrivateEngine) {
        for volume in ["bind", "rw", "addr", "export"] {
            put(&engine, volume);
        }
        let options = [("type", "nfs"), ("o", "addr=127.0.0.1,rw,nolock"), ("device", ":/export")];
        mount_volume(&engine, "share", &options);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["share"]);
    }
}
