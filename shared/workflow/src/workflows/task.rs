//! `task_automation`: plans a task, carries out the steps, reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream::FuturesUnordered};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    model_of,
    tools::{ToolCall, Toolbox},
};
use crate::{
    domain::{
        Failure, WorkflowType,
        configuration::RetrySettings,
        definition::Definition,
        plan::{OnFailure, Plan, PlanStep},
        task::{StepError, StepResult, StepStatus, TaskInput, TaskReport},
        tool::ToolFacts,
    },
    engine::{Context, Semantics, Stop, Stops, Tries, Workflow},
    markdown::escaped,
    ports::{Assistant, Clock, Tracking, TrackingEntry},
    templates::{self, Values},
};

/// The workflow and what it works with.
pub struct TaskAutomation {
    /// Plans and reports.
    pub assistant: Arc<dyn Assistant>,
    /// What plans are made of.
    pub tools: Toolbox,
    /// Remembers what was done.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
}

// Steps of a plan that run at a time.
const PARALLEL_STEPS: usize = 10;

// How often a step is tried whose failure is not the run's, when it does not say so itself: the run's own attempts
// never come to it.
const OPTIONAL_STEP: RetrySettings = RetrySettings { max_attempts: 3, delay: 30 };

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Automated {
    status: &'static str,
    report: TaskReport,
    steps: Vec<StepResult>,
    api_calls: u64,
    model: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
}

#[async_trait]
impl Workflow for TaskAutomation {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let definition = run.definition();
        let task: TaskInput = run.input()?;
        let plan = self.analyze_task(run, &task).await?;
        if self.tools.leaves(&plan) {
            return Err(Stop::Wait { until: self.clock.now() });
        }
        if definition.dry_run || task.dry_run {
            return self.rehearse(run, &definition, &task, &plan);
        }
        let steps = self.execute_steps(run, &task, &plan).await?;
        let report = run.ask("generate_report", || self.assistant.generate_report(&definition, &task, &steps)).await?;
        let is_partial = steps.iter().any(|step| step.status == StepStatus::Failed);
        self.update_task_status(run, &task, &report, if is_partial { "partial" } else { "completed" }).await?;
        Ok(json!(self.automated(run, if is_partial { "partial" } else { "success" }, report, steps)))
    }
}

impl TaskAutomation {
    fn automated(&self, run: &Context, status: &'static str, report: TaskReport, steps: Vec<StepResult>) -> Automated {
        let usage = run.usage();
        let model = model_of(usage, self.assistant.as_ref());
        Automated { status, report, steps, api_calls: usage.api_calls, model, degraded: usage.degraded_calls > 0 }
    }

    /// The definition's own plan where it pins one, else the assistant's; either is checked before its first
    /// step.
    async fn analyze_task(&self, run: &mut Context, task: &TaskInput) -> Result<Plan, Stop> {
        let definition = run.definition();
        let plan = match &definition.plan {
            Some(pinned) => pinned.clone(),
            None => {
                let tools = self.tools.purposes(&definition);
                run.ask("analyze_task", || self.assistant.analyze_task(&definition, task, &tools)).await?
            }
        };
        self.tools.check(&definition, &plan)?;
        Ok(plan)
    }

    /// Says what the plan would do, and does none of it. What rests on results stays a template, since there are none.
    fn rehearse(&self, run: &Context, definition: &Definition, task: &TaskInput, plan: &Plan) -> Result<Value, Stop> {
        let steps: Vec<StepResult> = plan
            .steps
            .iter()
            .map(|step| self.rehearse_step(definition, task, step).map_err(|failure| failure.in_step(&step.id)))
            .collect::<Result<_, _>>()?;
        let planned = steps.iter().filter(|step| step.status == StepStatus::Planned).count();
        let summary = format!("A dry run: {planned} of {} steps would be carried out; nothing was done.", steps.len());
        let lines: String = steps
            .iter()
            .map(|step| {
                let status =
                    if step.status == StepStatus::Planned { "would be carried out" } else { "would be skipped" };
                format!("- {} ({}): {status}\n", escaped(&step.id), escaped(&step.tool))
            })
            .collect();
        let report = TaskReport { markdown: format!("# Dry run\n\n{summary}\n\n{lines}"), summary };
        Ok(json!(self.automated(run, "dry_run", report, steps)))
    }

