//! What the monitor saw, as metrics.
//!
//! Every dimension has few values: workflows, outcomes, the steps of the code, the nodes of the configuration, the
//! functions. A run's id is none; it stands in the log.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ihelper_adapters::{system, work::Work};
use ihelper_workflow::{
    domain::{Run, WorkflowType},
    ports::{Monitor, Seen, Taken},
};
use jiff::Timestamp;

use super::embedded::{self, Metric, Unit, Values};

const RUNS: Metric = count("Runs");
const RUN_DURATION: Metric = each("RunDuration", Unit::Milliseconds);
const ATTEMPTS: Metric = count("Attempts");
const FAILED_ATTEMPTS: Metric = count("FailedAttempts");
const ATTEMPT_DURATION: Metric = each("AttemptDuration", Unit::Milliseconds);
const API_CALLS: Metric = count("ApiCalls");
const INPUT_TOKENS: Metric = count("InputTokens");
const OUTPUT_TOKENS: Metric = count("OutputTokens");
const CACHED_TOKENS: Metric = count("CachedTokens");
const DEGRADED_CALLS: Metric = count("DegradedCalls");
const COST: Metric = Metric { name: "Cost", unit: Unit::None, is_sum: true };
const STORE_CALLS: Metric = count("StoreCalls");
const STEP_DURATION: Metric = each("StepDuration", Unit::Milliseconds);
const FAILED_STEPS: Metric = count("FailedSteps");
const QUEUE_AGE: Metric = each("QueueAge", Unit::Milliseconds);
const DEAD_LETTERS: Metric = count("DeadLetters");
const CACHE_HITS: Metric = count("CacheHits");
const CACHE_MISSES: Metric = count("CacheMisses");
const REUSED_ANSWERS: Metric = count("ReusedAnswers");
const MODEL_CALLS: Metric = count("ModelCalls");
const MODEL_FAULTS: Metric = count("ModelFaults");
const MODEL_DURATION: Metric = each("ModelDuration", Unit::Milliseconds);
const EVENTS: Metric = count("Events");
const COLD_STARTS: Metric = count("ColdStarts");
const START_DURATION: Metric = each("StartDuration", Unit::Milliseconds);
const MEMORY: Metric = each("Memory", Unit::Bytes);

const fn count(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Count, is_sum: true }
}

const fn each(name: &'static str, unit: Unit) -> Metric {
    Metric { name, unit, is_sum: false }
}

/// The names that the workflows' own code gives its steps. A plan may name its steps as it likes; those are one to a
/// metric.
const STEPS: [&str; 14] = [
    "read_message",
    "analyze_email",
    "generate_response",
    "review_response",
    "send_response",
    "update_email_tracking",
    "extract_content",
    "review_document",
    "update_document_status",
    "analyze_task",
    "generate_report",
    "update_task_status",
    "review_attachment",
    "execute_step",
];

/// The step of the code that a name belongs to, which may have a number or a part behind a dot.
fn step_of(name: &str) -> &'static str {
    let stem = name.split('.').next().unwrap_or_default();
    STEPS.into_iter().find(|step| *step == stem).unwrap_or("execute_step")
}

