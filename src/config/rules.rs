//! Rules and their conditions.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher, GlobSet};
use toml::de::DeValue;

use super::keys;
use super::mistake::Place;
use super::policy::{Graces, Said, both, not_kept};
use super::reader::{Given, Reader, Section, kind, unknown_word};
use crate::gc::policy::{Disposition, LabelMatch, Match, Rule};
use crate::gc::volume::Class;

/// In bytes. Names have at most 255.
const LONGEST_PATTERN: usize = 1_000;

/// All rules, in their order.
pub(super) fn read(reader: &mut Reader<'_>, top: &Section<'_>, graces: &Graces) -> Vec<Rule> {
    let Given::Good(value, place) = reader.value(top, "rule") else { return Vec::new() };
    let DeValue::Array(items) = value else {
        let what = kind(value);
        let message = format!("`rule` is {what}, but there can be several; write the header [[rule]]");
        reader.wrong(&place, &message);
        return Vec::new();
    };
    let mut lines = BTreeMap::new();
    let mut rules = Vec::new();
    for item in items {
        let DeValue::Table(entries) = item.get_ref() else {
            let what = kind(item.get_ref());
            let message = format!("a rule is a table, not {what}; write it below a header [[rule]]");
            reader.wrong(&item.span(), &message);
            continue;
        };
        let section = reader.open(&keys::RULE, item.span(), entries);
        rules.extend(rule(reader, &section, graces, &mut lines));
    }
    rules
}

/// One rule; `lines` are the lines of the names so far.
fn rule(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    graces: &Graces,
    lines: &mut BTreeMap<String, usize>,
) -> Option<Rule> {
    let name = reader.text(section, "name", "ci");
    if name.is_absent() {
        reader.missing(&section.place, "the rule has no name; write one, as in `name = \"ci\"`");
    }
    let name = reader.refine(name, |name| {
        if name.trim().is_empty() || name.contains(char::is_control) {
            return Err("a rule's name is shown wherever it decides; write a word or two".to_owned());
        }
        Ok(name.clone())
    });
    if let Some((name, place)) = name.good() {
        let line = reader.line(place);
        if let Some(first) = lines.get(name) {
            let message =
                format!("the name `{name}` is taken by the rule in line {first}; give each rule its own");
            reader.wrong(place, &message);
        } else {
            lines.insert(name.clone(), line);
        }
    }
    let conditions = conditions(reader, section);
    let disposition = match graces.said(reader, section) {
        Said::Keep => Some(Disposition::Keep),
        Said::Collect { quarantine_after, delete_after } => {
            both(reader, section, quarantine_after, delete_after)
        }
        Said::NotKeep(place) => {
            not_kept(reader, &place);
            None
        }
        Said::Mistaken => None,
        Said::Nothing => {
            // A slip of one of the keys has been noted.
            let slips = ["quarantine_after", "delete_after", "keep"];
            if !slips.into_iter().any(|key| section.has_slip_of(key)) {
                let message =
                    "the rule decides nothing; write `keep = true`, or `quarantine_after` and `delete_after`";
                reader.missing(&section.place, message);
            }
            None
        }
    };
    let in_place = in_place(reader, section, disposition);
    let Given::Good(name, _) = name else { return None };
    Some(Rule { name, conditions: conditions?, disposition: disposition?, in_place })
}

/// Whether volumes that cannot be moved are quarantined in place. Where the rule keeps them, that would be a contradiction.
fn in_place(reader: &mut Reader<'_>, section: &Section<'_>, disposition: Option<Disposition>) -> bool {
    match (reader.boolean(section, "in_place"), disposition) {
        (Given::Good(true, place), Some(Disposition::Keep)) => {
            let message = "`keep = true` and `in_place` exclude one another; remove one of them";
            reader.wrong(&place, message);
            false
        }
        (Given::Good(in_place, _), Some(Disposition::Keep | Disposition::Collect { .. }) | None) => in_place,
        (Given::Absent | Given::Broken, _) => false,
    }
}

