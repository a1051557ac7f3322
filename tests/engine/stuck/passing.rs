//! A backup that mounts every volume each night holds it while it exists, and starts no clock anew.

use harness::{PrivateEngine, Volgc, on_each_engine};

use super::{config, succeed};

const BY_LABEL: &str = "[[passing]]\nlabel = \"role=backup\"\n";
const BY_NAME: &str = "[[passing]]\nimage = \"bb\"\ncontainer = \"backup-*\"\n";

/// Two sightings and no less: a clock that begins anew in between is never due.
fn patient(more: &str) -> String {
    config("quarantine", more).replace("min_sightings = 1", "min_sightings = 3")
}

fn back_up(engine: &PrivateEngine, name: &str) {
    let words = [
        "run",
        "-d",
        "--name",
        name,
        "--label",
        "role=backup",
        "-v",
        "db:/db:ro",
        "-v",
        "/more",
        "bb",
        "sleep",
        "600",
    ];
    engine.docker(&words);
}

fn sightings(volgc: &Volgc) -> String {
    let story = volgc.ok(&["explain", "db"]);
    let clock = story.lines().find(|line| line.starts_with("clock")).unwrap_or_default();
    clock.split("seen so by ").nth(1).unwrap_or(clock).split(" until").next().unwrap_or_default().to_owned()
}

on_each_engine! {
    fn a_backup_each_night_keeps_nothing_for_ever(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &patient(BY_LABEL));
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        for night in 0..2 {
            volgc.ok(&["sweep"]);
            let name = format!("backup-{night}");
            back_up(&engine, &name);
            // I1: held while it exists, running or not.
            let told = volgc.ok(&["sweep"]);
            assert_eq!(volgc.reason_of("db"), "held", "{told}");
            let story = volgc.ok(&["explain", "db"]);
            assert!(story.contains("only passes by: its clock stands"), "{story}");
            engine.docker(&["kill", &name]);
            volgc.ok(&["sweep"]);
            assert_eq!(volgc.reason_of("db"), "held");
            let refused = volgc.run(&["quarantine", "db"]);
            assert_eq!(refused.status, Some(4), "{refused:?}");
            engine.docker(&["rm", "-f", "-v", &name]);
        }
        // Three free looks in all, and no more in a row than two.
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.quarantined_names(), ["db"]);
    }

    /// Its mount and its bind of a path pass with it. What anybody else mounts does not.
    fn whatever_a_container_that_passes_holds_by_passes_and_the_mount_of_another_does_not(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &patient(BY_LABEL));
        engine.create_volume("db", &[]);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        let (data, elsewhere) = (engine.volume_data("db"), engine.dir().join("elsewhere"));
        let bind = format!("{}:/by-path:ro", data.display());
        let words = ["run", "-d", "--name", "backup", "--label", "role=backup", "-v", &bind, "-v", "db:/db", "bb", "sleep", "600"];
        engine.docker(&words);
        volgc.ok(&["sweep"]);
        let story = volgc.ok(&["explain", "db"]);
        for witness in ["engine", "bind sources", "kernel"] {
            let line = story.lines().find(|line| line.starts_with(&format!("witness {witness} "))).unwrap_or_default();
            assert!(line.contains("held by"), "{witness}: {story}");
        }
        assert!(story.contains("only passes by: its clock stands"), "{story}");
        assert_eq!(sightings(&volgc), "2 sweeps", "{story}");
        // Of another namespace beside the container's, and at a place of its own.
        std::fs::create_dir(&elsewhere).unwrap();
        succeed("mount", &["--bind".as_ref(), data.as_os_str(), elsewhere.as_os_str()]);
        let story = volgc.ok(&["explain", "db"]);
        volgc.ok(&["sweep"]);
        succeed("umount", &[&elsewhere]);
        engine.docker(&["rm", "-f", "-v", "backup"]);
        assert!(story.contains("held by") && !story.contains("only passes by"), "{story}");
        volgc.ok(&["sweep"]);
        assert_eq!(sightings(&volgc), "1 sweep", "the mount did not count");
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
    }

    fn one_that_is_known_by_image_and_name_passes_and_another_does_not(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &patient(BY_NAME));
        engine.create_volume("db", &[]);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert_eq!(sightings(&volgc), "2 sweeps");
        back_up(&engine, "backup-one");
        volgc.ok(&["sweep"]);
        engine.docker(&["rm", "-f", "-v", "backup-one"]);
        assert_eq!(sightings(&volgc), "2 sweeps");
        back_up(&engine, "application");
        volgc.ok(&["sweep"]);
        engine.docker(&["rm", "-f", "-v", "application"]);
        volgc.ok(&["sweep"]);
        assert_eq!(sightings(&volgc), "1 sweep", "the use did not count");
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
    }
}
