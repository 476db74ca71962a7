//! Plans: what a task is carried out by.
//!
//! Invariant: a plan that [`Plan::check`] lets pass can be carried out in some order, and each of its steps speaks
//! only of steps that are through before it. Whether a tool takes the arguments that it gets, the tool says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{failure::Failure, tool::ToolFacts};
use crate::templates;

/// The most steps a plan may have.
pub const MAX_PLAN_STEPS: usize = 100;

// Titles stand in tables and mails.
const LONGEST_TITLE: usize = 500;
const LONGEST_CONDITION: usize = 2000;
// With the results of a hundred steps this still fits a journal's segments and a model's answer.
const LARGEST_ARGUMENTS: usize = 64 * 1024;
// A model answers with less, and every template in it is compiled before the first step of each attempt.
const LARGEST_PLAN: usize = 256 * 1024;
// Deeper than any API's body; each level costs stack.
const DEEPEST_ARGUMENTS: usize = 32;
// A step that fails twenty times does not get better, and a day is as long as an idempotency key counts.
const MOST_ATTEMPTS: u32 = 20;
const LONGEST_RETRY_DELAY: u32 = 43_200;
// One invocation's time, after which no step can be under way.
const LONGEST_TIMEOUT: u32 = 300;

/// A plan: what `analyze_task` answers, or what a definition pins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its steps, 1 to 100.
    #[schemars(length(min = 1, max = 100))]
    pub steps: Vec<PlanStep>,
    /// What comes of the run when a step fails that says nothing about it.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// Its id, unique in the plan: letters, digits, `_` and `-`, 1 to 64 of them.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub id: String,
    /// What it is for.
    #[serde(default)]
    #[schemars(length(max = 500))]
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
    /// How often it is tried before its failure counts. Unless said, the run's own attempts are all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<StepRetry>,
    /// How long one try may take, 1 to 300 s; for tools that do nothing twice over when they are broken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout: Option<u32>,
    /// What comes of the run when it fails; the plan's unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// How often a step is tried, and how long the waits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRetry {
    /// All tries counted: 1 to 20.
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: u32,
    /// The first wait, which doubles with each try: 0 to 43,200 s.
    #[serde(default)]
    #[schemars(range(max = 43200))]
    pub delay: u32,
}

/// What comes of a run when a step of its plan fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It fails too, and is tried again as the workflow's `retry` says.
    #[default]
    Fail,
    /// It goes on without the steps that depend on the failed one, and ends as `partial`.
    Skip,
    /// It goes on with them: they find the failure as `results.<id>.error`. It ends as `partial`.
    Continue,
}

impl OnFailure {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Plan {
    /// The JSON schema of plans.
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// What comes of the run when this step fails.
    pub fn on_failure_of(&self, step: &PlanStep) -> OnFailure {
        step.on_failure.unwrap_or(self.on_failure)
    }

    /// Refuses a plan that cannot be carried out.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` that names the step and what is wrong with it: sizes, an id that is
    /// not unique, a tool that there is not, a dependency on nothing, a circle, a template that is none, or one that
    /// speaks of a step which need not be through by then.
    pub fn check(&self) -> Result<(), Failure> {
        if self.steps.is_empty() || self.steps.len() > MAX_PLAN_STEPS {
            return Err(Failure::validation(format!(
                "the plan has {} steps; 1 to {MAX_PLAN_STEPS} are possible",
                self.steps.len()
            )));
        }
        let bytes = bytes_of(self);
        if bytes > LARGEST_PLAN {
            return Err(Failure::validation(format!("the plan has {bytes} bytes, more than {LARGEST_PLAN}")));
        }
        let mut steps: HashMap<&str, &PlanStep> = HashMap::new();
        for step in &self.steps {
            check_id(&step.id)?;
            if steps.insert(&step.id, step).is_some() {
                return Err(Failure::validation(format!("two steps have the id `{}`", step.id)));
            }
        }
        for step in &self.steps {
            check_step(step).map_err(|failure| failure.in_step(&step.id))?;
            if let Some(unknown) = step.depends_on.iter().find(|id| !steps.contains_key(id.as_str())) {
                let shown = shown(unknown);
                return Err(Failure::validation(format!(
                    "step `{}` depends on `{shown}`, which does not exist",
                    step.id
                )));
            }
        }
        self.check_order(&steps)?;
        for step in &self.steps {
            check_references(step, &steps).map_err(|failure| failure.in_step(&step.id))?;
        }
        Ok(())
    }

