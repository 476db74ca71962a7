//! Turns events into runs: one event is one run, however often it is delivered.
//!
//! It writes no run itself: it sends a message that carries the run's id, derived from the event, and the
//! consumer's first write decides. Delivery events of mail settle the effects that sent it.

pub mod event;

use std::sync::Arc;

use ihelper_runtime::{
    message::NotAuthorised,
    telemetry::{self, Parent, TRACEPARENT},
    tokens::Tokens,
};
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, WorkflowType,
        document::ObjectRef,
        input::{self, Invalid},
        run::StepRecord,
    },
    engine::{Control, Definitions, Settling},
    mail,
    ports::{AnswerLedger, Clock, Monitor, Objects, Queue, Receipt, Seen},
};
use serde_json::{Value, json};

use crate::event::{Envelope, MailEvent, MailFate, Meaning};

/// Handles events.
pub struct EventHandler {
    /// Starts runs.
    pub queue: Arc<dyn Queue>,
    /// Settles the effects that delivery events are about.
    pub control: Control,
    /// Knows what came with an uploaded document.
    pub objects: Arc<dyn Objects>,
    /// Learns who must not be written to.
    pub answers: Arc<dyn AnswerLedger>,
    /// Tells who stands behind a token, where an event carries one.
    pub tokens: Arc<Tokens>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// Learns what became of events.
    pub monitor: Arc<dyn Monitor>,
    /// Where mail arrives, under `mail/`.
    pub mail_bucket: String,
    /// Where documents arrive, under `documents/`.
    pub document_bucket: String,
    /// Tell what documents that come without criteria are reviewed against.
    pub definitions: Definitions,
}

/// What was done about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// A run was asked for.
    Started {
        /// Its workflow.
        workflow: WorkflowType,
        /// Its id.
        run: RunId,
    },
    /// A delivery event was taken in.
    Settled,
    /// The event is none of ours.
    Ignored,
}

