//! Recorded and made-up mount tables.

use super::*;
use crate::host::proc::links::Node;
use crate::host::proc::mountinfo::parse_mountinfo;
use crate::witness::kernel::Target;
use crate::witness::kernel::ways::Sight;

const DISK: Device = Device { major: 8, minor: 1 };
const DATA: &str = "/var/lib/docker/volumes/a/_data";
const HOST: &str = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";

fn volumes() -> Vec<Target<&'static str>> {
    let target = |key: &'static str| Target {
        key,
        places: vec![Place { device: DISK, path: format!("/var/lib/docker/volumes/{key}").into_bytes() }],
    };
    vec![target("a"), target("ab")]
}

/// What the disk has beside the volumes and the layers of an engine.
const THERE: [&str; 12] = [
    "/var/lib/docker",
    "/x",
    "/u",
    "/w",
    "/mnt/b",
    "/mnt/1",
    "/c/snapshots/1/fs",
    "/srv/m",
    "/srv/low",
    "/srv/up",
    "/srv/work",
    "/etc",
];

struct Disk;

impl Sight for Disk {
    fn node(&self, _: &Namespace, path: &[u8]) -> Node {
        let is_below = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}/"));
        match String::from_utf8_lossy(path).as_ref() {
            "/lnk" => Node::Link(DATA.into()),
            "/loop" => Node::Link(b"/loop".to_vec()),
            "/half" => Node::Link(b"/var/lib/docker/volumes".to_vec()),
            path if path.contains("gone") || (path != "/mnt/b" && is_below(path, "/mnt/b")) => Node::Missing,
            path if THERE.iter().any(|known| is_below(path, known) || is_below(known, path)) => Node::Other,
            _ => Node::Missing,
        }
    }
}

