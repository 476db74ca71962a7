//! The text as it leaves a document: cleaned, cut into sections, bounded.

use std::{collections::HashMap, iter};

use ihelper_workflow::domain::{
    Failure,
    document::{Content, RowMark, Section},
};

use unicode_normalization::UnicodeNormalization as _;

use super::Limits;

/// A document of more headings than this is a list; its further headings stay in the text, and the sections
/// stay few enough to be listed in a report.
const MAX_SECTIONS: usize = 10_000;

/// A heading longer than this is a paragraph in bold; a label only has to name the place. In characters.
const MAX_LABEL_CHARACTERS: usize = 120;

/// Stands between the headings of a label.
const PATH_MARK: &str = " › ";

/// Collects the text of one document, line by line, up to the limit.
pub(super) struct Collector {
    content: Content,
    open: Option<Section>,
    /// How many lines the open section has.
    lines: usize,
    /// The headings that the open section stands under, with their levels.
    headings: Vec<(u8, String)>,
    blank_line_due: bool,
    characters_left: usize,
    labels: HashMap<String, usize>,
}

impl Collector {
    /// An empty document of this format.
    pub(super) fn new(format: &str, limits: &Limits) -> Self {
        Self {
            content: Content { format: format.to_owned(), ..Content::default() },
            open: None,
            lines: 0,
            headings: Vec::new(),
            blank_line_due: false,
            characters_left: limits.max_text_characters,
            labels: HashMap::new(),
        }
    }

    /// Ends the open section and begins another. Sections that share a label are numbered from the second on.
    pub(super) fn begin_section(&mut self, label: &str) {
        if self.content.sections.len() + 1 >= MAX_SECTIONS && self.open.is_some() {
            return;
        }
        self.end_section();
        let label = clean_label(label);
        let count = self.labels.entry(label.clone()).or_insert(0);
        *count += 1;
        let label = if *count == 1 { label } else { format!("{label} ({count})") };
        self.open = Some(Section { label, ..Section::default() });
        self.lines = 0;
    }

    /// Begins a section under a heading of this level, 0 and 1 the highest: its label is the way there, from heading
    /// to heading.
    pub(super) fn begin_heading(&mut self, level: u8, heading: &str) {
        self.headings.retain(|(above, _)| *above < level);
        self.headings.push((level, clean_label(heading)));
        let mut path: Vec<&str> = self.headings.iter().map(|(_, heading)| heading.as_str()).collect();
        // The nearest headings tell most.
        let characters = |path: &[&str]| path.join(PATH_MARK).chars().count();
        let is_cut = characters(&path) > MAX_LABEL_CHARACTERS;
        while path.len() > 1 && characters(&path) + 1 + PATH_MARK.chars().count() > MAX_LABEL_CHARACTERS {
            path.remove(0);
        }
        if is_cut && path.len() > 1 {
            path.insert(0, "…");
        }
        let label = path.join(PATH_MARK);
        self.begin_section(&label);
    }

    /// Adds a line that is this row, from 1, of a table.
    pub(super) fn add_row(&mut self, row: usize, line: &str) {
        let lines = self.lines;
        let line = clean_line(line);
        if line.is_empty() {
            return;
        }
        self.add_line(&line);
        if self.lines == lines {
            return;
        }
        if let Some(section) = &mut self.open {
            let is_next = section.rows.last().is_some_and(|mark| mark.row + lines - mark.line == row);
            if !is_next {
                section.rows.push(RowMark { line: lines, row });
            }
        }
    }

    /// Says that a page shows something and has no text.
    pub(super) fn mark_without_text(&mut self, label: &str) {
        self.content.without_text.push(label.to_owned());
    }

    /// Adds text; its line ends stay, its blank lines come to one.
    pub(super) fn add_lines(&mut self, text: &str) {
        for line in lines(text) {
            self.add_line(line);
            if self.content.truncated {
                return;
            }
        }
    }

    /// Says that text was left out.
    pub(super) fn mark_truncated(&mut self) {
        self.content.truncated = true;
    }

    /// Whether the limit is reached, so that reading on is for nothing.
    pub(super) fn is_full(&self) -> bool {
        self.characters_left == 0
    }

    /// The document.
    ///
    /// # Errors
    /// This returns an error with the message of `otherwise` when there is no text.
    pub(super) fn finish(mut self, otherwise: &str) -> Result<Content, Failure> {
        self.end_section();
        if self.content.sections.is_empty() {
            return Err(Failure::validation(otherwise));
        }
        Ok(self.content)
    }

