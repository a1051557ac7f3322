//! Overlays of which nothing tells what they show: whoever made them keeps what he could reach, and is named.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use harness::{Contents, KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine};

use super::Holding;
use super::many::{alone, as_nobody};

/// A layer that has another path by now, in a namespace of his own. `$1` is a volume's data.
const MADE: &str = "mount -t tmpfs none /mnt; cd /mnt; mkdir e o x; touch e/y x/z; ln -s $1 l; mount -t overlay o -o lowerdir=e:l o; ln -sfn x l;";

/// The same with a layer in between that a process serves, which is `$!`.
const SERVED: &str = "mount -t tmpfs none /mnt; cd /mnt; mkdir e o x f g; touch e/y x/z g/h; ln -s $1 l
    bindfs -f --no-allow-other g f & until mountpoint -q f; do kill -0 $!; sleep 0.05; done
    mount -t overlay o -o lowerdir=e:f:l o; ln -sfn x l;";

/// As `nobody` in namespaces of his own.
#[track_caller]
fn plain(engine: &PrivateEngine, script: &str) -> Holding {
    as_nobody(script, &[&engine.volume_data("one")])
}

/// The same with a `/dev/fuse` that is open to everybody, as on most hosts. All that he started ends with it.
#[track_caller]
fn as_nobody_with_fuse(engine: &PrivateEngine, script: &str) -> Holding {
    let device = engine.dir().join("fuse");
    let enter = r#"mknod -m 666 "$1" c 10 229; mount --bind "$1" /dev/fuse; shift
        exec setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Urmpf --kill-child sh -ec "$1" sh "$2""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", enter, "sh"]).arg(device);
    Holding::start(command.arg(script).arg(engine.volume_data("one")))
}

/// A volume that everybody can go to is kept while `holder` lives, and who keeps it is named; one behind a closed door is not.
#[track_caller]
fn assert_kept_where_it_can_be_reached(
    engine: &PrivateEngine,
    holder: impl FnOnce(&PrivateEngine) -> Holding,
    why: &str,
) {
    let _alone = alone();
    let mut kept = Contents::new(engine);
    kept.volume("one");
    for open in [engine.dir(), &engine.root(), &engine.volumes_dir()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o711)).unwrap();
    }
    let holder = holder(engine);
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    let begun = std::time::Instant::now();
    let told = [volgc.run(&["sweep"]), volgc.run(&["sweep"])];
    let took = begun.elapsed();
    kept.assert_untouched();
    assert!(
        told.iter().any(|told| told.stderr.contains(why) && told.stderr.contains("keeps every volume")),
        "{told:?}"
    );
    let explained = volgc.ok(&["explain", "one"]);
    assert!(explained.contains(why), "{explained}");
    assert!(took.as_secs() < 25, "{took:?}");
    // As dockerd makes it.
    fs::set_permissions(engine.root(), fs::Permissions::from_mode(0o710)).unwrap();
    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), Vec::<String>::new(), "{}", volgc.ok(&["report"]));
    drop(holder);
}

on_each_engine! {
    fn an_overlay_that_something_is_mounted_over_keeps_what_could_be_in_it(engine: PrivateEngine) {
        let script = format!("{MADE} mount -t tmpfs none o; echo ready; read x");
        assert_kept_where_it_can_be_reached(&engine, |engine| plain(engine, &script), "something else is mounted over it");
    }

    fn an_overlay_in_a_namespace_that_nobody_sees_whole_keeps_what_could_be_in_it(engine: PrivateEngine) {
        let script = format!("{MADE} mkdir r; cp $(command -v busybox) r/; exec chroot r /busybox sh -c 'echo ready; read x'");
        assert_kept_where_it_can_be_reached(&engine, |engine| plain(engine, &script), "whose root directory is that of the namespace");
    }

    /// The server of one layer has ended, and what is below it cannot be read any more.
    fn an_overlay_with_a_layer_that_is_dead_keeps_what_could_be_in_it(engine: PrivateEngine) {
        let script = format!("{SERVED} kill -9 $!; echo ready; read x");
        assert_kept_where_it_can_be_reached(&engine, |engine| as_nobody_with_fuse(engine, &script), "some of it cannot be read");
    }

    fn an_overlay_without_a_mount_with_a_layer_that_is_dead_keeps_what_could_be_in_it(engine: PrivateEngine) {
        let script = format!("{SERVED} cd o; kill -9 $!; umount -l /mnt/o; echo ready; read x");
        assert_kept_where_it_can_be_reached(&engine, |engine| as_nobody_with_fuse(engine, &script), "some of it cannot be read");
    }

    /// A server that answers nothing any more: no sweep waits for it for long.
    fn an_overlay_with_a_layer_that_hangs_keeps_what_could_be_in_it(engine: PrivateEngine) {
        let script = format!("{SERVED} kill -STOP $!; echo ready; read x");
        assert_kept_where_it_can_be_reached(&engine, |engine| as_nobody_with_fuse(engine, &script), "it does not answer");
    }
}
