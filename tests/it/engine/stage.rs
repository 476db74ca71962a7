//! Where the engine's tests play: ports in memory, one run, and a journal that a test can tamper with.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_testkit::{
    faults::{JournalLayer, Layered},
    memory::{MemoryJournal, MemoryQueue, SeededEntropy, VirtualClock},
};
use ihelper_workflow::{
    domain::{
        Failure, Run, RunId, Status, WorkflowType, input,
        run::{Entry, Lease, Origin, Segment, StepRecord, StepState, Trigger},
    },
    embedded,
    engine::{
        Answered, Cancelling, Context, Control, Deadline, Decision, Outcome, Reply, Stop, Worker, WorkerPorts, Workflow,
    },
    ports::{Appended, Clock, Closing, Journal, Opened, Renewed},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// When every test begins: 1 January 2026, UTC.
pub(super) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How long an invocation of the consumer works.
const INVOCATION: Duration = Duration::from_secs(290);
// More attempts than any test here needs.
const MOST_ATTEMPTS: usize = 1000;

/// A future that may borrow from what it was made of.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A workflow as it is told to a stage.
pub(super) type Tale = for<'a> fn(&'a mut Context, &'a World) -> Boxed<'a, Result<Value, Stop>>;

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Lets everybody else go first, so many times.
pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// What workflows and tests share. A clone shows the same.
#[derive(Clone)]
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) journal: MemoryJournal,
    pub(super) queue: MemoryQueue,
    /// The worker whose world this is.
    pub(super) worker: &'static str,
    diary: Arc<Mutex<Vec<String>>>,
    token: Arc<Mutex<String>>,
}

impl World {
    /// The one run's id.
    pub(super) fn id(&self) -> RunId {
        RunId::derived(START, &["stage"])
    }

    /// The run as it stands.
    pub(super) fn run(&self) -> Run {
        let mut runs = self.journal.runs();
        assert_eq!(runs.len(), 1, "there is one run");
        runs.remove(0)
    }

    /// The entries of the run's journal that stand.
    pub(super) async fn steps(&self) -> Vec<StepRecord> {
        self.journal.find(self.id()).await.unwrap().map(|(_, steps)| steps).unwrap_or_default()
    }

    /// The names of what has its result in the journal, by position.
    pub(super) async fn done(&self) -> Vec<String> {
        let steps = self.steps().await.into_iter();
        steps.filter(|step| step.state == StepState::Done).map(|step| step.name).collect()
    }

    /// How the entry of this name stands.
    pub(super) async fn state_of(&self, name: &str) -> Option<StepState> {
        self.steps().await.into_iter().find(|step| step.name == name).map(|step| step.state)
    }

    /// Time since the test began.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::try_from(self.clock.now().duration_since(START)).unwrap()
    }

    /// Writes into the diary.
    pub(super) fn note(&self, what: impl Into<String>) {
        self.diary.lock().unwrap().push(what.into());
    }

    /// What was written into the diary, in order.
    pub(super) fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }

    /// How often this was written into the diary.
    pub(super) fn times(&self, what: &str) -> usize {
        self.diary.lock().unwrap().iter().filter(|noted| *noted == what).count()
    }

    /// Work that takes its time, and is noted when it begins and when it is done.
    pub(super) async fn works(&self, name: impl Into<String>, takes: Duration) -> Result<(), Failure> {
        let name = name.into();
        self.note(format!("{name} begun"));
        self.clock.sleep(takes).await;
        self.note(format!("{name} done"));
        Ok(())
    }

    /// Work that takes its time and leaves no note.
    pub(super) async fn pauses(&self, takes: Duration) -> Result<(), Failure> {
        self.clock.sleep(takes).await;
        Ok(())
    }

    /// How the world reaches the run.
    pub(super) fn control(&self) -> Control {
        self.control_at(self.clock.clone())
    }

    /// The same, by a clock that need not agree with the workers'.
    pub(super) fn control_at(&self, clock: VirtualClock) -> Control {
        Control::new(Arc::new(self.journal.clone()), Arc::new(self.queue.clone()), Arc::new(clock))
    }

    /// Cancels the run.
    pub(super) async fn cancel(&self) {
        let cancelling = self.control().cancel(self.id(), "user:operator").await.unwrap();
        assert!(matches!(cancelling, Cancelling::Cancelled(_)), "{cancelling:?}");
    }

    /// Tells the person who is to answer a callback its token.
    pub(super) fn tell(&self, token: &str) {
        token.clone_into(&mut self.token.lock().unwrap());
    }

    /// Answers the callback `approve`.
    pub(super) async fn answer(&self, decision: Decision) -> Answered {
        self.answer_by(&self.control(), decision).await
    }

    /// The same, by this control.
    pub(super) async fn answer_by(&self, control: &Control, decision: Decision) -> Answered {
        let token = self.token.lock().unwrap().clone();
        assert!(!token.is_empty(), "nobody was told the token");
        let reply = Reply { decision, data: json!({"note": "seen"}), by: "ada".to_owned(), at: self.clock.now() };
        control.answer(self.id(), "approve", &token, &reply).await.unwrap()
    }

    /// The messages that brought the run back into its queue; they are taken off it.
    pub(super) fn wake_ups(&self) -> usize {
        let messages = self.queue.drain(WorkflowType::TaskAutomation);
        assert!(messages.iter().all(|message| message.body.run_id() == self.id()));
        messages.len()
    }
}

