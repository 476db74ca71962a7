//! What a workflow sees of its run.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet};

use super::stop::Stop;
use crate::{
    domain::{
        Failure, Kind, Run, RunId,
        definition::Definition,
        run::{StepRecord, StepState, Usage},
    },
    ports::{Answer, Clock, Intended, Journal, Recorded},
};

/// Until when an attempt works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// A step that is not done by then is broken off, and the run handed over.
    pub work: Timestamp,
    /// No effect is begun from then on: what remains must suffice to do it and to write down that it was done.
    pub effects: Timestamp,
}

// A mail takes ten seconds at the most, its connection two; the intent and its settling are writes of
// milliseconds. Ten more seconds lie between a consumer's deadline and its end.
const EFFECT_TIME: Duration = Duration::from_secs(10);

impl Deadline {
    /// Work until this moment, and begin effects until ten seconds before it.
    pub fn at(work: Timestamp) -> Self {
        Self { work, effects: work.saturating_sub(EFFECT_TIME).unwrap_or(Timestamp::MIN) }
    }
}

/// How often an outside effect may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// Never twice: an email. A crash between intent and outcome leaves the run in need of attention.
    AtMostOnce,
    /// Again after a crash: the other side deduplicates by the [`EffectKey`].
    AtLeastOnce,
}

/// The stable key of an effect, `<run id>/<position>/<name>`: the same whoever performs it, and whenever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectKey {
    text: String,
    position: String,
}

impl EffectKey {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The position of the effect's entry in the journal.
    pub fn position(&self) -> &str {
        &self.position
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A run in the hands of a workflow.
///
/// Each step and effect takes the next position of the code's order, so the code between them must decide
/// only by the run's input, its definition and what steps returned.
pub struct Context {
    attempt: Arc<Attempt>,
    prefix: String,
    next: AtomicU32,
}

/// What all contexts of one attempt share.
pub(super) struct Attempt {
    run: Run,
    definition: Arc<Definition>,
    journaled: HashMap<String, StepRecord>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    owner: String,
    deadline: Deadline,
    lease_lost: AtomicBool,
    progressed: AtomicBool,
    writes: Mutex<JoinSet<Result<(), Stop>>>,
    flushed: tokio::sync::Mutex<Result<(), Stop>>,
    write_slots: Arc<Semaphore>,
    usage: Mutex<Usage>,
}

// Enough to hide a store's latency behind parallel branches; few enough to bound memory and throttling.
const CONCURRENT_WRITES: usize = 16;
// A result this large is written before the next step runs, so that results waiting to be written stay
// below CONCURRENT_WRITES times this.
const LARGE_RESULT_BYTES: usize = 256 * 1024;

impl Attempt {
    pub(super) fn new(
        run: Run,
        definition: Arc<Definition>,
        steps: Vec<StepRecord>,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        owner: String,
        deadline: Deadline,
    ) -> Arc<Self> {
        Arc::new(Self {
            run,
            definition,
            journaled: steps.into_iter().map(|step| (step.position.clone(), step)).collect(),
            journal,
            clock,
            owner,
            deadline,
            lease_lost: AtomicBool::new(false),
            writes: Mutex::default(),
            flushed: tokio::sync::Mutex::new(Ok(())),
            progressed: AtomicBool::new(false),
            write_slots: Arc::new(Semaphore::new(CONCURRENT_WRITES)),
            usage: Mutex::default(),
        })
    }

    pub(super) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the attempt stop before its next step.
    pub(super) fn lose_lease(&self) {
        self.lease_lost.store(true, Ordering::Relaxed);
    }

    /// Whether this attempt came any further than those before it.
    pub(super) fn has_progressed(&self) -> bool {
        self.progressed.load(Ordering::Relaxed)
    }

    /// Waits until everything that was written in the background is durable. Branches that flush at once wait
    /// for each other; a write that failed fails every flush after it.
    pub(super) async fn flush(&self) -> Result<(), Stop> {
        let mut flushed = self.flushed.lock().await;
        let mut writes = std::mem::take(&mut *self.writes.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(written) = writes.join_next().await {
            let written = written.unwrap_or_else(|error| {
                Err(Failure::new(Kind::Unknown, format!("a write of the journal broke off: {error}")).into())
            });
            if flushed.is_ok() {
                *flushed = written;
            }
        }
        flushed.clone()
    }

    fn record_in_background(&self, step: StepRecord) {
        self.progressed.store(true, Ordering::Relaxed);
        let (journal, slots, id) = (Arc::clone(&self.journal), Arc::clone(&self.write_slots), self.run.id);
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.spawn(async move {
            let _slot = slots.acquire_owned().await;
            match journal.record(id, &step).await? {
                Recorded::Written => Ok(()),
                Recorded::Existing(theirs) if theirs.output == step.output && theirs.name == step.name => Ok(()),
                Recorded::Existing(_) => Err(Stop::Superseded),
            }
        });
    }

    fn add_usage(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) += usage;
    }

    fn time_left(&self) -> Duration {
        Duration::try_from(self.deadline.work.duration_since(self.clock.now())).unwrap_or(Duration::ZERO)
    }

    fn milliseconds_since(&self, start: Timestamp) -> u64 {
        u64::try_from(self.clock.now().duration_since(start).as_millis()).unwrap_or(0)
    }
}

impl Context {
    pub(super) fn root(attempt: Arc<Attempt>) -> Self {
        Self { attempt, prefix: String::new(), next: AtomicU32::new(0) }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.attempt.run.id
    }

    /// The run as it was when this attempt began.
    pub fn run(&self) -> &Run {
        &self.attempt.run
    }

    /// The definition version that the run is pinned to.
    pub fn definition(&self) -> &Definition {
        &self.attempt.definition
    }

    /// The run's input.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the input is not of the type asked for: it was written
    /// by other code than this.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Stop> {
        serde_path_to_error::deserialize(&self.attempt.run.input).map_err(|error| {
            Failure::validation(format!("the run's input, at `{}`: {}", error.path(), error.inner())).into()
        })
    }

    /// What the assistant was asked so far, steps of earlier attempts included.
    pub fn usage(&self) -> Usage {
        self.attempt.usage()
    }

    /// Does something once per run and remembers its result. It may be repeated when a crash comes before the
    /// result is durable, so it must have no outside effect; [`effect`](Self::effect) is for those.
    ///
    /// # Errors
    /// This returns an error when the work fails, the journal holds another step at this position, the lease
    /// is lost, or the time is up (the work is then broken off and done again by the next invocation).
    pub async fn step<T, F>(&self, name: &str, work: impl FnOnce() -> F) -> Result<T, Stop>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        self.ask(name, || async { Ok(Answer { value: work().await?, usage: Usage::default() }) }).await
    }