/// Why an event could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is malformed: it will never be handled.
    #[error("the event is not valid: {0}")]
    Malformed(#[from] Invalid),
    /// It carries a token that is not valid: it will never be handled.
    #[error("the event is not authorised: {0}")]
    Refused(Failure),
    /// Something that it needs failed.
    #[error("the event could not be handled: {0}")]
    Failed(#[from] Failure),
}

// The name of an object's metadata that says what to review a document against.
const CRITERIA_METADATA: &str = "review-criteria";

impl EventHandler {
    /// Handles one event, and tells the monitor. Without a trace of its own, it goes on with that of the invocation.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub async fn receive(&self, event: Value, invocation: Option<Parent>) -> Result<Handled, Error> {
        let span = tracing::debug_span!("event", otel.name = "process event", otel.kind = "consumer");
        let parent = traceparent(&event).and_then(Parent::of_traceparent).or(invocation);
        let handled = telemetry::at_work(span, parent, self.handle(event)).await;
        let outcome = match &handled {
            Ok(Handled::Started { .. }) => "started",
            Ok(Handled::Settled) => "settled",
            Ok(Handled::Ignored) => "ignored",
            Err(_) => "failed",
        };
        self.monitor.note(&Seen::Event { outcome });
        handled
    }

    /// Handles one event, as EventBridge delivers it.
    ///
    /// # Errors
    /// This returns an error that names the field when the event is malformed, and when the queue, the table
    /// or the bucket does not answer. The caller lets Lambda deliver it again and at last to the dead-letter
    /// queue.
    pub async fn handle(&self, event: Value) -> Result<Handled, Error> {
        let envelope: Envelope = serde_path_to_error::deserialize(event)
            .map_err(|error| Invalid::one(error.path().to_string(), input::problem(error.inner())))?;
        match event::read(&envelope)? {
            Meaning::Start { workflow, data, origin, run } => {
                if let Some(credentials) = event::credentials(&envelope)? {
                    credentials.check(&self.tokens, self.clock.now()).await?;
                }
                self.start(workflow, data, &origin, run, "detail").await
            }
            Meaning::Object { object, run } => self.object_arrived(&object, run).await,
            Meaning::Mail(mail) => self.mail_event(&mail).await,
            Meaning::Unknown => {
                tracing::info!(
                    event.source = telemetry::name_of(&envelope.source),
                    event.detail_type = telemetry::name_of(&envelope.detail_type),
                    "an event of no workflow was left alone"
                );
                Ok(Handled::Ignored)
            }
        }
    }

    async fn start(
        &self,
        workflow: WorkflowType,
        data: Value,
        origin: &str,
        run: RunId,
        place: &str,
    ) -> Result<Handled, Error> {
        let input = input::parse(workflow, data).map_err(|invalid| moved(invalid, place))?;
        self.queue.start(&input, run, &format!("event:{origin}")).await?;
        tracing::info!(run.id = %run, run.type = %workflow, "an event became a run");
        Ok(Handled::Started { workflow, run })
    }

    async fn object_arrived(&self, object: &ObjectRef, run: RunId) -> Result<Handled, Error> {
        let origin = format!("s3/{}", object.bucket);
        let below = |prefix| object.key.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(id_of);
        if object.bucket == self.mail_bucket
            && let Some(id) = below("mail/")
        {
            let data = json!({ "id": id, "s3": object });
            return self.start(WorkflowType::EmailProcessing, data, &origin, run, "object").await;
        }
        if object.bucket == self.document_bucket
            && let Some(id) = below("documents/")
        {
            let criteria = self.criteria_of(object).await?;
            let data = json!({ "id": id, "file": object, "review_criteria": criteria });
            return self.start(WorkflowType::DocumentReview, data, &origin, run, "object").await;
        }
        Ok(Handled::Ignored)
    }

    /// What came with the upload, or the definition's own.
    async fn criteria_of(&self, object: &ObjectRef) -> Result<Value, Error> {
        let stored = self.objects.head(object).await?;
        match stored.metadata.get(CRITERIA_METADATA) {
            // S3 gives metadata beyond ASCII back in the encoded words of RFC 2047.
            Some(text) => serde_json::from_str(&mail::decoded_words(text)).map_err(|error| {
                Invalid::one(format!("metadata `{CRITERIA_METADATA}`"), format!("is not a JSON array: {error}")).into()
            }),
            None => Ok(json!(self.definitions.built_in(WorkflowType::DocumentReview)?.review_criteria)),
        }
    }

    async fn mail_event(&self, mail: &MailEvent) -> Result<Handled, Error> {
        for address in &mail.unreachable {
            self.answers.suppress(address, self.clock.now()).await?;
        }
        if let (Some(run), Some(position)) = (mail.run, &mail.position) {
            self.settle(run, position, mail).await?;
        }
        Ok(Handled::Settled)
    }

    /// Settles the intent of the mail, whatever became of the worker that wrote it; a run that waits for just
    /// that goes on.
    async fn settle(&self, id: RunId, position: &str, mail: &MailEvent) -> Result<(), Failure> {
        let of_mail = |entry: &StepRecord| entry.position.replace('.', "_") == position;
        let happened = match mail.fate {
            MailFate::WentOut => Some(json!(Receipt { message_id: mail.message_id.clone() })),
            MailFate::NotSent => None,
        };
        if self.control.settle(id, of_mail, happened).await? == Settling::Settled {
            tracing::info!(run.id = %id, "a delivery event settled the run's mail");
        }
        Ok(())
    }
}

/// The trace that whoever published an event did it in, as the extension of CloudEvents for distributed tracing has it:
/// beside the event's own attributes.
fn traceparent(event: &Value) -> Option<&str> {
    event.get("detail")?.get(TRACEPARENT)?.as_str()
}

/// An object's id inside its data: its key below the prefix, so that two folders may hold one name.
fn id_of(key: &str) -> String {
    // What a run's data takes as an id.
    if key.len() <= 256 { key.to_owned() } else { RunId::derived(jiff::Timestamp::UNIX_EPOCH, &[key]).to_string() }
}

/// Violations speak of `data`; here the data is a part of the event.
fn moved(Invalid(mut violations): Invalid, place: &str) -> Invalid {
    for violation in &mut violations {
        if let Some(rest) = violation.field.strip_prefix("data") {
            violation.field = format!("{place}{rest}");
        }
    }
    Invalid(violations)
}

impl From<NotAuthorised> for Error {
    fn from(NotAuthorised(failure): NotAuthorised) -> Self {
        if failure.kind == Kind::Authorization { Self::Refused(failure) } else { Self::Failed(failure) }
    }
}

impl Error {
    /// The kind of error, for logs.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Malformed(_) => Kind::Validation,
            Self::Refused(failure) | Self::Failed(failure) => failure.kind,
        }
    }
}
