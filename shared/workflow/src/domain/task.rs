//! What the task workflow reads, plans and does.

use std::collections::BTreeMap;

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `data` of a `task_automation` run. Other fields are kept and can be used by a pinned plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
pub struct TaskInput {
    /// The task's own id, 1 to 256 bytes.
    #[garde(length(bytes, min = 1, max = 256))]
    pub id: String,
    /// What to do, in the words of whoever assigned it.
    #[garde(length(chars, min = 1, max = 100_000))]
    pub description: String,
    /// A short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 500)))]
    pub title: Option<String>,
    /// Everything else that came with it.
    #[serde(flatten)]
    #[garde(skip)]
    pub fields: BTreeMap<String, Value>,
}

/// The most steps a plan may have.
pub const MAX_PLAN_STEPS: usize = 100;

/// A plan: what `analyze_task` answers, or what a definition pins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its steps.
    pub steps: Vec<PlanStep>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Its id, unique in the plan: letters, digits, `_` and `-`, 1 to 64 of them.
    pub id: String,
    /// What it is for.
    #[serde(default)]
    pub title: String,
    /// The tool that does it.
    pub tool: String,
    /// What the tool gets. Texts are templates over `task` and `results` (by step id).
    #[serde(default)]
    pub arguments: BTreeMap<String, Value>,
    /// The steps whose results it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// An expression over `task` and `results`; the step is skipped when it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// How a step of a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its tool gave a result.
    Done,
    /// Its condition was false, or a step that it depends on was skipped.
    Skipped,
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
}

/// What `generate_report` writes about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// What was done, in a sentence.
    pub summary: String,
    /// The report as a page of Markdown.
    pub markdown: String,
}
