//! Input is parsed here, once, at every door.

use base64::Engine as _;
use garde::Validate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    document::{DocumentInput, FileSource, ObjectRef},
    email::EmailInput,
    run::WorkflowType,
    task::TaskInput,
};

/// One thing wrong with an input, with the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Violation {
    /// The field, as a path: `data.review_criteria[2].weight`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Everything wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct Invalid(pub Vec<Violation>);

fn describe(violations: &[Violation]) -> String {
    let parts: Vec<String> =
        violations.iter().map(|violation| format!("`{}`: {}", violation.field, violation.problem)).collect();
    parts.join("; ")
}

impl Invalid {
    /// One violation.
    pub fn one(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(vec![Violation { field: field.into(), problem: problem.into() }])
    }
}

impl From<Invalid> for super::Failure {
    fn from(invalid: Invalid) -> Self {
        Self::validation(invalid.to_string())
    }
}

/// Data that its workflow accepts.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// For `email_processing`.
    Email(EmailInput),
    /// For `document_review`.
    Document(DocumentInput),
    /// For `task_automation`.
    Task(TaskInput),
}

impl Input {
    /// The workflow it is for.
    pub const fn workflow(&self) -> WorkflowType {
        match self {
            Self::Email(_) => WorkflowType::EmailProcessing,
            Self::Document(_) => WorkflowType::DocumentReview,
            Self::Task(_) => WorkflowType::TaskAutomation,
        }
    }

    /// The id inside the data.
    pub fn data_id(&self) -> &str {
        match self {
            Self::Email(email) => &email.id,
            Self::Document(document) => &document.id,
            Self::Task(task) => &task.id,
        }
    }

    /// Whether the data lies in a bucket: then whoever starts the run reads what the deployment may read.
    pub const fn refers_to_an_object(&self) -> bool {
        match self {
            Self::Email(email) => email.s3.is_some(),
            Self::Document(document) => matches!(document.file, FileSource::Uri(_) | FileSource::Object(_)),
            Self::Task(_) => false,
        }
    }

    /// Whether a text has to be read out of a file.
    pub const fn has_a_file(&self) -> bool {
        match self {
            Self::Document(document) => !matches!(document.file, FileSource::Text { .. }),
            Self::Email(_) | Self::Task(_) => false,
        }
    }

    /// The data, as it is kept in the run.
    pub fn to_value(&self) -> Value {
        let value = match self {
            Self::Email(email) => serde_json::to_value(email),
            Self::Document(document) => serde_json::to_value(document),
            Self::Task(task) => serde_json::to_value(task),
        };
        value.expect("data of strings, numbers and maps with text keys is JSON")
    }
}

/// Parses the data of a workflow.
///
/// # Errors
/// This returns an error that names each field in which the data is not what the workflow accepts.
pub fn parse(workflow: WorkflowType, data: Value) -> Result<Input, Invalid> {
    match workflow {
        WorkflowType::EmailProcessing => {
            let email: EmailInput = read(data)?;
            check_email(&email)?;
            Ok(Input::Email(email))
        }
        WorkflowType::DocumentReview => {
            let document: DocumentInput = read(data)?;
            check_document(&document)?;
            Ok(Input::Document(document))
        }
        WorkflowType::TaskAutomation => Ok(Input::Task(read(data)?)),
    }
}

// Whoever sends a hundred thousand wrong criteria learns of some; answers and logs stay small.
const MOST_VIOLATIONS: usize = 20;

/// What JSON says is wrong, without the value that it would quote: a person wrote that, and this text goes into
/// logs and answers.
pub fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text;
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("is not {}", expected.chars().take(200).collect::<String>()),
        None => text.chars().take_while(|character| !"\"`".contains(*character)).take(200).collect(),
    }
}

fn read<T: DeserializeOwned + Validate<Context: Default>>(data: Value) -> Result<T, Invalid> {
    let value: T = serde_path_to_error::deserialize(data).map_err(|error| {
        let path = error.path().to_string();
        // The name of a header is something that a person wrote.
        let path = if path.starts_with("headers.") { "headers".to_owned() } else { path };
        let field = if path == "." { "data".to_owned() } else { format!("data.{path}") };
        Invalid::one(field, problem(error.inner()))
    })?;
    value.validate().map_err(|report| {
        Invalid(
            report
                .iter()
                .take(MOST_VIOLATIONS)
                .map(|(path, error)| Violation { field: format!("data.{path}"), problem: error.to_string() })
                .collect(),
        )
    })?;
    Ok(value)
}

fn check_email(email: &EmailInput) -> Result<(), Invalid> {
    let sources = [email.content.is_some(), email.raw.is_some(), email.s3.is_some()];
    if sources.iter().filter(|given| **given).count() != 1 {
        return Err(Invalid::one("data", "exactly one of `content`, `raw` and `s3` is needed"));
    }
    if email.content.is_some() && email.from.is_none() {
        return Err(Invalid::one("data.from", "is needed with `content`"));
    }
    if let Some(raw) = &email.raw {
        check_base64("data.raw", raw)?;
    }
    Ok(())
}

