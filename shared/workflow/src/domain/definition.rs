//! A workflow's definition: what may change without a new deployment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    document::CriterionInput,
    email::{AttachmentSettings, ReviewSettings, VerdictSettings},
    failure::Failure,
    input::{Invalid, Violation},
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
    fn violations(&self, name: &str) -> Vec<Violation> {
        let place = |field: &str| format!("prompts.{name}.{field}");
        let mut found = Vec::new();
        let mut within = |field: &str, is_within: bool, range: &str| {
            if !is_within {
                found.push(Violation { field: place(field), problem: format!("is not {range}") });
            }
        };
        let temperature = self.temperature.is_none_or(|temperature| (0.0..=2.0).contains(&temperature));
        within("temperature", temperature, "from 0 to 2");
        within("max_output_tokens", (1..=100_000).contains(&self.max_output_tokens), "from 1 to 100,000");
        within("timeout", (1..=600).contains(&self.timeout), "from 1 to 600");
        for (field, source) in [("system", &self.system), ("stable", &self.stable), ("user", &self.user)] {
            if let Err(failure) = crate::templates::variables(&place(field), source) {
                found.push(Violation::at(place(field), &failure));
            }
        }
        found
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
    /// This returns an error that lists every mistake with its place: line and column where the text is not YAML, and
    /// else the path of each field, the step of a pinned plan that could not be carried out, or the setting of a prompt
    /// that is not a template or is out of range.
    pub fn parse(yaml: &str) -> Result<Self, Failure> {
        Self::read(yaml).map_err(|invalid| Failure::validation(format!("definition: {invalid}")))?.valid()
    }

    /// Reads what the build made of a definition's text.
    pub(crate) fn parse_json(json: &str) -> Result<Self, Failure> {
        let definition: Self =
            serde_json::from_str(json).map_err(|error| Failure::validation(format!("definition: {error}")))?;
        definition.valid()
    }

    fn valid(self) -> Result<Self, Failure> {
        let violations = self.violations();
        if violations.is_empty() {
            Ok(self)
        } else {
            Err(Failure::validation(format!("definition: {}", Invalid(violations))))
        }
    }

    /// Reads a definition's text, YAML or JSON, and leaves open whether it is one that works.
    ///
    /// # Errors
    /// This returns every place at which the text is not a definition.
    pub fn read(yaml: &str) -> Result<Self, Invalid> {
        serde_saphyr::from_str(yaml).map_err(|error| {
            let mistakes = match serde_saphyr::from_str::<Value>(yaml) {
                Ok(value) => mistakes(value),
                Err(_) => Vec::new(),
            };
            // A text that is no YAML, or a mistake that only the text has: a key twice.
            if mistakes.is_empty() { Invalid::one("definition", error.to_string()) } else { Invalid(mistakes) }
        })
    }

    /// Whether both say the same, whatever their numbers.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        Self { version: 0, ..self.clone() } == Self { version: 0, ..other.clone() }
    }

    /// Whether an assistant's plan, or the pinned one, may use a tool.
    pub fn allows(&self, tool: &ToolFacts) -> bool {
        match &self.tools {
            Some(tools) => tools.contains(tool.name),
            None => self.plan.is_some() || tool.is_harmless,
        }
    }

    /// What is wrong with its tools, prompts and plan, as far as it can be told from the definition alone.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let unknown = self.tools.iter().flatten().filter(|name| ToolFacts::of(name).is_none());
        let mut found: Vec<Violation> = unknown
            .map(|name| Violation { field: "tools".to_owned(), problem: format!("there is no tool `{name}`") })
            .collect();
        found.extend(self.prompts.iter().flat_map(|(name, prompt)| prompt.violations(name)));
        found.extend(self.plan.iter().filter_map(|plan| self.check_plan(plan).err()).map(plan_violation));
        found
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), Failure> {
        plan.check()?;
        for step in &plan.steps {
            if !ToolFacts::of(&step.tool).is_some_and(|tool| self.allows(tool)) {
                let failure = Failure::validation(format!("`{}` is not among the definition's `tools`", step.tool));
                return Err(failure.in_step(&step.id));
            }
        }
        Ok(())
    }
}

/// What is wrong with a plan, at its step where that is known.
pub(crate) fn plan_violation(failure: Failure) -> Violation {
    let place = failure.step.as_ref().map_or("plan".to_owned(), |step| format!("plan.{step}"));
    Violation { field: place, problem: failure.message }
}

// Whoever has made more mistakes mends some first.
const MOST_MISTAKES: usize = 20;
const LONGEST_MESSAGE: usize = 500;

/// Every mistake of a value that should be a definition: each is taken out, so that the next one shows.
fn mistakes(mut value: Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut taken_out = TakenOut::default();
    while found.len() < MOST_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, Definition>(&value) {
            Ok(_) => break,
            Err(error) => error,
        };
        let mut path = places(error.path());
        // A definition is its operator's own text, so its mistakes may be quoted.
        let message: String = error.inner().to_string().chars().take(LONGEST_MESSAGE).collect();
        // What lacks a field is named as a whole; it may lack one because a mistake was taken out of it.
        let lacks = message.starts_with("missing field");
        if !(lacks && taken_out.has_lost(&path)) {
            found.push(Violation { field: taken_out.shown(&path), problem: message });
        }
        loop {
            if path.is_empty() {
                return found;
            }
            if taken_out.take(&mut value, &path) {
                break;
            }
            // The path ends in what is not there: an unknown variant, say.
            path.pop();
        }
    }
    found
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Item(usize),
    Field(String),
}

