use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure,
        definition::Definition,
        document::{Content, Criterion, Review, Verdict},
        email::{Category, Draft, Email, EmailAnalysis, Urgency},
        run::Usage,
        task::{Plan, PlanStep, StepResult, TaskInput, TaskReport},
    },
    ports::{Answer, Assistant},
};
use serde_json::{Value, json};

/// An assistant that answers at once, and never twice the same: each answer carries a mark of its own, `⟨7⟩`, as the
/// answers of a model differ. So a test sees which of several answers a run went on with.
///
/// It finds that every email needs a response, that every criterion is met, and that a task takes one step.
#[derive(Debug, Default)]
pub struct ScriptedAssistant {
    answers: AtomicU64,
}

impl ScriptedAssistant {
    fn mark(&self) -> String {
        format!("⟨{}⟩", self.answers.fetch_add(1, Ordering::Relaxed))
    }

    /// A value without its marks.
    pub fn unmarked(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(unmarked(text)),
            Value::Array(items) => Value::Array(items.iter().map(Self::unmarked).collect()),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, field)| (name.clone(), Self::unmarked(field))).collect())
            }
            other => other.clone(),
        }
    }

    /// The marks in a value.
    pub fn marks(value: &Value) -> BTreeSet<String> {
        let mut marks = BTreeSet::new();
        collect_marks(value, &mut marks);
        marks
    }
}

fn unmarked(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once('⟨') {
        plain.push_str(before);
        plain.push('⟨');
        rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    plain + rest
}

fn collect_marks(value: &Value, marks: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            marks.extend(text.split('⟨').skip(1).filter_map(|part| Some(part.split_once('⟩')?.0.to_owned())));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_marks(item, marks)),
        Value::Object(fields) => fields.values().for_each(|field| collect_marks(field, marks)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn answer<T>(value: T) -> Answer<T> {
    Answer { value, usage: Usage { api_calls: 1, input_tokens: 100, output_tokens: 10, ..Usage::default() } }
}

#[async_trait]
impl Assistant for ScriptedAssistant {
    fn model(&self) -> &str {
        "script"
    }

    async fn analyze_email(&self, _definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        let mark = self.mark();
        Ok(answer(EmailAnalysis {
            category: Category::Question,
            intent: format!("wants to know {mark}"),
            urgency: Urgency::Normal,
            requires_response: true,
            template: "reply".to_owned(),
            context: BTreeMap::from([("about".to_owned(), json!(format!("{} {mark}", email.id)))]),
            language: None,
            confidence: 0.9,
            reasons: Vec::new(),
        }))
    }

    async fn generate_response(
        &self,
        _definition: &Definition,
        template: &str,
        context: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        let mark = self.mark();
        Ok(answer(Draft {
            subject: format!("{template} {mark}"),
            text: format!("About {}: thank you {mark}", context.get("about").and_then(Value::as_str).unwrap_or("it")),
        }))
    }

    async fn review_document(
        &self,
        _definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        let mark = self.mark();
        let words = content.sections.iter().map(|section| section.text.chars().take(12).collect());
        Ok(answer(Review {
            verdict: Verdict::Met,
            confidence: 0.9,
            explanation: format!("{} is met {mark}", criterion.id),
            quotations: words.collect(),
        }))
    }

    async fn analyze_task(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        _tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        let mark = self.mark();
        let arguments = [("instruction", json!(format!("think {mark}"))), ("text", json!(task.description))];
        let step = PlanStep {
            id: "think".to_owned(),
            tool: "ask_assistant".to_owned(),
            arguments: arguments.map(|(name, value)| (name.to_owned(), value)).into(),
            ..PlanStep::default()
        };
        Ok(answer(Plan { steps: vec![step], ..Plan::default() }))
    }

    async fn generate_report(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        let mark = self.mark();
        let lines = results.iter().map(|result| format!("{}: {}\n", result.id, result.output));
        Ok(answer(TaskReport { summary: format!("{} is done {mark}", task.id), markdown: lines.collect() }))
    }

    async fn ask(&self, _definition: &Definition, instruction: &str, _text: &str) -> Result<Answer<String>, Failure> {
        Ok(answer(format!("{instruction}: done {}", self.mark())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_and_taken_off() {
        let value = json!({"a": "x ⟨1⟩ y ⟨22⟩", "b": [1, "⟨3⟩"]});
        assert_eq!(ScriptedAssistant::marks(&value), BTreeSet::from(["1", "22", "3"].map(str::to_owned)));
        assert_eq!(ScriptedAssistant::unmarked(&value), json!({"a": "x ⟨⟩ y ⟨⟩", "b": [1, "⟨⟩"]}));
    }
}