fn each<T>(tables: &[&str], tell: impl Fn(Backed<'_, '_, &'static str>) -> T) -> Vec<T> {
    let table = |(table, id): (&&str, u64)| Namespace::bare(id, parse_mountinfo(table.as_bytes()).unwrap());
    let namespaces: Vec<Namespace> = tables.iter().zip(1..).map(table).collect();
    let targets = volumes();
    let places = Places::new(&targets);
    let ways = Ways::new(places.devices().clone(), Box::new(Disk));
    let bases: Vec<&Namespace> = namespaces.iter().take(1).collect();
    let host = Host { namespaces: &bases, is_followed: true };
    find(&places, &ways, &namespaces, host).into_iter().map(tell).collect()
}

/// `certain KEYS` and `unknown TEXT` of each file system, in the order of their devices.
fn found(tables: &[&str]) -> Vec<String> {
    each(tables, |backed| {
        let unknown = backed.unknown.map_or_else(String::new, |text| format!(" unknown: {text}"));
        let above = backed.above.map_or_else(String::new, |path| format!(" above: {}", text(&path)));
        let certain: Vec<&str> = backed.certain.into_iter().copied().collect();
        let elsewhere: Vec<String> =
            backed.elsewhere.iter().map(|key| format!(" elsewhere: {key}")).collect();
        format!("{}{}{unknown}{above}", certain.join(" "), elsewhere.concat())
    })
}

/// What proves its text, and how many layers lead somewhere.
fn proof(table: &str) -> (Proof, Vec<usize>) {
    let tell = |backed: Backed<'_, '_, &str>| (backed.proof, backed.layers.iter().map(Vec::len).collect());
    each(&[table], tell).pop().unwrap()
}

fn overlay(options: &str) -> String {
    format!("{HOST}2 1 0:99 / /m rw - overlay overlay rw,{options}\n")
}

#[test]
fn the_layers_of_an_overlay_are_references_however_they_are_written() {
    for (layers, expected) in [
        (format!("lowerdir=/x:{DATA},upperdir=/u,workdir=/w"), "a"),
        (format!("lowerdir=/x,upperdir={DATA}/up,workdir=/w"), "a"),
        (format!("lowerdir+={DATA},lowerdir+=/x"), "a"),
        ("lowerdir=/lnk:/x".to_owned(), "a"),
        ("lowerdir=/half/ab/_data/deep:/x".to_owned(), "ab"),
        ("lowerdir=//var/./lib//docker/volumes/x/../a/_data:/x".to_owned(), "a"),
        // What was removed since is still where it was.
        ("lowerdir=/half/ab/_data/gone:/x".to_owned(), "ab"),
        // What lies above every volume is no reference to any one of them.
        ("lowerdir=/var/lib/docker/volumes:/x".to_owned(), " above: /var/lib/docker/volumes"),
        ("lowerdir=/x:/w,upperdir=/u".to_owned(), ""),
    ] {
        assert_eq!(found(&[&overlay(&layers)]), [expected], "{layers}");
    }
}

#[test]
fn a_relative_layer_is_found_near_the_mount_point_or_is_unknown() {
    let relative = |layer: &str| {
        format!(" unknown: its layer {layer} is relative to a directory that the kernel does not tell")
    };
    for (table, expected) in [
        // As Docker writes more of them than fit on a page.
        (
            format!(
                "{HOST}2 1 0:99 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw,lowerdir=l/ABC:l/DEF,upperdir=abc/diff,workdir=abc/work\n"
            ),
            String::new(),
        ),
        // As containerd does.
        (
            format!(
                "{HOST}2 1 0:99 / /run/x/rootfs rw - overlay overlay rw,lowerdir=1/fs:2/fs,upperdir=/var/lib/docker/snapshots/3/fs,workdir=/var/lib/docker/snapshots/3/work\n"
            ),
            String::new(),
        ),
        (
            format!(
                "{HOST}2 1 0:99 / /srv/m rw - overlay overlay rw,lowerdir=low,upperdir=up,workdir=work\n"
            ),
            String::new(),
        ),
        // From within a volume: nobody knows which. In the root directory is everything, which proves nothing.
        (overlay("lowerdir=etc:x"), relative("etc")),
        (overlay("lowerdir=_data:x"), relative("_data")),
        (format!("{HOST}2 1 0:99 / /srv/m rw - overlay overlay rw,lowerdir=.:..\n"), relative(".")),
        (format!("{HOST}2 1 0:99 / /srv/m rw - overlay overlay rw,lowerdir=low:other\n"), relative("low")),
    ] {
        assert_eq!(found(&[&table]), [expected], "{table}");
    }
}

/// A container's overlay was mounted by somebody outside, whose paths mean nothing in there.
#[test]
fn a_layer_is_followed_in_every_namespace_where_it_is_mounted_and_on_the_host() {
    let container = format!("9 8 0:60 / / rw - overlay overlay rw,lowerdir={DATA},upperdir=/u\n");
    // Where it is mounted, that path is another one's, or there is none.
    assert_eq!(found(&[HOST, &container]), [" elsewhere: a"]);
    let gone = "9 8 0:60 / / rw - overlay overlay rw,lowerdir=/half/ab/_data/gone,upperdir=/u\n";
    assert_eq!(found(&[HOST, gone]), ["ab"]);
    // An engine in a container: its root is a directory of the disk, where its paths lead elsewhere.
    let inner = "20 1 8:1 /var/lib/docker/volumes/ab/_data /mnt rw - ext4 /dev/sda1 rw\n";
    let mounted = format!("{HOST}{inner}30 1 0:61 / /m rw - overlay overlay rw,lowerdir=/mnt/deep:/x\n");
    assert_eq!(found(&[HOST, &mounted]), ["ab"]);
}

#[test]
fn the_store_of_an_engine_proves_a_layer_and_anything_else_has_to_be_seen() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let store = "/var/lib/docker/overlay2";
    for (options, expected) in [
        (format!("lowerdir={store}/{id}/diff,upperdir={store}/{id}-init/diff,workdir=/w"), Proof::Names),
        ("lowerdir=/c/snapshots/1/fs".to_owned(), Proof::Names),
        // As snapper and backups have them.
        ("lowerdir=/mnt/snapshots/1/snapshot".to_owned(), Proof::Content),
        ("lowerdir=/x".to_owned(), Proof::Content),
        (format!("lowerdir={store}/{id}/diff:/x"), Proof::Content),
        (format!("lowerdir={store}/1/diff"), Proof::Content),
        // An engine in a container has its store in a volume, and an anonymous volume has a name like an ID.
        (format!("lowerdir={DATA}/overlay2/{id}/diff"), Proof::Content),
        (format!("lowerdir=/var/lib/docker/volumes/{id}/_data"), Proof::Content),
        // A descriptor, of which the kernel tells no path; one of whoever mounted it; what is gone.
        ("lowerdir+=/,lowerdir+=/_data".to_owned(), Proof::Content),
        ("lowerdir=/proc/self/fd/7:/x".to_owned(), Proof::Content),
        ("lowerdir=/x,upperdir=/etc/gone/up,workdir=/etc/gone/work".to_owned(), Proof::Content),
    ] {
        assert_eq!(proof(&overlay(&options)).0, expected, "{options}");
    }
    let served = "3 1 0:7 / /nfs rw - nfs host:/x rw\n";
    let table = format!("{HOST}{served}2 1 0:99 / /m rw - overlay overlay rw,lowerdir=/nfs/x:/x\n");
    assert_eq!(proof(&table).0, Proof::Content);
    // A relative layer is a guess, which those of an engine prove by themselves.
    let relative = |lower: &str, at: &str| {
        format!("{HOST}2 1 0:99 / {at}/m rw - overlay overlay rw,lowerdir={lower},upperdir=up,workdir=work\n")
    };
    assert_eq!(proof(&relative("low:1", "/srv")), (Proof::Content, vec![1, 0, 1]));
    let merged = format!(
        "{HOST}2 1 0:99 / {store}/merged rw - overlay overlay rw,lowerdir={id}-init/diff,upperdir={id}/diff,workdir=1/w\n"
    );
    assert_eq!(proof(&merged), (Proof::Names, vec![1, 1]));
}

