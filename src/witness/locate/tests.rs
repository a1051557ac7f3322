//! The resolver over file systems and texts that nobody would think of: what is held never becomes less by knowing less.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use super::looking::{Text, resolve};
use super::*;
use crate::gc::reference::{Holder, HolderKind, Reference};
use crate::host::resolve::fixture::{Fake, Kind};
use crate::witness::claims::{Claim, Everything, Target, judge};

const ROOT: &str = "/r";
const VOLUMES: [&str; 3] = ["a", "b", "c"];

/// A docker root with three volumes, and something beside it.
fn host() -> Fake {
    let mut fake = Fake::new();
    for volume in VOLUMES {
        fake.directory(format!("{ROOT}/volumes/{volume}/_data/x"));
    }
    fake.directory("/r/volgc");
    fake.directory("/srv/p=1/x");
    fake
}

fn map(fake: &Fake) -> Map {
    let mut by_place = Volumes::default();
    for volume in VOLUMES {
        for below in ["", "/_data"] {
            let place = fake.place(format!("{ROOT}/volumes/{volume}{below}")).unwrap();
            by_place.insert(place, &name(volume));
        }
    }
    Map {
        root: PathBuf::from(ROOT),
        volumes: fake.place("/r/volumes"),
        quarantine: fake.place("/r/volgc"),
        ancestors: ["/r", "/"].into_iter().filter_map(|path| fake.place(path)).collect(),
        by_place,
    }
}

fn name(volume: &str) -> VolumeName {
    VolumeName::new(volume).unwrap()
}

fn found(fake: &Fake, text: &str) -> Located {
    resolve(&map(fake), fake, Ok(Path::new("/srv")), &Text::Value(text.to_owned()))
}

fn inside(located: &Located) -> Vec<&str> {
    let volume = |whereabouts: &'_ Whereabouts| match whereabouts {
        Whereabouts::Inside(name) => VOLUMES.into_iter().find(|volume| *volume == name.as_str()),
        Whereabouts::Above | Whereabouts::Quarantined(_) => None,
    };
    located.whereabouts.iter().filter_map(volume).collect()
}

#[test]
fn a_link_in_the_place_of_a_volume_means_both() {
    let mut fake = host();
    fake.link("/r/volumes/new", "a");
    let located = found(&fake, "/r/volumes/new/_data");
    let both = [Whereabouts::Inside(name("a")), Whereabouts::Inside(name("new"))];
    assert_eq!(located.whereabouts, BTreeSet::from(both));
}

#[test]
fn what_was_renamed_away_still_means_its_volume() {
    let fake = host();
    let mut moved = Fake::new();
    moved.directory("/r/volumes/a");
    moved.link("/srv/link", "/r/volumes/a/_data/x");
    let mut map = map(&fake);
    map.volumes = moved.place("/r/volumes");
    map.by_place = Volumes::default();
    for path in ["/srv/link", "/r/volumes/a/_data", "/r/./volumes//a/_data/../_data/y"] {
        assert_eq!(inside(&locate(&map, &moved, Path::new(path))), ["a"], "{path}");
    }
}

#[test]
fn an_entry_of_the_quarantine_is_told_apart() {
    let mut fake = host();
    let entry = "20260101-000000-00000001";
    fake.link("/srv/entry", format!("/r/volgc/{entry}/data"));
    let located = found(&fake, "/srv/entry");
    assert!(matches!(located.whereabouts.first(), Some(Whereabouts::Quarantined(_))), "{located:?}");
}

#[test]
fn a_relative_path_begins_in_the_working_directory() {
    let mut fake = host();
    fake.link("/srv/here", "/r/volumes/b/_data");
    assert_eq!(inside(&found(&fake, "here")), ["b"]);
    assert_eq!(inside(&found(&fake, "../r/volumes/c")), ["c"]);
    let lost = resolve(&map(&fake), &fake, Err(Errno::ACCESS), &Text::Value("x/y".to_owned()));
    assert!(lost.may_be_anywhere());
    let gone = resolve(&map(&fake), &fake, Err(Errno::NOENT), &Text::Value("x/y".to_owned()));
    assert_eq!(gone, Located::default());
}

#[test]
fn what_may_be_concerned_depends_on_who_refuses() {
    let mut fake = host();
    fake.add("/srv/pool/x", Kind::Refused(Errno::ACCESS));
    assert!(found(&fake, "/srv/pool/x/y").may_be_anywhere());
    fake.serve("/srv/pool", Server::Network);
    assert!(found(&fake, "/srv/pool/x/y").may_be_anywhere());
    fake.serve("/srv/pool", Server::Process);
    let located = found(&fake, "/srv/pool/x/y");
    assert!(!located.may_be_anywhere() && located.doubts.len() == 1, "{located:?}");
}

