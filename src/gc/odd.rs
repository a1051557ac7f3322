//! Volumes with a name that volgc cannot use. A plugin's volume may be called `docs/`; a directory may have a name that is no text,
//! and of such a name the engine's JSON shows only which bytes of it are. Nothing proves which volume that is, so it is shown and kept
//! (I2), and everything else goes on (I14).

use std::collections::BTreeMap;

use super::verdict::{Reason, Verdict};
use super::volume::{Class, VolumeIdentity, VolumeName};

/// What stands in JSON for bytes that are no text.
const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

/// The longest name of a file, in bytes.
const LONGEST: usize = 255;

/// One such volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OddVolume {
    /// Its name as far as it is known. Two volumes may share one.
    pub name: String,
    /// Anonymous or named, or not listed at all.
    pub class: Class,
    /// The volume driver.
    pub driver: String,
    /// The labels the engine shows.
    pub labels: BTreeMap<String, String>,
    /// What the engine says of it.
    pub identity: VolumeIdentity,
}

impl OddVolume {
    /// Kept, and why.
    pub fn verdict(&self) -> Verdict {
        let why = if self.name.contains(NO_TEXT) {
            "its name is no text"
        } else if self.name.len() > LONGEST {
            "its name is too long for a directory"
        } else {
            "its name is none that a directory can have"
        };
        Verdict::keep(
            Reason::OddName,
            format!("{why}: volgc cannot tell which volume it is, and leaves it alone"),
        )
    }
}

/// The name of a volume, as the engine or a directory shows it, when it can be used.
#[expect(clippy::disallowed_methods, reason = "what is no volume's name is odd, and kept")]
pub fn usable(shown: &str) -> Option<VolumeName> {
    if shown.contains(NO_TEXT) { None } else { VolumeName::new(shown).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_used_only_when_it_says_which_directory_it_is() {
        for good in ["db", "größe", " ", "\u{1b}"] {
            assert!(usable(good).is_some(), "{good:?}");
        }
        for odd in ["docs/", "a/b", "..", "", "not\u{fffd}text", &"x".repeat(256), "a\0b"] {
            assert!(usable(odd).is_none(), "{odd:?}");
        }
    }
}
