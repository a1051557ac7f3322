//! Links in the place of a whole volume, and chains of links through volumes.

use std::fs;
use std::os::unix::fs::symlink;

use harness::on_each_engine;

use super::{assert_held, assert_holds, create, put, shown};

on_each_engine! {
    /// The engine makes `_data` through the link, and lists the volume as its own.
    fn a_volume_that_is_a_link_to_another_holds_it(engine: PrivateEngine) {
        put(&engine, "old");
        symlink("old", engine.volumes_dir().join("new")).unwrap();
        engine.docker(&["create", "--name", "app", "-v", "new:/data", "bb", "cat", "/data/PG_VERSION"]);
        let volgc = assert_held(&engine, &["old"], "container", "app");
        assert_holds(&volgc, "old", "volume", "new");
        assert_eq!(engine.docker(&["start", "--attach", "app"]), "15");
        // After a restart the engine knows no volume of that name, and the container still means it.
        engine.restart();
        assert_held(&engine, &["old"], "container", "app");
    }

    /// `first/_data/next` leads to the link `middle`, which leads to `last`: each is needed.
    fn a_chain_of_links_through_volumes_holds_each(engine: PrivateEngine) {
        for volume in ["first", "last", "passed"] {
            put(&engine, volume);
        }
        symlink("last", engine.volumes_dir().join("middle")).unwrap();
        symlink("../../passed/_data/../../middle/_data", engine.volume_data("first").join("next")).unwrap();
        let bind = format!("{}:/data", shown(&engine.volume_data("first").join("next")));
        create(&engine, "app", &["-v", &bind]);
        assert_held(&engine, &["first", "last", "passed"], "container", "app");
    }

    /// A link that nobody uses keeps nothing.
    fn a_link_that_nothing_uses_holds_nothing(engine: PrivateEngine) {
        put(&engine, "old");
        symlink("old", engine.volumes_dir().join("latest")).unwrap();
        create(&engine, "app", &["-v", "other:/data"]);
        let volgc = harness::Volgc::configured(&engine, harness::NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["other"]);
        assert!(fs::symlink_metadata(engine.volumes_dir().join("latest")).is_ok());
    }
}
