//! An answer in the thread of the email that it answers.
//!
//! Invariants: the one recipient is the sender of that email ([`Email::recipient`]), whatever else the email or the draft says; ids
//! are printable ASCII in angle brackets; the subject is one line. So nothing that a sender wrote can add a
//! field to what goes out.

use super::{
    fields::Fields,
    plain::{cut_bytes, one_line},
};
use crate::domain::email::{Draft, Email, OutgoingMail};

/// The most ids in `References`. Threads are longer, but mail programs find their place by the newest and the
/// first.
const MAX_REFERENCES: usize = 20;

/// The longest `References`, in bytes: below the 998 that a line may have (RFC 5322, section 2.1.1).
const MAX_REFERENCES_BYTES: usize = 900;

/// The longest id, in bytes; two of them fit into `References`.
const MAX_ID_BYTES: usize = 400;

/// How much of an email's `References` is looked at from its end, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The longest subject of an answer, in characters.
const SUBJECT_CHARACTERS: usize = 200;

/// What mail programs put before the subject of an answer, in the languages that do not use `Re`.
const REPLY_PREFIXES: [&str; 14] =
    ["re", "aw", "antw", "antwort", "sv", "vs", "odp", "rif", "ynt", "回复", "回覆", "答复", "答覆", "返信"];

/// Addresses a draft to the sender of the email, in its thread (RFC 5322, section 3.6.4).
pub fn reply_to(email: &Email, draft: &Draft) -> OutgoingMail {
    let in_reply_to = email.message_id.as_deref().filter(|id| is_id(id)).map(str::to_owned);
    let parents = email.references.iter().map(String::as_str).chain(in_reply_to.as_deref());
    OutgoingMail {
        to: email.recipient().to_owned(),
        subject: reply_subject(&draft.subject, &email.subject),
        text: draft.text.clone(),
        references: bounded(parents.filter(|id| is_id(id))),
        in_reply_to,
        is_reply: true,
    }
}

/// The email's own id.
pub(super) fn message_id(fields: &Fields) -> Option<String> {
    fields.all("message-id").flat_map(ids).next().map(str::to_owned)
}

/// What the email refers to: its `References`, else the one id in its `In-Reply-To` (of several, none is known
/// to be the parent; RFC 5322, section 3.6.4).
pub(super) fn references(fields: &Fields) -> Vec<String> {
    let references = bounded(fields.all("references").flat_map(ids));
    if !references.is_empty() {
        return references;
    }
    let mut parents = fields.all("in-reply-to").flat_map(ids);
    match (parents.next(), parents.next()) {
        (Some(only), None) => vec![only.to_owned()],
        _ => Vec::new(),
    }
}

// The well-formed ids in a field, in order.
fn ids(value: &str) -> impl Iterator<Item = &str> {
    // Of a field that is far too long, the first id and the newest are in reach.
    let (head, tail) = if value.len() > READ_BYTES {
        (cut_bytes(value, MAX_ID_BYTES), &value[value.ceil_char_boundary(value.len() - READ_BYTES)..])
    } else {
        ("", value)
    };
    [head, tail].into_iter().flat_map(|part| {
        part.split_inclusive('>').filter_map(|piece| {
            let id = &piece[piece.rfind('<')?..];
            is_id(id).then_some(id)
        })
    })
}

fn is_id(id: &str) -> bool {
    let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
    id.len() <= MAX_ID_BYTES
        && inner.is_some_and(|inner| {
            !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>')
        })
}

// The first id and the newest ones, each once.
fn bounded<'id>(ids: impl Iterator<Item = &'id str>) -> Vec<String> {
    let all: Vec<&str> = ids.collect();
    let Some((first, others)) = all.split_first() else { return Vec::new() };
    let mut kept: Vec<&str> = Vec::new();
    let mut bytes = first.len();
    for id in others.iter().rev() {
        if id == first || kept.contains(id) {
            continue;
        }
        bytes += 1 + id.len();
        if kept.len() + 1 >= MAX_REFERENCES || bytes > MAX_REFERENCES_BYTES {
            break;
        }
        kept.push(id);
    }
    kept.push(first);
    kept.into_iter().rev().map(str::to_owned).collect()
}

fn reply_subject(draft: &str, original: &str) -> String {
    // A line longer than the limit loses its end anyway; the room is for the prefixes that go.
    let subject = |text: &str| without_reply_prefix(&one_line(text, 4 * SUBJECT_CHARACTERS)).to_owned();
    let subject = [subject(draft), subject(original)].into_iter().find(|subject| !subject.is_empty());
    one_line(&format!("Re: {}", subject.as_deref().unwrap_or("your message")), SUBJECT_CHARACTERS)
}

fn without_reply_prefix(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some(after) = strip_reply_prefix(rest) {
        rest = after.trim_start();
    }
    rest
}

