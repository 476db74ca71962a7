//! How long a run takes over the time of its model, in round trips to the store; and how long it would take with a
//! journal that is awaited after each step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Run, RunId, Status, WorkflowType,
        run::{Entry, Footprint, Lease, Origin, Segment, StepKind, StepRecord, StepState, Trigger, Usage},
    },
    engine::{Context, Semantics, Stop, Workflow},
    ports::{Answer, Clock as _, Closing, Journal as _},
    rules::RulesAssistant,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    stage::{Pace, RealClock, Slow, Stage, succeeded},
    workloads,
};

/// The pace that the claim is made for.
pub const PACE: Pace = Pace { store: Duration::from_millis(5), model: Duration::from_millis(50) };

/// Round trips that a run takes over its model's time besides one for each effect: its creation and its end.
pub const BESIDES_EFFECTS: u32 = 2;

/// What is left for timers and the processor before it counts as another round trip.
const HALF_A_ROUND_TRIP: f64 = 0.5;

/// One thing that a run does, as the naive way sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Asks the model so many questions at once, a step each.
    Ask(u32),
    /// A step without a model, with so many requests of its own to the store.
    Step(u32),
    /// An at-least-once effect, with so many requests of its own to the store.
    AtLeastOnce(u32),
    /// An at-most-once effect: its intent is awaited before, its outcome after.
    AtMostOnce,
}

impl Act {
    const fn is_effect(self) -> bool {
        matches!(self, Self::AtLeastOnce(_) | Self::AtMostOnce)
    }

    const fn own_requests(self) -> u32 {
        match self {
            Self::Step(requests) | Self::AtLeastOnce(requests) => requests,
            Self::Ask(_) | Self::AtMostOnce => 0,
        }
    }
}

/// A run that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in order.
    pub acts: &'static [Act],
    /// Whether the claim is made of it.
    pub is_claimed: bool,
    workflow: Option<WorkflowType>,
}

impl Subject {
    /// Effects on the outside.
    pub fn effects(&self) -> u32 {
        self.acts.iter().map(|act| u32::from(act.is_effect())).sum()
    }

    /// Requests to the store that are the workflow's own: a claim, a tracking entry.
    pub fn own_requests(&self) -> u32 {
        self.acts.iter().map(|act| act.own_requests()).sum()
    }

    /// The most round trips that the run may take over its model's time, its own requests included.
    pub fn limit(&self) -> u32 {
        self.effects() + BESIDES_EFFECTS + self.own_requests()
    }
}

/// The runs that are measured: three questions and two effects, in both orders, and the workflows of the house.
pub const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "5 steps, at-most-once effect first",
        acts: &[Act::Ask(1), Act::Ask(1), Act::Ask(1), Act::AtMostOnce, Act::AtLeastOnce(0)],
        is_claimed: true,
        workflow: None,
    },
    Subject {
        name: "5 steps, at-least-once effect first",
        acts: &[Act::Ask(1), Act::Ask(1), Act::Ask(1), Act::AtLeastOnce(0), Act::AtMostOnce],
        is_claimed: true,
        workflow: None,
    },
    Subject {
        name: "email_processing",
        acts: &[Act::Ask(1), Act::Ask(1), Act::Step(1), Act::AtMostOnce, Act::AtLeastOnce(1)],
        is_claimed: false,
        workflow: Some(WorkflowType::EmailProcessing),
    },
    Subject {
        name: "document_review",
        acts: &[Act::Step(0), Act::Ask(5), Act::AtLeastOnce(1)],
        is_claimed: false,
        workflow: Some(WorkflowType::DocumentReview),
    },
    Subject {
        name: "task_automation",
        acts: &[
            Act::Ask(1),
            Act::AtLeastOnce(1),
            Act::AtLeastOnce(0),
            Act::AtMostOnce,
            Act::Ask(1),
            Act::AtLeastOnce(1),
        ],
        is_claimed: false,
        workflow: Some(WorkflowType::TaskAutomation),
    },
];

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Sample {
    over_ms: f64,
    round_trips: f64,
}

impl Sample {
    /// Reads what a stage has seen of a run that took this long.
    fn of(stage: &Stage, elapsed: Duration) -> Self {
        let (engine, own) = (stage.engine_requests(), stage.own_requests());
        let round_trip = (engine.taken + own.taken).as_secs_f64() / f64::from((engine.calls + own.calls).max(1));
        let over = elapsed.saturating_sub(stage.questions().busy).as_secs_f64();
        Self { over_ms: over * 1000.0, round_trips: over / round_trip }
    }
}

