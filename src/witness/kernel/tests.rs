//! Real mounts and processes on this machine. They make mount namespaces of their own and leave nothing mounted.

use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::host::directory;

struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("volgc kernel\t").tempdir_in("/tmp").unwrap();
        for path in ["volumes/a/_data/deep", "volumes/b/_data", "volgc/e1/data", "at", "other"] {
            std::fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        std::fs::write(directory.path().join("volumes/a/_data/file"), "x").unwrap();
        Self { directory }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn targets(&self) -> Vec<Target<&'static str>> {
        let root = place_of(directory::open_path(self.directory.path()).unwrap().as_fd()).unwrap();
        let target = |key, path| Target { key, places: vec![root.join(path)] };
        vec![target("a", "volumes/a"), target("b", "volumes/b"), target("e1", "volgc/e1/data")]
    }

    /// `HELD BY: DETAIL` of every mount, and `HELD: covered`.
    async fn mounts(&self) -> Vec<String> {
        let volumes = directory::open_path(&self.path("volumes")).unwrap();
        let fences = reach::fences(volumes.as_fd()).unwrap();
        let found = mounts_below(self.targets(), fences).await.unwrap();
        let covered = found.mounted.keys().map(|key| format!("{key}: covered"));
        found.holders.iter().map(|(key, holder)| format!("{key}: {}", holder.name)).chain(covered).collect()
    }

    async fn processes(&self) -> Vec<(&'static str, String)> {
        let paths = [("a", "volumes/a"), ("b", "volumes/b"), ("e1", "volgc/e1/data")];
        let open = |key: &str| {
            let (_, path) = paths.iter().find(|(other, _)| *other == key).unwrap();
            directory::open_path(&self.path(path)).ok()
        };
        let inside = self.targets().into_iter().map(|target| Inside { directory: open(target.key), target });
        let found = processes_below(inside.collect()).await.unwrap();
        found.into_iter().map(|(key, holder)| (key, holder.detail)).collect()
    }

    /// Runs a shell script in the root, which says `ready` and then waits; it ends when it is dropped.
    fn run(&self, wrapper: &[&str], script: &str) -> Running {
        let mut words = wrapper.to_vec();
        words.extend(["sh", "-ec", script]);
        let (program, arguments) = words.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{script}");
        Running(child)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// In a pid namespace of its own: a machine may have processes that nobody may look at (a sandbox's own), for which the witness
/// rightly refuses.
fn runs_apart() -> bool {
    crate::tests::runs_apart(&["unshare", "-p", "-f", "--mount-proc", "--kill-child"])
}

const UNSHARE: &[&str] = &["unshare", "-m"];

#[tokio::test]
#[ignore = "needs root"]
async fn nothing_is_held_where_nothing_is_mounted() {
    if runs_apart() {
        return;
    }
    let root = Root::new();
    assert!(root.mounts().await.is_empty());
    assert!(root.processes().await.is_empty());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_in_another_namespace_is_seen_and_follows_a_rename() {
    let root = Root::new();
    let at = root.path("at").display().to_string();
    let running = root.run(UNSHARE, "mount --bind volumes/a/_data/deep at; echo ready; read x");
    assert_eq!(root.mounts().await, [format!("a: {at}")]);
    // The kernel shows the new path of what was renamed.
    std::fs::remove_dir(root.path("volgc/e1/data")).unwrap();
    std::fs::rename(root.path("volumes/a/_data"), root.path("volgc/e1/data")).unwrap();
    assert_eq!(root.mounts().await, [format!("e1: {at}")]);
    drop(running);
    assert!(root.mounts().await.is_empty());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_of_a_removed_directory_still_holds_its_volume() {
    let root = Root::new();
    let _running = root.run(UNSHARE, "mount --bind volumes/b/_data at; echo ready; read x");
    std::fs::remove_dir(root.path("volumes/b/_data")).unwrap();
    assert_eq!(root.mounts().await, [format!("b: {}", root.path("at").display())]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_on_or_below_a_volume_is_seen_from_any_namespace_and_through_any_mount() {
    let root = Root::new();
    let _one = root.run(UNSHARE, "mount -t tmpfs none volumes/a/_data; echo ready; read x");
    assert_eq!(root.mounts().await, ["a: covered"]);
    // `volumes` is elsewhere there, and the mount is below that.
    let script = "mount --bind volumes at; mount -t tmpfs none at/b/_data; echo ready; read x";
    let _other = root.run(UNSHARE, script);
    assert_eq!(root.mounts().await, ["a: covered", "b: covered"]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_that_only_a_thread_sees_is_seen() {
    let root = Root::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (from, to) = (root.path("volumes/a/_data"), root.path("at"));
    let thread = std::thread::spawn(move || {
        #[expect(deprecated, reason = "the successor is unsafe")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::FS | rustix::thread::UnshareFlags::NEWNS)
            .unwrap();
        let mount = |arguments: &[&Path]| Command::new("mount").args(arguments).status().unwrap();
        assert!(mount(&[Path::new("--make-rprivate"), Path::new("/")]).success());
        assert!(mount(&[Path::new("--bind"), &from, &to]).success());
        ready.send(()).unwrap();
        ended.recv().unwrap_err();
    });
    is_ready.recv().unwrap();
    assert_eq!(root.mounts().await, [format!("a: {}", root.path("at").display())]);
    drop(end);
    thread.join().unwrap();
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_outside_the_changed_root_of_every_process_of_its_namespace_is_seen() {
    let root = Root::new();
    std::fs::copy("/bin/busybox", root.path("other/busybox")).unwrap();
    let script = "mount --bind volumes/a/_data at; mount --bind other other; cd /; \
                  exec chroot \"$OLDPWD/other\" /busybox sh -c 'echo ready; read x'";
    let _running = root.run(UNSHARE, script);
    assert_eq!(root.mounts().await, [format!("a: {}", root.path("at").display())]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_mount_in_a_namespace_without_a_process_is_seen() {
    let root = Root::new();
    let script = "mount --bind other other; mount --make-private other; touch other/kept; \
                  unshare --mount=other/kept sh -c 'mount --bind volumes/a/_data at'; echo ready; read x";
    // On one processor: since Linux 6.18 identifiers are given out in batches a processor, and a namespace can be mounted only
    // in one with a smaller identifier.
    let _running = root.run(&["taskset", "-c", "0", "unshare", "-m"], script);
    assert_eq!(root.mounts().await, [format!("a: {}", root.path("at").display())]);
}

#[tokio::test]
async fn the_place_of_a_directory_is_found_through_links_and_bind_mounts() {
    let root = Root::new();
    let link = root.path("link");
    std::os::unix::fs::symlink(root.path("volumes"), &link).unwrap();
    let place = |path: &Path| place_of(directory::open_path(path).unwrap().as_fd());
    let real = place(&root.path("volumes")).unwrap();
    assert_eq!(place(&link).unwrap(), real);
    assert!(real.path.ends_with(b"/volumes"));
    // A file system of its own: tests/setup needs none, /dev/shm is one.
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let place = place(shm.path()).unwrap();
    assert_ne!(place.device, real.device);
    assert_eq!(
        place.path,
        Path::new("/").join(shm.path().file_name().unwrap()).as_os_str().as_encoded_bytes()
    );
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_in_a_volume_is_seen_whatever_it_has_there() {
    if runs_apart() {
        return;
    }
    let root = Root::new();
    let file = root.path("volumes/a/_data/file").display().to_string();
    let cases: [(&[&str], &str, String); 5] = [
        (
            &[],
            "cd volumes/a/_data; echo ready; read x",
            format!("working directory {}", root.path("volumes/a/_data").display()),
        ),
        (&[], "exec 7<volumes/a/_data/file; echo ready; read x", format!("open file {file}")),
        (
            &[],
            "exec 7<volumes/a/_data/file; mv volumes/a/_data/file volumes/a/_data/f2; rm volumes/a/_data/f2; \
             echo x > volumes/a/_data/file; echo ready; read x",
            format!("open file {} (deleted)", root.path("volumes/a/_data/f2").display()),
        ),
        // In another mount namespace, where it has another path.
        (
            UNSHARE,
            "mount --bind volumes/a/_data at; exec 7<at/file; echo ready; read x",
            format!("open file {}", root.path("at/file").display()),
        ),
        // A program that runs from there, its file open nowhere.
        (
            &[],
            "cp $(readlink -f $(command -v cat)) volumes/a/_data/program; exec 3<&0; volumes/a/_data/program <&3 & sleep 0.2; echo ready; wait",
            format!("executable {}", root.path("volumes/a/_data/program").display()),
        ),
    ];
    for (wrapper, script, expected) in cases {
        let running = root.run(wrapper, script);
        let found = root.processes().await;
        drop(running);
        assert_eq!(found, [("a", expected)], "{script}");
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_with_its_root_in_a_volume_is_seen() {
    if runs_apart() {
        return;
    }
    let root = Root::new();
    std::fs::copy("/bin/busybox", root.path("volumes/a/_data/busybox")).unwrap();
    let script = "exec 8<volumes/b/_data; exec chroot volumes/a/_data /busybox sh -c 'echo ready; read x'";
    let _running = root.run(&[], script);
    let found = root.processes().await;
    let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["a", "b"], "{found:?}");
    // The root directory alone, without a working directory there.
    let root = Root::new();
    let perl = r#"$| = 1; chroot "volumes/b/_data" or die; print "ready\n"; <STDIN>"#;
    let _running = root.run(&[], &format!("exec perl -e '{perl}'"));
    let expected = format!("root directory {}", root.path("volumes/b/_data").display());
    assert_eq!(root.processes().await, [("b", expected)]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn our_own_descriptors_are_no_use_by_somebody() {
    if runs_apart() {
        return;
    }
    let root = Root::new();
    let open = directory::open_path(&root.path("volumes/a/_data")).unwrap();
    assert!(root.processes().await.is_empty());
    drop(open);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_loop_device_on_a_file_in_a_volume_holds_it() {
    if runs_apart() {
        return;
    }
    let root = Root::new();
    let file = root.path("volumes/a/_data/disk");
    std::fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let made = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let device = Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    let found = root.processes().await;
    drop(device);
    assert_eq!(found, [("a", format!("loop device on {}", file.display()))]);
}

struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        drop(Command::new("losetup").args(["-d", &self.0]).status());
    }
}

#[test]
fn a_directory_on_nfs_is_refused() {
    let mounts = |kind: &str| {
        let line = format!("9 1 0:50 / /var/lib/docker rw - {kind} server:/export rw\n");
        proc::mountinfo::parse_mountinfo(line.as_bytes()).unwrap()
    };
    assert!(place_in(&mounts("nfs4"), 9, b"/var/lib/docker/volumes").unwrap_err().contains("NFS"));
    assert!(place_in(&mounts("ext4"), 9, b"/var/lib/docker/volumes").is_ok());
    assert!(place_in(&mounts("ext4"), 8, b"/var/lib/docker/volumes").is_err());
}

const SOCKET: &str = "VOLGC_TEST_BLIND_SPOT";

/// Not a test of its own: what [`blind_spots_are_noticed`] runs inside other namespaces.
#[tokio::test]
async fn tell_the_blind_spot() {
    let Ok(socket) = std::env::var(SOCKET) else { return };
    let told = sight::blind_spot(Path::new(&socket)).await;
    let asked = mounts_below(vec![Target { key: 1, places: Vec::new() }], Vec::new()).await.is_ok();
    std::fs::write(format!("{socket}.told"), format!("{told:?} {asked}")).unwrap();
}

#[tokio::test]
#[ignore = "needs root"]
async fn blind_spots_are_noticed() {
    if runs_apart() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(sight::blind_spot(&socket).await, None);
    assert!(sight::blind_spot(&directory.path().join("none")).await.is_some());
    for (wrapper, expected) in [
        (&["unshare", "-p", "-f", "--mount-proc"][..], "pid namespace that is not visible"),
        (&["unshare", "-p", "-f"][..], "pid namespace that is not visible"),
        (
            &["unshare", "-m", "sh", "-c", "unshare -p -f mount -t proc proc /proc; exec \"$@\"", "-"][..],
            "of another pid namespace",
        ),
        // Never below the temporary directory, which is removed with all that is in it.
        (
            &[
                "unshare",
                "-p",
                "-f",
                "--mount-proc",
                "sh",
                "-c",
                "mount --rbind / /mnt; chroot /mnt \"$@\"; exit $?",
                "-",
            ][..],
            "changed root",
        ),
        (&["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"][..], "no CAP_SYS_PTRACE"),
        (&["setpriv", "--reuid=65534", "--clear-groups"][..], "no CAP_SYS_PTRACE"),
    ] {
        let told = directory.path().join("engine.sock.told");
        std::fs::write(&told, "").unwrap();
        rustix::fs::chmod(directory.path(), rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
        rustix::fs::chmod(&told, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
        let (program, arguments) = wrapper.split_first().unwrap();
        let status = Command::new(program)
            .args(arguments)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "witness::kernel::tests::tell_the_blind_spot"])
            .env(SOCKET, &socket)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        let told = std::fs::read_to_string(&told).unwrap();
        assert!(status.success() && told.contains(expected), "{wrapper:?}: {told}");
    }
}