fn conditions(reader: &mut Reader<'_>, rule: &Section<'_>) -> Option<Match> {
    if reader.value(rule, "match").is_absent() {
        let message = "the rule matches nothing; write conditions, as in `match = { volume = \"ci-*\" }`";
        reader.missing(&rule.place, message);
        return None;
    }
    let section = reader.section(rule, "match", &keys::MATCH)?;
    if section.entries.is_empty() {
        let known = section.table.keys.join(", ");
        let message = format!("an empty `match` matches nothing; name at least one of {known}");
        reader.missing(&section.place, &message);
    }
    let volume = reader.texts(&section, "volume", "ci-*");
    let label = reader.texts(&section, "label", "com.example.ci=nightly-*");
    let compose_project = reader.texts(&section, "compose_project", "shop-*");
    let class = reader.texts(&section, "class", "anonymous");
    Some(Match {
        volume: each(reader, volume, volume_glob),
        label: each(reader, label, label_match),
        compose_project: each(reader, compose_project, |text| glob("compose_project", text)),
        class: each(reader, class, self::class),
    })
}

/// Reads every text; the errors are noted at their places.
pub(super) fn each<T>(
    reader: &mut Reader<'_>,
    texts: Vec<(String, Place)>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut values = Vec::new();
    for (text, place) in texts {
        match read(&text) {
            Ok(value) => values.push(value),
            Err(message) => reader.wrong(&place, &message),
        }
    }
    values
}

/// A pattern that could never match is refused: in a rule that keeps, it would protect nothing and nobody would see.
fn volume_glob(text: &str) -> Result<GlobMatcher, String> {
    if text.contains('/') {
        return Err(format!(
            "`{text}` is a path, and `volume` is held against names; write a pattern such as `ci-*`"
        ));
    }
    glob("volume", text)
}

pub(super) fn glob(key: &str, text: &str) -> Result<GlobMatcher, String> {
    if text.trim() != text || text.is_empty() {
        return Err(format!("`{key}` is empty or has blanks around it; write a pattern such as `ci-*`"));
    }
    pattern(text)
}

fn pattern(text: &str) -> Result<GlobMatcher, String> {
    let problem = |error: globset::Error| {
        format!(
            "`{text}` is not a pattern: {}; write `*` for any text, `?` for one character, [a-z] or {{a,b}}",
            error.kind()
        )
    };
    if text.len() > LONGEST_PATTERN {
        return Err(format!("a pattern has {} bytes; write at most {LONGEST_PATTERN}", text.len()));
    }
    let glob = Glob::new(text).map_err(problem)?;
    // The matcher's own compilation panics where a set's gives an error, as for braces within braces 300 deep.
    GlobSet::new([glob.clone()]).map_err(problem)?;
    Ok(glob.compile_matcher())
}

pub(super) fn label_match(text: &str) -> Result<LabelMatch, String> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    if key.is_empty() {
        return Err(format!("the label `{text}` has no key; write `key` or `key=value`"));
    }
    if key.trim() != key || value.is_some_and(|value| value.trim() != value) {
        return Err(format!(
            "the label `{text}` has blanks around its key or value; write `key=value` without"
        ));
    }
    if key.contains(['*', '?']) {
        return Err(format!(
            "`{key}` has a wildcard, but keys of labels are compared exactly; write the whole key"
        ));
    }
    // `key=` is a label with an empty value, which there is.
    let value = value.map(pattern).transpose()?;
    Ok(LabelMatch { key: key.to_owned(), value })
}

fn class(word: &str) -> Result<Class, String> {
    let classes = [Class::Anonymous, Class::Named, Class::Unlisted];
    let known = classes.into_iter().find(|class| class.word() == word);
    known.ok_or_else(|| unknown_word("a class", word, &classes.map(Class::word)))
}