    /// A [`step`](Self::step) that asks the assistant, and counts what that took.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn ask<T, F>(&self, name: &str, work: impl FnOnce() -> F) -> Result<T, Stop>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<Answer<T>, Failure>>,
    {
        let position = self.next_position();
        if let Some(record) = self.journaled(&position, name)? {
            return match record.state {
                StepState::Done => self.replay(record),
                StepState::Intended | StepState::Released => Err(mismatch(record, name, "a step")),
            };
        }
        self.ready()?;
        let started_at = self.attempt.clock.now();
        let answer = tokio::select! {
            biased;
            answer = work() => answer.map_err(|failure| failure.in_step(name))?,
            () = self.attempt.clock.sleep(self.attempt.time_left()) => return Err(Stop::HandOver),
        };
        let record = self.done(position, name, started_at, &answer.value, answer.usage)?;
        self.attempt.add_usage(answer.usage);
        self.write(record).await?;
        Ok(answer.value)
    }

    /// Does something to the world outside.
    ///
    /// Everything before it is durable when it happens. An effect is never broken off by the deadline.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Stop::OutcomeUnknown`] when an at-most-once effect may have happened.
    pub async fn effect<T, F>(
        &self,
        name: &str,
        semantics: Semantics,
        work: impl FnOnce(EffectKey) -> F,
    ) -> Result<T, Stop>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        let position = self.next_position();
        let earlier = self.journaled(&position, name)?;
        match earlier.map(|record| record.state) {
            Some(StepState::Done) => return self.replay(earlier.expect("it was just looked at")),
            // The attempt that intended it is gone: nobody knows whether it got as far as doing it.
            Some(StepState::Intended) => return Err(Stop::OutcomeUnknown { step: name.to_owned() }),
            Some(StepState::Released) | None => {}
        }
        self.ready()?;
        self.attempt.flush().await?;
        // What is begun here must also be settled here, or nobody knows whether it happened.
        if self.attempt.clock.now() >= self.attempt.deadline.effects {
            return Err(Stop::HandOver);
        }
        let key = EffectKey { text: format!("{}/{position}/{name}", self.id()), position: position.clone() };
        let started_at = self.attempt.clock.now();
        if semantics == Semantics::AtLeastOnce {
            // No intent: it would not make the effect happen less often, its key does that.
            let value = work(key).await.map_err(|failure| failure.in_step(name))?;
            let record = self.done(position, name, started_at, &value, Usage::default())?;
            self.write(record).await?;
            return Ok(value);
        }