/// A world with a journal for its workers.
pub(super) struct Stage {
    pub(super) world: World,
    journal: Arc<dyn Journal>,
    entropy: SeededEntropy,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::on(|world| Arc::new(world.journal.clone()))
    }

    /// A stage on which something happens before each call of a worker to its journal.
    pub(super) fn tampered<F>(before: F) -> Self
    where
        F: for<'a> Fn(&'a World, Call<'a>) -> Boxed<'a, Result<(), Failure>> + Send + Sync + 'static,
    {
        Self::on(|world| Arc::new(Layered(Tampered { world: world.clone(), before })))
    }

    /// A stage on which leases keep nobody out.
    pub(super) fn without_leases() -> Self {
        Self::on(|world| Arc::new(Layered(WithoutLeases(world.journal.clone()))))
    }

    fn on(journal: impl FnOnce(&World) -> Arc<dyn Journal>) -> Self {
        let clock = VirtualClock::new(START);
        let queue = MemoryQueue::new(clock.clone());
        let (diary, token) = (Arc::default(), Arc::default());
        let world = World { clock, journal: MemoryJournal::new(), queue, worker: "worker", diary, token };
        Self { journal: journal(&world), world, entropy: SeededEntropy::new(1) }
    }

    /// A worker that knows this one workflow.
    pub(super) fn worker<F>(&self, tell: F) -> Worker
    where
        F: for<'a> Fn(&'a mut Context, &'a World) -> Boxed<'a, Result<Value, Stop>> + Send + Sync + 'static,
    {
        self.worker_named("worker", tell)
    }

    /// The same, of a name that the workflow sees.
    pub(super) fn worker_named<F>(&self, name: &'static str, tell: F) -> Worker
    where
        F: for<'a> Fn(&'a mut Context, &'a World) -> Boxed<'a, Result<Value, Stop>> + Send + Sync + 'static,
    {
        let ports = WorkerPorts {
            journal: Arc::clone(&self.journal),
            clock: Arc::new(self.world.clock.clone()),
            entropy: Arc::new(self.entropy.clone()),
        };
        let world = World { worker: name, ..self.world.clone() };
        let workflow: Arc<dyn Workflow> = Arc::new(Story { world, tell });
        let configuration = Arc::new(embedded::configuration().unwrap());
        Worker::new(ports, configuration, embedded::known_definitions(), [workflow], LEASE)
    }

    /// An attempt at the run, of an invocation of the consumer.
    pub(super) async fn attempt(&self, worker: &Worker) -> Outcome {
        self.attempt_within(worker, INVOCATION).await
    }

    /// An attempt at the run that has only so much time.
    pub(super) async fn attempt_within(&self, worker: &Worker, time: Duration) -> Outcome {
        let input = input::parse(WorkflowType::TaskAutomation, json!({"id": "t", "description": "x"})).unwrap();
        let id = self.world.id();
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "user:tester".to_owned() };
        let deadline = Deadline::at(self.world.clock.now() + time);
        worker.start(&input, id, origin, deadline).await.unwrap()
    }

    /// Attempts at the run until it has ended or rests; they come when they were asked for.
    pub(super) async fn attempts(&self, worker: &Worker) -> Run {
        for _ in 0..MOST_ATTEMPTS {
            match self.attempt(worker).await {
                Outcome::Ended { run, .. } | Outcome::Resting(run) => return *run,
                Outcome::Retry { after, .. } | Outcome::Busy { after } => self.world.clock.advance(after),
                Outcome::HandedOver => {}
            }
        }
        panic!("the run is not over after {MOST_ATTEMPTS} attempts")
    }

    /// An attempt that is broken off, as by a crash, when so much time has passed.
    pub(super) async fn crash_after(&self, worker: &Worker, time: Duration) {
        tokio::select! {
            biased;
            outcome = self.attempt(worker) => panic!("it was over before the crash: {outcome:?}"),
            () = self.world.clock.sleep(time) => {}
        }
    }
}

