//! Stable words as people read them. JSON, the ledger and logs have `unloaded_container`; a table or a message never does.

use std::borrow::Cow;

/// The word with blanks for its underscores.
pub fn spoken(word: &'static str) -> Cow<'static, str> {
    if word.contains('_') { Cow::Owned(word.replace('_', " ")) } else { Cow::Borrowed(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_underscore_is_left() {
        assert_eq!(spoken("in_place_in_doubt"), "in place in doubt");
        assert_eq!(spoken("held"), "held");
    }
}