// `Re:`, `AW :`, `Re[2]:`, `RE(3):`, `回复：`
fn strip_reply_prefix(subject: &str) -> Option<&str> {
    let (prefix, rest) = subject.split_once([':', '：'])?;
    let prefix = prefix.trim_end();
    let word = match prefix.strip_suffix([']', ')']) {
        Some(counted) => {
            counted.trim_end_matches(|character: char| character.is_ascii_digit()).strip_suffix(['[', '('])?.trim_end()
        }
        None => prefix,
    };
    let word = word.to_lowercase();
    REPLY_PREFIXES.contains(&word.as_str()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn email() -> Email {
        Email {
            from: "ann@b.example".to_owned(),
            subject: "The heating".to_owned(),
            message_id: Some("<3@b.example>".to_owned()),
            references: vec!["<1@b.example>".to_owned(), "<2@b.example>".to_owned()],
            ..Email::default()
        }
    }

    fn draft(subject: &str) -> Draft {
        Draft { subject: subject.to_owned(), text: "We are on our way.".to_owned() }
    }

    fn fields(headers: &[(&str, &str)]) -> Fields {
        let map: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Fields::from_map(&map)
    }

    #[test]
    fn nothing_in_ids_or_subjects_can_add_a_field() {
        let mut email = email();
        email.message_id = Some("<3@b.example>\r\nBcc: c@d.example".to_owned());
        email.references = vec!["<1@b.example\r\nBcc: c@d.example>".to_owned(), "none".to_owned(), "<>".to_owned()];
        let mail = reply_to(&email, &draft("Hello\r\nBcc: c@d.example\0"));
        assert_eq!(mail.in_reply_to, None);
        assert_eq!(mail.references, Vec::<String>::new());
        assert_eq!(mail.subject, "Re: Hello Bcc: c@d.example");
        assert_eq!(mail.to, "ann@b.example");
    }

    #[test]
    fn an_answer_stands_in_its_thread() {
        let mail = reply_to(&email(), &draft("Re: The heating"));
        assert_eq!(mail.in_reply_to.as_deref(), Some("<3@b.example>"));
        assert_eq!(mail.references, ["<1@b.example>", "<2@b.example>", "<3@b.example>"]);
        assert_eq!(mail.subject, "Re: The heating");
        assert_eq!(mail.text, "We are on our way.");
        assert!(mail.is_reply);
    }

    #[test]
    fn a_long_thread_keeps_its_first_and_its_newest_ids() {
        let mut email = email();
        email.references = (0..500).map(|number| format!("<{number:04}@b.example>")).collect();
        let references = reply_to(&email, &draft("x")).references;
        assert_eq!(references.len(), MAX_REFERENCES);
        assert_eq!(references.first().map(String::as_str), Some("<0000@b.example>"));
        assert_eq!(references[1], "<0482@b.example>");
        assert_eq!(references.last().map(String::as_str), Some("<3@b.example>"));

        email.references = (0..20).map(|number| format!("<{number}{}@b.example>", "a".repeat(300))).collect();
        let references = reply_to(&email, &draft("x")).references;
        assert!(references.join(" ").len() <= MAX_REFERENCES_BYTES);
        assert!(references[0].starts_with("<0a") && references.len() == 3);
        assert_eq!(references.last().map(String::as_str), Some("<3@b.example>"));
    }

    #[test]
    fn the_parent_is_known_only_when_there_is_one() {
        type Headers<'case> = &'case [(&'case str, &'case str)];
        let cases: [(Headers<'_>, &[&str]); 6] = [
            (&[("References", "<1@b> <2@b>"), ("In-Reply-To", "<9@b>")], &["<1@b>", "<2@b>"]),
            (&[("In-Reply-To", "<9@b>")], &["<9@b>"]),
            (&[("In-Reply-To", "your mail of Monday <9@b>")], &["<9@b>"]),
            (&[("In-Reply-To", "<8@b> <9@b>")], &[]),
            (&[("References", "<1@b><2@b>,<1@b> junk <a b> <ü@b> <3@b")], &["<1@b>", "<2@b>"]),
            (&[], &[]),
        ];
        for (headers, expected) in cases {
            assert_eq!(references(&fields(headers)), expected, "{headers:?}");
        }
        assert_eq!(message_id(&fields(&[("Message-ID", " <1@b> ")])).as_deref(), Some("<1@b>"));
        assert_eq!(message_id(&fields(&[("Message-ID", "1@b")])), None);
    }

    #[test]
    fn a_subject_answers_once() {
        let cases = [
            ("", "The heating", "Re: The heating"),
            ("The heating", "x", "Re: The heating"),
            ("RE: re: The heating", "x", "Re: The heating"),
            ("AW: Re[2]: SV: Antw: The heating", "x", "Re: The heating"),
            ("Re(3) : The heating", "x", "Re: The heating"),
            ("回复：暖气", "x", "Re: 暖气"),
            ("Fwd: The heating", "x", "Re: Fwd: The heating"),
            ("Report: done", "x", "Re: Report: done"),
            ("Re:", "  ", "Re: your message"),
            ("", "", "Re: your message"),
            ("two\nlines", "x", "Re: two lines"),
        ];
        for (draft, original, expected) in cases {
            assert_eq!(reply_subject(draft, original), expected, "{draft:?} {original:?}");
        }
        assert_eq!(reply_subject(&"ä".repeat(3000), "").chars().count(), SUBJECT_CHARACTERS);
    }
}
