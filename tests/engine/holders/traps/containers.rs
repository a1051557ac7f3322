//! Containers that the engine lists, and whose use of a volume it does not count.

use std::fs;

use crate::holders::traps::twins::{
    BOTH, CONTENT, KEPT, LOST, app, assert_app_finds_its_data, assert_app_finds_nothing, assert_holder,
    assert_kept, assert_pruned, dangling, make, on_data,
};
use harness::on_each_engine;

/// How many volumes of a container are missing. The engine looks at its mounts in an order that changes, and forgets those that
/// come after the first missing one.
const MISSING: usize = 9;

on_each_engine! {
    /// The engine's references know names only: a bind of `_data` is none.
    fn a_running_container_binds_the_data_directory(engine: PrivateEngine) {
        for volume in BOTH {
            make(&engine, volume);
            let bind = on_data(&engine.volume_data(volume));
            engine.docker(&["run", "-d", "--name", &app(volume), "-v", &bind, "bb", "sleep", "1000"]);
        }
        let read = |volume: &str| engine.try_docker(&["exec", &app(volume), "cat", "/data/PG_VERSION"]);
        assert!(read(LOST).status.success());
        assert_pruned(&engine);
        assert!(!read(LOST).status.success(), "its data was taken from under a running container");

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "bind_sources", "container", &app(KEPT));
        assert_eq!(String::from_utf8_lossy(&read(KEPT).stdout).trim(), CONTENT);
    }

    /// A reference is taken when such a container starts, not when it is made (all versions to 29).
    fn a_container_with_anothers_volumes_waits_and_the_other_is_gone(engine: PrivateEngine) {
        for volume in BOTH {
            make(&engine, volume);
            let donor = format!("{volume}-donor");
            let mount = format!("{volume}:/data");
            engine.docker(&["create", "--name", &donor, "-v", &mount, "bb", "true"]);
            let heir = ["create", "--name", &app(volume), "--volumes-from", &donor, "bb", "cat", "/data/PG_VERSION"];
            engine.docker(&heir);
            engine.docker(&["rm", &donor]);
        }
        assert_pruned(&engine);
        assert_app_finds_nothing(&engine);

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "engine", "container", &app(KEPT));
        assert_app_finds_its_data(&engine);
    }

    /// When the engine starts and cannot find one volume of a container, it takes no reference to the others.
    fn one_missing_volume_of_a_container_uncounts_its_others(engine: PrivateEngine) {
        let missing = |volume: &str| (0..MISSING).map(move |number| format!("{volume}-missing-{number}")).collect::<Vec<_>>();
        for volume in BOTH {
            make(&engine, volume);
            let mount = format!("{volume}:/data");
            let others: Vec<String> = missing(volume).iter().map(|name| format!("--volume={name}:/{name}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            let name = app(volume);
            let create = [&["create", "--name", &name, "-v", &mount][..], &others, &["bb", "cat", "/data/PG_VERSION"]];
            engine.docker(&create.concat());
        }
        engine.stop();
        for name in BOTH.iter().flat_map(|volume| missing(volume)) {
            fs::remove_dir_all(engine.volumes_dir().join(name)).unwrap();
        }
        let is_uncounted = || {
            engine.restart();
            let dangling = dangling(&engine);
            BOTH.iter().all(|volume| dangling.iter().any(|name| name == volume))
        };
        assert!((0..20).any(|_| is_uncounted()), "the engine counted a use each time: {}", engine.log_tail());
        assert_pruned(&engine);

        let volgc = assert_kept(&engine, &[]);
        assert_holder(&volgc, KEPT, "engine", "container", &app(KEPT));
        for name in BOTH.iter().flat_map(|volume| missing(volume)) {
            engine.create_volume(&name, &[]);
        }
        assert_app_finds_its_data(&engine);
    }
}
