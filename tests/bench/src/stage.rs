//! The engine and the workflows on a store and a model of a known pace, in real time.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ihelper_testkit::{
    OWN_ADDRESS, PlainTextExtractor,
    memory::{
        MemoryAnswerLedger, MemoryEventBus, MemoryJournal, MemoryMailer, MemoryObjects, MemoryQueue, MemoryTracking,
        SeededEntropy,
    },
};
use ihelper_workflow::{
    domain::{
        Failure, Run, RunId, Status, WorkflowType,
        definition::Definition,
        document::{Content, Criterion, Review},
        email::{Draft, Email, EmailAnalysis},
        run::{Lease, Origin, Segment, StepRecord, Trigger},
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    embedded,
    engine::{Deadline, Definitions, Outcome, Worker, WorkerPorts, Workflow},
    ports::{
        Answer, AnswerLedger, Appended, Assistant, Claim, Clock, Closing, Created, Entropy as _, Journal, Opened, Page,
        Renewed, RunFilter, Tracking, TrackingEntry,
    },
    rules::RulesAssistant,
    workflows::{
        AskAssistant, DocumentReview, EmailProcessing, PublishEvent, SendEmail, SetRecord, TaskAutomation, Tool,
        Toolbox,
    },
};
use jiff::Timestamp;

use crate::workloads;

/// How long things take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// A request to the store. One that takes no time is answered at once.
    pub store: Duration,
    /// A question to the model.
    pub model: Duration,
}

// A usual lease and a usual invocation: neither ends while a run is measured.
const LEASE: Duration = Duration::from_secs(60);
const INVOCATION: Duration = Duration::from_secs(290);

/// Ports in memory that take their time, and what that time came to.
pub struct Stage {
    /// The journal behind the slow one, to look into.
    pub memory: MemoryJournal,
    /// The journal that the engine has.
    pub journal: Slow<MemoryJournal>,
    /// The assistant that the workflows have.
    pub assistant: Slow<RulesAssistant>,
    answers: Slow<MemoryAnswerLedger>,
    tracking: Slow<MemoryTracking>,
    entropy: SeededEntropy,
}

impl Stage {
    /// Nothing on it yet.
    pub fn new(pace: Pace) -> Self {
        let memory = MemoryJournal::new();
        let own = Arc::new(Gauge::default());
        Self {
            journal: Slow::new(memory.clone(), pace.store, Arc::default()),
            assistant: Slow::new(RulesAssistant, pace.model, Arc::default()),
            answers: Slow::new(MemoryAnswerLedger::new(), pace.store, Arc::clone(&own)),
            tracking: Slow::new(MemoryTracking::new(), pace.store, own),
            entropy: SeededEntropy::new(1),
            memory,
        }
    }

    /// What the engine asked of the store.
    pub fn engine_requests(&self) -> Reading {
        self.journal.gauge.read()
    }

    /// What the workflows' own steps asked of the store.
    pub fn own_requests(&self) -> Reading {
        self.tracking.gauge.read()
    }

    /// What the model was asked.
    pub fn questions(&self) -> Reading {
        self.assistant.gauge.read()
    }

    /// A request of the workflow's own that says nothing.
    pub async fn own_request(&self) {
        self.tracking.slowly(std::future::ready(())).await;
    }

