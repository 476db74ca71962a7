//! What kind of document some bytes are.

use ihelper_workflow::domain::Failure;

use super::{encoding, encrypted, mail, unsupported};

/// How far into a file the header of a PDF may stand, in bytes, as its readers allow.
const PDF_HEADER_REACH_BYTES: usize = 1024;

/// How many characters of a text are looked at to tell it from binary data.
const TEXT_SAMPLE_CHARACTERS: usize = 65_536;

/// A kind of document that is read, and the text of those that are text.
pub(super) enum Format {
    Pdf,
    /// A zip container: DOCX, XLSX, PPTX or ODT, told by what is in it.
    Package,
    Mail,
    Html(String),
    Csv(String),
    Markdown(String),
    Text(String),
}

impl Format {
    /// Tells the kind from the bytes; the name only separates kinds of plain text.
    ///
    /// # Errors
    /// This returns an error when the kind is known and not supported, or not known.
    pub(super) fn of(name: Option<&str>, bytes: &[u8]) -> Result<Self, Failure> {
        if contains(&bytes[..bytes.len().min(PDF_HEADER_REACH_BYTES)], b"%PDF-") {
            return Ok(Self::Pdf);
        }
        if bytes.starts_with(b"PK\x03\x04") {
            return Ok(Self::Package);
        }
        if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
            return Err(of_compound_file(bytes));
        }
        if let Some((_, kind)) = SIGNATURES
            .iter()
            .find(|((offset, mark), _)| bytes.get(*offset..).is_some_and(|rest| rest.starts_with(mark)))
        {
            return Err(unsupported(kind));
        }
        if mail::is_mail(bytes) {
            return Ok(Self::Mail);
        }
        let text = encoding::decode(bytes, encoding::declared_in_html(bytes));
        if is_binary(&text) {
            return Err(unsupported("binary data"));
        }
        Ok(Self::of_text(name, text))
    }

    fn of_text(name: Option<&str>, text: String) -> Self {
        let extension =
            name.and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension.to_ascii_lowercase());
        let markup = markup_of(&text);
        match (markup, extension.as_deref()) {
            (Markup::Page, _) => Self::Html(text),
            (_, Some("md" | "markdown" | "mdown" | "mkd")) => Self::Markdown(text),
            (Markup::Fragment, _) => Self::Html(text),
            (Markup::None, Some("csv" | "tsv")) => Self::Csv(text),
            (Markup::None, _) => Self::Text(text),
        }
    }
}

