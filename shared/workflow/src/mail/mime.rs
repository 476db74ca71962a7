//! A message taken apart: the text a person reads, and what is attached.
//!
//! Invariants: parts are slices of the message, so nothing is copied before it is needed; nesting is bounded,
//! so nothing recurses deep; the parts are counted while they are found, so a bomb ends before it costs
//! memory. What is malformed is read as far as it goes: a missing end, a boundary that nobody declared, an
//! encoding that breaks off.
//!
//! `mail-parser` reads fields, parameters and character sets. It does not take the message apart: a hostile
//! message of 32 MiB would make it hold millions of parts, and messages nested in messages, whose recursive
//! drop overflows the stack. A forwarded message is an attachment here and is not entered.

use std::cell::{Cell, OnceCell};

use mail_parser::decoders::charsets::map::charset_decoder;

use super::{
    Limits,
    fields::{Fields, Media},
    html, plain,
};
use crate::domain::{Failure, email::Attachment};

/// How much HTML is read of one message, in bytes; a page among alternatives is looked at first and counts
/// twice. The longest threads that people write stay below an eighth of it.
const HTML_BYTES: usize = 8 * 1024 * 1024;

/// The longest file name kept, in characters: what file systems allow.
const NAME_CHARACTERS: usize = 255;

/// Outlook's wrapping of what it attaches (MS-OXTNEF).
const TNEF: &str = "application/ms-tnef";

/// What a message holds besides its header.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The text, with one kind of line break and at most [`Limits::text_characters`] long; quotations of HTML
    /// are marked with `>` as in plain text.
    pub(super) text: String,
    /// What is attached, in order.
    pub(super) attachments: Vec<Attachment>,
}

/// Reads the body of a message whose header is `fields`.
///
/// # Errors
/// This returns an error when the body has more parts, deeper levels or larger header sections than `limits`.
pub(super) fn read(fields: &Fields, body: &[u8], limits: &Limits) -> Result<Content, Failure> {
    look_into(fields, body, limits, |found| content(found, limits))
}

/// What is attached at this place, decoded.
///
/// # Errors
/// As [`read`].
pub(super) fn attachment(
    fields: &Fields,
    body: &[u8],
    index: usize,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, Failure> {
    look_into(fields, body, limits, |found| found.attached.get(index).map(|part| part.decoded()))
}

fn look_into<T>(
    fields: &Fields,
    body: &[u8],
    limits: &Limits,
    look: impl FnOnce(Found<'_, '_>) -> T,
) -> Result<T, Failure> {
    let html_room = Cell::new(HTML_BYTES);
    let mut reader = Reader { limits, parts: 0, html_room: &html_room };
    let root = reader.read(fields, body, false, 0)?;
    let mut found = Found::default();
    found.gather(&root, Place::Root);
    Ok(look(found))
}

fn content(mut found: Found<'_, '_>, limits: &Limits) -> Content {
    if found.texts.is_empty() {
        found.texts.extend(found.last_resort.take());
    }
    let mut text = String::new();
    let mut room = limits.text_characters;
    for leaf in found.texts {
        if room == 0 {
            break;
        }
        let more = leaf.to_text(room);
        room = room.saturating_sub(more.chars().count());
        if !text.is_empty() && !more.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&more);
    }
    let attachments = found.attached.iter().map(|part| part.attachment()).collect();
    Content { text: plain::clean(&text, limits.text_characters), attachments }
}

/// Takes a message apart and counts what it finds.
struct Reader<'message> {
    limits: &'message Limits,
    parts: usize,
    html_room: &'message Cell<usize>,
}

/// One part.
struct Part<'message> {
    media: Media,
    disposition: Media,
    encoding: Encoding,
    body: Body<'message>,
    says_something: OnceCell<bool>,
    /// How much HTML may still be read, of all parts together.
    html_room: &'message Cell<usize>,
}

