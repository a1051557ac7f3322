//! Files in use that no descriptor shows, or not by a path that leads there.

use std::fs;
use std::process::Command;

use harness::{Contents, KEEP_IN_QUARANTINE, Volgc, on_each_engine};

use super::{Holding, TakenAway, assert_goes, assert_kept_as, held, make_held, own, program, run};

/// How many files of a process in `/proc` a command opens and reads, and how many links.
fn other_calls(volgc: &Volgc, arguments: &[&str], process: u32) -> usize {
    let calls = ["-y", "--seccomp-bpf", "-e", "trace=open,openat,read,pread64,readlink,readlinkat"];
    let (status, text) = volgc.traced(&calls, arguments);
    assert!(status.success(), "{text}");
    // By a path of its own, or by a name below a directory that is open.
    let [path, name] = [format!("/proc/{process}/"), format!("\"{process}/")];
    let is_its = |line: &&str| line.contains(&path) || line.contains(&name);
    text.lines().filter(is_its).filter(|line| !line.contains(" resumed>")).count()
}

on_each_engine! {
    fn a_file_registered_with_a_ring_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        for place in [own(&engine, "file"), format!("base/{}", own(&engine, "deep"))] {
            let holding = Holding::path(&engine, "ring", &engine.volume_data(&held(&engine)).join(place), &[]);
            assert_kept_as(&engine, &kept, "file registered with io_uring");
            drop(holding);
        }
        assert_goes(&engine);
    }

    /// In a namespace of its own, in which the file has another path.
    fn a_file_registered_through_a_mount_of_its_own_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let script = r#"mount --bind "$1" /mnt; exec "$2" ring "/mnt/$3""#;
        let file = own(&engine, "file");
        let holding = Holding::apart(script, &[&engine.volume_data(&held(&engine)), &program(&engine), file.as_ref()]);
        // The mount is seen too. Without it the ring is all that is left.
        run("nsenter", &[format!("--mount=/proc/{}/ns/mnt", holding.0.id()).as_ref(), "umount".as_ref(), "-l".as_ref(), "/mnt".as_ref()]);
        assert_kept_as(&engine, &kept, "file registered with io_uring");
        drop(holding);
        assert_goes(&engine);
    }

    fn a_detached_tree_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let holding = Holding::path(&engine, "tree", &engine.volume_data(&held(&engine)).join("base"), &[]);
        assert_kept_as(&engine, &kept, "open file /");
        drop(holding);
        assert_goes(&engine);
    }

    fn a_file_opened_or_mapped_in_a_detached_tree_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        for (how, told) in [("in-tree", "open file /PG_VERSION"), ("map-tree", "mapped file /PG_VERSION")] {
            let holding = Holding::path(&engine, how, &engine.volume_data(&held(&engine)), &["PG_VERSION"]);
            assert_kept_as(&engine, &kept, told);
            drop(holding);
        }
        assert_goes(&engine);
    }

    /// As a busy server in a container has them: each costs one system call, the one that tells which file it is.
    fn one_of_18_000_descriptors_keeps_its_volume_and_the_others_cost_one_call_each(engine: PrivateEngine) {
        let kept = make_held(&engine);
        engine.create_volume("free", &[]);
        let script = r#"mount -t tmpfs none /mnt; exec "$1" many "$2" /mnt/other 18000"#;
        let file = engine.volume_data(&held(&engine)).join("PG_VERSION");
        let holding = Holding::apart(script, &[&program(&engine), &file]);
        assert_kept_as(&engine, &kept, "open file");
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        engine.create_volume("free", &[]);
        let calls = other_calls(&volgc, &["quarantine", "free"], holding.0.id());
        assert!(calls > 0, "strace saw none of them");
        assert!(calls < 1_000, "{calls} besides those that tell which file a descriptor is");
        assert_eq!(engine.volume_names(), [held(&engine)]);
        drop(holding);
        assert_goes(&engine);
    }

    fn a_thread_with_descriptors_of_its_own_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let file = engine.volume_data(&held(&engine)).join("PG_VERSION");
        for how in ["thread", "left-thread"] {
            let holding = Holding::path(&engine, how, &file, &[]);
            assert_kept_as(&engine, &kept, "open file");
            drop(holding);
        }
        assert_goes(&engine);
    }

    fn a_thread_with_mounts_of_its_own_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let holding = Holding::path(&engine, "mount-in-thread", &engine.volume_data(&held(&engine)), &[]);
        assert_kept_as(&engine, &kept, "mounted at /mnt");
        drop(holding);
        assert_goes(&engine);
    }

    fn a_loop_device_keeps_its_volume_when_the_namespace_is_gone_where_it_was_made(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        engine.create_volume(&held(&engine), &[]);
        let data = engine.volume_data(&held(&engine));
        fs::create_dir(data.join("images")).unwrap();
        // Of the second one nothing but the size is known: whatever is as large is held.
        let (disk, blocks) = (own(&engine, "disk"), 2048 + usize::try_from(engine.pid().unwrap()).unwrap() % 2048);
        fs::write(data.join("images").join(&disk), vec![1; blocks * 512]).unwrap();
        kept.note_volume(&held(&engine));
        // Through a directory above the file, and through a mount of the file itself.
        for (place, at) in [(data.clone(), "/mnt"), (data.join("images").join(&disk), "/etc/hostname")] {
            let inside = if at == "/mnt" { format!("/mnt/images/{disk}") } else { at.to_owned() };
            let script = format!("mount --bind '{}' {at} && losetup --find --show {inside}", place.display());
            let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output().unwrap();
            let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let device = TakenAway("losetup", vec!["-d".into(), device.into()]);
            assert_kept_as(&engine, &kept, "loop device on /");
            drop(device);
        }
        assert_goes(&engine);
    }

    /// Docker in Docker: in its own root a container has files at the very paths of the volumes outside.
    fn a_container_that_maps_a_look_alike_in_its_own_root_keeps_nothing(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let holder = program(&engine);
        let data = engine.volume_data(&held(&engine));
        let mount = format!("{}:/holder", holder.display());
        let script = format!("mkdir -p {0}; echo x > {0}/PG_VERSION; exec /holder map {0}/PG_VERSION", data.display());
        engine.docker(&["run", "-d", "--name", "twin", "-v", &mount, "bb", "sh", "-c", &script]);
        harness::wait_until("it is mapped", || engine.docker(&["logs", "twin"]).contains("ready"));
        kept.assert_untouched();
        assert_goes(&engine);
    }
}
