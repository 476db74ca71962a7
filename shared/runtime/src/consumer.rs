//! Batches of a workflow's queue, message by message.
//!
//! **Invariants**
//! - A message is deleted only when its run has ended, rests, or has another message that goes on with it.
//! - A malformed message goes to the dead-letter queue with its reason, at once, and never holds up its batch.
//! - A message whose consumer dies is back after one lease: its visibility timeout is kept that short, and
//!   renewed while the message is worked on.
//! - A message that carries a token which is not valid goes there too. No letter holds a token.
//! - A run that fails here owes a dead letter; the debt stands in its record until the letter is sent.
//! - A message that was sent back from the dead letters retries the run that it names.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{StreamExt, stream};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        input::Invalid,
        run::{Origin, Trigger},
    },
    engine::{Control, Deadline, Outcome, Retry, Retrying, Worker},
    ports::{Clock, DeadLetter, Queue, REDRIVE_OF, REDRIVE_SENT_AT, Seen},
};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::{
    deployment::Deployment,
    message::{Message, NotAuthorised, Source, Wire, without_token},
    telemetry::{self, Parent, TRACEPARENT},
    tokens::Tokens,
};

/// When messages in hand come back to the queue.
#[async_trait]
pub trait Visibility: Send + Sync {
    /// Makes messages, by their receipt handles, invisible for this while from now on: up to 12 hours.
    async fn change(&self, receipts: &[String], invisible_for: Duration) -> Result<(), Failure>;
}

/// Works through batches of one workflow's queue.
pub struct Consumer {
    /// The workflow.
    pub workflow: WorkflowType,
    /// Gives runs their attempts; one [that sends letters](Worker::that_sends_letters).
    pub worker: Worker,
    /// Retries runs whose dead letters were sent back.
    pub control: Control,
    /// Takes dead letters and hand-overs.
    pub queue: Arc<dyn Queue>,
    /// Tells who stands behind a token, where a message carries one.
    pub tokens: Arc<Tokens>,
    /// Delays messages.
    pub visibility: Arc<dyn Visibility>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// How many messages of a batch are worked on at a time.
    pub concurrency: usize,
}

// What is left at the end of an invocation to hand over what is not done: a write to the journal and a message
// take milliseconds, and once in a while a retry of some seconds.
const HAND_OVER_TIME: Duration = Duration::from_secs(10);
// How much longer than a lease a message stays invisible, so that who receives it again finds the lease over.
const VISIBILITY_MARGIN: Duration = Duration::from_secs(1);

// A call of the API sends a run's message while it writes the run, and ends after 29 s: what is not there by then was never
// begun.
const LONGEST_BEGINNING: Duration = Duration::from_secs(30);
// Most such writes are done a moment later.
const MOMENT: Duration = Duration::from_millis(100);
// When a message comes back whose run was not there then either.
const SOON: Duration = Duration::from_secs(1);

// Runs are listed by the time in their ids; one from the future would stand before all others for good.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What happens to a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Delete,
    Return { after: Option<Duration> },
}

/// Runs a consumer function: the whole of its `main`.
///
/// # Errors
/// This returns an error when the environment is not complete, or the Lambda runtime ends.
pub async fn run(workflow: WorkflowType) -> Result<(), Error> {
    let telemetry = telemetry::start()?;
    let deployment = Deployment::from_environment(telemetry.monitor())?;
    let deployment =
        if workflow == WorkflowType::DocumentReview { deployment.that_reads_documents() } else { deployment };
    let consumer = Arc::new(deployment.consumer(workflow)?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let (consumer, telemetry) = (Arc::clone(&consumer), telemetry.clone());
        async move {
            let deadline = deadline(event.context.deadline);
            Ok::<_, Error>(telemetry.invocation(consumer.handle(event.payload, deadline)).await)
        }
    }))
    .await
}

