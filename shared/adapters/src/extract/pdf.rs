//! PDF: the text of each page, put together from where its letters stand.
//!
//! A page says where to paint which glyphs; words, lines and the spaces between them are not in it. The painter's
//! order is kept, because programs write columns one after the other; a line ends where the next text stands
//! higher or lower, and a space is where a gap is. Text beside the page, or too small to see, is left out.
//!
//! Deliberately absent: a verdict on damage inside a page. The unpacker gives what it could unpack and does not say
//! that there was more, so such a page has the text that a viewer would show of it. Layers that are switched off,
//! text covered by pictures and white text above anything that may be dark are read.

mod direction;
mod font;
mod lines;
mod table;
mod tex;

use std::collections::HashMap;

use ihelper_workflow::domain::{Failure, document::Content};
use lopdf::{
    DecompressError, Dictionary, Document, Error, LoadOptions, Object, ObjectId, Stream, content::Operation,
    xref::XrefRecovery,
};

use super::{Limits, MEBIBYTE, corrupt, encrypted, expands_too_far, text::Collector};
use font::Font;
use lines::{Lines, Matrix, Placed};

/// What one stream may unpack to while a file is loaded, in bytes. 16 MiB: an estimate
/// of far more than tables and streams of objects need, and the size at which `lopdf` was found to refuse bombs.
const MAX_LOADED_STREAM_BYTES: usize = 16 * 1024 * 1024;

/// What the content of one page may unpack to, in bytes. 8 MiB: an estimate; letters take
/// kilobytes, and this is room for drawings.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// How deep forms may lie in forms. A few levels are usual, and a form may contain itself.
const MAX_FORM_DEPTH: usize = 8;

/// How many graphics states may be saved on one another. Drawings need a few; this only bounds memory.
const MAX_SAVED_STATES: usize = 512;

/// How deep the page tree may be climbed for what a page inherits.
const MAX_TREE_DEPTH: usize = 64;

/// How far from its end a whole file says that it ends, in bytes: mail programs and servers add a little.
const END_REACH_BYTES: usize = 4096;

/// So many shapes on a page without text may be letters that were drawn.
const MANY_SHAPES: usize = 100;

/// Light from which on white paper shows nothing.
const ALMOST_WHITE: f32 = 0.98;

/// Text smaller than this is not there to be seen, in points.
const SMALLEST_SEEN_POINTS: f64 = 0.5;

/// Reads a PDF.
///
/// # Errors
/// This returns an error when it is encrypted, damaged or cut short, unpacks to too much, or has no text on any
/// page.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Content, Failure> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_LOADED_STREAM_BYTES), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        Error::Decryption(_) | Error::InvalidPassword | Error::UnsupportedSecurityHandler(_) => encrypted(),
        error if is_too_large(&error) => expands_too_far(MAX_LOADED_STREAM_BYTES as u64),
        _ => corrupt("it cannot be read as a PDF"),
    })?;
    // A file that asks no password of its reader was decrypted on loading, and this entry is gone.
    if document.trailer.has(b"Encrypt") {
        return Err(encrypted());
    }
    let end = &bytes[bytes.len().saturating_sub(END_REACH_BYTES)..];
    if document.xref_recovery == Some(XrefRecovery::Reconstructed) && !end.windows(5).any(|window| window == b"%%EOF") {
        // What is left of a cut file would pass for the whole.
        return Err(corrupt("its end is missing"));
    }
    let mut collector = Collector::new("pdf", limits);
    let mut reader = Pages { document: &document, fonts: HashMap::new(), bytes_left: limits.max_decompressed_bytes };
    let mut shown = Shown::default();
    let pages: Vec<ObjectId> = document.page_iter().take(limits.max_pages.saturating_add(1)).collect();
    if pages.is_empty() {
        return Err(corrupt("it has no pages"));
    }
    if pages.len() > limits.max_pages {
        return Err(Failure::validation(format!("the document has too many pages: more than {}", limits.max_pages)));
    }
    for (number, page) in (1..).zip(pages) {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        let label = format!("page {number}");
        collector.begin_section(&label);
        let page = reader.read_page(page, number)?;
        if page.shows_something_else && !page.text.contains(char::is_alphanumeric) {
            collector.mark_without_text(&label);
            shown.without_text += 1;
        }
        shown.count(&page.text);
        collector.add_lines(&page.text);
    }
    if shown.is_mostly_unknown() {
        return Err(Failure::validation("the document's fonts do not say what its letters mean; it needs OCR"));
    }
    collector.finish(if shown.without_text > 0 {
        "the document has no text; it is probably scanned and needs OCR"
    } else {
        "the document has no text: its pages are empty"
    })
}

