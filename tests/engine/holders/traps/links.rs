//! Links: the engine follows them, and what it deletes then is not what it was told to delete.

use std::fs;
use std::os::unix::fs::symlink;

use crate::holders::traps::twins::{
    BOTH, KEPT, LOST, app, assert_app_finds_its_data, assert_app_finds_nothing, assert_holder, assert_kept,
    assert_pruned, assert_removed, make, on_data,
};
use harness::{Contents, NO_GRACE, Volgc, fill, on_each_engine};

on_each_engine! {
    /// The engine deletes what the link leads to: the data of the other volume.
    fn a_data_directory_is_a_link_into_another_volume(engine: PrivateEngine) {
        let alias = |volume: &str| format!("alias-of-{volume}");
        for volume in BOTH {
            make(&engine, volume);
            engine.create_volume(&alias(volume), &[]);
            let link = engine.volume_data(&alias(volume));
            fs::remove_dir(&link).unwrap();
            symlink(format!("../{volume}/_data"), link).unwrap();
        }
        assert_removed(&engine, &alias(LOST));
        assert!(!engine.volume_data(LOST).exists(), "the data of another volume was deleted");
        assert!(engine.volume_names().contains(&LOST.to_owned()));

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "bind_sources", "volume", &alias(KEPT));
        assert_eq!(volgc.reason_of(&alias(KEPT)), "not_a_directory");
        assert!(engine.volume_data(&alias(KEPT)).join("PG_VERSION").exists());
    }

    /// Engines that compare paths as strings take any path that begins like their `volumes` to be inside of it.
    fn a_data_directory_is_a_link_to_a_neighbour_of_the_volumes(engine: PrivateEngine) {
        let neighbour = engine.root().join("volumes2");
        for volume in BOTH {
            engine.create_volume(volume, &[]);
            let target = neighbour.join(volume);
            fs::create_dir_all(&target).unwrap();
            fill(&target, 4711);
            fs::remove_dir(engine.volume_data(volume)).unwrap();
            symlink(&target, engine.volume_data(volume)).unwrap();
        }
        assert_removed(&engine, LOST);
        assert!(!neighbour.join(LOST).exists(), "the engine left it");

        let mut contents = Contents::new(&engine);
        contents.note(&neighbour.join(KEPT));
        contents.note(&engine.volumes_dir().join(KEPT));
        let volgc = Volgc::configured(&engine, NO_GRACE);
        contents.assert_survive_sweeps_of(&volgc);
        assert_eq!(volgc.reason_of(KEPT), "not_a_directory");
        assert_eq!(volgc.run(&["quarantine", KEPT]).status, Some(4));
        contents.assert_untouched();
    }

    /// The same data under two paths: a container binds the one that the engine does not know.
    fn the_docker_root_is_a_link(engine: PrivateEngine) {
        engine.stop();
        let real = engine.dir().join("real");
        engine.move_root(&real);
        symlink("real", engine.root()).unwrap();
        engine.restart();
        assert_eq!(engine.docker(&["info", "--format", "{{.DockerRootDir}}"]), real.display().to_string());
        for volume in BOTH {
            make(&engine, volume);
            let bind = format!("{}:/data", engine.root().join("volumes").join(volume).join("_data").display());
            engine.docker(&["create", "--name", &app(volume), "-v", &bind, "bb", "cat", "/data/PG_VERSION"]);
        }
        assert_pruned(&engine);
        assert_app_finds_nothing(&engine);

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "bind_sources", "container", &app(KEPT));
        assert_app_finds_its_data(&engine);
    }

    /// A link has a name like a volume's and leads into another one; the container was never started, so no mount shows it.
    fn a_container_binds_a_link_among_the_volumes(engine: PrivateEngine) {
        for volume in BOTH {
            make(&engine, volume);
            let link = engine.volumes_dir().join(format!("link-to-{volume}"));
            symlink(volume, &link).unwrap();
            let bind = on_data(&link.join("_data"));
            engine.docker(&["create", "--name", &app(volume), "-v", &bind, "bb", "cat", "/data/PG_VERSION"]);
        }
        assert_pruned(&engine);
        assert_app_finds_nothing(&engine);

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "bind_sources", "container", &app(KEPT));
        assert_app_finds_its_data(&engine);
    }

    /// Both volumes are needed: the one that has the link, and the one that it leads into.
    fn a_container_binds_a_link_in_the_data_of_another_volume(engine: PrivateEngine) {
        for volume in BOTH {
            let on_the_way = format!("way-to-{volume}");
            make(&engine, volume);
            engine.create_volume(&on_the_way, &[]);
            let link = engine.volume_data(&on_the_way).join("current");
            symlink(format!("../../{volume}/_data"), &link).unwrap();
            let bind = on_data(&link);
            engine.docker(&["create", "--name", &app(volume), "-v", &bind, "bb", "cat", "/data/PG_VERSION"]);
        }
        assert_pruned(&engine);
        assert_app_finds_nothing(&engine);

        let volgc = assert_kept(&engine, &[&engine.volume_data("way-to-kept").join("current")]);
        for needed in [KEPT, "way-to-kept"] {
            assert_holder(&volgc, needed, "bind_sources", "container", &app(KEPT));
        }
        assert_app_finds_its_data(&engine);
    }
}