/// What the runs of a subject took, as medians.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The subject.
    pub name: &'static str,
    /// Its effects.
    pub effects: u32,
    /// The workflow's own requests to the store.
    pub own_requests: u32,
    /// The most round trips that it may take over its model's time.
    pub limit: u32,
    /// Whether the claim is made of it.
    pub is_claimed: bool,
    /// How many runs were measured, of each kind.
    pub runs: usize,
    /// Requests of the engine to the store, hidden ones included.
    pub engine_requests: u32,
    /// Milliseconds over the model's time.
    pub over_ms: f64,
    /// The same in round trips.
    pub round_trips: f64,
    /// Milliseconds over the model's time, the naive way.
    pub naive_over_ms: f64,
    /// The same in round trips.
    pub naive_round_trips: f64,
}

impl Measured {
    /// How many times longer the naive way takes.
    pub fn ratio(&self) -> f64 {
        self.naive_over_ms / self.over_ms
    }

    /// The figure that it stays within: its limit, and what is left for what is no round trip.
    pub fn most_round_trips(&self) -> f64 {
        f64::from(self.limit) + HALF_A_ROUND_TRIP
    }

    /// Whether it stays within its limit.
    pub fn holds(&self) -> bool {
        self.round_trips <= self.most_round_trips()
    }
}

/// Measures a subject so many times, the engine's way and the naive way in turn.
///
/// # Errors
/// This returns an error when a run does not succeed, or does other things than its subject says.
pub async fn measure(subject: &Subject, runs: usize) -> Result<Measured, String> {
    let (mut engine, mut naive, mut requests) = (Vec::new(), Vec::new(), 0);
    for _ in 0..runs.max(1) {
        let stage = Stage::new(PACE);
        engine.push(with_engine(subject, &stage).await?);
        requests = stage.engine_requests().calls;
        naive.push(naively(subject, &Stage::new(PACE)).await?);
    }
    let median = |samples: &[Sample], figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
    Ok(Measured {
        name: subject.name,
        effects: subject.effects(),
        own_requests: subject.own_requests(),
        limit: subject.limit(),
        is_claimed: subject.is_claimed,
        runs: runs.max(1),
        engine_requests: requests,
        over_ms: median(&engine, |sample| sample.over_ms),
        round_trips: median(&engine, |sample| sample.round_trips),
        naive_over_ms: median(&naive, |sample| sample.over_ms),
        naive_round_trips: median(&naive, |sample| sample.round_trips),
    })
}

/// The middle of these; of an even number, the mean of the two in the middle. None of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

async fn with_engine(subject: &Subject, stage: &Stage) -> Result<Sample, String> {
    let (kind, workflow) = match subject.workflow {
        Some(kind) => (kind, stage.workflow(kind)),
        None => {
            let story = Story { acts: subject.acts, model: stage.assistant.clone() };
            (WorkflowType::TaskAutomation, Arc::new(story) as Arc<dyn Workflow>)
        }
    };
    let worker = stage.worker(workflow);
    let began = Instant::now();
    let (_, outcome) = stage.start(&worker, kind).await.map_err(|failure| failure.to_string())?;
    let elapsed = began.elapsed();
    succeeded(outcome)?;
    let asked: u32 = subject.acts.iter().map(|act| if let Act::Ask(questions) = act { *questions } else { 0 }).sum();
    let (questions, own) = (stage.questions().calls, stage.own_requests().calls);
    if (questions, own) != (asked, subject.own_requests()) {
        let name = subject.name;
        return Err(format!("`{name}` asked {questions} questions and made {own} requests, which is not what it says"));
    }
    Ok(Sample::of(stage, elapsed))
}

/// A workflow that does what its subject says, with effects that take no time.
struct Story {
    acts: &'static [Act],
    model: Slow<RulesAssistant>,
}

#[async_trait]
impl Workflow for Story {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        for (number, act) in self.acts.iter().enumerate() {
            let name = format!("act_{number}");
            match act {
                Act::Ask(_) => drop(run.ask(&name, || self.answer()).await?),
                Act::Step(_) => run.step(&name, || async { Ok(()) }).await?,
                Act::AtLeastOnce(_) => run.effect(&name, Semantics::AtLeastOnce, |_key| async { Ok(()) }).await?,
                Act::AtMostOnce => run.effect(&name, Semantics::AtMostOnce, |_key| async { Ok(()) }).await?,
            }
        }
        Ok(json!("done"))
    }
}

