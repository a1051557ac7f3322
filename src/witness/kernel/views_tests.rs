//! Recorded and made-up mount tables, and paths of open files.

use super::*;
use crate::host::proc::mountinfo::parse_mountinfo;
use crate::witness::kernel::Target;

const DISK: Device = Device { major: 8, minor: 1 };

fn volumes() -> Vec<Target<&'static str>> {
    let target = |key: &'static str| Target {
        key,
        places: vec![Place { device: DISK, path: format!("/var/lib/docker/volumes/{key}").into_bytes() }],
    };
    vec![target("a"), target("ab")]
}

const CONTAINER: &str = "\
612 500 0:55 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
613 612 0:58 / /proc rw - proc proc rw
620 612 8:1 /var/lib/docker/containers/f00/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
621 612 8:1 /var/lib/docker/volumes/a/_data /data rw,relatime master:1 - ext4 /dev/sda1 rw
";

fn namespaces(tables: &[&str]) -> Vec<Namespace> {
    let table = |(table, id): (&&str, u64)| Namespace::bare(id, parse_mountinfo(table.as_bytes()).unwrap());
    tables.iter().zip(1..).map(table).collect()
}

fn holding(
    targets: &[Target<&'static str>],
    tables: &[&str],
    path: &str,
    mount: Option<u64>,
) -> Vec<&'static str> {
    let namespaces = namespaces(tables);
    let places = Places::new(targets);
    Views::new(&places, &namespaces).holding(path.as_bytes(), mount).into_iter().copied().collect()
}

#[test]
fn an_open_file_is_found_by_its_path_in_its_own_namespace() {
    let host = "22 1 8:1 / / rw - ext4 d rw\n";
    let agent = "700 1 0:55 / / rw - overlay o rw\n701 700 8:1 /var/lib/docker /host rw - ext4 d rw\n";
    let find = |path| holding(&volumes(), &[host, agent, CONTAINER], path, None);
    assert_eq!(find("/var/lib/docker/volumes/a/_data/file"), ["a"]);
    assert_eq!(find("/var/lib/docker/volumes/a/_data/file (deleted)"), ["a"]);
    assert_eq!(find("/var/lib/docker/volumes/a (deleted)"), ["a"]);
    assert_eq!(find("/host/volumes/ab"), ["ab"]);
    assert_eq!(find("/data/file"), ["a"]);
    for other in ["/", "/host", "/host/volumes", "/var/lib/docker/volumes/abc", "/datafile", "pipe:[7]", ""] {
        assert!(find(other).is_empty(), "{other}");
    }
}

#[test]
fn a_path_that_means_something_else_in_another_namespace_is_told_apart_by_its_mount() {
    let host = "22 1 8:1 / / rw - ext4 d rw\n";
    let find = |mount| holding(&volumes(), &[host, CONTAINER], "/var/lib/docker/volumes/a/_data/x", mount);
    assert_eq!(find(Some(22)), ["a"]);
    // In the container that path is in its own overlay: Docker in Docker.
    assert!(find(Some(612)).is_empty());
    // I2: a mount that nobody knows is no proof of absence.
    assert_eq!(find(Some(999)), ["a"]);
    assert_eq!(find(None), ["a"]);
}

#[test]
fn a_file_whose_path_cannot_be_told_may_lie_in_whatever_its_mount_shows() {
    let host = "22 1 8:1 / / rw - ext4 d rw\n23 22 0:7 / /tmp rw - tmpfs t rw\n";
    let namespaces = namespaces(&[host, CONTAINER]);
    let targets = volumes();
    let places = Places::new(&targets);
    let views = Views::new(&places, &namespaces);
    let shown = |mount| views.shown_by(mount).into_iter().copied().collect::<Vec<_>>();
    // The mount of a volume, the container's own root and its hostname, another file system of the host.
    assert_eq!(shown(Some(621)), ["a"]);
    for other in [612, 620, 23] {
        assert!(shown(Some(other)).is_empty(), "{other}");
        assert_eq!(views.filter(Bound::new()).mounts[&other], Reach::Nothing);
    }
    assert_eq!(views.filter(Bound::new()).mounts[&621], Reach::Something);
    assert_eq!(shown(Some(22)), ["a", "ab"]);
    // I2: a mount that nobody knows is no proof of absence.
    assert_eq!(shown(Some(999)), ["a", "ab"]);
    assert_eq!(shown(None), ["a", "ab"]);
}
