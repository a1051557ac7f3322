//! Containers that are on disk, and that the engine did not load when it started: it neither lists them nor counts their volumes
//! as used. They come back when the cause is mended, without their data.

use std::fs;
use std::path::PathBuf;

use crate::holders::traps::twins::{
    BOTH, KEPT, app, assert_app_finds_its_data, assert_app_finds_nothing, assert_holder, assert_kept,
    assert_pruned, assert_removed, make_with_apps,
};
use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine};

/// How many containers have one name. The engine loads one of them, and which it is changes.
const NAMESAKES: usize = 6;

fn id_of(engine: &PrivateEngine, container: &str) -> String {
    engine.docker(&["inspect", "--format", "{{.Id}}", container])
}

fn containers(engine: &PrivateEngine) -> PathBuf {
    engine.root().join("containers")
}

/// Whether the engine lists neither of both containers.
fn are_unloaded(engine: &PrivateEngine, ids: &[String]) -> bool {
    let listed = engine.docker(&["ps", "--all", "--quiet", "--no-trunc"]);
    !ids.iter().any(|id| listed.contains(id))
}

/// What the engine loses is shown, and what volgc keeps; then the cause is mended.
#[track_caller]
fn assert_trap(engine: &PrivateEngine, ids: &[String], mend: impl FnOnce()) {
    assert!(are_unloaded(engine, ids), "the engine loaded them");
    assert_pruned(engine);
    let volgc = assert_kept(engine, &[]);
    let told = volgc.told_of(KEPT);
    let holders = told["holders"].as_array().unwrap();
    assert_eq!(told["reason"], "held", "{told:#}");
    let is_it = |id: &str| {
        holders.iter().any(|holder| holder["witness"] == "containers_on_disk" && holder["id"] == id)
    };
    assert!(ids.iter().any(|id| is_it(id)), "{told:#}");

    engine.stop();
    mend();
    engine.restart();
    assert_app_finds_its_data(engine);
    assert_app_finds_nothing(engine);
}

/// Of a file of both containers only the first bytes are left, as after a power cut or on a full disk.
#[track_caller]
fn assert_cut_file(engine: &PrivateEngine, file: &str, left: impl Fn(usize) -> usize) {
    make_with_apps(engine);
    let ids: Vec<String> = BOTH.iter().map(|volume| id_of(engine, &app(volume))).collect();
    let files: Vec<PathBuf> = ids.iter().map(|id| containers(engine).join(id).join(file)).collect();
    engine.stop();
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, whole) in files.iter().zip(&whole) {
        fs::write(file, &whole[..left(whole.len())]).unwrap();
    }
    engine.restart();
    assert_trap(engine, &ids, || {
        files.iter().zip(&whole).for_each(|(file, whole)| fs::write(file, whole).unwrap());
    });
}