enum Body<'message> {
    Bytes(&'message [u8]),
    Parts(Vec<Part<'message>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

impl<'message> Reader<'message> {
    /// Reads a part and those within it.
    fn read(
        &mut self,
        fields: &Fields,
        body: &'message [u8],
        in_digest: bool,
        depth: usize,
    ) -> Result<Part<'message>, Failure> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(self.too_many_parts());
        }
        if depth > self.limits.depth {
            let limit = self.limits.depth;
            return Err(Failure::validation(format!("the message nests its parts more than {limit} deep")));
        }
        let mut part = Part {
            media: media(fields, in_digest),
            disposition: fields.first("content-disposition").and_then(Media::parse).unwrap_or_default(),
            encoding: Encoding::of(fields),
            body: Body::Bytes(body),
            says_something: OnceCell::new(),
            html_room: self.html_room,
        };
        if part.media.kind != "multipart" {
            return Ok(part);
        }
        let declared = part.media.parameter("boundary").map(|boundary| boundary.trim_end().as_bytes());
        let slices = match declared.or_else(|| guess_boundary(body)) {
            Some(boundary) => {
                split(body, boundary, self.limits.parts - self.parts).ok_or_else(|| self.too_many_parts())?
            }
            None => Vec::new(),
        };
        if slices.is_empty() {
            // It says that it has parts and has none: what is there is text.
            part.media = Media::new("text", "plain");
            return Ok(part);
        }
        let is_digest = part.media.subtype == "digest";
        let mut inner = Vec::with_capacity(slices.len());
        for slice in slices {
            let (fields, body) = Fields::read(slice, self.limits.header_bytes)?;
            inner.push(self.read(&fields, body, is_digest, depth + 1)?);
        }
        part.body = Body::Parts(inner);
        Ok(part)
    }

    fn too_many_parts(&self) -> Failure {
        Failure::validation(format!("the message has more than {} parts", self.limits.parts))
    }
}

impl Part<'_> {
    fn name(&self) -> Option<String> {
        let name = self.disposition.parameter("filename").or_else(|| self.media.parameter("name"))?;
        Some(plain::one_line(name, NAME_CHARACTERS)).filter(|name| !name.is_empty())
    }

    /// What it is called and is, told so that a person knows it: invitations, Outlook's wrapping of what it attaches
    /// (TNEF) and forwarded messages often come without a name or under another type.
    fn attachment(&self) -> Attachment {
        let bytes = match &self.body {
            Body::Bytes(bytes) => self.encoding.decoded_length(bytes),
            Body::Parts(_) => 0,
        };
        let name = self.name();
        let is_tnef = self.media.is("application", "vnd.ms-tnef")
            || name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("winmail.dat"));
        let content_type = if is_tnef { TNEF.to_owned() } else { content_type(&self.media) };
        let usual_name = match content_type.as_str() {
            TNEF => Some("winmail.dat"),
            "text/calendar" => Some("invite.ics"),
            "message/rfc822" => Some("message.eml"),
            _ => None,
        };
        Attachment { name: name.or(usual_name.map(str::to_owned)), content_type, bytes: bytes as u64 }
    }

    fn decoded(&self) -> Vec<u8> {
        match self.body {
            Body::Bytes(bytes) => self.encoding.decode(bytes),
            Body::Parts(_) => Vec::new(),
        }
    }

    // A short look is enough: who leaves the first thousand characters empty says nothing. It is taken once,
    // for alternatives may stand within alternatives.
    fn says_something(&self) -> bool {
        *self.says_something.get_or_init(|| !self.to_text(1000).trim().is_empty())
    }

    /// The text of a part that is one, at most `limit` characters of it.
    fn to_text(&self, limit: usize) -> String {
        let Body::Bytes(bytes) = self.body else { return String::new() };
        let is_html = self.media.is("text", "html");
        // No character set needs more than four bytes for a character, no transfer encoding more than three
        // for a byte.
        let wanted = if is_html { self.html_room.get() } else { limit.saturating_mul(4) };
        let encoded = &bytes[..bytes.len().min(wanted.saturating_mul(3))];
        let mut decoded = self.encoding.decode(encoded);
        decoded.truncate(wanted);
        let text = decode_characters(&decoded, self.media.parameter("charset"));
        if is_html {
            self.html_room.set(self.html_room.get().saturating_sub(decoded.len()));
            return html::to_text(&text, limit);
        }
        let is_flowed =
            self.media.parameter("format").is_some_and(|format| format.trim().eq_ignore_ascii_case("flowed"));
        let text = plain::clean(&text, limit);
        if is_flowed {
            let deletes = self.media.parameter("delsp").is_some_and(|value| value.trim().eq_ignore_ascii_case("yes"));
            plain::unflow(&text, deletes)
        } else {
            text
        }
    }
}

/// Where a part stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the whole message.
    Root,
    /// Among parts that are shown one after the other.
    Shown,
    /// It serves another part, as the pictures of a page do.
    Serving,
}

/// What was found in a tree of parts.
#[derive(Default)]
struct Found<'tree, 'message> {
    texts: Vec<&'tree Part<'message>>,
    attached: Vec<&'tree Part<'message>>,
    /// A text of a kind that programs read, for a message that has no other.
    last_resort: Option<&'tree Part<'message>>,
}

