//! Whole messages, hostile ones first.

mod corpus;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{Kind, email::Draft};

const OWN: &str = "help@own.example";

fn read(raw: impl AsRef<[u8]>) -> Result<Email, Failure> {
    read_message("m1", raw.as_ref(), OWN, &Limits::default())
}

fn problem(raw: impl AsRef<[u8]>) -> String {
    let failure = read(raw).unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    failure.message
}

/// A message with this content type (and what else the header holds) and this body.
fn message(header: &str, body: &str) -> Vec<u8> {
    format!(
        "From: Ann Lee <ann@b.example>\r\nTo: help@own.example\r\nSubject: Walk\r\nMessage-ID: <1@b.example>\r\n\
         MIME-Version: 1.0\r\n{header}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn text_of(header: &str, body: &str) -> String {
    read(message(header, body)).unwrap().text
}

fn check(email: &Email) {
    assert!(address::is_valid(&email.from));
    assert!(!email.subject.chars().any(char::is_control), "{:?}", email.subject);
    assert!(email.subject.chars().count() <= SUBJECT_CHARACTERS);
    assert!(email.text.chars().count() <= Limits::default().text_characters);
    assert!(!email.text.chars().any(|character| character.is_control() && !"\n\t".contains(character)));
    assert!(email.from_name.as_deref().is_none_or(|name| !name.is_empty() && !name.chars().any(char::is_control)));
    assert!(email.attachments.len() <= Limits::default().parts);
    for attachment in &email.attachments {
        assert!(!attachment.name.as_deref().unwrap_or_default().chars().any(char::is_control));
        assert!(attachment.content_type.is_ascii());
    }
    let draft = Draft { subject: String::new(), text: String::new() };
    let reply = reply_to(email, &draft);
    assert_eq!(reply.to, email.recipient());
    assert!(address::is_valid(&reply.to));
    assert!(!reply.subject.chars().any(char::is_control));
    for id in reply.references.iter().chain(&reply.in_reply_to) {
        assert!(id.starts_with('<') && id.ends_with('>') && id.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

#[test]
fn a_message_without_a_sender_is_an_error_that_names_from() {
    let cases = [
        "",
        "\n",
        "\0\0\0\0",
        "Subject: x\n\nbody",
        "just words",
        "From:\n\nbody",
        "From: Ann\n\nbody",
        "From: <>\n\nbody",
        "From: undisclosed-recipients:;\n\nbody",
        "From: a@b@c.example\n\nbody",
        "From: =?utf-8?Q?a=0D=0ABcc=3A_c=40d.example?=\n\nbody",
        "From: <a b@c.example>\n\nbody",
        "To: a@b.example\n\nFrom: a@b.example\n",
    ];
    for raw in cases {
        assert!(problem(raw).contains("`From`"), "{raw:?}");
    }
}

#[test]
fn a_header_cannot_be_injected() {
    let raw = "From: =?utf-8?Q?Ann=0D=0ABcc=3A_x=40evil.example?= <ann@b.example>\r\n\
        Subject: =?utf-8?B?SGVsbG8NCkJjYzogeEBldmlsLmV4YW1wbGU=?=\r\n\
        Message-ID: <1@b.example\0>\r\n\
        References: <=?utf-8?Q?=0D=0ABcc:?=> <2@b.example>\r\n\r\nHi";
    let email = read(raw).unwrap();
    check(&email);
    assert_eq!(email.subject, "Hello Bcc: x@evil.example");
    assert_eq!(email.from_name.as_deref(), Some("Ann Bcc: x@evil.example"));
    assert_eq!(email.message_id, None);
    assert_eq!(email.references, ["<=?utf-8?Q?=0D=0ABcc:?=>", "<2@b.example>"]);
}

#[test]
fn a_message_larger_than_a_limit_is_an_error() {
    let small = Limits { bytes: 1000, ..Limits::default() };
    let failure = read_message("m1", &message("X: y", &"a".repeat(1000)), OWN, &small).unwrap_err();
    assert_eq!(failure.message, "the message is larger than 1000 bytes");
    assert!(problem(message(&format!("X: {}", "a".repeat(600_000)), "body")).contains("header section"));
    let part = format!("--b\r\nX: {}\r\n\r\nbody\r\n--b--", "a".repeat(600_000));
    assert!(problem(message("Content-Type: multipart/mixed; boundary=b", &part)).contains("header section"));
}

#[test]
fn header_lines_of_a_hundred_kilobytes_are_read() {
    let long = "ä".repeat(50_000);
    let raw = format!(
        "From: \"{long}\" <ann@b.example>\nSubject: {long}\nTo: {long}\nReferences: {}\n\nbody",
        "<1@b.example> ".repeat(8_000)
    );
    // The name fills what is parsed of the field, so the address is out of sight.
    assert!(problem(&raw).contains("`From`"));
    let raw = raw.replacen(&format!("\"{long}\" "), "", 1);
    let email = read(&raw).unwrap();
    check(&email);
    assert_eq!(email.text, "body");
    assert_eq!(email.references, ["<1@b.example>"]);
    let words = "=?utf-8?Q?a?= ".repeat(7_000);
    check(
        &read(format!(
            "From: a@b.example\nSubject: {words}\nContent-Type: text/plain; {}\n\nbody",
            "a*1=b; ".repeat(14_000)
        ))
        .unwrap(),
    );
}

#[test]
fn three_thousand_levels_are_an_error() {
    let mut body = String::new();
    for level in 0..3000 {
        body.push_str(&format!("--b{level}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", level + 1));
    }
    assert!(problem(message("Content-Type: multipart/mixed; boundary=b0", &body)).contains("deep"));
}

#[test]
fn three_hundred_thousand_parts_are_an_error() {
    let body = "--b\n\nx\n".repeat(300_000);
    assert!(problem(message("Content-Type: multipart/mixed; boundary=b", &body)).contains("more than 1000 parts"));
    // Spread over levels, too.
    let inner = format!("Content-Type: multipart/mixed; boundary=i\n\n{}--i--\n", "--i\n\nx\n".repeat(200));
    let body = format!("--b\n{inner}").repeat(10);
    assert!(problem(message("Content-Type: multipart/mixed; boundary=b", &body)).contains("more than 1000 parts"));
}

#[test]
fn messages_within_messages_are_not_entered() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(300_000);
    let email = read(message("Content-Type: message/rfc822", &nested)).unwrap();
    check(&email);
    assert_eq!(email.attachments.len(), 1);
    assert_eq!(email.text, "");
}

#[test]
fn a_hostile_page_or_text_costs_no_more_than_a_long_one() {
    let cases = [
        "<div>".repeat(400_000),
        "<blockquote>x".repeat(100_000),
        "<b><i><u><a href=x>".repeat(50_000) + &"</div><p>x".repeat(100_000),
        "<table><tr><td>".repeat(100_000),
        "<ol><li>x".repeat(100_000),
        "<".repeat(1_000_000),
        "<!--".repeat(500_000),
        "</".repeat(1_000_000),
        "<a b=\"".repeat(300_000),
        "&".repeat(1_000_000),
        "&amp".repeat(500_000),
        format!("<style>{}</style>{}", ".a,".repeat(100_000), "<p class=\"a b c\">x".repeat(50_000)),
        format!("<style>{}", "@media x {".repeat(200_000)),
        "<style>a{display:none}".repeat(100_000),
        "<p><span>".to_owned() + &"<span>".repeat(100_000) + &"<div></div>".repeat(100_000),
        format!("<p style='{}'>x", "display:none;".repeat(100_000)),
    ];
    // What took more than linear time would hold this test up for minutes.
    for html in cases {
        check(&read(message("Content-Type: text/html", &html)).unwrap());
    }
    for line in ["--", "-- ", ">", "____________________", "On 1", "From: a", "On 1 Jan 2025 a@b wrote:", " \u{2028}"] {
        let text = format!("Hi\n{}", format!("{line}\n").repeat(60_000));
        check(&read(message("Content-Type: text/plain; charset=utf-8; format=flowed", &text)).unwrap());
        check(&read(message("Content-Type: text/plain; charset=utf-8", &text)).unwrap());
    }
    let pages = "--b\nContent-Type: text/html\n\n<p><p>\n".replace("<p>", &"<p>".repeat(5_000)).repeat(900);
    check(&read(message("Content-Type: multipart/alternative; boundary=b", &pages)).unwrap());
}

#[test]
fn zero_bytes_and_broken_ends_are_read_over() {
    let cases = [
        ("Content-Type: text/plain", "He\0llo\x01 there\x7f", "Hello there"),
        (
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64",
            "SGVsbG8gdGhlcmU",
            "Hello there",
        ),
        ("Content-Transfer-Encoding: base64", "SGVsbG8g*dGhlcmUgYW5kIGdvb2QgZGF5", "Hello there and good day"),
        ("Content-Transfer-Encoding: base64", "Not base64, but words.", "Not base64, but words."),
        ("Content-Transfer-Encoding: quoted-printable", "Hello=20there=", "Hello there="),
        ("Content-Transfer-Encoding: no-such", "Hello there", "Hello there"),
        ("Content-Type: text/plain; charset=no-such", "Hello there", "Hello there"),
        ("Content-Type: text", "Hello there", "Hello there"),
        ("Content-Type:", "Hello there", "Hello there"),
        ("Content-Type: multipart/mixed", "Hello there", "Hello there"),
        ("Content-Type: multipart/mixed; boundary=b", "Hello there", "Hello there"),
        ("Content-Type: multipart/mixed; boundary=\"\"", "Hello there", "Hello there"),
        ("Content-Type: multipart/mixed; boundary=b", "--b\r\n\r\nHello there", "Hello there"),
        (
            "Content-Type: multipart/mixed; boundary=b",
            "--b\r\nContent-Type: text/plain\r\n\r\nHello there\r\n--b",
            "Hello there",
        ),
        (
            "Content-Type: multipart/mixed",
            "--x\r\nContent-Type: text/plain\r\n\r\nHello there\r\n--x--\r\n",
            "Hello there",
        ),
        ("Content-Type: multipart/mixed; boundary=b", "--b\r\nHello there\r\n--b--", "Hello there"),
        ("", "", ""),
    ];
    for (header, body, expected) in cases {
        assert_eq!(text_of(header, body), expected, "{header} {body:?}");
    }
}

#[test]
fn only_a_header_is_an_email_without_text() {
    for raw in [
        "From: a@b.example",
        "From: a@b.example\r\n",
        "From: a@b.example\r\nX: y\r\n\r\n",
        "From: a@b.example\rX: y\r\r",
    ] {
        let email = read(raw).unwrap();
        assert_eq!((email.from.as_str(), email.text.as_str()), ("a@b.example", ""));
    }
}

#[test]
fn text_is_cut_between_characters() {
    let limits = Limits { text_characters: 10, ..Limits::default() };
    for body in ["日本語日本語日本語日本語", "<p>日本語日本語日本語日本語"] {
        for kind in ["plain", "html"] {
            let raw = message(&format!("Content-Type: text/{kind}; charset=utf-8"), body);
            let email = read_message("m1", &raw, OWN, &limits).unwrap();
            assert!(email.text.chars().count() <= 10 && !email.text.contains('\u{fffd}'), "{}", email.text);
        }
    }
}

#[test]
fn every_character_set_gives_the_text_that_was_written() {
    let cases: [(&str, &[u8], &str); 8] = [
        ("utf-8", "Grüße".as_bytes(), "Grüße"),
        ("ISO-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        ("iso-8859-2", b"P\xf8\xedli\xb9", "Příliš"),
        ("GB18030", b"\xc4\xe3\xba\xc3", "你好"),
        ("Shift_JIS", b"\x93\xfa\x96{", "日本"),
        ("koi8-r", b"\xf0\xd2\xc9", "При"),
        ("big5", b"\xa7A\xa6n", "你好"),
        ("windows-1252", b"\x93Hi\x94", "“Hi”"),
    ];
    for (charset, bytes, expected) in cases {
        let mut raw = message(&format!("Content-Type: text/plain; charset={charset}"), "");
        raw.extend_from_slice(bytes);
        assert_eq!(read(&raw).unwrap().text, expected, "{charset}");
    }
    let utf16 = "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64";
    assert_eq!(text_of(utf16, "//5HAHIA/ADfAGUA"), "Grüße");
    assert_eq!(text_of(utf16, "RwByAPwA3wBlAA=="), "Grüße");
}

#[test]
fn a_usual_email_is_read_whole() {
    let body = "--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n\
        --r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
        --a\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=C3=BC=C3=9Fe aus Wien,=20\r\ndas Wetter ist gut.\r\n\r\n> alt\r\n\
        --a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>HTML</p>\r\n--a--\r\n\
        --r\r\nContent-Type: image/png; name=logo.png\r\nContent-Disposition: inline\r\n\
        Content-Transfer-Encoding: base64\r\n\r\niVBORw0K\r\n--r--\r\n\
        --m\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename*=utf-8''Rechnung%20M%C3%A4rz.pdf\r\n\r\nJVBERi0xLjQK\r\n\
        --m\r\nContent-Type: text/plain; name=\"notes.txt\"\r\nContent-Disposition: attachment\r\n\r\nnotes\r\n\
        --m\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n\r\nxyz\r\n\
        --m\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n\
        --m\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@d.example\r\nSubject: inner\r\n\r\nforwarded\r\n--m--\r\n";
    let raw = message(
        "Content-Type: multipart/mixed; boundary=m\r\nReferences: <0@b.example>\r\nDate: Mon, 6 Jan 2025 09:00 +0100",
        body,
    );
    let email = read(raw).unwrap();
    check(&email);
    assert_eq!(email.id, "m1");
    assert_eq!((email.from.as_str(), email.from_name.as_deref()), ("ann@b.example", Some("Ann Lee")));
    assert_eq!(email.subject, "Walk");
    assert_eq!(email.text, "Grüße aus Wien, das Wetter ist gut.");
    assert_eq!(email.message_id.as_deref(), Some("<1@b.example>"));
    assert_eq!(email.references, ["<0@b.example>"]);
    assert_eq!(email.no_reply_because, None);
    let attachments: Vec<(Option<&str>, &str, u64)> = email
        .attachments
        .iter()
        .map(|attachment| (attachment.name.as_deref(), attachment.content_type.as_str(), attachment.bytes))
        .collect();
    assert_eq!(
        attachments,
        [
            (Some("logo.png"), "image/png", 6),
            (Some("Rechnung März.pdf"), "application/pdf", 9),
            (Some("notes.txt"), "text/plain", 5),
            (Some("winmail.dat"), "application/ms-tnef", 3),
            (Some("invite.ics"), "text/calendar", 15),
            (Some("message.eml"), "message/rfc822", 46),
        ]
    );
}

#[test]
fn of_alternatives_the_plain_one_that_says_something_is_read() {
    let alternative = "Content-Type: multipart/alternative; boundary=b";
    let part = |kind: &str, text: &str| format!("--b\r\nContent-Type: text/{kind}\r\n\r\n{text}\r\n");
    let cases = [
        (part("plain", "plain") + &part("html", "<b>html</b>"), "plain"),
        (part("html", "<b>html</b>") + &part("plain", "plain"), "plain"),
        (part("plain", " \r\n\u{a0}") + &part("html", "<b>html</b>"), "html"),
        (part("plain", "") + &part("html", "<i></i>"), ""),
        (part("html", "<p>one") + &part("calendar", "BEGIN:VCALENDAR"), "one"),
        (part("markdown", "*words*"), "*words*"),
    ];
    for (body, expected) in cases {
        assert_eq!(text_of(alternative, &body), expected, "{body:?}");
    }
    let mixed = "Content-Type: multipart/mixed; boundary=b";
    assert_eq!(text_of(mixed, &(part("plain", "first") + &part("html", "<p>second"))), "first\n\nsecond");
}

#[test]
fn html_is_read_as_a_person_sees_it() {
    let cases = [
        ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree"),
        ("<p>One<p>Two", "One\n\nTwo"),
        ("a  b\n c&nbsp;&nbsp;d", "a b c d"),
        ("&lt;b&gt; &amp;amp; &#8364; &#x20AC; &euro; &#146; &nosuch; &", "<b> &amp; € € € ’ &nosuch; &"),
        ("<ul><li>one<li>two</ul><ol><li>a</li><li>b</li></ol>", "- one\n- two\n\n1. a\n2. b"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        ("<pre>a  b\n  c</pre>", "a  b\n  c"),
        ("<img src=x alt='A picture'> words", "A picture words"),
        ("1 < 2 and <3", "1 < 2 and <3"),
        ("<title>no</title><script>if (a < b) no();</script><style>p{}</style>yes", "yes"),
        ("<!-- no -->yes<!-- no", "yes"),
        ("<a href=\"x>y\">link</a>", "link"),
        ("<p>own</p><div class=gmail_signature>Ann</div>", "own"),
        ("<p>own</p>-- <br>Ann", "own"),
        (
            "<div>own</div><div class=gmail_quote><div class=gmail_attr>On 6 Jan 2025 Bo &lt;bo@b.example&gt; wrote:<br></div>\
             <blockquote class=gmail_quote><p>old</p><p>older</p></blockquote></div>",
            "own",
        ),
        (
            "<p>own</p><hr><div id=divRplyFwdMsg><b>From:</b> Bo<br><b>Sent:</b> Monday<br><b>To:</b> Ann<br>\
             <b>Subject:</b> Walk</div><p>old</p>",
            "own",
        ),
        ("<blockquote>only this</blockquote>", "> only this"),
        ("<blockquote>old</blockquote>new", "new"),
    ];
    for (html, expected) in cases {
        assert_eq!(text_of("Content-Type: text/html; charset=utf-8", html), expected, "{html}");
    }
}

#[test]
fn what_a_person_does_not_see_is_left_out() {
    let cases = [
        "<div style='display:none'>no</div>yes",
        "<div style='DISPLAY : None !important;'>no <b>no</b></div>yes",
        "<div style=\"display&#58;none\">no</div>yes",
        "<p style='display:none'>no<p>yes",
        "<span hidden>no</span>yes",
        "<span style='visibility:hidden'>no</span>yes",
        "<span style='opacity:0'>no</span>yes",
        "<span style='font-size:0'>no</span>yes",
        "<span style='font-size:1px;color:#fff'>no</span>yes",
        "<span style='font:0/0 a'>no</span>yes",
        "<div style='font-size:0'>no<span style='font-size:14px'>yes</span></div>",
        "<div style='max-height:0;overflow:hidden'>no</div>yes",
        "<div style='mso-hide:all'>no</div>yes",
        "<div style='position:absolute;left:-9999px'>no</div>yes",
        "<div style='color:#fff;background:#fff'>no</div>yes",
        "<style>.h{display:none}</style><div class='x h'>no</div>yes",
        "<div class=h>no</div>yes<style>.h{display:none}</style>",
        "<style>#h, em {visibility:hidden}</style><div id=h>no</div><em>no</em>yes",
        "<style>p.h{display:none}</style><p class=h>no</p><div class=h>yes</div>",
        "<style>@media screen{.h{display:none}}</style><div class=h>no</div>yes",
        "<style>@media (max-width:600px){.m{display:none}} .h{display:none}</style><i class=h>no</i><i class=m>yes</i>",
        "<style>.h{display:none}.h{display:block}</style><i class=h>yes</i>",
        "<style>.h{display:none}</style><i class=h style='display:block'>yes</i>",
        "<style>/* .m{display:none} */ .h{display:none}</style><i class=h>no</i><i class=m>yes</i>",
        "<img style='display:none' alt=no>yes",
        "<div style='display:none'><img alt=no><br><ul><li>no</ul></div>yes",
        "yes\u{e0041}\u{e0042}\u{200b}",
    ];
    for html in cases {
        assert_eq!(text_of("Content-Type: text/html; charset=utf-8", html), "yes", "{html}");
    }
}

#[test]
fn a_report_of_a_mail_server_gets_no_answer() {
    let raw = "Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@b.example>\r\nSubject: Undelivered\r\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
        --b\r\n\r\nIt did not arrive.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n\
        --b\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: help@own.example\r\n--b--\r\n";
    let email = read(raw).unwrap();
    assert_eq!(email.text, "It did not arrive.");
    assert_eq!(email.attachments.len(), 2);
    assert_eq!(email.no_reply_because.as_deref(), Some("its return path is empty (RFC 3834)"));
}

#[test]
fn fields_of_json_are_read_like_a_message() {
    let input = EmailInput {
        id: "7".to_owned(),
        from: Some("ann@b.example".to_owned()),
        content: Some("Yes.\r\n\r\nOn Mon, Jan 6, 2025 Bo <bo@b.example> wrote:\r\n> Shall we?\r\n".to_owned()),
        subject: Some("Re: Walk\r\nBcc: x@evil.example".to_owned()),
        headers: BTreeMap::from(
            [("message-id", "<1@b.example>"), ("IN-REPLY-TO", "<0@b.example>"), ("from", "Ann <ann@b.example>")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        ..EmailInput::default()
    };
    let email = from_fields(&input, OWN);
    check(&email);
    assert_eq!((email.text.as_str(), email.subject.as_str()), ("Yes.", "Re: Walk Bcc: x@evil.example"));
    assert_eq!(email.message_id.as_deref(), Some("<1@b.example>"));
    assert_eq!(email.references, ["<0@b.example>"]);
    assert_eq!(email.from_name.as_deref(), Some("Ann"));
    assert_eq!(email.no_reply_because, None);

    let mut automatic = input.clone();
    automatic.headers.insert("AUTO-submitted".to_owned(), "auto-replied".to_owned());
    assert!(from_fields(&automatic, OWN).no_reply_because.is_some());
    let mut nobody = input;
    nobody.from = Some("ann@b.example\r\nBcc: x@evil.example".to_owned());
    assert!(from_fields(&nobody, OWN).no_reply_because.is_some());
}

/// Pieces that mail is made of, whole and broken.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "From: Ann <a@b.example>\n",
        "from:",
        "Subject: =?utf-8?Q?=C3=BC=0A?=\n",
        "Subject: =?gb18030?B?xOO6ww==?=\r\n",
        "Content-Type: multipart/mixed; boundary=b\n",
        "Content-Type: multipart/alternative; boundary=\"b\"\n",
        "Content-Type: multipart/digest; boundary=b\n",
        "Content-Type: text/html; charset=utf-16\n",
        "Content-Type: text/plain; charset=shift_jis; format=flowed; delsp=yes\n",
        "Content-Type: text/html\n",
        "Content-Type: message/rfc822\n",
        "Content-Type: text/plain; name*0*=utf-7''a; name*1=b\n",
        "Content-Transfer-Encoding: base64\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "Content-Disposition: attachment; filename=\"=?utf-8?B?w6Q=?=\"\n",
        "Message-ID: <1@b>\n",
        "References: <1@b> <2@b\n",
        "In-Reply-To: <1@b>\n",
        "Return-Path: <>\n",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        " ",
        "\t",
        "--b\n",
        "--b--\n",
        "--b",
        "<p>",
        "<div style='display:none'>",
        "</div>",
        "<blockquote>",
        "<style>",
        ".a{",
        "@media screen {",
        "}",
        "</style>",
        "<!--",
        "-->",
        "&#x",
        "&nbsp",
        "&#55555555555;",
        "&eacute;",
        "<li>",
        "<ol>",
        "<td",
        "=\n",
        "=C3=",
        "> ",
        ">",
        "-- \n",
        "On 1 Jan 2025 a@b wrote:\n",
        "From: x\nSent: y\nSubject: z\n",
        "-----Original Message-----\n",
        "____________________\n",
        "Sent from my iPhone\n",
        "\u{feff}",
        "日本",
        "\u{2028}",
    ];
    prop_oneof![
        6 => proptest::sample::select(known.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_an_email_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for raw in [bytes.clone(), [b"From: a@b.example\n".to_vec(), bytes].concat()] {
            match read(&raw) {
                Ok(email) => check(&email),
                Err(failure) => prop_assert_eq!(failure.kind, Kind::Validation),
            }
        }
    }

    #[test]
    fn mutated_messages_are_an_email_or_an_error(pieces in proptest::collection::vec(piece(), 0..60)) {
        let body = pieces.concat();
        for raw in [body.clone(), [b"From: a@b.example\n".to_vec(), body].concat()] {
            match read(&raw) {
                Ok(email) => check(&email),
                Err(failure) => prop_assert_eq!(failure.kind, Kind::Validation),
            }
        }
    }

    #[test]
    fn every_character_set_takes_any_bytes(
        charset in proptest::sample::select(vec![
            "utf-8", "utf-16", "utf-16be", "utf-7", "gb18030", "gbk", "shift_jis", "iso-2022-jp", "euc-jp", "euc-kr",
            "big5", "iso-8859-2", "ibm850", "koi8-u", "x-user-defined", "no-such",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut raw = message(&format!("Content-Type: text/plain; charset={charset}"), "");
        raw.extend_from_slice(&bytes);
        check(&read(&raw).unwrap());
    }

    #[test]
    fn json_of_any_words_is_an_email(subject in ".{0,200}", content in ".{0,500}", name in ".{0,20}", value in ".{0,99}") {
        let input = EmailInput {
            id: "1".to_owned(),
            from: Some("a@b.example".to_owned()),
            content: Some(content),
            subject: Some(subject),
            headers: BTreeMap::from([(name, value.clone()), ("References".to_owned(), value)]),
            ..EmailInput::default()
        };
        check(&from_fields(&input, OWN));
    }
}
