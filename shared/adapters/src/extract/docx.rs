//! DOCX: paragraphs, headings, lists, tables and notes, in the order of the document.

use std::{collections::HashMap, mem};

use ihelper_workflow::domain::{Failure, document::Content};
use quick_xml::{
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

use super::{
    Limits,
    archive::{Package, attribute},
    corrupt,
    text::{Collector, clean_line},
};

/// How many styles one may be based on, one on the other. Word writes three or four; the chain may be a ring.
const MAX_STYLE_DEPTH: usize = 16;

/// Outline levels below this are headings; 9 stands for body text.
const BODY_LEVEL: u8 = 9;

/// Text of so many half points is not there to be seen.
const UNSEEN_HALF_POINTS: u32 = 2;

/// Reads a DOCX.
///
/// # Errors
/// This returns an error when it is damaged, unpacks to too much, or has no text.
pub(super) fn read(mut package: Package<'_>, main_part: &str, limits: &Limits) -> Result<Content, Failure> {
    let folder = main_part.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let styles = Styles::read(&mut package, &beside("styles.xml"))?;
    let mut collector = Collector::new("docx", limits);
    read_story(&mut package, main_part, &styles, &mut collector)?;
    for notes in ["footnotes", "endnotes"] {
        let part = beside(&format!("{notes}.xml"));
        if package.has_part(&part) && !collector.is_full() {
            collector.begin_section(notes);
            read_story(&mut package, &part, &styles, &mut collector)?;
        }
    }
    collector.finish("the document has no text")
}

fn read_story(
    package: &mut Package<'_>,
    part: &str,
    styles: &Styles,
    collector: &mut Collector,
) -> Result<(), Failure> {
    let mut story = Story {
        styles,
        collector,
        paragraphs: Vec::new(),
        runs: Vec::new(),
        tables: Vec::new(),
        in_text: false,
        in_paragraph_mark: 0,
        skipped: 0,
    };
    package.read_part(part, |event| story.on_event(event))
}

/// What is open at one place of the text. Text boxes put paragraphs into runs and tables into cells, so each is
/// a stack; it lives on the heap, so no nesting is too deep.
struct Story<'s> {
    styles: &'s Styles,
    collector: &'s mut Collector,
    paragraphs: Vec<Paragraph>,
    /// Whether each open run is hidden.
    runs: Vec<bool>,
    tables: Vec<Table>,
    in_text: bool,
    /// How many elements deep the properties of a paragraph are open: what stands there is about its mark.
    in_paragraph_mark: usize,
    /// How many elements deep a part that is not read is open.
    skipped: usize,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    level: Option<u8>,
    is_list_item: bool,
    is_hidden: bool,
}

#[derive(Default)]
struct Table {
    row: Vec<String>,
    cell: String,
}