/// What a page shows.
#[derive(Default)]
struct Page {
    text: String,
    /// Whether it shows a picture, letters of an unknown meaning, or shapes as many as letters that are drawn.
    shows_something_else: bool,
}

/// How much of the text is known.
#[derive(Default)]
struct Shown {
    /// Pages that show something else.
    without_text: usize,
    characters: usize,
    unknown: usize,
}

impl Shown {
    fn count(&mut self, text: &str) {
        self.characters += text.chars().filter(|character| !character.is_whitespace()).count();
        self.unknown += text.matches('\u{fffd}').count();
    }

    fn is_mostly_unknown(&self) -> bool {
        self.unknown * 2 > self.characters
    }
}

fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Decompress(DecompressError::MemoryLimitExceeded { .. }))
}

/// The pages of one document, and the fonts they share.
struct Pages<'d> {
    document: &'d Document,
    /// Fonts by where their dictionary lies in memory, which no other dictionary of the document shares.
    fonts: HashMap<*const Dictionary, Font>,
    bytes_left: u64,
}

impl<'d> Pages<'d> {
    fn read_page(&mut self, page: ObjectId, number: usize) -> Result<Page, Failure> {
        let too_large = || {
            Failure::validation(format!("page {number} unpacks to more than {} MiB", MAX_PAGE_BYTES as u64 / MEBIBYTE))
        };
        let content = self.document.get_page_content_with_limit(page, MAX_PAGE_BYTES).map_err(|_| too_large())?;
        self.count(content.len())?;
        // A page that is not a dictionary shows nothing, as in every viewer.
        let Ok(dictionary) = self.document.get_dictionary(page) else { return Ok(Page::default()) };
        let mut painter = Painter {
            lines: Lines::default(),
            seen: self.visible_box(dictionary),
            state: State::default(),
            saved: Vec::new(),
            text: Matrix::IDENTITY,
            line: Matrix::IDENTITY,
            pictures: 0,
            shapes: 0,
        };
        let resources = self.inherited(dictionary, b"Resources").and_then(|object| object.as_dict().ok());
        self.paint(&content, resources, &mut painter, 0)?;
        let shows_something_else = painter.pictures > 0 || painter.shapes >= MANY_SHAPES;
        Ok(Page { text: painter.lines.finish(), shows_something_else })
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        let left = self.bytes_left.checked_sub(bytes as u64);
        self.bytes_left = left.ok_or_else(|| Failure::validation("the pages unpack to more than they may together"))?;
        Ok(())
    }

    /// Follows a content stream's operations. One that cannot be read ends the stream, as in viewers.
    fn paint(
        &mut self,
        content: &[u8],
        resources: Option<&'d Dictionary>,
        painter: &mut Painter,
        depth: usize,
    ) -> Result<(), Failure> {
        for operation in lopdf::content::Content::decode_iter(content).map_while(Result::ok) {
            if operation.operator == "Do" {
                self.paint_form(&operation, resources, painter, depth)?;
            } else if operation.operator == "Tf" {
                painter.state.font =
                    operation.operands.first().and_then(|name| self.font(resources?, name.as_name().ok()?));
                painter.state.size = number(&operation, 1);
            } else {
                let font = painter.state.font.and_then(|key| self.fonts.get(&key));
                painter.apply(&operation, font);
            }
        }
        Ok(())
    }

