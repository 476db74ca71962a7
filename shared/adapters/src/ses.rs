//! Mail through SES.
//!
//! Invariants:
//! - A mail goes out at most once for each call: neither the SDK nor the connection pool repeats one, and whenever
//!   it may have gone out although the call failed, the failure says so.
//! - No text can add a header, a recipient or a body part: headers are written from parts that were checked, and
//!   the envelope names the one recipient besides.
//! - Mail says that a machine wrote it (RFC 3834), so that other machines leave it unanswered.
//!
//! Deliberately absent: `Message-ID` and `Date`, which SES sets, and `Precedence`, which RFC 3834 replaced.

use std::{borrow::Cow, fmt, sync::Arc};

use async_trait::async_trait;
use aws_sdk_sesv2::{
    Client,
    operation::send_email::SendEmailError,
    primitives::Blob,
    types::{Destination, EmailContent, MessageTag, RawMessage},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, email::OutgoingMail},
    mail::as_html,
    ports::{Mailer, Receipt},
};
use mail_builder::{
    MessageBuilder,
    headers::{Header, address::Address, message_id::MessageId, raw::Raw, text::Text},
};

use crate::{
    aws::{Aws, Lazy},
    failures::failure,
};

const CALL: &str = "ses send";

/// The longest subject, in characters. A subject is a line to be read; a longer one is cut.
const LONGEST_SUBJECT: usize = 500;

/// The longest message id that is repeated: a line of a mail ends at 998 bytes (RFC 5322, section 2.1.1).
const LONGEST_ID: usize = 900;

/// The longest value of a tag that SES takes.
const LONGEST_TAG: usize = 256;

/// The longest address (RFC 5321, section 4.5.3.1, with the angle brackets taken off).
const LONGEST_ADDRESS: usize = 254;

/// Sends mail through SES. A clone is cheap.
#[derive(Clone)]
pub struct SesMailer {
    client: Arc<Lazy<Client>>,
    sender: Arc<Sender>,
    configuration_set: Option<Arc<str>>,
}

struct Sender {
    name: Option<String>,
    address: String,
}

impl SesMailer {
    /// Sends as this sender (`office@example.com`, or `Office <office@example.com>`), under a configuration set
    /// where delivery events are wanted.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the sender is not an address.
    pub fn new(aws: &Aws, sender: &str, configuration_set: Option<&str>) -> Result<Self, Failure> {
        let sender = Sender::parse(sender).ok_or_else(|| Failure::validation("the sender is not an address"))?;
        Ok(Self {
            client: Arc::new(aws.ses()),
            sender: Arc::new(sender),
            configuration_set: configuration_set.map(Arc::from),
        })
    }
}

impl fmt::Debug for SesMailer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SesMailer").field("configuration_set", &self.configuration_set).finish_non_exhaustive()
    }
}

#[async_trait]
impl Mailer for SesMailer {
    async fn send(&self, run: RunId, position: &str, mail: &OutgoingMail) -> Result<Receipt, Failure> {
        if !is_address(&mail.to) {
            return Err(Failure::validation("the recipient's address cannot be written to"));
        }
        let raw = RawMessage::builder().data(Blob::new(compose(&self.sender, mail))).build();
        let raw = raw.map_err(|_| Failure::validation(format!("{CALL}: the request could not be built")))?;
        let answer = self
            .client
            .send_email()
            .from_email_address(&self.sender.address)
            .destination(Destination::builder().to_addresses(&mail.to).build())
            .content(EmailContent::builder().raw(raw).build())
            .set_configuration_set_name(self.configuration_set.as_deref().map(str::to_owned))
            .email_tags(tag("run_id", &run.to_string())?)
            .email_tags(tag("step", position)?)
            .send()
            .await
            .map_err(|error| refined(failure(CALL, &error), &error))?;
        // SES took the mail, so it went out, whether or not the id came with the answer.
        Ok(Receipt { message_id: answer.message_id.unwrap_or_default() })
    }
}

impl Sender {
    fn parse(text: &str) -> Option<Self> {
        let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => (name.trim().trim_matches('"'), address),
            None => ("", text.trim()),
        };
        let is_plain = !name.chars().any(char::is_control);
        (is_plain && is_address(address)).then(|| Self {
            name: Some(name).filter(|name| !name.is_empty()).map(str::to_owned),
            address: address.to_owned(),
        })
    }
}

/// What SES declines for a reason that another attempt does not change.
fn refined(mut failure: Failure, error: &SdkError<SendEmailError, HttpResponse>) -> Failure {
    let is_refusal = matches!(
        error.as_service_error(),
        Some(
            SendEmailError::MessageRejected(_)
                | SendEmailError::MailFromDomainNotVerifiedException(_)
                | SendEmailError::AccountSuspendedException(_)
                | SendEmailError::SendingPausedException(_)
        )
    );
    if is_refusal {
        failure.kind = Kind::Refused;
        failure.maybe_applied = false;
    }
    failure
}