/// When work has to be handed over: ten seconds before an invocation's end, given in milliseconds since 1970.
pub fn deadline(invocation_end_ms: u64) -> Deadline {
    let end = i64::try_from(invocation_end_ms).ok().and_then(|end| Timestamp::from_millisecond(end).ok());
    Deadline::at(end.and_then(|end| end.checked_sub(HAND_OVER_TIME).ok()).unwrap_or(Timestamp::MAX))
}

impl Consumer {
    /// Works through a batch. The answer lists the messages that are to come back.
    pub async fn handle(&self, batch: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
        let in_hand = InHand::new(batch.records.iter().filter_map(|message| message.receipt_handle.clone()));
        let work = stream::iter(batch.records)
            .map(|message| self.settle(message, deadline, &in_hand))
            .buffer_unordered(self.concurrency.max(1))
            .filter_map(std::future::ready)
            .collect::<Vec<String>>();
        let failed = tokio::select! {
            biased;
            failed = work => failed,
            never = self.keep_invisible(&in_hand) => match never {},
        };
        let mut response = SqsBatchResponse::default();
        response.set_failures(failed);
        response
    }

    /// Works on one message; gives its id when it is to come back.
    async fn settle(&self, message: SqsMessage, deadline: Deadline, in_hand: &InHand) -> Option<String> {
        let message_id = message.message_id.clone().unwrap_or_default();
        let span = tracing::debug_span!(
            "message",
            otel.name = format_args!("process {}", self.workflow),
            otel.kind = "consumer",
            messaging.system = "aws_sqs",
            messaging.message.id = message_id,
        );
        let verdict = telemetry::at_work(span, parent_of(&message), self.work_on(&message, deadline)).await;
        // What is done Lambda deletes with the whole batch; until then it stays invisible with its neighbours.
        let Verdict::Return { after } = verdict else { return None };
        let receipt = message.receipt_handle.unwrap_or_default();
        // From here on the message's visibility is nobody else's to change.
        let _quiet = in_hand.put_down(&receipt).await;
        if let Some(after) = after
            && let Err(failure) = self.visibility.change(&[receipt], after).await
        {
            // It comes back all the same, only at another time.
            tracing::warn!(error.kind = %failure.kind, message.id = message_id, "the message could not be delayed");
        }
        Some(message_id)
    }

    async fn work_on(&self, message: &SqsMessage, deadline: Deadline) -> Verdict {
        let body = message.body.as_deref().unwrap_or_default();
        let outcome = match self.read(message, body).await {
            Ok(Message::Resume(run)) if is_redriven(message) => return self.retry(run, deadline).await,
            Ok(Message::Resume(run)) => return self.go_on(run, message, deadline).await,
            Ok(Message::Start { input, run_id, source }) => {
                if let Some(age) = age_of_new(message, self.clock.now()) {
                    self.worker.monitor().note(&Seen::Received { workflow: self.workflow, age });
                }
                let run = run_id.unwrap_or_else(|| run_of(message, self.clock.now()));
                let origin = origin(message, source);
                self.worker.start(&input, run, origin, deadline).await.map(|outcome| (run, outcome))
            }
            Err(Unread::Invalid(invalid)) => {
                let letter = DeadLetter {
                    body: without_token(body),
                    reason: invalid.to_string(),
                    kind: Kind::Validation,
                    run: None,
                };
                return self.bury(&letter).await;
            }
            Err(Unread::NotAuthorised(failure)) => {
                let letter =
                    DeadLetter { body: without_token(body), reason: failure.message, kind: failure.kind, run: None };
                return self.bury(&letter).await;
            }
            Err(Unread::Failed(failure)) => Err(failure),
        };
        self.verdict(body, outcome).await
    }

