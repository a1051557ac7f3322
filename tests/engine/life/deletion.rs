//! I3: what is in quarantine is deleted after one more look only. What began to need it since the sweep looked keeps it.

use std::fs;
use std::process::Child;

use crate::life::set_aside;
use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine, show, wait_until};

/// An entry that is due, and a sweep that rests on its way to it, at the move of another volume.
struct Resting<'a> {
    volgc: Volgc,
    kept: Contents<'a>,
    entry: String,
    sweep: Child,
}

fn rest(engine: &PrivateEngine) -> Resting<'_> {
    let (volgc, entry, kept) = set_aside(engine);
    engine.create_volume("other", &[]);
    // Clocks run, nothing is deleted.
    volgc.config(&NO_GRACE.replace("\"enforce\"", "\"observe\""));
    volgc.ok(&["sweep"]);
    assert_eq!(volgc.entry_of("db")["action"], "delete");
    volgc.config(NO_GRACE);
    let trace = volgc.state_dir().join("trace");
    let slow =
        volgc.clone().env("VOLGC_FAULT", "exchange.swap@1=delay:3000").env("VOLGC_FAULT_TRACE", &trace);
    let sweep = slow.spawn(&["sweep"]);
    wait_until("the sweep moves", || {
        fs::read_to_string(&trace).unwrap_or_default().contains("exchange.swap")
    });
    Resting { volgc, kept, entry, sweep }
}

/// The sweep ended with the entry as it was, and so do those that follow.
fn assert_kept(resting: Resting<'_>) -> (Volgc, String) {
    let Resting { volgc, kept, entry, sweep } = resting;
    let output = sweep.wait_with_output().unwrap();
    assert!(output.status.code().is_some(), "{}", show(&output));
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains(&format!("deleted entry {entry}")),
        "{}",
        show(&output)
    );
    kept.assert_untouched();
    volgc.sweep_twice();
    kept.assert_untouched();
    (volgc, entry)
}

on_each_engine! {
    fn a_hold_given_while_a_sweep_runs_keeps_the_entry(engine: PrivateEngine) {
        let resting = rest(&engine);
        resting.volgc.ok(&["hold", &resting.entry, "--reason", "audit"]);
        let (volgc, entry) = assert_kept(resting);
        volgc.ok(&["release", &entry]);
        volgc.ok(&["sweep"]);
        assert!(!volgc.quarantined_names().contains(&"db".to_owned()));
    }

    fn a_name_used_again_while_a_sweep_runs_keeps_the_entry(engine: PrivateEngine) {
        let resting = rest(&engine);
        engine.docker(&["create", "--name", "app", "-v", "db:/data", "bb", "true"]);
        let (volgc, entry) = assert_kept(resting);
        engine.docker(&["rm", "app"]);
        volgc.ok(&["restore", &entry, "--replace"]);
        assert!(engine.volume_data("db").join("PG_VERSION").exists());
    }

    fn a_container_that_names_the_path_while_a_sweep_runs_keeps_the_entry(engine: PrivateEngine) {
        let resting = rest(&engine);
        let bind = format!("{}:/data", engine.volume_data("db").display());
        engine.docker(&["create", "--name", "app", "-v", &bind, "bb", "cat", "/data/PG_VERSION"]);
        let (volgc, _) = assert_kept(resting);
        volgc.ok(&["restore", "db"]);
        assert_eq!(engine.docker(&["start", "-a", "app"]), "15");
    }

    /// How an administrator copies something out of the quarantine.
    fn a_container_that_binds_quarantined_data_keeps_it(engine: PrivateEngine) {
        for command in ["run", "create"] {
            let (volgc, entry, kept) = set_aside(&engine);
            let bind = format!("{}:/data", engine.quarantined_data(&entry).display());
            let detach = if command == "run" { "-d" } else { "-t" };
            engine.docker(&[command, detach, "--name", "app", "-v", &bind, "bb", "sleep", "1000"]);
            kept.assert_survive_sweeps_of(&volgc);
            engine.docker(&["rm", "-f", "app"]);
            volgc.sweep_twice();
            assert!(volgc.entries().is_empty(), "nothing binds it any more");
        }
    }

    fn a_process_that_works_in_quarantined_data_keeps_it(engine: PrivateEngine) {
        let (volgc, entry, kept) = set_aside(&engine);
        let mut process = std::process::Command::new("sleep")
            .arg("1000")
            .current_dir(engine.quarantined_data(&entry).join("base"))
            .spawn()
            .unwrap();
        kept.assert_survive_sweeps_of(&volgc);
        process.kill().unwrap();
        process.wait().unwrap();
        volgc.sweep_twice();
        assert!(volgc.entries().is_empty());
    }

    /// Given in the moment between the look and the engine's answer, it is still on the volume, which is an entry afterwards.
    fn a_hold_given_while_the_volume_is_moved_keeps_the_entry(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        let trace = volgc.state_dir().join("trace");
        let slow = volgc.clone().env("VOLGC_FAULT", "engine.delete@1=delay:3000").env("VOLGC_FAULT_TRACE", &trace);
        let sweep = slow.spawn(&["sweep"]);
        wait_until("the sweep asks", || fs::read_to_string(&trace).unwrap_or_default().contains("engine.delete"));
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        let output = sweep.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", show(&output));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        let is_there = engine.volume_names() == ["db"] || volgc.quarantined_names() == ["db"];
        assert!(is_there, "deleted under a hold: {}", show(&output));
    }

    /// Whoever is told that an entry is held must find it: a deletion that cannot be stopped any more is a failure of the hold.
    fn a_hold_on_an_entry_that_is_being_deleted_fails(engine: PrivateEngine) {
        let (volgc, entry, _) = set_aside(&engine);
        let trace = volgc.state_dir().join("trace");
        let slow = volgc.clone().env("VOLGC_FAULT", "delete.rename=delay:4000").env("VOLGC_FAULT_TRACE", &trace);
        let sweep = slow.spawn(&["sweep"]);
        wait_until("the sweep deletes", || {
            fs::read_to_string(&trace).unwrap_or_default().contains("delete.rename")
        });
        let hold = volgc.run(&["hold", &entry, "--reason", "audit"]);
        assert!(sweep.wait_with_output().unwrap().status.success());
        assert_eq!(hold.status, Some(1), "{hold:?}");
        assert!(hold.stderr.contains("deletion") && hold.stderr.contains(&entry), "{hold:?}");
        assert!(!volgc.ok(&["holds"]).contains("audit"), "{hold:?}");
    }

    /// What is left of a deletion that was interrupted is held like anything else.
    fn a_container_that_binds_what_is_left_of_a_deletion_keeps_it(engine: PrivateEngine) {
        for command in ["run", "create"] {
            let (volgc, entry, _) = set_aside(&engine);
            let killed = volgc.clone().env("VOLGC_FAULT", "delete.contents=kill").run(&["sweep"]);
            assert_eq!(killed.status, None, "{killed:?}");
            let left = engine.root().join(format!("volgc/deleting-{entry}/data"));
            let bind = format!("{}:/data", left.display());
            let detach = if command == "run" { "-d" } else { "-t" };
            engine.docker(&[command, detach, "--name", "app", "-v", &bind, "bb", "sleep", "1000"]);
            for _ in 0..3 {
                volgc.ok(&["sweep"]);
                assert!(left.join("PG_VERSION").exists(), "deleted under a container: {command}");
            }
            engine.docker(&["rm", "-f", "app"]);
            volgc.ok(&["sweep"]);
            assert!(!left.exists(), "nothing binds it any more");
        }
    }
}
