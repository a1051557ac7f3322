//! Containers that only pass by.

use globset::GlobMatcher;
use toml::de::DeValue;

use super::keys;
use super::reader::{Given, Reader, Section, kind};
use super::rules::{each, glob, label_match};
use crate::gc::passing::Passing;

/// All of them, in their order.
pub(super) fn read(reader: &mut Reader<'_>, top: &Section<'_>) -> Vec<Passing> {
    let Given::Good(value, place) = reader.value(top, "passing") else { return Vec::new() };
    let DeValue::Array(items) = value else {
        let what = kind(value);
        let message = format!("`passing` is {what}, but there can be several; write the header [[passing]]");
        reader.wrong(&place, &message);
        return Vec::new();
    };
    let mut all = Vec::new();
    for item in items {
        let DeValue::Table(entries) = item.get_ref() else {
            let what = kind(item.get_ref());
            let message = format!("it is a table, not {what}; write it below a header [[passing]]");
            reader.wrong(&item.span(), &message);
            continue;
        };
        let section = reader.open(&keys::PASSING, item.span(), entries);
        all.push(one(reader, &section));
    }
    all
}

fn one(reader: &mut Reader<'_>, section: &Section<'_>) -> Passing {
    let known = section.table.keys;
    if !known.iter().any(|key| !reader.value(section, key).is_absent()) {
        let message =
            format!("an empty [[passing]] matches no container; name at least one of {}", known.join(", "));
        reader.missing(&section.place, &message);
    }
    let image = reader.texts(section, "image", "restic/*");
    let label = reader.texts(section, "label", "com.example.role=backup");
    let container = reader.texts(section, "container", "backup-*");
    Passing {
        image: each(reader, image, |text| some("image", text)),
        label: each(reader, label, label_match),
        container: each(reader, container, |text| some("container", text)),
    }
}

/// A pattern that takes some. One that takes every container would leave no use of a volume that counts.
fn some(key: &str, text: &str) -> Result<GlobMatcher, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
        return Err(format!(
            "`{key} = \"{text}\"` matches every container, so that no use of a volume would count; name those that only pass by"
        ));
    }
    glob(key, text)
}
