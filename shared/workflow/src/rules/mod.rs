//! The embedded default assistant: deterministic text analysis with no model and no network.
//!
//! It is honest about itself ([`Assistant::model`] is `rules`), costs nothing and works on the real text: it
//! sorts mail and fills templates, holds documents against criteria with verbatim quotations, splits tasks into a
//! checklist, and answers by quoting.
//!
//! Invariants: the same input gives the same output; nothing that came from outside becomes an address, a tool,
//! a template or an instruction; nothing panics on any text and the work is linear in its length.
//!
//! Deliberately absent: understanding and generation. Where words do not decide, the answer says so.
//!
//! - `email`, `document`, `task`, `report`, `answer`: what each method of the assistant does.
//! - `relevance`, `dates`, `figures`, `text`: how text is read; `phrases`, `lists`: by which words.

mod answer;
mod dates;
mod document;
mod email;
mod figures;
mod lists;
mod phrases;
mod relevance;
mod report;
mod task;
mod text;

pub(crate) use text::{harmless_line, one_line};

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    domain::{
        Failure,
        definition::Definition,
        document::{Content, Criterion, Review},
        email::{Draft, Email, EmailAnalysis},
        run::Usage,
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    ports::{Answer, Assistant},
};

/// The assistant that needs no model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesAssistant;

#[async_trait]
impl Assistant for RulesAssistant {
    fn model(&self) -> &str {
        "rules"
    }

    /// # Errors
    /// This returns an error of kind `Validation` when a response is due and the definition has no template for it.
    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        email::analyze(definition, email).map(answered)
    }

    /// # Errors
    /// This returns an error of kind `Validation` that names the template, and the variable where one is missing,
    /// when the template does not exist or cannot be rendered.
    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        email::respond(definition, template, context).map(answered)
    }

    async fn review_document(
        &self,
        _definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        Ok(answered(document::review(content, criterion)))
    }

    /// # Errors
    /// This returns an error of kind `Validation` when there is no tool that the rules can plan with.
    async fn analyze_task(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        task::plan(task, tools).map(answered)
    }

    async fn generate_report(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        Ok(answered(report::report(task, results)))
    }

    async fn ask(&self, _definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        Ok(answered(answer::answer(instruction, text)))
    }
}