impl Story {
    async fn answer(&self) -> Result<Answer<String>, Failure> {
        let usage = Usage { api_calls: 1, input_tokens: 800, output_tokens: 40, ..Usage::default() };
        Ok(self.model.think(Answer { value: ANSWER.to_owned(), usage }).await)
    }
}

/// As long as answers of models are that are told to be short.
const ANSWER: &str = "The customer asks when the replacement for order 48213 arrives, and whether the new controller \
                      needs the adapter plate of the old one. An answer is due by Thursday.";

/// The same acts, the store awaited after each: once for a step, before and after for what must not happen twice.
async fn naively(subject: &Subject, stage: &Stage) -> Result<Sample, String> {
    let run = new_run();
    let journal = NaiveJournal { stage, run: run.id, next: AtomicU32::new(0) };
    let began = Instant::now();
    let done = async {
        stage.journal.create(&run).await?;
        for act in subject.acts {
            journal.perform(*act).await?;
        }
        let mut closing = Closing::new(run.workflow, [Status::Running], Status::Succeeded);
        closing.result = Some(json!("done"));
        stage.journal.close(run.id, &closing, RealClock.now()).await
    };
    match done.await {
        Ok(true) => Ok(Sample::of(stage, began.elapsed())),
        Ok(false) => Err("the naive run could not be closed".to_owned()),
        Err(failure) => Err(failure.to_string()),
    }
}

struct NaiveJournal<'a> {
    stage: &'a Stage,
    run: RunId,
    next: AtomicU32,
}

impl NaiveJournal<'_> {
    async fn perform(&self, act: Act) -> Result<(), Failure> {
        match act {
            Act::Ask(questions) => {
                let each = (0..questions).map(|_| async {
                    let answer = self.stage.assistant.think(ANSWER).await;
                    self.write(StepState::Done, json!(answer)).await
                });
                futures::future::try_join_all(each).await.map(drop)
            }
            Act::Step(requests) | Act::AtLeastOnce(requests) => {
                for _ in 0..requests {
                    self.stage.own_request().await;
                }
                self.write(StepState::Done, Value::Null).await
            }
            Act::AtMostOnce => {
                self.write(StepState::Intended, Value::Null).await?;
                self.write(StepState::Done, Value::Null).await
            }
        }
    }

    async fn write(&self, state: StepState, output: Value) -> Result<(), Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::Step(StepRecord {
            position: format!("{number:05}"),
            name: "act".to_owned(),
            kind: StepKind::Step,
            state,
            output,
            owner: String::new(),
            started_at: RealClock.now(),
            duration_ms: 0,
            usage: Usage::default(),
        });
        self.stage.journal.append(self.run, &Segment { number, entries: vec![entry] }).await.map(drop)
    }
}

fn new_run() -> Run {
    let now = RealClock.now();
    let id = RunId::new(now, 1);
    let input = workloads::input(WorkflowType::TaskAutomation);
    Run {
        id,
        workflow: input.workflow(),
        data_id: input.data_id().to_owned(),
        definition_version: 1,
        status: Status::Running,
        origin: Origin { trigger: Trigger::Queue, id: id.to_string(), caller: "queue".to_owned() },
        lineage: None,
        input: input.to_value(),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        footprint: Footprint::default(),
        lease: Some(Lease {
            owner: "naive".to_owned(),
            until: now.saturating_add(Duration::from_secs(60)).unwrap_or(now),
        }),
        due_at: None,
        owes_letter: false,
        created_at: now,
        updated_at: now,
        finished_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_run_may_take_a_round_trip_for_each_effect_and_two_besides_its_own() {
        let limits: Vec<u32> = SUBJECTS.iter().map(Subject::limit).collect();
        assert_eq!(limits, [4, 4, 6, 4, 8]);
    }

    #[test]
    fn half_a_round_trip_more_is_another_one() {
        let measured = |round_trips| Measured {
            name: "x",
            effects: 2,
            own_requests: 0,
            limit: 4,
            is_claimed: true,
            runs: 1,
            engine_requests: 4,
            over_ms: 20.0,
            round_trips,
            naive_over_ms: 40.0,
            naive_round_trips: 8.0,
        };
        assert!(measured(4.3).holds() && !measured(4.9).holds());
        assert_eq!(measured(4.0).ratio(), 2.0);
    }

    #[tokio::test]
    async fn every_subject_does_what_it_says() {
        for subject in &SUBJECTS {
            let stage = Stage::new(Pace::default());
            with_engine(subject, &stage).await.unwrap();
            naively(subject, &Stage::new(Pace::default())).await.unwrap();
        }
    }
}
