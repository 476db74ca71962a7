use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    domain::{
        definition::Definition,
        document::{Review, Verdict},
        email::{Category, Draft, Email, EmailAnalysis, Urgency},
        task::{Plan, PlanStep, TaskReport},
    },
    rules::{harmless_line, one_line},
};

const LONGEST_LINE: usize = 300;
const LONGEST_TEXT: usize = 100_000;
const MOST_MENTIONS: usize = 10;

/// What an email wants.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailAnswer {
    /// What kind of email it is.
    category: Category,
    /// What the sender wants, in one sentence of theirs.
    intent: String,
    /// How soon someone should act.
    urgency: Urgency,
    /// Whether a response is due.
    requires_response: bool,
    /// The response template to use; empty when no response is due.
    template: String,
    /// The sender's questions, word for word.
    questions: Vec<String>,
    /// Dates that are mentioned, as YYYY-MM-DD where they are complete.
    dates: Vec<String>,
    /// Numbers of orders, invoices, customers, as they are written.
    reference_numbers: Vec<String>,
    /// The language, as an ISO 639-3 code; empty when it is not certain.
    language: String,
    /// How sure the answer is, 0 to 1.
    confidence: f64,
    /// What led to the category, in a few words each.
    reasons: Vec<String>,
}

impl EmailAnswer {
    pub(super) fn check(&self, definition: &Definition) -> Result<(), String> {
        check_confidence(self.confidence)?;
        if self.requires_response && !definition.templates.contains_key(&self.template) {
            let known: Vec<&str> = definition.templates.keys().map(String::as_str).collect();
            return Err(format!("at `template`: it is not one of `{}`", known.join("`, `")));
        }
        Ok(())
    }

    /// The analysis: what a model understands, over what can be read off the mail.
    pub(super) fn over(self, read: EmailAnalysis, email: &Email) -> EmailAnalysis {
        let lines = |texts: &[String]| -> Vec<String> {
            texts.iter().take(MOST_MENTIONS).map(|text| harmless_line(text, LONGEST_LINE)).collect()
        };
        let intent = harmless_line(&self.intent, LONGEST_LINE);
        let language = (self.language.len() == 3 && self.language.chars().all(|letter| letter.is_ascii_lowercase()))
            .then_some(self.language);
        let mut context = read.context;
        let understood = [
            ("category", json!(self.category)),
            ("urgency", json!(self.urgency)),
            ("intent", json!(intent)),
            ("language", json!(language)),
            ("questions", json!(lines(&self.questions))),
            ("dates", json!(lines(&self.dates))),
            ("reference_numbers", json!(lines(&self.reference_numbers))),
        ];
        context.extend(understood.map(|(name, value)| (name.to_owned(), value)));
        // No model decides that a machine is answered.
        let requires_response = self.requires_response && email.no_reply_because.is_none();
        EmailAnalysis {
            category: self.category,
            intent: one_line(&self.intent, LONGEST_LINE),
            urgency: self.urgency,
            requires_response,
            template: if requires_response { self.template } else { String::new() },
            context,
            language,
            confidence: self.confidence,
            reasons: lines(&self.reasons),
        }
    }
}

/// A response.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseAnswer {
    /// Its subject, on one line.
    subject: String,
    /// Its body, plain text.
    text: String,
}

impl ResponseAnswer {
    pub(super) fn check(&self, draft: &Draft) -> Result<(), String> {
        check_text("text", &self.text)?;
        check_text("subject", &self.subject)?;
        // What leads anywhere must have been there: in the definition's own words.
        let leads = |text: &str| -> Option<String> {
            text.split_whitespace()
                .find(|word| {
                    let lower = word.to_lowercase();
                    let leads = lower.contains("://") || lower.contains("www.") || lower.contains('@');
                    leads && !draft.text.contains(*word) && !draft.subject.contains(*word)
                })
                .map(str::to_owned)
        };
        match leads(&self.text).or_else(|| leads(&self.subject)) {
            Some(_) => Err("it has a link or an address that the draft does not have".to_owned()),
            None => Ok(()),
        }
    }

    /// The response; the draft's subject stays where the answer's is of no use.
    pub(super) fn over(self, draft: &Draft) -> Draft {
        let subject = one_line(&self.subject, LONGEST_LINE);
        Draft {
            subject: if subject.is_empty() { draft.subject.clone() } else { subject },
            text: format!("{}\n", self.text.trim()),
        }
    }
}