/// A tag, which SES gives back with each delivery event.
fn tag(name: &str, value: &str) -> Result<MessageTag, Failure> {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || "_-.@".contains(letter) { letter } else { '_' };
    let value: String = value.chars().map(allowed).take(LONGEST_TAG).collect();
    let value = if value.is_empty() { "_".to_owned() } else { value };
    MessageTag::builder()
        .name(name)
        .value(value)
        .build()
        .map_err(|_| Failure::validation(format!("{CALL}: the request could not be built")))
}

/// Whether a text is one address and nothing else. SES takes ASCII only.
fn is_address(text: &str) -> bool {
    let is_atom = |letter: u8| letter.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&letter);
    text.len() <= LONGEST_ADDRESS
        && text.bytes().all(is_atom)
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

/// The mail as it goes over the wire, sent by this sender.
///
/// # Errors
/// This returns an error of kind `Validation` when the sender is not an address.
pub fn message(sender: &str, mail: &OutgoingMail) -> Result<Vec<u8>, Failure> {
    let sender = Sender::parse(sender).ok_or_else(|| Failure::validation("the sender is not an address"))?;
    Ok(compose(&sender, mail))
}

// Plain text first: the last of the alternatives is the one preferred (RFC 2046, section 5.1.4).
fn compose(sender: &Sender, mail: &OutgoingMail) -> Vec<u8> {
    let mut message = Vec::new();
    write(&mut message, "From", &Address::new_address(sender.name.as_deref(), sender.address.as_str()));
    write(&mut message, "To", &Address::from(mail.to.as_str()));
    write(&mut message, "Subject", &Text::new(subject(&mail.subject)));
    if let Some(id) = mail.in_reply_to.as_deref().and_then(bare_id) {
        write(&mut message, "In-Reply-To", &MessageId::new(id));
    }
    let references: Vec<&str> = mail.references.iter().filter_map(|id| bare_id(id)).collect();
    if !references.is_empty() {
        write(&mut message, "References", &MessageId::from(references));
    }
    let submitted = if mail.is_reply { "auto-replied" } else { "auto-generated" };
    write(&mut message, "Auto-Submitted", &Raw::new(submitted));
    // Exchange and Outlook do not look at Auto-Submitted.
    write(&mut message, "X-Auto-Response-Suppress", &Raw::new("All"));
    write(&mut message, "MIME-Version", &Raw::new("1.0"));
    let text = line_breaks(&mail.text);
    let page = as_html(&text);
    MessageBuilder::new().text_body(text).html_body(page).serialize_body(&mut message);
    message
}

fn write(message: &mut Vec<u8>, name: &str, value: &impl Header) {
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(b": ");
    value.write_header(message, name.len() + 2);
}

/// The subject on one line: what would end a line, or steer a terminal, becomes a blank, now or once decoded.
fn subject(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // Unicode has line ends that are no control characters, and what looks like an encoded word is decoded by whoever
    // reads it, line ends included.
    let line = line.replace(['\u{2028}', '\u{2029}'], " ").replace("=?", "= ?");
    line.trim().chars().take(LONGEST_SUBJECT).collect()
}

/// An id without its angle brackets, if it is one; anything else is left out of the headers.
fn bare_id(id: &str) -> Option<&str> {
    let bare = id.trim().strip_prefix('<')?.strip_suffix('>')?;
    let is_id = !bare.is_empty()
        && bare.len() <= LONGEST_ID
        && bare.bytes().all(|letter| letter.is_ascii_graphic() && !b"<>".contains(&letter));
    is_id.then_some(bare)
}

