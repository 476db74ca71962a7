//! PPTX: the shown slides of a presentation, each a section.

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

/// Reads a PPTX. The notes for the speaker are not on the slides and are left out.
///
/// # Errors
/// This returns an error when it is damaged, unpacks to too much, or has no text on a slide that is shown.
pub(super) fn read(mut package: Package<'_>, main_part: &str, limits: &Limits) -> Result<Content, Failure> {
    let (folder, file) = main_part.rsplit_once('/').unwrap_or(("", main_part));
    let targets = targets(&mut package, &format!("{folder}/_rels/{file}.rels"))?;
    let mut slides = Vec::new();
    package.read_part(main_part, |event| {
        if let Event::Start(element) | Event::Empty(element) = event
            && element.local_name().as_ref() == "sldId"
        {
            slides.extend(relation(element).and_then(|id| targets.get(&id).cloned()));
        }
        Ok(())
    })?;
    let mut collector = Collector::new("pptx", limits);
    for (number, target) in (1..).zip(slides) {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        let part = target.strip_prefix('/').map_or_else(|| format!("{folder}/{target}"), str::to_owned);
        let mut slide = Slide::default();
        package.read_part(&part, |event| slide.on_event(event))?;
        if !slide.is_hidden {
            collector.begin_section(&format!("slide {number}"));
            collector.add_lines(&slide.text);
        }
    }
    collector.finish("the presentation has no text on a slide that is shown")
}

fn targets(package: &mut Package<'_>, part: &str) -> Result<HashMap<String, String>, Failure> {
    let mut targets = HashMap::new();
    package.read_part(part, |event| {
        if let Event::Start(element) | Event::Empty(element) = event
            && element.local_name().as_ref() == "Relationship"
        {
            targets.extend(attribute(element, "Id").zip(attribute(element, "Target")));
        }
        Ok(())
    })?;
    Ok(targets)
}

/// The relation that a slide is named by; beside it stands an id that is not one.
fn relation(element: &BytesStart<'_>) -> Option<String> {
    let found = element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|found| found.key.prefix().is_some() && found.key.local_name().as_ref() == "id")?;
    Some(found.value.to_string())
}

/// A slide, as far as it is read.
#[derive(Default)]
struct Slide {
    text: String,
    is_hidden: bool,
    paragraph: String,
    in_text: bool,
    /// Whether the open shape is hidden.
    in_hidden_shape: bool,
    /// The cells of the open row of a table.
    row: Option<Vec<String>>,
    cell: String,
}

impl Slide {
    fn on_event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Start(element) => self.on_start(element),
            Event::Empty(element) => {
                self.on_start(element);
                self.on_end(element.local_name().as_ref());
            }
            Event::End(element) => self.on_end(element.local_name().as_ref()),
            Event::Text(text) if self.in_text => self.push(&text.xml10_content()),
            Event::CData(text) if self.in_text => self.push(&text.xml10_content()),
            Event::GeneralRef(reference) if self.in_text => match reference.resolve_char_ref() {
                Ok(Some(character)) => self.push(character.encode_utf8(&mut [0; 4])),
                Ok(None) => self.push(resolve_predefined_entity(reference).unwrap_or_default()),
                Err(_) => return Err(corrupt("it refers to a character that does not exist")),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_start(&mut self, element: &BytesStart<'_>) {
        let is = |name: &str, values: &[&str]| {
            attribute(element, name).is_some_and(|value| values.contains(&value.as_str()))
        };
        match element.local_name().as_ref() {
            "sld" => self.is_hidden = is("show", &["0", "false"]),
            "sp" | "graphicFrame" | "cxnSp" | "pic" => self.in_hidden_shape = false,
            "cNvPr" => self.in_hidden_shape |= is("hidden", &["1", "true"]),
            "t" => self.in_text = true,
            "br" => self.push("\n"),
            "tr" => self.row = Some(Vec::new()),
            _ => {}
        }
    }

    fn on_end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" => {
                let paragraph = mem::take(&mut self.paragraph);
                if self.row.is_some() {
                    self.cell.push_str(&paragraph);
                    self.cell.push(' ');
                } else {
                    self.text.push_str(&paragraph);
                    self.text.push('\n');
                }
            }
            "tc" => {
                let cell = clean_line(&mem::take(&mut self.cell));
                self.row.get_or_insert_default().push(cell);
            }
            "tr" => {
                let row = self.row.take().unwrap_or_default().join(" | ");
                self.text.push_str(&row);
                self.text.push('\n');
            }
            "sp" | "graphicFrame" => {
                self.in_hidden_shape = false;
                self.text.push('\n');
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if !self.in_hidden_shape {
            self.paragraph.push_str(text);
        }
    }
}