/// What metrics have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    Workflow(WorkflowType),
    Outcome(WorkflowType, &'static str),
    Step(WorkflowType, &'static str),
    Node(String),
    Event(&'static str),
    Function,
    /// Without any dimension.
    Bundle,
}

/// Gathers what was seen in an invocation.
pub struct Metrics {
    namespace: String,
    function: String,
    born: Instant,
    seen: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_warm: bool,
    series: BTreeMap<Series, Values>,
}

impl State {
    fn add(&mut self, series: Series, metric: Metric, value: f64) {
        embedded::add(self.series.entry(series).or_default(), metric, value);
    }

    /// Adds a count that says something.
    fn count(&mut self, series: Series, metric: Metric, number: u64) {
        if number > 0 {
            // Precise up to 2^53, as all numbers of JSON are.
            self.add(series, metric, number as f64);
        }
    }
}

impl Metrics {
    /// Metrics of a function whose process began then.
    pub fn new(namespace: impl Into<String>, function: impl Into<String>, born: Instant) -> Self {
        Self { namespace: namespace.into(), function: function.into(), born, seen: Mutex::default() }
    }

    /// An invocation begins.
    pub fn invoked(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_warm, true) {
            state.add(Series::Function, COLD_STARTS, 1.0);
            state.add(Series::Function, START_DURATION, milliseconds(self.born.elapsed()));
        }
    }

    /// What was seen since the last time, as lines.
    pub fn take(&self, now: Timestamp) -> Vec<u8> {
        let mut state = self.state();
        state.add(Series::Function, MEMORY, system::peak_memory_bytes() as f64);
        let series = std::mem::take(&mut state.series);
        drop(state);
        let mut lines = Vec::with_capacity(512 * series.len());
        for (series, values) in &series {
            let dimensions = match series {
                Series::Workflow(workflow) => vec![("Workflow", workflow.name())],
                Series::Outcome(workflow, outcome) => vec![("Workflow", workflow.name()), ("Outcome", *outcome)],
                Series::Step(workflow, step) => vec![("Workflow", workflow.name()), ("Step", *step)],
                Series::Node(node) => vec![("Node", node.as_str())],
                Series::Event(outcome) => vec![("Outcome", *outcome)],
                Series::Function => vec![("Function", self.function.as_str())],
                Series::Bundle => Vec::new(),
            };
            // An alarm looks at one metric: how runs end, whichever they are.
            let also = matches!(series, Series::Outcome(..)).then_some("Outcome");
            embedded::write(&mut lines, &self.namespace, &dimensions, also, values, now);
        }
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(state: &mut State, run: &Run) {
        state.add(Series::Outcome(run.workflow, run.status.name()), RUNS, 1.0);
        if !run.status.is_final() {
            return;
        }
        let of_workflow = Series::Workflow(run.workflow);
        if let Some(finished) = run.finished_at {
            let took = Duration::try_from(finished.duration_since(run.created_at)).unwrap_or_default();
            state.add(of_workflow.clone(), RUN_DURATION, milliseconds(took));
        }
        state.count(of_workflow.clone(), API_CALLS, run.usage.api_calls);
        state.count(of_workflow.clone(), INPUT_TOKENS, run.usage.input_tokens);
        state.count(of_workflow.clone(), OUTPUT_TOKENS, run.usage.output_tokens);
        state.count(of_workflow.clone(), CACHED_TOKENS, run.usage.cached_tokens);
        state.count(Series::Bundle, DEGRADED_CALLS, run.usage.degraded_calls);
        if run.usage.cost_microdollars > 0 {
            state.add(of_workflow.clone(), COST, run.usage.cost_microdollars as f64 / 1e6);
        }
        state.count(of_workflow, STORE_CALLS, run.footprint.store_calls);
    }
}

impl Monitor for Metrics {
    fn note(&self, seen: &Seen<'_>) {
        let mut state = self.state();
        match *seen {
            Seen::Step { workflow, name, took, failed, .. } => {
                let series = Series::Step(workflow, step_of(name));
                state.add(series.clone(), STEP_DURATION, milliseconds(took));
                state.count(series, FAILED_STEPS, failed.into());
            }
            Seen::Attempt { workflow, took, failed } => {
                state.add(Series::Workflow(workflow), ATTEMPTS, 1.0);
                state.add(Series::Workflow(workflow), ATTEMPT_DURATION, milliseconds(took));
                state.count(Series::Workflow(workflow), FAILED_ATTEMPTS, failed.into());
            }
            Seen::Ended(run) => Self::ended(&mut state, run),
            Seen::ModelCall { node, took, fault, .. } => {
                let series = Series::Node(node.to_owned());
                state.add(series.clone(), MODEL_CALLS, 1.0);
                state.add(series.clone(), MODEL_DURATION, milliseconds(took));
                state.count(series, MODEL_FAULTS, fault.is_some().into());
            }
            Seen::AnswerReused { workflow } => state.add(Series::Workflow(workflow), REUSED_ANSWERS, 1.0),
            Seen::ResultWanted { workflow, stood } => {
                state.add(Series::Workflow(workflow), if stood { CACHE_HITS } else { CACHE_MISSES }, 1.0);
            }
            Seen::Received { workflow, age } => state.add(Series::Workflow(workflow), QUEUE_AGE, milliseconds(age)),
            Seen::DeadLetter { workflow, .. } => state.add(Series::Workflow(workflow), DEAD_LETTERS, 1.0),
            Seen::Event { outcome } => state.add(Series::Event(outcome), EVENTS, 1.0),
        }
    }

    fn taken(&self) -> Taken {
        Unmeasured.taken()
    }
}

/// Makes no metrics of anything; what a run takes, its record tells all the same.
pub(super) struct Unmeasured;

impl Monitor for Unmeasured {
    fn note(&self, _seen: &Seen<'_>) {}

    fn taken(&self) -> Taken {
        Taken { store_calls: Work::store_calls(), peak_memory_bytes: system::peak_memory_bytes() }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    // Microseconds are as exact as any clock here is.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_step_of_a_plan_is_one_of_many_and_a_step_of_the_code_has_its_name() {
        for (name, step) in [
            ("analyze_email", "analyze_email"),
            ("review_response.announce", "review_response"),
            ("review_attachment.12", "review_attachment"),
            ("ask the customer", "execute_step"),
            ("", "execute_step"),
        ] {
            assert_eq!(step_of(name), step);
        }
    }

    #[test]
    fn what_was_told_once_is_not_told_again() {
        let metrics = Metrics::new("ihelper", "email-consumer", Instant::now());
        metrics.invoked();
        metrics.note(&Seen::DeadLetter {
            workflow: WorkflowType::EmailProcessing,
            kind: ihelper_workflow::domain::Kind::Validation,
        });
        let told = |metrics: &Metrics| -> Vec<Value> {
            let lines = metrics.take(Timestamp::UNIX_EPOCH);
            lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
        };
        let first = told(&metrics);
        assert!(first.iter().any(|line| line["Workflow"] == "email_processing" && line["DeadLetters"] == 1.0));
        assert!(first.iter().any(|line| line["Function"] == "email-consumer" && line["ColdStarts"] == 1.0));
        metrics.invoked();
        let second = told(&metrics);
        assert_eq!(second.len(), 1, "the memory alone: {second:?}");
        assert!(second[0].get("ColdStarts").is_none() && second[0]["Memory"].as_f64() > Some(0.0));
    }
}