fn places(path: &serde_path_to_error::Path) -> Vec<Place> {
    path.iter()
        .map_while(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Place::Item(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Place::Field(key.clone())),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
        })
        .collect()
}

/// What was taken out of a value so far, by where it stood at first.
#[derive(Default)]
struct TakenOut(Vec<Vec<Place>>);

impl TakenOut {
    /// Takes out what stands at a place, if something does.
    fn take(&mut self, value: &mut Value, path: &[Place]) -> bool {
        let original = self.original(path);
        let Some((last, parents)) = path.split_last() else { return false };
        let parent = parents.iter().try_fold(value, |value, place| match place {
            Place::Item(index) => value.get_mut(*index),
            Place::Field(name) => value.get_mut(name.as_str()),
        });
        let gone = match (parent, last) {
            (Some(Value::Array(items)), Place::Item(index)) if *index < items.len() => Some(items.remove(*index)),
            (Some(Value::Object(fields)), Place::Field(name)) => fields.remove(name),
            _ => None,
        };
        if gone.is_some() {
            self.0.push(original);
        }
        gone.is_some()
    }

    /// Whether something was taken out from inside this place.
    fn has_lost(&self, path: &[Place]) -> bool {
        let original = self.original(path);
        self.0.iter().any(|gone| gone.len() == original.len() + 1 && gone.starts_with(&original))
    }

    /// Where a place stood before anything was taken out: items that were taken out before it count.
    fn original(&self, path: &[Place]) -> Vec<Place> {
        let mut original = Vec::new();
        for place in path {
            let place = match place {
                Place::Field(name) => Place::Field(name.clone()),
                Place::Item(index) => {
                    let mut gone: Vec<usize> = self
                        .0
                        .iter()
                        .filter(|gone| gone.len() == original.len() + 1 && gone.starts_with(&original))
                        .filter_map(|gone| match gone.last() {
                            Some(Place::Item(index)) => Some(*index),
                            _ => None,
                        })
                        .collect();
                    gone.sort_unstable();
                    Place::Item(gone.into_iter().fold(*index, |index, gone| index + usize::from(gone <= index)))
                }
            };
            original.push(place);
        }
        original
    }

    fn shown(&self, path: &[Place]) -> String {
        let mut shown = String::new();
        for place in self.original(path) {
            match place {
                Place::Item(index) => shown.push_str(&format!("[{index}]")),
                Place::Field(name) => {
                    if !shown.is_empty() {
                        shown.push('.');
                    }
                    shown.extend(name.chars().take(64));
                }
            }
        }
        if shown.is_empty() { "definition".to_owned() } else { shown }
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
            "definition: `plan`: these steps wait for each other: `a` → `b` → `a`"
        );
        assert!(problem("plan: {steps: [{id: a, tool: fly}]}").contains("`plan.a`: there is no tool `fly`"));
        assert!(problem("plan: {steps: [{id: a, tool: wait, argument: {}}]}").contains("argument"));
    }

    #[test]
    fn a_pinned_plan_uses_only_tools_that_the_definition_lists() {
        let mail = "plan: {steps: [{id: a, tool: send_email}]}";
        assert!(problem(&format!("tools: [wait]\n{mail}")).contains("`plan.a`: `send_email` is not among"));
        assert!(problem("tools: [wait, fly]").contains("there is no tool `fly`"));
        Definition::parse(&format!("workflow: task_automation\nversion: 1\n{mail}")).unwrap();
    }

    fn mistakes_of(yaml: &str) -> Vec<(String, String)> {
        let Invalid(found) = Definition::read(yaml).unwrap_err();
        found.into_iter().map(|violation| (violation.field, violation.problem)).collect()
    }

    #[test]
    fn every_mistake_is_listed_with_its_place() {
        let found = mistakes_of(
            "workflow: email_processing
version: 1
answer_window: soon
tempalte: {}
templates:
  good: { subject: a, text: b }
  half: { subject: a }
golden_cases:
  - { name: fine, data: {}, expect: {} }
  - { name: [1], data: {}, expect: {} }
  - { name: fine, data: {}, expect: [] }
  - { name: fine, data: {} }
",
        );
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                "answer_window",
                "golden_cases[1].name",
                "golden_cases[2].expect",
                "golden_cases[3]",
                "tempalte",
                "templates.half",
            ],
            "{found:?}"
        );
        let of = |field: &str| &found.iter().find(|(found, _)| found == field).unwrap().1;
        assert_eq!(of("templates.half"), "missing field `text`");
        assert_eq!(of("golden_cases[3]"), "missing field `expect`");
    }

    #[test]
    fn what_is_no_yaml_or_has_a_key_twice_is_named_with_its_line() {
        for text in ["workflow: [", "workflow: email_processing\nversion: 1\nversion: 2\n", "{", "a: b: c"] {
            let found = mistakes_of(text);
            assert_eq!((found.len(), found[0].0.as_str()), (1, "definition"), "{text:?}");
            assert!(found[0].1.contains("line"), "{text:?}: {}", found[0].1);
        }
        for text in ["", "[]", "just a text", "null"] {
            assert_eq!(mistakes_of(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_hundred_mistakes_are_listed_in_part() {
        let fields: String = (0..100).map(|number| format!("unknown_{number}: 1\n")).collect();
        assert_eq!(mistakes_of(&format!("workflow: email_processing\nversion: 1\n{fields}")).len(), MOST_MISTAKES);
    }
}
