//! What the codes of a font mean, and how wide they are.

use encoding_rs::{BIG5, EUC_KR, GBK, SHIFT_JIS, UTF_16BE};
use lopdf::{Dictionary, Document, Encoding, Object};

use super::{direction, table::Table, tex};

/// What a font's table may unpack to, in bytes. 2 MiB: room for 65,536 codes, the
/// most that two bytes can name, at some thirty bytes a line.
const MAX_TABLE_BYTES: usize = 2 * 1024 * 1024;

/// A font of a document.
pub(super) struct Font {
    meaning: Meaning,
    widths: Widths,
}

/// A shown text.
pub(super) struct Shown {
    pub(super) text: String,
    /// Its width, in ems.
    pub(super) width: f64,
    /// How many codes it has.
    pub(super) characters: f64,
    /// How many of them are the one-byte space, which alone is widened between words.
    pub(super) spaces: f64,
}

enum Meaning {
    /// What each code of one byte shows.
    Simple(Vec<String>),
    /// Codes of mostly two bytes, by the font's table to Unicode.
    Composite(Table),
    /// Codes of a known character set.
    CharacterSet(&'static encoding_rs::Encoding),
    /// Numbers of glyphs, and nothing that says what they mean.
    Unknown,
}

enum Widths {
    /// Widths of one-byte codes from the first on, in ems, and of all others.
    Simple { first: usize, widths: Vec<f64>, other: f64 },
    /// Nothing is said: one of the fonts that every viewer has.
    Standard { is_fixed: bool },
    /// Widths of two-byte codes in ranges, in ems, sorted, and of all others.
    Composite { ranges: Vec<(u32, u32, f64)>, other: f64 },
}

impl Font {
    /// Reads a font's dictionary. What is damaged falls back, as in viewers.
    pub(super) fn read(document: &Document, dictionary: &Dictionary) -> Self {
        let name = |key: &[u8]| dictionary.get_deref(key, document).and_then(Object::as_name).unwrap_or_default();
        let table = table_of(document, dictionary);
        if name(b"Subtype") != b"Type0" {
            let meaning = Meaning::Simple(simple_meaning(document, dictionary, &table));
            return Self { meaning, widths: simple_widths(document, dictionary) };
        }
        let meaning = if !table.is_empty() {
            Meaning::Composite(table)
        } else if name(b"ToUnicode").starts_with(b"Identity") {
            Meaning::CharacterSet(UTF_16BE)
        } else {
            character_set(name(b"Encoding")).map_or(Meaning::Unknown, Meaning::CharacterSet)
        };
        Self { meaning, widths: composite_widths(document, dictionary) }
    }

