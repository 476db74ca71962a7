//! The workflows' queues on SQS.
//!
//! A message is JSON: `{"run_id"}` to go on with a run, `{"type", "data", "run_id", "source"}` to start one, or, with
//! data that no message holds, `{"type", "data_at", "run_id", "source"}`, where `data_at` is a place in the payload
//! bucket. What is further away than a queue can hold back, EventBridge Scheduler sends.
//!
//! A dead letter keeps the body as it came, with the reason beside it in attributes (`reason`, `kind`, `run_id`). Sent
//! back by [`DeadLetters::redrive`](ihelper_workflow::ports::DeadLetters), a message has the attributes `redrive_of`
//! and `redrive_sent_at` besides. SQS's own redrive (`StartMessageMoveTask`, in the console) does as well: it keeps
//! `reason` and `kind`. By any of these a consumer recognizes a letter, and what it says about a run that failed is to
//! retry it.
//!
//! Deliberately absent: receiving and deleting on the workflows' own queues. Lambda's event source does both; what a
//! consumer asks of a message in hand is its visibility ([`SqsQueue::change_visibility`]).

mod letters;
mod starts;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue},
};
use ihelper_workflow::{
    domain::{Failure, RunId, WorkflowType, input::Input},
    ports::{DeadLetter, LONGEST_DELAY, Queue},
};
use serde_json::json;

use crate::{
    aws::{Aws, Lazy},
    failures::{failure, failure_of_code},
    scheduler::Scheduler,
    sqs::starts::Starts,
    work::{TRACEPARENT, Work},
};

/// The longest body that [`Queue::start`] sends as one: 1 KiB below the 256 KiB that every queue takes, for what SQS
/// counts besides. The data of a longer one is laid aside.
pub const LONGEST_START: usize = 255 * 1024;

/// The longest body of a dead letter: what came from a queue fits into one, less the room of its attributes.
const LONGEST_LETTER: usize = 1024 * 1024 - 4 * 1024;

/// The longest reason, in bytes; the rest of it is in the log.
const LONGEST_REASON: usize = 1024;

/// SQS's longest delay of a message.
const LONGEST_HOLD: Duration = Duration::from_mins(15);

/// SQS's longest visibility timeout.
const LONGEST_VISIBILITY: Duration = Duration::from_hours(12);

/// How many entries SQS takes in one batch.
const BATCH: usize = 10;

/// Where the messages of a workflow go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrls {
    /// Its queue.
    pub queue: String,
    /// Its dead-letter queue.
    pub dead_letters: String,
}

/// The workflows' queues. A clone is cheap.
#[derive(Clone)]
pub struct SqsQueue {
    client: Arc<Lazy<Client>>,
    urls: Arc<BTreeMap<WorkflowType, QueueUrls>>,
    scheduler: Option<Scheduler>,
    starts: Option<Starts>,
}

impl SqsQueue {
    /// The queues at these URLs. A call about a workflow without any fails.
    ///
    /// Without a scheduler, a delay of more than 15 minutes is cut to that: the message comes early, finds a run that
    /// is not due, and is passed on. Without a bucket for it, a start that no message holds is refused.
    pub fn new(aws: &Aws, urls: BTreeMap<WorkflowType, QueueUrls>) -> Self {
        Self { client: Arc::new(aws.sqs()), urls: Arc::new(urls), scheduler: None, starts: None }
    }

    /// The same queues, with a scheduler for delays of more than 15 minutes.
    #[must_use]
    pub fn with_scheduler(self, scheduler: Scheduler) -> Self {
        Self { scheduler: Some(scheduler), ..self }
    }

    /// The same queues, with a bucket for the data of starts that no message holds, under `starts/`.
    #[must_use]
    pub fn with_starts_in(self, aws: &Aws, bucket: &str) -> Self {
        Self { starts: Some(Starts::new(aws, bucket)), ..self }
    }