    /// A workflow of the house on these ports.
    pub fn workflow(&self, workflow: WorkflowType) -> Arc<dyn Workflow> {
        let assistant: Arc<dyn Assistant> = Arc::new(self.assistant.clone());
        let tracking: Arc<dyn Tracking> = Arc::new(self.tracking.clone());
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let mailer = Arc::new(MemoryMailer::new());
        let objects = Arc::new(MemoryObjects::new(["mail", "documents"]));
        match workflow {
            WorkflowType::EmailProcessing => Arc::new(EmailProcessing {
                assistant,
                mailer,
                answers: Arc::new(self.answers.clone()),
                objects,
                queue: Arc::new(MemoryQueue::new(RealClock)),
                bus: Arc::new(MemoryEventBus::new()),
                tracking,
                clock,
                own_address: OWN_ADDRESS.to_owned(),
                public_url: None,
            }),
            WorkflowType::DocumentReview => Arc::new(DocumentReview {
                assistant,
                extractor: Arc::new(PlainTextExtractor),
                objects,
                tracking,
                clock,
            }),
            WorkflowType::TaskAutomation => {
                let tools: [Arc<dyn Tool>; 4] = [
                    Arc::new(AskAssistant(Arc::clone(&assistant))),
                    Arc::new(SetRecord { tracking: Arc::clone(&tracking), clock: Arc::clone(&clock) }),
                    Arc::new(PublishEvent(Arc::new(MemoryEventBus::new()))),
                    Arc::new(SendEmail(mailer)),
                ];
                Arc::new(TaskAutomation { assistant, tools: Toolbox::new(tools), tracking, clock })
            }
        }
    }

    /// A worker for this workflow.
    ///
    /// # Panics
    /// When the embedded configuration or a definition is not valid.
    pub fn worker(&self, workflow: Arc<dyn Workflow>) -> Worker {
        let ports = WorkerPorts {
            journal: Arc::new(self.journal.clone()),
            clock: Arc::new(RealClock),
            entropy: Arc::new(self.entropy.clone()),
        };
        let configuration = embedded::configuration().expect("the embedded configuration is valid");
        let definitions = Definitions::new(workloads::definitions());
        Worker::new(ports, Arc::new(configuration), definitions, [workflow], LEASE)
    }

    /// A run of the typical input, from its beginning to the outcome of its first attempt.
    ///
    /// # Errors
    /// This returns an error when the journal fails, which it does not.
    pub async fn start(&self, worker: &Worker, workflow: WorkflowType) -> Result<(RunId, Outcome), Failure> {
        let id = RunId::new(RealClock.now(), self.entropy.random());
        let origin = Origin { trigger: Trigger::Queue, id: id.to_string(), caller: "queue".to_owned() };
        let outcome = worker.start(&workloads::input(workflow), id, origin, deadline()).await?;
        Ok((id, outcome))
    }
}

/// When an invocation that begins now has to hand over.
pub fn deadline() -> Deadline {
    Deadline::at(RealClock.now().saturating_add(INVOCATION).unwrap_or(Timestamp::MAX))
}

/// The run of an outcome, if it succeeded.
///
/// # Errors
/// This returns an error that shows the outcome when the run did not succeed: there is nothing to measure then.
pub fn succeeded(outcome: Outcome) -> Result<Run, String> {
    match outcome {
        Outcome::Ended { run, .. } if run.status == Status::Succeeded => Ok(*run),
        other => Err(format!("the run did not succeed: {other:?}")),
    }
}

/// The time of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Measures how much time calls take.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    under_way: u32,
    since: Option<Instant>,
    reading: Reading,
}

/// What a [`Gauge`] has measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many calls there were.
    pub calls: u32,
    /// How long they took, one by one.
    pub taken: Duration,
    /// How long at least one of them was under way.
    pub busy: Duration,
}

impl Gauge {
    /// What was measured so far.
    pub fn read(&self) -> Reading {
        self.count().reading
    }

    async fn time<T>(&self, call: impl Future<Output = T>) -> T {
        let call_under_way = UnderWay::begin(self);
        let answer = call.await;
        drop(call_under_way);
        answer
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. One that is broken off counts as well.
struct UnderWay<'a> {
    gauge: &'a Gauge,
    began: Instant,
}

impl<'a> UnderWay<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        let began = Instant::now();
        let mut count = gauge.count();
        count.under_way += 1;
        count.since.get_or_insert(began);
        drop(count);
        Self { gauge, began }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut count = self.gauge.count();
        count.under_way -= 1;
        count.reading.calls += 1;
        count.reading.taken += now - self.began;
        if count.under_way == 0
            && let Some(since) = count.since.take()
        {
            count.reading.busy += now - since;
        }
    }
}