impl<'tree, 'message> Found<'tree, 'message> {
    fn gather(&mut self, part: &'tree Part<'message>, place: Place) {
        let Body::Parts(inner) = &part.body else {
            self.take(part, place);
            return;
        };
        match part.media.subtype.as_str() {
            "alternative" => self.gather_alternatives(inner),
            "related" => {
                for (index, part) in inner.iter().enumerate() {
                    self.gather(
                        part,
                        if index == 0 && place != Place::Serving { Place::Shown } else { Place::Serving },
                    );
                }
            }
            _ => {
                let place = if place == Place::Serving { Place::Serving } else { Place::Shown };
                inner.iter().for_each(|part| self.gather(part, place));
            }
        }
    }

    /// One of the alternatives is the text: plain where it says something, else the last that does, for the
    /// sender puts the best one last. What is attached counts wherever it stands.
    fn gather_alternatives(&mut self, alternatives: &'tree [Part<'message>]) {
        let mut candidates: Vec<Self> = Vec::new();
        for alternative in alternatives {
            let mut candidate = Self::default();
            candidate.gather(alternative, Place::Shown);
            self.attached.append(&mut candidate.attached);
            candidates.push(candidate);
        }
        let best = candidates
            .iter()
            .position(|candidate| candidate.is_plain() && candidate.says_something())
            .or_else(|| candidates.iter().rposition(Self::says_something));
        if let Some(best) = best {
            self.texts.append(&mut candidates[best].texts);
        } else if self.last_resort.is_none() {
            self.last_resort = candidates.iter().find_map(|candidate| candidate.last_resort);
        }
    }

    fn take(&mut self, part: &'tree Part<'message>, place: Place) {
        let is_text = part.media.is("text", "plain") || part.media.is("text", "html");
        let is_set_apart = part.disposition.kind == "attachment" || place == Place::Serving;
        // A text with a file name is a file, unless there is nothing else.
        if is_text && !is_set_apart && (place == Place::Root || part.name().is_none()) {
            self.texts.push(part);
            return;
        }
        let is_program_text = ["calendar", "csv", "vcard", "x-vcard", "directory", "rfc822-headers"]
            .contains(&part.media.subtype.as_str());
        if part.media.kind == "text" && !is_set_apart && !is_program_text && self.last_resort.is_none() {
            self.last_resort = Some(part);
        }
        self.attached.push(part);
    }

    fn is_plain(&self) -> bool {
        self.texts.iter().all(|part| part.media.is("text", "plain"))
    }

    fn says_something(&self) -> bool {
        self.texts.iter().any(|part| part.says_something())
    }
}

// What a part is: text unless it says otherwise, a message inside of a digest (RFC 2045, section 5.2;
// RFC 2046, section 5.1.5).
fn media(fields: &Fields, in_digest: bool) -> Media {
    match fields.content_type() {
        Some(media) if media.is("text", "") => Media::new("text", "plain"),
        Some(media) => media,
        None if in_digest => Media::new("message", "rfc822"),
        None => Media::new("text", "plain"),
    }
}

fn content_type(media: &Media) -> String {
    let name = format!("{}/{}", media.kind, media.subtype);
    let is_token = |part: &str| {
        !part.is_empty()
            && part.len() <= 100
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    if is_token(&media.kind) && is_token(&media.subtype) { name } else { "application/octet-stream".to_owned() }
}

/// The parts between the lines that hold the boundary; `None` when there are more than `limit`.
fn split<'message>(body: &'message [u8], boundary: &[u8], limit: usize) -> Option<Vec<&'message [u8]>> {
    let mut slices = Vec::new();
    let mut start = None;
    let mut offset = 0;
    while offset < body.len() {
        let end = body[offset..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| offset + at + 1);
        if let Some(delimiter) = Delimiter::of(&body[offset..end], boundary) {
            if let Some(start) = start {
                slices.push(without_line_end(&body[start..offset]));
            }
            if slices.len() > limit {
                return None;
            }
            start = (delimiter == Delimiter::Next).then_some(end);
            if delimiter == Delimiter::Last {
                break;
            }
        }
        offset = end;
    }
    // A message that was cut off still has the beginning of its last part.
    slices.extend(start.map(|start| &body[start..]).filter(|rest| !rest.is_empty()));
    Some(slices)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Next,
    Last,
}

impl Delimiter {
    fn of(line: &[u8], boundary: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
        match rest {
            b"" => Some(Self::Next),
            b"--" => Some(Self::Last),
            _ => None,
        }
    }
}

