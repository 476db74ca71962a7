//! `task_automation`: plans a task, carries out the steps, reports.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, stream::FuturesUnordered};
use serde::Serialize;
use serde_json::{Value, json};

use super::tools::{ToolCall, Toolbox};
use crate::{
    domain::{
        Failure, WorkflowType,
        task::{MAX_PLAN_STEPS, Plan, PlanStep, StepResult, StepStatus, TaskInput, TaskReport},
    },
    engine::{Context, Semantics, Stop, Stops, Workflow},
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

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Automated {
    status: &'static str,
    report: TaskReport,
    steps: Vec<StepResult>,
    api_calls: u64,
    model: String,
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
        let steps = self.execute_steps(run, &task, &plan).await?;
        let report = run.ask("generate_report", || self.assistant.generate_report(&definition, &task, &steps)).await?;
        self.update_task_status(run, &task, &report).await?;
        let automated = Automated {
            status: "success",
            report,
            steps,
            api_calls: run.usage().api_calls,
            model: self.assistant.model().to_owned(),
        };
        Ok(json!(automated))
    }
}

impl TaskAutomation {
    /// The definition's own plan where it pins one, else the assistant's; either is checked before its first
    /// step.
    async fn analyze_task(&self, run: &mut Context, task: &TaskInput) -> Result<Plan, Stop> {
        let definition = run.definition();
        let plan = match &definition.plan {
            Some(pinned) => pinned.clone(),
            None => {
                let tools = self.tools.purposes();
                run.ask("analyze_task", || self.assistant.analyze_task(&definition, task, &tools)).await?
            }
        };
        check_plan(&plan, &self.tools)?;
        Ok(plan)
    }

    /// Carries out the steps, each as soon as those that it depends on are through. When one fails, no other is
    /// begun; those under way end first. While one waits, those that do not depend on it go on.
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
                let scope = scope(task, &results);
                let skipped = step
                    .depends_on
                    .iter()
                    .any(|id| results.get(id.as_str()).is_some_and(|result| result.status == StepStatus::Skipped));
                under_way.push(async move { (step, self.execute_step(branch, task, step, scope, skipped).await) });
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
        scope: Values,
        skipped: bool,
    ) -> Result<StepResult, Stop> {
        let place = |failure: Failure| failure.in_step(&step.id);
        let mut result = StepResult {
            id: step.id.clone(),
            title: step.title.clone(),
            tool: step.tool.clone(),
            status: StepStatus::Skipped,
            output: Value::Null,
        };
        if skipped || !condition_holds(step, &scope).map_err(place)? {
            return Ok(result);
        }
        let tool = self.tools.get(&step.tool).map_err(place)?;
        let arguments = fill_arguments(step, &scope).map_err(place)?;
        result.output = tool.perform(&mut branch, ToolCall { step: &step.id, task, arguments: &arguments }).await?;
        result.status = StepStatus::Done;
        Ok(result)
    }

    async fn update_task_status(&self, run: &mut Context, task: &TaskInput, report: &TaskReport) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect("update_task_status", Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::TaskAutomation,
                data_id: task.id.clone(),
                run_id,
                status: "completed".to_owned(),
                details: json!({ "summary": report.summary }),
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await
        })
        .await
    }
}

/// Refuses a plan that cannot be carried out, before any of it is.
fn check_plan(plan: &Plan, tools: &Toolbox) -> Result<(), Failure> {
    if plan.steps.is_empty() || plan.steps.len() > MAX_PLAN_STEPS {
        return Err(Failure::validation(format!(
            "the plan has {} steps; 1 to {MAX_PLAN_STEPS} are possible",
            plan.steps.len()
        )));
    }
    let mut ids = HashSet::new();
    for step in &plan.steps {
        let valid = (1..=64).contains(&step.id.len())
            && step.id.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character));
        if !valid {
            return Err(Failure::validation("a step's id is 1 to 64 letters, digits, `_` and `-`"));
        }
        if !ids.insert(step.id.as_str()) {
            return Err(Failure::validation(format!("two steps have the id `{}`", step.id)));
        }
    }
    for step in &plan.steps {
        tools.get(&step.tool).map_err(|failure| failure.in_step(&step.id))?;
        if let Some(unknown) = step.depends_on.iter().find(|id| !ids.contains(id.as_str())) {
            return Err(Failure::validation(format!(
                "step `{}` depends on `{unknown}`, which does not exist",
                step.id
            )));
        }
        check_templates(step).map_err(|failure| failure.in_step(&step.id))?;
    }
    check_order(plan)
}

