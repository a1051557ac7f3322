//! Who holds a volume in a mount namespace of his own is named, with all that it takes to find him.

use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine};

use super::{Holding, assert_goes, held, make_held};

/// What `explain` says of the volume that is held.
fn story(engine: &PrivateEngine) -> String {
    Volgc::configured(engine, NO_GRACE).ok(&["explain", &held(engine)])
}

on_each_engine! {
    fn a_mount_of_a_volume_in_somebodys_namespace_is_named(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let script = r#"mount --bind "$1" /mnt; echo ready; read x"#;
        let holding = Holding::apart(script, &[&engine.volume_data(&held(&engine))]);
        let process = holding.0.id();
        kept.assert_survive_sweeps();
        let told = story(&engine);
        assert!(told.contains("mounted at /mnt in mount namespace "), "{told}");
        assert!(told.contains(&format!("(process {process} sh)")), "{told}");
        drop(holding);
        assert_goes(&engine);
    }

    /// What is mounted inside of a volume, where nobody else sees it: by a process of the host, and by a container.
    fn a_mount_in_a_volume_that_is_pinned_by_somebodys_namespace_is_named(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let data = engine.volume_data(&held(&engine));
        let script = r#"mount -t tmpfs none "$1/base"; echo ready; read x"#;
        let holding = Holding::apart(script, &[&data]);
        kept.assert_survive_sweeps();
        let told = story(&engine);
        let at = format!("at {}/base in mount namespace ", data.display());
        let process = format!("(process {} sh)", holding.0.id());
        assert!(told.contains(&at) && told.contains(&process), "{told}");
        drop(holding);

        let volume = format!("{}:/data", held(&engine));
        engine.docker(&["run", "-d", "--name", "tenant", "-v", &volume, "--tmpfs", "/data/base", "bb", "sleep", "1000"]);
        let told = story(&engine);
        assert!(told.contains("at /data/base in mount namespace "), "{told}");
        assert!(told.contains("sleep of container tenant ("), "{told}");
        engine.docker(&["rm", "-f", "tenant"]);
        kept.assert_untouched();
        assert_goes(&engine);
    }
}
