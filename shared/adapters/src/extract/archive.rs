//! Office packages: zip containers of XML parts, read with every byte counted.

use std::{
    cell::Cell,
    io::{self, BufReader, Cursor, Read},
};

use ihelper_workflow::domain::Failure;
use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    reader::Reader,
};
use zip::ZipArchive;

use super::{Limits, corrupt, expands_too_far, unsupported};

/// How many entries a package may have. Room for a thousand sheets with several parts each.
const MAX_ENTRIES: usize = 10_000;

/// What a package holds.
pub(super) enum Kind {
    /// A DOCX, and the part with its text.
    Document { main_part: String },
    /// An XLSX.
    Workbook,
    /// A PPTX, and the part that lists its slides.
    Presentation { main_part: String },
    /// An ODT.
    OpenText,
}

/// A zip container whose parts may come to so many bytes together, however often they are read.
pub(super) struct Package<'b> {
    archive: ZipArchive<Cursor<&'b [u8]>>,
    bytes_left: Cell<u64>,
    limit_bytes: u64,
}

impl<'b> Package<'b> {
    /// Reads the container's directory.
    ///
    /// # Errors
    /// This returns an error when it is not a zip container, or has too many entries.
    pub(super) fn open(bytes: &'b [u8], limits: &Limits) -> Result<Self, Failure> {
        let archive =
            ZipArchive::new(Cursor::new(bytes)).map_err(|_| corrupt("its zip container is damaged or cut short"))?;
        if archive.len() > MAX_ENTRIES {
            return Err(Failure::validation(format!("the document has more than {MAX_ENTRIES} parts")));
        }
        let limit_bytes = limits.max_decompressed_bytes;
        Ok(Self { archive, bytes_left: Cell::new(limit_bytes), limit_bytes })
    }

    /// Tells what the package holds, by its own table of contents.
    ///
    /// # Errors
    /// This returns an error when it holds something that is not supported, or is damaged.
    pub(super) fn kind(&mut self) -> Result<Kind, Failure> {
        if !self.has_part("[Content_Types].xml") {
            return self.kind_of_other_archive();
        }
        let mut main_part = None;
        self.read_part("_rels/.rels", |event| {
            if let Event::Start(element) | Event::Empty(element) = event
                && element.local_name().as_ref() == "Relationship"
                && attribute(element, "Type").is_some_and(|kind| kind.ends_with("/officeDocument"))
                && main_part.is_none()
            {
                main_part = attribute(element, "Target").map(|target| target.trim_start_matches('/').to_owned());
            }
            Ok(())
        })?;
        let main_part = main_part.ok_or_else(|| corrupt("its package names no main part"))?;
        let mut content_type = None;
        self.read_part("[Content_Types].xml", |event| {
            if let Event::Start(element) | Event::Empty(element) = event
                && element.local_name().as_ref() == "Override"
                && attribute(element, "PartName").is_some_and(|name| name.trim_start_matches('/') == main_part)
            {
                content_type = attribute(element, "ContentType");
            }
            Ok(())
        })?;
        let content_type = content_type.unwrap_or_default();
        let is = |words: &[&str]| words.iter().any(|word| content_type.contains(word));
        if is(&["wordprocessingml", "ms-word"]) {
            Ok(Kind::Document { main_part })
        } else if is(&["sheet.binary"]) {
            Err(unsupported("a binary Excel workbook (XLSB)"))
        } else if is(&["spreadsheetml", "ms-excel"]) {
            Ok(Kind::Workbook)
        } else if is(&["presentationml", "ms-powerpoint"]) {
            Ok(Kind::Presentation { main_part })
        } else {
            Err(unsupported("an office package of an unknown program"))
        }
    }

    /// Whether there is a part of this name.
    pub(super) fn has_part(&self, name: &str) -> bool {
        self.archive.index_for_name(name).is_some()
    }

    /// Reads a part's XML event by event. A document type definition is refused: no office program writes one,
    /// and the entities that it would define are how small XML becomes large.
    ///
    /// # Errors
    /// This returns an error when the part is missing or damaged, when the package unpacks to more than its
    /// limit, and the first error of `on_event`.
    pub(super) fn read_part(
        &mut self,
        name: &str,
        mut on_event: impl FnMut(&Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let limit_bytes = self.limit_bytes;
        let damaged = |left: &Cell<u64>| match left.get() {
            0 => expands_too_far(limit_bytes),
            _ => corrupt("a part of it is damaged or cut short"),
        };
        let left = &self.bytes_left;
        let entry = self.archive.by_name(name).map_err(|_| corrupt("a part of it is missing or damaged"))?;
        let mut reader = Reader::from_reader(BufReader::new(Counted { inner: entry, left }));
        let mut buffer = Vec::new();
        let mut depth = 0_u64;
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer).map_err(|_| damaged(left))?;
            match &event {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth = depth.saturating_sub(1),
                Event::DocType(_) => return Err(corrupt("it defines entities, as no office program does")),
                Event::Eof if depth > 0 => return Err(damaged(left)),
                Event::Eof => return Ok(()),
                _ => {}
            }
            on_event(&event)?;
        }
    }

    /// Unpacks every part and throws it away, for a reader that does not count what it unpacks.
    ///
    /// # Errors
    /// This returns an error when a part is damaged, or the package unpacks to more than its limit. What a part
    /// says of its own size is not believed.
    pub(super) fn check_sizes(&mut self) -> Result<(), Failure> {
        for index in 0..self.archive.len() {
            let left = &self.bytes_left;
            let entry = self.archive.by_index(index).map_err(|_| corrupt("a part of it is damaged"))?;
            io::copy(&mut Counted { inner: entry, left }, &mut io::sink()).map_err(|_| match left.get() {
                0 => expands_too_far(self.limit_bytes),
                _ => corrupt("a part of it is damaged or cut short"),
            })?;
        }
        Ok(())
    }

    fn kind_of_other_archive(&mut self) -> Result<Kind, Failure> {
        let mut media_type = String::new();
        if let Ok(entry) = self.archive.by_name("mimetype") {
            // A media type is some seventy bytes; what fails to be read is simply not one.
            let _ = entry.take(200).read_to_string(&mut media_type);
        }
        if media_type.contains("opendocument.text") {
            return Ok(Kind::OpenText);
        }
        Err(unsupported(if media_type.contains("opendocument.spreadsheet") {
            "an OpenDocument spreadsheet (ODS)"
        } else if media_type.contains("opendocument.presentation") {
            "an OpenDocument presentation (ODP)"
        } else if media_type.contains("opendocument") {
            "an OpenDocument file"
        } else if media_type.contains("epub") {
            "an electronic book (EPUB)"
        } else {
            "a zip archive"
        }))
    }
}

/// The value of an attribute by its local name, with references to characters resolved.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    // A check for doubled names would compare each with all others, of which a hostile element may have millions.
    let found =
        element.attributes().with_checks(false).flatten().find(|found| found.key.local_name().as_ref() == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
}

/// A reader that fails when more bytes come than are left.
struct Counted<'c, R> {
    inner: R,
    left: &'c Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64).filter(|left| *left > 0);
        // Zero means "too much" to whoever sees the error, so the last byte allowed is one that never comes.
        self.left.set(left.unwrap_or(0));
        if left.is_none() { Err(io::Error::other("too many bytes")) } else { Ok(read) }
    }
}
