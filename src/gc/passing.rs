//! Containers that only pass by, as a backup that mounts every volume each night. They hold a volume while they exist, in any state (I1),
//! but they are no use of it: its clock stands meanwhile, and does not begin anew.

use std::collections::BTreeMap;

use globset::GlobMatcher;

use super::policy::LabelMatch;

/// Which containers only pass by. All conditions that are given must hold; within one, any of its values.
#[derive(Debug, Clone, Default)]
pub struct Passing {
    /// Globs on the image, as it is written where the container is made.
    pub image: Vec<GlobMatcher>,
    /// Conditions on the container's labels.
    pub label: Vec<LabelMatch>,
    /// Globs on the container's name.
    pub container: Vec<GlobMatcher>,
}

/// What is known of a container.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// Its image; none when that is not known.
    pub image: Option<&'a str>,
    /// Its name.
    pub name: Option<&'a str>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl Passing {
    /// Whether a container meets every given condition. What is not known of it meets none (I2).
    pub fn matches(&self, traits: Traits<'_>) -> bool {
        let fits = |globs: &[GlobMatcher], text: Option<&str>| {
            text.is_some_and(|text| globs.iter().any(|glob| glob.is_match(text)))
        };
        let conditions = [
            (!self.image.is_empty(), fits(&self.image, traits.image)),
            (!self.label.is_empty(), self.label.iter().any(|label| label.is_on(traits.labels))),
            (!self.container.is_empty(), fits(&self.container, traits.name)),
        ];
        conditions.iter().any(|(given, _)| *given) && conditions.iter().all(|(given, met)| !given || *met)
    }
}

/// Whether a container only passes by, by any of these.
pub fn only_passes(passing: &[Passing], traits: Traits<'_>) -> bool {
    passing.iter().any(|one| one.matches(traits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<GlobMatcher> {
        texts.iter().map(|text| globset::Glob::new(text).unwrap().compile_matcher()).collect()
    }

    #[test]
    fn all_conditions_must_hold_and_what_is_not_known_meets_none() {
        let labels = BTreeMap::from([("role".to_owned(), "backup".to_owned())]);
        let of = |image, name| Traits { image, name, labels: &labels };
        let role = |value: &str| LabelMatch { key: "role".to_owned(), value: globs(&[value]).pop() };
        let both = Passing {
            image: globs(&["restic/*", "borg"]),
            label: vec![role("back*")],
            container: Vec::new(),
        };
        assert!(both.matches(of(Some("restic/restic:0.17"), None)));
        assert!(both.matches(of(Some("borg"), Some("any"))));
        assert!(!both.matches(of(Some("postgres"), None)));
        assert!(!both.matches(of(None, Some("restic/restic"))));
        let other = Passing { label: vec![role("web")], ..both.clone() };
        assert!(!other.matches(of(Some("borg"), None)));
        let named = Passing { container: globs(&["nightly-*"]), ..Passing::default() };
        assert!(named.matches(of(None, Some("nightly-7"))));
        assert!(!named.matches(of(Some("nightly-7"), None)));
        assert!(!Passing::default().matches(of(Some("borg"), Some("nightly-7"))));
        assert!(only_passes(&[other, named], of(None, Some("nightly-7"))));
    }
}