/// Marks of kinds that are not supported: where they stand, in bytes, and what they mean.
const SIGNATURES: &[((usize, &[u8]), &str)] = &[
    ((0, b"{\\rtf"), "rich text (RTF)"),
    ((0, b"\x89PNG\r\n\x1a\n"), "an image (PNG)"),
    ((0, b"\xff\xd8\xff"), "an image (JPEG)"),
    ((0, b"GIF8"), "an image (GIF)"),
    ((0, b"II*\0"), "an image (TIFF)"),
    ((0, b"MM\0*"), "an image (TIFF)"),
    ((8, b"WEBP"), "an image (WebP)"),
    ((4, b"ftyphei"), "an image (HEIC)"),
    ((4, b"ftypmif1"), "an image (HEIC)"),
    ((4, b"ftypavif"), "an image (AVIF)"),
    ((4, b"ftyp"), "a video (MP4)"),
    ((8, b"WAVE"), "a sound (WAV)"),
    ((0, b"ID3"), "a sound (MP3)"),
    ((0, b"OggS"), "a sound (Ogg)"),
    ((0, b"%!PS"), "PostScript"),
    ((0, b"PK\x05\x06"), "an empty zip archive"),
    ((0, b"PK\x07\x08"), "a split zip archive"),
    ((0, b"\x1f\x8b"), "a gzip archive"),
    ((0, b"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    ((0, b"Rar!\x1a\x07"), "a RAR archive"),
    ((0, b"BZh"), "a bzip2 archive"),
    ((0, b"\xfd7zXZ\0"), "an xz archive"),
    ((0, b"\x28\xb5\x2f\xfd"), "a Zstandard archive"),
    ((257, b"ustar"), "a tar archive"),
    ((0, b"\x7fELF"), "a program"),
    ((0, b"SQLite format 3\0"), "a database (SQLite)"),
];

/// The container of old office files, of Outlook's messages, and of every password-protected DOCX and XLSX.
fn of_compound_file(bytes: &[u8]) -> Failure {
    let has_stream = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        contains(bytes, &name)
    };
    if has_stream("EncryptedPackage") {
        encrypted()
    } else if has_stream("WordDocument") {
        unsupported("a Word document of before 2007 (DOC)")
    } else if has_stream("PowerPoint Document") {
        unsupported("a PowerPoint presentation of before 2007 (PPT)")
    } else if has_stream("Workbook") {
        unsupported("an Excel workbook of before 2007 (XLS)")
    } else if has_stream("__substg1.0_") {
        unsupported("an Outlook message (MSG)")
    } else {
        unsupported("a compound file of an unknown program")
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Text has next to no control characters and no characters that could not be decoded; more than one in fifty
/// is no text.
fn is_binary(text: &str) -> bool {
    let mut seen = 0_usize;
    let mut strange = 0_usize;
    for character in text.chars().take(TEXT_SAMPLE_CHARACTERS) {
        seen += 1;
        if character == '\u{fffd}' || (character.is_control() && !character.is_whitespace() && character != '\u{1b}') {
            strange += 1;
        }
    }
    strange * 50 > seen
}

#[derive(Clone, Copy)]
enum Markup {
    /// A whole page.
    Page,
    /// Something that begins with an element: HTML without a frame, or Markdown that opens with one.
    Fragment,
    None,
}

fn markup_of(text: &str) -> Markup {
    const PAGE: [&str; 4] = ["!doctype html", "html", "head", "body"];
    const FRAGMENT: [&str; 20] = [
        "div", "p", "span", "table", "ul", "ol", "section", "article", "main", "header", "h1", "h2", "h3", "style",
        "script", "meta", "title", "b", "font", "a",
    ];
    let mut rest = text.trim_start_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
    // Comments and declarations may stand before the first element.
    while let Some(after) = rest
        .strip_prefix("<!--")
        .map(|inside| ("-->", inside))
        .or_else(|| rest.strip_prefix("<?xml").map(|inside| ("?>", inside)))
    {
        let (end, inside) = after;
        match inside.split_once(end) {
            Some((_, behind)) => rest = behind.trim_start(),
            None => return Markup::None,
        }
    }
    let Some(tag) = rest.strip_prefix('<') else { return Markup::None };
    let begins_with = |name: &&str| {
        tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && tag[name.len()..].chars().next().is_some_and(|next| next == '>' || next == '/' || next.is_whitespace())
    };
    if PAGE.iter().any(&begins_with) {
        Markup::Page
    } else if FRAGMENT.iter().any(begins_with) {
        Markup::Fragment
    } else {
        Markup::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(name: Option<&str>, bytes: &[u8]) -> String {
        match Format::of(name, bytes) {
            Ok(Format::Pdf) => "pdf".to_owned(),
            Ok(Format::Package) => "package".to_owned(),
            Ok(Format::Mail) => "mail".to_owned(),
            Ok(Format::Html(_)) => "html".to_owned(),
            Ok(Format::Csv(_)) => "csv".to_owned(),
            Ok(Format::Markdown(_)) => "markdown".to_owned(),
            Ok(Format::Text(_)) => "text".to_owned(),
            Err(failure) => failure.message,
        }
    }

    fn compound_file(stream: &str) -> Vec<u8> {
        let mut bytes = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        bytes.resize(1024, 0);
        bytes.extend(stream.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    }

    #[test]
    fn the_bytes_decide_whatever_the_name_says() {
        assert_eq!(name_of(Some("notes.txt"), b"%PDF-1.7\n"), "pdf");
        assert_eq!(name_of(Some("page.txt"), b"<!DOCTYPE html><p>x"), "html");
        assert_eq!(name_of(Some("table.csv"), b"<?xml version=\"1.0\"?>\n<!-- x -->\n<html><p>x"), "html");
        assert_eq!(name_of(Some("contract.pdf"), b"just words"), "text");
        assert_eq!(name_of(Some("contract.docx"), b"PK\x03\x04"), "package");
    }

    #[test]
    fn the_name_separates_kinds_of_plain_text() {
        assert_eq!(name_of(Some("a.md"), b"# Title"), "markdown");
        assert_eq!(name_of(Some("README.MD"), b"<div align=center>logo</div>\n\n# Title"), "markdown");
        assert_eq!(name_of(Some("a.tsv"), b"a\tb"), "csv");
        assert_eq!(name_of(None, b"# Title"), "text");
        assert_eq!(name_of(Some("a"), b"<p>hello"), "html");
        assert_eq!(name_of(Some("a"), b"<parameter>hello"), "text");
    }

    #[test]
    fn each_unsupported_kind_is_named() {
        for (bytes, kind) in [
            (b"{\\rtf1 x".to_vec(), "rich text (RTF)"),
            (b"\x89PNG\r\n\x1a\n...".to_vec(), "an image (PNG)"),
            (compound_file("WordDocument"), "a Word document of before 2007 (DOC)"),
            (compound_file("PowerPoint Document"), "a PowerPoint presentation of before 2007 (PPT)"),
            (compound_file("Workbook"), "an Excel workbook of before 2007 (XLS)"),
            (vec![0, 1, 2, 3, 4, 5, 6, 7], "binary data"),
        ] {
            assert_eq!(name_of(None, &bytes), format!("the document is of a kind that is not supported: {kind}"));
        }
    }

    #[test]
    fn a_password_protected_office_file_is_encrypted_not_unsupported() {
        let message = name_of(Some("contract.docx"), &compound_file("EncryptedPackage"));
        assert_eq!(message, "the document is encrypted; it needs a password to be read");
    }

    #[test]
    fn cut_marks_are_text_or_binary_and_nothing_panics() {
        for bytes in [&b"<"[..], b"<!--", b"<?xml", b"PK", b"\xd0\xcf", b"<\xc3\xa9", b"%PDF", b"<html"] {
            let _ = name_of(Some("."), bytes);
        }
    }
}