    /// For each step, all that are through before it.
    pub fn before<'a>(&'a self, step: &'a PlanStep) -> BTreeSet<&'a str> {
        let steps: HashMap<&str, &PlanStep> = self.steps.iter().map(|step| (step.id.as_str(), step)).collect();
        before(step, &steps)
    }

    fn check_order(&self, steps: &HashMap<&str, &PlanStep>) -> Result<(), Failure> {
        let mut done: HashSet<&str> = HashSet::new();
        loop {
            let count = done.len();
            for step in &self.steps {
                if step.depends_on.iter().all(|id| done.contains(id.as_str())) {
                    done.insert(&step.id);
                }
            }
            if done.len() == self.steps.len() {
                return Ok(());
            }
            if done.len() == count {
                let circle = circle(self.steps.iter().find(|step| !done.contains(step.id.as_str())), steps, &done);
                return Err(Failure::validation(format!(
                    "these steps wait for each other: `{}`",
                    circle.join("` → `")
                )));
            }
        }
    }
}

/// A circle among the steps that are not done, its first step at both ends.
fn circle<'a>(
    start: Option<&'a PlanStep>,
    steps: &HashMap<&'a str, &'a PlanStep>,
    done: &HashSet<&str>,
) -> Vec<&'a str> {
    let mut path: Vec<&str> = Vec::new();
    let mut next = start;
    // Each step that is not done waits for another one, so the way comes back to where it has been.
    while let Some(step) = next {
        if let Some(at) = path.iter().position(|id| *id == step.id) {
            path.drain(..at);
            path.push(&step.id);
            return path;
        }
        path.push(&step.id);
        let awaited = step.depends_on.iter().find(|id| !done.contains(id.as_str()));
        next = awaited.and_then(|id| steps.get(id.as_str()).copied());
    }
    path
}

fn before<'a>(step: &'a PlanStep, steps: &HashMap<&'a str, &'a PlanStep>) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = step.depends_on.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        if found.insert(id)
            && let Some(step) = steps.get(id)
        {
            open.extend(step.depends_on.iter().map(String::as_str));
        }
    }
    found
}

fn check_id(id: &str) -> Result<(), Failure> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if (1..=64).contains(&id.len()) && id.chars().all(is_plain) {
        Ok(())
    } else {
        Err(Failure::validation("a step's id is 1 to 64 letters, digits, `_` and `-`"))
    }
}

fn check_step(step: &PlanStep) -> Result<(), Failure> {
    let limited = |what: &str, number: usize, most: usize| {
        if number <= most { Ok(()) } else { Err(Failure::validation(format!("`{what}`: {number}, more than {most}"))) }
    };
    let within = |what: &str, number: u32, least: u32, most: u32| {
        if (least..=most).contains(&number) {
            Ok(())
        } else {
            Err(Failure::validation(format!("`{what}`: {number} is not from {least} to {most}")))
        }
    };
    limited("title", step.title.len(), LONGEST_TITLE)?;
    limited("depends_on", step.depends_on.len(), MAX_PLAN_STEPS)?;
    limited("when", step.when.as_ref().map_or(0, String::len), LONGEST_CONDITION)?;
    limited("arguments", bytes_of(&step.arguments), LARGEST_ARGUMENTS)?;
    for (name, value) in &step.arguments {
        limited(&format!("arguments.{}", shown(name)), depth(value), DEEPEST_ARGUMENTS)?;
    }
    let Some(tool) = ToolFacts::of(&step.tool) else {
        let known = super::tool::TOOLS.map(|tool| tool.name).join("`, `");
        return Err(Failure::validation(format!("there is no tool `{}`; there are `{known}`", shown(&step.tool))));
    };
    if let Some(retry) = step.retry {
        within("retry.max_attempts", retry.max_attempts, 1, MOST_ATTEMPTS)?;
        within("retry.delay", retry.delay, 0, LONGEST_RETRY_DELAY)?;
    }
    if let Some(timeout) = step.timeout {
        within("timeout", timeout, 1, LONGEST_TIMEOUT)?;
        if !tool.takes_a_timeout() {
            return Err(Failure::validation(format!("`timeout`: `{}` cannot be broken off", tool.name)));
        }
    }
    Ok(())
}