    async fn verdict(&self, body: &str, outcome: Result<(RunId, Outcome), Failure>) -> Verdict {
        match outcome {
            Ok((run, outcome)) => self.conclude(run, outcome).await,
            Err(failure) if failure.kind == Kind::Validation => {
                let letter =
                    DeadLetter { body: without_token(body), reason: failure.message, kind: failure.kind, run: None };
                self.bury(&letter).await
            }
            Err(failure) if failure.kind == Kind::NotFound => {
                // It was never begun, or was kept as long as runs are kept.
                tracing::warn!(error.message = failure.message, "a message names a run that does not exist");
                Verdict::Delete
            }
            Err(failure) => {
                tracing::error!(error.kind = %failure.kind, error.message = telemetry::message_of(failure.kind, &failure.message), "the message comes back");
                Verdict::Return { after: None }
            }
        }
    }

    /// Goes on with a run whose message may have come before the write that begins it. It is looked for again a moment
    /// later, then soon, and at last when that write must be over: then a call broke off before it, and there is no run.
    async fn go_on(&self, run: RunId, message: &SqsMessage, deadline: Deadline) -> Verdict {
        let is_missing =
            |outcome: &Result<_, Failure>| outcome.as_ref().is_err_and(|failure| failure.kind == Kind::NotFound);
        let mut outcome = self.worker.resume(run, deadline).await;
        if is_missing(&outcome) && !self.left_to_begin(message).is_zero() {
            self.clock.sleep(MOMENT).await;
            outcome = self.worker.resume(run, deadline).await;
        }
        let left = self.left_to_begin(message);
        if is_missing(&outcome) && !left.is_zero() {
            tracing::info!(run.id = %run, "a message names a run that is not written yet");
            let after = if is_first_receive(message) { SOON } else { whole_seconds(left) };
            return Verdict::Return { after: Some(after) };
        }
        let body = message.body.as_deref().unwrap_or_default();
        self.verdict(body, outcome.map(|outcome| (run, outcome))).await
    }

    /// How long the write that begins a message's run may still take.
    fn left_to_begin(&self, message: &SqsMessage) -> Duration {
        let ends = sent_at(message).and_then(|sent_at| sent_at.checked_add(LONGEST_BEGINNING).ok());
        ends.map_or(Duration::ZERO, |ends| until(ends, self.clock.now()).min(LONGEST_BEGINNING))
    }