/// The text with one kind of line break, so that none of a mail's other two can be read as something else.
fn line_breaks(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use mail_parser::{HeaderValue, MessageParser};

    use super::*;

    fn mail() -> OutgoingMail {
        OutgoingMail {
            to: "ann@example.com".to_owned(),
            subject: "Re: Question".to_owned(),
            text: "Good day,\n\nyes.\n".to_owned(),
            in_reply_to: Some("<q1@example.com>".to_owned()),
            references: vec!["<q0@example.com>".to_owned(), "<q1@example.com>".to_owned()],
            is_reply: true,
        }
    }

    fn sender() -> Sender {
        Sender::parse("Office <office@example.org>").unwrap()
    }

    fn composed(mail: &OutgoingMail) -> String {
        String::from_utf8(compose(&sender(), mail)).unwrap()
    }

    fn header_names(message: &str) -> Vec<&str> {
        let (head, _) = message.split_once("\r\n\r\n").unwrap();
        head.split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split_once(':').unwrap().0)
            .collect()
    }

    const HEADERS: [&str; 9] = [
        "From",
        "To",
        "Subject",
        "In-Reply-To",
        "References",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ];

    #[test]
    fn no_text_adds_a_header_or_a_line() {
        let evil = [
            "\r\nBcc: victim@example.com",
            "\nBcc: victim@example.com",
            "\rBcc: victim@example.com",
            "\r\n\r\n<html>",
            "\u{0}\u{b}\u{c}\u{85}\u{2028}Bcc: victim@example.com",
            " \r\n\tBcc: victim@example.com",
            "=?utf-8?Q?=0D=0ABcc:_victim@example.com?=",
        ];
        for evil in evil {
            let mail = OutgoingMail {
                subject: format!("Re: {evil}"),
                text: format!("text {evil}"),
                in_reply_to: Some(format!("<a@b{evil}>")),
                references: vec![format!("<a@b>{evil}"), format!("{evil}<a@b>"), "<r@example.com>".to_owned()],
                ..mail()
            };
            let message = composed(&mail);
            // An id that holds what no id may is left out, with its header where none remains.
            let is_plain = evil.starts_with('=');
            let expected: Vec<&str> = HEADERS.into_iter().filter(|name| is_plain || *name != "In-Reply-To").collect();
            assert_eq!(header_names(&message), expected, "{message}");
            assert!(message.contains("References: <r@example.com>\r\n"), "{message}");
            let parsed = MessageParser::default().parse(&message).unwrap();
            assert!(parsed.bcc().is_none());
            assert_eq!(parsed.to().unwrap().iter().count(), 1);
            assert!(!parsed.subject().unwrap().contains(['\r', '\n']));
        }
    }

    #[test]
    fn only_one_plain_address_is_written_to() {
        for address in ["ann@example.com", "o'neil+x=y@sub.example", "a@b"] {
            assert!(is_address(address), "{address}");
        }
        let long = format!("{}@example.com", "x".repeat(LONGEST_ADDRESS));
        for address in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a@b@c",
            "a@b,c@d",
            "a@b;c@d",
            "a@b\r\nBcc: c@d",
            "a@b ",
            " a@b",
            "<a@b>",
            "A <a@b>",
            "\"a b\"@c",
            "a@[127.0.0.1]",
            "é@example.com",
            "a@münchen.example",
            "group:a@b;",
            "a(x)@b",
            &long,
        ] {
            assert!(!is_address(address), "{address}");
        }
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let parsed = |text| Sender::parse(text).map(|sender| (sender.name, sender.address));
        let address = || "office@example.org".to_owned();
        assert_eq!(parsed("office@example.org"), Some((None, address())));
        assert_eq!(parsed("<office@example.org>"), Some((None, address())));
        assert_eq!(parsed("\"The Office\" <office@example.org>"), Some((Some("The Office".to_owned()), address())));
        for text in ["", "Office", "Office <>", "a@b c@d", "A\r\nB <a@b>"] {
            assert!(parsed(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_reply_is_threaded_and_says_that_a_machine_wrote_it() {
        let message = composed(&mail());
        assert_eq!(header_names(&message), HEADERS);
        assert!(
            message.starts_with(
                "From: \"Office\" <office@example.org>\r\n\
             To: <ann@example.com>\r\n\
             Subject: Re: Question\r\n\
             In-Reply-To: <q1@example.com>\r\n\
             References: <q0@example.com> <q1@example.com>\r\n\
             Auto-Submitted: auto-replied\r\n\
             X-Auto-Response-Suppress: All\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/alternative;"
            ),
            "{message}"
        );
        for absent in ["Message-ID", "Date:", "Precedence"] {
            assert!(!message.contains(absent));
        }
        let first = OutgoingMail { is_reply: false, in_reply_to: None, references: Vec::new(), ..mail() };
        let message = composed(&first);
        assert!(message.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(!message.contains("References") && !message.contains("In-Reply-To"));
    }

    #[test]
    fn texts_of_any_language_and_length_arrive() {
        for text in
            ["", "plain", "é ≠ ü", "漢字 🦀", ".", "\n.\n", &"long ".repeat(4000), &"x".repeat(5000), "tab\there"]
        {
            let mail = OutgoingMail { subject: text.to_owned(), text: text.to_owned(), ..mail() };
            let message = composed(&mail);
            assert!(message.split("\r\n").all(|line| line.len() <= 998), "no line is longer than a mail allows");
            let parsed = MessageParser::default().parse(&message).unwrap();
            assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), text.trim_end());
            let expected = subject(text);
            let arrived = match parsed.header("Subject") {
                Some(HeaderValue::Text(arrived)) => arrived.as_ref(),
                _ => "",
            };
            assert_eq!(arrived, expected);
        }
    }

    #[test]
    fn tags_hold_what_ses_allows() {
        let value = |text: &str| tag("step", text).unwrap().value;
        assert_eq!(value("send_response"), "send_response");
        assert_eq!(value("execute_step: ü"), "execute_step___");
        assert_eq!(value(""), "_");
        assert_eq!(value(&"x".repeat(1000)).len(), LONGEST_TAG);
    }
}