fn check_document(document: &DocumentInput) -> Result<(), Invalid> {
    match &document.file {
        FileSource::Uri(uri) if ObjectRef::from_uri(uri).is_none() => {
            return Err(Invalid::one("data.file", "a text must be an address of the form `s3://bucket/key`"));
        }
        FileSource::Inline { content, .. } => check_base64("data.file.content", content)?,
        _ => {}
    }
    let mut ids: Vec<String> = document.criteria().into_iter().map(|criterion| criterion.id).collect();
    ids.sort();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Invalid::one("data.review_criteria", "two criteria have the same id"));
    }
    Ok(())
}

fn check_base64(field: &str, text: &str) -> Result<(), Invalid> {
    decode_base64(text).map(drop).map_err(|problem| Invalid::one(field, problem))
}

/// Decodes base64 with or without padding and line breaks.
///
/// # Errors
/// This returns an error when the text is not base64 (RFC 4648); it says where.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let compact: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    LENIENT.decode(compact).map_err(|error| format!("is not base64: {}", error.to_string().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(workflow: WorkflowType, data: Value) -> String {
        parse(workflow, data).unwrap_err().to_string()
    }

    #[test]
    fn the_seeds_email_is_accepted() {
        let input = parse(
            WorkflowType::EmailProcessing,
            json!({"id": "test123", "from": "user@example.com", "content": "Test email content"}),
        )
        .unwrap();
        assert_eq!(input.data_id(), "test123");
        assert_eq!(parse(WorkflowType::EmailProcessing, input.to_value()).unwrap(), input);
    }

    #[test]
    fn an_error_does_not_repeat_what_a_person_wrote() {
        let secret = "my diagnosis, expected \"soon\" ".repeat(1000);
        for data in [
            json!(secret),
            json!({"id": "1", "from": "a@b.example", "content": {"a": secret}}),
            json!({"id": [secret], "from": "a@b.example", "content": "x"}),
            json!({"id": "1", "from": secret, "content": "x"}),
        ] {
            let shown = parse(WorkflowType::EmailProcessing, data).unwrap_err().to_string();
            assert!(!shown.contains("diagnosis") && shown.len() < 300, "{shown}");
        }
        let headers = json!({"id": "1", "from": "a@b.example", "content": "x", "headers": {"diagnosis": 7}});
        assert!(!parse(WorkflowType::EmailProcessing, headers).unwrap_err().to_string().contains("diagnosis"));
        let many = json!({"id": "1", "file": {"text": "x"}, "review_criteria": vec![""; 100_000]});
        assert!(parse(WorkflowType::DocumentReview, many).unwrap_err().to_string().len() < 5_000);
        let review = parse(WorkflowType::DocumentReview, json!({"id": "1", "file": 7, "review_criteria": secret}));
        assert!(!review.unwrap_err().to_string().contains("diagnosis"));
    }

    #[test]
    fn an_error_names_the_field() {
        use WorkflowType::{DocumentReview, EmailProcessing, TaskAutomation};
        let cases = [
            (EmailProcessing, json!([]), "data"),
            (EmailProcessing, json!({"id": 7}), "data.id"),
            (EmailProcessing, json!({"id": "", "from": "a@b.example", "content": "x"}), "data.id"),
            (EmailProcessing, json!({"id": "1", "from": "nobody", "content": "x"}), "data.from"),
            (EmailProcessing, json!({"id": "1", "content": "x"}), "data.from"),
            (EmailProcessing, json!({"id": "1", "raw": "%%%"}), "data.raw"),
            (EmailProcessing, json!({"id": "1", "from": "a@b.example"}), "`content`, `raw` and `s3`"),
            (DocumentReview, json!({"id": "1", "file": "report.pdf", "review_criteria": ["x"]}), "data.file"),
            (DocumentReview, json!({"id": "1", "file": {"text": "x"}, "review_criteria": []}), "data.review_criteria"),
            (
                DocumentReview,
                json!({"id": "1", "file": {"text": "x"}, "review_criteria": ["a", {"text": "b", "weight": -1}]}),
                "data.review_criteria[1]",
            ),
            (
                DocumentReview,
                json!({"id": "1", "file": {"text": "x"}, "review_criteria": [{"id": "c2", "text": "a"}, "b"]}),
                "two criteria have the same id",
            ),
            (TaskAutomation, json!({"id": "1"}), "description"),
        ];
        for (workflow, data, expected) in cases {
            let shown = problem(workflow, data.clone());
            assert!(shown.contains(expected), "{data} gave `{shown}`, which does not name `{expected}`");
        }
    }
}
