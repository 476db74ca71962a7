//! A run from its first message to its end, brought back as its queue would.

use std::{collections::BTreeSet, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status,
        run::{Segment, StepRecord},
    },
    engine::{Control, Deadline, Outcome, Worker},
    ports::{Claim, Clock as _, DeadLetter, Journal},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    machine::{Machine, Performed, Stage},
    ports::from_machine,
    scenario::{MakeJournal, START, Scenario},
    schedule::{Fault, Schedule},
    world::{Known, World},
};
use crate::{
    memory::{
        MemoryAnswerLedger, MemoryEventBus, MemoryHttpClient, MemoryJournal, MemoryMailer, MemoryObjects, MemoryQueue,
        MemoryToolServers, MemoryTracking, SeededEntropy, VirtualClock,
    },
    tester::{PlainTextExtractor, Ports},
};

/// A call that was made to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The port and its method.
    pub name: &'static str,
    /// Which of the machines made it, from 0.
    pub machine: usize,
    /// The fault that struck.
    pub fault: Option<Fault>,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "machine {}: {}", self.machine, self.name)?;
        self.fault.map_or(Ok(()), |fault| write!(formatter, " ← {fault}"))
    }
}

/// What came of a play.
#[derive(Clone, Debug)]
pub struct Played {
    /// The run at its end; `None` when it was never made.
    pub run: Option<Run>,
    /// What its journal comes to.
    pub steps: Vec<StepRecord>,
    /// Its journal.
    pub segments: Vec<Segment>,
    /// The calls that were made, in order.
    pub calls: Vec<Call>,
    /// How often a message was delivered.
    pub deliveries: usize,
    /// The promises that were broken.
    pub violations: Vec<String>,
    pub(super) performed: Vec<Performed>,
    pub(super) begun_when_cancelled: Option<BTreeSet<String>>,
    pub(super) claim_of_another: Option<Claim>,
}

impl Played {
    /// Where the run stands.
    pub fn status(&self) -> Option<Status> {
        self.run.as_ref().map(|run| run.status)
    }

    /// The run's result.
    pub fn result(&self) -> Option<&Value> {
        self.run.as_ref()?.result.as_ref()
    }
}

/// A message on the run's queue.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Start,
    Resume,
}

/// What happens to a message that was worked on.
enum Verdict {
    Delete,
    /// It comes back after this while; `None` when its visibility timeout is over.
    Return(Option<Duration>),
}

/// What was under way, and came to an end.
enum Ended {
    Delivery {
        message: Message,
        /// `None` when the machine died.
        verdict: Option<Verdict>,
    },
    World,
}

const LEASE: Duration = Duration::from_secs(60);
// As long as a message stays invisible while it is worked on.
const VISIBILITY: Duration = Duration::from_secs(61);
// What a consumer keeps of its invocation to hand over.
const HAND_OVER_TIME: Duration = Duration::from_secs(10);
// A play of a few faults takes some dozens at the most.
const MOST_DELIVERIES: usize = 400;
// The world acts once for each thing that is to be done, and once more for each fault in between.
const MOST_ACTS: usize = 40;

type UnderWay<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send + 'a>>>;

pub(super) async fn play(scenario: &Scenario, schedule: &Schedule) -> Played {
    let bench = Bench::new(scenario, schedule.clone());
    let mut violations = Vec::new();
    let deliveries = bench.until_nothing_is_left(&mut violations).await;
    let found = bench.journal.find(bench.run).await;
    let (run, steps) = match found {
        Ok(Some((run, steps))) => (Some(run), steps),
        Ok(None) => (None, Vec::new()),
        Err(failure) => {
            violations.push(format!("the run cannot be read: {failure}"));
            (None, Vec::new())
        }
    };
    let segments = bench.journal.read(bench.run, 0).await.unwrap_or_else(|failure| {
        violations.push(format!("the journal cannot be read: {failure}"));
        Vec::new()
    });
    let Known { begun_when_cancelled, complaints, .. } = std::mem::take(&mut *bench.stage.world.known());
    violations.extend(complaints);
    Played {
        run,
        steps,
        segments,
        calls: bench.stage.calls(),
        deliveries,
        violations,
        performed: bench.stage.performed(),
        begun_when_cancelled,
        claim_of_another: bench.claim_of_another().await,
    }
}