    fn paint_form(
        &mut self,
        operation: &Operation,
        resources: Option<&'d Dictionary>,
        painter: &mut Painter,
        depth: usize,
    ) -> Result<(), Failure> {
        let document = self.document;
        let form = || -> Option<&'d Stream> {
            let name = operation.operands.first()?.as_name().ok()?;
            let forms = document.get_dict_in_dict(resources?, b"XObject").ok()?;
            let form = forms.get_deref(name, document).ok()?.as_stream().ok()?;
            (form.dict.get(b"Subtype").ok()?.as_name().ok()? == b"Form").then_some(form)
        };
        let Some(form) = form().filter(|_| depth < MAX_FORM_DEPTH) else {
            painter.pictures += 1;
            return Ok(());
        };
        let content = match form.get_plain_content_with_limit(MAX_PAGE_BYTES) {
            Ok(content) => content,
            Err(error) if is_too_large(&error) => return Err(expands_too_far(MAX_PAGE_BYTES as u64)),
            Err(_) => return Ok(()),
        };
        self.count(content.len())?;
        let own = document.get_dict_in_dict(&form.dict, b"Resources").ok();
        painter.save();
        if let Some(matrix) = form.dict.get_deref(b"Matrix", document).ok().and_then(numbers_of).and_then(Matrix::of) {
            painter.state.page = matrix.then(&painter.state.page);
        }
        self.paint(&content, own.or(resources), painter, depth + 1)?;
        painter.restore();
        Ok(())
    }

    fn font(&mut self, resources: &'d Dictionary, name: &[u8]) -> Option<*const Dictionary> {
        let fonts = self.document.get_dict_in_dict(resources, b"Font").ok()?;
        let dictionary = fonts.get_deref(name, self.document).ok()?.as_dict().ok()?;
        let key: *const Dictionary = dictionary;
        self.fonts.entry(key).or_insert_with(|| Font::read(self.document, dictionary));
        Some(key)
    }

    /// What a viewer shows of a page: left, bottom, right, top.
    fn visible_box(&self, page: &'d Dictionary) -> Option<[f64; 4]> {
        let corners = |key| -> Option<[f64; 4]> {
            let [x, y, other_x, other_y] = <[f64; 4]>::try_from(numbers_of(self.inherited(page, key)?)?).ok()?;
            let seen = [x.min(other_x), y.min(other_y), x.max(other_x), y.max(other_y)];
            (seen[2] - seen[0] > 1.0 && seen[3] - seen[1] > 1.0).then_some(seen)
        };
        corners(b"CropBox").or_else(|| corners(b"MediaBox"))
    }

    fn inherited(&self, page: &'d Dictionary, key: &[u8]) -> Option<&'d Object> {
        let mut node = page;
        for _ in 0..MAX_TREE_DEPTH {
            if let Ok(found) = node.get_deref(key, self.document) {
                return Some(found);
            }
            node = self.document.get_dict_in_dict(node, b"Parent").ok()?;
        }
        None
    }
}

/// Where a page's operations have got to.
struct Painter {
    lines: Lines,
    seen: Option<[f64; 4]>,
    state: State,
    saved: Vec<State>,
    text: Matrix,
    line: Matrix,
    /// How many pictures and pieces of unknown text were painted.
    pictures: usize,
    /// How many shapes were filled, but with white.
    shapes: usize,
}

#[derive(Clone, Copy)]
struct State {
    page: Matrix,
    /// Whether what is filled is filled with white.
    is_white: bool,
    font: Option<*const Dictionary>,
    size: f64,
    character_space: f64,
    word_space: f64,
    stretch: f64,
    leading: f64,
    rise: f64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            page: Matrix::IDENTITY,
            is_white: false,
            font: None,
            size: 0.0,
            character_space: 0.0,
            word_space: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }
}