    fn rehearse_step(&self, definition: &Definition, task: &TaskInput, step: &PlanStep) -> Result<StepResult, Failure> {
        let scope = Values::from([("task".to_owned(), json!(task))]);
        let rests_on_results = |used: BTreeSet<String>| used.iter().any(|name| name.starts_with("results"));
        let mut result = result_of(step, StepStatus::Planned);
        let mut condition = step.when.as_ref();
        if let Some(when) = condition
            && !rests_on_results(templates::variables_of_expression("when", when)?)
        {
            if !templates::holds("when", when, &scope)? {
                result.status = StepStatus::Skipped;
                return Ok(result);
            }
            condition = None;
        }
        let mut is_complete = true;
        let mut fill_what_is_known = |name: &str, text: &str| {
            if rests_on_results(templates::variables(name, text)?) {
                is_complete = false;
                return Ok(Value::from(text));
            }
            templates::fill(name, text, &scope)
        };
        let mut arguments = BTreeMap::new();
        for (name, value) in &step.arguments {
            arguments.insert(name.clone(), fill(name, value, &mut fill_what_is_known)?);
        }
        if is_complete {
            let call = ToolCall { step: &step.id, task, arguments: &arguments };
            self.tools.get(&step.tool)?.check(definition, call)?;
        }
        result.output = json!({
            "effect": ToolFacts::of(&step.tool).map(|tool| tool.effect.name()),
            "arguments": arguments,
            "when": condition,
        });
        Ok(result)
    }

    /// Carries out the steps, each as soon as those that it depends on are through. When one fails and the plan does
    /// not say that the run goes on, no other is begun; those under way end first. While one waits, those that do not
    /// depend on it go on.
    async fn execute_steps(&self, run: &mut Context, task: &TaskInput, plan: &Plan) -> Result<Vec<StepResult>, Stop> {
        let branches = run.branches();
        let mut results: BTreeMap<&str, StepResult> = BTreeMap::new();
        let mut waiting: BTreeSet<usize> = (0..plan.steps.len()).collect();
        let mut under_way = FuturesUnordered::new();
        let mut stops = Stops::default();
        loop {
            let ready: Vec<usize> = waiting
                .iter()
                .copied()
                .filter(|index| plan.steps[*index].depends_on.iter().all(|id| results.contains_key(id.as_str())))
                .take(if stops.let_others_begin() { PARALLEL_STEPS - under_way.len() } else { 0 })
                .collect();
            for index in ready {
                waiting.remove(&index);
                let (step, branch) = (&plan.steps[index], branches.branch(index));
                // Not all results that there are: which those are depends on what ran faster.
                let before = plan.before(step);
                let scope = scope(task, results.iter().filter(|(id, _)| before.contains(**id)));
                let skipped =
                    step.depends_on.iter().filter_map(|id| results.get(id.as_str())).any(|result| {
                        match result.status {
                            StepStatus::Done | StepStatus::Planned => false,
                            StepStatus::Skipped => true,
                            StepStatus::Failed => !goes_on_after(plan, &result.id),
                        }
                    });
                let on_failure = plan.on_failure_of(step);
                under_way.push(async move {
                    (step, self.execute_step(branch, task, step, on_failure, scope, skipped).await)
                });
            }
            match under_way.next().await {
                Some((step, Ok(result))) => {
                    results.insert(&step.id, result);
                }
                Some((_, Err(stop))) => stops.add(stop),
                None => break,
            }
        }
        stops.or(plan.steps.iter().filter_map(|step| results.remove(step.id.as_str())).collect())
    }

    async fn execute_step(
        &self,
        mut branch: Context,
        task: &TaskInput,
        step: &PlanStep,
        on_failure: OnFailure,
        scope: Values,
        skipped: bool,
    ) -> Result<StepResult, Stop> {
        let is_optional = on_failure != OnFailure::Fail;
        let place = |failure: Failure| failure.in_step(&step.id);
        if skipped {
            return Ok(result_of(step, StepStatus::Skipped));
        }
        match condition_holds(step, &scope) {
            Ok(true) => {}
            Ok(false) => return Ok(result_of(step, StepStatus::Skipped)),
            Err(failure) if is_optional => return Ok(failed(step, failure)),
            Err(failure) => return Err(place(failure).into()),
        }
        let tool = self.tools.get(&step.tool).map_err(place)?;
        // What is filled follows from what is in the journal, so it needs no entry of its own when it fails.
        let arguments = match fill_arguments(step, &scope) {
            Ok(arguments) => arguments,
            Err(failure) if is_optional => return Ok(failed(step, failure)),
            Err(failure) => return Err(place(failure).into()),
        };
        let call = ToolCall { step: &step.id, task, arguments: &arguments };
        let outcome = match tries(step, is_optional) {
            None => Ok(tool.perform(&mut branch, call).await?),
            Some(tries) => {
                let perform = |mut context: Context| async move { tool.perform(&mut context, call).await };
                branch.attempt(&step.id, &tries, perform).await?
            }
        };
        Ok(match outcome {
            Ok(output) => StepResult { output, ..result_of(step, StepStatus::Done) },
            Err(failure) => failed(step, failure),
        })
    }