/// How a document stands against a criterion.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewAnswer {
    /// Why, in a sentence.
    explanation: String,
    /// The document's own words that the verdict rests on, copied exactly.
    quotations: Vec<String>,
    /// The verdict.
    verdict: Verdict,
    /// How sure the verdict is, 0 to 1.
    confidence: f64,
}

impl ReviewAnswer {
    pub(super) fn check(&self) -> Result<(), String> {
        check_confidence(self.confidence)?;
        check_text("explanation", &self.explanation)?;
        check_count("quotations", self.quotations.len(), 20)
    }
}

impl From<ReviewAnswer> for Review {
    fn from(answer: ReviewAnswer) -> Self {
        Self {
            verdict: answer.verdict,
            confidence: answer.confidence,
            explanation: one_line(&answer.explanation, 1000),
            quotations: answer.quotations,
        }
    }
}

/// A plan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanAnswer {
    /// Its steps.
    steps: Vec<PlannedStep>,
}

/// One step of a plan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlannedStep {
    /// Its id, unique in the plan: letters, digits, `_` and `-`.
    id: String,
    /// What it is for, in a few words.
    title: String,
    /// The tool that does it.
    tool: String,
    /// What the tool gets.
    arguments: Vec<Argument>,
    /// The ids of the steps whose results it needs.
    depends_on: Vec<String>,
    /// An expression over `task` and `results`; the step is skipped when it is false. Empty for a step that is always
    /// done.
    when: String,
}

/// One argument of a tool.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Argument {
    /// Its name.
    name: String,
    /// Its value.
    value: ArgumentValue,
}

/// A value: text, which may refer to `{{ task.… }}` and `{{ results.<step>.… }}`; a number; true or false; texts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ArgumentValue {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    Texts(Vec<String>),
}

impl PlanAnswer {
    /// What the plan itself demands; that its tools exist here, and what they take, the workflow checks.
    pub(super) fn check(&self, tools: &[(&str, &str)]) -> Result<(), String> {
        for (index, step) in self.steps.iter().enumerate() {
            if !tools.iter().any(|(name, _)| *name == step.tool) {
                let known: Vec<&str> = tools.iter().map(|(name, _)| *name).collect();
                return Err(format!("at `steps[{index}].tool`: it is not one of `{}`", known.join("`, `")));
            }
        }
        Plan::from(self).check().map_err(|failure| match failure.step {
            Some(step) => format!("at step `{step}`: {}", failure.message),
            None => failure.message,
        })
    }
}

impl From<&PlanAnswer> for Plan {
    fn from(answer: &PlanAnswer) -> Self {
        let step = |step: &PlannedStep| PlanStep {
            id: step.id.clone(),
            title: one_line(&step.title, LONGEST_LINE),
            tool: step.tool.clone(),
            arguments: step
                .arguments
                .iter()
                .map(|argument| (argument.name.clone(), json!(argument.value)))
                .collect::<BTreeMap<String, Value>>(),
            depends_on: step.depends_on.clone(),
            when: Some(step.when.clone()).filter(|when| !when.is_empty()),
            ..PlanStep::default()
        };
        Self { steps: answer.steps.iter().map(step).collect(), ..Self::default() }
    }
}

/// What was done for a task.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportAnswer {
    /// What was done, in a sentence.
    summary: String,
    /// The report as a page of Markdown.
    markdown: String,
}

impl ReportAnswer {
    pub(super) fn check(&self) -> Result<(), String> {
        check_text("summary", &self.summary)?;
        check_text("markdown", &self.markdown)
    }
}

impl From<ReportAnswer> for TaskReport {
    fn from(answer: ReportAnswer) -> Self {
        Self { summary: one_line(&answer.summary, 1000), markdown: answer.markdown }
    }
}

/// An answer to a free instruction.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    /// The answer, plain text.
    pub(super) answer: String,
}

impl Answered {
    pub(super) fn check(&self) -> Result<(), String> {
        check_text("answer", &self.answer)
    }
}

fn check_confidence(confidence: f64) -> Result<(), String> {
    let is_share = (0.0..=1.0).contains(&confidence);
    is_share.then_some(()).ok_or_else(|| "at `confidence`: it is not from 0 to 1".to_owned())
}

fn check_text(field: &str, text: &str) -> Result<(), String> {
    match text.trim().len() {
        0 => Err(format!("at `{field}`: it is empty")),
        bytes if bytes > LONGEST_TEXT => Err(format!("at `{field}`: it is longer than {LONGEST_TEXT} bytes")),
        _ => Ok(()),
    }
}

fn check_count(field: &str, count: usize, most: usize) -> Result<(), String> {
    (count <= most).then_some(()).ok_or_else(|| format!("at `{field}`: there are more than {most}"))
}
