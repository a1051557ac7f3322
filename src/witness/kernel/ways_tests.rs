use super::*;
use crate::host::proc::mountinfo::parse_mountinfo;

const DISK: Device = Device { major: 8, minor: 1 };

fn namespace(id: u64, table: &str) -> Namespace {
    Namespace::bare(id, parse_mountinfo(table.as_bytes()).unwrap())
}

struct Made {
    links: &'static [(&'static str, &'static str)],
    missing: &'static [&'static str],
}

impl Sight for Made {
    fn node(&self, _: &Namespace, path: &[u8]) -> Node {
        let path = String::from_utf8(path.to_vec()).unwrap();
        if let Some((_, target)) = self.links.iter().find(|(link, _)| *link == path) {
            Node::Link(target.as_bytes().to_vec())
        } else if self.missing.contains(&path.as_str()) {
            Node::Missing
        } else {
            Node::Other
        }
    }
}

/// Ways in which these are links, these are missing, and all else exists.
fn ways<'m>(links: &'static [(&'static str, &'static str)], missing: &'static [&'static str]) -> Ways<'m> {
    Ways::new(BTreeSet::from([DISK]), Box::new(Made { links, missing }))
}

fn to(path: &str, seen: &str) -> Lead {
    Lead::To { place: Place { device: DISK, path: path.into() }, path: seen.into() }
}

const HOST: &str = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 /srv/docker /var/lib/docker rw - ext4 /dev/sda1 rw
3 1 0:50 / /net rw - nfs4 server:/x rw
4 1 0:51 / /pool rw - fuse.mergerfs a:b rw
5 1 0:52 / /tmp rw - tmpfs tmpfs rw
";

#[test]
fn a_path_is_followed_however_it_is_written() {
    let host = namespace(1, HOST);
    let links = &[("/lnk", "/var/lib/docker/volumes"), ("/a/up", "../lnk/v"), ("/loop", "/loop")];
    let ways = ways(links, &["/var/lib/docker/volumes/gone"]);
    let data = to("/srv/docker/volumes/v/_data", "/var/lib/docker/volumes/v/_data");
    for path in [
        "/var/lib/docker/volumes/v/_data",
        "//var/./lib//docker/volumes/x/../v/_data/",
        "/lnk/v/_data",
        "/a/up/_data",
        "/tmp/../lnk/v/_data",
        "/../../lnk/v/_data/deep/..",
    ] {
        assert_eq!(ways.lead(&host, b"/", path.as_bytes()), data, "{path}");
    }
    assert_eq!(ways.lead(&host, b"/var/lib/docker/volumes", b"v/_data"), data);
    assert_eq!(ways.lead(&host, b"/srv/x", b"../../a/up/_data"), data);
    let missing = Lead::Missing {
        place: Place { device: DISK, path: b"/srv/docker/volumes".to_vec() },
        path: b"/var/lib/docker/volumes".to_vec(),
        rest: b"gone/_data".to_vec(),
    };
    assert_eq!(ways.lead(&host, b"/", b"/lnk/gone/_data"), missing);
    let back = Lead::Missing {
        place: Place { device: DISK, path: b"/srv/docker/volumes".to_vec() },
        path: b"/var/lib/docker/volumes".to_vec(),
        rest: b"v/_data".to_vec(),
    };
    assert_eq!(ways.lead(&host, b"/", b"/lnk/gone/../v/./_data"), back);
    assert_eq!(ways.lead(&host, b"/", b"/loop/x"), Lead::Unknown);
    for foreign in ["/net/x", "/pool/v"] {
        assert_eq!(ways.lead(&host, b"/", foreign.as_bytes()), Lead::Foreign, "{foreign}");
    }
}

/// conmon binds a socket as `/proc/self/fd/13/attach`, and this process has a descriptor 13 of its own.
#[test]
fn what_depends_on_who_asks_leads_nowhere_that_is_known() {
    let host = namespace(1, &format!("{HOST}6 1 0:5 / /proc rw - proc proc rw\n"));
    let ways = ways(&[("/dev/fd", "/proc/self/fd"), ("/proc/self", "77"), ("/proc/77/fd/13", "/lnk")], &[]);
    for path in ["/proc/self/fd/13", "/proc/thread-self/fd/13", "/dev/fd/13", "//proc/./self/cwd"] {
        assert_eq!(ways.lead(&host, b"/", path.as_bytes()), Lead::Unknown, "{path}");
    }
    assert_ne!(ways.lead(&host, b"/", b"/proc/77/fd"), Lead::Unknown);
    assert_ne!(ways.lead(&host, b"/", b"/srv/self"), Lead::Unknown);
}

#[test]
fn what_is_mounted_last_is_what_a_path_leads_to() {
    let table = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 /hidden /a/b rw - ext4 /dev/sda1 rw
3 1 8:1 /over /a rw - ext4 /dev/sda1 rw
4 3 8:1 /top /a rw - ext4 /dev/sda1 rw
5 4 8:1 /in /a/c rw - ext4 /dev/sda1 rw
";
    let stacked = namespace(1, table);
    let ways = ways(&[], &[]);
    assert_eq!(ways.lead(&stacked, b"/", b"/a/b"), to("/top/b", "/a/b"));
    assert_eq!(ways.lead(&stacked, b"/", b"/a/c/x"), to("/in/x", "/a/c/x"));
}