impl Story<'_> {
    fn on_event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        if self.collector.is_full() {
            return Ok(());
        }
        match event {
            Event::Start(element) => {
                let name = element.local_name();
                // The fallback says again what the choice beside it says; text moved away stands where it went.
                if self.skipped > 0 || matches!(name.as_ref(), "Fallback" | "moveFrom" | "del") {
                    self.skipped += 1;
                    return Ok(());
                }
                self.on_start(element);
                if name.as_ref() == "pPr" || self.in_paragraph_mark > 0 {
                    self.in_paragraph_mark += 1;
                }
            }
            Event::Empty(element) if self.skipped == 0 => {
                self.on_start(element);
                self.on_end(element.local_name().as_ref());
            }
            Event::End(element) => {
                if self.skipped > 0 {
                    self.skipped -= 1;
                    return Ok(());
                }
                self.in_paragraph_mark = self.in_paragraph_mark.saturating_sub(1);
                self.on_end(element.local_name().as_ref());
            }
            Event::Text(text) if self.skipped == 0 && self.in_text => self.push(&text.xml10_content()),
            Event::CData(text) if self.skipped == 0 && self.in_text => self.push(&text.xml10_content()),
            Event::GeneralRef(reference) if self.skipped == 0 && self.in_text => match reference.resolve_char_ref() {
                Ok(Some(character)) => self.push(character.encode_utf8(&mut [0; 4])),
                Ok(None) => self.push(resolve_predefined_entity(reference).unwrap_or_default()),
                Err(_) => return Err(corrupt("it refers to a character that does not exist")),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_start(&mut self, element: &BytesStart<'_>) {
        let value = || attribute(element, "val");
        let is_on = || value().is_none_or(|value| !matches!(value.as_str(), "0" | "false" | "off"));
        match element.local_name().as_ref() {
            "p" => self.paragraphs.push(Paragraph::default()),
            "r" => self.runs.push(false),
            "t" => self.in_text = true,
            "tab" if self.in_paragraph_mark == 0 => self.push("\t"),
            "br" | "cr" => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            "tbl" => self.tables.push(Table::default()),
            "pStyle" => {
                if let (Some(paragraph), Some(style)) = (self.paragraphs.last_mut(), value()) {
                    paragraph.level = self.styles.level(&style);
                    paragraph.is_hidden |= self.styles.is_hidden(&style);
                }
            }
            "outlineLvl" => {
                if let (Some(paragraph), Some(level)) = (self.paragraphs.last_mut(), value()) {
                    paragraph.level = heading_level(&level);
                }
            }
            "numPr" => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    paragraph.is_list_item = true;
                }
            }
            "vanish" if self.in_paragraph_mark == 0 && is_on() => self.hide_run(),
            "sz" if self.in_paragraph_mark == 0
                && value().and_then(|size| size.parse().ok()).is_some_and(|size: u32| size <= UNSEEN_HALF_POINTS) =>
            {
                self.hide_run();
            }
            "rStyle" if self.in_paragraph_mark == 0 && value().is_some_and(|style| self.styles.is_hidden(&style)) => {
                self.hide_run();
            }
            _ => {}
        }
    }

    fn on_end(&mut self, name: &str) {
        match name {
            "p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.add(paragraph);
                }
            }
            "r" => {
                self.runs.pop();
            }
            "t" => self.in_text = false,
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    let cell = mem::take(&mut table.cell);
                    table.row.push(clean_line(&cell));
                }
            }
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    let row = mem::take(&mut table.row).join(" | ");
                    self.add_row(&row);
                }
            }
            "tbl" => {
                self.tables.pop();
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut()
            && !paragraph.is_hidden
            && !self.runs.contains(&true)
        {
            paragraph.text.push_str(text);
        }
    }

    fn hide_run(&mut self) {
        if let Some(hidden) = self.runs.last_mut() {
            *hidden = true;
        }
    }

    fn add(&mut self, paragraph: Paragraph) {
        if let Some(table) = self.tables.last_mut() {
            if !table.cell.is_empty() {
                table.cell.push(' ');
            }
            table.cell.push_str(&paragraph.text);
        } else if let Some(level) = paragraph.level
            && !paragraph.text.trim().is_empty()
        {
            self.collector.begin_heading(level, &paragraph.text);
            self.collector.add_lines(&paragraph.text);
        } else if paragraph.is_list_item && !paragraph.text.trim().is_empty() {
            self.collector.add_lines(&format!("- {}", paragraph.text));
        } else {
            self.collector.add_lines(&paragraph.text);
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

/// The level of a heading, from 1, by an outline level, from 0.
fn heading_level(outline_level: &str) -> Option<u8> {
    outline_level.parse::<u8>().ok().filter(|level| *level < BODY_LEVEL).map(|level| level + 1)
}

/// What the styles of a document say of headings and hidden text. Names of styles are translated in files of
/// other languages, but the built-in name beside each id is not.
#[derive(Default)]
struct Styles(HashMap<String, Style>);

#[derive(Default)]
struct Style {
    level: Option<u8>,
    is_hidden: bool,
    based_on: Option<String>,
}

impl Styles {
    fn read(package: &mut Package<'_>, part: &str) -> Result<Self, Failure> {
        let mut styles = Self::default();
        if !package.has_part(part) {
            return Ok(styles);
        }
        let mut id = None;
        package.read_part(part, |event| {
            let (Event::Start(element) | Event::Empty(element)) = event else { return Ok(()) };
            let name = element.local_name();
            if name.as_ref() == "style" {
                id = attribute(element, "styleId");
                return Ok(());
            }
            let Some(id) = &id else { return Ok(()) };
            let value = attribute(element, "val");
            match (name.as_ref(), value) {
                ("name", Some(value)) => {
                    let value = value.to_ascii_lowercase();
                    let heading = value.strip_prefix("heading ").and_then(|level| level.parse().ok());
                    if let Some(level) = heading.or((value == "title").then_some(0)) {
                        styles.0.entry(id.clone()).or_default().level = Some(level);
                    }
                }
                ("basedOn", Some(value)) => {
                    styles.0.entry(id.clone()).or_default().based_on = Some(value);
                }
                ("outlineLvl", Some(value)) => {
                    if let Some(level) = heading_level(&value) {
                        styles.0.entry(id.clone()).or_default().level = Some(level);
                    }
                }
                ("vanish", value) if !matches!(value.as_deref(), Some("0" | "false" | "off")) => {
                    styles.0.entry(id.clone()).or_default().is_hidden = true;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(styles)
    }

    fn level(&self, id: &str) -> Option<u8> {
        self.chain(id).find_map(|style| style.level)
    }

    fn is_hidden(&self, id: &str) -> bool {
        self.chain(id).any(|style| style.is_hidden)
    }

    fn chain<'s>(&'s self, id: &str) -> impl Iterator<Item = &'s Style> {
        std::iter::successors(self.0.get(id), |style| self.0.get(style.based_on.as_ref()?)).take(MAX_STYLE_DEPTH)
    }
}
