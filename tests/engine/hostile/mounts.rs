//! A file system is mounted inside of what is sized, moved or deleted, here or in another mount namespace: it is never crossed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::hostile::trees::CANARY_BYTES;
use harness::{KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Resting, Volgc, on_each_engine, wait_until};

/// A tmpfs with a file in it, mounted for as long as this is there.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf) -> Self {
        let status = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&at).status().unwrap();
        assert!(status.success(), "cannot mount {}", at.display());
        let this = Self(at);
        fs::write(this.0.join("precious"), vec![7; CANARY_BYTES]).unwrap();
        this
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!(fs::metadata(self.0.join("precious")).unwrap().len(), CANARY_BYTES as u64);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status().unwrap();
        assert!(status.success() || std::thread::panicking(), "cannot unmount {}", self.0.display());
    }
}

/// A process in a mount namespace of its own, in which a tmpfs is mounted that is not seen here.
struct Elsewhere {
    process: Child,
    at: PathBuf,
}

impl Elsewhere {
    fn mount(at: &Path) -> Self {
        let script =
            r#"mount -t tmpfs tmpfs "$1" && echo precious > "$1/precious" && echo done && exec sleep 1000"#;
        let mut process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"])
            .arg(at)
            // Not in the way by where it stands, or by a file it has open.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        process.stdout.take().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"done\n");
        assert!(!at.join("precious").exists(), "it is seen here");
        Self { process, at: at.to_owned() }
    }

