//! What a definition says about mail besides its templates.

use garde::Validate as _;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{Attachment, Verdict, Verdicts};
use crate::{
    domain::{
        document::{CriterionInput, DocumentInput, FileSource},
        run::WorkflowType,
    },
    mail::address,
};

/// What becomes of an email that failed a check of the mail service, check by check. It is decided before any
/// assistant sees the email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictSettings {
    /// It carries a virus: quarantined unless said.
    pub virus: OnFailure,
    /// It is spam: quarantined unless said.
    pub spam: OnFailure,
    /// The domain in `From` does not stand by it: no response unless said.
    pub dmarc: OnFailure,
    /// It came from a server that the envelope's domain does not name: ignored unless said, for forwarding does that.
    pub spf: OnFailure,
    /// Its signature does not hold: ignored unless said, for mailing lists do that.
    pub dkim: OnFailure,
}

/// What becomes of an email that failed a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing but that it is told.
    Ignore,
    /// It is analyzed and not answered.
    NoResponse,
    /// The run ends there: nobody analyzes it.
    Quarantine,
}

impl Default for VerdictSettings {
    fn default() -> Self {
        Self {
            virus: OnFailure::Quarantine,
            spam: OnFailure::Quarantine,
            dmarc: OnFailure::NoResponse,
            spf: OnFailure::Ignore,
            dkim: OnFailure::Ignore,
        }
    }
}

impl VerdictSettings {
    /// What becomes of an email with these verdicts, and because of which: the strictest of those that hold.
    pub fn decide(&self, verdicts: &Verdicts) -> Option<(OnFailure, &'static str)> {
        let checks = [
            (verdicts.virus, self.virus, "the mail service found a virus in it"),
            (verdicts.spam, self.spam, "the mail service takes it for spam"),
            (verdicts.dmarc, self.dmarc, "the domain of its sender does not stand by it (DMARC)"),
            (verdicts.spf, self.spf, "it came from a server that its sender's domain does not name (SPF)"),
            (verdicts.dkim, self.dkim, "its signature does not hold (DKIM)"),
        ];
        let failed = checks.into_iter().filter(|(verdict, ..)| *verdict == Some(Verdict::Fail));
        // The first of equals.
        failed.map(|(_, action, because)| (action, because)).rev().max_by_key(|(action, _)| *action)
    }
}

/// Whether a person looks at a response before it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewSettings {
    /// Which responses are looked at: none unless said.
    pub when: When,
    /// Below which confidence of the analysis, with `low_confidence`: 0 to 1, 0.7 unless said.
    #[serde(deserialize_with = "fraction")]
    pub below: f64,
    /// How long there is to decide, in seconds: a minute to 60 days, a day unless said.
    #[serde(deserialize_with = "patience")]
    pub within_seconds: u64,
    /// What becomes of a response that nobody decided about: it is discarded unless said.
    pub otherwise: Unreviewed,
    /// Who gets the link to decide by mail: an address. The event `approval_requested` goes out in any case.
    #[serde(deserialize_with = "reviewer", skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

/// Which responses a person looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Every one.
    Always,
    /// Those whose analysis is not sure of itself.
    LowConfidence,
    /// None.
    #[default]
    Never,
}

/// What becomes of a response that nobody decided about in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreviewed {
    /// It is not sent.
    #[default]
    Discard,
    /// It is sent as it was written.
    Send,
}

impl Default for ReviewSettings {
    fn default() -> Self {
        Self { when: When::Never, below: 0.7, within_seconds: 86_400, otherwise: Unreviewed::Discard, reviewer: None }
    }
}

impl ReviewSettings {
    /// Whether a person looks at a response to what was analyzed with this confidence.
    pub fn is_due(&self, confidence: f64) -> bool {
        match self.when {
            When::Always => true,
            // What is no number is no confidence.
            When::LowConfidence => confidence.is_nan() || confidence < self.below,
            When::Never => false,
        }
    }
}

