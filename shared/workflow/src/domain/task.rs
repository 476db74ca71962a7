//! What the task workflow reads, plans and does.

use std::collections::BTreeMap;

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{Failure, Kind};
pub use super::plan::{MAX_PLAN_STEPS, OnFailure, Plan, PlanStep, StepRetry};

/// `data` of a `task_automation` run. Other fields are kept and can be used by a pinned plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskInput {
    /// The task's own id, 1 to 256 bytes.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256))]
    #[garde(length(bytes, min = 1, max = 256))]
    pub id: String,
    /// What to do, in the words of whoever assigned it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100_000))]
    #[garde(length(chars, min = 1, max = 100_000))]
    pub description: String,
    /// A short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    #[garde(inner(length(chars, max = 500)))]
    pub title: Option<String>,
    /// Whether nothing is to be done: it is planned and checked, and said what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[garde(skip)]
    pub dry_run: bool,
    /// Everything else that came with it.
    #[serde(flatten)]
    #[garde(skip)]
    pub fields: BTreeMap<String, Value>,
}

/// How a step of a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its tool gave a result.
    Done,
    /// Its condition was false, or a step that it depends on was skipped or failed.
    Skipped,
    /// It failed, and the plan says that the run goes on.
    Failed,
    /// It would have been carried out, had this not been a dry run.
    Planned,
}

/// What a step of a plan came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step's id.
    pub id: String,
    /// What it was for.
    pub title: String,
    /// The tool that did it.
    pub tool: String,
    /// How it ended.
    pub status: StepStatus,
    /// What the tool gave.
    #[serde(default)]
    pub output: Value,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// Why a step of a plan failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What kind of fault.
    pub kind: Kind,
    /// What happened.
    pub message: String,
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind, message: failure.message }
    }
}

/// What `generate_report` writes about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// What was done, in a sentence.
    pub summary: String,
    /// The report as a page of Markdown.
    pub markdown: String,
}
