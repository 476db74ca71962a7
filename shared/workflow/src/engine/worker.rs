//! One attempt at a run, from its lease to its outcome.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;
use tracing::Instrument;

use super::{
    context::{Attempt, Context, Deadline},
    definitions::Definitions,
    retry::backoff,
    stop::Stop,
};
use crate::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        configuration::Configuration,
        input::Input,
        run::{Entry, Footprint, History, Lease, Origin, StepKind, StepRecord, StepState, Usage},
    },
    ports::{Clock, Closing, Created, Entropy, Journal, Monitor, Opened, Renewed, Seen, Unwatched},
};

/// A workflow: plain async code against a [`Context`].
#[async_trait]
pub trait Workflow: Send + Sync {
    /// Its type.
    fn workflow(&self) -> WorkflowType;

    /// Works on one run to its end.
    async fn execute(&self, run: &mut Context) -> Result<Value, Stop>;
}

/// What a worker needs from outside.
#[derive(Clone)]
pub struct WorkerPorts {
    /// Where runs are kept.
    pub journal: Arc<dyn Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// Starts runs and gives them attempts.
pub struct Worker {
    ports: WorkerPorts,
    configuration: Arc<Configuration>,
    definitions: Definitions,
    workflows: HashMap<WorkflowType, Arc<dyn Workflow>>,
    lease: Duration,
    sends_letters: bool,
    monitor: Arc<dyn Monitor>,
}

/// What came of [`Worker::begin`].
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The run is new.
    New(Box<Run>),
    /// It existed.
    Existing(Box<Run>),
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The run has ended.
    Ended {
        /// The run at its end.
        run: Box<Run>,
        /// Whether this attempt ended it, or it had ended before.
        just_now: bool,
    },
    /// It waits, or needs attention. One that waits for a time has it in `due_at`: bring it back then.
    Resting(Box<Run>),
    /// The attempt failed and another may succeed: bring the run back after this wait.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What failed.
        failure: Failure,
    },
    /// The time was up: bring the run back at once.
    HandedOver,
    /// Another worker holds it, or it is not due yet: bring the run back after this wait.
    Busy {
        /// Until the other's lease ends, or the run is due.
        after: Duration,
    },
}

/// What came of letting a workflow run.
#[derive(Default)]
struct Round {
    attempt: Option<Arc<Attempt>>,
    last_entries: Vec<StepRecord>,
    usage: Option<Usage>,
    in_vain: Option<Usage>,
    progressed: bool,
    met_others: bool,
    /// From which segment on the answer to a callback may stand that this attempt did not see.
    awaits_callback_from: Option<u32>,
}

fn owner_of(run: &Run) -> Option<String> {
    run.lease.as_ref().map(|lease| lease.owner.clone())
}

// A run that loses the race for a step's result starts over from the journal. Each time at least one more
// result stands there, so few rounds suffice; the bound is for a journal that contradicts itself.
const MAX_ROUNDS: usize = 16;

impl Worker {
    /// A worker for these workflows. A lease ends after `lease` unless renewed, which happens three times in
    /// that while.
    pub fn new(
        ports: WorkerPorts,
        configuration: Arc<Configuration>,
        definitions: Definitions,
        workflows: impl IntoIterator<Item = Arc<dyn Workflow>>,
        lease: Duration,
    ) -> Self {
        let workflows = workflows.into_iter().map(|workflow| (workflow.workflow(), workflow)).collect();
        Self { ports, configuration, definitions, workflows, lease, sends_letters: false, monitor: Arc::new(Unwatched) }
    }

    /// The same worker, for who sends a dead letter about each run that fails: the failure says that one is owed.
    #[must_use]
    pub fn that_sends_letters(mut self) -> Self {
        self.sends_letters = true;
        self
    }

    /// The same worker, watched.
    #[must_use]
    pub fn watched_by(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.monitor = monitor;
        self
    }

    /// Who watches.
    pub fn monitor(&self) -> &dyn Monitor {
        self.monitor.as_ref()
    }

    /// The settings of the workflows.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// What definition a run begun now is pinned to, as a text that changes whenever that does.
    ///
    /// # Errors
    /// This returns an error when this process knows no definition of the workflow, or cannot look up which is
    /// current.
    pub async fn current_version(&self, workflow: WorkflowType) -> Result<String, Failure> {
        self.definitions.mark(workflow).await
    }