/// What becomes of attachments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttachmentSettings {
    /// How they are reviewed, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<AttachmentReview>,
}

/// How attachments are reviewed: each that fits starts a run of `document_review`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentReview {
    /// What they are reviewed against, 1 to 100 criteria.
    #[serde(deserialize_with = "criteria")]
    pub criteria: Vec<CriterionInput>,
    /// Which fit: media types (`application/pdf`, `text/*`) or endings of file names (`.pdf`). Documents of the kinds
    /// that a review reads, unless said.
    #[serde(default = "documents")]
    pub types: Vec<String>,
    /// The largest that fits, in bytes: 10 MiB unless said, 23 MiB at the most.
    #[serde(default = "ten_mebibytes", deserialize_with = "attachment_bytes")]
    pub largest_bytes: u64,
    /// The most that are reviewed of one email: 10 unless said, 100 at the most.
    #[serde(default = "ten", deserialize_with = "attachment_count")]
    pub most: usize,
}

impl AttachmentReview {
    /// Whether an attachment is reviewed, as far as that shows from outside.
    pub fn takes(&self, attachment: &Attachment) -> bool {
        let name = attachment.name.as_deref().unwrap_or_default().to_lowercase();
        let fits = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            match wanted.strip_suffix("/*") {
                Some(kind) => attachment.content_type.split('/').next() == Some(kind),
                None if wanted.starts_with('.') => name.len() > wanted.len() && name.ends_with(&wanted),
                None => attachment.content_type == wanted,
            }
        };
        attachment.bytes > 0 && attachment.bytes <= self.largest_bytes && self.types.iter().any(fits)
    }
}

fn documents() -> Vec<String> {
    const DOCUMENTS: [&str; 18] = [
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.oasis.opendocument.text",
        "text/plain",
        "text/html",
        "text/csv",
        "text/markdown",
        // What came as `application/octet-stream`.
        ".pdf",
        ".docx",
        ".xlsx",
        ".pptx",
        ".odt",
        ".csv",
        ".html",
        ".md",
        ".txt",
    ];
    DOCUMENTS.map(str::to_owned).to_vec()
}

const fn ten_mebibytes() -> u64 {
    10 * 1024 * 1024
}

const fn ten() -> usize {
    10
}

// In base64 and with what stands around it, it still fits into the data of a start.
const MOST_ATTACHMENT_BYTES: u64 = 23 * 1024 * 1024;
const MOST_ATTACHMENTS: usize = 100;
const LONGEST_PATIENCE: u64 = 60 * 86_400;

fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(D::Error::custom("`below` must be from 0 to 1")) }
}

fn patience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if (60..=LONGEST_PATIENCE).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom("`within_seconds` must be from 60 to 5184000"))
    }
}

fn reviewer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Option::<String>::deserialize(deserializer)?;
    match value {
        Some(value) if !address::is_valid(&value) => Err(D::Error::custom("`reviewer` must be an address")),
        value => Ok(value),
    }
}

fn attachment_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if (1..=MOST_ATTACHMENT_BYTES).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom("`largest_bytes` must be from 1 to 24117248"))
    }
}

fn attachment_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let value = usize::deserialize(deserializer)?;
    if (1..=MOST_ATTACHMENTS).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom("`most` must be from 1 to 100"))
    }
}

