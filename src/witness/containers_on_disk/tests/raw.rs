//! The search for names in bytes.

use super::*;

#[test]
fn names_are_found_as_json_writes_them() {
    let odd = ["a<b>&c", "quo\"te", "back\\slash", "tab\tbed", "bell\u{7}s", "größe", "x"];
    let names = odd.into_iter().chain(["never"]).map(|name| VolumeName::new(name).unwrap());
    let needles = Needles::new(names);
    let go = r#"a\u003cb\u003e\u0026c quo\"te back\\slash tab\tbed bell\u0007s größe"#;
    let plain = odd.join(" ");
    for text in [go, plain.as_str()] {
        let found: Vec<&str> = needles.find(text.as_bytes()).into_iter().map(VolumeName::as_str).collect();
        let mut wanted: Vec<&str> = odd.into_iter().filter(|name| *name != "x" || text == plain).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn names_are_found_at_both_ends_and_inside_words() {
    for text in ["pg-data", "xpg-data", "pg-datax", "pgpg-data", "pg-dat pg-data"] {
        let needles = Needles::new([VolumeName::new("pg-data").unwrap(), VolumeName::new("pg-da").unwrap()]);
        assert_eq!(needles.find(text.as_bytes()).len(), 2, "{text}");
    }
    assert!(Needles::new([VolumeName::new("pg-data").unwrap()]).find(b"pg-dat").is_empty());
    assert!(Needles::new([VolumeName::new("ab").unwrap()]).find(b"a").is_empty());
}

#[test]
fn the_search_does_not_go_name_by_name() {
    // Ten thousand names that differ at their end only, in bytes full of their beginning: name by name these are 10^9 steps and more.
    let name = |n: usize| VolumeName::new(format!("ci-runner-cache-{n:08}")).unwrap();
    let needles = Needles::new((0..10_000).map(name));
    let mut text = "ci-runner-cache-x".repeat(20_000);
    text.push_str("ci-runner-cache-00001234");
    let found: Vec<&str> = needles.find(text.as_bytes()).into_iter().map(VolumeName::as_str).collect();
    assert_eq!(found, ["ci-runner-cache-00001234"]);
}
