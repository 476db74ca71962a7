//! What a workflow sees of its run.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracing::Instrument as _;

use super::{
    log::{Log, Weight},
    retry::backoff,
    stop::{Stop, Stops},
    wait::{Callback, Decision, LONGEST_WAIT, Reply, Wait},
    worker::WorkerPorts,
};
use crate::{
    domain::{
        Failure, Kind, Run, RunId,
        configuration::RetrySettings,
        definition::Definition,
        run::{History, StepKind, StepRecord, StepState, Usage},
    },
    ports::{Answer, Asking, Clock, Entropy, Monitor, Seen},
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
    run: RunId,
    position: String,
}

impl EffectKey {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The run by whose id the key is made: the first of those that repeat each other.
    pub const fn run(&self) -> RunId {
        self.run
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
/// Each step, effect and wait takes the next position of the code's order, so the code between them must decide only
/// by the run's input, its definition and what steps returned. A context is one line of that order: all of its
/// methods that take a position borrow it exclusively, so a step inside a step, or two at once whose order nobody
/// declared, do not compile.
///
/// ```compile_fail
/// # use ihelper_workflow::{domain::Failure, engine::{Context, Semantics, Stop}};
/// async fn an_effect_inside_a_step(run: &mut Context) -> Result<(), Stop> {
///     run.step("outer", || async {
///         run.effect("inner", Semantics::AtLeastOnce, |_key| async { Ok::<(), Failure>(()) }).await;
///         Ok(())
///     })
///     .await
/// }
/// ```
///
/// ```compile_fail
/// # use ihelper_workflow::{domain::Failure, engine::{Context, Stop}};
/// async fn two_steps_at_once(run: &mut Context) {
///     let first = run.step("first", || async { Ok::<_, Failure>(1) });
///     let second = run.step("second", || async { Ok::<_, Failure>(2) });
///     futures::join!(first, second);
/// }
/// ```
///
/// For work side by side there are [`map`](Self::map), [`join`](Self::join) and [`branches`](Self::branches), which
/// give each branch a context, and an order, of its own:
///
/// ```
/// # use ihelper_workflow::{domain::Failure, engine::{Context, Stop}};
/// async fn two_branches(run: &mut Context) -> Result<i32, Stop> {
///     let (first, second) = run
///         .join(
///             |mut branch| async move { branch.step("first", || async { Ok::<_, Failure>(1) }).await },
///             |mut branch| async move { branch.step("second", || async { Ok::<_, Failure>(2) }).await },
///         )
///         .await?;
///     Ok(first + second)
/// }
/// ```
pub struct Context {
    attempt: Arc<Attempt>,
    prefix: String,
    next: u32,
    names: HashSet<String>,
    /// How long the work of a step, or of an effect that may be repeated, takes at the most.
    time_limit: Option<Duration>,
}

/// How often something is tried within a run, and what its failure does.
#[derive(Clone, Debug)]
pub struct Tries {
    /// How often, and how long the waits between two tries are.
    pub retry: RetrySettings,
    /// How long one try's step or repeatable effect takes at the most.
    pub time_limit: Option<Duration>,
    /// Whether the workflow goes on when the last try fails. Otherwise that failure is the run's, whose own attempts
    /// go on with the last try.
    pub is_optional: bool,
}

/// How a try came out, where that decides how the run goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tried {
    /// It failed; the next one may begin then.
    Again { failure: Failure, from: Timestamp },
    /// It was the last one, and the run goes on without its result.
    Failed { failure: Failure },
    /// Its result stands, so that no other attempt finds that it failed.
    Succeeded,
}

/// What all contexts of one attempt share.
pub(super) struct Attempt {
    run: Run,
    definition: Arc<Definition>,
    history: History,
    log: Log,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    monitor: Arc<dyn Monitor>,
    deadline: Deadline,
    lease_lost: AtomicBool,
    progressed: AtomicBool,
    awaits_callback: AtomicBool,
    usage: Mutex<Usage>,
    in_vain: Mutex<Usage>,
}

impl Attempt {
    pub(super) fn new(
        run: Run,
        definition: Arc<Definition>,
        history: History,
        ports: &WorkerPorts,
        monitor: Arc<dyn Monitor>,
        deadline: Deadline,
    ) -> Arc<Self> {
        let WorkerPorts { journal, clock, entropy } = ports.clone();
        let log = Log::new(journal, Arc::clone(&clock), run.id, history.next_segment());
        // What has a result is counted again when its place in the code is reached.
        let asked_in_vain = run.error.as_ref().map(Failure::usage).unwrap_or_default();
        Arc::new(Self {
            run,
            definition,
            history,
            log,
            clock,
            entropy,
            monitor,
            deadline,
            lease_lost: AtomicBool::new(false),
            progressed: AtomicBool::new(false),
            awaits_callback: AtomicBool::new(false),
            usage: Mutex::new(asked_in_vain),
            in_vain: Mutex::new(asked_in_vain),
        })
    }

    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked without a result, in this attempt and in those before it.
    pub(super) fn asked_in_vain(&self) -> Usage {
        *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the attempt stop before its next step.
    pub(super) fn lose_lease(&self) {
        self.lease_lost.store(true, Ordering::Relaxed);
    }

    /// Whether this attempt came any further than those before it.
    pub(super) fn has_progressed(&self) -> bool {
        self.progressed.load(Ordering::Relaxed)
    }

    /// Whether the workflow waits for somebody who may have answered meanwhile.
    pub(super) fn awaits_callback(&self) -> bool {
        self.awaits_callback.load(Ordering::Relaxed)
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

    /// The work of a step or an effect, under a span and told to the monitor.
    async fn watched<T>(&self, place: &Place, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let began = self.clock.now();
        let span = tracing::debug_span!("step", otel.name = place.name, step.position = place.position);
        let result = work.instrument(span).await;
        self.monitor.note(&Seen::Step {
            workflow: self.run.workflow,
            name: &place.name,
            kind: place.kind,
            took: Duration::try_from(self.clock.now().duration_since(began)).unwrap_or_default(),
            failed: result.is_err(),
        });
        result
    }

    async fn record(&self, step: StepRecord, weight: Weight) -> Result<(), Stop> {
        self.progressed.store(true, Ordering::Relaxed);
        self.log.record(step, weight, weight == Weight::Outcome).await?;
        if weight != Weight::Outcome {
            // A step without a wait of its own would keep the writes, the lease and its neighbours waiting. What came
            // of an intent goes out when the workflow next waits, or beside the closing that follows it at once.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl Context {
    pub(super) fn root(attempt: Arc<Attempt>) -> Self {
        Self::at(attempt, String::new())
    }

    fn at(attempt: Arc<Attempt>, prefix: String) -> Self {
        Self { attempt, prefix, next: 0, names: HashSet::new(), time_limit: None }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.attempt.run.id
    }

    /// The first of the runs that repeat each other: this one, unless it is a retry.
    pub fn line(&self) -> RunId {
        self.attempt.run.first_of_line()
    }

    /// The run as it was when this attempt began.
    pub fn run(&self) -> &Run {
        &self.attempt.run
    }

    /// The definition version that the run is pinned to.
    pub fn definition(&self) -> Arc<Definition> {
        Arc::clone(&self.attempt.definition)
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
    /// This returns an error when the work fails, another step of this context has the name, the journal holds
    /// something else at this position, the lease is lost, the run is cancelled, or the time is up (the work is then
    /// broken off and done again by the next invocation).
    pub async fn step<T, F>(&mut self, name: &str, work: impl FnOnce() -> F) -> Result<T, Stop>
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
    pub async fn ask<T, F>(&mut self, name: &str, work: impl FnOnce() -> F) -> Result<T, Stop>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<Answer<T>, Failure>>,
    {
        let place = self.next_place(name, StepKind::Step)?;
        if let Some(record) = self.journaled(&place)? {
            return match record.state {
                StepState::Done => self.replay(&record),
                StepState::Intended | StepState::Released | StepState::Waiting => Err(place.mismatch(&record)),
            };
        }
        self.ready()?;
        let started_at = self.attempt.clock.now();
        let run = &self.attempt.run;
        let asking = Asking { run: run.id, workflow: run.workflow, caller: run.origin.caller.clone() };
        let answer = tokio::select! {
            biased;
            answer = asking.scope(self.attempt.watched(&place, self.in_time(work()))) => match answer {
                Ok(answer) => answer,
                Err(failure) => {
                    self.attempt.add_usage(failure.usage());
                    *self.attempt.in_vain.lock().unwrap_or_else(PoisonError::into_inner) += failure.usage();
                    return Err(failure.in_step(name).into());
                }
            },
            stop = self.attempt.log.failed() => return Err(stop),
            () = self.attempt.clock.sleep(self.attempt.time_left()) => return Err(Stop::HandOver),
        };
        let record = self.done(place, started_at, &answer.value, answer.usage)?;
        self.attempt.add_usage(answer.usage);
        self.attempt.record(record, Weight::Ordinary).await?;
        Ok(answer.value)
    }

    /// Does something to the world outside.
    ///
    /// Everything before it is durable when it happens. An effect is never broken off by the deadline.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Stop::OutcomeUnknown`] when an at-most-once effect may have happened.
    pub async fn effect<T, F>(
        &mut self,
        name: &str,
        semantics: Semantics,
        work: impl FnOnce(EffectKey) -> F,
    ) -> Result<T, Stop>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        let place = self.next_place(name, StepKind::Effect)?;
        if let Some(record) = self.journaled(&place)? {
            match record.state {
                StepState::Done => return self.replay(&record),
                // It was not there when this attempt began, so its writer is at work right now.
                StepState::Intended if self.attempt.log.standing_of_others(&place.position).is_some() => {
                    return Err(Stop::StandBack);
                }
                // The attempt that intended it is gone: nobody knows whether it got as far as doing it.
                StepState::Intended => return Err(Stop::OutcomeUnknown { step: name.to_owned() }),
                StepState::Released => {}
                StepState::Waiting => return Err(place.mismatch(&record)),
            }
        }
        self.ready()?;
        let key = self.key(&place);
        match semantics {
            Semantics::AtLeastOnce => self.repeatable(place, work(key)).await,
            Semantics::AtMostOnce => self.once(place, || work(key)).await,
        }
    }

    /// No intent: it would not make the effect happen less often, its key does that.
    async fn repeatable<T: Serialize>(
        &self,
        place: Place,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Stop> {
        self.attempt.log.flush().await?;
        self.time_for_an_effect()?;
        let started_at = self.attempt.clock.now();
        let done = self.attempt.watched(&place, self.in_time(work)).await;
        let value = done.map_err(|failure| failure.in_step(&place.name))?;
        let record = self.done(place, started_at, &value, Usage::default())?;
        self.attempt.record(record, Weight::Happened).await?;
        Ok(value)
    }

    async fn once<T: Serialize, F>(&self, place: Place, work: impl FnOnce() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.time_for_an_effect()?;
        let started_at = self.attempt.clock.now();
        let entry = |state| self.entry(place.clone(), state, started_at, Value::Null, Usage::default());
        // The intent is appended with what was waiting, all or nothing: once it stands, so does all before it.
        self.attempt.record(entry(StepState::Intended), Weight::Ordinary).await?;
        self.attempt.log.flush().await?;
        // What is begun here must also be settled here, or nobody knows whether it happened.
        if let Err(stop) = self.time_for_an_effect() {
            self.attempt.record(entry(StepState::Released), Weight::Outcome).await?;
            return Err(stop);
        }
        match self.attempt.watched(&place, work()).await {
            Ok(value) => {
                let record = self.done(place, started_at, &value, Usage::default())?;
                self.attempt.record(record, Weight::Outcome).await?;
                Ok(value)
            }
            Err(failure) if failure.maybe_applied => Err(Stop::OutcomeUnknown { step: place.name }),
            Err(failure) => {
                let name = place.name.clone();
                self.attempt.record(entry(StepState::Released), Weight::Outcome).await?;
                Err(failure.in_step(&name).into())
            }
        }
    }

    /// Tries something until it succeeds, at most so often; between two tries the run is put aside.
    ///
    /// Every try has the same place in the order: what one of them got into the journal stands for the next, and an
    /// effect has the same key in all of them. An at-most-once effect is tried again only when it certainly did not
    /// happen, since otherwise the run needs attention. `work` is called with a context of its own, on which nothing
    /// but the same steps may be done each time.
    ///
    /// # Errors
    /// As [`step`](Self::step); the inner result is the last failure, where that is not the run's.
    pub async fn attempt<T, F>(
        &mut self,
        name: &str,
        tries: &Tries,
        work: impl Fn(Self) -> F,
    ) -> Result<Result<T, Failure>, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let branches = self.branches();
        let mut number = 0;
        loop {
            number += 1;
            let place = self.next_place(&format!("{name}.try_{number}"), StepKind::Step)?;
            let tried = self.journaled(&place)?.map(|record| self.replay(&record)).transpose()?;
            let stands = match tried {
                Some(Tried::Again { from, .. }) if self.attempt.clock.now() < from => {
                    return Err(Stop::Wait { until: from });
                }
                Some(Tried::Again { .. }) => continue,
                Some(Tried::Failed { failure }) => return Ok(Err(failure)),
                Some(Tried::Succeeded) => true,
                None => false,
            };
            let context = Self { time_limit: tries.time_limit, ..branches.branch(0) };
            let failure = match work(context).await {
                Ok(value) => {
                    if tries.is_optional && !stands {
                        self.note_try(place, &Tried::Succeeded).await?;
                    }
                    return Ok(Ok(value));
                }
                Err(Stop::Failed(failure)) => failure,
                Err(stop) => return Err(stop),
            };
            // What fails the engine is no failure of the work.
            if let Some(stop) = self.attempt.log.failure() {
                return Err(stop);
            }
            if stands || matches!(failure.kind, Kind::JournalMismatch | Kind::Cancelled) {
                return Err(failure.into());
            }
            if failure.kind.retryable() && number < tries.retry.max_attempts {
                let wait = backoff(&tries.retry, number, &failure, self.attempt.entropy.random());
                let from = self.attempt.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
                self.note_try(place, &Tried::Again { failure, from }).await?;
                // Even when the wait is over: the next try has to see what this one got into the journal.
                return Err(Stop::Wait { until: from });
            }
            if !tries.is_optional {
                return Err(failure.into());
            }
            self.note_try(place, &Tried::Failed { failure: failure.clone() }).await?;
            return Ok(Err(failure));
        }
    }

    async fn note_try(&self, place: Place, tried: &Tried) -> Result<(), Stop> {
        let record = self.done(place, self.attempt.clock.now(), tried, Usage::default())?;
        self.attempt.record(record, Weight::Ordinary).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Some(limit) = self.time_limit else { return work.await };
        tokio::select! {
            biased;
            result = work => result,
            () = self.attempt.clock.sleep(limit) => {
                Err(Failure::new(Kind::Timeout, format!("took longer than {} s", limit.as_secs())))
            }
        }
    }

    /// Waits without holding compute: the run is put aside and comes back when the time is over, to the second.
    ///
    /// # Errors
    /// As [`step`](Self::step), [`Stop::Wait`] until the time is over, and an error of kind `Validation` when it is
    /// longer than [`LONGEST_WAIT`].
    pub async fn sleep(&mut self, name: &str, duration: Duration) -> Result<(), Stop> {
        let place = self.next_place(name, StepKind::Wait)?;
        let wait = match self.journaled(&place)? {
            Some(record) if record.state == StepState::Done => return Ok(()),
            Some(record) if record.state == StepState::Waiting => place.wait(&record)?,
            Some(record) => return Err(place.mismatch(&record)),
            None => {
                self.ready()?;
                let wait = Wait { until: self.after(&place, duration)?, token: None, asks: Value::Null, reply: None };
                self.note(&place, StepState::Waiting, &wait).await?;
                wait
            }
        };
        if self.attempt.clock.now() < wait.until {
            return Err(Stop::Wait { until: wait.until });
        }
        self.note(&place, StepState::Done, &wait).await
    }

    /// Opens a callback: from here on, whoever has its token can answer, once, until the deadline.
    ///
    /// `asks` is what the answerer is shown. Tell the token to whom it concerns (by an
    /// [`effect`](Self::effect)), then [`wait_for_callback`](Self::wait_for_callback).
    ///
    /// # Errors
    /// As [`sleep`](Self::sleep); it does not wait.
    pub async fn callback(
        &mut self,
        name: &str,
        within: Duration,
        asks: &(impl Serialize + Sync),
    ) -> Result<Callback, Stop> {
        let place = self.next_place(name, StepKind::Wait)?;
        let wait = match self.journaled(&place)? {
            Some(record) if matches!(record.state, StepState::Waiting | StepState::Done) => place.wait(&record)?,
            Some(record) => return Err(place.mismatch(&record)),
            None => {
                self.ready()?;
                let asks = serde_json::to_value(asks)
                    .map_err(|error| Failure::validation(format!("what `{name}` asks is not JSON: {error}")))?;
                let token = format!("{:032x}", self.attempt.entropy.random());
                let until = self.after(&place, within)?;
                let wait = Wait { until, token: Some(token), asks, reply: None };
                self.note(&place, StepState::Waiting, &wait).await?;
                wait
            }
        };
        Ok(Callback { name: place.name, position: place.position, wait })
    }

    /// Waits for the answer to a callback without holding compute; `None` when the deadline passed without one.
    /// However often it is asked for, the answer is the same.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Stop::Wait`] until there is an answer or the deadline passes.
    pub async fn wait_for_callback(&mut self, callback: &Callback) -> Result<Option<Reply>, Stop> {
        let place = Place { position: callback.position.clone(), name: callback.name.clone(), kind: StepKind::Wait };
        // The answer may have been met since the callback was opened.
        let mut wait = match self.attempt.log.standing_of_others(&place.position) {
            Some(record) => place.wait(&record)?,
            None => callback.wait.clone(),
        };
        if let Some(reply) = wait.reply {
            return Ok(reply.in_time());
        }
        self.ready()?;
        let now = self.attempt.clock.now();
        if now < wait.until {
            self.attempt.awaits_callback.store(true, Ordering::Relaxed);
            return Err(Stop::Wait { until: wait.until });
        }
        // Journaled like an answer: should one come at this very moment, the first of the two stands.
        wait.reply = Some(Reply { decision: Decision::Expired, data: Value::Null, by: String::new(), at: now });
        let place = Place { position: callback.position.clone(), name: callback.name.clone(), kind: StepKind::Wait };
        self.note(&place, StepState::Done, &wait).await?;
        Ok(None)
    }

    /// A place in the order for work in parallel: each branch has a context, and an order, of its own.
    pub fn branches(&mut self) -> Branches {
        Branches { attempt: Arc::clone(&self.attempt), prefix: self.next_position() }
    }

    /// Does the same for each item, at most `limit` at a time; the results keep the items' order.
    ///
    /// When one fails, no other is begun; those under way end first, so that no effect is broken off. While one
    /// waits, the others go on.
    ///
    /// # Errors
    /// This returns, of the errors of the branches, the one that matters most.
    pub async fn map<I, T, F>(
        &mut self,
        items: impl IntoIterator<Item = I>,
        limit: usize,
        work: impl Fn(Self, I) -> F,
    ) -> Result<Vec<T>, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let branches = self.branches();
        let mut waiting = items.into_iter().enumerate();
        let mut under_way = FuturesUnordered::new();
        let mut results: Vec<(usize, T)> = Vec::new();
        let mut stops = Stops::default();
        loop {
            while stops.let_others_begin() && under_way.len() < limit.max(1) {
                let Some((index, item)) = waiting.next() else { break };
                let branch = work(branches.branch(index), item);
                under_way.push(async move { (index, branch.await) });
            }
            match under_way.next().await {
                Some((index, Ok(value))) => results.push((index, value)),
                Some((_, Err(stop))) => stops.add(stop),
                None => break,
            }
        }
        results.sort_by_key(|(index, _)| *index);
        stops.or(results.into_iter().map(|(_, value)| value).collect())
    }

    /// Does two things side by side. Both end, or stop, before this returns.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub async fn join<A, B, FA, FB>(
        &mut self,
        first: impl FnOnce(Self) -> FA,
        second: impl FnOnce(Self) -> FB,
    ) -> Result<(A, B), Stop>
    where
        FA: Future<Output = Result<A, Stop>>,
        FB: Future<Output = Result<B, Stop>>,
    {
        let branches = self.branches();
        match futures::join!(first(branches.branch(0)), second(branches.branch(1))) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(stop), Ok(_)) | (Ok(_), Err(stop)) => Err(stop),
            (Err(first), Err(second)) => {
                let mut stops = Stops::default();
                stops.add(first);
                stops.add(second);
                Err(stops.or(()).expect_err("it was given two"))
            }
        }
    }