// One call each, and no tokens: there is no model.
fn answered<T>(value: T) -> Answer<T> {
    Answer { value, usage: Usage { api_calls: 1, ..Usage::default() } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::WorkflowType;

    fn definitions() -> [Definition; 3] {
        [
            include_str!("../../../../infra/definitions/email_processing.yaml"),
            include_str!("../../../../infra/definitions/document_review.yaml"),
            include_str!("../../../../infra/definitions/task_automation.yaml"),
        ]
        .map(|yaml| Definition::parse(yaml).unwrap())
    }

    #[tokio::test]
    async fn it_says_what_it_is_and_what_it_took() {
        let [emails, documents, tasks] = definitions();
        let assistant = RulesAssistant;
        assert_eq!(assistant.model(), "rules");
        let email = Email { text: "Test email content".to_owned(), ..Email::default() };
        let analysis = assistant.analyze_email(&emails, &email).await.unwrap();
        let draft =
            assistant.generate_response(&emails, &analysis.value.template, &analysis.value.context).await.unwrap();
        let criterion = serde_json::from_value(json!({"text": "A date"})).unwrap();
        let review = assistant.review_document(&documents, &Content::default(), &criterion).await.unwrap();
        let task: TaskInput = serde_json::from_value(json!({"id": "t", "description": "Call Bob"})).unwrap();
        let plan = assistant.analyze_task(&tasks, &task, &[("set_record", "")]).await.unwrap();
        let report = assistant.generate_report(&tasks, &task, &[]).await.unwrap();
        let answer = assistant.ask(&tasks, "Summarize", "One sentence.").await.unwrap();
        let usages = [analysis.usage, draft.usage, review.usage, plan.usage, report.usage, answer.usage];
        assert!(usages.iter().all(|usage| *usage == Usage { api_calls: 1, ..Usage::default() }));
    }

    #[test]
    fn the_definitions_are_version_one_with_golden_cases_of_valid_input() {
        for (definition, workflow) in definitions().into_iter().zip(WorkflowType::ALL) {
            assert_eq!((definition.workflow, definition.version), (workflow, 1));
            assert!(definition.golden_cases.len() >= 3);
            for case in definition.golden_cases {
                assert!(crate::domain::input::parse(workflow, case.data).is_ok(), "in {}", case.name);
                assert!(!case.expect.is_empty() && case.expect.keys().all(|pointer| pointer.starts_with('/')));
            }
        }
    }

    #[tokio::test]
    async fn the_golden_emails_are_analyzed_as_they_expect() {
        let [emails, ..] = definitions();
        for case in emails.golden_cases.iter().filter(|case| case.data.get("headers").is_none()) {
            let text = |field: &str| case.data.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let email =
                Email { from: text("from"), subject: text("subject"), text: text("content"), ..Email::default() };
            let analysis = RulesAssistant.analyze_email(&emails, &email).await.unwrap().value;
            let mut result = json!({
                "response_generated": analysis.requires_response,
                "analysis": analysis,
                "status": "success",
                "api_calls": 1 + u8::from(analysis.requires_response),
            });
            if analysis.requires_response {
                let draft = RulesAssistant.generate_response(&emails, &analysis.template, &analysis.context).await;
                result["response"] = json!(draft.unwrap().value);
            }
            for (pointer, expected) in &case.expect {
                assert_eq!(
                    result.pointer(pointer),
                    Some(expected),
                    "{pointer} in `{}`: {:?}",
                    case.name,
                    analysis.reasons
                );
            }
        }
    }

    #[tokio::test]
    async fn the_golden_documents_are_reviewed_as_they_expect() {
        let [_, documents, _] = definitions();
        for case in &documents.golden_cases {
            let input: crate::domain::document::DocumentInput = serde_json::from_value(case.data.clone()).unwrap();
            let text = case.data.pointer("/file/text").and_then(Value::as_str).unwrap_or_default().to_owned();
            let sections =
                vec![crate::domain::document::Section { label: "text".to_owned(), text, ..Default::default() }];
            let content = Content { format: "text".to_owned(), sections, ..Content::default() };
            for (index, criterion) in input.criteria().iter().enumerate() {
                let review = RulesAssistant.review_document(&documents, &content, criterion).await.unwrap().value;
                if let Some(expected) = case.expect.get(&format!("/findings/{index}/verdict")) {
                    assert_eq!(json!(review.verdict), *expected, "{}: {}", criterion.text, review.explanation);
                }
                if let Some(expected) = case.expect.get(&format!("/findings/{index}/quotations/0/text")) {
                    assert_eq!(json!(review.quotations.first()), *expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn the_golden_tasks_are_planned_as_they_expect() {
        let [_, _, tasks] = definitions();
        let tools = [("ask_assistant", ""), ("publish_event", ""), ("set_record", "")];
        for case in &tasks.golden_cases {
            let task: TaskInput = serde_json::from_value(case.data.clone()).unwrap();
            let plan = RulesAssistant.analyze_task(&tasks, &task, &tools).await.unwrap().value;
            let mut results = Vec::new();
            for step in plan.steps {
                let arguments = filled(&json!(step.arguments), &task);
                // What the tools of these names give.
                let output = match step.tool.as_str() {
                    "ask_assistant" => {
                        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
                        let answer = RulesAssistant.ask(&tasks, &text("instruction"), &text("text")).await.unwrap();
                        json!({ "answer": answer.value })
                    }
                    "publish_event" => json!({ "published": arguments["type"] }),
                    _ => json!({ "record": arguments["name"], "value": arguments["value"] }),
                };
                let status = crate::domain::task::StepStatus::Done;
                let (id, title, tool) = (step.id, step.title, step.tool);
                results.push(StepResult { id, title, tool, status, output, error: None });
            }
            let report = RulesAssistant.generate_report(&tasks, &task, &results).await.unwrap().value;
            let result = json!({ "status": "success", "report": report, "steps": results });
            for (pointer, expected) in &case.expect {
                assert_eq!(result.pointer(pointer), Some(expected), "{pointer} in `{}`", case.name);
            }
        }
    }

    fn filled(value: &Value, task: &TaskInput) -> Value {
        match value {
            Value::String(text) => {
                let values = BTreeMap::from([("task".to_owned(), json!(task))]);
                Value::String(crate::templates::render("argument", text, &values).unwrap())
            }
            Value::Array(items) => items.iter().map(|item| filled(item, task)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), filled(value, task))).collect(),
            other => other.clone(),
        }
    }
}