/// Names, some of which exist, and some of which are hard to read.
fn names() -> impl Strategy<Value = String> {
    let known: &'static [&'static str] =
        &["r", "volumes", "a", "b", "_data", "x", "srv", "p=1", "..", ".", "new", "link", "volgc"];
    prop::sample::select(known).prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = String> {
    vec(names(), 1..8).prop_map(|names| format!("/{}", names.join("/")))
}

/// The host with a few links in it, which lead anywhere.
fn hosts() -> impl Strategy<Value = (Fake, Vec<PathBuf>)> {
    let places: &'static [&'static str] =
        &["/srv/link", "/srv/new", "/r/volumes/new", "/r/volumes/a/_data/link", "/r/volumes/b/_data/x/link"];
    let link = (prop::sample::select(places), texts(), any::<bool>());
    vec(link, 0..4).prop_map(|links| {
        let mut fake = host();
        let mut paths = Vec::new();
        for (place, target, absolute) in links {
            fake.link(place, if absolute { target } else { format!("..{target}") });
            paths.push(PathBuf::from(place));
        }
        (fake, paths)
    })
}

fn holder(id: &str) -> Holder {
    let text = || id.to_owned();
    Holder { kind: HolderKind::Container, id: text(), name: text(), detail: text() }
}

fn everything() -> Everything {
    Everything { volumes: VOLUMES.iter().map(|volume| name(volume)).collect(), entries: Vec::new() }
}

/// Which volumes are held by whom.
fn held(fake: &Fake, claims: &[Claim]) -> BTreeSet<(VolumeName, String)> {
    let map = map(fake);
    let texts = crate::witness::claims::texts(claims);
    let located = texts
        .into_iter()
        .map(|text| (text.clone(), resolve(&map, fake, Ok(Path::new("/srv")), &text)))
        .collect();
    let answer = judge(claims, &located, &everything());
    let pair = |reference: Reference| (reference.volume, reference.holder.id);
    answer.references.into_iter().map(pair).collect()
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let target = prop_oneof![
        4 => texts().prop_map(|text| Target::Text(Text::Path(PathBuf::from(text)))),
        3 => texts().prop_map(|text| Target::Text(Text::Value(format!("lowerdir={text}:/srv,x=1")))),
        1 => Just(Target::Anything("it is not known".to_owned())),
    ];
    let claim = (target, 0..3_u8).prop_map(|(target, id)| Claim::new(target, holder(&id.to_string())));
    vec(claim, 0..5)
}

proptest! {
    /// A claim that is added never frees a volume.
    #[test]
    fn one_more_claim_holds_no_less((fake, _) in hosts(), some in claims(), more in claims()) {
        let before = held(&fake, &some);
        let after = held(&fake, &[&some[..], &more[..]].concat());
        prop_assert!(before.is_subset(&after), "{:?}", before.difference(&after).collect::<Vec<_>>());
    }

    /// A text that cannot be resolved holds a superset of what each way to resolve it would: whatever stands where we are refused,
    /// a link to anywhere, a directory or nothing.
    #[test]
    fn what_is_hidden_holds_no_less_than_what_could_be_there(
        (fake, links) in hosts(), text in texts(), which in any::<prop::sample::Index>(), target in texts(),
        is_value in any::<bool>(), refusal in prop::sample::select(vec![Errno::ACCESS, Errno::TIMEDOUT, Errno::IO])
    ) {
        prop_assume!(!links.is_empty());
        let place = which.get(&links);
        let text = if is_value {
            Text::Value(format!("upperdir=/srv,lowerdir={text}:/nowhere"))
        } else {
            Text::Path(PathBuf::from(text))
        };
        let claim = [Claim::new(Target::Text(text), holder("c"))];
        let hidden = held(&fake.with(place, Kind::Refused(refusal)), &claim);
        let ways = [Kind::Directory, Kind::File, Kind::Link(PathBuf::from(target)), Kind::Refused(Errno::NOENT)];
        for way in ways {
            let known: BTreeSet<_> = held(&fake.with(place, way.clone()), &claim);
            // Names that are no volume are none that could be lost.
            let known: BTreeSet<_> = known.into_iter().filter(|(volume, _)| everything().volumes.contains(volume)).collect();
            prop_assert!(known.is_subset(&hidden), "{way:?} {known:?} {hidden:?}");
        }
    }

    /// A value holds what each part of it would hold by itself.
    #[test]
    fn a_value_holds_what_its_parts_hold((fake, _) in hosts(), parts in vec(texts(), 1..4)) {
        let value = found(&fake, &format!("lowerdir={},upperdir=/nowhere", parts.join(":")));
        for part in parts {
            let alone = locate(&map(&fake), &fake, Path::new(&part));
            prop_assert!(alone.whereabouts.is_subset(&value.whereabouts), "{part}");
        }
    }
}
