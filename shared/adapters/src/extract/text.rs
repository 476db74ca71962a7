//! The text as it leaves a document: cleaned, cut into sections, bounded.

use std::collections::HashMap;

use ihelper_workflow::domain::{
    Failure,
    document::{Content, Section},
};

use super::Limits;

/// A document of more headings than this is a list; its further headings stay in the text, and the sections
/// stay few enough to be listed in a report.
const MAX_SECTIONS: usize = 10_000;

/// A heading longer than this is a paragraph in bold; a label only has to name the place. In characters.
const MAX_LABEL_CHARACTERS: usize = 120;

/// Collects the text of one document, line by line, up to the limit.
pub(super) struct Collector {
    content: Content,
    open: Option<Section>,
    blank_line_due: bool,
    characters_left: usize,
    labels: HashMap<String, usize>,
}

impl Collector {
    /// An empty document of this format.
    pub(super) fn new(format: &str, limits: &Limits) -> Self {
        Self {
            content: Content { format: format.to_owned(), sections: Vec::new(), truncated: false },
            open: None,
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
        self.open = Some(Section { label, text: String::new() });
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
            self.characters_left -= breaks.len() + characters;
        } else {
            // A break without a character behind it would only be trimmed away again.
            let room = self.characters_left.saturating_sub(breaks.len());
            if room > 0 {
                section.text.push_str(breaks);
                section.text.extend(line.chars().take(room));
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
    u64::try_from(text.saturating_add(sections)).unwrap_or(u64::MAX)
}

/// One line: single spaces, nothing invisible, ligatures spelled out so that a quotation of the word is found.
pub(super) fn clean_line(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut space_due = false;
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
        match ligature(character) {
            Some(letters) => clean.push_str(letters),
            None => clean.push(character),
        }
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

fn ligature(character: char) -> Option<&'static str> {
    Some(match character {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => return None,
    })
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
