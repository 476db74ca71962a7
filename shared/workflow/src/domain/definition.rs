//! A workflow's definition: what may change without a new deployment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    document::CriterionInput,
    email::{AttachmentSettings, ReviewSettings, VerdictSettings},
    failure::Failure,
    run::WorkflowType,
    task::Plan,
};

/// One version of a workflow's templates, plan and golden cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The workflow it defines.
    pub workflow: WorkflowType,
    /// Its version, from 1.
    pub version: u32,
    /// What templates may use besides the context of the run: the organization's name, its signature.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// Response templates by name (`email_processing`).
    #[serde(default)]
    pub templates: BTreeMap<String, Template>,
    /// How long one sender gets no second answer, in seconds; a day unless said (`email_processing`).
    #[serde(default = "one_day")]
    pub answer_window: u32,
    /// What becomes of mail that failed a check of the mail service (`email_processing`).
    #[serde(default)]
    pub verdicts: VerdictSettings,
    /// Whether a person looks at a response before it is sent (`email_processing`).
    #[serde(default)]
    pub review: ReviewSettings,
    /// What becomes of what is attached to mail (`email_processing`).
    #[serde(default)]
    pub attachments: AttachmentSettings,
    /// What documents are reviewed against when they come without criteria, as an upload does
    /// (`document_review`).
    #[serde(default)]
    pub review_criteria: Vec<CriterionInput>,
    /// A longer document is reviewed in parts of at most so many characters; 40,000 unless said, some twenty pages,
    /// which leaves a model with a small window room to answer (`document_review`).
    #[serde(default = "twenty_pages")]
    pub part_characters: usize,
    /// How many characters at the end of one part the next one says again, so that no sentence is only ever seen cut;
    /// 1,000 unless said (`document_review`).
    #[serde(default = "half_a_page")]
    pub part_overlap_characters: usize,
    /// Who may be written to by the tool `send_email`, as addresses by name: a plan says the name, so that no
    /// address ever comes out of a task or a model (`task_automation`).
    #[serde(default)]
    pub recipients: BTreeMap<String, String>,
    /// A pinned plan (`task_automation`): then nobody plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Inputs with what must come of them.
    #[serde(default)]
    pub golden_cases: Vec<GoldenCase>,
}

const fn one_day() -> u32 {
    86_400
}

const fn twenty_pages() -> usize {
    40_000
}

const fn half_a_page() -> usize {
    1_000
}

/// A response template. Both texts are Jinja templates with strict variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The subject.
    pub subject: String,
    /// The body, plain text.
    pub text: String,
}

/// An input with what must come of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// What it shows.
    pub name: String,
    /// The run's data.
    pub data: Value,
    /// What the result must contain: each value by its JSON pointer (RFC 6901).
    pub expect: BTreeMap<String, Value>,
}

impl Definition {
    /// Reads a definition's text.
    ///
    /// # Errors
    /// This returns an error with line and column when the text is not valid YAML or not a definition.
    pub fn parse(yaml: &str) -> Result<Self, Failure> {
        serde_saphyr::from_str(yaml).map_err(|error| Failure::validation(format!("definition: {error}")))
    }
}
