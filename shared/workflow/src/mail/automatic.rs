//! Which mail no machine may answer: RFC 3834, and what programs do that do not follow it.
//!
//! The rules err towards silence: a person whose mail gets no automatic answer loses little, two machines that
//! answer each other lose everything. None of them trusts a field to permit an answer; each only forbids.
//!
//! A reason says which rule held. It quotes nothing of the message, so it may stand in logs and records.
//!
//! Deliberately absent: guesses from the subject or the text, which are the assistant's; and the one answer
//! per sender and window (RFC 3834, section 2), which needs a memory and is
//! [`AnswerLedger`](crate::ports::AnswerLedger)'s.

use super::{
    address,
    fields::{Fields, Media},
};

/// Why no machine may answer, where that is so; the first rule that holds.
/// `senders` are all addresses that it says it is from.
pub(super) fn no_reply_because(fields: &Fields, senders: &[&str], own_address: &str) -> Option<String> {
    let rules: [Option<&str>; 12] = [
        senders.iter().find_map(|sender| own_mail(sender, own_address)),
        empty_return_path(fields),
        auto_submitted(fields),
        mailing_list(fields),
        precedence(fields),
        senders.iter().find_map(|sender| machine_sender(sender)),
        suppressed(fields),
        automatic_reply(fields),
        report(fields),
        bounce(fields),
        looped(fields),
        machine_generated(fields),
    ];
    rules.into_iter().flatten().next().map(str::to_owned)
}

/// Our own mail, come back: an answer would be answered again (RFC 3834, section 2).
fn own_mail(from: &str, own_address: &str) -> Option<&'static str> {
    // The setting may carry a display name.
    let own = super::fields::first_mailbox(own_address).map_or(own_address.trim().to_owned(), |(address, _)| address);
    address::same_mailbox(from, &own).then_some("it comes from the address that answers are sent from")
}

/// The sender wants nothing back: a bounce, or a responder that follows the rules (RFC 3834, sections 2 and
/// 3.3; RFC 5321, section 4.5.5).
fn empty_return_path(fields: &Fields) -> Option<&'static str> {
    let is_empty = |path: &str| {
        let path: String = path.chars().filter(|character| !character.is_whitespace()).collect();
        path == "<>"
    };
    fields.all("return-path").any(is_empty).then_some("its return path is empty (RFC 3834)")
}

/// It says itself that no person sent it (RFC 3834, section 5; RFC 5436, section 2.7.1).
fn auto_submitted(fields: &Fields) -> Option<&'static str> {
    let says_so = fields.all("auto-submitted").map(first_word).any(|keyword| !keyword.is_empty() && keyword != "no");
    says_so.then_some("it was sent by a program (`Auto-Submitted`, RFC 3834)")
}

/// It came through a mailing list or was sent to many (RFC 3834, section 2; RFC 2369; RFC 2919; RFC 8058).
fn mailing_list(fields: &Fields) -> Option<&'static str> {
    let is_list = |name: &str| {
        name.starts_with("list-") || matches!(name, "mailing-list" | "x-mailing-list" | "x-beenthere" | "x-list")
    };
    fields.names().any(is_list).then_some("it was sent through a mailing list (`List-…`, RFC 2369)")
}

/// It calls itself bulk mail (RFC 3834, section 2; RFC 2076, section 3.9).
fn precedence(fields: &Fields) -> Option<&'static str> {
    let is_bulk = |value: &str| matches!(first_word(value).as_str(), "bulk" | "list" | "junk" | "auto_reply");
    let mut values = fields.all("precedence").chain(fields.all("x-precedence"));
    values.any(is_bulk).then_some("it calls itself bulk mail (`Precedence`, RFC 3834)")
}