    /// Creates a run that waits in its queue, unless it exists.
    ///
    /// # Errors
    /// This returns an error when the journal cannot be written.
    pub async fn begin(&self, input: &Input, id: RunId, origin: Origin) -> Result<Begun, Failure> {
        self.create(input, id, origin, None).await
    }

    /// Creates a run under a lease of its own, unless it exists: the first half of [`start`](Self::start).
    ///
    /// # Errors
    /// This returns an error when the journal cannot be written.
    pub async fn begin_leased(&self, input: &Input, id: RunId, origin: Origin) -> Result<Begun, Failure> {
        self.create(input, id, origin, Some(self.new_lease())).await
    }

    /// Works on a run that was begun under a lease, or goes on with one that existed: the second half of
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// This returns an error when the journal cannot be read or written; the run then goes on later.
    pub async fn work_on(&self, begun: Begun, deadline: Deadline) -> Result<Outcome, Failure> {
        match begun {
            Begun::New(run) => self.work(*run, History::default(), deadline).await,
            Begun::Existing(run) if run.status.is_final() => Ok(Outcome::Ended { run, just_now: false }),
            Begun::Existing(run) => self.resume(run.id, deadline).await,
        }
    }

    /// Creates a run, unless it exists, and works on it. A new run costs one write before its first step and
    /// no read of its own: its journal is known to be empty, and which version is current is looked up for all runs
    /// together.
    ///
    /// # Errors
    /// This returns an error when the journal cannot be read or written; the run then goes on later.
    pub async fn start(
        &self,
        input: &Input,
        id: RunId,
        origin: Origin,
        deadline: Deadline,
    ) -> Result<Outcome, Failure> {
        let begun = self.begin_leased(input, id, origin).await?;
        self.work_on(begun, deadline).await
    }

