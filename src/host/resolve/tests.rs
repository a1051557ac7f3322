use super::fixture::{Fake, Kind};
use super::*;

fn stops(fake: &Fake, path: &str) -> (Vec<String>, End) {
    let way = follow(fake, Path::new(path));
    (way.stops.iter().map(|stop| stop.path().display().to_string()).collect(), way.end)
}

#[test]
fn the_end_is_told_without_links() {
    let mut fake = Fake::new();
    fake.directory("/srv/data");
    assert_eq!(stops(&fake, "/srv/data"), (vec!["/srv/data".into()], End::There));
    assert_eq!(stops(&fake, "//srv/./data/"), (vec!["/srv/data".into()], End::There));
    assert_eq!(stops(&fake, "/.."), (vec!["/".into()], End::There));
}

#[test]
fn every_link_on_the_way_is_a_stop() {
    let mut fake = Fake::new();
    fake.directory("/volumes/old/_data");
    fake.link("/volumes/new", "old");
    fake.link("/srv/current", "/volumes/new/_data");
    let (stops, end) = stops(&fake, "/srv/current");
    assert_eq!(stops, ["/srv/current", "/volumes/new", "/volumes/old/_data"]);
    assert_eq!(end, End::There);
}

#[test]
fn a_directory_that_is_left_again_is_a_stop() {
    let mut fake = Fake::new();
    fake.directory("/a/b");
    fake.directory("/a/c");
    assert_eq!(stops(&fake, "/a/b/../c").0, ["/a/b", "/a/c"]);
}

#[test]
fn what_is_missing_ends_with_the_rest_of_its_names() {
    let mut fake = Fake::new();
    fake.directory("/volumes/old");
    fake.add("/file", Kind::File);
    assert_eq!(
        stops(&fake, "/volumes/old/_data/x"),
        (vec!["/volumes/old/_data/x".into()], End::Nowhere(Errno::NOENT))
    );
    assert_eq!(stops(&fake, "/file/x").1, End::Nowhere(Errno::NOTDIR));
    assert_eq!(stops(&fake, "/file/../x").1, End::Nowhere(Errno::NOTDIR));
    // The kernel stops at the missing name, Go takes it out.
    assert_eq!(stops(&fake, "/volumes/gone/../old").0, ["/volumes/gone", "/volumes/old"]);
}

#[test]
fn the_impossible_is_proven_to_be_nowhere() {
    let mut fake = Fake::new();
    fake.link("/a", "b");
    fake.link("/b", "a");
    assert_eq!(stops(&fake, "/a/x").1, End::Nowhere(Errno::LOOP));
    let name = "n".repeat(256);
    assert_eq!(stops(&fake, &format!("/{name}/x")).1, End::Nowhere(Errno::NAMETOOLONG));
    assert_eq!(stops(&fake, &"/n".repeat(2048)).1, End::Nowhere(Errno::NAMETOOLONG));
}

/// Go follows more links than the kernel does.
#[test]
fn a_long_chain_of_links_is_followed_to_its_end() {
    let mut fake = Fake::new();
    fake.directory("/0");
    for link in 1..=255 {
        fake.link(format!("/{link}"), format!("{}", link - 1));
    }
    assert_eq!(stops(&fake, "/255").1, End::There);
    fake.link("/256", "255");
    assert_eq!(stops(&fake, "/256").1, End::Nowhere(Errno::LOOP));
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let mut fake = Fake::new();
    fake.add("/home/user/pool", Kind::Directory);
    fake.add("/home/user/pool/x", Kind::Refused(Errno::ACCESS));
    let unknown = |server| End::Unknown { at: "/home/user/pool/x".into(), why: Errno::ACCESS, server };
    assert_eq!(stops(&fake, "/home/user/pool/x/y").1, unknown(None));
    fake.serve("/home/user/pool", Server::Process);
    assert_eq!(stops(&fake, "/home/user/pool/x/y").1, unknown(Some(Server::Process)));
}