    /// What these codes show.
    pub(super) fn show(&self, codes: &[u8]) -> Shown {
        let mut shown = Shown { text: String::new(), width: 0.0, characters: 0.0, spaces: 0.0 };
        match &self.meaning {
            Meaning::Simple(letters) => {
                for code in codes {
                    shown.text.push_str(letters.get(usize::from(*code)).map_or("", String::as_str));
                    shown.width += self.widths.of((*code).into());
                }
                shown.characters = codes.len() as f64;
                shown.spaces = codes.iter().filter(|code| **code == b' ').count() as f64;
            }
            Meaning::Composite(table) => {
                for code in table.codes(codes, 2) {
                    let text = table.text(code.value).unwrap_or_else(|| "\u{fffd}".to_owned());
                    shown.text.push_str(&direction::as_painted(&text).unwrap_or(text));
                    shown.width += self.widths.of(code.value);
                    shown.characters += 1.0;
                    shown.spaces += f64::from(u8::from(code.bytes == 1 && code.value == 32));
                }
            }
            Meaning::CharacterSet(set) => {
                shown.text = set.decode_without_bom_handling(codes).0.into_owned();
                shown.characters = shown.text.chars().count() as f64;
                shown.width = shown.characters * self.widths.usual();
            }
            Meaning::Unknown => {
                shown.characters = (codes.len() / 2) as f64;
                shown.width = shown.characters * self.widths.usual();
            }
        }
        shown
    }
}

/// What each code of one byte shows: by the font's table where it has an entry, else by its encoding.
fn simple_meaning(document: &Document, dictionary: &Dictionary, table: &Table) -> Vec<String> {
    // A copy without the table, which would be looked into for each code that it may name.
    let mut font = Dictionary::new();
    font.set("Type", "Font");
    if let Ok(encoding) = dictionary.get(b"Encoding") {
        font.set("Encoding", encoding.clone());
    }
    let encoding = font.get_font_encoding(document).unwrap_or(Encoding::SimpleEncoding(b"WinAnsiEncoding"));
    let is_of_tex = is_of_tex(document, dictionary);
    (0..=u8::MAX)
        .map(|code| {
            let by_table = table.text(code.into());
            by_table
                .map(|text| direction::as_painted(&text).unwrap_or(text))
                .or_else(|| is_of_tex.then(|| tex::letter(code)).flatten())
                .unwrap_or_else(|| encoding.bytes_to_string(&[code]).unwrap_or_default())
        })
        .collect()
}

/// Whether the names of all glyphs are their codes, as TeX names what it draws itself.
fn is_of_tex(document: &Document, dictionary: &Dictionary) -> bool {
    let differences = document
        .get_dict_in_dict(dictionary, b"Encoding")
        .and_then(|encoding| encoding.get_deref(b"Differences", document))
        .and_then(Object::as_array);
    let Ok(differences) = differences else { return false };
    let mut code = 0_u8;
    let mut is_any = false;
    // There are 256 codes, each with a name and a number before it at most.
    for entry in differences.iter().take(512) {
        match entry {
            Object::Integer(next) => code = u8::try_from(*next).unwrap_or_default(),
            Object::Name(name) if name == b".notdef" => code = code.wrapping_add(1),
            Object::Name(name) if tex::is_code(name, code) => {
                is_any = true;
                code = code.wrapping_add(1);
            }
            _ => return false,
        }
    }
    is_any
}

fn table_of(document: &Document, dictionary: &Dictionary) -> Table {
    dictionary
        .get_deref(b"ToUnicode", document)
        .and_then(Object::as_stream)
        .and_then(|stream| stream.get_plain_content_with_limit(MAX_TABLE_BYTES))
        .map(|program| Table::read(&program))
        .unwrap_or_default()
}

fn character_set(encoding: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let name = String::from_utf8_lossy(encoding);
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if name.starts_with("Uni") && is(&["UCS2", "UTF16"]) {
        Some(UTF_16BE)
    } else if is(&["RKSJ"]) {
        Some(SHIFT_JIS)
    } else if is(&["GBK", "GB-EUC"]) {
        Some(GBK)
    } else if is(&["B5"]) {
        Some(BIG5)
    } else if is(&["KSC"]) {
        Some(EUC_KR)
    } else {
        None
    }
}

impl Widths {
    fn of(&self, code: u32) -> f64 {
        match self {
            Self::Simple { first, widths, other } => {
                (code as usize).checked_sub(*first).and_then(|index| widths.get(index)).copied().unwrap_or(*other)
            }
            Self::Standard { is_fixed: true } => 0.6,
            Self::Standard { is_fixed: false } => u8::try_from(code).map_or(1.0, usual_width),
            Self::Composite { ranges, other } => {
                let after = ranges.partition_point(|(first, _, _)| *first <= code);
                match ranges[..after].last() {
                    Some((_, last, width)) if code <= *last => *width,
                    _ => *other,
                }
            }
        }
    }

