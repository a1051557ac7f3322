//! Typed reading of the TOML tree. Every reading notes its mistakes and goes on, so that all are reported at once.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::keys::{Table, one_of};
use super::mistake::{Mistake, Place, Source};
use super::syntax::Damage;

/// What was found for a key.
#[derive(Debug, Clone)]
pub(super) enum Given<T> {
    /// The key is not there.
    Absent,
    /// It is there and cannot be read, or a slip of its name is there. That has been noted.
    Broken,
    /// Its value, and where that is.
    Good(T, Place),
}

impl<T> Given<T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn good(&self) -> Option<(&T, &Place)> {
        match self {
            Self::Good(value, place) => Some((value, place)),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value, else `default`. After a broken one nothing is in force anyway.
    pub(super) fn or(self, default: T) -> T {
        self.or_else(|| default)
    }

    /// The value, else what `default` makes.
    pub(super) fn or_else(self, default: impl FnOnce() -> T) -> T {
        match self {
            Self::Good(value, _) => value,
            Self::Absent | Self::Broken => default(),
        }
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// What it may hold.
    pub(super) table: &'static Table,
    /// Its header, or the braces of an inline one.
    pub(super) place: Place,
    /// What it holds.
    pub(super) entries: &'t DeTable<'t>,
    /// Known keys that its unknown ones are probably slips for. They are not missing: one mistake is not told twice.
    meant: Vec<&'static str>,
}

impl Section<'_> {
    /// Whether one of the unknown keys was probably meant to be `key`.
    pub(super) fn has_slip_of(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }
}

/// Collects mistakes.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    source: Source<'s>,
    mistakes: Vec<Mistake>,
    damage: Damage,
}

impl<'s> Reader<'s> {
    /// Notes the syntax errors.
    pub(super) fn new(text: &'s str, errors: &[toml::de::Error]) -> Self {
        let source = Source::new(text);
        let mut mistakes = Vec::new();
        let damage = Damage::of(&source, errors, &mut mistakes);
        Self { source, mistakes, damage }
    }

    /// The mistakes, in file order.
    pub(super) fn into_mistakes(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        self.mistakes
    }

    /// Notes a mistake: what is wrong; what to write instead.
    pub(super) fn wrong(&mut self, place: &Place, message: &str) {
        self.mistakes.push(self.source.mistake(place, message));
    }

    /// Notes that something is missing at or below `place`, unless a syntax error may have swallowed it.
    pub(super) fn missing(&mut self, place: &Place, message: &str) {
        if self.damage.last_gap.is_none_or(|gap| gap < place.start) {
            self.wrong(place, message);
        }
    }

    /// Whether nothing of the file can have been lost to a syntax error.
    pub(super) fn is_whole(&self) -> bool {
        self.damage.last_gap.is_none()
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, place: &Place) -> usize {
        self.source.line(place.start)
    }

