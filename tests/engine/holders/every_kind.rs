//! I1: what anything holds is never touched, whoever holds it and in whatever way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::{
    Contents, KEEP_IN_QUARANTINE, PrivateEngine, Version, Volgc, on_each_engine, show, text, wait_until,
};

/// What the content that the harness writes has in its file `PG_VERSION`.
const VERSION: &str = "15";

fn run(engine: &PrivateEngine, container: &str, arguments: &[&str]) -> String {
    engine.docker(&[&["run", "-d", "--name", container][..], arguments].concat())
}

fn create(engine: &PrivateEngine, container: &str, arguments: &[&str]) -> String {
    engine.docker(&[&["create", "--name", container][..], arguments].concat())
}

fn inspect(engine: &PrivateEngine, container: &str, what: &str) -> String {
    engine.docker(&["inspect", "-f", what, container])
}

fn state(engine: &PrivateEngine, container: &str) -> String {
    inspect(engine, container, "{{.State.Status}}")
}

fn restarts(engine: &PrivateEngine, container: &str) -> u32 {
    inspect(engine, container, "{{.RestartCount}}").parse().unwrap()
}

/// `source:/data` as an argument for `-v`.
fn on_data(source: &Path) -> String {
    format!("{}:/data", source.display())
}

fn names_of_holders(volgc: &Volgc, volume: &str) -> Vec<String> {
    let told = volgc.told_of(volume);
    told["holders"].as_array().unwrap().iter().map(|holder| text(&holder["name"])).collect()
}

/// A container that the engine cannot remove, so that it stays, dead, with its claim on its volumes.
fn make_dead(engine: &PrivateEngine, container: &str) {
    let id = inspect(engine, container, "{{.Id}}");
    let stuck = engine.root().join("containers").join(id).join("stuck");
    fs::write(&stuck, "").unwrap();
    assert!(Command::new("chattr").arg("+i").arg(&stuck).status().unwrap().success());
    let output = engine.try_docker(&["rm", "-f", container]);
    assert!(!output.status.success(), "{}", show(&output));
    wait_until("the container is dead", || state(engine, container) == "dead");
}