    /// Sets how long a message that was received stays hidden from now on: at most 12 hours, a longer time is cut
    /// to that. Zero gives it back at once.
    ///
    /// # Errors
    /// This returns an error when the receipt is no longer valid or SQS cannot be reached.
    pub async fn change_visibility(&self, queue_url: &str, receipt: &str, hidden: Duration) -> Result<(), Failure> {
        self.client
            .change_message_visibility()
            .queue_url(queue_url)
            .receipt_handle(receipt)
            .visibility_timeout(whole_seconds(hidden, LONGEST_VISIBILITY))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure("sqs change visibility", &error))
    }

    /// Does the same for many messages of one queue, ten at a time; the outcomes are in the order of the messages.
    pub async fn change_visibilities(
        &self,
        queue_url: &str,
        messages: &[(String, Duration)],
    ) -> Vec<Result<(), Failure>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for batch in messages.chunks(BATCH) {
            outcomes.extend(self.change_batch(queue_url, batch).await);
        }
        outcomes
    }

    async fn change_batch(&self, queue_url: &str, batch: &[(String, Duration)]) -> Vec<Result<(), Failure>> {
        const CALL: &str = "sqs change visibilities";
        let entries: Result<Vec<_>, _> = batch
            .iter()
            .enumerate()
            .map(|(index, (receipt, hidden))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(whole_seconds(*hidden, LONGEST_VISIBILITY))
                    .build()
            })
            .collect();
        let request = self.client.change_message_visibility_batch().queue_url(queue_url);
        let answer = match entries {
            Ok(entries) => request.set_entries(Some(entries)).send().await.map_err(|error| failure(CALL, &error)),
            Err(_) => Err(Failure::validation(format!("{CALL}: the request could not be built"))),
        };
        match answer {
            Err(failure) => vec![Err(failure); batch.len()],
            Ok(answer) => (0..batch.len())
                .map(|index| {
                    let failed = answer.failed().iter().find(|entry| entry.id() == index.to_string());
                    failed.map_or(Ok(()), |entry| Err(failure_of_code(CALL, Some(entry.code()))))
                })
                .collect(),
        }
    }

    fn urls(&self, workflow: WorkflowType) -> Result<&QueueUrls, Failure> {
        self.urls.get(&workflow).ok_or_else(|| Failure::validation(format!("no queue is configured for {workflow}")))
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqsQueue")
            .field("urls", &self.urls)
            .field("scheduler", &self.scheduler)
            .field("starts", &self.starts)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn prepare(&self) {
        LazyLock::force(&self.client);
    }

    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        if delay > LONGEST_DELAY {
            return Err(Failure::validation("a delay of more than five years is taken for a mistake"));
        }
        if let Some(scheduler) = self.scheduler.as_ref().filter(|_| delay > LONGEST_HOLD) {
            return scheduler.resume(workflow, run, delay).await;
        }
        self.client
            .send_message()
            .queue_url(&self.urls(workflow)?.queue)
            .message_body(json!({ "run_id": run }).to_string())
            .delay_seconds(whole_seconds(delay, LONGEST_HOLD))
            .set_message_attributes(trace()?)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure("sqs resume", &error))
    }

    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure> {
        let workflow = input.workflow();
        let url = &self.urls(workflow)?.queue;
        let data = input.to_value();
        let body = escaped(&json!({ "type": workflow, "data": data, "run_id": run, "source": source }).to_string());
        let body = match &self.starts {
            _ if body.len() <= LONGEST_START => body,
            None => {
                let bytes = body.len();
                return Err(Failure::validation(format!("the message has {bytes} bytes, more than {LONGEST_START}")));
            }
            Some(starts) => {
                drop(body);
                let place = starts.put(run, data.to_string().into_bytes()).await?;
                escaped(&json!({ "type": workflow, "data_at": place, "run_id": run, "source": source }).to_string())
            }
        };
        let request = self.client.send_message().queue_url(url).message_body(body).set_message_attributes(trace()?);
        request.send().await.map(drop).map_err(|error| failure("sqs start", &error))
    }

    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure> {
        match &self.starts {
            Some(starts) => starts.get(place).await,
            None => Err(Failure::validation("no bucket is configured for what messages refer to")),
        }
    }

    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.urls(workflow)?.dead_letters)
            .message_body(sendable(cut(&letter.body, LONGEST_LETTER)))
            .message_attributes("reason", attribute(&on_one_line(cut(&letter.reason, LONGEST_REASON)))?)
            .message_attributes("kind", attribute(letter.kind.name())?);
        if let Some(run) = letter.run {
            request = request.message_attributes("run_id", attribute(&run.to_string())?);
        }
        request.send().await.map(drop).map_err(|error| failure("sqs dead letter", &error))
    }
}

/// The trace that the work at hand belongs to, for the work that it asks for.
fn trace() -> Result<Option<HashMap<String, MessageAttributeValue>>, Failure> {
    let traceparent = Work::traceparent();
    traceparent.map(|it| Ok(HashMap::from([(TRACEPARENT.to_owned(), attribute(&it)?)]))).transpose()
}

/// Seconds, rounded up: a message that comes early finds a run that is not due.
fn whole_seconds(duration: Duration, longest: Duration) -> i32 {
    let duration = duration.min(longest);
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds.min(longest.as_secs())).unwrap_or(i32::MAX)
}

fn attribute(text: &str) -> Result<MessageAttributeValue, Failure> {
    // SQS takes no empty value.
    let text = if text.is_empty() { "-" } else { text };
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(text)
        .build()
        .map_err(|_| Failure::validation("sqs: an attribute could not be built"))
}

/// The longest beginning of a text that has at most so many bytes.
fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() || !is_sendable(letter) { ' ' } else { letter }).collect()
}

/// A body that SQS takes: never empty, and with a mark in place of each character that it refuses.
fn sendable(text: &str) -> String {
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    text.chars().map(|letter| if is_sendable(letter) { letter } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// JSON without the two characters that SQS refuses although JSON allows them. They can stand only inside of
/// texts, where an escape means the same.
fn escaped(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// What SQS allows in a message: the characters of XML 1.0.
fn is_sendable(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_cut() {
        let seconds = |duration| whole_seconds(duration, LONGEST_HOLD);
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
        assert_eq!(seconds(LONGEST_HOLD), 900);
        assert_eq!(seconds(Duration::MAX), 900);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let reason = on_one_line(cut(&"é\r\n\u{0}\u{ffff}x".repeat(1000), LONGEST_REASON));
        assert!(reason.len() <= LONGEST_REASON);
        assert!(reason.starts_with("é    xé"));
        assert_eq!(cut("ab", 1), "a");
        assert_eq!(cut("é", 1), "");
    }

    #[test]
    fn every_character_can_be_sent_or_is_marked() {
        assert_eq!(sendable("a\u{0}b\u{fffe}\u{1f980}\t"), "a\u{fffd}b\u{fffd}\u{1f980}\t");
        assert_eq!(sendable(""), "(empty)");
        let json = json!({ "x": "\u{fffe}\u{ffff}\u{1}" }).to_string();
        assert!(escaped(&json).chars().all(is_sendable));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped(&json)).unwrap(),
            json!({ "x": "\u{fffe}\u{ffff}\u{1}" })
        );
    }
}
