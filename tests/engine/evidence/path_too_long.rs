//! A path longer than a page, which the kernel tells nobody: any container can nest directories that deep and stay in them. Sweeps
//! go on, and what is open in a volume is still seen.

use std::os::fd::OwnedFd;
use std::path::Path;

use harness::{Volgc, on_each_engine, text};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};

/// Thirty names of two hundred characters, one in the other; the last one is held open by this process.
fn nest(top: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = "n".repeat(200);
    let mut here = open(top, flags, Mode::empty()).unwrap();
    for _ in 0..30 {
        mkdirat(&here, &name, Mode::RWXU).unwrap();
        here = openat(&here, &name, flags, Mode::empty()).unwrap();
    }
    here
}

const BY_HAND: &str = "[docker]\nhost = \"unix://{socket}\"\n[limits]\nmin_grace = \"0s\"\n";

on_each_engine! {
    fn a_directory_elsewhere_holds_nothing(engine: PrivateEngine) {
        let _open = nest(engine.dir());
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, BY_HAND);
        volgc.ok(&["quarantine", "db"]);
        let entry = text(&volgc.entry_of("db")["entry"]);
        volgc.ok(&["delete", "--yes", &entry]);
    }

    /// As while another process deletes a deep tree.
    fn a_directory_that_was_removed_holds_nothing(engine: PrivateEngine) {
        let above = nest(engine.dir());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        mkdirat(&above, "removed", Mode::RWXU).unwrap();
        let _open = openat(&above, "removed", flags, Mode::empty()).unwrap();
        unlinkat(&above, "removed", AtFlags::REMOVEDIR).unwrap();
        engine.create_volume("db", &[]);
        let volgc = Volgc::configured(&engine, BY_HAND);
        volgc.ok(&["quarantine", "db"]);
    }

    fn a_directory_in_a_volume_holds_it_and_no_other(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        engine.create_volume("other", &[]);
        let open = nest(&engine.volume_data("db"));
        let volgc = Volgc::configured(&engine, BY_HAND);
        let output = volgc.run(&["quarantine", "db", "other"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        let process = format!("process {}", std::process::id());
        assert!(output.stdout.contains("left volume db") && output.stdout.contains(&process), "{output:?}");
        assert_eq!(volgc.quarantined_names(), ["other"]);
        drop(open);
        volgc.ok(&["quarantine", "db"]);
    }

    /// A file does not know what it is in, and may be in whatever its mount shows (I2): in a container, the volume alone. (On the
    /// host it would hold the volumes of all engines there, those of other tests too.)
    fn a_file_in_a_container_holds_the_volume_of_its_mount(engine: PrivateEngine) {
        engine.create_volume("db", &[]);
        // A path that long can be made by moving one deep tree into another.
        let deep = "d=$(printf %0200d 0); p=/data/y; q=/data/x; for i in $(seq 12); do p=$p/$d q=$q/$d; done; \
                    mkdir -p $p $q; exec 3>$q/file; mv /data/x $p/; touch /data/ready; sleep 1000";
        engine.docker(&["run", "-d", "--name", "deep", "-v", "scratch:/data", "-w", "/data", "bb", "sh", "-c", deep]);
        let ready = engine.volume_data("scratch").join("ready");
        harness::wait_until("it is deep down", || ready.exists());
        let process = engine.docker(&["inspect", "-f", "{{.State.Pid}}", "deep"]);
        let told = rustix::fs::readlink(format!("/proc/{process}/fd/3"), Vec::new());
        assert_eq!(told.unwrap_err(), rustix::io::Errno::NAMETOOLONG);
        let volgc = Volgc::configured(&engine, BY_HAND);
        volgc.ok(&["quarantine", "db"]);
    }
}
