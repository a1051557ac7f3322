//! Quarantine in place: a volume that is a mount of something else is marked, released when anything holds it, and at its end
//! removed by the engine. What it mounts is untouched, whatever happens. (NFS and CIFS differ from these only in what the engine
//! mounts; there is no server here to mount from.)

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Child;

use harness::proxy::{Proxy, Treat};
use harness::{Contents, PrivateEngine, Volgc, fill, on_each_engine, wait_until};
use serde_json::{Value, json};

/// Everything is collected, in place where it has to be.
const IN_PLACE: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[[rule]]
name = "mounts"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "0s"
in_place = true
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
"#;

/// The same, and what is in quarantine stays there.
fn staying() -> String {
    IN_PLACE.replace("delete_after = \"0s\"", "delete_after = \"1h\"")
}

/// A directory of the host with content, and a volume that is a bind mount of it.
#[track_caller]
fn bound(engine: &PrivateEngine, name: &str) -> PathBuf {
    let behind = engine.dir().join("behind").join(name);
    if !behind.exists() {
        fs::create_dir_all(&behind).unwrap();
        fill(&behind, 11);
    }
    mount(engine, name, &json!({ "type": "none", "o": "bind", "device": behind.display().to_string() }));
    behind
}

#[track_caller]
fn mount(engine: &PrivateEngine, name: &str, options: &Value) {
    let body = json!({ "Name": name, "Driver": "local", "DriverOpts": options }).to_string();
    engine.json("POST", "/volumes/create", Some(&body));
}

#[track_caller]
fn container(engine: &PrivateEngine, name: &str, volume: &str) {
    engine.docker(&[
        "create",
        "--name",
        name,
        "--network",
        "none",
        "-v",
        &format!("{volume}:/data"),
        "bb",
        "true",
    ]);
}

/// Starts an order that waits at a fault point, and returns when it is there.
fn stopped_at(engine: &PrivateEngine, volgc: &Volgc, point: &str, order: &[&str]) -> Child {
    let trace = engine.dir().join("trace");
    fs::remove_file(&trace).ok();
    let child = volgc
        .clone()
        .env("VOLGC_FAULT", format!("{point}=delay:4000"))
        .env("VOLGC_FAULT_TRACE", &trace)
        .spawn(order);
    wait_until(point, || fs::read_to_string(&trace).unwrap_or_default().lines().any(|line| line == point));
    child
}