    #[track_caller]
    fn assert_whole(&self) {
        let at = self.at.strip_prefix("/").unwrap();
        let file = PathBuf::from(format!("/proc/{}/root", self.process.id())).join(at).join("precious");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious\n");
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A mount namespace that another test made meanwhile has a copy of every mount, for as long as it is there.
#[track_caller]
fn gone_everywhere(what: &str, is_gone: impl FnMut() -> bool) {
    wait_until(&format!("nothing is mounted in {what} in any namespace"), is_gone);
}

/// A volume with a directory for a mount point.
fn volume(engine: &PrivateEngine, name: &str) -> PathBuf {
    engine.create_volume(name, &[]);
    engine.fill_volume(name, 1);
    let point = engine.volume_data(name).join("base/point");
    fs::create_dir(&point).unwrap();
    point
}

/// A volume in quarantine, and where its mount point is now.
fn entry(engine: &PrivateEngine, volgc: &Volgc, name: &str) -> (String, PathBuf) {
    volume(engine, name);
    volgc.ok(&["quarantine", name]);
    let entry = volgc.entry_id_of(name);
    let point = engine.quarantined_data(&entry).join("base/point");
    (entry, point)
}

#[track_caller]
fn assert_kept(engine: &PrivateEngine, volgc: &Volgc, entry: &str) {
    let output = volgc.run(&["delete", "--yes", entry]);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(
        output.stdout.contains(&format!("kept entry {entry}"))
            && output.stdout.contains("held by mount inside of it"),
        "{output:?}"
    );
    let swept = volgc.ok(&["sweep"]);
    assert!(!swept.contains("deleted"), "{swept}");
    assert!(engine.quarantined_data(entry).join("PG_VERSION").exists());
}

on_each_engine! {
    fn a_mount_inside_keeps_what_it_is_in(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let (here, here_point) = entry(&engine, &volgc, "here");
        let tmpfs = Tmpfs::mount(here_point);
        assert_kept(&engine, &volgc, &here);
        tmpfs.assert_whole();

        let (there, there_point) = entry(&engine, &volgc, "there");
        let elsewhere = Elsewhere::mount(&there_point);
        assert_kept(&engine, &volgc, &there);
        elsewhere.assert_whole();
        tmpfs.assert_whole();

        drop((tmpfs, elsewhere));
        gone_everywhere("here and there", || {
            volgc.ok(&["sweep"]);
            volgc.entries().is_empty()
        });
        println!("hostile: 2 trees tried, 0 losses");
    }

    fn a_mount_below_a_volume_is_not_sized_and_not_moved(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let tmpfs = Tmpfs::mount(volume(&engine, "here"));
        let elsewhere = Elsewhere::mount(&volume(&engine, "there"));
        volgc.sweep_twice();
        let report = volgc.json(&["report", "--format", "json"]);
        for line in report["volumes"].as_array().unwrap() {
            let size = line["size_bytes"].as_u64().unwrap_or(0);
            assert!(line["action"] == "keep" && size < CANARY_BYTES as u64, "{line:#}");
        }
        assert_eq!(engine.volume_names(), ["here", "there"]);
        for name in ["here", "there"] {
            let output = volgc.run(&["quarantine", name]);
            assert_eq!(output.status, Some(4), "{output:?}");
        }
        tmpfs.assert_whole();
        elsewhere.assert_whole();
        drop((tmpfs, elsewhere));
        for name in ["here", "there"] {
            gone_everywhere(name, || volgc.run(&["quarantine", name]).status == Some(0));
        }
        println!("hostile: 2 trees tried, 0 losses");
    }

    /// It comes when the last look is over: the walk itself stops at it.
    fn a_mount_that_comes_during_the_deletion_is_not_crossed(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let (entry, _) = entry(&engine, &volgc, "late");
        let deletion = Resting::start(&volgc, "delete.contents", "", &["delete", "--yes", &entry]);
        let point = engine.root().join("volgc").join(format!("deleting-{entry}")).join("data/base/point");
        let tmpfs = Tmpfs::mount(point.clone());
        let output = deletion.end();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("`base/point` is a mount point or another file system: unmount it"), "{told}");
        tmpfs.assert_whole();
        assert_eq!(fs::read_dir(point.parent().unwrap().parent().unwrap()).unwrap().count(), 1, "all else is deleted");
        drop(tmpfs);
        gone_everywhere("the entry", || volgc.ok(&["sweep"]).contains(&format!("deleted entry {entry}")));
        println!("hostile: 1 trees tried, 0 losses");
    }

    /// The kernel tells no path that is longer than 4096 bytes, and any container can be at one: that must neither stop every
    /// sweep nor hide what it holds.
    fn a_process_deeper_than_paths_can_tell_holds_what_it_may_be_in_and_stops_nothing_else(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        for name in ["busy", "orphan"] {
            engine.create_volume(name, &[]);
        }
        volgc.ok(&["sweep"]);
        let contained = Deep::below(&engine.volume_data("busy"), Seen::AsInAContainer);
        let told = volgc.ok(&["sweep"]);
        assert!(told.contains("quarantined volume orphan") && !told.contains("volume busy"), "{told}");
        assert!(engine.volume_data("busy").exists());
        drop(contained);

        // On the host, where a backup or `du` may be deep in a directory that has nothing to do with volumes.
        let elsewhere = engine.dir().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let on_host = Deep::below(&elsewhere, Seen::AsOnTheHost);
        engine.create_volume("late", &[]);
        volgc.ok(&["quarantine", "late"]);
        drop(on_host);

        // Or in a volume.
        engine.create_volume("inside", &[]);
        let in_volume = Deep::below(&engine.volume_data("inside"), Seen::AsOnTheHost);
        let output = volgc.run(&["quarantine", "inside"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        assert!(output.stdout.contains("perl") && output.stdout.contains("working directory"), "{output:?}");
        assert!(engine.volume_data("inside").exists());
        drop(in_volume);
        volgc.ok(&["quarantine", "inside"]);
        println!("hostile: 2 trees tried, 0 losses");
    }
}

/// What a process sees of the disk.
#[derive(Clone, Copy)]
enum Seen {
    /// One directory, mounted into a namespace of its own.
    AsInAContainer,
    /// All of it.
    AsOnTheHost,
}

/// A process whose working directory lies deeper than the kernel has paths for.
struct Deep(Child);

impl Deep {
    fn below(directory: &Path, seen: Seen) -> Self {
        const DIVE: &str =
            r#"$| = 1; for (1..20) { mkdir "d" x 250; chdir "d" x 250 or die } print "done\n"; sleep 1000"#;
        let script = match seen {
            Seen::AsInAContainer => r#"mount --bind "$1" /mnt && cd /mnt && exec perl -e "$2""#,
            Seen::AsOnTheHost => r#"cd "$1" && exec perl -e "$2""#,
        };
        let mut command = match seen {
            Seen::AsInAContainer => Command::new("unshare"),
            Seen::AsOnTheHost => Command::new("env"),
        };
        if matches!(seen, Seen::AsInAContainer) {
            command.args(["--mount", "--propagation", "private", "--"]);
        }
        let mut process = command
            .args(["sh", "-c", script, "sh"])
            .arg(directory)
            .arg(DIVE)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        process.stdout.take().unwrap().read_exact(&mut said).unwrap();
        assert!(fs::read_link(format!("/proc/{}/cwd", process.id())).is_err(), "it is not deep enough");
        Self(process)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
