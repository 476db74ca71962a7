//! The fields of a header section, whatever shape they come in.
//!
//! A section is read line by line: folded lines are joined, a line that is no field is passed over when the
//! section goes on after it and is taken for the body when it does not, as most mail programs do. Values keep
//! what the sender put there; whoever uses one cleans it ([`one_line`](super::plain::one_line), the address
//! check, the check of message ids).
//!
//! Deliberately absent: writing fields. What goes out is built from checked values only.

use std::collections::BTreeMap;

use mail_parser::{HeaderValue, decoders::charsets::map::charset_decoder, parsers::MessageStream};

use super::plain::cut_bytes;
use crate::domain::Failure;

/// How much of one field is parsed, in bytes. Parsing encoded words and parameters takes more than linear
/// time; no mail program writes a longer `Subject`, `From` or `Content-Type`.
const PARSED_BYTES: usize = 8 * 1024;

/// Header fields in their order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Names in lower case, values on one line.
    fields: Vec<(String, String)>,
}

/// A `Content-Type` or `Content-Disposition`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    /// `text`, `multipart`, `attachment`; in lower case.
    pub(super) kind: String,
    /// `plain`, `mixed`; in lower case, empty when there is none.
    pub(super) subtype: String,
    parameters: Vec<(String, String)>,
}

impl Fields {
    /// Reads the section at the beginning of a message or part; gives the body that follows, too.
    ///
    /// # Errors
    /// This returns an error when the section is larger than `limit` bytes.
    pub(super) fn read(message: &[u8], limit: usize) -> Result<(Self, &[u8]), Failure> {
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        let mut rest = message;
        while !rest.is_empty() {
            let (line, next) = split_line(rest, limit);
            if message.len() - next.len() > limit {
                return Err(Failure::validation(format!("a header section is larger than {limit} bytes")));
            }
            if line.is_empty() {
                rest = next;
                break;
            }
            if is_continuation(line) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(b' ');
                    value.extend_from_slice(line.trim_ascii());
                }
            } else if let Some((name, value)) = split_field(line) {
                fields.push((name, value.to_vec()));
            } else if !goes_on(next, limit) {
                break;
            }
            rest = next;
        }
        let fields = fields.into_iter().map(|(name, value)| (name, to_text(value))).collect();
        Ok((Self { fields }, rest))
    }

    /// The fields that came by name, as JSON has them.
    pub(super) fn from_map(map: &BTreeMap<String, String>) -> Self {
        let fields = map
            .iter()
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.replace(['\r', '\n'], " ").trim().to_owned()))
            .collect();
        Self { fields }
    }

    /// The first field of this name (in lower case).
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name (in lower case).
    pub(super) fn all<'fields>(&'fields self, name: &str) -> impl Iterator<Item = &'fields str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All fields from the top: names in lower case, and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names of all fields, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// The content type, where the section has one that can be read.
    pub(super) fn content_type(&self) -> Option<Media> {
        self.first("content-type").and_then(Media::parse)
    }
}

impl Media {
    /// A type without parameters.
    pub(super) fn new(kind: &str, subtype: &str) -> Self {
        Self { kind: kind.to_owned(), subtype: subtype.to_owned(), parameters: Vec::new() }
    }

    /// Reads the value of a `Content-Type` or `Content-Disposition`.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let line = parsable(value);
        let HeaderValue::ContentType(parsed) = MessageStream::new(line.as_bytes()).parse_content_type() else {
            return None;
        };
        let parameters = parsed.attributes.unwrap_or_default();
        Some(Self {
            kind: parsed.c_type.trim().to_ascii_lowercase(),
            subtype: parsed.c_subtype.unwrap_or_default().trim().to_ascii_lowercase(),
            parameters: parameters
                .into_iter()
                .map(|parameter| (parameter.name.into_owned(), parameter.value.into_owned()))
                .collect(),
        })
    }

    /// The value of a parameter (its name in lower case), unless it is blank.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(parameter, value)| parameter == name && !value.trim().is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether it is this type.
    pub(super) fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }
}

/// An unstructured value with its encoded words (RFC 2047) decoded.
pub(super) fn decoded(value: &str) -> String {
    let line = parsable(value);
    match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => text.trim().to_owned(),
        _ => String::new(),
    }
}

/// The first mailbox of an address list: its address, as written, and its display name.
pub(super) fn first_mailbox(value: &str) -> Option<(String, Option<String>)> {
    let line = parsable(value);
    let HeaderValue::Address(addresses) = MessageStream::new(line.as_bytes()).parse_address() else { return None };
    let mailbox = addresses.first()?;
    let address = mailbox.address.as_deref()?.trim().to_owned();
    Some((address, mailbox.name.as_deref().map(str::to_owned)))
}

// The parsers stop at a line's end and may not find one missing.
fn parsable(value: &str) -> String {
    let mut line: String = cut_bytes(value, PARSED_BYTES).replace(['\r', '\n'], " ");
    line.push('\n');
    line
}