#[test]
fn layers_that_no_volume_can_be_are_told_from_those_that_may_be_one() {
    assert_eq!(
        found(&[&overlay("lowerdir=/loop:/x")]),
        [" unknown: its layer /loop cannot be followed in any namespace where it is mounted"]
    );
    // What was removed: a directory for a test, a container whose mount somebody's own namespace keeps.
    assert_eq!(found(&[&overlay("lowerdir=/x,upperdir=/etc/gone/up,workdir=/etc/gone/work")]), [""]);
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let removed = format!("lowerdir=l/ABC,upperdir=gone{id}/diff,workdir=gone{id}/work");
    let table =
        format!("{HOST}2 1 0:99 / /var/lib/docker/overlay2/{id}/merged rw - overlay overlay rw,{removed}\n");
    assert_eq!(found(&[&table]), [""]);
    // The root of a machine that started from an overlay, and what was mounted in the meantime or by the service manager.
    assert_eq!(found(&["1 0 0:98 / / rw - overlay overlay rw,lowerdir=/mnt/b,upperdir=/rw/up\n"]), [""]);
    for layer in ["/run/systemd/sysext/meta/usr", "/sysroot/etc"] {
        assert_eq!(found(&[&overlay(&format!("lowerdir={layer}:/x"))]), [""], "{layer}");
    }
}

#[test]
fn files_and_branches_are_references() {
    let mount = |line: &str| format!("{HOST}2 1 0:99 / /m rw - {line}\n");
    for (line, expected) in [
        (format!("erofs {DATA}/img ro"), "a"),
        ("erofs /lnk/img ro".to_owned(), "a"),
        (format!("fuse {DATA} rw,user_id=0"), "a"),
        ("fuse.mergerfs a/_data:pool rw".to_owned(), "a"),
        ("fuse.mergerfs /half/ab/_data=RW:/x rw".to_owned(), "ab"),
        ("fuse.sshfs host:/srv/other rw".to_owned(), ""),
        ("fuse.lxcfs lxcfs rw".to_owned(), ""),
        (format!("cachefs none rw,dir={DATA}/cache"), "a"),
    ] {
        assert_eq!(found(&[&mount(&line)]), [expected], "{line}");
    }
}

#[test]
fn a_layer_in_the_store_of_an_engine_leaves_nothing_open_wherever_it_is_seen() {
    let is_open = |line: &str| {
        let table = format!("{HOST}2 1 0:99 / {line}\n");
        each(&[HOST, &table], |backed| backed.is_open).into_iter().any(|is_open| is_open)
    };
    for line in [
        "/m rw - overlay overlay rw,lowerdir=l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:l/BBCDEFGHIJKLMNOPQRSTUVWXYZ,upperdir=/var/lib/docker/overlay2/abcdef0123456789abcdef/diff,workdir=/var/lib/docker/overlay2/abcdef0123456789abcdef/work",
        "/m rw - overlay overlay rw,lowerdir=/gone/snapshots/7/fs:/gone/snapshots/8/fs",
        "/m rw - overlay overlay rw,lowerdir=/gone/overlay/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "/usr ro - overlay overlay ro,lowerdir=/run/systemd/sysext/meta:/run/systemd/sysext/one",
    ] {
        assert!(!is_open(line), "{line}");
    }
    for line in [
        "/m rw - overlay overlay rw,lowerdir=/srv/low,upperdir=/srv/up,workdir=/srv/work",
        "/m rw - overlay overlay rw,lowerdir=/gone/one:/gone/two",
        "/m rw - overlay overlay rw,lowerdir=/var/lib/docker/volumes/x/_data/snapshots/7/fs",
        "/m rw - overlay overlay rw,lowerdir=one:two",
    ] {
        assert!(is_open(line), "{line}");
    }
}