    async fn update_task_status(
        &self,
        run: &mut Context,
        task: &TaskInput,
        report: &TaskReport,
        status: &str,
    ) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect("update_task_status", Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::TaskAutomation,
                data_id: task.id.clone(),
                run_id,
                status: status.to_owned(),
                details: json!({ "summary": report.summary }),
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await
        })
        .await
    }
}

/// How often a step is tried on its own account; `None` when it has none and the run's attempts are all there are.
fn tries(step: &PlanStep, is_optional: bool) -> Option<Tries> {
    let retry = match step.retry {
        Some(retry) => RetrySettings { max_attempts: retry.max_attempts, delay: retry.delay },
        None if is_optional => OPTIONAL_STEP,
        None => RetrySettings { max_attempts: 1, delay: 0 },
    };
    let time_limit = step.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let says_something = step.retry.is_some() || is_optional || time_limit.is_some();
    says_something.then_some(Tries { retry, time_limit, is_optional })
}

fn goes_on_after(plan: &Plan, id: &str) -> bool {
    let failed = plan.steps.iter().find(|step| step.id == id);
    failed.is_some_and(|step| plan.on_failure_of(step) == OnFailure::Continue)
}

fn result_of(step: &PlanStep, status: StepStatus) -> StepResult {
    StepResult {
        id: step.id.clone(),
        title: step.title.clone(),
        tool: step.tool.clone(),
        status,
        output: Value::Null,
        error: None,
    }
}

fn failed(step: &PlanStep, failure: Failure) -> StepResult {
    StepResult { error: Some(StepError::from(failure)), ..result_of(step, StepStatus::Failed) }
}

/// What conditions and arguments can speak of.
fn scope<'a>(task: &TaskInput, results: impl Iterator<Item = (&'a &'a str, &'a StepResult)>) -> Values {
    let outputs: BTreeMap<&str, Value> = results
        .map(|(id, result)| match &result.error {
            None => (*id, result.output.clone()),
            Some(error) => (*id, json!({ "error": error })),
        })
        .collect();
    Values::from([("task".to_owned(), json!(task)), ("results".to_owned(), json!(outputs))])
}

fn condition_holds(step: &PlanStep, scope: &Values) -> Result<bool, Failure> {
    step.when.as_ref().map_or(Ok(true), |condition| templates::holds("when", condition, scope))
}

fn fill_arguments(step: &PlanStep, scope: &Values) -> Result<BTreeMap<String, Value>, Failure> {
    let fill_text = &mut |name: &str, text: &str| templates::fill(name, text, scope);
    step.arguments.iter().map(|(name, value)| Ok((name.clone(), fill(name, value, fill_text)?))).collect()
}

fn fill(
    name: &str,
    value: &Value,
    fill_text: &mut dyn FnMut(&str, &str) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => fill_text(name, text)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(name, item, fill_text)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), fill(name, field, fill_text)?)))
                .collect::<Result<_, Failure>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str) -> PlanStep {
        PlanStep { id: id.to_owned(), tool: "echo".to_owned(), ..PlanStep::default() }
    }

    fn values(value: Value) -> Values {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn arguments_refer_to_the_task_and_to_earlier_results() {
        let scope = values(json!({"task": {"id": "t"}, "results": {"a": {"list": [1, 2]}}}));
        let arguments = BTreeMap::from([
            ("typed".to_owned(), json!("{{ results.a.list }}")),
            ("text".to_owned(), json!("for {{ task.id }}")),
            ("deep".to_owned(), json!({"n": 3, "x": ["{{ results.a.list[1] }}"]})),
        ]);
        let filled = fill_arguments(&PlanStep { arguments, ..step("b") }, &scope).unwrap();
        assert_eq!(json!(filled), json!({"typed": [1, 2], "text": "for t", "deep": {"n": 3, "x": [2]}}));
    }

    #[test]
    fn an_argument_that_refers_to_nothing_is_an_error_and_a_loop_without_end_too() {
        let scope = values(json!({"task": {}, "results": {}, "big": "x".repeat(100_000)}));
        for text in [
            "{{ results.nothing }}",
            "so {{ task.nothing }}",
            "{% for a in range(9999) %}{{ big }}{% endfor %}",
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        ] {
            let arguments = BTreeMap::from([("x".to_owned(), json!(text))]);
            let failure = fill_arguments(&PlanStep { arguments, ..step("b") }, &scope).unwrap_err();
            assert!(failure.to_string().contains("`x`"), "{failure}");
        }
    }
}