// The line break before a delimiter belongs to the delimiter (RFC 2046, section 5.1.1).
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

// A multipart that does not say its boundary still shows it: a line that begins with `--`, and a field of a
// part's header on the next.
fn guess_boundary(body: &[u8]) -> Option<&[u8]> {
    let mut lines = body.split(|byte| *byte == b'\n').take(100).peekable();
    while let Some(line) = lines.next() {
        let candidate = line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end).filter(|rest| !rest.is_empty());
        let is_header = lines
            .peek()
            .and_then(|next| next.get(..8))
            .is_some_and(|beginning| beginning.eq_ignore_ascii_case(b"content-"));
        if candidate.is_some() && is_header {
            return candidate;
        }
    }
    None
}

impl Encoding {
    fn of(fields: &Fields) -> Self {
        let value = fields.first("content-transfer-encoding").unwrap_or_default();
        let name = value.split([';', ' ', '(']).next().unwrap_or_default();
        if name.eq_ignore_ascii_case("base64") {
            Self::Base64
        } else if name.eq_ignore_ascii_case("quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        self.decode_to(bytes, &mut |byte| decoded.push(byte));
        decoded
    }

    fn decoded_length(self, bytes: &[u8]) -> usize {
        let mut length = 0;
        self.decode_to(bytes, &mut |_| length += 1);
        length
    }

    fn decode_to(self, bytes: &[u8], take: &mut impl FnMut(u8)) {
        match self {
            Self::Identity => bytes.iter().copied().for_each(take),
            Self::Base64 => decode_base64(bytes, take),
            Self::QuotedPrintable => decode_quoted_printable(bytes, take),
        }
    }
}

/// Decodes base64 and passes over what does not belong to it. Where much does not, only the lines up to there
/// count (a mailing list that put its footer below), and where none does, it is no base64: taken as it is.
fn decode_base64(bytes: &[u8], take: &mut impl FnMut(u8)) {
    let is_foreign = |byte: &u8| six_bits(*byte).is_none() && *byte != b'=' && !byte.is_ascii_whitespace();
    let foreign = bytes.iter().filter(|byte| is_foreign(byte)).count();
    // One wrong byte in twenty: more is not an accident on the way.
    let encoded = if foreign > bytes.len() / 20 {
        let good = bytes.split_inclusive(|byte| *byte == b'\n').take_while(|line| !line.iter().any(is_foreign));
        let length: usize = good.map(<[u8]>::len).sum();
        &bytes[..length]
    } else {
        bytes
    };
    if encoded.trim_ascii().is_empty() {
        bytes.iter().copied().for_each(take);
        return;
    }
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in encoded {
        if *byte == b'=' {
            // Padding ends a run; some programs encode line by line.
            count = 0;
        } else if let Some(six) = six_bits(*byte) {
            bits = (bits << 6) | u32::from(six);
            count += 6;
            if count >= 8 {
                count -= 8;
                take((bits >> count) as u8);
            }
        }
    }
}

fn six_bits(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Decodes quoted-printable; an `=` that encodes nothing stays what it is (RFC 2045, section 6.7).
fn decode_quoted_printable(bytes: &[u8], take: &mut impl FnMut(u8)) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = line.trim_ascii_end();
        let is_soft = end.len() < line.len() && end.ends_with(b"=");
        let mut rest = if is_soft { &end[..end.len() - 1] } else { end };
        while let Some((&byte, after)) = rest.split_first() {
            let encoded = match after {
                [high, low, ..] if byte == b'=' => hex(*high).zip(hex(*low)),
                _ => None,
            };
            match encoded {
                Some((high, low)) => {
                    take((high << 4) | low);
                    rest = &after[2..];
                }
                None => {
                    take(byte);
                    rest = after;
                }
            }
        }
        if !is_soft && line.ends_with(b"\n") {
            take(b'\n');
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Bytes as text. What the part says counts unless a byte order mark says otherwise or it cannot be: text that
/// claims no set, ASCII, or one that nobody knows, is UTF-8 when it is valid UTF-8, else Windows-1252.
fn decode_characters(bytes: &[u8], charset: Option<&str>) -> String {
    let charset = charset.map(|name| name.trim_matches(|character: char| !character.is_ascii_alphanumeric()));
    let label = match (bytes, charset) {
        ([0xef, 0xbb, 0xbf, ..], _) => "utf-8",
        ([0xff, 0xfe, ..], _) | ([0xfe, 0xff, ..], _) => "utf-16",
        // Without a mark the text tells by where the zero bytes of its ASCII stand (RFC 2781, section 4.3).
        ([0, _, ..], Some(name)) if name.eq_ignore_ascii_case("utf-16") => "utf-16be",
        (_, Some(name)) => name,
        (_, None) => "",
    };
    let is_open = label.is_empty() || ["us-ascii", "ascii"].iter().any(|open| label.eq_ignore_ascii_case(open));
    let decoder = if is_open { None } else { charset_decoder(label.as_bytes()) };
    match decoder {
        Some(decode) => decode(bytes),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // Cut off in the middle of its last character.
            Err(error) if error.error_len().is_none() => String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into(),
            Err(_) => match charset_decoder(b"windows-1252") {
                Some(decode) => decode(bytes),
                None => String::from_utf8_lossy(bytes).into_owned(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: Encoding, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&encoding.decode(bytes)).into_owned()
    }

    #[test]
    fn base64_is_read_as_far_as_it_goes() {
        let cases = [
            ("SGVsbG8gdGhlcmU=", "Hello there"),
            ("SGVsbG8g\r\ndGhlcmU", "Hello there"),
            ("SGVsbG8=\nIHRoZXJl", "Hello there"),
            ("SGVsbG8gdGhlcmUgYW5kIGdvb2QgZGF5IHRvIHlvdQ!==", "Hello there and good day to you"),
            ("SGVsbG8gdGhlcmU=\n_______\nA list's footer: unsubscribe (here).", "Hello there"),
            ("No base64, is it?", "No base64, is it?"),
            ("S", ""),
            ("", ""),
        ];
        for (encoded, expected) in cases {
            assert_eq!(decode(Encoding::Base64, encoded.as_bytes()), expected, "{encoded:?}");
        }
    }

    #[test]
    fn quoted_printable_is_read_as_far_as_it_goes() {
        let cases = [
            ("a=3Db", "a=b"),
            ("soft =\r\nbreak", "soft break"),
            ("soft =  \nbreak", "soft break"),
            ("padding  \r\nnext", "padding\nnext"),
            ("kept=20\nnext", "kept \nnext"),
            ("100 = 100, =ZZ, =4", "100 = 100, =ZZ, =4"),
            ("=c3=bc", "ü"),
            ("ends=", "ends="),
        ];
        for (encoded, expected) in cases {
            assert_eq!(decode(Encoding::QuotedPrintable, encoded.as_bytes()), expected, "{encoded:?}");
        }
    }

    #[test]
    fn characters_are_read_in_the_set_they_are_in() {
        let cases: [(&[u8], Option<&str>, &str); 17] = [
            (b"\xd8\xed\xe8", Some("ISO-8859-2"), "Říč"),
            (b"\xc4\xe3\xba\xc3", Some("GB18030"), "你好"),
            (b"\xc4\xe3\xba\xc3", Some("gb2312"), "你好"),
            (b"\x93\xfa\x96{", Some("Shift_JIS"), "日本"),
            (b"\x1b$BF|K\\\x1b(B", Some("ISO-2022-JP"), "日本"),
            (b"\xbe\xc8\xb3\xe7", Some("euc-kr"), "안녕"),
            (b"\xcf\xf0\xe8", Some("windows-1251"), "При"),
            (b"\xff\xfeH\0i\0", Some("utf-16"), "Hi"),
            (b"\xfe\xff\0H\0i", None, "Hi"),
            (b"\0H\0i", Some("UTF-16"), "Hi"),
            (b"H\0i\0", Some("utf-16"), "Hi"),
            (b"Gr\xc3\xbc\xc3\x9fe", Some("us-ascii"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("no-such-set"), "Grüße"),
            (b"Gr\xfc\xdfe", None, "Grüße"),
            (b"Gr\xc3\xbc\xc3", None, "Grü"),
            (b"Gr\xfc\xdfe", Some("'iso-8859-1'"), "Grüße"),
            (b"", Some(""), ""),
        ];
        for (bytes, charset, expected) in cases {
            assert_eq!(decode_characters(bytes, charset).trim_start_matches('\u{feff}'), expected, "{charset:?}");
        }
    }

    #[test]
    fn a_boundary_must_be_a_line_of_its_own() {
        let body = b"preamble\r\n--b\r\none --b\r\n--bb\r\n--b  \r\ntwo\r\n--b--\r\nepilogue\r\n--b\r\nthree";
        let slices = split(body, b"b", 10).unwrap();
        assert_eq!(slices, [&b"one --b\r\n--bb"[..], b"two"]);
    }
}