impl Painter {
    fn apply(&mut self, operation: &Operation, font: Option<&Font>) {
        let number = |index| number(operation, index);
        match operation.operator.as_str() {
            "q" => self.save(),
            "Q" => self.restore(),
            "cm" => {
                if let Some(matrix) = matrix(operation) {
                    self.state.page = matrix.then(&self.state.page);
                }
            }
            // One number in a colour space of the page's own may be ink.
            "sc" | "scn" => self.state.is_white = operation.operands.len() == 3 && is_white(operation),
            "g" | "rg" => self.state.is_white = is_white(operation),
            // Of ink, white is none.
            "k" => {
                self.state.is_white = operation.operands.iter().all(|ink| ink.as_float().is_ok_and(|ink| ink == 0.0))
            }
            "cs" => self.state.is_white = false,
            "f" | "F" | "f*" | "B" | "B*" | "b" | "b*" if !self.state.is_white => self.shapes += 1,
            "sh" => self.shapes += 1,
            "BI" => self.pictures += 1,
            "BT" => (self.text, self.line) = (Matrix::IDENTITY, Matrix::IDENTITY),
            "Tm" => {
                if let Some(matrix) = matrix(operation) {
                    (self.text, self.line) = (matrix, matrix);
                }
            }
            "Td" => self.move_line(number(0), number(1)),
            "TD" => {
                self.state.leading = -number(1);
                self.move_line(number(0), number(1));
            }
            "T*" => self.move_line(0.0, -self.state.leading),
            "TL" => self.state.leading = number(0),
            "Tc" => self.state.character_space = number(0),
            "Tw" => self.state.word_space = number(0),
            "Tz" => self.state.stretch = number(0) / 100.0,
            "Ts" => self.state.rise = number(0),
            "Tj" => self.show_operand(operation, 0, font),
            "'" => {
                self.move_line(0.0, -self.state.leading);
                self.show_operand(operation, 0, font);
            }
            "\"" => {
                (self.state.word_space, self.state.character_space) = (number(0), number(1));
                self.move_line(0.0, -self.state.leading);
                self.show_operand(operation, 2, font);
            }
            "TJ" => {
                let pieces = operation.operands.first().and_then(|operand| operand.as_array().ok());
                for piece in pieces.into_iter().flatten() {
                    match piece {
                        Object::String(codes, _) => self.show(codes, font),
                        piece => {
                            let adjustment = piece.as_float().map_or(0.0, f64::from);
                            self.advance(-adjustment / 1000.0 * self.state.size * self.state.stretch);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn save(&mut self) {
        if self.saved.len() < MAX_SAVED_STATES {
            self.saved.push(self.state);
        }
    }

    fn restore(&mut self) {
        if let Some(state) = self.saved.pop() {
            self.state = state;
        }
    }

    fn move_line(&mut self, x: f64, y: f64) {
        self.line = Matrix::translation(x, y).then(&self.line);
        self.text = self.line;
    }

    fn advance(&mut self, x: f64) {
        self.text = Matrix::translation(x, 0.0).then(&self.text);
    }

    fn show_operand(&mut self, operation: &Operation, index: usize, font: Option<&Font>) {
        if let Some(codes) = operation.operands.get(index).and_then(|operand| operand.as_str().ok()) {
            self.show(codes, font);
        }
    }

    fn show(&mut self, codes: &[u8], font: Option<&Font>) {
        let Some(font) = font else { return };
        let shown = font.show(codes);
        let state = &self.state;
        let width =
            (shown.width * state.size + shown.characters * state.character_space + shown.spaces * state.word_space)
                * state.stretch;
        let matrix = Matrix::translation(0.0, state.rise).then(&self.text).then(&state.page);
        let placed = Placed { matrix, size: matrix.height() * state.size.abs(), width };
        if shown.text.is_empty() && shown.characters > 0.0 {
            self.pictures += 1;
        } else if self.is_seen(&placed) {
            self.lines.add(&placed, &shown.text);
        }
        self.advance(width);
    }

    fn is_seen(&self, placed: &Placed) -> bool {
        let (x, y) = placed.matrix.origin();
        let on_page = self.seen.is_none_or(|[left, bottom, right, top]| {
            // A letter's foot may hang over the edge by a point.
            x >= left - 1.0 && x <= right + 1.0 && y >= bottom - 1.0 && y <= top + 1.0
        });
        // Nothing is under it yet, so it is white on white.
        let is_white = self.state.is_white && self.pictures == 0 && self.shapes == 0;
        on_page && !is_white && placed.size >= SMALLEST_SEEN_POINTS
    }
}

/// Whether a colour of light is white.
fn is_white(operation: &Operation) -> bool {
    matches!(operation.operands.len(), 1 | 3)
        && operation.operands.iter().all(|light| light.as_float().is_ok_and(|light| light >= ALMOST_WHITE))
}

fn number(operation: &Operation, index: usize) -> f64 {
    operation.operands.get(index).and_then(|operand| operand.as_float().ok()).map_or(0.0, f64::from)
}

fn matrix(operation: &Operation) -> Option<Matrix> {
    Matrix::of((0..operation.operands.len().min(6)).map(|index| number(operation, index)).collect())
}

fn numbers_of(object: &Object) -> Option<Vec<f64>> {
    object.as_array().ok()?.iter().map(|item| item.as_float().ok().map(f64::from)).collect()
}
