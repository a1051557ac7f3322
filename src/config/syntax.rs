//! Syntax errors, and what may be believed of the tree that is left.

use std::collections::BTreeSet;

use super::mistake::{Mistake, Place, Source};

/// Where the text is not TOML. The parser goes on behind each error, so the tree holds all the rest.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// The lines with a syntax error, counted from 1.
    pub(super) lines: BTreeSet<usize>,
    /// The offset of the last error by which the tree may lack things that are in the file.
    pub(super) last_gap: Option<usize>,
}

impl Damage {
    /// Notes one mistake for each line, as the second and third errors are mostly consequences of the first.
    pub(super) fn of(source: &Source<'_>, errors: &[toml::de::Error], mistakes: &mut Vec<Mistake>) -> Self {
        let mut damage = Self::default();
        let mut found: Vec<(Place, &str)> =
            errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
        found.sort_by_key(|(place, _)| place.start);
        let mut echo = "";
        for (place, message) in found {
            let line = source.line(place.start);
            if !is_lossless(message, source.is_header(line)) {
                damage.last_gap = Some(place.start);
            }
            let is_new = damage.lines.insert(line);
            // A list that is not closed takes every line below for another of its items.
            let is_echo = message == echo;
            echo = if message.starts_with("missing comma") { message } else { echo };
            if is_new && !is_echo {
                mistakes.push(source.mistake(&place, &said(source, &place, message)));
            }
        }
        damage
    }
}

/// Whether the tree has all that the file has, in spite of this error. One not known here may have swallowed anything.
fn is_lossless(message: &str, in_header: bool) -> bool {
    is_bare_word(message) || (is_duplicate(message) && !in_header)
}

/// What the parser says of a value that is a word without quotes, which it takes for a text, or nothing.
fn is_bare_word(message: &str) -> bool {
    message.starts_with("string values must be quoted")
}

fn is_duplicate(message: &str) -> bool {
    message == "duplicate key"
}

fn said(source: &Source<'_>, place: &Place, message: &str) -> String {
    let slice = source.slice(place);
    if is_duplicate(message) {
        return match source.is_header(source.line(place.start)) {
            true if slice == "rule" => {
                "there are several rules; write the header of each as [[rule]]".to_owned()
            }
            true => format!("the table `{slice}` is there twice; join the two"),
            false => format!("`{slice}` is there twice in this table; remove one of the two"),
        };
    }
    if is_bare_word(message) {
        // Word processors make these of quotes.
        let word = slice.trim_matches(['“', '”', '„', '‘', '’']);
        return match word.to_lowercase().as_str() {
            "" => "the value is missing; write one after the `=`, or remove the line".to_owned(),
            "yes" | "on" => format!("`{word}` is not a value; write `true`"),
            "no" | "off" => format!("`{word}` is not a value; write `false`"),
            _ => format!("`{slice}` is not a value; write texts and durations in quotes, as in \"{word}\""),
        };
    }
    match message.split_once(", expected ") {
        // The line before may be where the bracket is missing; the parser sees it here.
        Some((problem, "`,`")) => {
            format!("not valid TOML: {problem}; expected here: `,`, or `]` or `}}` at the end above")
        }
        Some((problem, "nothing")) => format!("not valid TOML: {problem}; remove it"),
        Some((problem, expected)) => format!("not valid TOML: {problem}; expected here: {expected}"),
        None => format!("not valid TOML: {message}; correct or remove the line"),
    }
}
