//! What is told of runs while they are worked on: metrics in CloudWatch's embedded format, and spans.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use ihelper_runtime::telemetry::Metrics;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, Status, WorkflowType, input,
        run::{Origin, StepKind, Trigger},
    },
    engine::{Deadline, Outcome, Worker},
    ports::{Clock as _, Entropy as _, Journal as _, Monitor, RunFilter, Seen, Taken},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    consumer::{Bench, batch, bench_watched_by},
    tasks::pinned,
};

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new("ihelper/test", "email-consumer", Instant::now()))
}

fn lines(metrics: &Metrics) -> Vec<Value> {
    let lines = metrics.take(Timestamp::from_second(1_767_225_600).unwrap());
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of a metric in the line with exactly these dimensions.
fn values(lines: &[Value], dimensions: &[(&str, &str)], metric: &str) -> Vec<f64> {
    let names: Vec<Value> = dimensions.iter().map(|(name, _)| json!(name)).collect();
    let is_it = |line: &&Value| {
        line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0] == json!(names)
            && dimensions.iter().all(|(name, value)| line[name] == *value)
    };
    match lines.iter().find(is_it).and_then(|line| line.get(metric)) {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
        Some(value) => vec![value.as_f64().unwrap()],
    }
}

fn email(id: &str) -> String {
    json!({"type": "email_processing", "data": {"id": id, "from": format!("{id}@example.com"), "content": "When?"}})
        .to_string()
}

/// The embedded metric format, as AWS publishes it: what a line must have for CloudWatch to take metrics from it.
fn schema() -> jsonschema::Validator {
    let name = json!({"type": "string", "minLength": 1, "maxLength": 1024});
    let schema = json!({
        "type": "object",
        "required": ["_aws"],
        "properties": {
            "_aws": {
                "type": "object",
                "required": ["Timestamp", "CloudWatchMetrics"],
                "properties": {
                    "Timestamp": {"type": "integer", "minimum": 0},
                    "CloudWatchMetrics": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["Namespace", "Dimensions", "Metrics"],
                            "properties": {
                                "Namespace": name,
                                "Dimensions": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {"type": "array", "items": {"type": "string", "maxLength": 250}, "maxItems": 30},
                                },
                                "Metrics": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 100,
                                    "items": {
                                        "type": "object",
                                        "required": ["Name"],
                                        "properties": {
                                            "Name": name,
                                            "Unit": {"enum": ["Count", "Milliseconds", "Bytes", "None"]},
                                        },
                                        "additionalProperties": false,
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
        "additionalProperties": {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "maxLength": 1024},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 100},
            ],
        },
    });
    jsonschema::validator_for(&schema).unwrap()
}

fn hold_to_the_format(lines: &[Value]) {
    let schema = schema();
    for line in lines {
        assert!(schema.is_valid(line), "{line}");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let names = directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap());
        for name in names {
            assert!(line[name].is_number() || line[name].is_array(), "`{name}` has no value: {line}");
        }
        for name in directive["Dimensions"][0].as_array().unwrap() {
            assert!(line[name.as_str().unwrap()].is_string(), "{name} has no value: {line}");
        }
    }
}

async fn handle(bench: &Bench, bodies: &[&str]) {
    let failed = bench.handle(bodies).await;
    assert!(failed.is_empty(), "{failed:?}");
}

const EMAIL: (&str, &str) = ("Workflow", "email_processing");

#[tokio::test]
async fn a_run_is_told_from_its_message_to_its_end_in_lines_that_cloudwatch_reads() {
    let metrics = metrics();
    metrics.invoked();
    let bench = bench_watched_by(WorkflowType::EmailProcessing, WorkflowTester::new(), metrics.clone());
    handle(&bench, &[&email("a"), &email("b"), "{"]).await;

    let lines = lines(&metrics);
    hold_to_the_format(&lines);
    assert_eq!(values(&lines, &[EMAIL, ("Outcome", "succeeded")], "Runs"), [2.0]);
    assert_eq!(values(&lines, &[EMAIL], "Attempts"), [2.0]);
    assert_eq!(values(&lines, &[EMAIL], "FailedAttempts"), [] as [f64; 0]);
    assert_eq!(values(&lines, &[EMAIL], "ApiCalls"), [4.0]);
    assert_eq!(values(&lines, &[EMAIL], "RunDuration").len(), 2);
    assert_eq!(values(&lines, &[EMAIL], "DeadLetters"), [1.0]);
    for step in ["analyze_email", "generate_response", "send_response", "update_email_tracking"] {
        assert_eq!(values(&lines, &[EMAIL, ("Step", step)], "StepDuration").len(), 2, "{step}");
    }
    assert_eq!(values(&lines, &[("Function", "email-consumer")], "ColdStarts"), [1.0]);
    assert!(values(&lines, &[("Function", "email-consumer")], "Memory")[0] > 1e6);
}

