//! Mistakes in a configuration file, and where they are.

use std::fmt;
use std::ops::Range;

/// One mistake, for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// What is wrong; what to write instead.
    pub message: String,
    /// The line as it is in the file. Control characters, which could play tricks on a terminal, are replaced.
    pub source_line: String,
    /// How many characters of the line, from `column` on, are meant; at least 1.
    pub width: usize,
}

/// Every mistake of a configuration file, in the order of its lines. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named to [`parse`](super::parse).
    pub file: String,
    /// The mistakes, in file order.
    pub mistakes: Vec<Mistake>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            let Mistake { line, column, message, source_line, width } = mistake;
            writeln!(out, "{}:{line}:{column}: {message}", self.file)?;
            if !source_line.is_empty() {
                // Tabs stay tabs, so that the mark stands below its text whatever their width.
                let before = source_line.chars().take(column.saturating_sub(1));
                let pad: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
                writeln!(out, "    {source_line}\n    {pad}{}", "^".repeat(*width))?;
            }
            writeln!(out)?;
        }
        match self.mistakes.len() {
            1 => write!(out, "1 mistake in {}", self.file),
            count => write!(out, "{count} mistakes in {}", self.file),
        }
    }
}

/// A place in the file: byte offsets.
pub(super) type Place = Range<usize>;

/// The text of a file, to find lines in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'s> {
    text: &'s str,
}

impl<'s> Source<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text }
    }

    /// What stands there.
    #[expect(clippy::disallowed_methods, reason = "only shows where the mistake is")]
    pub(super) fn slice(&self, place: &Place) -> &'s str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    /// The line of an offset, counted from 1. The end of a line belongs to it.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.before(offset).matches('\n').count() + 1
    }

    /// A line by its number, counted from 1.
    pub(super) fn line_text(&self, line: usize) -> &'s str {
        #[expect(clippy::disallowed_methods, reason = "only shows where the mistake is")]
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        // A byte order mark is no character of the line in any editor.
        text.trim_start_matches('\u{feff}')
    }

    /// Whether the line begins with a table's header, as `[docker]` or `[[rule]]`.
    pub(super) fn is_header(&self, line: usize) -> bool {
        self.line_text(line).trim_start().starts_with('[')
    }

    /// A mistake there.
    pub(super) fn mistake(&self, place: &Place, message: &str) -> Mistake {
        let line = self.line(place.start);
        let before = self.before(place.start);
        let in_line = before.rsplit('\n').next().unwrap_or(before).trim_start_matches('\u{feff}');
        let column = in_line.chars().count() + 1;
        let source_line = self.line_text(line);
        #[expect(clippy::disallowed_methods, reason = "only shows where the mistake is")]
        let marked = self.slice(place).lines().next().unwrap_or_default().chars().count();
        Mistake {
            line,
            column,
            message: printable(message),
            source_line: printable(source_line),
            width: marked.max(1),
        }
    }

    fn before(&self, offset: usize) -> &'s str {
        self.text.get(..offset).unwrap_or(self.text)
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