        let intent = self.entry(position.clone(), name, StepState::Intended, started_at, Value::Null, Usage::default());
        match self.attempt.journal.intend(self.id(), &intent).await? {
            Intended::Ours => {}
            Intended::Existing(record) if record.name != name => return Err(mismatch(&record, name, "an effect")),
            Intended::Existing(record) if record.state == StepState::Done => return self.replay(&record),
            // It was not there when this attempt began, so its writer is at work right now.
            Intended::Existing(_) => return Err(Stop::StandBack),
        }
        match work(key).await {
            Ok(value) => {
                let record = self.done(position, name, started_at, &value, Usage::default())?;
                self.attempt.journal.settle(self.id(), &record).await?;
                Ok(value)
            }
            Err(failure) if failure.maybe_applied => Err(Stop::OutcomeUnknown { step: name.to_owned() }),
            Err(failure) => {
                let released =
                    self.entry(position, name, StepState::Released, started_at, Value::Null, Usage::default());
                self.attempt.journal.settle(self.id(), &released).await?;
                Err(failure.in_step(name).into())
            }
        }
    }

    /// A place in the order for work in parallel: each branch has a context, and an order, of its own.
    pub fn branches(&self) -> Branches {
        Branches { attempt: Arc::clone(&self.attempt), prefix: self.next_position() }
    }

    /// Does the same for each item, at most `limit` at a time; the results keep the items' order.
    ///
    /// When one stops, no other is begun; those under way end first, so that no effect is broken off.
    ///
    /// # Errors
    /// This returns the first error of a branch.
    pub async fn map<I, T, F>(
        &self,
        items: impl IntoIterator<Item = I>,
        limit: usize,
        work: impl Fn(Context, I) -> F,
    ) -> Result<Vec<T>, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let branches = self.branches();
        let mut waiting = items.into_iter().enumerate();
        let mut under_way = FuturesUnordered::new();
        let mut results: Vec<(usize, T)> = Vec::new();
        let mut first_stop = None;
        loop {
            while first_stop.is_none() && under_way.len() < limit.max(1) {
                let Some((index, item)) = waiting.next() else { break };
                let branch = work(branches.branch(index), item);
                under_way.push(async move { (index, branch.await) });
            }
            match under_way.next().await {
                Some((index, Ok(value))) => results.push((index, value)),
                Some((_, Err(stop))) => {
                    first_stop.get_or_insert(stop);
                }
                None => break,
            }
        }
        if let Some(stop) = first_stop {
            return Err(stop);
        }
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, value)| value).collect())
    }

    fn next_position(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.prefix.is_empty() { format!("{number:05}") } else { format!("{}.{number:05}", self.prefix) }
    }

    fn journaled(&self, position: &str, name: &str) -> Result<Option<&StepRecord>, Stop> {
        match self.attempt.journaled.get(position) {
            Some(record) if record.name != name => Err(mismatch(record, name, "a step")),
            found => Ok(found),
        }
    }

    fn replay<T: DeserializeOwned>(&self, record: &StepRecord) -> Result<T, Stop> {
        self.attempt.add_usage(record.usage);
        serde_path_to_error::deserialize(&record.output).map_err(|error| {
            Failure::new(
                Kind::JournalMismatch,
                format!("the journaled result of `{}`, at `{}`: {}", record.name, error.path(), error.inner()),
            )
            .into()
        })
    }

    fn ready(&self) -> Result<(), Stop> {
        if self.attempt.lease_lost.load(Ordering::Relaxed) {
            return Err(Stop::StandBack);
        }
        if self.attempt.time_left() == Duration::ZERO {
            return Err(Stop::HandOver);
        }
        Ok(())
    }

    async fn write(&self, record: StepRecord) -> Result<(), Stop> {
        let large = is_large(&record.output, &mut { LARGE_RESULT_BYTES });
        self.attempt.record_in_background(record);
        if large {
            return self.attempt.flush().await;
        }
        // A step without a wait of its own would keep the writes, the lease and its neighbours waiting.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn done<T: Serialize>(
        &self,
        position: String,
        name: &str,
        started_at: Timestamp,
        value: &T,
        usage: Usage,
    ) -> Result<StepRecord, Stop> {
        let output = serde_json::to_value(value)
            .map_err(|error| Failure::validation(format!("the result of `{name}` is not JSON: {error}")))?;
        Ok(self.entry(position, name, StepState::Done, started_at, output, usage))
    }

    fn entry(
        &self,
        position: String,
        name: &str,
        state: StepState,
        started_at: Timestamp,
        output: Value,
        usage: Usage,
    ) -> StepRecord {
        StepRecord {
            position,
            name: name.to_owned(),
            state,
            output,
            owner: self.attempt.owner.clone(),
            started_at,
            duration_ms: self.attempt.milliseconds_since(started_at),
            usage,
        }
    }
}

/// Branches of work in parallel at one place of the order.
pub struct Branches {
    attempt: Arc<Attempt>,
    prefix: String,
}

impl Branches {
    /// The context of one branch; the same index must always stand for the same work.
    pub fn branch(&self, index: usize) -> Context {
        Context {
            attempt: Arc::clone(&self.attempt),
            prefix: format!("{}.{index:05}", self.prefix),
            next: AtomicU32::new(0),
        }
    }
}

/// Whether a value's texts exceed what is left of an allowance. Texts are what makes results large.
fn is_large(value: &Value, left: &mut usize) -> bool {
    match value {
        Value::String(text) => match left.checked_sub(text.len()) {
            Some(rest) => {
                *left = rest;
                false
            }
            None => true,
        },
        Value::Array(items) => items.iter().any(|item| is_large(item, left)),
        Value::Object(fields) => fields.values().any(|field| is_large(field, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn mismatch(record: &StepRecord, name: &str, what: &str) -> Stop {
    Failure::new(
        Kind::JournalMismatch,
        format!(
            "at position {} the journal has `{}` and the code has {what} named `{name}`: the run was begun by other code",
            record.position, record.name
        ),
    )
    .into()
}