on_each_engine! {
    fn a_bind_is_marked_and_removed_and_what_it_binds_is_untouched(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        let volgc = Volgc::configured(&engine, &staying());
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries().len(), 0, "at first sight");
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("quarantined volume mount in place"), "{told}");
        let entry = volgc.entry_of("mount");
        assert_eq!((&entry["state"], &entry["action"], &entry["name_in_use"]), (&"in_place".into(), &"keep".into(), &false.into()), "{entry:#}");
        assert_eq!(volgc.told_of("mount")["reason"], "in_place");
        assert!(volgc.ok(&["explain", "mount"]).contains("keep (in place)"));
        assert!(engine.root().join("volgc").join(entry["entry"].as_str().unwrap()).join("manifest.json").exists());
        // It can be used all the while.
        let read = engine.docker(&["run", "--rm", "--network", "none", "-v", "mount:/data", "bb", "ls", "/data"]);
        assert!(!read.is_empty());
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.entry_of("mount")["state"], "in_place");
        // A container that was there and went between two sweeps is not seen by either; the grace is what covers that.
        volgc.config(IN_PLACE);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entry_of("mount")["state"], "in_place", "an hour was promised");
        volgc.ok(&["restore", "mount"]);
        volgc.sweep_twice();
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("the engine removed its volume"), "{told}");
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        assert!(!engine.volumes_dir().join("mount").exists());
        assert_eq!(volgc.entries().len(), 0);
        kept.assert_untouched();
        assert!(volgc.ok(&["history"]).contains("what it mounted is untouched"));
    }

    fn without_the_opt_in_it_is_kept(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        kept.assert_survive_sweeps();
        let volgc = Volgc::configured(&engine, harness::NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(volgc.reason_of("mount"), "driver_options");
        assert_eq!(engine.volume_names(), ["mount"]);
    }

    fn a_tmpfs_is_removed_like_a_bind(engine: PrivateEngine) {
        mount(&engine, "memory", &json!({ "type": "tmpfs", "o": "size=1m", "device": "tmpfs" }));
        container(&engine, "app", "memory");
        engine.docker(&["start", "app"]);
        let volgc = Volgc::configured(&engine, IN_PLACE);
        volgc.sweep_twice();
        assert_eq!(volgc.reason_of("memory"), "held");
        engine.docker(&["rm", "-f", "app"]);
        volgc.sweep_twice();
        assert_eq!(volgc.entry_of("memory")["state"], "in_place");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn what_holds_it_again_releases_it_and_its_clock_starts_anew(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        let volgc = Volgc::configured(&engine, &staying());
        volgc.sweep_twice();
        let first = volgc.entry_id_of("mount");
        container(&engine, "app", "mount");
        let entry = volgc.entry_of("mount");
        assert_eq!((&entry["action"], &entry["reason"]), (&"release".into(), &"held".into()));
        assert_eq!(volgc.run(&["report", "--detailed-exit-code"]).status, Some(10));
        volgc.config(IN_PLACE);
        assert!(volgc.ok(&["sweep"]).contains(&format!("released entry {first}")));
        assert_eq!(volgc.entries().len(), 0);
        assert!(volgc.ok(&["history"]).contains("released"));
        volgc.ok(&["sweep"]);
        engine.docker(&["rm", "app"]);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries().len(), 0, "first sighting");
        volgc.ok(&["sweep"]);
        assert_ne!(volgc.entry_id_of("mount"), first);
        // An operator's word does the same, and starts the clock anew.
        refused_or_failed(&volgc, &["restore", "mount", "--as", "other"]);
        assert!(volgc.ok(&["restore", "mount"]).contains("never left Docker"));
        assert_eq!(volgc.entries().len(), 0);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries().len(), 0, "first sighting");
        // And so does his hold.
        volgc.ok(&["sweep"]);
        volgc.ok(&["hold", "mount", "--reason", "a test"]);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries().len(), 0);
        assert_eq!(engine.volume_names(), ["mount"]);
        kept.assert_untouched();
    }

    /// Each night, and no sweep ever meets it.
    fn what_used_it_between_two_sweeps_starts_its_grace_period_anew(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        let volgc = Volgc::configured(&engine, &IN_PLACE.replace("delete_after = \"0s\"", "delete_after = \"6s\""));
        volgc.sweep_twice();
        let begun = volgc.entry_of("mount");
        volgc.ok(&["sweep"]);
        std::thread::sleep(std::time::Duration::from_secs(7));
        engine.docker(&["run", "--rm", "--network", "none", "-v", "mount:/data", "bb", "true"]);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["mount"], "removed a moment after its last use");
        assert_eq!(volgc.entry_of("mount")["entry"], begun["entry"]);
        kept.assert_untouched();
        std::thread::sleep(std::time::Duration::from_secs(7));
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn a_name_used_again_is_another_volume(engine: PrivateEngine) {
        bound(&engine, "mount");
        let volgc = Volgc::configured(&engine, &staying());
        volgc.sweep_twice();
        let old = volgc.entry_id_of("mount");
        engine.docker(&["volume", "rm", "mount"]);
        assert_eq!(volgc.entry_of("mount")["reason"], "volume_gone");
        bound(&engine, "mount");
        assert_eq!(volgc.entry_of("mount")["reason"], "volume_gone");
        volgc.refused(&["delete", "--yes", &old]);
        volgc.config(IN_PLACE);
        assert!(volgc.ok(&["sweep"]).contains(&format!("released entry {old}")));
        assert_eq!(volgc.entries(), Vec::<Value>::new(), "the order by hand was no sighting of the new one");
        volgc.ok(&["sweep"]);
        assert_ne!(volgc.entry_id_of("mount"), old);
        // Now it is a volume with data of its own.
        let old = volgc.entry_id_of("mount");
        engine.docker(&["volume", "rm", "mount"]);
        let mut kept = Contents::new(&engine);
        kept.volume("mount");
        volgc.ok(&["sweep"]);
        assert!(!volgc.entries().iter().any(|entry| entry["entry"] == old.as_str()));
        kept.assert_untouched();
    }

    /// The engine's removal would follow the link, descend into the mount, or delete what lies there.
    fn what_the_engine_would_delete_with_it_keeps_it(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let names = ["filled", "beside", "linked", "differing", "optionless", "mounted", "other-disk"];
        for name in &names[..6] {
            let behind = bound(&engine, name);
            kept.note(&behind);
        }
        let volumes = engine.volumes_dir();
        kept.volume("target");
        engine.create_volume("other-disk", &[]);
        let put = |path: PathBuf| {
            fs::write(&path, "precious").unwrap();
            path
        };
        let tamper = |kept: &mut Contents<'_>| {
            kept.note(&put(volumes.join("filled/_data/own")));
            kept.note(&put(volumes.join("beside/own")));
            fs::remove_dir(volumes.join("linked/_data")).unwrap();
            symlink(engine.volume_data("target"), volumes.join("linked/_data")).unwrap();
            let options = volumes.join("differing/opts.json");
            let text = fs::read_to_string(&options).unwrap();
            fs::write(&options, text.replace("bind", "rbind")).unwrap();
            fs::remove_file(volumes.join("optionless/opts.json")).unwrap();
            fs::create_dir(volumes.join("mounted/_data/below")).unwrap();
            let elsewhere = engine.dir().join("elsewhere");
            fs::create_dir_all(&elsewhere).unwrap();
            put(elsewhere.join("own"));
            for (from, to) in [(&elsewhere, volumes.join("mounted/_data/below")), (&elsewhere, volumes.join("other-disk/_data"))] {
                let status = engine.command_inside("mount").arg("--bind").arg(from).arg(&to).status().unwrap();
                assert!(status.success());
            }
            kept.note(&elsewhere);
        };
        // Marked first: all of this is seen again right before the end.
        let volgc = Volgc::configured(&engine, &staying().replace("\"*\"", "[\"[!to]*\", \"optionless\"]"));
        volgc.sweep_twice();
        let marked = volgc.quarantined_names();
        assert_eq!(marked, ["beside", "differing", "filled", "linked", "mounted", "optionless"]);
        tamper(&mut kept);
        for name in &marked {
            let output = volgc.run(&["delete", "--yes", &volgc.entry_id_of(name)]);
            assert_eq!(output.status, Some(4), "{name}: {output:?}");
        }
        volgc.config(&IN_PLACE.replace("\"*\"", "[\"[!t]*\"]"));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        kept.assert_untouched();
        // And nothing of it is marked either.
        for name in &marked {
            volgc.ok(&["restore", &volgc.entry_id_of(name)]);
        }
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.entries().len(), 0);
        kept.assert_untouched();
        let mut listed = names.to_vec();
        listed.push("target");
        listed.sort_unstable();
        assert_eq!(engine.volume_names(), listed);
        for name in names {
            let told = volgc.told_of(name);
            assert_eq!(told["action"], "keep", "{told:#}");
            assert!(told["detail"].as_str().unwrap().contains("could delete data"), "{told:#}");
        }
    }

    fn one_that_cannot_end_takes_no_place_in_a_sweep(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        for name in ["beside", "other"] {
            kept.note(&bound(&engine, name));
        }
        let volgc = Volgc::configured(&engine, IN_PLACE);
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["beside", "other"]);
        let own = engine.volumes_dir().join("beside/own");
        fs::write(&own, "precious").unwrap();
        kept.note(&own);
        volgc.config(&IN_PLACE.replace("max_per_sweep = 1000", "max_per_sweep = 1"));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
            let beside = volgc.entry_of("beside");
            assert_eq!((&beside["action"], &beside["reason"]), (&json!("keep"), &json!("foreign_content")), "{beside:#}");
        }
        assert_eq!(volgc.quarantined_names(), ["beside"]);
        kept.assert_untouched();
    }

    fn who_comes_at_the_last_moment_keeps_it(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        let volgc = Volgc::configured(&engine, &staying());
        // While it is being marked.
        let child = stopped_at(&engine, &volgc, "entry.make_directory", &["quarantine", "mount"]);
        container(&engine, "app", "mount");
        assert!(child.wait_with_output().unwrap().status.success());
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries().len(), 0, "released");
        engine.docker(&["rm", "app"]);
        // While it is being removed: seen by the last look, or refused by the engine.
        for point in ["in_place.ask_again", "engine.remove"] {
            volgc.ok(&["quarantine", "mount"]);
            let entry = volgc.entry_id_of("mount");
            let child = stopped_at(&engine, &volgc, point, &["delete", "--yes", &entry]);
            container(&engine, "app", "mount");
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(told.contains(&format!("kept entry {entry}")), "{point}: {told}");
            assert_eq!(volgc.entry_of("mount")["state"], "in_place", "{point}");
            assert_eq!(engine.volume_names(), ["mount"], "{point}");
            volgc.ok(&["sweep"]);
            assert_eq!(volgc.entries().len(), 0, "{point}: released");
            engine.docker(&["start", "app"]);
            engine.docker(&["rm", "-f", "app"]);
        }
        kept.assert_untouched();
    }

    fn killed_at_any_step_nothing_is_half_done(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, &staying());
        let mut kept = Contents::new(&engine);
        let marking = ["entry.make_directory", "manifest.write", "manifest.rename", "manifest.sync_directory"];
        for (number, point) in marking.into_iter().enumerate() {
            let name = format!("mount-{number}");
            kept.note(&bound(&engine, &name));
            let output = volgc.clone().env("VOLGC_FAULT", format!("{point}=kill")).run(&["quarantine", &name]);
            assert_eq!(output.status, None, "{point}: {output:?}");
            volgc.run(&["quarantine", &name]);
            assert_eq!(volgc.entry_of(&name)["state"], "in_place", "{point}");
        }
        let ending = [
            ("manifest.rename", true), ("in_place.ask_again", true), ("engine.remove", true), ("engine.removed", false),
            ("drop.unlink", false), ("drop.directory", false),
        ];
        for (number, (point, is_left)) in ending.into_iter().enumerate() {
            let name = format!("mount-{number}");
            kept.note(&bound(&engine, &name));
            if number >= marking.len() {
                volgc.ok(&["quarantine", &name]);
            }
            let entry = volgc.entry_id_of(&name);
            let output = volgc.clone().env("VOLGC_FAULT", format!("{point}=kill")).run(&["delete", "--yes", &entry]);
            assert_eq!(output.status, None, "{point}: {output:?}");
            volgc.ok(&["sweep"]);
            assert_eq!(engine.volume_names().contains(&name), is_left, "{point}");
            assert_eq!(volgc.quarantined_names().contains(&name), is_left, "{point}");
        }
        for entry in volgc.entries() {
            assert_eq!(entry["state"], "in_place", "{entry:#}");
        }
        kept.assert_untouched();
    }

    /// I5: the order may still arrive, so its name stays closed and nothing is concluded.
    fn an_order_that_a_proxy_holds_is_not_forgotten(engine: PrivateEngine) {
        let behind = bound(&engine, "mount");
        let mut kept = Contents::new(&engine);
        kept.note(&behind);
        let proxy = Proxy::start(&engine);
        let volgc = Volgc::configured(&engine, &staying()).env("VOLGC_SETTINGS", "");
        volgc.ok(&["quarantine", "mount"]);
        let entry = volgc.entry_id_of("mount");
        let by_proxy = staying().replace("{socket}", &proxy.socket().display().to_string());
        volgc.config(&by_proxy);
        proxy.next("DELETE /volumes/mount", Treat::Hold);
        let mut child = volgc.spawn(&["delete", "--yes", &entry]);
        proxy.await_request("DELETE /volumes/mount");
        child.kill().unwrap();
        child.wait().unwrap();
        volgc.config(&staying());
        let output = volgc.run(&["sweep"]);
        assert_eq!(output.status, Some(3), "{output:?}");
        assert_eq!(volgc.entry_of("mount")["state"], "in_place_in_doubt");
        let refused = volgc.run(&["restore", &entry]);
        assert_ne!(refused.status, Some(0), "{refused:?}");
        proxy.release("DELETE /volumes/mount");
        wait_until("the order arrived", || engine.volume_names().is_empty());
        // Nobody knows that it will not be delivered once more.
        assert_eq!(volgc.run(&["sweep"]).status, Some(3));
        assert_eq!(volgc.entry_of("mount")["state"], "in_place_in_doubt");
        kept.assert_untouched();
    }

    /// A manifest of a later program, whose state this one does not know, is kept and nothing is done about it.
    fn a_state_that_is_not_known_is_damage(engine: PrivateEngine) {
        bound(&engine, "mount");
        let volgc = Volgc::configured(&engine, IN_PLACE);
        volgc.ok(&["quarantine", "mount"]);
        let entry = volgc.entry_id_of("mount");
        let manifest = engine.root().join("volgc").join(&entry).join("manifest.json");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("\"in_place\"", "\"in_orbit\"")).unwrap();
        for _ in 0..3 {
            volgc.run(&["sweep"]);
        }
        assert!(manifest.exists());
        let entries = volgc.entries();
        let damaged = entries.iter().find(|one| one["entry"] == entry.as_str()).unwrap();
        assert_eq!(damaged["state"], "damaged");
    }
}

/// A command that does nothing and says so.
#[track_caller]
fn refused_or_failed(volgc: &Volgc, arguments: &[&str]) {
    let output = volgc.run(arguments);
    assert!(matches!(output.status, Some(1 | 4)), "{output:?}");
}
