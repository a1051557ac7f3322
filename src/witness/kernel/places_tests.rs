//! Recorded and made-up mount tables.

use super::*;
use crate::host::proc::mountinfo::parse_mountinfo;

const DISK: Device = Device { major: 8, minor: 1 };

fn place(path: &str) -> Place {
    Place { device: DISK, path: path.as_bytes().to_vec() }
}

fn target(key: &'static str, path: &str) -> Target<&'static str> {
    Target { key, places: vec![place(path)] }
}

fn volumes() -> Vec<Target<&'static str>> {
    vec![target("a", "/var/lib/docker/volumes/a"), target("ab", "/var/lib/docker/volumes/ab")]
}

fn mounts(text: &str) -> Vec<MountLine> {
    parse_mountinfo(text.as_bytes()).unwrap()
}

/// `shows KEY at POINT` and `covers KEY at POINT`, in the order of the table.
fn concerns(targets: &[Target<&'static str>], table: &str) -> Vec<String> {
    let mounts = mounts(table);
    let places = Places::new(targets);
    let (found, lost) = places.concerns(&mounts);
    assert_eq!(lost, None);
    let tell = |(mount, concern): &(&MountLine, Concern<'_, &str>)| {
        let point = String::from_utf8_lossy(&mount.point).into_owned();
        match concern {
            Concern::Shows(key) => format!("shows {key} at {point}"),
            Concern::Covers(key) => format!("covers {key} at {point}"),
        }
    };
    found.iter().map(tell).collect()
}

const CONTAINER: &str = "\
612 500 0:55 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
613 612 0:58 / /proc rw - proc proc rw
620 612 8:1 /var/lib/docker/containers/f00/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
621 612 8:1 /var/lib/docker/volumes/a/_data /data rw,relatime master:1 - ext4 /dev/sda1 rw
";

#[test]
fn a_mount_of_the_data_or_of_something_in_it_is_a_reference_and_one_of_something_above_is_none() {
    assert_eq!(concerns(&volumes(), CONTAINER), ["shows a at /data"]);
    for (root, expected) in [
        ("/var/lib/docker/volumes/a", vec!["shows a at /x"]),
        ("/var/lib/docker/volumes/a/_data/deep/file", vec!["shows a at /x"]),
        ("/var/lib/docker/volumes/ab/_data", vec!["shows ab at /x"]),
        ("/var/lib/docker/volumes/abc/_data", vec![]),
        ("/var/lib/docker/volumes", vec![]),
        ("/var/lib/docker", vec![]),
        ("/", vec![]),
        ("/other/var/lib/docker/volumes/a", vec![]),
    ] {
        let table = format!("1 0 0:55 / / rw - overlay o rw\n2 1 8:1 {root} /x rw - ext4 /dev/sda1 rw\n");
        assert_eq!(concerns(&volumes(), &table), expected, "{root}");
    }
}

#[test]
fn the_same_path_on_another_file_system_is_another_directory() {
    assert!(concerns(&volumes(), &CONTAINER.replace(" 8:1 ", " 8:2 ")).is_empty());
}

#[test]
fn a_mount_whose_directory_was_removed_still_holds_it() {
    let table = CONTAINER.replace("/a/_data /data", "/a/_data//deleted /data");
    assert_eq!(concerns(&volumes(), &table), ["shows a at /data"]);
    let table = CONTAINER.replace("/a/_data /data", "/a//deleted /data");
    assert_eq!(concerns(&volumes(), &table), ["shows a at /data"]);
}

#[test]
fn a_mount_on_or_below_the_volume_is_found_in_whatever_namespace_it_is() {
    // The host: the docker root on `/`.
    let host = "\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /var/lib/docker/volumes/a/_data rw - tmpfs tmpfs rw
31 22 0:41 / /var/lib/docker/volumes/ab/_data/deep rw - tmpfs tmpfs rw
32 22 0:42 / /var/lib/docker/volumes rw - tmpfs tmpfs rw
";
    let both =
        ["covers a at /var/lib/docker/volumes/a/_data", "covers ab at /var/lib/docker/volumes/ab/_data/deep"];
    assert_eq!(concerns(&volumes(), host), both);
    // A container that sees the volume at /data, and mounts something in it.
    let container = format!("{CONTAINER}630 621 0:60 / /data/sub rw - tmpfs tmpfs rw\n");
    assert_eq!(concerns(&volumes(), &container), ["shows a at /data", "covers a at /data/sub"]);
    // An agent that has the docker root elsewhere.
    let agent = "\
700 1 0:55 / / rw - overlay o rw
701 700 8:1 /var/lib/docker /host rw - ext4 /dev/sda1 rw
702 701 0:60 / /host/volumes/a rw - tmpfs tmpfs rw
";
    assert_eq!(concerns(&volumes(), agent), ["covers a at /host/volumes/a"]);
}

#[test]
fn a_volume_made_of_a_bind_mount_is_covered_and_the_one_it_leads_into_is_held() {
    let table = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 8:1 /srv/data /var/lib/docker/volumes/a/_data rw - ext4 /dev/sda1 rw
31 22 8:1 /var/lib/docker/volumes/a/_data/x /var/lib/docker/volumes/ab/_data rw - ext4 /dev/sda1 rw
";
    let expected = [
        "covers a at /var/lib/docker/volumes/a/_data",
        "shows a at /var/lib/docker/volumes/ab/_data",
        "covers ab at /var/lib/docker/volumes/ab/_data",
    ];
    assert_eq!(concerns(&volumes(), table), expected);
}

#[test]
fn a_mount_on_an_unknown_one_is_told_unless_it_is_the_root() {
    let table = mounts("22 1 8:1 / / rw - ext4 d rw\n30 99 0:4 / /x rw - tmpfs t rw\n");
    assert_eq!(Places::new(&volumes()).concerns(&table).1, Some(30));
}

#[test]
fn the_place_of_a_directory_is_its_path_within_its_file_system() {
    for (line, path, expected) in [
        // A file system of its own, and one mounted at `/`.
        ("9 1 8:1 / /var/lib/docker rw - ext4 d rw\n", "/var/lib/docker/volumes", "/volumes"),
        ("9 1 8:1 / / rw - ext4 d rw\n", "/var/lib/docker/volumes", "/var/lib/docker/volumes"),
        // A directory of a bigger file system, bound there.
        (
            "9 1 8:1 /srv/docker /var/lib/docker rw - ext4 d rw\n",
            "/var/lib/docker/volumes",
            "/srv/docker/volumes",
        ),
        // A btrfs subvolume, with names that need escapes.
        (
            "9 1 8:1 /@/d\\040x /var/lib/d\\011r rw - btrfs d rw,subvol=/@\n",
            "/var/lib/d\tr/volumes",
            "/@/d x/volumes",
        ),
        // The directory is itself the mount point.
        ("9 1 8:1 /v /var/lib/docker/volumes rw - xfs d rw\n", "/var/lib/docker/volumes", "/v"),
    ] {
        let mount = mounts(line).remove(0);
        assert_eq!(Place::through(&mount, path.as_bytes()), Some(place(expected)), "{line}");
    }
    let mount = mounts("9 1 8:1 / /var/lib/docker rw - ext4 d rw\n").remove(0);
    assert_eq!(Place::through(&mount, b"/var/lib/docker2/volumes"), None);
    assert_eq!(place("/").join("a"), place("/a"));
}

#[test]
fn ten_thousand_volumes_are_found_without_a_scan() {
    let targets: Vec<Target<u32>> = (0..10_000)
        .map(|key| Target { key, places: vec![place(&format!("/var/lib/docker/volumes/v{key}"))] })
        .collect();
    let places = Places::new(&targets);
    for key in [0, 4_711, 9_999] {
        let path = format!("/var/lib/docker/volumes/v{key}/_data/x/y/z");
        assert_eq!(places.holding(DISK, path.as_bytes()), Some(&key));
    }
    assert_eq!(places.holding(DISK, b"/var/lib/docker/volumes/v10000/_data"), None);
}