struct Bench<'a> {
    scenario: &'a Scenario,
    run: RunId,
    clock: VirtualClock,
    queue: MemoryQueue,
    mailer: MemoryMailer,
    /// As it is without faults.
    journal: Arc<dyn Journal>,
    journals: MakeJournal,
    ports: Ports,
    stage: Arc<Stage>,
}

impl<'a> Bench<'a> {
    fn new(scenario: &'a Scenario, schedule: Schedule) -> Self {
        let run = scenario.run_id();
        let clock = VirtualClock::new(START);
        let (queue, bus, mailer) = (MemoryQueue::new(clock.clone()), MemoryEventBus::new(), MemoryMailer::new());
        let objects = MemoryObjects::new(["mail", "documents"]);
        for (object, bytes) in &scenario.objects {
            objects.put(object, bytes.clone(), &[]);
        }
        let journals = (scenario.journal)(MemoryJournal::new());
        let journal = journals();
        let world = World {
            run,
            journal: Arc::clone(&journal),
            queue: Arc::new(queue.clone()),
            clock: clock.clone(),
            bus: bus.clone(),
            mailer: mailer.clone(),
            reply: scenario.reply.clone(),
            settles: scenario.settles,
            known: Default::default(),
        };
        let ports = Ports {
            journal: Arc::clone(&journal),
            queue: Arc::new(queue.clone()),
            mailer: Arc::new(mailer.clone()),
            answers: Arc::new(MemoryAnswerLedger::new()),
            objects: Arc::new(objects),
            extractor: Arc::new(PlainTextExtractor),
            tracking: Arc::new(MemoryTracking::new()),
            bus: Arc::new(bus),
            http: Arc::new(MemoryHttpClient::new()),
            servers: Arc::new(MemoryToolServers::new()),
            assistant: (scenario.assistant)(),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(schedule.seed)),
        };
        let stage = Stage::new(schedule, clock.clone(), LEASE, world);
        Self { scenario, run, clock, queue, mailer, journal, journals, ports, stage }
    }

    /// Delivers message after message until there is none; gives how many there were.
    async fn until_nothing_is_left(&self, violations: &mut Vec<String>) -> usize {
        let mut waiting = vec![(START, Message::Start)];
        let mut under_way = UnderWay::new();
        let (mut deliveries, mut acts) = (0, 0);
        loop {
            self.take_from_queue(&mut waiting);
            let now = self.clock.now();
            for (_, message) in waiting.extract_if(.., |(due, _)| *due <= now) {
                deliveries += 1;
                under_way.push(self.deliver(message));
            }
            if self.stage.has_run_away() || deliveries > MOST_DELIVERIES {
                let calls = self.stage.calls().len();
                violations.push(format!("there is no end after {deliveries} deliveries and {calls} calls"));
                return deliveries;
            }
            if under_way.is_empty() {
                if acts < MOST_ACTS && self.stage.world.has_to_act().await {
                    acts += 1;
                    under_way.push(self.let_the_world_act());
                } else if let Some(next) = waiting.iter().map(|(due, _)| *due).min() {
                    self.clock.advance(Duration::try_from(next.duration_since(now)).unwrap_or_default());
                    continue;
                } else {
                    return deliveries;
                }
            }
            tokio::select! {
                biased;
                () = self.stage.signal.notified() => {
                    while let Some(message) = self.stage.second_delivery() {
                        waiting.push((self.clock.now(), message));
                    }
                }
                Some(ended) = under_way.next() => {
                    if let Ended::Delivery { message, verdict } = ended {
                        let now = self.clock.now();
                        match verdict {
                            Some(Verdict::Delete) => {}
                            Some(Verdict::Return(Some(after))) => waiting.push((later(now, after), message)),
                            None | Some(Verdict::Return(None)) => waiting.push((later(now, VISIBILITY), message)),
                        }
                    }
                }
            }
        }
    }

    /// Takes the messages about the run; others start runs that nobody plays.
    fn take_from_queue(&self, waiting: &mut Vec<(Timestamp, Message)>) {
        for message in self.queue.drain(self.scenario.workflow) {
            if message.body.run_id() == self.run {
                waiting.push((message.due_at, Message::Resume));
            }
        }
    }

    fn deliver(&self, message: Message) -> Pin<Box<dyn Future<Output = Ended> + Send + '_>> {
        let machine = self.stage.machine(Some(message.clone()));
        Box::pin(async move {
            let verdict = tokio::select! {
                biased;
                () = machine.death() => None,
                verdict = self.work_on(&machine, &message) => Some(verdict),
            };
            Ended::Delivery { message, verdict }
        })
    }

    fn let_the_world_act(&self) -> Pin<Box<dyn Future<Output = Ended> + Send + '_>> {
        let machine = self.stage.machine(None);
        Box::pin(async move {
            let ports = self.ports_of(&machine);
            let control = Control::new(ports.journal, ports.queue, ports.clock);
            tokio::select! {
                biased;
                () = machine.death() => {}
                // Who gets no answer asks again.
                _ = self.stage.world.act(&control) => {}
            }
            Ended::World
        })
    }

    fn ports_of(&self, machine: &Arc<Machine>) -> Ports {
        from_machine(machine, &Ports { journal: (self.journals)(), ..self.ports.clone() })
    }

    /// What a consumer does with a message.
    async fn work_on(&self, machine: &Arc<Machine>, message: &Message) -> Verdict {
        let ports = self.ports_of(machine);
        let workflows = match &self.scenario.own_workflow {
            Some(make) => vec![make(&ports)],
            None => ports.workflows(),
        };
        let configuration = Arc::clone(&self.scenario.configuration);
        let given = configuration.of(self.scenario.workflow).timeout() - HAND_OVER_TIME;
        let deadline = Deadline::at(later(self.clock.now(), given));
        let definitions = self.scenario.definitions.clone();
        let worker =
            Worker::new(ports.of_a_worker(), configuration, definitions, workflows, LEASE).that_sends_letters();
        let outcome = match message {
            Message::Start => worker.start(&self.scenario.input, self.run, self.scenario.origin(), deadline).await,
            Message::Resume => worker.resume(self.run, deadline).await,
        };
        self.conclude(&ports, outcome).await
    }

    async fn conclude(&self, ports: &Ports, outcome: Result<Outcome, Failure>) -> Verdict {
        match outcome {
            Ok(Outcome::Ended { run, .. }) if run.owes_letter => self.bury(ports, &run).await,
            Ok(Outcome::Ended { .. }) => Verdict::Delete,
            Ok(Outcome::Resting(run)) => match run.due_at.filter(|_| run.status == Status::Waiting) {
                Some(due) => {
                    let until = Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
                    self.pass_on(ports, until).await
                }
                None => Verdict::Delete,
            },
            Ok(Outcome::Retry { after, .. }) => Verdict::Return(Some(after)),
            Ok(Outcome::HandedOver) => self.pass_on(ports, Duration::ZERO).await,
            Ok(Outcome::Busy { after }) => self.pass_on(ports, after + Duration::from_secs(1)).await,
            Err(failure) if failure.kind == Kind::NotFound => Verdict::Delete,
            Err(_) => Verdict::Return(None),
        }
    }

    async fn pass_on(&self, ports: &Ports, after: Duration) -> Verdict {
        match ports.queue.resume(self.scenario.workflow, self.run, after).await {
            Ok(()) => Verdict::Delete,
            Err(_) => Verdict::Return(Some(after)),
        }
    }

    async fn bury(&self, ports: &Ports, run: &Run) -> Verdict {
        let failure = run.error.clone().unwrap_or_else(|| Failure::new(Kind::Unknown, "no error was kept"));
        let letter = DeadLetter {
            body: json!({ "run_id": run.id }).to_string(),
            reason: failure.message,
            kind: failure.kind,
            run: Some(run.id),
        };
        if ports.queue.dead_letter(run.workflow, &letter).await.is_err() {
            return Verdict::Return(None);
        }
        // Should it not be noted, it is sent again: a queue cannot be asked what is in it.
        let _ = ports.journal.letter_sent(run.id).await;
        Verdict::Delete
    }

    /// Whether another run may answer whom this one answered; `None` when it wrote to nobody.
    async fn claim_of_another(&self) -> Option<Claim> {
        let answer = self.mailer.sent().into_iter().find(|sent| sent.run == self.run && sent.mail.is_reply)?;
        let another = RunId::derived(START, &["another"]);
        self.ports.answers.claim(&answer.mail.to, another, self.clock.now(), Duration::from_secs(1)).await.ok()
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
