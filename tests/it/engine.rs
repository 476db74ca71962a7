//! The engine, with workflows made for one question each.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_testkit::memory::{MemoryJournal, SeededEntropy, VirtualClock};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType, input,
        run::{Lease, Origin, StepRecord, StepState, Trigger},
    },
    embedded,
    engine::{Context, Deadline, Outcome, Semantics, Stop, Worker, WorkerPorts, Workflow},
    ports::{Clock, Closing, Created, Intended, Journal, Opened, Page, Recorded, RunFilter},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A journal whose results take a second to be durable.
struct SlowJournal {
    inner: MemoryJournal,
    clock: VirtualClock,
}

#[async_trait]
impl Journal for SlowJournal {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.inner.create(run).await
    }
    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.inner.open(id, lease, now).await
    }
    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<bool, Failure> {
        self.inner.renew(id, lease, now).await
    }
    async fn steps(&self, id: RunId) -> Result<Vec<StepRecord>, Failure> {
        self.inner.steps(id).await
    }
    async fn record(&self, id: RunId, step: &StepRecord) -> Result<Recorded, Failure> {
        self.clock.sleep(Duration::from_secs(1)).await;
        self.inner.record(id, step).await
    }
    async fn intend(&self, id: RunId, step: &StepRecord) -> Result<Intended, Failure> {
        self.inner.intend(id, step).await
    }
    async fn settle(&self, id: RunId, step: &StepRecord) -> Result<(), Failure> {
        self.inner.settle(id, step).await
    }
    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.inner.close(id, closing, now).await
    }
    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.inner.find(id).await
    }
    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.inner.list(filter).await
    }
}

struct Stage {
    journal: MemoryJournal,
    clock: VirtualClock,
}

impl Stage {
    fn new() -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap();
        Self { journal: MemoryJournal::new(), clock: VirtualClock::new(start) }
    }

    async fn play(&self, workflow: Arc<dyn Workflow>) -> Outcome {
        let input = input::parse(WorkflowType::TaskAutomation, json!({"id": "t", "description": "x"})).unwrap();
        let id = RunId::derived(Timestamp::UNIX_EPOCH, &["stage"]);
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "user:tester".to_owned() };
        let deadline = self.clock.now().checked_add(Duration::from_secs(290)).unwrap();
        self.worker(workflow).start(&input, id, origin, Deadline::at(deadline)).await.unwrap()
    }

    fn worker(&self, workflow: Arc<dyn Workflow>) -> Worker {
        let ports = WorkerPorts {
            journal: Arc::new(SlowJournal { inner: self.journal.clone(), clock: self.clock.clone() }),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let configuration = Arc::new(embedded::configuration().unwrap());
        Worker::new(ports, configuration, embedded::known_definitions().unwrap(), [workflow], Duration::from_secs(60))
    }
}

/// Plans, then does two things at once; each looks at what is durable when it happens.
struct TwoEffects {
    journal: MemoryJournal,
    seen: Mutex<Vec<usize>>,
}

#[async_trait]
impl Workflow for TwoEffects {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &Context) -> Result<Value, Stop> {
        run.step("plan", || async { Ok(1) }).await?;
        let id = run.id();
        run.map([1, 2], 2, |branch, _| async move {
            branch
                .effect("act", Semantics::AtLeastOnce, |_key| async {
                    let durable = self.journal.steps(id).await?.len();
                    self.seen.lock().unwrap().push(durable);
                    Ok(())
                })
                .await
        })
        .await?;
        Ok(json!("done"))
    }
}

#[tokio::test]
async fn no_effect_happens_before_everything_earlier_is_durable_in_any_branch() {
    let stage = Stage::new();
    let workflow = Arc::new(TwoEffects { journal: stage.journal.clone(), seen: Mutex::default() });
    let outcome = stage.play(workflow.clone()).await;
    assert!(matches!(outcome, Outcome::Ended { run, .. } if run.status == Status::Succeeded));
    let seen = workflow.seen.lock().unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|durable| *durable >= 1), "{seen:?}");
}

/// Has one step that takes longer than any invocation.
struct Endless(VirtualClock);

#[async_trait]
impl Workflow for Endless {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &Context) -> Result<Value, Stop> {
        run.step("wait", || async {
            self.0.sleep(Duration::from_secs(3600)).await;
            Ok(())
        })
        .await?;
        Ok(Value::Null)
    }
}

#[tokio::test]
async fn a_step_that_fits_into_no_invocation_counts_as_a_failed_attempt() {
    let stage = Stage::new();
    let outcome = stage.play(Arc::new(Endless(stage.clock.clone()))).await;
    assert!(matches!(outcome, Outcome::Retry { failure, .. } if failure.kind == Kind::Timeout));
    assert_eq!(stage.journal.runs()[0].failed_attempts, 1);
}

/// Runs the steps of these names.
struct Named(&'static [&'static str]);

#[async_trait]
impl Workflow for Named {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &Context) -> Result<Value, Stop> {
        for name in self.0 {
            run.step(name, || async { Ok((*name).to_owned()) }).await?;
        }
        Err(Failure::new(Kind::Connection, "the line is down").into())
    }
}

#[tokio::test]
async fn a_journal_of_other_code_is_a_terminal_error_that_names_both_steps() {
    let stage = Stage::new();
    assert!(matches!(stage.play(Arc::new(Named(&["read", "write"]))).await, Outcome::Retry { .. }));
    stage.clock.advance(Duration::from_secs(43_200));
    match stage.play(Arc::new(Named(&["read", "translate"]))).await {
        Outcome::Ended { run, .. } => {
            let error = run.error.unwrap();
            assert_eq!(error.kind, Kind::JournalMismatch);
            assert!(error.message.contains("`write`") && error.message.contains("`translate`"), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_failed_attempt_found_is_not_looked_for_again() {
    let stage = Stage::new();
    stage.play(Arc::new(Named(&["read", "write"]))).await;
    let steps = stage.journal.steps(stage.journal.runs()[0].id).await.unwrap();
    let done: Vec<&str> =
        steps.iter().filter(|step| step.state == StepState::Done).map(|step| step.name.as_str()).collect();
    assert_eq!(done, ["read", "write"]);
}
