//! What the email workflow reads, decides and writes.

use std::collections::BTreeMap;

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use settings::{
    AttachmentReview, AttachmentSettings, OnFailure, ReviewSettings, Unreviewed, VerdictSettings, When,
};

mod settings;

use super::document::ObjectRef;
use crate::mail::address;

/// `data` of an `email_processing` run: an id and exactly one of `content`, `raw` and `s3`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmailInput {
    /// The email's own id, 1 to 256 bytes.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256))]
    #[garde(length(bytes, min = 1, max = 256))]
    pub id: String,
    /// The sender's address. Required with `content`; otherwise the message's own `From` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "email", max_length = 320))]
    #[garde(inner(length(bytes, max = 320), custom(address)))]
    pub from: Option<String>,
    /// The body as plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub content: Option<String>,
    /// The whole MIME message, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            content_encoding = "base64",
            pattern = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
        )
    )]
    #[garde(skip)]
    pub raw: Option<String>,
    /// Where the whole MIME message lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub s3: Option<ObjectRef>,
    /// The subject, with `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 2000))]
    #[garde(inner(length(bytes, max = 2000)))]
    pub subject: Option<String>,
    /// Header fields by name, with `content`: what RFC 3834 looks at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    pub headers: BTreeMap<String, String>,
    /// What the mail service found, as its receipt says it. Each counts before what stands in the message.
    #[serde(default, skip_serializing_if = "Verdicts::is_empty")]
    #[garde(skip)]
    pub verdicts: Verdicts,
}

fn address(address: &str, _context: &()) -> garde::Result {
    let problem = || garde::Error::new("is not an address that mail can be sent to");
    address::is_valid(address).then_some(()).ok_or_else(problem)
}

/// What the mail service that took a message in found about it. What is not there, it did not look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// Whether it is spam.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spam: Option<Verdict>,
    /// Whether it carries a virus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virus: Option<Verdict>,
    /// Whether it came from a server that the envelope's domain names (RFC 7208).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spf: Option<Verdict>,
    /// Whether a domain signed it (RFC 6376).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkim: Option<Verdict>,
    /// Whether the domain in `From` stands by it (RFC 7489).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<Verdict>,
}

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MailVerdict))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    #[serde(alias = "PASS")]
    Pass,
    /// Something is.
    #[serde(alias = "FAIL")]
    Fail,
    /// Nobody can tell.
    #[serde(alias = "GRAY", alias = "PROCESSING_FAILED", alias = "DISABLED")]
    Unknown,
}

impl Verdicts {
    /// Whether nothing was looked at.
    pub const fn is_empty(&self) -> bool {
        self.spam.is_none() && self.virus.is_none() && self.spf.is_none() && self.dkim.is_none() && self.dmarc.is_none()
    }

    /// These verdicts, and the others where there is none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            spam: self.spam.or(others.spam),
            virus: self.virus.or(others.virus),
            spf: self.spf.or(others.spf),
            dkim: self.dkim.or(others.dkim),
            dmarc: self.dmarc.or(others.dmarc),
        }
    }
}

/// An email as the workflow sees it: read, decoded, and with the sender's own words set apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// The email's own id.
    pub id: String,
    /// The sender's address, as the sender gives it.
    pub from: String,
    /// The envelope's sender, where a reply goes to that address because nobody vouches for `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_from: Option<String>,
    /// The sender's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The subject, decoded, on one line.
    #[serde(default)]
    pub subject: String,
    /// What the sender wrote this time: no quoted reply, no signature.
    #[serde(default)]
    pub text: String,
    /// `Message-ID`, with its angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// `References`, oldest first, each with its angle brackets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// What is attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Why no machine may answer this email (RFC 3834), where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_reply_because: Option<String>,
    /// What the mail service found.
    #[serde(default, skip_serializing_if = "Verdicts::is_empty")]
    pub verdicts: Verdicts,
}

impl Email {
    /// The one address that a reply may go to.
    pub fn recipient(&self) -> &str {
        self.envelope_from.as_deref().unwrap_or(&self.from)
    }
}

/// Something attached to an email.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its file name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type.
    pub content_type: String,
    /// Its size, decoded, in bytes.
    pub bytes: u64,
}

/// What kind of email it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Asks to know something.
    Question,
    /// Asks for something to be done.
    Request,
    /// Says that something went wrong.
    Complaint,
    /// Wants to meet, or to move a meeting.
    Scheduling,
    /// Bills, or asks about a bill.
    Invoice,
    /// Sent to many.
    Newsletter,
    /// Written by a machine: a bounce, an absence note, a notification.
    Machine,
    /// Unwanted.
    Spam,
    /// None of these: a note.
    Other,
}

/// How soon someone should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Whenever.
    Low,
    /// As usual.
    Normal,
    /// Today.
    High,
}

/// What `analyze_email` finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmailAnalysis {
    /// What kind of email it is.
    pub category: Category,
    /// What the sender wants, in one sentence of theirs.
    pub intent: String,
    /// How soon someone should act.
    pub urgency: Urgency,
    /// Whether a response is due.
    pub requires_response: bool,
    /// The response template to use: a name in the definition.
    pub template: String,
    /// What fills the template.
    pub context: BTreeMap<String, Value>,
    /// The language, as an ISO 639-3 code, where it is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How sure the assistant is, 0 to 1.
    pub confidence: f64,
    /// What led to the category.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// A response as written by the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its subject.
    pub subject: String,
    /// Its body, plain text.
    pub text: String,
}

/// A reply on its way out: who gets it comes from the email it answers, never from the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingMail {
    /// The one recipient.
    pub to: String,
    /// Its subject, on one line.
    pub subject: String,
    /// Its body, plain text.
    pub text: String,
    /// `In-Reply-To`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// `References`, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Whether it answers an email by itself, so that it says `Auto-Submitted: auto-replied`
    /// (otherwise `auto-generated`).
    pub is_reply: bool,
}