#[tokio::test]
async fn what_comes_out_of_its_queue_for_the_first_time_tells_how_long_it_waited() {
    let metrics = metrics();
    let bench = bench_watched_by(WorkflowType::EmailProcessing, WorkflowTester::new(), metrics.clone());
    let (first, again) = (email("a"), email("b"));
    let mut event = batch(&[&first, &again]);
    let sent = bench.tester.clock.now().as_millisecond() - 1_500;
    for (message, receives) in event.records.iter_mut().zip(["1", "2"]) {
        message.attributes.insert("SentTimestamp".to_owned(), sent.to_string());
        message.attributes.insert("ApproximateReceiveCount".to_owned(), receives.to_owned());
    }
    let deadline = deadline(&bench.tester);
    assert!(bench.handle_batch(event, deadline).await.is_empty());
    assert_eq!(values(&lines(&metrics), &[EMAIL], "QueueAge"), [1_500.0]);
}

#[tokio::test]
async fn a_run_that_fails_and_one_that_needs_attention_are_told_apart() {
    let tester = WorkflowTester::new();
    let metrics = metrics();
    let worker = tester.worker_on().watched_by(metrics.clone());
    tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer").with_unknown_outcome());
    let email = json!({"id": "e", "from": "a@example.com", "content": "When?"});
    assert_eq!(run(&tester, &worker, "email_processing", &email).await, Status::Attention);
    let document = json!({"id": "d", "file": {"key": "no/such", "bucket": "documents"}, "review_criteria": ["x"]});
    assert_eq!(run(&tester, &worker, "document_review", &document).await, Status::Failed);

    let lines = lines(&metrics);
    assert_eq!(values(&lines, &[EMAIL, ("Outcome", "attention")], "Runs"), [1.0]);
    assert_eq!(values(&lines, &[EMAIL, ("Step", "send_response")], "FailedSteps"), [1.0]);
    let document = ("Workflow", "document_review");
    assert_eq!(values(&lines, &[document, ("Outcome", "failed")], "Runs"), [1.0]);
    assert_eq!(values(&lines, &[document, ("Step", "extract_content")], "FailedSteps").len(), 1);
    assert!(values(&lines, &[document], "FailedAttempts")[0] >= 1.0);
}

#[tokio::test]
async fn names_that_others_chose_make_no_metrics_of_their_own() {
    let metrics = metrics();
    for number in 0..1000 {
        metrics.note(&Seen::Step {
            workflow: WorkflowType::TaskAutomation,
            name: &format!("step-{number}"),
            kind: StepKind::Effect,
            took: Duration::from_millis(number),
            failed: number % 2 == 0,
        });
    }
    metrics.note(&Seen::DeadLetter { workflow: WorkflowType::TaskAutomation, kind: Kind::Unknown });
    let lines = lines(&metrics);
    hold_to_the_format(&lines);
    let steps: BTreeSet<&str> = lines.iter().filter_map(|line| line["Step"].as_str()).collect();
    assert_eq!(steps, BTreeSet::from(["execute_step"]));
    let kept: usize = lines.iter().filter_map(|line| line["StepDuration"].as_array()).map(Vec::len).sum();
    assert_eq!(kept, 1000, "a hundred to a line, and nothing is lost");
    let failed: f64 = lines.iter().filter_map(|line| line["FailedSteps"].as_f64()).sum();
    assert_eq!(failed, 500.0);
}

/// A monitor for whom every run took the same.
struct Measured;

impl Monitor for Measured {
    fn note(&self, _seen: &Seen<'_>) {}

    fn taken(&self) -> Taken {
        Taken { store_calls: 4, peak_memory_bytes: 1 << 24 }
    }
}

#[tokio::test]
async fn a_runs_record_tells_what_all_of_its_attempts_took() {
    let tester = pinned("plan: { steps: [{ id: pause, tool: wait, arguments: { seconds: 60 } }] }");
    let worker = tester.worker_on().watched_by(Arc::new(Measured));
    let task = json!({"id": "t", "description": "wait"});
    assert_eq!(run(&tester, &worker, "task_automation", &task).await, Status::Waiting);
    tester.clock.advance(Duration::from_secs(60));
    let id = tester.journal.list(&RunFilter { limit: 1, ..RunFilter::default() }).await.unwrap().runs[0].id;
    worker.resume(id, deadline(&tester)).await.unwrap();
    let footprint = tester.run(id).await.unwrap().footprint;
    // Four and the closing one, twice.
    assert_eq!((footprint.store_calls, footprint.peak_memory_bytes), (10, 1 << 24));
}

fn deadline(tester: &WorkflowTester) -> Deadline {
    Deadline::at(tester.clock.now().checked_add(Duration::from_secs(300)).unwrap())
}

async fn run(tester: &WorkflowTester, worker: &Worker, workflow: &str, data: &Value) -> Status {
    let input = input::parse(workflow.parse().unwrap(), data.clone()).unwrap();
    let id = RunId::new(tester.clock.now(), tester.entropy.random());
    let origin = Origin { trigger: Trigger::Queue, id: id.to_string(), caller: "tester".to_owned() };
    let mut outcome = worker.start(&input, id, origin, deadline(tester)).await.unwrap();
    loop {
        match outcome {
            Outcome::Ended { run, .. } | Outcome::Resting(run) => return run.status,
            Outcome::Retry { after, .. } | Outcome::Busy { after } => tester.clock.advance(after),
            Outcome::HandedOver => {}
        }
        outcome = worker.resume(id, deadline(tester)).await.unwrap();
    }
}
