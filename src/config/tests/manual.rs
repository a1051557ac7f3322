//! The manual page volgc-config.toml(5) has every key, in its table, and none that there is not.

use std::collections::BTreeSet;

use super::super::keys;
use super::EXAMPLE;

const PAGE: &str = include_str!("../../../deploy/man/volgc-config.toml.5");

/// The keys of a section: what is set in bold right below a `.TP`.
fn documented(title: &str) -> Vec<&'static str> {
    let header = PAGE
        .lines()
        .position(|line| line.strip_prefix(".SH ").is_some_and(|section| section.trim_matches('"') == title));
    let Some(header) = header else { return Vec::new() };
    let section: Vec<&str> =
        PAGE.lines().skip(header + 1).take_while(|line| !line.starts_with(".SH")).collect();
    let terms = section.windows(2).filter(|pair| pair[0] == ".TP");
    terms.filter_map(|pair| pair[1].strip_prefix(".B ")).collect()
}

#[test]
fn the_manual_has_every_key_in_its_table() {
    // The names of tables are keys of the tables above them; they have sections in place of terms.
    let tables: BTreeSet<&str> = keys::ALL
        .iter()
        .map(|table| table.title.trim_matches(['[', ']']).rsplit('.').next().unwrap())
        .chain(["policy"])
        .collect();
    for table in keys::ALL {
        let section = match table.title {
            "" => "TOP OF THE FILE",
            title => title.trim_matches('`'),
        };
        let expected: BTreeSet<&str> =
            table.keys.iter().copied().filter(|key| !tables.contains(key) || *key == "match").collect();
        let found = documented(section);
        assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected, "in the section {section}");
        assert_eq!(found.len(), expected.len(), "a key is there twice in {section}");
    }
}

/// Defaults are those of the example, which `the_example_file_is_the_defaults` holds against the program's.
#[test]
fn the_manual_tells_every_default() {
    let example: toml::Table = toml::from_str(EXAMPLE).unwrap();
    let policy = example["policy"].as_table().unwrap();
    let tables = [
        ("TOP OF THE FILE", &example),
        ("[schedule]", example["schedule"].as_table().unwrap()),
        ("[policy.anonymous]", policy["anonymous"].as_table().unwrap()),
        ("[policy.named]", policy["named"].as_table().unwrap()),
        ("[limits]", example["limits"].as_table().unwrap()),
        ("[containers_on_disk]", example["containers_on_disk"].as_table().unwrap()),
    ];
    for (title, table) in tables {
        let section = PAGE
            .split("\n.SH ")
            .find(|text| text.starts_with(title) || text.starts_with(&format!("\"{title}\"")));
        let section = section.unwrap_or_else(|| panic!("no section {title}"));
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let written = value.to_string().replace('"', "\\(dq").replace(' ', "\\~");
            let entry = section.split(".TP\n").find(|entry| entry.starts_with(&format!(".B {key}\n")));
            let entry = entry.unwrap_or_else(|| panic!("no {key} in {title}"));
            let told = entry.split("Default:\n.BR ").nth(1).and_then(|rest| rest.split([' ', '\n']).next());
            assert_eq!(told, Some(written.as_str()), "the default of {key} in {title}");
        }
    }
}