    fn add_line(&mut self, line: &str) {
        let line = clean_line(line);
        if self.open.is_none() {
            self.begin_section("beginning");
        }
        let is_full = self.is_full();
        let Some(section) = &mut self.open else { return };
        if line.is_empty() {
            self.blank_line_due = !section.text.is_empty();
            return;
        }
        if is_full {
            self.content.truncated = true;
            return;
        }
        let breaks = match (section.text.is_empty(), self.blank_line_due) {
            (true, _) => "",
            (false, false) => "\n",
            (false, true) => "\n\n",
        };
        self.blank_line_due = false;
        let characters = line.chars().count();
        if breaks.len() + characters <= self.characters_left {
            section.text.push_str(breaks);
            section.text.push_str(&line);
            self.lines += 1;
            self.characters_left -= breaks.len() + characters;
        } else {
            // A break without a character behind it would only be trimmed away again.
            let room = self.characters_left.saturating_sub(breaks.len());
            if room > 0 {
                section.text.push_str(breaks);
                section.text.extend(line.chars().take(room));
                self.lines += 1;
            }
            self.characters_left = 0;
            self.content.truncated = true;
        }
    }

    fn end_section(&mut self) {
        self.blank_line_due = false;
        if let Some(section) = self.open.take()
            && !section.text.is_empty()
        {
            self.content.sections.push(section);
        }
    }
}

/// The most bytes that the answer of one document can have as JSON: four for the widest character and for the
/// escaped ones (a quotation mark, a backslash and a line end take two), labels and punctuation besides.
pub(super) fn max_answer_bytes(limits: &Limits) -> u64 {
    let text = limits.max_text_characters.saturating_mul(4);
    let sections = MAX_SECTIONS * (MAX_LABEL_CHARACTERS * 4 + 64);
    // A row has a character and its end at least, and a mark `{"line":0000000,"row":0000000}`.
    let rows = limits.max_text_characters.saturating_mul(16);
    let pages = limits.max_pages.saturating_mul(32);
    let text = text.saturating_add(rows).saturating_add(pages);
    u64::try_from(text.saturating_add(sections)).unwrap_or(u64::MAX)
}

/// One line: single spaces, nothing invisible, letters spelled as they are typed so that a quotation is found.
pub(super) fn clean_line(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut space_due = false;
    let mut is_composed = false;
    for character in line.chars() {
        if character.is_whitespace() {
            space_due = !clean.is_empty();
            continue;
        }
        if is_invisible(character) {
            continue;
        }
        if space_due {
            clean.push(' ');
            space_due = false;
        }
        is_composed |= is_combining(character);
        if is_form(character) {
            clean.extend(iter::once(character).nfkc());
        } else {
            clean.push(character);
        }
    }
    if is_composed {
        // An accent beside its letter and the letter with its accent are the same to whoever quotes.
        return clean.nfc().collect();
    }
    clean
}

fn clean_label(label: &str) -> String {
    let line = clean_line(label);
    match line.char_indices().nth(MAX_LABEL_CHARACTERS - 1) {
        Some((end, last)) if end + last.len_utf8() < line.len() => format!("{}…", line[..end].trim_end()),
        _ => line,
    }
}

/// The lines of a text, whatever ends them. `\r\n` is one end, not two.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .flat_map(|line| line.split(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']))
}

/// Characters that no reader sees: controls, direction marks, joiners of nothing, and the tags and selectors in
/// which instructions to a model can hide. Joiners that shape letters and emoji (U+200C, U+200D, U+FE0F) stay.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Forms of letters for the eye: ligatures, the radicals that stand for Chinese characters, and how Hebrew and Arabic
/// letters look beside one another.
fn is_form(character: char) -> bool {
    matches!(
        character,
        '\u{2e80}'..='\u{2fdf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fb00}'..='\u{fb06}'
            | '\u{fb1d}'..='\u{fdcf}'
            | '\u{fdf0}'..='\u{fdff}'
            | '\u{fe70}'..='\u{fefc}'
    )
}

