//! A workflow's definition: what may change without a new deployment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    document::CriterionInput,
    email::{AttachmentSettings, ReviewSettings, VerdictSettings},
    failure::Failure,
    plan::Plan,
    run::WorkflowType,
    tool::ToolFacts,
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
    /// The tools that plans may use (`task_automation`). Unless said, an assistant's plan may use those that write to
    /// nobody and reach nothing outside, and a pinned plan all that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeSet<String>>,
    /// Whether nothing is done (`task_automation`): tasks are planned and checked, and the result says what would be
    /// done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// A pinned plan (`task_automation`): then nobody plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// What models are asked, by the assistant's methods: `analyze_email`, `generate_response`, `review_document`,
    /// `analyze_task`, `generate_report`, `ask_assistant`. What has no prompt is done by the rules.
    #[serde(default)]
    pub prompts: BTreeMap<String, Prompt>,
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

/// What a model is asked. The texts are Jinja templates with strict variables; what came from outside is put into them
/// between fences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What the model is to do. It may use the definition's `variables` only, so that services can cache it.
    pub system: String,
    /// What comes first in the question and is the same for many of them: a document that is held against several
    /// criteria.
    #[serde(default)]
    pub stable: String,
    /// The question.
    pub user: String,
    /// The group of nodes that may answer; every node, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// How freely the model chooses its words: 0 to 2. As the service has it, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The most tokens of an answer: 1 to 100,000.
    #[serde(default = "many_tokens")]
    pub max_output_tokens: u32,
    /// The longest time for an answer, in seconds: 1 to 600.
    #[serde(default = "one_minute")]
    pub timeout: u32,
    /// How long an answer counts for the same caller's equal questions, in seconds; 0, never, unless said.
    #[serde(default)]
    pub cache: u32,
}

const fn many_tokens() -> u32 {
    2000
}

const fn one_minute() -> u32 {
    60
}

impl Prompt {
    fn check(&self, name: &str) -> Result<(), Failure> {
        let wrong = |field: &str, range: &str| {
            Err(Failure::validation(format!("definition: `prompts.{name}.{field}` is not {range}")))
        };
        if self.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return wrong("temperature", "from 0 to 2");
        }
        if !(1..=100_000).contains(&self.max_output_tokens) {
            return wrong("max_output_tokens", "from 1 to 100,000");
        }
        if !(1..=600).contains(&self.timeout) {
            return wrong("timeout", "from 1 to 600");
        }
        for (field, source) in [("system", &self.system), ("stable", &self.stable), ("user", &self.user)] {
            crate::templates::variables(&format!("prompts.{name}.{field}"), source)?;
        }
        Ok(())
    }
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
    /// This returns an error with line and column when the text is not valid YAML or not a definition, and one that
    /// names the step when a pinned plan could not be carried out, or the setting when a prompt is not a template or is out
    /// of range.
    pub fn parse(yaml: &str) -> Result<Self, Failure> {
        let definition: Self =
            serde_saphyr::from_str(yaml).map_err(|error| Failure::validation(format!("definition: {error}")))?;
        definition.check()?;
        Ok(definition)
    }

    /// Whether an assistant's plan, or the pinned one, may use a tool.
    pub fn allows(&self, tool: &ToolFacts) -> bool {
        match &self.tools {
            Some(tools) => tools.contains(tool.name),
            None => self.plan.is_some() || tool.is_harmless,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let placed = |failure: Failure| {
            let place = failure.step.as_ref().map_or(String::new(), |step| format!(" step `{step}`:"));
            Failure { message: format!("definition: plan:{place} {}", failure.message), ..failure }
        };
        if let Some(unknown) = self.tools.iter().flatten().find(|name| ToolFacts::of(name).is_none()) {
            return Err(Failure::validation(format!("definition: tools: there is no tool `{unknown}`")));
        }
        self.prompts.iter().try_for_each(|(name, prompt)| prompt.check(name))?;
        let Some(plan) = &self.plan else { return Ok(()) };
        plan.check().map_err(placed)?;
        for step in &plan.steps {
            if !ToolFacts::of(&step.tool).is_some_and(|tool| self.allows(tool)) {
                let failure = Failure::validation(format!("`{}` is not among the definition's `tools`", step.tool));
                return Err(placed(failure.in_step(&step.id)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(rest: &str) -> String {
        Definition::parse(&format!("workflow: task_automation\nversion: 1\n{rest}")).unwrap_err().to_string()
    }

    #[test]
    fn a_pinned_plan_is_checked_when_the_definition_is_read() {
        assert_eq!(
            problem("plan: {steps: [{id: a, tool: wait, depends_on: [b]}, {id: b, tool: wait, depends_on: [a]}]}"),
            "definition: plan: these steps wait for each other: `a` → `b` → `a`"
        );
        assert!(problem("plan: {steps: [{id: a, tool: fly}]}").contains("plan: step `a`: there is no tool `fly`"));
        assert!(problem("plan: {steps: [{id: a, tool: wait, argument: {}}]}").contains("argument"));
    }

    #[test]
    fn a_pinned_plan_uses_only_tools_that_the_definition_lists() {
        let mail = "plan: {steps: [{id: a, tool: send_email}]}";
        assert!(problem(&format!("tools: [wait]\n{mail}")).contains("step `a`: `send_email` is not among"));
        assert!(problem("tools: [wait, fly]").contains("there is no tool `fly`"));
        Definition::parse(&format!("workflow: task_automation\nversion: 1\n{mail}")).unwrap();
    }
}
