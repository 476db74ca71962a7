//! Mail: who wrote it, about what, its text and the names of what is attached.

use ihelper_workflow::{
    domain::{Failure, document::Content},
    mail,
};

use super::{Limits, text::Collector};

/// How far into a file its header is looked for, in bytes: a list of recipients may be long.
const HEADER_REACH_BYTES: usize = 64 * 1024;

/// Fields that a person writes, too.
const COMMON: [&str; 6] = ["from", "to", "cc", "subject", "date", "reply-to"];

/// Fields that only programs write.
const OF_PROGRAMS: [&str; 6] =
    ["message-id", "mime-version", "received", "return-path", "delivered-to", "dkim-signature"];

/// Whether bytes begin with the header of a message (RFC 5322): two of its fields, of which one is of those that
/// programs write, and nothing else before the empty line.
pub(super) fn is_mail(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_REACH_BYTES)]);
    let mut known = 0;
    let mut is_of_program = false;
    for (index, line) in head.split('\n').enumerate() {
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            break;
        }
        if index > 0 && line.starts_with([' ', '\t']) || index == 0 && line.starts_with("From ") {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { return false };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return false;
        }
        let name = name.to_ascii_lowercase();
        is_of_program |= OF_PROGRAMS.contains(&name.as_str());
        known += usize::from(COMMON.contains(&name.as_str()) || OF_PROGRAMS.contains(&name.as_str()));
    }
    known >= 2 && is_of_program
}

/// Reads a message. What it quotes of those before it is left out, and what is attached is only named.
///
/// # Errors
/// This returns an error when it names no sender, or has too many parts.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Content, Failure> {
    let limits_of_mail = mail::Limits {
        bytes: limits.max_bytes as u64,
        text_characters: limits.max_text_characters,
        ..mail::Limits::default()
    };
    // Some programs put a line of their own before the header.
    let message = match bytes.strip_prefix(b"From ") {
        Some(rest) => &rest[rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)..],
        None => bytes,
    };
    let email = mail::read_message("document", message, "", &limits_of_mail)?;
    let mut collector = Collector::new("mail", limits);
    collector.begin_section("message");
    let name = email.from_name.map(|name| format!("{name} ")).unwrap_or_default();
    collector.add_lines(&format!("From: {name}<{}>", email.from));
    if !email.subject.is_empty() {
        collector.add_lines(&format!("Subject: {}", email.subject));
    }
    collector.add_lines("");
    collector.add_lines(&email.text);
    if !email.attachments.is_empty() {
        collector.begin_section("attachments");
        for attachment in &email.attachments {
            let name = attachment.name.as_deref().unwrap_or("without a name");
            collector.add_lines(&format!("{name} ({}, {} bytes)", attachment.content_type, attachment.bytes));
        }
    }
    collector.finish("the message has no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_by_its_header_and_a_memo_is_none() {
        for (text, is) in [
            ("From: a@b.example\nMessage-ID: <1@b.example>\n\nhello", true),
            ("From a@b.example Mon Jan 1\nReceived: by x\n\tfor y\nSubject: hi\n\nhello", true),
            ("Return-Path: <a@b.example>\r\nFrom: a@b.example\r\n\r\nhello", true),
            ("From: Ann\nTo: Bob\nSubject: lease\n\nhello", false),
            ("Message-ID: <1@b.example>\nthis is text\n\n", false),
            ("Received: today\n\nFrom: a\n", false),
            ("\nFrom: a@b.example\nMessage-ID: <1>\n", false),
            ("", false),
        ] {
            assert_eq!(is_mail(text.as_bytes()), is, "{text:?}");
        }
    }

    #[test]
    fn a_message_has_its_text_and_the_names_of_its_attachments() {
        let raw = "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>\r\nSubject: The lease\r\nMIME-Version: 1.0\r\n\
                   Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
                   <p>The rent is <b>EUR 900</b>.</p><p style=\"display:none\">SECRET</p>\r\n--b\r\n\
                   Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"lease.pdf\"\r\n\r\n%PDF-\r\n\
                   --b--\r\n";
        assert!(is_mail(raw.as_bytes()));
        let content = read(raw.as_bytes(), &Limits::default()).unwrap();
        let sections: Vec<&str> = content.sections.iter().map(|section| section.label.as_str()).collect();
        assert_eq!((content.format.as_str(), sections), ("mail", vec!["message", "attachments"]));
        let text = &content.sections[0].text;
        assert!(text.starts_with("From: Zoë <zoe@example.com>\nSubject: The lease\n\nThe rent is EUR 900."), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
        assert!(content.sections[1].text.starts_with("lease.pdf (application/pdf, "), "{}", content.sections[1].text);
    }
}