/// What a review would refuse is refused here.
fn criteria<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CriterionInput>, D::Error> {
    let review_criteria = Vec::<CriterionInput>::deserialize(deserializer)?;
    let file = FileSource::Text { name: None, text: String::new() };
    let probe = DocumentInput { id: WorkflowType::DocumentReview.name().to_owned(), file, review_criteria };
    probe.validate().map_err(|report| D::Error::custom(report.to_string().trim().replace('\n', "; ")))?;
    Ok(probe.review_criteria)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definition::Definition;

    fn definition(yaml: &str) -> Result<Definition, String> {
        Definition::parse(&format!("workflow: email_processing\nversion: 1\n{yaml}")).map_err(|error| error.message)
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let cases = [
            ("review: { when: always, below: 1.5 }", "`below`"),
            ("review: { when: always, below: .nan }", "`below`"),
            ("review: { within_seconds: 59 }", "`within_seconds`"),
            ("review: { within_seconds: 5184001 }", "`within_seconds`"),
            ("review: { reviewer: \"a@b.example, c@d.example\" }", "`reviewer`"),
            ("review: { when: sometimes }", "sometimes"),
            ("review: { whenever: always }", "whenever"),
            ("verdicts: { spam: delete }", "delete"),
            ("attachments: { review: { criteria: [] } }", "review_criteria"),
            ("attachments: { review: { criteria: [\"\"] } }", "review_criteria[0]"),
            ("attachments: { review: { criteria: [a], largest_bytes: 24117249 } }", "`largest_bytes`"),
            ("attachments: { review: { criteria: [a], most: 0 } }", "`most`"),
        ];
        for (yaml, expected) in cases {
            let problem = definition(yaml).unwrap_err();
            assert!(problem.contains(expected), "{yaml} gave `{problem}`");
        }
    }

    #[test]
    fn without_a_word_viruses_and_spam_are_quarantined_and_forged_senders_not_answered() {
        let settings = definition("").unwrap().verdicts;
        let failed = |set: fn(&mut Verdicts)| {
            let mut verdicts = Verdicts::default();
            set(&mut verdicts);
            settings.decide(&verdicts).map(|(action, _)| action)
        };
        assert_eq!(settings.decide(&Verdicts::default()), None);
        assert_eq!(failed(|verdicts| verdicts.virus = Some(Verdict::Fail)), Some(OnFailure::Quarantine));
        assert_eq!(failed(|verdicts| verdicts.spam = Some(Verdict::Fail)), Some(OnFailure::Quarantine));
        assert_eq!(failed(|verdicts| verdicts.dmarc = Some(Verdict::Fail)), Some(OnFailure::NoResponse));
        assert_eq!(failed(|verdicts| verdicts.spf = Some(Verdict::Fail)), Some(OnFailure::Ignore));
        assert_eq!(failed(|verdicts| verdicts.virus = Some(Verdict::Unknown)), None);
        let both = Verdicts { spam: Some(Verdict::Fail), dmarc: Some(Verdict::Fail), ..Verdicts::default() };
        assert_eq!(settings.decide(&both), Some((OnFailure::Quarantine, "the mail service takes it for spam")));
    }

    #[test]
    fn an_attachment_fits_by_its_type_or_by_its_name() {
        let review = definition("attachments: { review: { criteria: [a], types: [text/*, application/pdf, .DOCX] } }")
            .unwrap()
            .attachments
            .review
            .unwrap();
        let fits = |name: &str, content_type: &str, bytes| {
            review.takes(&Attachment { name: Some(name.to_owned()), content_type: content_type.to_owned(), bytes })
        };
        assert!(fits("a", "text/csv", 1));
        assert!(fits("a", "application/pdf", 10 * 1024 * 1024));
        assert!(fits("Offer.docx", "application/octet-stream", 1));
        assert!(!fits("a", "application/pdf", 0));
        assert!(!fits("a", "application/pdf", 10 * 1024 * 1024 + 1));
        assert!(!fits(".docx", "application/octet-stream", 1));
        assert!(!fits("a.docx.exe", "application/octet-stream", 1));
        assert!(!fits("a", "texture/x", 1));
    }

    #[test]
    fn what_is_not_sure_of_itself_is_looked_at() {
        let settings = definition("review: { when: low_confidence }").unwrap().review;
        assert!(settings.is_due(0.69) && !settings.is_due(0.7) && settings.is_due(f64::NAN));
        assert!(!definition("").unwrap().review.is_due(0.0));
    }
}