fn check_references(step: &PlanStep, steps: &HashMap<&str, &PlanStep>) -> Result<(), Failure> {
    let known = before(step, steps);
    let check = |place: &str, source: &str, used: &BTreeSet<String>| {
        for variable in used {
            let mut parts = variable.split('.');
            match (parts.next(), parts.next()) {
                (Some("task"), _) | (Some("results"), None) => {}
                (Some("results"), Some(id)) => known_result(place, step, id, &known, steps)?,
                _ => {
                    let shown = shown(variable);
                    return Err(Failure::validation(format!(
                        "`{place}`: speaks of `{shown}`; there are `task` and `results`"
                    )));
                }
            }
        }
        // An id with a dash is reached by subscript only.
        if !source.contains("results[") {
            return Ok(());
        }
        let subscripted =
            |id: &&&str| ['"', '\''].iter().any(|quote| source.contains(&format!("results[{quote}{id}{quote}]")));
        steps.keys().filter(subscripted).try_for_each(|id| known_result(place, step, id, &known, steps))
    };
    if let Some(condition) = &step.when {
        let used = templates::variables_of_expression("when", condition)?;
        check("when", condition, &used)?;
    }
    for (name, value) in &step.arguments {
        let name = format!("arguments.{}", shown(name));
        templates_in(value, &mut |text| check(&name, text, &templates::variables(&name, text)?))?;
    }
    Ok(())
}

fn known_result(
    place: &str,
    step: &PlanStep,
    id: &str,
    known: &BTreeSet<&str>,
    steps: &HashMap<&str, &PlanStep>,
) -> Result<(), Failure> {
    if known.contains(id) {
        return Ok(());
    }
    let problem = if steps.contains_key(id) { "does not depend on it" } else { "there is no such step" };
    let shown = shown(id);
    Err(Failure::validation(format!("`{place}`: step `{}` refers to the result of `{shown}` and {problem}", step.id)))
}

