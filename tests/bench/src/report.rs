//! Tables of Markdown that are also read well as plain text.

use std::fmt;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. What stands under the first column is words, to the left; the rest is figures.
    pub fn new<Cell: Into<String>>(header: impl IntoIterator<Item = Cell>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that it lacks are empty.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| cell.into().replace('|', "/")).collect();
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether a column holds words: one of its cells does not begin as a figure does.
    fn is_words(&self, column: usize) -> bool {
        let begins_as_figure = |cell: &String| cell.chars().next().is_none_or(|first| "0123456789.$-–".contains(first));
        column == 0 || !self.rows.iter().all(|row| begins_as_figure(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let columns: Vec<(usize, bool)> = (0..self.header.len())
            .map(|column| {
                let width = lines().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
                (width.max(3), self.is_words(column))
            })
            .collect();
        for (number, cells) in lines().enumerate() {
            for (cell, (width, is_words)) in cells.iter().zip(&columns) {
                match is_words {
                    true => write!(formatter, "| {cell:<width$} ")?,
                    false => write!(formatter, "| {cell:>width$} ")?,
                }
            }
            writeln!(formatter, "|")?;
            if number == 0 {
                for (width, is_words) in &columns {
                    let dashes = "-".repeat(width - usize::from(!is_words));
                    write!(formatter, "| {dashes}{} ", if *is_words { "" } else { ":" })?;
                }
                writeln!(formatter, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let mut table = Table::new(["run", "ms", "holds"]);
        table.row(["email", "4.2", "yes"]);
        table.row(["a|b", "12.0"]);
        let expected = "\
            | run   |   ms | holds |\n\
            | ----- | ---: | ----- |\n\
            | email |  4.2 | yes   |\n\
            | a/b   | 12.0 |       |\n";
        assert_eq!(table.to_string(), expected);
    }
}
