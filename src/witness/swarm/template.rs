//! What a mount source of a service can become.
//!
//! Sources may be Go templates, which each task's own node fills in. What they become is not known here, so each is read as a
//! pattern that matches at least everything it can become: too much held is harmless, too little is not (I1).

use std::path::PathBuf;

use globset::{GlobBuilder, GlobMatcher};

/// The words that make text of a template appear or not: from the first of them on, nothing is known.
const CONTROL: [&str; 10] =
    ["if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"];

/// What a trim marker takes away (`text/template`), which is less than what Unicode calls white space.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These letters.
    Text(String),
    /// One word without a slash.
    Word,
    /// Anything at all.
    Anything,
}

/// A mount source or option value, as a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

/// Where a source leads, read as a host path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lead {
    /// To this path.
    Path(PathBuf),
    /// Below this directory, where the name of the next step begins with this text.
    Below(PathBuf, String),
    /// It may be any path.
    Anywhere,
    /// To no host path.
    Nowhere,
}

impl Template {
    /// Reads a source. A service cannot be renamed, so its name, where it is known, is text like any other.
    pub(super) fn parse(source: &str, service: Option<&str>) -> Self {
        let mut template = Self { parts: Vec::new() };
        let mut rest = source;
        while let Some((text, after)) = rest.split_once("{{") {
            let Some((action, after)) = split_action(after) else {
                // The engine would have refused it.
                template.push(Part::Text(text.trim_end_matches(BLANKS).to_owned()));
                template.push(Part::Anything);
                return template;
            };
            let (action, trims) = without_trim_markers(action);
            template
                .push(Part::Text(if trims.before { text.trim_end_matches(BLANKS) } else { text }.to_owned()));
            let Some(part) = part_of(action, service) else {
                template.push(Part::Anything);
                return template;
            };
            template.push(part);
            rest = if trims.after { after.trim_start_matches(BLANKS) } else { after };
        }
        template.push(Part::Text(rest.to_owned()));
        template
    }

    fn push(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (_, Part::Text(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            // Two wildcards in a row are as one: the wider of them.
            (Some(Part::Word | Part::Anything), Part::Word) | (Some(Part::Anything), Part::Anything) => {}
            (Some(last @ Part::Word), Part::Anything) => *last = Part::Anything,
            (_, part) => self.parts.push(part),
        }
    }

    /// Whether there is nothing in it: an anonymous volume.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The text, when there is nothing else in it.
    pub(super) fn text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// A matcher over volume names.
    pub(super) fn names(&self) -> Result<GlobMatcher, globset::Error> {
        let mut pattern = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => pattern.push_str(&globset::escape(text)),
                Part::Word | Part::Anything => pattern.push('*'),
            }
        }
        // A backslash is text too, which `escape` leaves as it is.
        Ok(GlobBuilder::new(&pattern).backslash_escape(false).build()?.compile_matcher())
    }

    /// Where it leads, read as a host path. The engine refuses one that does not begin with a slash.
    pub(super) fn lead(&self) -> Lead {
        let text = match self.parts.first() {
            Some(Part::Text(text)) if text.starts_with('/') => text,
            Some(Part::Anything) => return Lead::Anywhere,
            Some(Part::Text(_) | Part::Word) | None => return Lead::Nowhere,
        };
        if self.parts.len() == 1 {
            return Lead::Path(PathBuf::from(text));
        }
        let climbs = self.parts.iter().any(|part| match part {
            Part::Text(text) => text.contains(".."),
            Part::Word | Part::Anything => false,
        });
        match text.rsplit_once('/') {
            Some((directory, begins)) if !climbs => {
                Lead::Below(PathBuf::from(format!("{directory}/")), begins.to_owned())
            }
            Some(_) | None => Lead::Anywhere,
        }
    }
}

/// The host paths in the value of a driver option, as the local driver reads them: `/x`, `o=lowerdir=/a:/b,upperdir=/c`.
pub(super) fn option_leads(value: &str, service: Option<&str>) -> impl Iterator<Item = Lead> {
    value.split([',', '=', ':']).map(move |part| Template::parse(part, service).lead())
}

/// The action up to its end, and what follows. Braces in quotes and comments do not end it.
fn split_action(text: &str) -> Option<(&str, &str)> {
    let mut searched = 0;
    if text.trim_start_matches(['-', ' ', '\t', '\r', '\n']).starts_with("/*") {
        searched = text.find("*/")?;
    }
    let mut quote = None;
    let mut is_escaped = false;
    let mut previous = ' ';
    for (at, letter) in text.char_indices().skip_while(|(at, _)| *at < searched) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some('"' | '\'') if letter == '\\' => is_escaped = true,
            Some(open) if letter == open => quote = None,
            None if matches!(letter, '"' | '\'' | '`') => quote = Some(letter),
            None if letter == '}' && previous == '}' => {
                return Some((text.get(..at - 1)?, text.get(at + 1..)?));
            }
            Some(_) | None => {}
        }
        previous = if quote.is_some() { ' ' } else { letter };
    }
    None
}

/// Whether the white space next to an action goes (`{{- x -}}`).
struct Trims {
    before: bool,
    after: bool,
}

fn without_trim_markers(action: &str) -> (&str, Trims) {
    let first = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
    let inner = first.unwrap_or(action);
    let last = inner.strip_suffix('-').filter(|rest| rest.ends_with(char::is_whitespace));
    (last.unwrap_or(inner).trim(), Trims { before: first.is_some(), after: last.is_some() })
}

/// What an action becomes; none when it decides about the text that follows it.
fn part_of(action: &str, service: Option<&str>) -> Option<Part> {
    let mut words = action.split(|letter: char| !letter.is_ascii_alphanumeric());
    if words.any(|word| CONTROL.contains(&word)) {
        return None;
    }
    Some(match (action, service) {
        (".Service.Name", Some(name)) => Part::Text(name.to_owned()),
        (
            ".Service.Name" | ".Service.ID" | ".Node.ID" | ".Node.Hostname" | ".Task.ID" | ".Task.Name"
            | ".Task.Slot",
            _,
        ) => Part::Word,
        _ => Part::Anything,
    })
}