    fn next_position(&mut self) -> String {
        let number = self.next;
        self.next += 1;
        if self.prefix.is_empty() { format!("{number:05}") } else { format!("{}.{number:05}", self.prefix) }
    }

    fn next_place(&mut self, name: &str, kind: StepKind) -> Result<Place, Stop> {
        if !self.names.insert(name.to_owned()) {
            let message = format!("the code has two steps named `{name}` in one order: nobody could tell them apart");
            return Err(Failure::validation(message).into());
        }
        Ok(Place { position: self.next_position(), name: name.to_owned(), kind })
    }

    fn key(&self, place: &Place) -> EffectKey {
        let run = &self.attempt.run;
        let keys_of = run.lineage.as_ref().map_or(run.id, |lineage| lineage.keys_of);
        let text = format!("{keys_of}/{}/{}", place.position, place.name);
        EffectKey { text, run: keys_of, position: place.position.clone() }
    }

    /// What the journal has at a place, as far as this attempt knows it.
    fn journaled(&self, place: &Place) -> Result<Option<StepRecord>, Stop> {
        let met = self.attempt.log.standing_of_others(&place.position);
        match met.or_else(|| self.attempt.history.at(&place.position).cloned()) {
            Some(record) if record.name != place.name || record.kind != place.kind => Err(place.mismatch(&record)),
            found => Ok(found),
        }
    }