fn check_order(plan: &Plan) -> Result<(), Failure> {
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let before = done.len();
        for step in &plan.steps {
            if step.depends_on.iter().all(|id| done.contains(id.as_str())) {
                done.insert(&step.id);
            }
        }
        if done.len() == plan.steps.len() {
            return Ok(());
        }
        if done.len() == before {
            let circle: Vec<&str> =
                plan.steps.iter().map(|step| step.id.as_str()).filter(|id| !done.contains(id)).collect();
            return Err(Failure::validation(format!("these steps wait for each other: `{}`", circle.join("`, `"))));
        }
    }
}

fn check_templates(step: &PlanStep) -> Result<(), Failure> {
    if let Some(condition) = &step.when {
        templates::check_expression("when", condition)?;
    }
    step.arguments.iter().try_for_each(|(name, value)| visit_texts(value, &mut |text| templates::check(name, text)))
}

fn visit_texts(value: &Value, visit: &mut dyn FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().try_for_each(|item| visit_texts(item, visit)),
        Value::Object(fields) => fields.values().try_for_each(|field| visit_texts(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// What conditions and arguments can speak of.
fn scope(task: &TaskInput, results: &BTreeMap<&str, StepResult>) -> Values {
    let outputs: BTreeMap<&str, &Value> = results.iter().map(|(id, result)| (*id, &result.output)).collect();
    Values::from([("task".to_owned(), json!(task)), ("results".to_owned(), json!(outputs))])
}

fn condition_holds(step: &PlanStep, scope: &Values) -> Result<bool, Failure> {
    step.when.as_ref().map_or(Ok(true), |condition| templates::holds("when", condition, scope))
}

fn fill_arguments(step: &PlanStep, scope: &Values) -> Result<BTreeMap<String, Value>, Failure> {
    step.arguments.iter().map(|(name, value)| Ok((name.clone(), fill(name, value, scope)?))).collect()
}

fn fill(name: &str, value: &Value, scope: &Values) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => templates::fill(name, text, scope)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(name, item, scope)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), fill(name, field, scope)?)))
                .collect::<Result<_, Failure>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows::tools::Tool;

    fn step(id: &str, depends_on: &[&str]) -> PlanStep {
        PlanStep {
            id: id.to_owned(),
            title: String::new(),
            tool: "echo".to_owned(),
            arguments: BTreeMap::new(),
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
            when: None,
        }
    }

    fn values(value: Value) -> Values {
        serde_json::from_value(value).unwrap()
    }

    struct Echo;

    #[async_trait]
    impl Tool for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }
        fn purpose(&self) -> &'static str {
            "gives back its arguments"
        }
        async fn perform(&self, _run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
            Ok(json!(call.arguments))
        }
    }

    fn problem(steps: Vec<PlanStep>) -> String {
        check_plan(&Plan { steps }, &Toolbox::new([Arc::new(Echo) as Arc<dyn Tool>])).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_that_cannot_be_carried_out_is_refused_with_its_reason() {
        assert!(problem(vec![]).contains("0 steps"));
        assert!(problem(vec![step("a", &[]), step("a", &[])]).contains("two steps have the id `a`"));
        assert!(problem(vec![step("a b", &[])]).contains("letters, digits"));
        assert!(problem(vec![step("a", &["z"])]).contains("`z`, which does not exist"));
        assert!(
            problem(vec![step("a", &["c"]), step("b", &["a"]), step("c", &["b"]), step("d", &[])])
                .contains("wait for each other: `a`, `b`, `c`")
        );
        assert!(problem(vec![PlanStep { tool: "rm".to_owned(), ..step("a", &[]) }]).contains("`rm`"));
        assert!(problem(vec![PlanStep { when: Some("1 +".to_owned()), ..step("a", &[]) }]).contains("when"));
        let broken = BTreeMap::from([("x".to_owned(), json!(["{{ oops"]))]);
        assert!(problem(vec![PlanStep { arguments: broken, ..step("a", &[]) }]).contains("`x`"));
    }

    #[test]
    fn arguments_refer_to_the_task_and_to_earlier_results() {
        let scope = values(json!({"task": {"id": "t"}, "results": {"a": {"list": [1, 2]}}}));
        let arguments = BTreeMap::from([
            ("typed".to_owned(), json!("{{ results.a.list }}")),
            ("text".to_owned(), json!("for {{ task.id }}")),
            ("deep".to_owned(), json!({"n": 3, "x": ["{{ results.a.list[1] }}"]})),
        ]);
        let filled = fill_arguments(&PlanStep { arguments, ..step("b", &[]) }, &scope).unwrap();
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
            let failure = fill_arguments(&PlanStep { arguments, ..step("b", &[]) }, &scope).unwrap_err();
            assert!(failure.to_string().contains("`x`"), "{failure}");
        }
    }
}