    /// Starts on a table: notes its unknown keys.
    pub(super) fn open<'t>(
        &mut self,
        table: &'static Table,
        place: Place,
        entries: &'t DeTable<'t>,
    ) -> Section<'t> {
        let mut meant = Vec::new();
        for key in entries.keys() {
            let name = key.get_ref();
            if table.keys.contains(&name.as_ref()) || self.is_astray(&key.span()) {
                continue;
            }
            meant.extend(table.meant(name));
            let message = format!("unknown key `{name}` {}; {}", table.within(), table.advice(name));
            self.wrong(&key.span(), &message);
        }
        Section { table, place, entries, meant }
    }

    /// A table within a table.
    pub(super) fn section<'t>(
        &mut self,
        parent: &Section<'t>,
        key: &'static str,
        table: &'static Table,
    ) -> Option<Section<'t>> {
        let Given::Good(value, place) = self.value(parent, key) else { return None };
        match value {
            DeValue::Table(entries) => return Some(self.open(table, place, entries)),
            DeValue::Array(_) if self.source.slice(&place).starts_with("[[") => {
                let title = table.title;
                let message =
                    format!("`{key}` has double brackets, but there is only one; write the header {title}");
                self.wrong(&place, &message);
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                let like = match table.title {
                    "`match`" => "in braces, as in `match = { volume = \"ci-*\" }`".to_owned(),
                    title => format!("as {title}, with its keys in the lines below"),
                };
                self.wrong(&place, &format!("`{key}` is {}, but is a table; write it {like}", kind(value)));
            }
        }
        None
    }

    /// Whatever a key has.
    pub(super) fn value<'t>(&self, section: &Section<'t>, key: &'static str) -> Given<&'t DeValue<'t>> {
        match section.entries.iter().find(|(name, _)| name.get_ref() == key) {
            Some((name, value)) if self.is_damaged(name, value) => Given::Broken,
            Some((_, value)) => Given::Good(value.get_ref(), value.span()),
            None if section.has_slip_of(key) => Given::Broken,
            None => Given::Absent,
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, section: &Section<'_>, key: &'static str) -> Given<bool> {
        self.typed(section, key, "`true` or `false`, without quotes", |value| match value {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        })
    }

    /// A text; `like` is an example of one.
    pub(super) fn text(&mut self, section: &Section<'_>, key: &'static str, like: &str) -> Given<String> {
        let instead = format!("a text in quotes, as in `{key} = \"{like}\"`");
        self.typed(section, key, &instead, |value| value.as_str().map(str::to_owned))
    }

    /// A duration such as `7d`.
    pub(super) fn duration(&mut self, section: &Section<'_>, key: &'static str) -> Given<Duration> {
        let instead = format!("a duration in quotes, as in `{key} = \"24h\"`");
        let text = self.typed(section, key, &instead, |value| value.as_str().map(str::to_owned));
        self.refine(text, |text| duration::parse(text).map_err(|error| error.to_string()))
    }

    /// A share such as `10%`, in percent.
    #[expect(clippy::disallowed_methods, reason = "what is not a number is reported as a mistake")]
    pub(super) fn percent(&mut self, section: &Section<'_>, key: &'static str) -> Given<u32> {
        let instead = format!("a percentage in quotes, as in `{key} = \"10%\"`");
        let text = self.typed(section, key, &instead, |value| value.as_str().map(str::to_owned));
        self.refine(text, |text| {
            let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100).ok_or_else(|| {
                format!("`{text}` is not a percentage; write a whole number from `0%` to `100%`")
            })
        })
    }

    /// A whole number of at least `min`.
    pub(super) fn count(&mut self, section: &Section<'_>, key: &'static str, min: u32) -> Given<u32> {
        let instead = format!("a whole number without quotes, as in `{key} = 20`");
        let digits = self.typed(section, key, &instead, |value| {
            value
                .as_integer()
                .map(|number| (number.to_string(), i128::from_str_radix(number.as_str(), number.radix())))
        });
        self.refine(digits, |(text, number)| {
            #[expect(clippy::disallowed_methods, reason = "what is not a number is reported as a mistake")]
            let number = number.as_ref().ok().and_then(|number| u32::try_from(*number).ok());
            number.filter(|number| *number >= min).ok_or_else(|| {
                format!("`{key}` cannot be {text}; write a whole number from {min} to {}", u32::MAX)
            })
        })
    }

    /// A text or a list of texts, each with its place. An empty list is a mistake.
    pub(super) fn texts(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        like: &str,
    ) -> Vec<(String, Place)> {
        let Given::Good(value, place) = self.value(section, key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            return self.item(key, like, value, place).into_iter().collect();
        };
        if items.is_empty() {
            let message =
                format!("an empty list for `{key}` matches nothing; name a value or remove the key");
            self.wrong(&place, &message);
        }
        self.items(key, like, items)
    }

    /// A list of texts, each with its place.
    pub(super) fn list(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        like: &str,
    ) -> Vec<(String, Place)> {
        match self.value(section, key) {
            Given::Absent | Given::Broken => Vec::new(),
            Given::Good(DeValue::Array(items), _) => self.items(key, like, items),
            Given::Good(other, place) => {
                let message = format!(
                    "`{key}` is {}; write a list of texts, as in `{key} = [\"{like}\"]`",
                    kind(other)
                );
                self.wrong(&place, &message);
                Vec::new()
            }
        }
    }

    fn items(
        &mut self,
        key: &'static str,
        like: &str,
        items: &[Spanned<DeValue<'_>>],
    ) -> Vec<(String, Place)> {
        items.iter().filter_map(|item| self.item(key, like, item.get_ref(), item.span())).collect()
    }

    fn item(
        &mut self,
        key: &'static str,
        like: &str,
        value: &DeValue<'_>,
        place: Place,
    ) -> Option<(String, Place)> {
        if let Some(text) = value.as_str() {
            return Some((text.to_owned(), place));
        }
        let what = kind(value);
        let message = format!(
            "a value of `{key}` is {what}; write a text in quotes, or a list of them, as in `{key} = \"{like}\"`"
        );
        self.wrong(&place, &message);
        None
    }

    /// Reads a value further; an error is the message of the mistake.
    pub(super) fn refine<A, B>(
        &mut self,
        given: Given<A>,
        read: impl FnOnce(&A) -> Result<B, String>,
    ) -> Given<B> {
        match given {
            Given::Absent => Given::Absent,
            Given::Broken => Given::Broken,
            Given::Good(value, place) => match read(&value) {
                Ok(value) => Given::Good(value, place),
                Err(message) => {
                    self.wrong(&place, &message);
                    Given::Broken
                }
            },
        }
    }

    fn typed<T>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        instead: &str,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Given<T> {
        let value = self.value(section, key);
        self.refine(value, |value| {
            read(value).ok_or_else(|| format!("`{key}` is {}; write {instead}", kind(value)))
        })
    }

    /// Whether a syntax error is in the lines of this entry, so that the tree may not have what the file says.
    fn is_damaged<K, V>(&self, key: &Spanned<K>, value: &Spanned<V>) -> bool {
        let (first, last) = (self.line(&key.span()), self.source.line(value.span().end));
        // Tables carry the place of their header; the header of a table in two parts may come before the key's.
        self.damage.lines.range(first.min(last)..=last).next().is_some()
    }

    /// Whether a key is where it is only because the header above it is damaged.
    fn is_astray(&self, key: &Place) -> bool {
        if self.damage.lines.is_empty() {
            return false;
        }
        let line = self.line(key);
        let is_header = |line: &usize| self.source.is_header(*line);
        let header = (1..=line).rev().find(is_header);
        header.is_some_and(|header| self.damage.lines.contains(&header))
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `did you mean ...? ` and the words there are.
pub(super) fn unknown_word(what: &str, text: &str, known: &[&'static str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    let all = one_of(&quoted);
    match super::keys::nearest(text, known) {
        Some(word) => format!("`{text}` is not {what}; did you mean \"{word}\"? Write {all}"),
        None => format!("`{text}` is not {what}; write {all}"),
    }
}