    fn replay<T: DeserializeOwned>(&self, record: &StepRecord) -> Result<T, Stop> {
        self.attempt.add_usage(record.usage);
        read(record)
    }

    fn ready(&self) -> Result<(), Stop> {
        if let Some(stop) = self.attempt.log.failure() {
            return Err(stop);
        }
        if self.attempt.lease_lost.load(Ordering::Relaxed) {
            return Err(Stop::StandBack);
        }
        if self.attempt.time_left() == Duration::ZERO {
            return Err(Stop::HandOver);
        }
        Ok(())
    }

    fn time_for_an_effect(&self) -> Result<(), Stop> {
        if self.attempt.clock.now() >= self.attempt.deadline.effects { Err(Stop::HandOver) } else { Ok(()) }
    }

    fn after(&self, place: &Place, duration: Duration) -> Result<Timestamp, Stop> {
        if duration > LONGEST_WAIT {
            let days = LONGEST_WAIT.as_secs() / 86_400;
            let failure = Failure::validation(format!("a run waits for {days} days at the most"));
            return Err(failure.in_step(&place.name).into());
        }
        Ok(self.attempt.clock.now().saturating_add(duration).unwrap_or(Timestamp::MAX))
    }

    /// Records how a wait stands.
    async fn note(&self, place: &Place, state: StepState, wait: &Wait) -> Result<(), Stop> {
        let output = serde_json::to_value(wait)
            .map_err(|error| Failure::validation(format!("the wait `{}` is not JSON: {error}", place.name)))?;
        let record = self.entry(place.clone(), state, self.attempt.clock.now(), output, Usage::default());
        self.attempt.record(record, Weight::Ordinary).await
    }