/// The run of an attempt that found or made it ended.
#[track_caller]
pub(super) fn ended(outcome: Outcome) -> Run {
    match outcome {
        Outcome::Ended { run, .. } => *run,
        other => panic!("it has not ended: {other:?}"),
    }
}

/// The run of an attempt that came to its result.
#[track_caller]
pub(super) fn succeeded(outcome: Outcome) -> Run {
    let run = ended(outcome);
    assert_eq!(run.status, Status::Succeeded, "{:?}", run.error);
    run
}

/// The run of an attempt that found or left it at rest.
#[track_caller]
pub(super) fn resting(outcome: Outcome) -> Run {
    match outcome {
        Outcome::Resting(run) => *run,
        other => panic!("it does not rest: {other:?}"),
    }
}

/// What failed in an attempt after which another is due, and how long until then.
#[track_caller]
pub(super) fn retried(outcome: Outcome) -> (Duration, Failure) {
    match outcome {
        Outcome::Retry { after, failure } => (after, failure),
        other => panic!("it is not retried: {other:?}"),
    }
}

/// How long until somebody else's lease is over, or the run is due.
#[track_caller]
pub(super) fn busy(outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Busy { after } => after,
        other => panic!("nobody else is at it: {other:?}"),
    }
}

/// The entries of a segment that are about steps.
pub(super) fn steps_of(segment: &Segment) -> impl Iterator<Item = &StepRecord> {
    segment.entries.iter().filter_map(|entry| match entry {
        Entry::Step(step) => Some(step),
        Entry::Cancelled { .. } => None,
    })
}

struct Story<F> {
    world: World,
    tell: F,
}

#[async_trait]
impl<F> Workflow for Story<F>
where
    F: for<'a> Fn(&'a mut Context, &'a World) -> Boxed<'a, Result<Value, Stop>> + Send + Sync,
{
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        (self.tell)(run, &self.world).await
    }
}

/// A call of a worker to its journal.
pub(super) enum Call<'a> {
    Append(&'a Segment),
    Close(&'a Closing),
    Renew,
}

struct Tampered<F> {
    world: World,
    before: F,
}

#[async_trait]
impl<F> JournalLayer for Tampered<F>
where
    F: for<'a> Fn(&'a World, Call<'a>) -> Boxed<'a, Result<(), Failure>> + Send + Sync,
{
    fn below(&self) -> &dyn Journal {
        &self.world.journal
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        (self.before)(&self.world, Call::Renew).await?;
        self.below().renew(id, lease, now).await
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        (self.before)(&self.world, Call::Append(segment)).await?;
        self.below().append(id, segment).await
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        (self.before)(&self.world, Call::Close(closing)).await?;
        self.below().close(id, closing, now).await
    }
}

struct WithoutLeases(MemoryJournal);

#[async_trait]
impl JournalLayer for WithoutLeases {
    fn below(&self) -> &dyn Journal {
        &self.0
    }

    // At the end of time every lease is over.
    async fn open(&self, id: RunId, lease: &Lease, _: Timestamp) -> Result<Opened, Failure> {
        self.below().open(id, lease, Timestamp::MAX).await
    }

    async fn renew(&self, _: RunId, _: &Lease, _: Timestamp) -> Result<Renewed, Failure> {
        Ok(Renewed::Held)
    }
}