fn is_combining(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(limits: &Limits, text: &str) -> Content {
        let mut collector = Collector::new("text", limits);
        collector.begin_section("text");
        collector.add_lines(text);
        collector.finish("no text").unwrap()
    }

    #[test]
    fn invisible_characters_and_runs_of_white_space_do_not_reach_the_text() {
        let hidden = "Pay\u{200b}ment \u{202e}\t is\u{a0}\u{a0}due\u{7}\u{e0041}\u{e0042} \u{fb01}nally ";
        assert_eq!(clean_line(hidden), "Payment is due finally");
        let forms = "\u{2f08}\u{2f47} \u{fefb}\u{fedf}\u{fe8e} \u{fb2a}\u{fb49} cafe\u{301} \u{ff21} \u{b2}";
        assert_eq!(clean_line(forms), "人日 لالا \u{5e9}\u{5c1}\u{5e9}\u{5bc} café \u{ff21} \u{b2}");
    }

    #[test]
    fn every_kind_of_line_end_is_one_and_blank_lines_come_to_one() {
        let content = collect(&Limits::default(), "\r\n\none\r\ntwo\rthree\u{2028}four\n\n \t\n\nfive\n\n");
        assert_eq!(content.sections[0].text, "one\ntwo\nthree\nfour\n\nfive");
    }

    #[test]
    fn text_beyond_the_limit_is_cut_at_a_character_and_said_to_be() {
        for limit in 1..9 {
            let limits = Limits { max_text_characters: limit, ..Limits::default() };
            let content = collect(&limits, "zażółć\ngęś");
            assert!(content.truncated, "limit {limit}");
            assert!(content.characters() <= limit, "limit {limit}");
        }
        let limits = Limits { max_text_characters: 10, ..Limits::default() };
        assert!(!collect(&limits, "zażółć\ngęś").truncated);
    }

    #[test]
    fn labels_are_short_and_differ() {
        let mut collector = Collector::new("text", &Limits::default());
        for label in ["Terms", "Terms", &"long ".repeat(100)] {
            collector.begin_section(label);
            collector.add_lines("words");
        }
        let content = collector.finish("no text").unwrap();
        assert_eq!(content.sections[1].label, "Terms (2)");
        assert!(content.sections[2].label.chars().count() <= MAX_LABEL_CHARACTERS);
        assert!(content.sections[2].label.ends_with('…'));
    }

    #[test]
    fn a_heading_is_named_with_those_above_it() {
        let mut collector = Collector::new("text", &Limits::default());
        for (level, heading) in [(1, "Lease"), (2, "Rent"), (4, "Heat"), (2, "End"), (2, "End"), (1, "Annex")] {
            collector.begin_heading(level, heading);
            collector.add_lines("words");
        }
        collector.begin_heading(2, &"long ".repeat(23));
        collector.add_lines("words");
        let content = collector.finish("no text").unwrap();
        let labels: Vec<&str> = content.sections.iter().map(|section| section.label.as_str()).collect();
        assert_eq!(
            labels[..6],
            ["Lease", "Lease › Rent", "Lease › Rent › Heat", "Lease › End", "Lease › End (2)", "Annex"]
        );
        assert!(labels[6].starts_with("long") && labels[6].chars().count() <= MAX_LABEL_CHARACTERS, "{}", labels[6]);
    }

    #[test]
    fn a_place_in_a_table_is_a_row() {
        let mut collector = Collector::new("csv", &Limits::default());
        collector.begin_section("rows");
        for (row, line) in [(1, "a"), (2, "zażółć"), (3, " "), (7, "b"), (8, "c")] {
            collector.add_row(row, line);
        }
        let content = collector.finish("no text").unwrap();
        let section = &content.sections[0];
        assert_eq!(section.text, "a\nzażółć\n\nb\nc".replace("\n\n", "\n"));
        let row_of = |words: &str| {
            let byte = section.text.find(words).unwrap();
            section.row_at(section.text[..byte].chars().count())
        };
        assert_eq!(["a", "żółć", "b", "c"].map(row_of), [Some(1), Some(2), Some(7), Some(8)]);
        assert_eq!(section.rows.len(), 2);
    }

    #[test]
    fn a_document_of_more_headings_than_sections_loses_no_text() {
        let mut collector = Collector::new("text", &Limits::default());
        for number in 0..MAX_SECTIONS + 50 {
            collector.begin_section(&format!("h{number}"));
            collector.add_lines("x");
        }
        let content = collector.finish("no text").unwrap();
        assert_eq!(content.sections.len(), MAX_SECTIONS);
        assert_eq!(content.sections.iter().map(|section| section.text.matches('x').count()).sum::<usize>(), 10_050);
    }
}