    fn done<T: Serialize>(
        &self,
        place: Place,
        started_at: Timestamp,
        value: &T,
        usage: Usage,
    ) -> Result<StepRecord, Stop> {
        let output = serde_json::to_value(value)
            .map_err(|error| Failure::validation(format!("the result of `{}` is not JSON: {error}", place.name)))?;
        Ok(self.entry(place, StepState::Done, started_at, output, usage))
    }

    fn entry(&self, place: Place, state: StepState, started_at: Timestamp, output: Value, usage: Usage) -> StepRecord {
        StepRecord {
            position: place.position,
            name: place.name,
            kind: place.kind,
            state,
            output,
            owner: self.attempt.run.lease.as_ref().map(|lease| lease.owner.clone()).unwrap_or_default(),
            started_at,
            duration_ms: self.attempt.milliseconds_since(started_at),
            usage,
        }
    }
}

/// What a journaled entry holds, as the type that the code expects.
fn read<T: DeserializeOwned>(record: &StepRecord) -> Result<T, Stop> {
    serde_path_to_error::deserialize(&record.output).map_err(|error| {
        Failure::new(
            Kind::JournalMismatch,
            format!("the journaled result of `{}`, at `{}`: {}", record.name, error.path(), error.inner()),
        )
        .into()
    })
}

/// A place in the order of the code.
#[derive(Clone)]
struct Place {
    position: String,
    name: String,
    kind: StepKind,
}

impl Place {
    fn wait(&self, record: &StepRecord) -> Result<Wait, Stop> {
        read(record)
    }

    fn mismatch(&self, record: &StepRecord) -> Stop {
        let kind = |kind: StepKind| match kind {
            StepKind::Step => "the step",
            StepKind::Effect => "the effect",
            StepKind::Wait => "the wait",
        };
        let message = format!(
            "at position {} the journal has {} `{}` and the code has {} `{}`: the run was begun by other code",
            record.position,
            kind(record.kind),
            record.name,
            kind(self.kind),
            self.name
        );
        Failure::new(Kind::JournalMismatch, message).into()
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
        Context::at(Arc::clone(&self.attempt), format!("{}.{index:05}", self.prefix))
    }
}