/// Nobody reads what is sent to this address: the names that RFC 3834, section 2, and RFC 2142 give, and the
/// words for "no reply" in the languages that use another.
fn machine_sender(from: &str) -> Option<&'static str> {
    const REASON: &str = "nobody reads mail at the sender's address (RFC 3834)";
    const WHOLE: [&str; 14] = [
        "mailerdaemon",
        "postmaster",
        "bounce",
        "bounces",
        "autoreply",
        "autoresponder",
        "listserv",
        "majordomo",
        "nobody",
        "nepasrepondre",
        "nichtantworten",
        "keineantwort",
        "noresponder",
        "nonrispondere",
    ];
    const ANYWHERE: [&str; 5] = ["noreply", "donotreply", "dontreply", "mailerdaemon", "donotrespond"];
    let local = address::bare_local(from)?;
    let joined: String = local.chars().filter(|character| !"-_.".contains(*character)).collect();
    // "noreply" must not be found in "casanoreplyton": it begins or ends the name, or stands apart in it.
    let stands_out = ANYWHERE.iter().any(|word| joined.starts_with(word) || joined.ends_with(word));
    let is_role = local.starts_with("owner-")
        || local.starts_with("bounce-")
        || local.starts_with("bounces-")
        || ["-request", "-owner", "-bounce", "-bounces"].iter().any(|ending| local.ends_with(ending));
    (stands_out || is_role || WHOLE.contains(&joined.as_str())).then_some(REASON)
}

/// Exchange's way to say it (MS-OXCMAIL): of its values, those that are about automatic
/// answers or delivery reports; the others only refuse receipts.
fn suppressed(fields: &Fields) -> Option<&'static str> {
    let refuses = |value: &str| {
        value
            .split([',', ';', ' '])
            .any(|word| ["all", "autoreply", "oof", "dr"].iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    let mut values = fields.all("x-auto-response-suppress");
    values.any(refuses).then_some("it wants no automatic answer (`X-Auto-Response-Suppress`)")
}

/// An answer of another machine that marks it in its own way.
fn automatic_reply(fields: &Fields) -> Option<&'static str> {
    const NAMES: [&str; 7] = [
        "x-autoreply",
        "x-auto-reply",
        "x-autoreply-from",
        "x-mail-autoreply",
        "x-autorespond",
        "x-autoresponder",
        "x-autogenerated",
    ];
    let mut values = NAMES.iter().flat_map(|name| fields.all(name));
    let says_so = values.any(|value| !matches!(first_word(value).as_str(), "no" | "false" | "0"));
    says_so.then_some("it is an automatic answer itself (`X-Autoreply`, `X-Autorespond`)")
}

/// A report about another mail: delivered, not delivered, read (RFC 3834, section 2; RFC 6522; RFC 3464;
/// RFC 8098).
fn report(fields: &Fields) -> Option<&'static str> {
    let is_report = |media: &Media| {
        media.is("multipart", "report")
            || media.is("message", "delivery-status")
            || media.is("message", "disposition-notification")
            || media.is("message", "feedback-report")
    };
    fields.content_type().as_ref().is_some_and(is_report).then_some("it is a report about another mail (RFC 6522)")
}

/// A bounce of a mail server that sends no report: Exim and Gmail name the recipients that failed.
fn bounce(fields: &Fields) -> Option<&'static str> {
    fields.first("x-failed-recipients").map(|_| "it is a bounce (`X-Failed-Recipients`)")
}

/// Another program has marked it, to see when it comes back: procmail's way, older than RFC 3834.
fn looped(fields: &Fields) -> Option<&'static str> {
    fields.first("x-loop").map(|_| "it has been through another program (`X-Loop`)")
}

/// FirstClass's mark, and that of PHP scripts that send for a form.
fn machine_generated(fields: &Fields) -> Option<&'static str> {
    let says_so = fields.all("x-fc-machinegenerated").any(|value| first_word(value) == "true");
    says_so.then_some("it was sent by a program (`X-FC-MachineGenerated`)")
}

