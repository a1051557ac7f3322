//! Rows of text in aligned columns without borders, as the Docker CLI prints them.
//!
//! A host may have tens of thousands of volumes, so this is one pass over the cells. What a table library does beyond it costs
//! more time than asking the engine.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

/// Between two columns.
const GAP: &str = "  ";

/// A table of `N` columns. What goes into it has to be [`safe`](super::text::safe) already.
#[derive(Debug, Clone)]
pub struct Columns<'a, const N: usize> {
    right: Option<usize>,
    rows: Vec<[Cow<'a, str>; N]>,
}

impl<'a, const N: usize> Columns<'a, N> {
    /// A table with its header alone.
    pub fn new(header: [&'a str; N]) -> Self {
        Self { right: None, rows: vec![header.map(Cow::Borrowed)] }
    }

    /// The same with one column, counted from 0, of numbers: aligned to the right.
    #[must_use]
    pub fn numbers_in(self, column: usize) -> Self {
        Self { right: Some(column), ..self }
    }

    /// Adds a row.
    pub fn add(&mut self, row: [Cow<'a, str>; N]) {
        self.rows.push(row);
    }

    /// Adds rows.
    pub fn add_all(&mut self, mut rows: Vec<[Cow<'a, str>; N]>) {
        self.rows.append(&mut rows);
    }

    /// The whole table. No line ends in blanks.
    pub fn text(&self) -> String {
        let widths: Vec<[usize; N]> =
            self.rows.iter().map(|row| row.each_ref().map(|cell| width(cell))).collect();
        let widest = widths.iter().fold([0; N], |mut widest, row| {
            for (most, width) in widest.iter_mut().zip(row) {
                *most = (*most).max(*width);
            }
            widest
        });
        let line = widest.iter().sum::<usize>() + N * GAP.len();
        let mut text = String::with_capacity(self.rows.len() * line);
        for (row, widths) in self.rows.iter().zip(&widths) {
            for (column, ((cell, width), widest)) in row.iter().zip(widths).zip(&widest).enumerate() {
                let blanks = widest - width;
                let before = if self.right == Some(column) { blanks } else { 0 };
                text.extend(std::iter::repeat_n(' ', before));
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', blanks - before));
                text.push_str(GAP);
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// How many places of a terminal a cell takes. Nearly every one is ASCII, without controls.
fn width(cell: &str) -> usize {
    if cell.is_ascii() { cell.len() } else { cell.width() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(["NAME", "SIZE", "WHY"]).numbers_in(1);
        columns.add(["größe-日本".into(), "1.0 kB".into(), "".into()]);
        columns.add(["a".into(), "-".into(), "held by a b".into()]);
        let lines = ["NAME          SIZE  WHY", "größe-日本  1.0 kB", "a                -  held by a b", ""];
        assert_eq!(columns.text(), lines.join("\n"));
    }
}
