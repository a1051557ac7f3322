//! Containers that only pass by.

use std::collections::BTreeMap;

use super::*;
use crate::gc::passing::{Traits, only_passes};

#[test]
fn they_are_known_by_label_image_and_name() {
    let text = "[[passing]]\nlabel = \"role=backup\"\n[[passing]]\nimage = [\"restic/*\", \"borg\"]\ncontainer = \"nightly-?\"\n";
    let passing = good(text).policy.passing;
    let labels = BTreeMap::from([("role".to_owned(), "backup".to_owned())]);
    let none = BTreeMap::new();
    let passes =
        |image, name, labels| only_passes(&passing, Traits { image: Some(image), name: Some(name), labels });
    assert!(passes("anything", "any", &labels));
    assert!(passes("restic/restic:0.17", "nightly-1", &none) && passes("borg", "nightly-2", &none));
    assert!(!passes("restic/restic:0.17", "web", &none) && !passes("postgres", "nightly-1", &none));
}

#[test]
fn what_would_take_none_or_all_is_a_mistake() {
    all_say(&[
        (
            "[[passing]]\n",
            &["1:1: an empty [[passing]] matches no container; name at least one of image, label, container"],
        ),
        (
            "[[passing]]\nimage = \"**\"\n",
            &[
                "2:9: `image = \"**\"` matches every container, so that no use of a volume would count; name those that only pass by",
            ],
        ),
        (
            "[[passing]]\nimage = []\n",
            &["2:9: an empty list for `image` matches nothing; name a value or remove the key"],
        ),
        (
            "passing = \"backup\"\n",
            &["1:11: `passing` is a text, but there can be several; write the header [[passing]]"],
        ),
        (
            "[[passing]]\nname = \"x\"\n",
            &[
                "1:1: an empty [[passing]] matches no container; name at least one of image, label, container",
                "2:1: unknown key `name` in [[passing]]; it belongs in [[rule]]",
            ],
        ),
        (
            "[limits]\npassing = 1\n",
            &["2:1: unknown key `passing` in [limits]; write each of them under a [[passing]] of its own"],
        ),
    ]);
}