/// A port that takes its time.
#[derive(Clone)]
pub struct Slow<Port> {
    inner: Port,
    delay: Duration,
    gauge: Arc<Gauge>,
}

impl<Port> Slow<Port> {
    fn new(inner: Port, delay: Duration, gauge: Arc<Gauge>) -> Self {
        Self { inner, delay, gauge }
    }

    async fn slowly<T>(&self, call: impl Future<Output = T>) -> T {
        self.gauge
            .time(async {
                if !self.delay.is_zero() {
                    tokio::time::sleep(self.delay).await;
                }
                call.await
            })
            .await
    }
}

impl Slow<RulesAssistant> {
    /// A question that has this answer.
    pub async fn think<T>(&self, answer: T) -> T {
        self.slowly(std::future::ready(answer)).await
    }
}

#[async_trait]
impl Journal for Slow<MemoryJournal> {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.slowly(self.inner.create(run)).await
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.slowly(self.inner.open(id, lease, now)).await
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        self.slowly(self.inner.renew(id, lease, now)).await
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        self.slowly(self.inner.read(id, from)).await
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.slowly(self.inner.append(id, segment)).await
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.slowly(self.inner.close(id, closing, now)).await
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.slowly(self.inner.letter_sent(id)).await
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.slowly(self.inner.find(id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.slowly(self.inner.list(filter)).await
    }
}

#[async_trait]
impl Tracking for Slow<MemoryTracking> {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        self.slowly(self.inner.put(entry)).await
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        self.slowly(self.inner.get(workflow, data_id)).await
    }
}

#[async_trait]
impl AnswerLedger for Slow<MemoryAnswerLedger> {
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure> {
        self.slowly(self.inner.claim(address, run, now, window)).await
    }

    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure> {
        self.slowly(self.inner.release(address, run)).await
    }

    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure> {
        self.slowly(self.inner.suppress(address, now)).await
    }
}

#[async_trait]
impl Assistant for Slow<RulesAssistant> {
    fn model(&self) -> &str {
        self.inner.model()
    }

    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        self.slowly(self.inner.analyze_email(definition, email)).await
    }

    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Answer<Draft>, Failure> {
        self.slowly(self.inner.generate_response(definition, template, context)).await
    }

    async fn review_document(
        &self,
        definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        self.slowly(self.inner.review_document(definition, content, criterion)).await
    }

    async fn analyze_task(
        &self,
        definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        self.slowly(self.inner.analyze_task(definition, task, tools)).await
    }

    async fn generate_report(
        &self,
        definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        self.slowly(self.inner.generate_report(definition, task, results)).await
    }

    async fn ask(&self, definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        self.slowly(self.inner.ask(definition, instruction, text)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_side_by_side_take_their_time_each_and_keep_it_busy_once() {
        let gauge = Gauge::default();
        let both_under_way = tokio::sync::Barrier::new(2);
        let began = Instant::now();
        futures::join!(gauge.time(both_under_way.wait()), gauge.time(both_under_way.wait()));
        let (reading, elapsed) = (gauge.read(), began.elapsed());
        assert_eq!(reading.calls, 2);
        assert!(reading.busy <= reading.taken && reading.busy <= elapsed, "{reading:?} in {elapsed:?}");
    }

    #[tokio::test]
    async fn a_call_that_is_broken_off_counts() {
        let gauge = Gauge::default();
        {
            let endless = gauge.time(std::future::pending::<()>());
            tokio::pin!(endless);
            assert!(futures::poll!(endless.as_mut()).is_pending());
        }
        assert_eq!((gauge.read().calls, gauge.count().under_way), (1, 0));
    }
}