    /// Reads a message, and fetches the data that it only refers to.
    async fn read(&self, message: &SqsMessage, body: &str) -> Result<Message, Unread> {
        let wire = Wire::parse(self.workflow, body)?;
        if let Some(credentials) = wire.credentials() {
            credentials.check(&self.tokens, sent_at(message).unwrap_or(self.clock.now())).await?;
        }
        let message = match wire.data_at() {
            None => wire.into_message()?,
            Some(place) => {
                let data = self.queue.fetch(place).await.map_err(|failure| match failure.kind {
                    Kind::Validation | Kind::NotFound => Invalid::one("data_at", failure.message).into(),
                    _ => Unread::Failed(failure),
                })?;
                wire.with_data(&data)?
            }
        };
        if let Message::Start { run_id: Some(run), .. } = &message
            && run.made_at() > self.clock.now().saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX)
        {
            return Err(Invalid::one("run_id", "lies more than five minutes in the future").into());
        }
        Ok(message)
    }

    /// Retries a run whose dead letter was sent back. Another message goes on with the run that repeats it; sent back
    /// twice, it is the same run.
    async fn retry(&self, run: RunId, deadline: Deadline) -> Verdict {
        match self.control.retry(run, &Retry::default()).await {
            Ok(Retrying::Begun(again)) => {
                tracing::info!(run.id = %again.id, run.retry_of = %run, "a dead letter was sent back");
                Verdict::Delete
            }
            Ok(Retrying::NotEnded(_)) => {
                let outcome = self.worker.resume(run, deadline).await.map(|outcome| (run, outcome));
                self.verdict("", outcome).await
            }
            Ok(other) => {
                tracing::warn!(run.id = %run, "a dead letter was sent back whose run cannot be retried: {other:?}");
                Verdict::Delete
            }
            Err(failure) => {
                tracing::error!(error.kind = %failure.kind, error.message = telemetry::message_of(failure.kind, &failure.message), "the message comes back");
                Verdict::Return { after: None }
            }
        }
    }

    async fn conclude(&self, run_id: RunId, outcome: Outcome) -> Verdict {
        match outcome {
            // Also when it had ended before: the attempt that ended it may have died before it wrote the letter.
            Outcome::Ended { run, .. } if run.owes_letter => self.bury_run(&run).await,
            Outcome::Ended { .. } => Verdict::Delete,
            // Also when it was put aside before: whoever did so may have died before it sent the message.
            Outcome::Resting(run) => match run.due_at.filter(|_| run.status == Status::Waiting) {
                Some(due) => self.pass_on(run_id, until(due, self.clock.now())).await,
                None => Verdict::Delete,
            },
            Outcome::Retry { after, failure } => {
                tracing::warn!(run.id = %run_id, error.kind = %failure.kind, error.message = telemetry::message_of(failure.kind, &failure.message), retry.after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX), "the attempt failed");
                Verdict::Return { after: Some(whole_seconds(after)) }
            }
            Outcome::HandedOver => self.pass_on(run_id, Duration::ZERO).await,
            // A new message, because each return of this one counts as a failed receive.
            Outcome::Busy { after } => self.pass_on(run_id, after + VISIBILITY_MARGIN).await,
        }
    }

    async fn pass_on(&self, run: RunId, after: Duration) -> Verdict {
        match self.queue.resume(self.workflow, run, after).await {
            Ok(()) => Verdict::Delete,
            Err(failure) => {
                tracing::warn!(run.id = %run, error.kind = %failure.kind, "the run could not be passed on");
                Verdict::Return { after: Some(after) }
            }
        }
    }

    /// Sends the letter that a run owes, and notes that it was sent. Should this process end between the two, it is
    /// sent again: a queue cannot be asked what is in it.
    async fn bury_run(&self, run: &Run) -> Verdict {
        let verdict = self.bury(&letter_of(run)).await;
        if verdict == Verdict::Delete
            && let Err(failure) = self.control.letter_sent(run.id).await
        {
            tracing::warn!(run.id = %run.id, error.kind = %failure.kind, "a dead letter could not be noted");
        }
        verdict
    }

    async fn bury(&self, letter: &DeadLetter) -> Verdict {
        match self.queue.dead_letter(self.workflow, letter).await {
            Ok(()) => {
                let message = telemetry::message_of(letter.kind, &letter.reason);
                tracing::error!(error.kind = %letter.kind, error.message = message, "dead letter");
                self.worker.monitor().note(&Seen::DeadLetter { workflow: self.workflow, kind: letter.kind });
                Verdict::Delete
            }
            Err(failure) => {
                tracing::error!(error.kind = %failure.kind, "the dead-letter queue does not answer");
                Verdict::Return { after: None }
            }
        }
    }

    async fn keep_invisible(&self, in_hand: &InHand) -> std::convert::Infallible {
        let lease = self.worker.lease();
        loop {
            {
                let receipts = in_hand.receipts().await;
                let receipts: Vec<String> = receipts.iter().cloned().collect();
                for batch in receipts.chunks(10) {
                    if let Err(failure) = self.visibility.change(batch, lease + VISIBILITY_MARGIN).await {
                        tracing::warn!(error.kind = %failure.kind, "the messages' visibility could not be prolonged");
                    }
                }
            }
            self.clock.sleep(lease / 3).await;
        }
    }
}

/// The letter about a run that failed.
fn letter_of(run: &Run) -> DeadLetter {
    let error = run.error.clone().unwrap_or_else(|| Failure::new(Kind::Unknown, "no error was kept"));
    DeadLetter {
        body: serde_json::json!({ "run_id": run.id }).to_string(),
        reason: match &error.step {
            Some(step) => format!("{step}: {}", error.message),
            None => error.message,
        },
        kind: error.kind,
        run: Some(run.id),
    }
}