/// Shows every text that is a template.
fn templates_in(value: &Value, visit: &mut dyn FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    match value {
        Value::String(text) if templates::is_template(text) => visit(text),
        Value::Array(items) => items.iter().try_for_each(|item| templates_in(item, visit)),
        Value::Object(fields) => fields.values().try_for_each(|field| templates_in(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn bytes_of(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

// An assistant's plan can hold anything; an error shows so much of it.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn step(id: &str, depends_on: &[&str]) -> PlanStep {
        PlanStep {
            id: id.to_owned(),
            tool: "set_record".to_owned(),
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
            ..PlanStep::default()
        }
    }

    fn with(id: &str, depends_on: &[&str], argument: Value) -> PlanStep {
        PlanStep { arguments: BTreeMap::from([("value".to_owned(), argument)]), ..step(id, depends_on) }
    }

    fn plan(steps: Vec<PlanStep>) -> Plan {
        Plan { steps, on_failure: OnFailure::Fail }
    }

    fn problem(steps: Vec<PlanStep>) -> String {
        plan(steps).check().unwrap_err().to_string()
    }

    #[test]
    fn a_plan_that_cannot_be_carried_out_is_refused_with_its_reason() {
        assert!(problem(vec![]).contains("0 steps"));
        assert!(problem((0..101).map(|number| step(&format!("s{number}"), &[])).collect()).contains("101 steps"));
        assert!(problem(vec![step("a", &[]), step("a", &[])]).contains("two steps have the id `a`"));
        assert!(problem(vec![step("a b", &[])]).contains("letters, digits"));
        assert!(problem(vec![step("a", &["z"])]).contains("`z`, which does not exist"));
        assert!(problem(vec![PlanStep { tool: "rm".to_owned(), ..step("a", &[]) }]).contains("`rm`"));
        assert!(problem(vec![PlanStep { when: Some("1 +".to_owned()), ..step("a", &[]) }]).contains("when"));
        assert!(problem(vec![with("a", &[], json!(["{{ oops"]))]).contains("`arguments.value`"));
    }

    #[test]
    fn a_circle_is_named_step_by_step() {
        let steps = vec![step("x", &["a"]), step("a", &["c"]), step("b", &["a"]), step("c", &["b"]), step("d", &[])];
        assert_eq!(problem(steps), "these steps wait for each other: `a` → `c` → `b` → `a`");
        assert_eq!(problem(vec![step("a", &["a"])]), "these steps wait for each other: `a` → `a`");
    }

    #[test]
    fn a_reference_to_a_step_that_need_not_be_through_names_both() {
        let missing = "`arguments.value`: step `b` refers to the result of `a` and does not depend on it";
        for text in ["{{ results.a.x }}", "so {{ results['a'] }}", "{% if results.a %}x{% endif %}"] {
            assert_eq!(problem(vec![step("a", &[]), with("b", &[], json!({"deep": [text]}))]), missing, "{text}");
        }
        let when = PlanStep { when: Some("results.a.ok".to_owned()), ..step("b", &[]) };
        assert!(problem(vec![step("a", &[]), when]).contains("`when`: step `b` refers to the result of `a`"));
        assert!(problem(vec![with("b", &[], json!("{{ results.c }}"))]).contains("`c` and there is no such step"));
        assert!(problem(vec![with("b", &[], json!("{{ secrets.key }}"))]).contains("`secrets.key`"));
        // What stands before what it depends on is through too, and names of its own are its own.
        let steps = vec![
            step("a-1", &[]),
            step("b", &["a-1"]),
            with("c", &["b"], json!("{{ results['a-1'] }}{% for x in range(3) %}{{ x }}{% endfor %}{{ task.id }}")),
        ];
        plan(steps).check().unwrap();
    }

    #[test]
    fn sizes_retries_and_timeouts_have_limits() {
        let long = |length: usize| "x".repeat(length);
        assert!(problem(vec![PlanStep { title: long(501), ..step("a", &[]) }]).contains("`title`: 501"));
        assert!(problem(vec![PlanStep { when: Some(long(2001)), ..step("a", &[]) }]).contains("`when`"));
        assert!(problem(vec![with("a", &[], json!(long(70_000)))]).contains("`arguments`"));
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        assert!(problem(vec![with("a", &[], deep)]).contains("`arguments.value`: 40, more than 32"));
        let retry = |max_attempts, delay| PlanStep { retry: Some(StepRetry { max_attempts, delay }), ..step("a", &[]) };
        assert!(problem(vec![retry(0, 0)]).contains("`retry.max_attempts`: 0 is not from 1 to 20"));
        assert!(problem(vec![retry(3, 43_201)]).contains("`retry.delay`"));
        assert!(problem(vec![PlanStep { timeout: Some(0), ..step("a", &[]) }]).contains("`timeout`: 0"));
        let mail = PlanStep { tool: "send_email".to_owned(), timeout: Some(5), ..step("a", &[]) };
        assert!(problem(vec![mail]).contains("`send_email` cannot be broken off"));
    }

    #[test]
    fn the_schema_names_every_field_and_refuses_others() {
        let schema = Plan::schema();
        let step = &schema["$defs"]["PlanStep"];
        for field in ["id", "tool", "arguments", "depends_on", "when", "retry", "timeout", "on_failure"] {
            assert!(step["properties"][field].is_object(), "{field}");
        }
        assert_eq!(step["additionalProperties"], json!(false));
        let error = serde_json::from_value::<Plan>(json!({"steps": [{"id": "a", "tool": "wait", "depend_on": []}]}));
        assert!(error.unwrap_err().to_string().contains("depend_on"));
    }

    #[test]
    fn all_steps_together_have_a_limit_too() {
        let large = |count: usize| (0..count).map(|n| with(&format!("s{n}"), &[], json!("x".repeat(65_000)))).collect();
        plan(large(4)).check().unwrap();
        assert!(problem(large(5)).ends_with("bytes, more than 262144"), "{}", problem(large(5)));
    }

    proptest! {
        #[test]
        fn no_plan_makes_the_check_panic_or_hang(
            steps in prop::collection::vec(
                ("[a-d]", "(set_record|rm)", prop::collection::vec("[a-e]", 0..4), "(\\{\\{|\\}\\}|results\\.|[a-e]|task| |\\PC){0,12}"),
                0..8,
            ),
        ) {
            let steps = steps.into_iter().map(|(id, tool, depends_on, text)| PlanStep {
                tool,
                depends_on,
                when: Some(text.clone()),
                ..with(&id, &[], json!([text]))
            });
            let plan = plan(steps.collect());
            if plan.check().is_ok() {
                prop_assert!(plan.steps.iter().all(|step| !plan.before(step).contains(step.id.as_str())));
            }
        }
    }
}
