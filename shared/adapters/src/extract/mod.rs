//! Port `Extractor`: the text of a document, read in a process of its own.
//!
//! # Purpose
//! Documents come from outside and are hostile until read. No PDF reader survives every file in process: some
//! abort for want of memory, some overflow the stack, and neither can be caught. So [`IsolatedExtractor`] starts
//! the running binary a second time, as a child that limits its own memory and time and does nothing but
//! [`extract`]; when it dies, the document has failed and the function has not.
//!
//! # Invariants
//! - The kind of a document is told from its bytes; its name only separates Markdown, CSV and plain text.
//! - Every document ends within [`Limits`]: in its text, in text marked `truncated`, or in an error of kind
//!   `Validation` that names what is wrong. A document without text is an error, never an empty success.
//! - What a reader of the document does not see does not reach the text where the format tells: hidden elements
//!   of a page, hidden runs of a DOCX, hidden sheets, text beside a PDF's page, invisible characters.
//! - The text is in reading order, one space between words, no control characters: what is quoted from it can be
//!   found in it again.
//! - No error message and no log quotes the document.
//!
//! # Deliberately absent
//! - OCR: a scanned document is an error that says so. The invisible text layer of a document that was already
//!   recognized is read, so a PDF may carry text that its page does not show.
//! - Old and rich formats (DOC, XLS, PPT, RTF, ODS, ODP, images): each is an error with its name.
//! - What a mail has attached and what it quotes of earlier mail; a presentation's notes for its speaker.
//! - A DOCX's headers, footers, comments and automatic numbers; formulas of a workbook (their values are read).
//! - A pool of children, kept warm: one document, one child. From start to end with a line of text it was measured to
//!   take 1.4 ms, where `true` takes 0.6 (`make bench-documents`): nothing beside a document that takes 50 to 700, and
//!   what one document leaves in its child's memory no other ever meets.

mod archive;
mod child;
mod csv;
mod docx;
mod encoding;
mod format;
mod html;
mod isolated;
mod mail;
mod markdown;
mod odt;
mod pdf;
mod plain;
mod pptx;
mod text;
mod xlsx;

use std::time::Duration;

use ihelper_workflow::domain::{Failure, document::Content};
use serde::{Deserialize, Serialize};

pub use child::run_if_child;
pub use isolated::IsolatedExtractor;

use archive::Package;
use format::Format;

const MEBIBYTE: u64 = 1024 * 1024;

/// How much one document may take. What is called measured was, in the quick profile on one development machine;
/// the other reasons are estimates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The size of a file, in bytes. 32 MiB: a long contract with pictures in it stays under, and the file is held
    /// twice on its way, by the function and by the child.
    pub max_bytes: usize,
    /// The length of the text, in characters; what is beyond is left out and the content says `truncated`.
    /// 2,000,000: some thousand pages, more than a review of every part can pay for.
    pub max_text_characters: usize,
    /// How many pages a PDF may have. 2,000, to go with the text: a page has a thousand characters and more.
    pub max_pages: usize,
    /// The child's address space, in bytes. 512 MiB. Measured to be enough: 128 for plain text of 32 MiB, 192 for a
    /// workbook with 2,000,000 different texts, 24 for a PDF of a million characters. HTML is the hungry one: 384
    /// for a page of 8 MB, and more than 512, so that it is refused, for one of 6 MB in short paragraphs with many
    /// marks. It is the address space that is limited; the memory taken is less.
    pub max_memory_bytes: u64,
    /// How many bytes the compressed parts of one document may come to together. 256 MiB: eight times the
    /// largest file. Text in XML unpacks to more than that, but files that large are mostly pictures, which do not.
    pub max_decompressed_bytes: u64,
    /// How long one document may take by the clock, and by the child's processor rounded up to a second.
    /// 30 s: measured, the documents above take three at most; a slower processor has room.
    pub timeout: Duration,
    /// How many children run at once, at least one; further documents wait. 2: their address spaces together
    /// stay below the memory of a function that has a whole processor (1,769 MB).
    pub max_children: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 32 * 1024 * 1024,
            max_text_characters: 2_000_000,
            max_pages: 2_000,
            max_memory_bytes: 512 * MEBIBYTE,
            max_decompressed_bytes: 256 * MEBIBYTE,
            timeout: Duration::from_secs(30),
            max_children: 2,
        }
    }
}

/// Reads a document in this process: what the child does. Its kind is told from its bytes.
///
/// Only the sizes of `limits` hold here. Memory and time are limited by the process, so a hostile document may
/// end the caller: call this for trusted bytes only, and [`IsolatedExtractor`] for all others.
///
/// # Errors
/// This returns an error of kind `Validation` when the document is empty, too large, of too many pages, encrypted,
/// corrupt, scanned, without text, or of a kind that is not supported.
pub fn extract(name: Option<&str>, bytes: &[u8], limits: &Limits) -> Result<Content, Failure> {
    check_size(bytes, limits)?;
    match Format::of(name, bytes)? {
        Format::Pdf => pdf::read(bytes, limits),
        Format::Package => {
            let mut package = Package::open(bytes, limits)?;
            match package.kind()? {
                archive::Kind::Document { main_part } => docx::read(package, &main_part, limits),
                archive::Kind::Workbook => xlsx::read(package, bytes, limits),
                archive::Kind::Presentation { main_part } => pptx::read(package, &main_part, limits),
                archive::Kind::OpenText => odt::read(package, limits),
            }
        }
        Format::Mail => mail::read(bytes, limits),
        Format::Html(text) => html::read(&text, limits),
        Format::Csv(text) => csv::read(&text, limits),
        Format::Markdown(text) => markdown::read(&text, limits),
        Format::Text(text) => plain::read(&text, limits),
    }
}

fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Err(Failure::validation("the document is empty"));
    }
    if bytes.len() > limits.max_bytes {
        return Err(Failure::validation(format!(
            "the document is too large: {} bytes, where {} are read",
            bytes.len(),
            limits.max_bytes
        )));
    }
    Ok(())
}

fn corrupt(what: &str) -> Failure {
    Failure::validation(format!("the document is corrupt: {what}"))
}

fn encrypted() -> Failure {
    Failure::validation("the document is encrypted; it needs a password to be read")
}

fn unsupported(kind: &str) -> Failure {
    Failure::validation(format!("the document is of a kind that is not supported: {kind}"))
}

fn expands_too_far(limit_bytes: u64) -> Failure {
    Failure::validation(format!("the document unpacks to more than {} MiB", limit_bytes / MEBIBYTE))
}