    /// Goes on with a run from its journal.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when there is no such run, and when the journal cannot be read
    /// or written; the run then goes on later.
    pub async fn resume(&self, id: RunId, deadline: Deadline) -> Result<Outcome, Failure> {
        let now = self.ports.clock.now();
        let mut opened = self.ports.journal.open(id, &self.new_lease(), now).await?;
        if let Opened::Resting(run) = &opened
            && !run.status.is_final()
            && self.has_news(run).await?
        {
            let closing = Closing::new(run.workflow, [run.status], Status::Queued);
            // Should another have been faster, the second look tells how it stands.
            self.ports.journal.close(id, &closing, now).await?;
            opened = self.ports.journal.open(id, &self.new_lease(), now).await?;
        }
        match opened {
            Opened::Leased(run) if !self.workflows.contains_key(&run.workflow) => {
                let closing =
                    Closing { owner: owner_of(&run), ..Closing::new(run.workflow, [Status::Running], Status::Queued) };
                self.ports.journal.close(id, &closing, now).await?;
                Err(Failure::validation(format!("the run is one of `{}`, which is not worked on here", run.workflow)))
            }
            Opened::Leased(run) => {
                let history = self.history(id).await?;
                self.work(*run, history, deadline).await
            }
            Opened::Busy { until } => {
                Ok(Outcome::Busy { after: Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO) })
            }
            Opened::Resting(run) if run.status.is_final() => Ok(Outcome::Ended { run, just_now: false }),
            Opened::Resting(run) => Ok(Outcome::Resting(run)),
        }
    }

    /// Whether somebody said what a run rests for: the message that tells of it changes no run, so that one which was
    /// told and not delivered leaves the run where people see it.
    async fn has_news(&self, run: &Run) -> Result<bool, Failure> {
        let segments = self.ports.journal.read(run.id, 0).await?;
        // An attempt that has seen an answer wrote something after it, unless it came no further.
        let mut last = segments.iter().flat_map(|segment| &segment.entries).rev().take_while(is_told);
        let is_answered = last.any(is_answer);
        let history = History::of(segments);
        Ok(history.is_cancelled()
            || match run.status {
                Status::Attention => !has_unsettled(&history),
                _ => is_answered,
            })
    }

    async fn create(&self, input: &Input, id: RunId, origin: Origin, lease: Option<Lease>) -> Result<Begun, Failure> {
        let now = self.ports.clock.now();
        let run = Run {
            id,
            workflow: input.workflow(),
            data_id: input.data_id().to_owned(),
            definition_version: self.definitions.version_for(input.workflow(), id).await?,
            status: if lease.is_some() { Status::Running } else { Status::Queued },
            origin,
            lineage: None,
            input: input.to_value(),
            result: None,
            error: None,
            failed_attempts: 0,
            usage: Usage::default(),
            footprint: Footprint::default(),
            lease,
            due_at: None,
            owes_letter: false,
            created_at: now,
            updated_at: now,
            finished_at: None,
        };
        Ok(match self.ports.journal.create(&run).await? {
            Created::New => Begun::New(Box::new(run)),
            Created::Existing(existing) => Begun::Existing(existing),
        })
    }

    fn new_lease(&self) -> Lease {
        // Half of it suffices to tell a few workers apart, and every entry of a journal carries it.
        let owner = format!("{:016x}", self.ports.entropy.random() as u64);
        Lease { owner, until: self.lease_end() }
    }

    fn lease_end(&self) -> Timestamp {
        self.ports.clock.now().saturating_add(self.lease).unwrap_or(Timestamp::MAX)
    }

    async fn history(&self, id: RunId) -> Result<History, Failure> {
        Ok(History::of(self.ports.journal.read(id, 0).await?))
    }

    async fn work(&self, run: Run, history: History, deadline: Deadline) -> Result<Outcome, Failure> {
        let span = tracing::info_span!("attempt", run.id = %run.id, run.type = %run.workflow);
        let (workflow, began) = (run.workflow, self.ports.clock.now());
        span.in_scope(|| {
            tracing::info!(run.trigger = run.origin.trigger.name(), run.failed_attempts, "an attempt begins");
        });
        let outcome = self.attempt(run, history, began, deadline).instrument(span).await;
        let failed = match &outcome {
            Ok(Outcome::Ended { run, just_now: true }) => run.status == Status::Failed,
            Ok(Outcome::Retry { .. }) | Err(_) => true,
            Ok(_) => false,
        };
        self.monitor.note(&Seen::Attempt { workflow, took: self.since(began), failed });
        match &outcome {
            Ok(Outcome::Ended { run, just_now: true }) => self.monitor.note(&Seen::Ended(run)),
            Ok(Outcome::Resting(run)) if run.status == Status::Attention => self.monitor.note(&Seen::Ended(run)),
            _ => {}
        }
        outcome
    }

    /// What the run's attempts have taken, with this one that now ends: the closing is one round trip more.
    fn footprint(&self, run: &Run, began: Timestamp) -> Footprint {
        let taken = self.monitor.taken();
        run.footprint.and(Footprint {
            store_calls: taken.store_calls + u64::from(taken.store_calls > 0),
            working_ms: u64::try_from(self.since(began).as_millis()).unwrap_or(u64::MAX),
            peak_memory_bytes: taken.peak_memory_bytes,
        })
    }

    fn since(&self, began: Timestamp) -> Duration {
        Duration::try_from(self.ports.clock.now().duration_since(began)).unwrap_or_default()
    }

    async fn attempt(
        &self,
        run: Run,
        mut history: History,
        began: Timestamp,
        deadline: Deadline,
    ) -> Result<Outcome, Failure> {
        // A call of the API may be short; what does not fit into the better part of the workflow's own time
        // fits nowhere.
        let given = Duration::try_from(deadline.work.duration_since(began)).unwrap_or_default();
        let is_whole = given >= self.configuration.of(run.workflow).timeout() / 2;
        for _ in 0..MAX_ROUNDS {
            if history.is_cancelled() {
                return self.conclude(run, Err(Stop::Cancelled), Round::default(), began).await;
            }
            let (mut result, round) = self.round(&run, std::mem::take(&mut history), deadline).await;
            if result == Err(Stop::Superseded) {
                history = self.history(run.id).await?;
                continue;
            }
            if result == Err(Stop::HandOver) && is_whole && !round.progressed {
                let failure = Failure::new(Kind::Timeout, "a step does not fit into one invocation");
                result = Err(failure.into());
            }
            return self.conclude(run, result, round, began).await;
        }
        let failure = Failure::new(Kind::JournalMismatch, "the run's results change each time they are computed");
        self.conclude(run, Err(failure.into()), Round::default(), began).await
    }

    /// Lets the workflow run until it ends or stops, and everything it recorded be durable.
    async fn round(&self, run: &Run, history: History, deadline: Deadline) -> (Result<Value, Stop>, Round) {
        let Some(workflow) = self.workflows.get(&run.workflow) else {
            let failure = Failure::new(Kind::Unknown, format!("`{}` is not worked on here", run.workflow));
            return (Err(failure.into()), Round::default());
        };
        let definition = match self.definitions.version(run.workflow, run.definition_version).await {
            Ok(definition) => definition,
            Err(failure) => return (Err(failure.into()), Round::default()),
        };
        let attempt = Attempt::new(run.clone(), definition, history, &self.ports, Arc::clone(&self.monitor), deadline);
        let mut context = Context::root(Arc::clone(&attempt));
        let story = async {
            let result = AssertUnwindSafe(workflow.execute(&mut context)).catch_unwind().await;
            let result =
                result.unwrap_or_else(|_| Err(Failure::new(Kind::Unknown, "the workflow's code panicked").into()));
            // What was recorded counts even when the attempt stopped: the next one need not do it again.
            match result {
                Ok(value) => attempt.log().finish().await.map(|last_entries| (value, last_entries)),
                Err(stop) => {
                    // A store that fails is no news beside a failure of the workflow itself.
                    match (stop, attempt.log().flush().await) {
                        (stop @ Stop::Failed(_), Err(Stop::Failed(_))) => Err(stop),
                        (_, Err(stop)) | (stop, Ok(())) => Err(stop),
                    }
                }
            }
        };
        let owner = owner_of(run).unwrap_or_default();
        let ended = tokio::select! {
            biased;
            ended = story => ended,
            never = attempt.log().write() => match never {},
            never = self.keep_lease(run.id, &owner, &attempt) => match never {},
        };
        let mut round = Round {
            usage: Some(attempt.usage()),
            in_vain: Some(attempt.asked_in_vain()),
            progressed: attempt.has_progressed(),
            met_others: attempt.log().has_met_others(),
            awaits_callback_from: attempt.awaits_callback().then(|| attempt.log().unseen_from()),
            last_entries: Vec::new(),
            attempt: Some(attempt),
        };
        let result = ended.map(|(value, last_entries)| {
            round.last_entries = last_entries;
            value
        });
        (result, round)
    }

    /// Ends a run that came to a result, while the outcome of its last effect is still on its way into the journal:
    /// should the run not be closed, it stands there.
    async fn succeed(&self, run: Run, closing: Closing, attempt: Option<Arc<Attempt>>) -> Result<Outcome, Failure> {
        let Some(attempt) = attempt else { return self.end(run, closing).await };
        let ended = async { futures::join!(self.end(run, closing), attempt.log().flush()).0 };
        tokio::select! {
            biased;
            ended = ended => ended,
            never = attempt.log().write() => match never {},
        }
    }

    /// Renews the lease as long as the attempt lasts; once it is lost, the attempt stops at its next step, and once
    /// the run has ended, at once.
    async fn keep_lease(&self, id: RunId, owner: &str, attempt: &Attempt) -> std::convert::Infallible {
        loop {
            self.ports.clock.sleep(self.lease / 3).await;
            let lease = Lease { owner: owner.to_owned(), until: self.lease_end() };
            match self.ports.journal.renew(id, &lease, self.ports.clock.now()).await {
                Ok(Renewed::Held) => {}
                Ok(Renewed::Lost { status: Some(Status::Cancelled) }) => attempt.log().fail(Stop::Cancelled),
                Ok(Renewed::Lost { .. }) => attempt.lose_lease(),
                // The lease may still hold; if not, the next renewal finds out.
                Err(failure) => tracing::warn!(error.kind = %failure.kind, "the lease could not be renewed"),
            }
        }
    }

    async fn conclude(
        &self,
        run: Run,
        result: Result<Value, Stop>,
        round: Round,
        began: Timestamp,
    ) -> Result<Outcome, Failure> {
        let footprint = Some(self.footprint(&run, began));
        // Every error that is kept with the run also tells what was asked in vain before it.
        let in_vain = round.in_vain.or_else(|| run.error.as_ref().map(Failure::usage)).unwrap_or_default();
        let stop = match result {
            Ok(value) => {
                // An attempt that has settled all its effects may end the run whoever holds it by now, and even
                // one that another, finding its intent, has put up for attention.
                let from = [Status::Running, Status::Queued, Status::Waiting, Status::Attention];
                let mut closing = Closing::new(run.workflow, from, Status::Succeeded);
                (closing.result, closing.usage) = (Some(value), round.usage);
                (closing.last_entries, closing.footprint) = (round.last_entries, footprint);
                return self.succeed(run, closing, round.attempt).await;
            }
            Err(stop) => stop,
        };
        let mut closing = Closing::new(run.workflow, [Status::Running], Status::Queued);
        (closing.owner, closing.usage, closing.footprint) = (owner_of(&run), round.usage, footprint);
        match stop {
            Stop::Failed(failure) => {
                let failure = failure.having_asked(in_vain);
                closing.counts_as_failed = true;
                closing.error = Some(failure.clone());
                let settings = &self.configuration.of(run.workflow).retry;
                let failed_attempts = run.failed_attempts + 1;
                if !failure.kind.retryable() || failed_attempts >= settings.max_attempts {
                    closing.status = Status::Failed;
                    closing.owes_letter = self.sends_letters;
                    return self.end(run, closing).await;
                }
                let after = backoff(settings, failed_attempts, &failure, self.ports.entropy.random());
                closing.due_at = Some(self.ports.clock.now().saturating_add(after).unwrap_or(Timestamp::MAX));
                self.leave(run, closing, Outcome::Retry { after, failure }).await
            }
            Stop::HandOver => self.leave(run, closing, Outcome::HandedOver).await,
            // The answer may stand before entries of this attempt, which came to its wait without it. In a run that
            // rests it would look like one that was seen.
            Stop::Wait { .. } if round.awaits_callback_from.is_some() && round.met_others => {
                self.leave(run, closing, Outcome::HandedOver).await
            }
            Stop::Wait { until } => {
                closing.status = Status::Waiting;
                closing.due_at = Some(until);
                let outcome = self.end(run, closing).await?;
                self.answered_meanwhile(outcome, round.awaits_callback_from).await
            }
            Stop::OutcomeUnknown { step } => {
                closing.status = Status::Attention;
                closing.error = Some(unknown_outcome(&step).having_asked(in_vain));
                let outcome = self.end(run, closing).await?;
                self.settled_meanwhile(outcome).await
            }
            Stop::Cancelled => {
                let from = [Status::Running, Status::Queued, Status::Waiting, Status::Attention];
                let mut closing = Closing::new(run.workflow, from, Status::Cancelled);
                (closing.error, closing.usage) = (Some(cancelled().having_asked(in_vain)), round.usage);
                closing.footprint = footprint;
                self.end(run, closing).await
            }
            Stop::StandBack | Stop::Superseded => Ok(Outcome::Busy { after: self.lease }),
        }
    }

    /// A delivery event may have settled the effect before the run was put up for attention; then no other
    /// comes, and the run goes on at once.
    async fn settled_meanwhile(&self, outcome: Outcome) -> Result<Outcome, Failure> {
        let Outcome::Resting(run) = &outcome else { return Ok(outcome) };
        if run.status != Status::Attention || has_unsettled(&self.history(run.id).await?) {
            return Ok(outcome);
        }
        self.go_on(Status::Attention, outcome).await
    }

    /// Somebody may have answered before the run was put aside to wait for it; then it goes on at once.
    async fn answered_meanwhile(&self, outcome: Outcome, from: Option<u32>) -> Result<Outcome, Failure> {
        let (Outcome::Resting(run), Some(from)) = (&outcome, from) else { return Ok(outcome) };
        if self.ports.journal.read(run.id, from).await?.is_empty() {
            return Ok(outcome);
        }
        self.go_on(Status::Waiting, outcome).await
    }

    async fn go_on(&self, from: Status, outcome: Outcome) -> Result<Outcome, Failure> {
        let Outcome::Resting(run) = &outcome else { return Ok(outcome) };
        let closing = Closing::new(run.workflow, [from], Status::Queued);
        Ok(match self.ports.journal.close(run.id, &closing, self.ports.clock.now()).await? {
            true => Outcome::HandedOver,
            false => outcome,
        })
    }

    /// Closes the run and answers with it as it then is.
    async fn end(&self, mut run: Run, closing: Closing) -> Result<Outcome, Failure> {
        let now = self.ports.clock.now();
        match self.ports.journal.close(run.id, &closing, now).await {
            Ok(true) => {}
            Ok(false) => return self.as_it_is(run.id).await,
            // A result that cannot be stored (too large, too deep) will not be storable next time either.
            Err(failure) if closing.result.is_some() && !failure.kind.retryable() => {
                let mut failed = Closing::new(run.workflow, closing.from, Status::Failed);
                (failed.error, failed.usage, failed.counts_as_failed) = (Some(failure), closing.usage, true);
                (failed.owes_letter, failed.footprint) = (self.sends_letters, closing.footprint);
                return Box::pin(self.end(run, failed)).await;
            }
            Err(failure) => return Err(failure),
        }
        apply(&mut run, closing, now);
        tracing::info!(
            run.status = %run.status,
            run.failed_attempts = run.failed_attempts,
            run.api_calls = run.usage.api_calls,
            run.cost_microdollars = run.usage.cost_microdollars,
            run.store_calls = run.footprint.store_calls,
            run.working_ms = run.footprint.working_ms,
            error.kind = run.error.as_ref().filter(|_| run.status != Status::Succeeded).map(|error| error.kind.name()),
            "the attempt is over"
        );
        self.definitions.ended(&run).await;
        let run = Box::new(run);
        Ok(if run.status.is_final() { Outcome::Ended { run, just_now: true } } else { Outcome::Resting(run) })
    }

    /// Puts the run back into its queue.
    async fn leave(&self, run: Run, closing: Closing, outcome: Outcome) -> Result<Outcome, Failure> {
        if self.ports.journal.close(run.id, &closing, self.ports.clock.now()).await? {
            return Ok(outcome);
        }
        self.as_it_is(run.id).await
    }

    /// Somebody else closed the run first: theirs stands.
    async fn as_it_is(&self, id: RunId) -> Result<Outcome, Failure> {
        let Some((run, _)) = self.ports.journal.find(id).await? else {
            return Err(Failure::new(Kind::NotFound, "the run is gone"));
        };
        let run = Box::new(run);
        Ok(match run.status {
            status if status.is_final() => Outcome::Ended { run, just_now: false },
            Status::Queued | Status::Running => Outcome::Busy { after: self.lease },
            // What this attempt wrote at its end may be what the run rests for.
            from if self.has_news(&run).await? => return self.go_on(from, Outcome::Resting(run)).await,
            _ => Outcome::Resting(run),
        })
    }
}

