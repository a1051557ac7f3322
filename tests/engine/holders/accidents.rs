//! Hosts that made earlier tools delete what was in use.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{Contents, KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, show};

fn run(engine: &PrivateEngine, container: &str, volume: &str) {
    let volume = format!("{volume}:/data");
    engine.docker(&["run", "-d", "--name", container, "-v", &volume, "bb", "sleep", "1000"]);
}

on_each_engine! {
    /// Under live-restore the engine came back without the references of the containers that had gone on.
    fn live_restore_lost_references_moby_41686(version: Version) {
        let engine = PrivateEngine::builder(version).live_restore(true).start();
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        run(&engine, "app", "db");
        engine.kill();
        engine.restart();
        kept.assert_survive_sweeps();
        engine.docker(&["exec", "app", "sh", "-c", "cat /data/PG_VERSION && touch /data/new"]);
    }

    /// A deployment removes its container and makes another: between them nothing holds the volume.
    fn redeployment_left_a_gap_coolify_5343(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let volgc = Volgc::configured(
            &engine,
            &KEEP_IN_QUARANTINE.replace("min_sightings = 1", "min_sightings = 3"),
        );
        for _ in 0..3 {
            run(&engine, "app", "db");
            volgc.ok(&["sweep"]);
            engine.docker(&["rm", "-f", "app"]);
            volgc.sweep_twice();
            kept.assert_untouched();
        }
        assert_eq!(volgc.told_of("db")["last_holder"]["name"], "app");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "no deployment for three sweeps");
    }

    /// A docker root behind a symlink: the tool compared paths as text and saw every volume as an orphan.
    fn symlinked_root_chadoe_20(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        for name in ["named", "bound", "aside"] {
            kept.volume(name);
        }
        run(&engine, "named", "named");
        let bound = format!("{}:/data", engine.volume_data("bound").display());
        engine.docker(&["create", "--name", "bound", "-v", &bound, "bb", "cat", "/data/PG_VERSION"]);
        engine.stop();
        let real = engine.dir().join("real");
        engine.move_root(&real);
        symlink("real", engine.root()).unwrap();
        engine.restart();
        engine.docker(&["start", "named"]);
        let aside = format!("{}:/data", real.join("volumes/aside/_data").display());
        engine.docker(&["create", "--name", "aside", "-v", &aside, "bb", "cat", "/data/PG_VERSION"]);

        kept.assert_survive_sweeps();
        engine.docker(&["exec", "named", "cat", "/data/PG_VERSION"]);
        for name in ["bound", "aside"] {
            assert_eq!(engine.docker(&["start", "-a", name]), "15");
        }
    }

    /// The same with only `volumes` elsewhere: also what is taken must come back.
    fn symlinked_volumes_directory(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("held");
        kept.volume("orphan");
        engine.stop();
        // Not outside of the root, which an engine may make a mount of its own: then nothing could be renamed across.
        fs::rename(engine.volumes_dir(), engine.root().join("elsewhere")).unwrap();
        symlink("elsewhere", engine.volumes_dir()).unwrap();
        engine.restart();
        run(&engine, "app", "held");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["held"]);
        assert_eq!(volgc.quarantined_names(), ["orphan"]);
        volgc.ok(&["restore", "orphan"]);
        kept.assert_untouched();
    }

    /// Data of the host mounted below a volume's directory was deleted with the volume.
    fn data_mounted_below_a_volume_k8s_72257(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        for name in ["on-data", "below-data"] {
            kept.volume(name);
        }
        let outside = engine.dir().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "of the host").unwrap();
        for place in [engine.volume_data("on-data"), engine.volume_data("below-data").join("empty")] {
            let mut mount = engine.command_inside("mount");
            let output = mount.arg("--bind").args([&outside, &place]).output().unwrap();
            assert!(output.status.success(), "{}", show(&output));
        }
        let mut seen = Contents::new(&engine);
        seen.note_volume("on-data");
        seen.note_volume("below-data");
        seen.note(&outside);

        seen.assert_survive_sweeps();
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        for name in ["on-data", "below-data"] {
            let told = volgc.told_of(name);
            assert!(told["reason"] == "mounted" || told["reason"] == "held", "{told:#}");
        }
    }

    /// What a container binds from the host is no volume, and nobody's business.
    fn bind_mounted_host_paths_are_never_touched(engine: PrivateEngine) {
        let host = engine.dir().join("host");
        fs::create_dir(&host).unwrap();
        harness::fill(&host, 7);
        let file = engine.dir().join("host.conf");
        fs::write(&file, "of the host\n").unwrap();
        let mut kept = Contents::new(&engine);
        kept.note(&host);
        kept.note(&file);
        let binds = [format!("{}:/data", host.display()), format!("{}:/etc/host.conf", file.display())];
        for (name, rest) in [("running", ["sleep", "1000"]), ("stopped", ["test", "1"]), ("gone", ["test", "1"])] {
            engine.docker(&["run", "-d", "--name", name, "-v", &binds[0], "-v", &binds[1], "bb", rest[0], rest[1]]);
        }
        engine.docker(&["rm", "-f", "gone"]);
        kept.assert_survive_sweeps();
        engine.docker(&["rm", "-f", "running", "stopped"]);
        kept.assert_survive_sweeps();
    }
}
