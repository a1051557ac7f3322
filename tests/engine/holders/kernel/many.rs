//! Who could stop a whole host, and who must not: an unprivileged user with namespaces of his own; and all that is ordinary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use harness::{Contents, KEEP_IN_QUARANTINE, Volgc, on_each_engine};

use super::{Holding, Mounted, TakenAway, mount, run};

/// As `nobody`, in user and mount namespaces of his own, where he is root.
#[track_caller]
pub(super) fn as_nobody(script: &str, arguments: &[&Path]) -> Holding {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "-Urm",
        "sh",
        "-ec",
        script,
        "sh",
    ]);
    Holding::start(command.args(arguments))
}

/// An unprivileged user may hold the volumes of every engine that he can reach: one test with one at a time.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An overlay with a lower layer that is relative to where he was. Where he works is gone when he is done, so that nothing is found
/// beside the mount point.
const RELATIVE: &str = r"
    mount -t tmpfs none /mnt; mkdir -p /mnt/gone/_data /mnt/gone/other /mnt/over; cd /mnt/gone
    mount -t overlay overlay -o lowerdir=_data:other /mnt/over; cd /; rm -r /mnt/gone
    echo ready; read x
";

on_each_engine! {
    fn an_unprivileged_user_stops_nothing_with_a_layer_that_he_could_not_reach(engine: PrivateEngine) {
        let _alone = alone();
        engine.create_volume("one", &[]);
        engine.create_volume("two", &[]);
        // As dockerd makes its root.
        fs::set_permissions(engine.root(), fs::Permissions::from_mode(0o710)).unwrap();
        let relative = as_nobody(RELATIVE, &[]);
        // And one that looks like a volume, in a root that he made up.
        let named = r#"
            mount -t tmpfs none /tmp; mkdir -p "$1" /tmp/over /tmp/x
            mount -t overlay overlay -o "lowerdir=$1:/tmp/x" /tmp/over; echo ready; read x
        "#;
        let named = as_nobody(named, &[&engine.volume_data("two")]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let told = [volgc.ok(&["sweep"]), volgc.ok(&["sweep"])];
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "{told:?}");
        drop((relative, named));
    }

    /// Layers that are others by now, so that what is seen in the overlays has to be compared with them; and many of them.
    fn an_unprivileged_user_stops_nothing_with_overlays_that_take_long(engine: PrivateEngine) {
        let _alone = alone();
        engine.create_volume("one", &[]);
        let script = r"
            mount -t tmpfs none /mnt; mkdir /mnt/l /mnt/k; cd /mnt
            for i in $(seq 100); do mkdir l/$i k/$i; (cd l/$i; touch $(seq -f $i-%g 20)); touch k/$i/x; layers=$layers:/mnt/l/$i; done
            for i in $(seq 40); do mkdir $i; mount -t overlay o -o lowerdir=${layers#:} $i; done
            mv l j; mv k l; echo ready; read x
        ";
        let overlays = as_nobody(script, &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let begun = std::time::Instant::now();
        let told = [volgc.ok(&["sweep"]), volgc.ok(&["sweep"])];
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "{told:?}");
        let took = begun.elapsed();
        assert!(took.as_secs() < 20, "{took:?}");
        drop(overlays);
    }

    /// Where every user may go to the volumes, the layer may be any of them: all are kept, and whoever keeps them is named.
    fn an_unprivileged_user_keeps_what_he_could_reach_and_is_named(engine: PrivateEngine) {
        let _alone = alone();
        let mut kept = Contents::new(&engine);
        kept.volume("one");
        kept.volume("two");
        for open in [engine.dir(), &engine.root(), &engine.volumes_dir()] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o711)).unwrap();
        }
        let relative = as_nobody(RELATIVE, &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        kept.assert_untouched();
        let process = format!("process {} sh", relative.0.id());
        let swept = volgc.run(&["sweep"]);
        for told in [volgc.ok(&["report"]), volgc.ok(&["check"]), swept.stderr] {
            assert!(told.contains(&process) && told.contains("keeps 2 volumes") && told.contains("_data"), "{told}");
        }
        drop(relative);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    /// Any path may be in the words of a FUSE server, and `/dev/fuse` is open to everybody on most hosts.
    fn an_unprivileged_user_stops_nothing_with_words(engine: PrivateEngine) {
        for name in ["one", "two"] {
            engine.create_volume(name, &[]);
        }
        fs::set_permissions(engine.root(), fs::Permissions::from_mode(0o710)).unwrap();
        let all = engine.volumes_dir().join("*");
        let serve = |user: &str| {
            let drop = format!("exec setpriv {user} sh -c 'echo ready; read x' sh \"$1\"");
            let script = format!("exec 3<>/dev/fuse; {drop}");
            Holding::start(Command::new("sh").args(["-ec", &script, "sh"]).arg(&all))
        };
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        // Who is root may open what it is told.
        let server = serve("--reuid=0");
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["one", "two"]);
        drop(server);
        let server = serve("--reuid=65534 --regid=65534 --clear-groups");
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new(), "{}", volgc.ok(&["report"]));
        drop(server);
    }

    /// Root may mount where only others are left, as systemd-nspawn and engines with user namespaces do: an overlay of a volume in a root
    /// that has no such path.
    fn what_root_mounted_for_an_unprivileged_user_keeps_its_volume(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("one");
        fs::set_permissions(engine.root(), fs::Permissions::from_mode(0o710)).unwrap();
        let script = r#"
            mount -t tmpfs none /mnt; mkdir -p /mnt/root/over /mnt/root/host /mnt/low /mnt/up /mnt/work
            mount -t overlay overlay -o "lowerdir=$1:/mnt/low" /mnt/root/over
            for directory in bin lib lib64 usr etc proc; do mkdir -p "/mnt/root/$directory"; mount --rbind "/$directory" "/mnt/root/$directory"; done
            mount --rbind /mnt/root /mnt/root; cd /mnt/root; pivot_root . host; busybox umount -l /host
            exec setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Ur sh -c 'echo ready; read x'
        "#;
        let guest = Holding::apart(script, &[&engine.volume_data("one")]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        kept.assert_untouched();
        assert_eq!(volgc.reason_of("one"), "held", "{}", volgc.ok(&["explain", "one"]));
        drop(guest);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    /// In silence, one mount more could keep a host from ever being cleaned.
    fn whoever_keeps_more_than_a_few_is_named(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        let names: Vec<String> = (0..7).map(|number| format!("v{number}")).collect();
        for name in &names {
            kept.volume(name);
        }
        let data: Vec<_> = names.iter().map(|name| engine.volume_data(name)).collect();
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let assert_named = |what: &str| {
            volgc.sweep_twice();
            kept.assert_untouched();
            let swept = volgc.run(&["sweep"]);
            for told in [volgc.ok(&["report"]), volgc.ok(&["check"]), swept.stderr] {
                assert!(told.contains("keep 7 volumes") && told.contains(what), "{told}");
            }
        };
        let shown = r#"mount -t tmpfs none /mnt; for data; do mkdir -p /mnt"$data"; mount --bind "$data" /mnt"$data"; done; echo ready; read x"#;
        let paths: Vec<&Path> = data.iter().map(PathBuf::as_path).collect();
        let one = Holding::apart(shown, &paths);
        assert_named(&format!("process {} sh", one.0.id()));
        drop(one);
        let over = engine.dir().join("over");
        fs::create_dir(&over).unwrap();
        let layers: Vec<_> = data.iter().map(|data| data.display().to_string()).collect();
        let layers = format!("lowerdir={}", layers.join(":"));
        let over = mount(&["-t", "overlay", "overlay", "-o", &layers].map(Path::new), &over);
        assert_named("mount namespace");
        drop(over);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    /// Containers, binds, overlays, images, pools, sockets, watches: none of it is in a volume.
    fn an_ordinary_host_is_collected_as_ever(engine: PrivateEngine) {
        let place = |name: &str| {
            let path = engine.dir().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (tree, low, up, work) = (place("tree"), place("low"), place("up"), place("work"));
        fs::write(low.join("file"), "x").unwrap();
        fs::write(tree.join("image"), vec![0; 1 << 20]).unwrap();
        let mut kept = Contents::new(&engine);
        kept.volume("used");
        for number in 0..10 {
            let name = format!("web{number}");
            engine.docker(&["run", "-d", "--name", &name, "-v", "used:/data", "-v", "/etc:/host:ro", "bb", "sleep", "1000"]);
        }
        // An agent that reads all of the host.
        engine.docker(&["run", "-d", "--name", "agent", "-v", "/:/host:ro", "bb", "sleep", "1000"]);
        let layers = format!("lowerdir={},upperdir={},workdir={}", low.display(), up.display(), work.display());
        let over = mount(&["-t", "overlay", "overlay", "-o", &layers].map(Path::new), &place("over"));
        // What is below an overlay may be removed, and an empty directory is a layer too.
        fs::remove_dir_all(&up).unwrap();
        let pool = place("pool");
        run("mergerfs", &[&low, &pool]);
        let pool = Mounted(pool);
        let device = run("losetup", &["--find".as_ref(), "--show".as_ref(), &tree.join("image")]);
        let device = TakenAway("losetup", vec!["-d".into(), device.into()]);
        let sandbox = r#"
            mount -t tmpfs none "$1"; mkdir "$1/up" "$1/work" "$1/new"
            mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/new"
            mkdir -p "$1/new/old"; cd "$1/new"; pivot_root . old; busybox umount -l /old; echo ready; read x
        "#;
        let holding = [
            Holding::apart(sandbox, &[&place("sandbox")]),
            Holding::path(&engine, "inotify", &tree, &[]),
            Holding::path(&engine, "socket", &tree, &["x.sock"]),
            Holding::path(&engine, "ring", &tree.join("image"), &[]),
            Holding::path(&engine, "tree", &tree, &[]),
            Holding::path(&engine, "map", &tree.join("image"), &[]),
        ];
        for name in ["free", "image"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 7);
        }
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["used"], "{}", volgc.ok(&["report"]));
        assert!(volgc.ok(&["report"]).contains("agent binds /, which lies above every volume"), "who reads everything is named");
        kept.assert_untouched();
        drop((over, pool, device, holding));
    }
}
