//! The same life on engines that are set up otherwise than by default.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{
    KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Version, Volgc, on_each_engine, tree_digest, tree_listing,
};

/// Quarantined, restored and read, quarantined again and deleted; and what a stopped container has is left to it.
#[track_caller]
fn assert_whole_life(engine: &PrivateEngine, root: &Path) {
    let volgc = Volgc::beside(engine.dir(), &engine.socket(), root);
    volgc.config(KEEP_IN_QUARANTINE);
    for name in ["db", "held"] {
        engine.docker(&[
            "run",
            "--rm",
            "-v",
            &format!("{name}:/data"),
            "bb",
            "sh",
            "-c",
            "mkdir /data/d; echo kept > /data/d/f",
        ]);
    }
    engine.docker(&["create", "--name", "app", "-v", "held:/data", "bb", "cat", "/data/d/f"]);
    let data = root.join("volumes/db/_data");
    let before = (tree_digest(&data), tree_listing(&data));

    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), ["held"]);
    volgc.ok(&["restore", "db"]);
    assert_eq!((tree_digest(&data), tree_listing(&data)), before);
    assert_eq!(
        engine.docker(&[
            "run",
            "--rm",
            "-v",
            "db:/data",
            "bb",
            "sh",
            "-c",
            "echo more > /data/d/g; cat /data/d/f"
        ]),
        "kept"
    );

    volgc.config(NO_GRACE);
    volgc.sweep_twice();
    volgc.ok(&["sweep"]);
    assert_eq!(engine.volume_names(), ["held"]);
    assert_eq!(volgc.json(&["list", "--format", "json"]), serde_json::json!([]));
    let left: Vec<_> =
        fs::read_dir(root.join("volgc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("db")), "{left:?}");
    assert_eq!(engine.docker(&["start", "--attach", "app"]), "kept");
}

on_each_engine! {
    /// The docker root is then a directory of that user below the data root, and the data are of users beyond 200000.
    fn whose_containers_have_a_user_namespace(version: Version) {
        let engine = PrivateEngine::builder(version)
            .own_root("echo daemon:200000:65536 > /etc/subuid; cp /etc/subuid /etc/subgid")
            .daemon_json(r#"{"userns-remap": "daemon"}"#)
            .start();
        let info = engine.json("GET", "/info", None);
        assert!(info["SecurityOptions"].to_string().contains("name=userns"), "{info}");
        let root = PathBuf::from(info["DockerRootDir"].as_str().unwrap());
        assert_eq!(root, engine.root().join("200000.200000"));
        assert_whole_life(&engine, &root);
    }
}

/// The default of new installations from Docker 29 on.
#[test]
fn that_keeps_images_in_containerd() {
    let engine = PrivateEngine::builder(Version::V28_5)
        .storage_driver("overlayfs")
        .daemon_json(r#"{"features": {"containerd-snapshotter": true}}"#)
        .start();
    let info = engine.json("GET", "/info", None);
    assert!(info["DriverStatus"].to_string().contains("io.containerd.snapshotter"), "{info}");
    assert_whole_life(&engine, &engine.root());
}
