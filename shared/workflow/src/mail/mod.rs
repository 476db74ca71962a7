//! Mail: read into the domain, held against the rules for machines that answer, and answered in its thread.
//!
//! [`read_message`] takes a whole MIME message, [`from_fields`] what JSON has of one; both give the same
//! [`Email`]. [`reply_to`] addresses the answer, [`as_html`] gives it its second form, and [`attachment`] takes a file
//! out of a message.
//!
//! Invariants: an [`Email`] that was read from a message has a sender that mail may be sent to; its subject is
//! one line; its text holds no control character but line breaks and tabs, and nothing that a person would not
//! see; every list in it is bounded. No message, however hostile, takes more than linear time or a small
//! multiple of its size in memory.
//!
//! Deliberately absent: reading what attachments and forwarded messages say, signatures and encryption (the mail service
//! has checked who sent it), `Reply-To` (RFC 3834, section 4: it is a wish of the message, and would send our words
//! wherever its writer likes), and any writing of MIME, which is the mailer's.

pub mod address;
mod alternative;
mod automatic;
mod fields;
mod html;
mod mime;
mod plain;
mod quoting;
/// The first address in what stands in `To` or `From`: `a@b.example` of `Ann <a@b.example>`.
pub fn first_address(field: &str) -> Option<String> {
    fields::first_mailbox(field).map(|(address, _)| address).filter(|address| address::is_valid(address))
}

/// A header's text with its encoded words (RFC 2047) decoded, on one line.
pub fn decoded_words(text: &str) -> String {
    fields::decoded(text)
}

#[cfg(test)]
mod tests;
mod threading;
mod verdicts;

pub use alternative::as_html;
pub(crate) use plain::{clean, one_line};
pub use threading::reply_to;

use std::borrow::Cow;

use crate::domain::{
    Failure,
    email::{Email, EmailInput},
};
use fields::Fields;

/// How much of a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes. 32 MiB unless said: mail services take 25 to 40 MB.
    pub bytes: u64,
    /// The largest header section of the message or of one part, in bytes. 512 KiB unless said: a long list
    /// of recipients fills 100 KB.
    pub header_bytes: usize,
    /// The most parts. 1,000 unless said: one for each attachment and a few around them.
    pub parts: usize,
    /// How deep parts may stand within parts. 32 unless said: mail programs nest four, forwarding adds a few.
    pub depth: usize,
    /// How much text is kept, in characters; the rest is cut off. 200,000 unless said: a hundred pages.
    pub text_characters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, header_bytes: 512 * 1024, parts: 1000, depth: 32, text_characters: 200_000 }
    }
}

/// The longest subject kept, in characters; RFC 5322 allows no longer line.
const SUBJECT_CHARACTERS: usize = 998;

/// The longest display name kept, in characters.
const NAME_CHARACTERS: usize = 200;

/// Reads a MIME message. `own_address` is the address that answers go out from; mail from there is never
/// answered.
///
/// # Errors
/// This returns an error of kind `Validation` when the message is larger than a limit, has more or deeper
/// parts, or names no sender in `From` that mail may be sent to.
pub fn read_message(id: &str, raw: &[u8], own_address: &str, limits: &Limits) -> Result<Email, Failure> {
    if raw.len() as u64 > limits.bytes {
        return Err(Failure::validation(format!("the message is larger than {} bytes", limits.bytes)));
    }
    let raw = with_line_feeds(raw);
    let (fields, body) = Fields::read(&raw, limits.header_bytes)?;
    let Some((from, from_name)) = fields.first("from").and_then(fields::first_mailbox) else {
        return Err(Failure::validation("the message names no sender in `From`"));
    };
    if !address::is_valid(&from) {
        return Err(Failure::validation("the address in `From` is not one that mail may be sent to"));
    }
    let content = mime::read(&fields, body, limits)?;
    let verdicts = verdicts::read(&fields);
    let email = Email {
        id: id.to_owned(),
        from_name,
        envelope_from: verdicts::other_sender(&fields, &from, &verdicts),
        attachments: content.attachments,
        verdicts,
        ..Email::default()
    };
    let subject = fields.first("subject").unwrap_or_default();
    Ok(finish(email, from, subject, &content.text, &fields, own_address))
}

/// What is attached to a message at this place in [`Email::attachments`], decoded; `None` when nothing is.
///
/// # Errors
/// As [`read_message`].
pub fn attachment(raw: &[u8], index: usize, limits: &Limits) -> Result<Option<Vec<u8>>, Failure> {
    if raw.len() as u64 > limits.bytes {
        return Err(Failure::validation(format!("the message is larger than {} bytes", limits.bytes)));
    }
    let raw = with_line_feeds(raw);
    let (fields, body) = Fields::read(&raw, limits.header_bytes)?;
    mime::attachment(&fields, body, index, limits)
}

/// Makes an email of what JSON has of one: sender, subject, text and header fields, whose names may be in
/// either case. The sender was checked where the input was parsed; one that mail may not be sent to all the
/// same gets no answer.
pub fn from_fields(input: &EmailInput, own_address: &str) -> Email {
    let fields = Fields::from_map(&input.headers);
    let subject = input.subject.as_deref().or_else(|| fields.first("subject")).unwrap_or_default();
    let content = clean(input.content.as_deref().unwrap_or_default(), Limits::default().text_characters);
    let from = input.from.as_deref().unwrap_or_default().trim().to_owned();
    // A name counts only when it stands beside the same address.
    let from_name = fields
        .first("from")
        .and_then(fields::first_mailbox)
        .filter(|(address, _)| address.eq_ignore_ascii_case(&from))
        .and_then(|(_, name)| name);
    let verdicts = input.verdicts.or(verdicts::read(&fields));
    let email = Email { id: input.id.clone(), from_name, verdicts, ..Email::default() };
    finish(email, from, subject, &content, &fields, own_address)
}

// Some programs end lines as typewriters do.
fn with_line_feeds(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.contains(&b'\n') || !raw.contains(&b'\r') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect())
}

// What both ways of reading have in common.
fn finish(email: Email, from: String, subject: &str, text: &str, fields: &Fields, own_address: &str) -> Email {
    let from_name = email.from_name.map(|name| one_line(&name, NAME_CHARACTERS)).filter(|name| !name.is_empty());
    let no_reply_because = if address::is_valid(&from) {
        let senders = [Some(from.as_str()), email.envelope_from.as_deref()];
        automatic::no_reply_because(fields, &senders.into_iter().flatten().collect::<Vec<_>>(), own_address)
    } else {
        Some("the sender's address is not one that mail may be sent to".to_owned())
    };
    Email {
        from,
        from_name,
        subject: one_line(&fields::decoded(subject), SUBJECT_CHARACTERS),
        text: quoting::own_words(text),
        message_id: threading::message_id(fields),
        references: threading::references(fields),
        no_reply_because,
        ..email
    }
}
