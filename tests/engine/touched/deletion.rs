//! Before a deletion: what was read or changed in quarantine stays there until an operator decides.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine, text, tree_digest};

/// A volume in quarantine that the next sweep would delete, and its data.
fn due(engine: &PrivateEngine, name: &str) -> (Volgc, String) {
    engine.create_volume(name, &[]);
    engine.fill_volume(name, 1);
    let volgc = Volgc::configured(engine, NO_GRACE);
    volgc.sweep_twice();
    let entry = volgc.entry_id_of(name);
    // So that what comes now is later in any case.
    sleep(Duration::from_millis(20));
    (volgc, entry)
}

/// Sweeps keep the entry, and say what was used.
#[track_caller]
fn assert_kept(volgc: &Volgc, entry: &str, path: &str, verb: &str) {
    let told = volgc.ok(&["sweep"]);
    let sentence = format!("was {verb} at ");
    assert!(told.contains(&format!("kept entry {entry}: {path}")) && told.contains(&sentence), "{told}");
    for _ in 0..3 {
        let told = volgc.ok(&["sweep"]);
        assert!(!told.contains("deleted"), "{told}");
    }
    let kept = volgc.entries().into_iter().find(|kept| kept["entry"] == entry).expect("it is there");
    assert_eq!((&kept["action"], &kept["reason"]), (&"keep".into(), &"touched".into()));
    let detail = text(&kept["detail"]);
    for said in [
        path,
        sentence.as_str(),
        "backup",
        &format!("volgc restore {entry}"),
        &format!("volgc delete --touched {entry}"),
    ] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    let history = volgc.ok(&["history"]);
    let told = history.lines().filter(|line| line.contains(entry) && line.contains("  touched  "));
    assert_eq!(told.count(), 1, "told once: {history}");
}

/// What a use of the data is called by, and how it is done.
type Use = (&'static str, &'static str, &'static str, fn(&Path));

const USES: [Use; 6] = [
    ("read", "base/1/16384", "read", |data| {
        fs::read(data.join("base/1/16384")).unwrap();
    }),
    ("written", "base/1/16385", "changed", |data| {
        fs::write(data.join("base/1/16385"), "other").unwrap();
    }),
    ("made", "uploads", "changed", |data| fs::write(data.join("uploads/new"), "new").unwrap()),
    ("removed", "base/1", "changed", |data| fs::remove_file(data.join("base/1/16387")).unwrap()),
    ("removed at the top", "its top directory", "changed", |data| {
        fs::remove_file(data.join("PG_VERSION")).unwrap();
    }),
    ("given away", "README", "changed", |data| {
        std::os::unix::fs::chown(data.join("README"), Some(7), Some(7)).unwrap();
    }),
];

on_each_engine! {
    fn what_was_used_in_quarantine_is_kept_and_can_be_restored(engine: PrivateEngine) {
        for (what, path, verb, use_it) in USES {
            let name = what.replace(' ', "-");
            let (volgc, entry) = due(&engine, &name);
            let data = engine.quarantined_data(&entry);
            use_it(&data);
            let digest = tree_digest(&data);
            assert_kept(&volgc, &entry, path, verb);
            volgc.ok(&["restore", &entry]);
            assert_eq!(tree_digest(&engine.volume_data(&name)), digest, "{what}");
            engine.docker(&["volume", "rm", &name]);
        }
    }

    fn an_order_to_delete_what_was_used_has_to_say_so(engine: PrivateEngine) {
        let (volgc, entry) = due(&engine, "db");
        fs::read(engine.quarantined_data(&entry).join("PG_VERSION")).unwrap();
        // Also when no sweep has noticed it yet.
        for _ in 0..2 {
            let told = volgc.refused(&["delete", "--yes", &entry]);
            assert!(told.contains(&format!("kept entry {entry}: PG_VERSION was read at")), "{told}");
            assert!(told.contains(&format!("volgc delete --touched {entry}")), "{told}");
            assert!(engine.quarantined_data(&entry).join("README").exists());
        }
        let told = volgc.ok(&["delete", "--yes", "--touched", &entry]);
        assert!(told.contains(&format!("deleted entry {entry}")), "{told}");
        assert!(volgc.entries().is_empty());
    }

    fn with_reads_hold_false_only_changes_hold(engine: PrivateEngine) {
        let (volgc, read) = due(&engine, "read");
        engine.create_volume("changed", &[]);
        engine.fill_volume("changed", 1);
        volgc.ok(&["quarantine", "changed"]);
        let changed = volgc.entry_id_of("changed");
        fs::read(engine.quarantined_data(&read).join("PG_VERSION")).unwrap();
        sleep(Duration::from_millis(20));
        fs::write(engine.quarantined_data(&changed).join("PG_VERSION"), "16\n").unwrap();
        // What was found and kept before is let go as well.
        assert_kept(&volgc, &read, "PG_VERSION", "read");
        volgc.config(&NO_GRACE.replace("[limits]", "[limits]\nreads_hold = false"));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.quarantined_names(), ["changed"]);
        let told = volgc.refused(&["delete", "--yes", &changed]);
        assert!(told.contains("PG_VERSION was changed at"), "{told}");
    }

    /// Our own hands are no users: the move, the size, reports, and a restore that was given up.
    fn what_volgc_does_itself_is_no_use(engine: PrivateEngine) {
        let (volgc, entry) = due(&engine, "db");
        for command in [&["report"][..], &["list"], &["explain", "db"], &["check"]] {
            volgc.ok(command);
        }
        let refused = volgc.clone().env("VOLGC_FAULT", "engine.create=EIO").run(&["restore", &entry]);
        assert_eq!(refused.status, Some(1), "{refused:?}");
        assert_eq!(volgc.quarantined_names(), ["db"]);
        // Whoever lists names and sizes uses no data either.
        for (program, arguments) in [("ls", &["-laR"][..]), ("du", &["-s"]), ("find", &[])] {
            let data = engine.quarantined_data(&entry);
            assert!(Command::new(program).args(arguments).arg(data).output().unwrap().status.success());
        }
        volgc.ok(&["sweep"]);
        assert!(volgc.entries().is_empty(), "{:?}", volgc.entries());
    }
}