/// Whether an entry may have been written by others than the run's attempts: an answer, or what came of an effect.
fn is_told(entry: &&Entry) -> bool {
    is_answer(entry)
        || matches!(entry, Entry::Step(step)
            if step.kind == StepKind::Effect && step.state != StepState::Intended)
}

/// Whether an entry is an answer that somebody outside gave.
fn is_answer(entry: &Entry) -> bool {
    matches!(entry, Entry::Step(step)
        if step.kind == StepKind::Wait && step.state == StepState::Done && step.owner.is_empty())
}

/// Whether an effect was begun of which nobody has said what came of it.
pub(super) fn has_unsettled(history: &History) -> bool {
    history.steps().any(|step| step.state == StepState::Intended)
}

fn unknown_outcome(step: &str) -> Failure {
    let message = format!("`{step}` was begun and nobody knows whether it happened");
    Failure::new(Kind::Unknown, message).in_step(step).with_unknown_outcome()
}

pub(super) fn cancelled() -> Failure {
    Failure::new(Kind::Cancelled, "the run was cancelled")
}

/// A run as it is after a closing.
fn apply(run: &mut Run, closing: Closing, now: Timestamp) {
    run.status = closing.status;
    run.result = closing.result.or(run.result.take());
    run.error = closing.error.or(run.error.take());
    run.failed_attempts += u32::from(closing.counts_as_failed);
    run.usage = closing.usage.unwrap_or(run.usage);
    run.footprint = closing.footprint.unwrap_or(run.footprint);
    run.lease = None;
    run.due_at = closing.due_at;
    run.owes_letter = closing.owes_letter;
    run.updated_at = now;
    run.finished_at = closing.status.is_final().then_some(now);
}
