//! What the document workflow reads, finds and reports.

use garde::Validate;
use serde::{Deserialize, Serialize};

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectRef {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl ObjectRef {
    /// Reads `s3://bucket/key`.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
        (!bucket.is_empty() && !key.is_empty()).then(|| Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The last part of the key.
    pub fn file_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}

/// A document's file: where it lies, or what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum FileSource {
    /// `"s3://bucket/key"`.
    Uri(String),
    /// `{"bucket", "key"}`.
    Object(ObjectRef),
    /// `{"name"?, "content"}`, the content in base64.
    Inline {
        /// A file name, only to show: the kind of document is read from its content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The bytes, in base64.
        #[cfg_attr(
            feature = "openapi",
            schema(
                content_encoding = "base64",
                pattern = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
            )
        )]
        content: String,
    },
    /// `{"name"?, "text"}`.
    Text {
        /// A file name, only to show.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The text.
        text: String,
    },
}

/// `data` of a `document_review` run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DocumentInput {
    /// The document's own id, 1 to 256 bytes.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256))]
    #[garde(length(bytes, min = 1, max = 256))]
    pub id: String,
    /// The file.
    #[garde(skip)]
    pub file: FileSource,
    /// What to review it against, 1 to 100 criteria.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 100))]
    #[garde(length(min = 1, max = 100), dive)]
    pub review_criteria: Vec<CriterionInput>,
}

/// A criterion as given: a sentence, or an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum CriterionInput {
    /// The sentence alone.
    Text(#[garde(length(chars, min = 1, max = 2000))] String),
    /// With its id, weight and whether the review fails without it.
    Full(#[garde(dive)] Criterion),
}

/// One criterion of a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Criterion {
    /// Its id in the report; `c1`, `c2` … where none is given.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    #[garde(length(bytes, max = 64))]
    pub id: String,
    /// What is asked of the document, in a sentence.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 2000))]
    #[garde(length(chars, min = 1, max = 2000))]
    pub text: String,
    /// How much it counts in the score, more than 0 and at most 100.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0.001, maximum = 100))]
    #[garde(range(min = 0.001, max = 100.0))]
    pub weight: f64,
    /// Whether the document is rejected when it is not met.
    #[serde(default)]
    #[garde(skip)]
    pub required: bool,
}

const fn one() -> f64 {
    1.0
}

impl DocumentInput {
    /// The criteria, each with an id of its own.
    pub fn criteria(&self) -> Vec<Criterion> {
        self.review_criteria
            .iter()
            .enumerate()
            .map(|(index, given)| {
                let mut criterion = match given {
                    CriterionInput::Text(text) => {
                        Criterion { id: String::new(), text: text.clone(), weight: one(), required: false }
                    }
                    CriterionInput::Full(criterion) => criterion.clone(),
                };
                if criterion.id.is_empty() {
                    criterion.id = format!("c{}", index + 1);
                }
                criterion
            })
            .collect()
    }
}

/// A document's text, in reading order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// `pdf`, `docx`, `odt`, `pptx`, `xlsx`, `csv`, `html`, `markdown`, `mail`, `text`.
    pub format: String,
    /// Its pages, sheets or sections.
    pub sections: Vec<Section>,
    /// Whether text was left out because the document is longer than the limit.
    #[serde(default)]
    pub truncated: bool,
    /// The labels of the pages that show something and have no text: scanned, most often, and so not reviewed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_text: Vec<String>,
}

impl Content {
    /// How many characters of text there are.
    pub fn characters(&self) -> usize {
        self.sections.iter().map(|section| section.text.chars().count()).sum()
    }

    /// Whether the text is all that the document says: only then does its silence mean something.
    pub fn is_whole(&self) -> bool {
        !self.truncated && self.without_text.is_empty()
    }
}

/// A part of a document that a quotation can name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What to call it: `page 3`, `sheet Prices`, `Lease › Termination`.
    pub label: String,
    /// Its text.
    pub text: String,
    /// Where its lines are rows: the rows from which on they are consecutive, the first line's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowMark>,
}

/// A line of a section, and the row that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowMark {
    /// The line, from 0.
    pub line: usize,
    /// The row, from 1.
    pub row: usize,
}

impl Section {
    /// The row at a character of the text, where its lines are rows.
    pub fn row_at(&self, offset: usize) -> Option<usize> {
        let after = |mark: &RowMark, line: usize| mark.line <= line;
        if self.rows.is_empty() {
            return None;
        }
        let line = self.text.chars().take(offset).filter(|character| *character == '\n').count();
        let mark = self.rows[..self.rows.partition_point(|mark| after(mark, line))].last()?;
        Some(mark.row + line - mark.line)
    }
}

/// How a document stands against a criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The document says so.
    Met,
    /// The document says part of it.
    PartlyMet,
    /// The document says otherwise, or is silent where it should speak.
    NotMet,
    /// The assistant cannot tell.
    Unclear,
}

/// Words that really stand in the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quotation {
    /// The words, as the document has them.
    pub text: String,
    /// The section they begin in.
    pub section: String,
    /// Where they begin in that section's text, in characters.
    pub offset: usize,
    /// The row they begin in, where the document is one of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
}

impl Quotation {
    /// Where to look for it: `page 3`, `sheet Prices, row 12`.
    pub fn place(&self) -> String {
        match self.row {
            Some(row) => format!("{}, row {row}", self.section),
            None => self.section.clone(),
        }
    }
}

/// What `review_document` finds on one criterion, as the assistant says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The verdict.
    pub verdict: Verdict,
    /// How sure the assistant is, 0 to 1.
    pub confidence: f64,
    /// Why, in a sentence.
    pub explanation: String,
    /// The words of the document that it rests on, not yet checked.
    #[serde(default)]
    pub quotations: Vec<String>,
}

/// A review with its quotations checked against the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The criterion.
    pub criterion: Criterion,
    /// The verdict.
    pub verdict: Verdict,
    /// How sure the assistant is, 0 to 1.
    pub confidence: f64,
    /// Why, in a sentence.
    pub explanation: String,
    /// Words that stand in the document.
    pub quotations: Vec<Quotation>,
    /// How many quotations were struck because they do not stand in the document.
    #[serde(default)]
    pub struck_quotations: usize,
}

/// The outcome of a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReviewReport {
    /// `accepted`, `rejected` (a required criterion is not met) or `needs_attention`.
    pub decision: Decision,
    /// The weighted share of criteria met, 0 to 1; a partly met one counts half.
    pub score: f64,
    /// Criteria by verdict.
    pub verdicts: std::collections::BTreeMap<String, usize>,
    /// The report as a page of Markdown.
    pub markdown: String,
}

/// What a review comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ReviewDecision))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Every criterion is met.
    Accepted,
    /// A person should look.
    NeedsAttention,
    /// A required criterion is not met.
    Rejected,
}