on_each_engine! {
    fn containers_in_every_state_keep_their_volumes(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let states = ["created", "dead", "exited", "paused", "restarting", "running"];
        for name in states {
            kept.volume(name);
        }
        let volume = |name: &str| format!("{name}:/data");
        create(&engine, "created", &["-v", &volume("created"), "bb", "cat", "/data/PG_VERSION"]);
        run(&engine, "dead", &["-v", &volume("dead"), "bb", "sleep", "1000"]);
        make_dead(&engine, "dead");
        run(&engine, "exited", &["-v", &volume("exited"), "bb", "cat", "/data/PG_VERSION"]);
        run(&engine, "paused", &["-v", &volume("paused"), "bb", "sleep", "1000"]);
        engine.docker(&["pause", "paused"]);
        run(&engine, "restarting", &["--restart", "always", "-v", &volume("restarting"), "bb", "false"]);
        run(&engine, "running", &["-v", &volume("running"), "bb", "sleep", "1000"]);
        for name in states {
            wait_until(name, || state(&engine, name) == name);
        }

        kept.assert_survive_sweeps();
        let restarted = restarts(&engine, "restarting");
        wait_until("another restart", || restarts(&engine, "restarting") > restarted);
        let write = "cat /data/PG_VERSION && echo more > /data/new && cat /data/new";
        assert_eq!(engine.docker(&["exec", "running", "sh", "-c", write]), "15\nmore");
        engine.docker(&["unpause", "paused"]);
        assert_eq!(engine.docker(&["exec", "paused", "sh", "-c", write]), "15\nmore");
        for name in ["created", "exited"] {
            assert_eq!(engine.docker(&["start", "-a", name]), VERSION);
        }
        let volgc = Volgc::new(&engine);
        for name in states {
            let told = volgc.told_of(name);
            assert_eq!(told["reason"], "held", "{told:#}");
            // A running one is seen by the kernel witness too.
            assert!(names_of_holders(&volgc, name).iter().any(|holder| holder == name), "{told:#}");
        }
    }

    fn volumes_from_another_container_keeps_its_volumes(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("running");
        kept.volume("waiting");
        run(&engine, "donor", &["-v", "running:/data", "bb", "sleep", "1000"]);
        run(&engine, "heir", &["--volumes-from", "donor", "bb", "sleep", "1000"]);
        create(&engine, "waiting-donor", &["-v", "waiting:/data", "bb", "true"]);
        create(&engine, "waiting-heir", &["--volumes-from", "waiting-donor", "bb", "cat", "/data/PG_VERSION"]);
        engine.docker(&["rm", "-f", "donor", "waiting-donor"]);
        let dangling = engine.docker(&["volume", "ls", "-q", "--filter", "dangling=true"]);
        assert_eq!(dangling, "waiting", "the engine would let it be removed under the container that waits");

        kept.assert_survive_sweeps();
        assert_eq!(engine.docker(&["exec", "heir", "cat", "/data/PG_VERSION"]), VERSION);
        assert_eq!(engine.docker(&["start", "-a", "waiting-heir"]), VERSION);
    }

    fn a_part_of_a_volume_keeps_all_of_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        let mount = "type=volume,src=db,dst=/part,volume-subpath=base";
        let arguments = ["create", "--name", "part", "--mount", mount, "bb", "ls", "/part"];
        match engine.version() {
            Version::V20_10 => {
                let output = engine.try_docker(&arguments);
                assert!(!output.status.success() && show(&output).contains("volume-subpath"), "{}", show(&output));
            }
            Version::V26_1 | Version::V28_5 => {
                engine.docker(&arguments);
                run(&engine, "running", &["--mount", mount, "bb", "sleep", "1000"]);
                kept.assert_survive_sweeps();
                assert_eq!(engine.docker(&["exec", "running", "ls", "/part"]), "1");
                assert_eq!(engine.docker(&["start", "-a", "part"]), "1");
            }
        }
    }

    fn binds_of_a_volumes_directory_keep_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let links = engine.dir().join("links");
        fs::create_dir(&links).unwrap();
        let names = ["running", "waiting", "below", "link", "parent-link", "dots", "whole"];
        for name in names {
            kept.volume(name);
        }
        symlink(engine.volume_data("link"), links.join("to-data")).unwrap();
        symlink(engine.volumes_dir(), links.join("to-volumes")).unwrap();
        let cat = ["bb", "cat", "/data/PG_VERSION"];
        run(&engine, "running", &["-v", &on_data(&engine.volume_data("running")), "bb", "sleep", "1000"]);
        for (name, source) in [
            ("waiting", engine.volume_data("waiting")),
            ("link", links.join("to-data")),
            ("parent-link", links.join("to-volumes/parent-link/_data")),
            ("dots", links.join("../d/volumes/./running/../dots/_data")),
        ] {
            create(&engine, name, &[&["-v", &on_data(&source)][..], &cat].concat());
        }
        let below = engine.volume_data("below").join("base");
        create(&engine, "below", &["-v", &on_data(&below), "bb", "ls", "/data"]);
        let whole = engine.volumes_dir().join("whole");
        create(&engine, "whole", &["-v", &on_data(&whole), "bb", "cat", "/data/_data/PG_VERSION"]);
        let dangling = engine.docker(&["volume", "ls", "-q", "--filter", "dangling=true"]);
        assert_eq!(dangling.lines().count(), names.len(), "the engine counts none of these uses");

        kept.assert_survive_sweeps();
        assert_eq!(engine.docker(&["exec", "running", "cat", "/data/PG_VERSION"]), VERSION);
        for name in ["waiting", "link", "parent-link", "dots", "whole"] {
            assert_eq!(engine.docker(&["start", "-a", name]), VERSION, "{name}");
        }
        assert_eq!(engine.docker(&["start", "-a", "below"]), "1");
    }

    fn a_bind_of_a_mount_of_a_volumes_directory_keeps_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        for (name, part) in [("data", ""), ("base", "base")] {
            kept.volume(name);
            let place = engine.dir().join(format!("mount-of-{name}"));
            fs::create_dir(&place).unwrap();
            let output = engine
                .command_inside("mount")
                .arg("--bind")
                .args([&engine.volume_data(name).join(part), &place])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", show(&output));
            create(&engine, name, &["-v", &on_data(&place), "bb", "ls", "/data"]);
        }
        kept.assert_survive_sweeps();
        assert!(engine.docker(&["start", "-a", "data"]).contains("PG_VERSION"));
        assert_eq!(engine.docker(&["start", "-a", "base"]), "1");
    }

    /// As another container engine mounts it (`podman run -v DIRECTORY:/data:O`), or an administrator.
    fn an_overlay_over_a_volume_keeps_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let place = engine.dir().join("overlay");
        for part in ["up", "work", "seen"] {
            fs::create_dir_all(place.join(part)).unwrap();
        }
        for name in ["lower", "lowest"] {
            kept.volume(name);
        }
        let data = |name: &str| engine.volume_data(name).display().to_string();
        let layers = format!(
            "lowerdir={}:{},upperdir={2}/up,workdir={2}/work",
            data("lower"),
            data("lowest"),
            place.display()
        );
        let mut mount = engine.command_inside("mount");
        let output =
            mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(place.join("seen")).output().unwrap();
        assert!(output.status.success(), "{}", show(&output));

        kept.assert_survive_sweeps();
        let told = Volgc::new(&engine).told_of("lower");
        assert_eq!(told["holders"][0]["witness"], "kernel", "{told:#}");
    }

    fn options_that_lead_into_another_volume_keep_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        for name in ["base", "lower", "lowest"] {
            kept.volume(name);
        }
        let data = |name: &str| engine.volume_data(name).display().to_string();
        let device = format!("device={}", data("base"));
        engine.docker(&["volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", &device, "view"]);
        let upper = engine.dir().join("upper");
        for part in ["up", "work"] {
            fs::create_dir_all(upper.join(part)).unwrap();
        }
        let layers = format!(
            "o=lowerdir={}:{},upperdir={2}/up,workdir={2}/work",
            data("lower"),
            data("lowest"),
            upper.display()
        );
        engine.docker(&[
            "volume", "create", "--opt", "type=overlay", "--opt", "device=overlay", "--opt", &layers, "layers",
        ]);
        kept.assert_survive_sweeps();
        for name in ["view", "layers"] {
            let volume = format!("{name}:/data");
            assert_eq!(engine.docker(&["run", "--rm", "-v", &volume, "bb", "cat", "/data/PG_VERSION"]), VERSION);
        }
    }

    /// The engine shows no options of a volume whose record it has lost, and mounts what `opts.json` says all the same.
    fn options_that_only_the_disk_knows_keep_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("base");
        let device = format!("device={}", engine.volume_data("base").display());
        engine.docker(&["volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", &device, "view"]);
        create(&engine, "waiting", &["-v", "view:/data", "bb", "cat", "/data/PG_VERSION"]);
        engine.stop();
        fs::remove_file(engine.volumes_dir().join("metadata.db")).unwrap();
        engine.restart();
        let view = engine.json("GET", "/volumes/view", None);
        assert!(view["Options"].is_null(), "{view:#}");

        kept.assert_survive_sweeps();
        assert_eq!(engine.docker(&["start", "-a", "waiting"]), VERSION);
    }

    /// The engine follows the link when it mounts the volume.
    fn a_data_directory_that_is_a_link_keeps_the_volume_it_leads_to(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("base");
        engine.create_volume("alias", &[]);
        fs::remove_dir(engine.volume_data("alias")).unwrap();
        symlink("../base/_data", engine.volume_data("alias")).unwrap();
        create(&engine, "waiting", &["-v", "alias:/data", "bb", "cat", "/data/PG_VERSION"]);
        kept.assert_survive_sweeps();
        assert_eq!(engine.docker(&["start", "-a", "waiting"]), VERSION);
    }

    fn anonymous_and_seeded_volumes_of_containers_are_kept(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        run(&engine, "by-option", &["-v", "/data", "bb", "sleep", "1000"]);
        run(&engine, "by-image", &["bbvol", "sleep", "1000"]);
        create(&engine, "waiting", &["bbvol", "cat", "/data/PG_VERSION"]);
        for (seed, container) in ["by-option", "by-image", "waiting"].into_iter().enumerate() {
            let name = inspect(&engine, container, "{{(index .Mounts 0).Name}}");
            engine.fill_volume(&name, seed as u64);
            kept.note_volume(&name);
        }
        create(&engine, "seeded", &["-v", "seeded:/seed", "bbseed", "cat", "/seed/hello"]);
        kept.note_volume("seeded");

        kept.assert_survive_sweeps();
        for name in ["by-option", "by-image"] {
            assert_eq!(engine.docker(&["exec", name, "cat", "/data/PG_VERSION"]), VERSION);
        }
        assert_eq!(engine.docker(&["start", "-a", "waiting"]), VERSION);
        assert_eq!(engine.docker(&["start", "-a", "seeded"]), "hello from the image");
    }

    fn an_ordered_quarantine_of_a_held_volume_is_not_done(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("db");
        create(&engine, "app", &["-v", "db:/data", "bb", "true"]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let output = volgc.refused(&["quarantine", "db"]);
        assert!(output.contains("kept volume db: held by container app"), "{output}");
        kept.assert_untouched();
    }
}