// The line without its end, and what follows. A line that does not end within the limit is taken as long as
// the limit lets it, which is then found to be too much.
fn split_line(bytes: &[u8], limit: usize) -> (&[u8], &[u8]) {
    let window = &bytes[..bytes.len().min(limit.saturating_add(1))];
    let (line, next) = match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (window, &bytes[window.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), next)
}

fn is_continuation(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

// A field's name is printable ASCII without spaces (RFC 5322, section 2.2); spaces before the colon are
// obsolete but seen (section 4.5).
fn split_field(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let valid = !name.is_empty() && name.len() <= 128 && name.iter().all(u8::is_ascii_graphic);
    valid.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
}

// Whether a section still goes on after a line that is no field: an mbox separator at its top, or a line that
// some relay broke.
fn goes_on(rest: &[u8], limit: usize) -> bool {
    let (line, _) = split_line(rest, limit);
    is_continuation(line) || split_field(line).is_some()
}

// Raw bytes beyond ASCII are UTF-8 (RFC 6532) or come from a program of the last century.
fn to_text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_else(|error| match charset_decoder(b"windows-1252") {
        Some(decode) => decode(error.as_bytes()),
        None => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: &str) -> (Fields, String) {
        let (fields, body) = Fields::read(section.as_bytes(), 1000).unwrap();
        (fields, String::from_utf8_lossy(body).into_owned())
    }

    #[test]
    fn a_section_larger_than_the_limit_is_an_error() {
        for section in ["a".repeat(2000), format!("A: {}\n\n", "b".repeat(2000)), "A: b\n".repeat(400)] {
            assert!(Fields::read(section.as_bytes(), 1000).is_err());
        }
        assert!(Fields::read(format!("A: {}\n\n{}", "b".repeat(900), "c".repeat(9000)).as_bytes(), 1000).is_ok());
    }

    #[test]
    fn folded_lines_are_one_value() {
        let (fields, body) = read("Subject: one\r\n two\r\n\tthree\r\nX: y\r\n\r\nbody\r\n");
        assert_eq!(fields.first("subject"), Some("one two three"));
        assert_eq!(fields.first("x"), Some("y"));
        assert_eq!(body, "body\r\n");
    }

    #[test]
    fn a_line_that_is_no_field_is_passed_over_or_begins_the_body() {
        let cases = [
            ("From someone Mon Jan  1 00:00:00 2024\nA: b\n\nbody", "body"),
            ("A: b\nbroken by a relay\nC: d\n\nbody", "body"),
            ("A: b\nbody at once\nand more", "body at once\nand more"),
            ("A: b", ""),
            ("A: b\n", ""),
            ("\nbody", "body"),
            ("just words", "just words"),
        ];
        for (section, body) in cases {
            assert_eq!(read(section).1, body, "{section:?}");
        }
    }

    #[test]
    fn raw_bytes_of_an_old_program_are_text() {
        let (fields, _) = Fields::read(b"Subject: Gr\xfc\xdfe\n\n", 1000).unwrap();
        assert_eq!(fields.first("subject"), Some("Grüße"));
    }

    #[test]
    fn names_from_json_know_no_case_and_values_no_lines() {
        let map = BTreeMap::from([("Auto-SUBMITTED".to_owned(), "no\r\nBcc: a@b.example".to_owned())]);
        let fields = Fields::from_map(&map);
        assert_eq!(fields.first("auto-submitted"), Some("no  Bcc: a@b.example"));
        assert_eq!(fields.first("bcc"), None);
    }

    #[test]
    fn encoded_words_are_decoded() {
        let cases = [
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?B?IGF1cw==?= Wien", "Grüße aus Wien"),
            ("=?iso-8859-2?Q?P=F8=EDli=B9?=", "Příliš"),
            ("=?GB18030?B?xOO6ww==?=", "你好"),
            ("=?shift_jis?B?k/qWew==?=", "日本"),
            ("=?no-such?Q?abc?=", "abc"),
            ("=?utf-8?Q?broken", "=?utf-8?Q?broken"),
        ];
        for (value, expected) in cases {
            assert_eq!(decoded(value), expected, "{value}");
        }
    }

    #[test]
    fn the_first_mailbox_of_a_list_counts() {
        let cases = [
            ("a@b.example", "a@b.example", None),
            ("Ann Lee <a@b.example>, c@d.example", "a@b.example", Some("Ann Lee")),
            ("\"Lee, Ann\" <a@b.example>", "a@b.example", Some("Lee, Ann")),
            ("=?utf-8?Q?J=C3=B6rg?= <j@b.example>", "j@b.example", Some("Jörg")),
            ("a@b.example (Ann)", "a@b.example", Some("Ann")),
            ("Friends: a@b.example, c@d.example;", "a@b.example", None),
        ];
        for (value, address, name) in cases {
            assert_eq!(first_mailbox(value), Some((address.to_owned(), name.map(str::to_owned))), "{value}");
        }
        assert_eq!(first_mailbox(""), None);
    }
}
