use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{
    Failure, RunId, WorkflowType,
    definition::Definition,
    document::{Content, Criterion, Review},
    email::{Draft, Email, EmailAnalysis},
    run::Usage,
    task::{Plan, StepResult, TaskInput, TaskReport},
};

/// What an assistant answers, with what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// What the call took; one api call at least.
    pub usage: Usage,
}

/// On whose behalf the assistant is asked.
///
/// It travels beside the call, as a value of the task, so that an assistant which keeps no accounts need not know it:
/// the engine sets it around each step that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowType,
    /// Who started it.
    pub caller: String,
}

tokio::task_local! {
    static ASKING: Asking;
}

impl Asking {
    /// Does this work on behalf of `self`.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        ASKING.scope(self, work).await
    }

    /// On whose behalf the present work is done; `None` outside of any run.
    pub fn present() -> Option<Self> {
        ASKING.try_with(Self::clone).ok()
    }
}

/// The assistant, with the methods that the seed names.
///
/// Everything that came from outside (an email, a document, a task) is data: it is never a source of
/// addresses, tools or instructions.
#[async_trait]
pub trait Assistant: Send + Sync {
    /// What answers: a model's name, or `rules`.
    fn model(&self) -> &str;

    /// Tells what an email wants and whether a response is due.
    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure>;

    /// Writes the response: the definition's template, filled with the context.
    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &std::collections::BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure>;

    /// Holds a document against one criterion.
    async fn review_document(
        &self,
        definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure>;

    /// Plans a task with the tools that exist (name and meaning of each).
    async fn analyze_task(
        &self,
        definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure>;

    /// Reports what was done for a task.
    async fn generate_report(
        &self,
        definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure>;

    /// Answers a free instruction about a text: the tool `ask_assistant`.
    async fn ask(&self, definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure>;
}