    fn usual(&self) -> f64 {
        match self {
            Self::Simple { other, .. } | Self::Composite { other, .. } => *other,
            Self::Standard { .. } => 1.0,
        }
    }
}

/// About how wide letters are in the sans-serif that stands in for a font without widths, in ems.
fn usual_width(code: u8) -> f64 {
    match code {
        b'i' | b'j' | b'l' | b'\'' | b'|' | b'!' | b',' | b'.' | b':' | b';' | b'I' | b' ' | b'f' | b't' | b'/' => 0.27,
        b'r' | b'(' | b')' | b'-' | b'[' | b']' => 0.33,
        b'm' | b'w' | b'M' | b'W' | b'@' | b'%' => 0.85,
        b'A'..=b'Z' => 0.69,
        _ => 0.55,
    }
}

fn simple_widths(document: &Document, dictionary: &Dictionary) -> Widths {
    let number = |dictionary: &Dictionary, key: &[u8]| {
        dictionary.get_deref(key, document).and_then(Object::as_float).ok().map(f64::from)
    };
    // The widths of a font that is drawn by operations are in a space of its own.
    let em = dictionary
        .get_deref(b"FontMatrix", document)
        .and_then(Object::as_array)
        .ok()
        .and_then(|matrix| matrix.first()?.as_float().ok())
        .map_or(0.001, f64::from);
    let Ok(widths) = dictionary.get_deref(b"Widths", document).and_then(Object::as_array) else {
        let name = dictionary.get_deref(b"BaseFont", document).and_then(Object::as_name).unwrap_or_default();
        return Widths::Standard { is_fixed: String::from_utf8_lossy(name).contains("Courier") };
    };
    let descriptor = document.get_dict_in_dict(dictionary, b"FontDescriptor").ok();
    let other = descriptor.and_then(|descriptor| number(descriptor, b"MissingWidth")).unwrap_or(0.0) * em;
    let first = number(dictionary, b"FirstChar").unwrap_or(0.0).clamp(0.0, 255.0) as usize;
    // There are 256 codes of one byte, however long the array is.
    let widths = widths.iter().take(256).map(|width| float(document, width).unwrap_or(0.0) * em).collect();
    Widths::Simple { first, widths, other }
}

fn composite_widths(document: &Document, dictionary: &Dictionary) -> Widths {
    let descendant = dictionary
        .get_deref(b"DescendantFonts", document)
        .and_then(Object::as_array)
        .ok()
        .and_then(|fonts| document.dereference(fonts.first()?).ok()?.1.as_dict().ok());
    let Some(descendant) = descendant else { return Widths::Composite { ranges: Vec::new(), other: 1.0 } };
    let other =
        descendant.get_deref(b"DW", document).and_then(Object::as_float).map_or(1.0, |width| f64::from(width) / 1000.0);
    let mut ranges = Vec::new();
    let entries = descendant.get_deref(b"W", document).and_then(Object::as_array).map_or(&[][..], Vec::as_slice);
    let mut entries = entries.iter();
    // `first [width width …]` or `first last width`.
    while let Some(first) = entries.next().and_then(|entry| code(document, entry)) {
        let Some(next) = entries.next() else { break };
        match document.dereference(next) {
            Ok((_, Object::Array(widths))) => {
                for (code, width) in (first..).zip(widths) {
                    ranges.push((code, code, float(document, width).unwrap_or(0.0) / 1000.0));
                }
            }
            _ => {
                let Some((last, width)) = code(document, next).zip(entries.next()) else { break };
                ranges.push((first, last, float(document, width).unwrap_or(0.0) / 1000.0));
            }
        }
    }
    ranges.sort_by_key(|(first, _, _)| *first);
    Widths::Composite { ranges, other }
}

fn float(document: &Document, object: &Object) -> Option<f64> {
    document.dereference(object).ok()?.1.as_float().ok().map(f64::from)
}

fn code(document: &Document, object: &Object) -> Option<u32> {
    // Codes of glyphs have two bytes.
    document.dereference(object).ok()?.1.as_i64().ok()?.try_into().ok().filter(|code| *code <= 0xffff)
}
