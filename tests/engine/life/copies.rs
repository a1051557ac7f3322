//! A docker root that was copied, a ledger from a backup, a root that was mounted over another: nothing is lost by what does not
//! belong together.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use harness::fake::Fake;
use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, on_each_engine, tree_digest};

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", harness::show(&output));
}

/// Copies the docker root as an administrator does for a larger disk: same path, same engine, every directory another one.
fn copy_root(engine: &PrivateEngine) {
    engine.stop();
    let root = engine.root();
    let old = root.with_extension("old");
    engine.move_root(&old);
    run("cp", &["-a", old.to_str().unwrap(), root.to_str().unwrap()]);
    run("rm", &["-r", old.to_str().unwrap()]);
    engine.restart();
}

fn state(volgc: &Volgc) -> std::path::PathBuf {
    volgc.state_dir().join("ledger.db")
}

#[track_caller]
fn assert_refused(volgc: &Volgc, word: &str) {
    let told = volgc.refused(&["sweep"]);
    let spoken = word.replace('_', " ");
    assert!(told.contains(&spoken) && told.contains("volgc acknowledge"), "{told}");
    let report = volgc.report();
    assert_eq!(report["refusals"][0]["reason"], word, "{report:#}");
}

on_each_engine! {
    fn a_copied_root_is_refused_and_an_acknowledgement_brings_holds_and_entries_along(version: Version) {
        let engine = PrivateEngine::start(version);
        let digests = ["held", "restored", "deleted"].map(|name| {
            engine.create_volume(name, &[("for", name)]);
            engine.fill_volume(name, 1)
        });
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["hold", "held", "--reason", "audit"]);
        volgc.ok(&["quarantine", "restored", "deleted"]);
        volgc.ok(&["sweep"]);
        let deleted = volgc.entry_id_of("deleted");
        engine.create_volume("free", &[]);
        copy_root(&engine);
        volgc.config(NO_GRACE);
        for _ in 0..3 {
            assert_refused(&volgc, "root_copied");
        }
        assert_eq!(engine.volume_names(), ["free", "held"]);
        let told = volgc.ok(&["acknowledge"]);
        assert!(told.contains("1 hold and 2 entries in quarantine are bound"), "{told}");
        // At once, without a sweep.
        volgc.ok(&["restore", "restored"]);
        assert_eq!(tree_digest(&engine.volume_data("restored")), digests[1]);
        volgc.ok(&["delete", "--yes", &deleted]);
        volgc.ok(&["hold", "restored", "--reason", "not now"]);
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), ["held", "restored"], "the free one went: {}", volgc.ok(&["history"]));
        assert_eq!(tree_digest(&engine.volume_data("held")), digests[0]);
        assert_eq!(volgc.reason_of("held"), "held");
    }

    /// What is in the copy of an entry may be anything.
    fn an_entry_whose_copy_has_another_owner_is_not_bound(version: Version) {
        let engine = PrivateEngine::start(version);
        engine.create_volume("db", &[]);
        engine.fill_volume("db", 1);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "db"]);
        let entry = volgc.entry_id_of("db");
        copy_root(&engine);
        std::os::unix::fs::chown(engine.quarantined_data(&entry), Some(7), Some(7)).unwrap();
        let told = volgc.run(&["acknowledge"]);
        assert_eq!(told.status, Some(3), "{told:?}");
        assert!(told.stdout.contains(&format!("not bound: entry {entry}")), "{told:?}");
        volgc.config(NO_GRACE);
        for _ in 0..3 {
            volgc.run(&["sweep"]);
        }
        assert!(engine.quarantined_data(&entry).join("PG_VERSION").exists());
    }

    fn an_entry_that_got_its_owner_back_is_bound_by_the_next_acknowledgement(version: Version) {
        let engine = PrivateEngine::start(version);
        engine.create_volume("db", &[]);
        let digest = engine.fill_volume("db", 1);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "db"]);
        let data = engine.quarantined_data(&volgc.entry_id_of("db"));
        let was = fs::metadata(&data).unwrap();
        copy_root(&engine);
        std::os::unix::fs::chown(&data, Some(7), Some(8)).unwrap();
        let told = volgc.run(&["acknowledge"]);
        assert_eq!(told.status, Some(3), "{told:?}");
        let (owner, mode) = (format!("{}:{}", was.uid(), was.gid()), was.mode() & 0o7777);
        let way_out = format!("`chown {owner} {0}`, `chmod {mode:o} {0}` and `volgc acknowledge`", data.display());
        assert!(told.stdout.contains("has owner 7:8") && told.stdout.contains(&way_out), "{told:?}");
        run("chown", &[&owner, data.to_str().unwrap()]);
        let told = volgc.ok(&["acknowledge"]);
        assert!(told.contains("1 entry in quarantine are bound"), "{told}");
        volgc.ok(&["sweep"]);
        volgc.ok(&["restore", "db"]);
        assert_eq!(tree_digest(&engine.volume_data("db")), digest);
    }

    /// The quarantine comes along to a host whose ledger is a new one, or tells of another engine.
    fn a_copied_quarantine_is_bound_whatever_the_ledger_knows(version: Version) {
        let engine = PrivateEngine::start(version);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let rounds: [fn(&Volgc); 2] = [|_| {}, |volgc| {
            let fake = Fake::start();
            let other = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
            other.config(KEEP_IN_QUARANTINE);
            other.ok(&["sweep"]);
            fs::copy(other.state_dir().join("ledger.db"), state(volgc)).unwrap();
        }];
        for (round, replace) in rounds.into_iter().enumerate() {
            let [restored, deleted] = ["restored", "deleted"].map(|name| format!("{name}-{round}"));
            engine.create_volume(&restored, &[]);
            engine.create_volume(&deleted, &[]);
            let digest = engine.fill_volume(&restored, 1);
            volgc.ok(&["quarantine", &restored, &deleted]);
            let entry = volgc.entry_id_of(&deleted);
            copy_root(&engine);
            fs::remove_file(state(&volgc)).unwrap();
            replace(&volgc);
            volgc.config(NO_GRACE);
            for _ in 0..2 {
                let told = volgc.refused(&["sweep"]);
                assert!(told.contains("root copied") && told.contains("volgc acknowledge"), "{told}");
            }
            let told = volgc.ok(&["acknowledge"]);
            assert!(told.contains("0 holds and 2 entries in quarantine are bound"), "{told}");
            volgc.ok(&["restore", &restored]);
            assert_eq!(tree_digest(&engine.volume_data(&restored)), digest);
            volgc.ok(&["delete", "--yes", &entry]);
            let told = volgc.ok(&["acknowledge"]);
            assert!(told.starts_with("nothing to acknowledge: no brake holds"), "once is enough: {told}");
        }
    }

    /// Without an engine nobody knows which root is meant; a brake that was released all the same would lose the entries to the next
    /// sweep, which takes the directories that it finds for the right ones.
    fn nothing_is_acknowledged_that_no_engine_confirms(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["quarantine", "db"]);
        copy_root(&engine);
        engine.stop();
        let told = volgc.run(&["acknowledge"]);
        assert_eq!(told.status, Some(1), "{told:?}");
        assert!(told.stderr.contains("cannot reach the Docker engine"), "{told:?}");
        engine.restart();
        assert_refused(&volgc, "root_copied");
        // Which engine to ask is for the configuration to say.
        volgc.config("mode = 7");
        let told = volgc.run(&["acknowledge"]);
        assert_eq!(told.status, Some(2), "{told:?}");
        volgc.config(KEEP_IN_QUARANTINE);
        assert_refused(&volgc, "root_copied");
        assert!(volgc.ok(&["acknowledge"]).contains("1 entry in quarantine"));
        volgc.ok(&["restore", "db"]);
    }

    fn a_single_volume_that_was_copied_keeps_its_hold(engine: PrivateEngine) {
        for name in ["held", "free"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["hold", "held", "--reason", "audit"]);
        volgc.ok(&["sweep"]);
        let (volume, old) = (engine.volumes_dir().join("held"), engine.volumes_dir().join("held.old"));
        fs::rename(&volume, &old).unwrap();
        run("cp", &["-a", old.to_str().unwrap(), volume.to_str().unwrap()]);
        fs::remove_dir_all(&old).unwrap();
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), ["held"]);
        assert!(volgc.ok(&["holds"]).contains("audit"));
        // Only the engine ends it.
        engine.docker(&["volume", "rm", "held"]);
        engine.create_volume("held", &[]);
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.ok(&["holds"]), "nothing is held\n");
        assert!(volgc.ok(&["history"]).contains("the engine removed the volume"));
    }

    fn a_ledger_from_a_backup_starts_all_clocks_anew_and_lacks_no_hold_in_silence(engine: PrivateEngine) {
        for name in ["held", "free"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        let backup = volgc.state_dir().join("backup");
        fs::copy(state(&volgc), &backup).unwrap();
        volgc.ok(&["hold", "held", "--reason", "audit"]);
        fs::copy(&backup, state(&volgc)).unwrap();
        for _ in 0..3 {
            assert_refused(&volgc, "other_ledger");
        }
        assert_eq!(engine.volume_names(), ["free", "held"]);
        volgc.ok(&["hold", "held", "--reason", "audit, again"]);
        // To give a hold is no acknowledgement.
        assert_refused(&volgc, "other_ledger");
        volgc.ok(&["acknowledge"]);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["free", "held"], "the clocks went on");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), ["held"]);
    }

    /// The machine comes up without its disk: what is made and removed below the mount point is none of the volumes on the disk.
    fn a_hold_outlives_what_happens_while_its_disk_is_not_mounted(version: Version) {
        let engine = PrivateEngine::builder(version).without_images().start();
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["hold", "db", "--reason", "audit"]);
        volgc.ok(&["sweep"]);
        engine.stop();
        let (root, disk) = (engine.root(), engine.root().with_extension("disk"));
        engine.move_root(&disk);
        engine.restart();
        engine.create_volume("db", &[]);
        engine.json("DELETE", "/volumes/db", None);
        volgc.refused(&["sweep"]);
        volgc.refused(&["sweep"]);
        engine.stop();
        engine.move_root(&root.with_extension("below"));
        fs::rename(&disk, &root).unwrap();
        engine.restart();
        assert!(volgc.ok(&["holds"]).contains("audit"), "{}", volgc.ok(&["history"]));
        for _ in 0..3 {
            volgc.run(&["sweep"]);
        }
        assert_eq!(engine.volume_names(), ["db"]);
    }

    /// Without a hold nothing can be missing, and a lost ledger only delays (I9).
    fn a_ledger_that_was_lost_only_delays(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.ok(&["sweep"]);
        let older = volgc.state_dir().join("backup");
        fs::copy(state(&volgc), &older).unwrap();
        engine.create_volume("more", &[]);
        volgc.config(&NO_GRACE.replace("\"0s\"", "\"1h\""));
        volgc.ok(&["sweep"]);
        volgc.config(NO_GRACE);
        for is_lost in [true, false] {
            if is_lost { fs::remove_file(state(&volgc)).unwrap() } else { fs::copy(&older, state(&volgc)).map(drop).unwrap() }
            volgc.ok(&["sweep"]);
            assert_eq!(engine.volume_names(), ["db", "more"], "lost: {is_lost}");
        }
        let told = volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "{told}");
    }

    /// An engine that was started before its disk was there: it lists what is on the disk below, and every path leads to the other.
    fn a_root_that_was_mounted_over_the_engines_is_left_alone(version: Version) {
        let engine = PrivateEngine::builder(version).without_images().start();
        let root = engine.root();
        // What the disk holds: a root with a volume of the same name and other data.
        let disk = root.with_extension("disk");
        run("cp", &["-a", root.to_str().unwrap(), disk.to_str().unwrap()]);
        engine.create_volume("db", &[]);
        let data = disk.join("volumes/db/_data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("precious"), "precious").unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert_refused_over(&engine, &volgc, &disk);
        assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "precious");
        let told = [volgc.ok(&["sweep"]), volgc.ok(&["sweep"])];
        assert_eq!(volgc.quarantined_names(), ["db"], "what is the engine's is taken: {told:?}");
    }

    /// A copy of the whole root has the directories of its containers, too. It is not what the engine has open.
    fn a_copy_that_was_mounted_over_the_engines_root_is_left_alone(version: Version) {
        let engine = PrivateEngine::start(version);
        engine.create_volume("db", &[]);
        engine.docker(&["create", "--name", "app", "bb", "true"]);
        let root = engine.root();
        let disk = root.with_extension("disk");
        run("cp", &["-a", root.to_str().unwrap(), disk.to_str().unwrap()]);
        let data = disk.join("volumes/db/_data");
        fs::write(data.join("precious"), "precious").unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert_refused_over(&engine, &volgc, &disk);
        assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "precious");
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["db"]);
    }
}

/// What is mounted over the engine's root is not its own, for as long as it is there.
#[track_caller]
fn assert_refused_over(engine: &PrivateEngine, volgc: &Volgc, disk: &Path) {
    let _mounted = Mounted::over(engine, disk);
    for _ in 0..3 {
        let told = volgc.refused(&["sweep"]);
        assert!(told.contains("root not here") && told.contains("mounted over"), "{told}");
    }
}

/// A mount over an engine's docker root, in its mount namespace and in ours.
struct Mounted<'a> {
    engine: &'a PrivateEngine,
}

impl<'a> Mounted<'a> {
    fn over(engine: &'a PrivateEngine, disk: &Path) -> Self {
        let (disk, root) = (disk.to_str().unwrap(), engine.root());
        run("mount", &["--bind", disk, root.to_str().unwrap()]);
        Self { engine }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.engine.root()).status().ok();
    }
}