/// The queue counts whole seconds; a message that comes early would find its run not due.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + 1)
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Why a message could not be read.
enum Unread {
    /// It is not what the queue carries.
    Invalid(Invalid),
    /// Its token is not valid.
    NotAuthorised(Failure),
    /// What it refers to could not be fetched, or what its token is worth not be told.
    Failed(Failure),
}

impl From<NotAuthorised> for Unread {
    fn from(NotAuthorised(failure): NotAuthorised) -> Self {
        if failure.kind == Kind::Authorization { Self::NotAuthorised(failure) } else { Self::Failed(failure) }
    }
}

impl From<Invalid> for Unread {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// Whether a message came from the dead letters: sent back by the API, or by SQS's own redrive, which keeps the
/// attributes of a letter.
fn is_redriven(message: &SqsMessage) -> bool {
    let attributes = &message.message_attributes;
    attributes.contains_key(REDRIVE_OF) || ["reason", "kind"].iter().all(|name| attributes.contains_key(*name))
}

/// When a message was sent, as the queue itself noted it.
fn sent_at(message: &SqsMessage) -> Option<Timestamp> {
    Timestamp::from_millisecond(message.attributes.get("SentTimestamp")?.parse().ok()?).ok()
}

/// How long a message waited that comes out of its queue for the first time. Later ones were put back, or held back, on
/// purpose.
fn age_of_new(message: &SqsMessage, now: Timestamp) -> Option<Duration> {
    let age = Duration::try_from(now.duration_since(sent_at(message)?)).unwrap_or_default();
    (is_first_receive(message) && !is_redriven(message)).then_some(age)
}

fn is_first_receive(message: &SqsMessage) -> bool {
    message.attributes.get("ApproximateReceiveCount").is_some_and(|count| count == "1")
}

/// The trace of who sent a message.
fn parent_of(message: &SqsMessage) -> Option<Parent> {
    let of_sender = message.message_attributes.get(TRACEPARENT).and_then(|attribute| attribute.string_value.as_deref());
    let of_xray = || message.attributes.get("AWSTraceHeader").and_then(|header| Parent::of_xray(header));
    of_sender.and_then(Parent::of_traceparent).or_else(of_xray)
}

/// One message is one run, however often it is delivered, and also when it went through the dead letters.
fn run_of(message: &SqsMessage, now: Timestamp) -> RunId {
    let redriven =
        |name: &str| message.message_attributes.get(name).and_then(|attribute| attribute.string_value.as_deref());
    let (id, sent_at) = match (redriven(REDRIVE_OF), redriven(REDRIVE_SENT_AT)) {
        (Some(id), Some(sent_at)) => (id, Some(sent_at)),
        _ => (
            message.message_id.as_deref().unwrap_or_default(),
            message.attributes.get("SentTimestamp").map(String::as_str),
        ),
    };
    let sent_at = sent_at
        .and_then(|text| text.parse().ok())
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or(now);
    RunId::derived(sent_at, &["queue", id])
}

fn origin(message: &SqsMessage, source: Option<Source>) -> Origin {
    match source {
        None => {
            let id = message.message_id.clone().unwrap_or_default();
            Origin { trigger: Trigger::Queue, id, caller: "queue".to_owned() }
        }
        Some(Source::Run(run)) => Origin { trigger: Trigger::Run, id: run.to_string(), caller: format!("run:{run}") },
        Some(Source::Event(event)) => Origin { trigger: Trigger::Event, caller: format!("event:{event}"), id: event },
    }
}

/// The receipts of messages that are being worked on. Whoever changes a visibility holds the lock meanwhile.
struct InHand(tokio::sync::Mutex<HashSet<String>>);

impl InHand {
    fn new(receipts: impl Iterator<Item = String>) -> Self {
        Self(tokio::sync::Mutex::new(receipts.collect()))
    }

    async fn receipts(&self) -> tokio::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().await
    }

    async fn put_down(&self, receipt: &str) -> tokio::sync::MutexGuard<'_, HashSet<String>> {
        let mut receipts = self.0.lock().await;
        receipts.remove(receipt);
        receipts
    }
}
