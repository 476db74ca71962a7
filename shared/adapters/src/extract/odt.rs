//! ODT: paragraphs, headings, lists, tables and notes of an OpenDocument text, in the order of the document.

use std::{collections::HashSet, mem};

use ihelper_workflow::domain::{Failure, document::Content};
use quick_xml::{
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

use super::{
    Limits,
    archive::{Package, attribute},
    corrupt, encrypted,
    text::{Collector, clean_line},
};

/// The part with the text.
const CONTENT: &str = "content.xml";

/// Elements that are not part of the text as it stands: comments, what was deleted, and numbers of notes.
const SKIPPED: [&str; 4] = ["annotation", "tracked-changes", "note-citation", "sequence-decls"];

/// Reads an ODT.
///
/// # Errors
/// This returns an error when it is encrypted or damaged, unpacks to too much, or has no text.
pub(super) fn read(mut package: Package<'_>, limits: &Limits) -> Result<Content, Failure> {
    if is_encrypted(&mut package)? {
        return Err(encrypted());
    }
    let mut story = Story::new(Collector::new("odt", limits));
    for part in ["styles.xml", CONTENT] {
        if part == CONTENT || package.has_part(part) {
            story.is_content = part == CONTENT;
            package.read_part(part, |event| story.on_event(event))?;
        }
    }
    if !story.notes.is_empty() {
        story.collector.begin_section("footnotes");
        for note in &story.notes {
            story.collector.add_lines(note);
        }
    }
    story.collector.finish("the document has no text")
}

fn is_encrypted(package: &mut Package<'_>) -> Result<bool, Failure> {
    const MANIFEST: &str = "META-INF/manifest.xml";
    let mut found = false;
    if package.has_part(MANIFEST) {
        package.read_part(MANIFEST, |event| {
            if let Event::Start(element) | Event::Empty(element) = event {
                found |= element.local_name().as_ref() == "encryption-data";
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// What is open at one place of the text. Notes and boxes put paragraphs into paragraphs, so each is a stack.
struct Story {
    collector: Collector,
    is_content: bool,
    /// Styles whose text is not shown, and the one that is being read.
    hidden_styles: HashSet<String>,
    style: Option<String>,
    paragraphs: Vec<Paragraph>,
    tables: Vec<Table>,
    /// For each open run of text, whether it is hidden.
    spans: Vec<bool>,
    lists: usize,
    notes: Vec<String>,
    open_notes: usize,
    /// How many elements deep a part that is not read is open.
    skipped: usize,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    level: Option<u8>,
    is_hidden: bool,
}

#[derive(Default)]
struct Table {
    row: Vec<String>,
    cell: String,
}

impl Story {
    fn new(collector: Collector) -> Self {
        Self {
            collector,
            is_content: false,
            hidden_styles: HashSet::new(),
            style: None,
            paragraphs: Vec::new(),
            tables: Vec::new(),
            spans: Vec::new(),
            lists: 0,
            notes: Vec::new(),
            open_notes: 0,
            skipped: 0,
        }
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        if self.collector.is_full() {
            self.collector.mark_truncated();
            return Ok(());
        }
        match event {
            Event::Start(element) => {
                if self.skipped > 0 || SKIPPED.contains(&element.local_name().as_ref()) {
                    self.skipped += 1;
                } else {
                    self.on_start(element);
                }
            }
            Event::Empty(element) if self.skipped == 0 => {
                self.on_start(element);
                self.on_end(element.local_name().as_ref());
            }
            Event::End(_) if self.skipped > 0 => self.skipped -= 1,
            Event::End(element) => self.on_end(element.local_name().as_ref()),
            Event::Text(text) if self.skipped == 0 => self.push(&text.xml10_content()),
            Event::CData(text) if self.skipped == 0 => self.push(&text.xml10_content()),
            Event::GeneralRef(reference) if self.skipped == 0 => match reference.resolve_char_ref() {
                Ok(Some(character)) => self.push(character.encode_utf8(&mut [0; 4])),
                Ok(None) => self.push(resolve_predefined_entity(reference).unwrap_or_default()),
                Err(_) => return Err(corrupt("it refers to a character that does not exist")),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_start(&mut self, element: &BytesStart<'_>) {
        let name = element.local_name();
        match name.as_ref() {
            "style" => self.style = attribute(element, "name"),
            "text-properties" if attribute(element, "display").is_some_and(|display| display == "none") => {
                self.hidden_styles.extend(self.style.clone());
            }
            _ if !self.is_content => {}
            "p" | "h" => {
                let level = (name.as_ref() == "h")
                    .then(|| attribute(element, "outline-level").and_then(|level| level.parse().ok()).unwrap_or(1));
                self.paragraphs.push(Paragraph { level, is_hidden: self.is_hidden(element), ..Paragraph::default() });
            }
            "span" => self.spans.push(self.is_hidden(element)),
            "hidden-text" | "hidden-paragraph" => self.spans.push(true),
            "s" | "tab" => self.push(" "),
            "line-break" => self.push("\n"),
            "list" => self.lists += 1,
            "note" => self.open_notes += 1,
            "table" => self.tables.push(Table::default()),
            _ => {}
        }
    }

    fn on_end(&mut self, name: &str) {
        if !self.is_content {
            return;
        }
        match name {
            "p" | "h" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.add(&paragraph);
                }
            }
            "span" | "hidden-text" | "hidden-paragraph" => {
                self.spans.pop();
            }
            "list" => self.lists = self.lists.saturating_sub(1),
            "note" => self.open_notes = self.open_notes.saturating_sub(1),
            "table-cell" | "covered-table-cell" => {
                if let Some(table) = self.tables.last_mut() {
                    let cell = mem::take(&mut table.cell);
                    table.row.push(clean_line(&cell));
                }
            }
            "table-row" => {
                if let Some(table) = self.tables.last_mut() {
                    let row = mem::take(&mut table.row).join(" | ");
                    self.add_row(&row);
                }
            }
            "table" => {
                self.tables.pop();
            }
            _ => {}
        }
    }

    fn is_hidden(&self, element: &BytesStart<'_>) -> bool {
        attribute(element, "style-name").is_some_and(|style| self.hidden_styles.contains(&style))
    }

    fn push(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut()
            && !paragraph.is_hidden
            && !self.spans.contains(&true)
        {
            paragraph.text.push_str(text);
        }
    }

    fn add(&mut self, paragraph: &Paragraph) {
        let text = paragraph.text.trim();
        if self.open_notes > 0 {
            self.notes.push(text.to_owned());
        } else if let Some(table) = self.tables.last_mut() {
            if !table.cell.is_empty() {
                table.cell.push(' ');
            }
            table.cell.push_str(text);
        } else if let Some(level) = paragraph.level
            && !text.is_empty()
        {
            self.collector.begin_heading(level, text);
            self.collector.add_lines(text);
        } else if self.lists > 0 && !text.is_empty() {
            self.collector.add_lines(&format!("- {text}"));
        } else {
            self.collector.add_lines(text);
        }
    }

    /// A row of a table that lies in a cell of another goes into that cell.
    fn add_row(&mut self, row: &str) {
        match self.tables.len().checked_sub(2).and_then(|outer| self.tables.get_mut(outer)) {
            Some(outer) => {
                if !outer.cell.is_empty() {
                    outer.cell.push(' ');
                }
                outer.cell.push_str(row);
            }
            None => self.collector.add_lines(row),
        }
    }
}