on_each_engine! {
    fn a_container_whose_config_v2_json_is_cut(engine: PrivateEngine) {
        assert_cut_file(&engine, "config.v2.json", |length| length / 2);
    }

    fn a_container_whose_config_v2_json_is_empty(engine: PrivateEngine) {
        assert_cut_file(&engine, "config.v2.json", |_| 0);
    }

    fn a_container_whose_hostconfig_json_is_cut(engine: PrivateEngine) {
        assert_cut_file(&engine, "hostconfig.json", |length| length / 2);
    }

    /// With `config.v2.json` the names of anonymous volumes are lost: whatever they were, volgc refuses to act.
    fn a_container_with_an_anonymous_volume_whose_config_v2_json_is_empty(engine: PrivateEngine) {
        let volumes: Vec<String> = BOTH.iter().map(|volume| {
            let name = app(volume);
            engine.docker(&["create", "--name", &name, "-v", "/data", "bb", "cat", "/data/PG_VERSION"]);
            let anonymous = engine.docker(&["inspect", "--format", "{{(index .Mounts 0).Name}}", &name]);
            engine.fill_volume(&anonymous, 4711);
            anonymous
        }).collect();
        let files: Vec<PathBuf> = BOTH.iter()
            .map(|volume| containers(&engine).join(id_of(&engine, &app(volume))).join("config.v2.json")).collect();
        engine.stop();
        let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        for file in &files {
            fs::write(file, "").unwrap();
        }
        engine.restart();
        assert_removed(&engine, &volumes[0]);

        let volgc = Volgc::configured(&engine, NO_GRACE);
        for _ in 0..4 {
            let output = volgc.run(&["sweep"]);
            assert_eq!(output.status, Some(4), "{output:?}");
            let directory = files[1].parent().unwrap().display().to_string();
            assert!(output.stderr.contains(&directory) && output.stderr.contains("acknowledged"), "{output:?}");
        }
        // One of the two is not enough. The operator declares both to be of no interest, keeps what is still needed, and all else goes.
        let id = |file: &PathBuf| file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let ids: Vec<String> = files.iter().map(id).collect();
        let acknowledge = |ids: &[String]| volgc.config(&format!("{NO_GRACE}[containers_on_disk]\nacknowledged = {ids:?}\n"));
        acknowledge(&ids[..1]);
        let output = volgc.run(&["sweep"]);
        assert!(output.status == Some(4) && output.stderr.contains(&ids[1]), "{output:?}");
        acknowledge(&ids);
        volgc.ok(&["hold", &volumes[1], "--reason", "its container comes back"]);
        let mut contents = Contents::new(&engine);
        contents.note_volume(&volumes[1]);
        contents.assert_survive_sweeps_of(&volgc);

        engine.stop();
        files.iter().zip(whole).for_each(|(file, whole)| fs::write(file, whole).unwrap());
        engine.restart();
        assert_app_finds_its_data(&engine);
        assert_app_finds_nothing(&engine);
    }

    /// A copy of a container's directory under another name, and the original gone: as from a backup.
    fn a_container_whose_directory_has_another_name(engine: PrivateEngine) {
        make_with_apps(&engine);
        let ids: Vec<String> = BOTH.iter().map(|volume| id_of(&engine, &app(volume))).collect();
        engine.stop();
        let renamed: Vec<String> = ids.iter().map(|id| id.chars().rev().collect()).collect();
        let rename = |from: &[String], to: &[String]| {
            for (from, to) in from.iter().zip(to) {
                fs::rename(containers(&engine).join(from), containers(&engine).join(to)).unwrap();
            }
        };
        rename(&ids, &renamed);
        engine.restart();
        assert_trap(&engine, &renamed, || rename(&renamed, &ids));
    }

    fn a_container_whose_layer_is_missing(engine: PrivateEngine) {
        make_with_apps(&engine);
        let ids: Vec<String> = BOTH.iter().map(|volume| id_of(&engine, &app(volume))).collect();
        let driver = engine.docker(&["info", "--format", "{{.Driver}}"]);
        engine.stop();
        let layers = engine.root().join("image").join(driver).join("layerdb/mounts");
        // The engine may have bound its root to itself, and a busy mount stays: nothing can be renamed out of it.
        let aside = engine.root().join("layers");
        fs::create_dir(&aside).unwrap();
        for id in &ids {
            fs::rename(layers.join(id), aside.join(id)).unwrap();
        }
        engine.restart();
        assert_trap(&engine, &ids, || {
            for id in &ids {
                fs::rename(aside.join(id), layers.join(id)).unwrap();
            }
        });
    }

    /// Of several containers with one name the engine loads one.
    fn a_container_whose_name_another_has(engine: PrivateEngine) {
        make_with_apps(&engine);
        let namesakes: Vec<String> =
            (0..NAMESAKES).map(|number| engine.docker(&["create", "--name", &format!("other-{number}"), "bb", "true"])).collect();
        let ids: Vec<String> = BOTH.iter().map(|volume| id_of(&engine, &app(volume))).collect();
        let rename = |id: &String, name: &str| {
            let path = containers(&engine).join(id).join("config.v2.json");
            let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            config["Name"] = format!("/{name}").into();
            fs::write(&path, config.to_string()).unwrap();
        };
        engine.stop();
        ids.iter().chain(&namesakes).for_each(|id| rename(id, "web"));
        let is_unloaded = || {
            engine.restart();
            are_unloaded(&engine, &ids)
        };
        assert!((0..20).any(|_| is_unloaded()), "one of both was loaded each time");
        assert_trap(&engine, &ids, || {
            BOTH.iter().zip(&ids).for_each(|(volume, id)| rename(id, &app(volume)));
        });
    }

    /// As the move to the containerd image store does: the containers of the old driver are not loaded, and come back with it.
    fn a_container_of_another_storage_driver(version: Version) {
        let first = PrivateEngine::builder(version).storage_driver("overlay2").start();
        make_with_apps(&first);
        let ids: Vec<String> = BOTH.iter().map(|volume| id_of(&first, &app(volume))).collect();
        first.stop();
        let second = PrivateEngine::builder(version).storage_driver("vfs").data_root(first.root()).start();
        assert!(are_unloaded(&second, &ids), "the engine loaded them");
        assert_pruned(&second);
        let volgc = assert_kept(&second, &[]);
        assert_holder(&volgc, KEPT, "containers_on_disk", "unloaded_container", &app(KEPT));
        let told = volgc.told_of(KEPT).to_string();
        assert!(told.contains("made under storage driver overlay2, the engine now uses vfs"), "{told}");
        second.stop();
        drop(second);

        first.restart();
        assert_app_finds_its_data(&first);
        assert_app_finds_nothing(&first);
    }
}