/// The first word in lower case, without a comment or parameters.
fn first_word(value: &str) -> String {
    let mut value = value.trim_start();
    // A comment may stand before the word (RFC 3834, section 5).
    while let Some(comment) = value.strip_prefix('(') {
        value = comment.split_once(')').map_or("", |(_, after)| after).trim_start();
    }
    let end = value.find(|character: char| character.is_whitespace() || ";,(".contains(character));
    value[..end.unwrap_or(value.len())].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const OWN: &str = "Help Desk <help@own.example>";

    fn reason(from: &str, headers: &[(&str, &str)]) -> Option<String> {
        let map: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        no_reply_because(&Fields::from_map(&map), &[from], OWN)
    }

    #[test]
    fn mail_of_a_machine_gets_no_answer() {
        let cases = [
            ("Auto-Submitted", "auto-replied", "Auto-Submitted"),
            ("auto-submitted", "AUTO-GENERATED; type=x", "Auto-Submitted"),
            ("Auto-Submitted", "(vacation) auto-replied (by me)", "Auto-Submitted"),
            ("Auto-Submitted", "auto-notified", "Auto-Submitted"),
            ("Auto-Submitted", "nonsense", "Auto-Submitted"),
            ("Return-Path", "<>", "return path"),
            ("RETURN-PATH", " < > ", "return path"),
            ("List-Id", "Gardening <garden.lists.example>", "mailing list"),
            ("List-Unsubscribe", "<mailto:leave@lists.example>", "mailing list"),
            ("List-Post", "NO", "mailing list"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click", "mailing list"),
            ("X-Mailing-List", "garden", "mailing list"),
            ("Precedence", "bulk", "Precedence"),
            ("Precedence", "Junk", "Precedence"),
            ("Precedence", "list", "Precedence"),
            ("X-Auto-Response-Suppress", "All", "X-Auto-Response-Suppress"),
            ("X-Auto-Response-Suppress", "DR, RN, NRN, OOF, AutoReply", "X-Auto-Response-Suppress"),
            ("X-Auto-Response-Suppress", "OOF", "X-Auto-Response-Suppress"),
            ("X-Autoreply", "yes", "X-Autoreply"),
            ("X-Autorespond", "", "X-Autorespond"),
            ("Content-Type", "multipart/report; report-type=delivery-status; boundary=x", "report"),
            ("Content-Type", "Message/Disposition-Notification", "report"),
            ("X-Failed-Recipients", "someone@b.example", "bounce"),
            ("X-Loop", "someone@b.example", "X-Loop"),
            ("X-FC-MachineGenerated", "true", "program"),
        ];
        for (name, value, part) in cases {
            let reason = reason("ann@b.example", &[(name, value)]).unwrap_or_default();
            assert!(reason.contains(part), "`{name}: {value}` gave `{reason}`");
        }
    }

    #[test]
    fn senders_whom_nobody_reads_get_no_answer() {
        let cases = [
            "no-reply@b.example",
            "NoReply@b.example",
            "no.reply@b.example",
            "no_reply+123@b.example",
            "do-not-reply@b.example",
            "donotreply@b.example",
            "drive-shares-noreply@b.example",
            "noreply-orders@b.example",
            "MAILER-DAEMON@b.example",
            "postmaster@b.example",
            "bounce@b.example",
            "bounces+12-ab=own.example@b.example",
            "bounce-123@b.example",
            "owner-garden@b.example",
            "garden-request@b.example",
            "garden-bounces@b.example",
            "ne-pas-repondre@b.example",
        ];
        for from in cases {
            let reason = reason(from, &[]).unwrap_or_default();
            assert!(reason.contains("nobody reads"), "{from} gave `{reason}`");
            assert!(!reason.contains('@'));
        }
    }

    #[test]
    fn own_mail_gets_no_answer() {
        for from in ["help@own.example", "HELP@Own.Example", "help+ticket-12@own.example"] {
            assert!(reason(from, &[]).is_some_and(|reason| reason.contains("answers are sent from")), "{from}");
        }
        assert_eq!(no_reply_because(&Fields::default(), &["ann@b.example"], ""), None);
    }

    #[test]
    fn mail_of_a_person_gets_an_answer() {
        let cases: [&[(&str, &str)]; 9] = [
            &[],
            &[("Auto-Submitted", "no")],
            &[("Auto-Submitted", "No (a person)")],
            &[("Return-Path", "<ann@b.example>")],
            &[("Return-Path", "<bounces+12@service.example>")],
            &[("Precedence", "first-class")],
            &[("X-Auto-Response-Suppress", "RN, NRN")],
            &[("Feedback-ID", "1:campaign:service")],
            &[("Content-Type", "multipart/mixed; boundary=report")],
        ];
        for headers in cases {
            assert_eq!(reason("ann@b.example", headers), None, "{headers:?}");
        }
        for from in
            ["owner@b.example", "request@b.example", "bouncer@b.example", "support@b.example", "reply@b.example"]
        {
            assert_eq!(reason(from, &[]), None, "{from}");
        }
    }
}
