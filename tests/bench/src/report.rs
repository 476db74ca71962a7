//! Tables of Markdown that are also read well as plain text, and the report that they stand in.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Failed,
    functions::{build, process},
};

/// Where the README shows the newest claims.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// A figure beside another one, and what it is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What was measured.
    pub of: String,
    /// The figure, with its unit.
    pub figure: String,
    /// What it stands beside, with its own figure.
    pub beside: String,
    /// The one over the other.
    pub ratio: Option<f64>,
    /// What it must keep, in words, if it must anything.
    pub limit: Option<String>,
    /// Whether it does.
    pub holds: bool,
}

/// The claims of a section, and how busy the machine was when they were measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    load: f64,
    claims: Vec<Claim>,
}

/// What is printed, and kept for people and for programs.
#[derive(Default)]
pub struct Report {
    markdown: String,
    figures: serde_json::Map<String, Value>,
    sections: BTreeMap<String, Kept>,
}

impl Report {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints a paragraph or a table, and keeps it.
    ///
    /// # Errors
    /// This returns an error when nothing can be printed.
    pub fn say(&mut self, paragraph: &str) -> io::Result<()> {
        let paragraph = format!("{}\n\n", paragraph.trim_end());
        self.markdown.push_str(&paragraph);
        let mut out = io::stdout().lock();
        out.write_all(paragraph.as_bytes())?;
        out.flush()
    }

    /// Keeps figures for programs.
    pub fn note(&mut self, name: &str, figures: Value) {
        self.figures.insert(name.to_owned(), figures);
    }

    /// Keeps what a section claims.
    pub fn claim(&mut self, section: &str, claims: Vec<Claim>) {
        self.sections.insert(section.to_owned(), Kept { load: process::load(), claims });
    }

    /// Whether everything holds that was claimed.
    pub fn holds(&self) -> bool {
        self.sections.values().flat_map(|kept| &kept.claims).all(|claim| claim.holds)
    }

    /// Prints what was claimed, and writes `bench/report.md`, `bench/report.json` and, with the claims of sections that
    /// were measured before, `bench/claims.json` into the target directory.
    ///
    /// # Errors
    /// This returns an error when something cannot be written.
    pub fn save(&mut self) -> Result<(), Failed> {
        let claims = claims(&self.sections);
        self.say("## Claims")?;
        self.say(&claims)?;
        let folder = build::reports()?;
        fs::write(folder.join("report.md"), &self.markdown)?;
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(&self.figures)?)?;
        let mut kept = kept()?;
        kept.extend(std::mem::take(&mut self.sections));
        fs::write(folder.join("claims.json"), serde_json::to_string_pretty(&kept)?)?;
        self.sections = kept;
        self.say("Kept in target/bench/report.md, report.json and claims.json.")?;
        Ok(())
    }
}

fn kept() -> Result<BTreeMap<String, Kept>, Failed> {
    match fs::read(build::reports()?.join("claims.json")) {
        Ok(kept) => Ok(serde_json::from_slice(&kept)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

/// Puts the newest claims of every section into the README.
///
/// # Errors
/// This returns an error when nothing was measured yet, or the README has no place for it.
pub fn show_in_readme() -> Result<(), Failed> {
    let kept = kept()?;
    if kept.is_empty() {
        return Err("nothing was measured yet: `make bench`".into());
    }
    let path = build::root().join("README.md");
    let readme = fs::read_to_string(&path)?;
    fs::write(&path, between_marks(&readme, &claims(&kept)).ok_or("README.md has no marks for the benchmarks")?)?;
    Ok(())
}

/// A text with another one between its marks.
fn between_marks(text: &str, inner: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", inner.trim_end()))
}

fn claims(sections: &BTreeMap<String, Kept>) -> String {
    let mut table = Table::new(["what", "figure", "beside", "ratio", "limit", "verdict"]);
    for claim in sections.values().flat_map(|kept| &kept.claims) {
        table.row([
            claim.of.clone(),
            claim.figure.clone(),
            claim.beside.clone(),
            claim.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            claim.limit.clone().unwrap_or_default(),
            match (&claim.limit, claim.holds) {
                (None, _) => "–",
                (Some(_), true) => "holds",
                (Some(_), false) => "FAILS",
            }
            .to_owned(),
        ]);
    }
    let loads = sections.values().map(|kept| kept.load);
    let (least, most) = loads.fold((f64::INFINITY, 0.0_f64), |(least, most), load| (least.min(load), most.max(load)));
    format!("{table}\nThe load of the machine meanwhile: {least:.1} to {most:.1}.")
}

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
    fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = between_marks(&text, "new\n").unwrap();
        assert_eq!(replaced, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(between_marks("no marks", "new"), None);
    }

    #[test]
    fn one_claim_that_does_not_hold_is_enough() {
        let claim = |holds| Claim {
            of: "a start".to_owned(),
            figure: "9 ms".to_owned(),
            beside: "bare, 3 ms".to_owned(),
            ratio: Some(3.0),
            limit: Some("2 ×".to_owned()),
            holds,
        };
        let mut report = Report::new();
        report.claim("one", vec![claim(true)]);
        assert!(report.holds());
        report.claim("other", vec![claim(true), claim(false)]);
        assert!(!report.holds());
        let table = claims(&report.sections);
        assert_eq!((table.matches("holds").count(), table.matches("FAILS").count()), (2, 1), "{table}");
    }

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
