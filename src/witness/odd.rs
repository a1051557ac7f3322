//! Volumes whose names cannot be used: those that the engine lists, and directories that it does not.

use std::collections::BTreeMap;

use crate::gc::odd::OddVolume;
use crate::gc::volume::{ANONYMOUS_LABEL, Class, VolumeIdentity};
use crate::host::engine::wire::Listed;

/// All of them. `found` are directories among the volumes; where the engine lists one of the same text, it is that one.
pub(super) fn volumes(listed: Vec<Listed>, found: Vec<String>) -> Vec<OddVolume> {
    let mut local: BTreeMap<String, usize> = BTreeMap::new();
    for volume in listed.iter().filter(|volume| volume.driver == "local") {
        *local.entry(volume.name.clone()).or_default() += 1;
    }
    let mut odd: Vec<OddVolume> = listed.into_iter().map(of_engine).collect();
    for name in found {
        match local.get_mut(&name) {
            Some(count) if *count > 0 => *count -= 1,
            Some(_) | None => odd.push(unlisted(name)),
        }
    }
    odd
}

#[expect(clippy::disallowed_methods, reason = "null is no labels; the decoder refuses a missing field")]
fn of_engine(listed: Listed) -> OddVolume {
    let Listed { name, driver, labels, created_at, .. } = listed;
    // Go writes an empty map as null; a missing field was refused by the decoder.
    let labels = labels.unwrap_or_default();
    let class = if labels.contains_key(ANONYMOUS_LABEL) { Class::Anonymous } else { Class::Named };
    let identity =
        VolumeIdentity::Record { driver: driver.clone(), created_at: created_at.unwrap_or_default() };
    OddVolume { name, class, driver, labels, identity }
}

fn unlisted(name: String) -> OddVolume {
    let driver = "local".to_owned();
    let identity = VolumeIdentity::Record { driver: driver.clone(), created_at: String::new() };
    OddVolume { name, class: Class::Unlisted, driver, labels: BTreeMap::new(), identity }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail loudly")]

    use super::*;

    #[test]
    fn a_directory_that_the_engine_lists_is_told_once() {
        let listed = |name: &str, driver: &str| -> Listed {
            let text = format!(r#"{{"Name":"{name}","Driver":"{driver}","Scope":"local","Labels":null}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let odd = volumes(
            vec![listed("a\u{fffd}", "local"), listed("a\u{fffd}", "local"), listed("b\u{fffd}", "plugin")],
            ["a\u{fffd}", "a\u{fffd}", "a\u{fffd}", "b\u{fffd}"].map(str::to_owned).into(),
        );
        let told: Vec<(&str, Class)> = odd.iter().map(|odd| (odd.name.as_str(), odd.class)).collect();
        assert_eq!(
            told,
            [
                ("a\u{fffd}", Class::Named),
                ("a\u{fffd}", Class::Named),
                ("b\u{fffd}", Class::Named),
                ("a\u{fffd}", Class::Unlisted),
                ("b\u{fffd}", Class::Unlisted),
            ]
        );
    }
}
