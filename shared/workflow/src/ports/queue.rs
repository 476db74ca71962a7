use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{Failure, Kind, RunId, WorkflowType, input::Input};

/// The longest delay of [`Queue::resume`]: five years of 365 days. Beyond that, a mistake is likelier than a wish.
pub const LONGEST_DELAY: Duration = Duration::from_hours(5 * 365 * 24);

/// The most data that a message may refer to, in bytes: 32 MiB.
pub const LARGEST_DATA: u64 = 32 * 1024 * 1024;

/// The workflows' queues.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Makes ready what the first message would otherwise wait for, without a call to anybody. Nothing, unless said
    /// otherwise.
    fn prepare(&self) {}

    /// Asks the workflow's consumer to go on with a run, after a delay of any length up to [`LONGEST_DELAY`]. The
    /// message may come early or twice; a run that is not due says so.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the delay is longer.
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure>;

    /// Asks the workflow's consumer to start a run under this id, unless it exists. `source` names who asks. Data that
    /// no message holds is laid aside, and the message refers to it; [`fetch`](Self::fetch) brings it back.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the data, as JSON, is larger than [`LARGEST_DATA`].
    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure>;

    /// What a message referred to, at most [`LARGEST_DATA`]: the data of a start, as JSON. `place` is the message's
    /// `data_at`, `starts/<run id>`.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the place is any other or what is there is larger, and of kind
    /// `NotFound` when nothing is there.
    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure>;

    /// Puts what cannot be worked on into the workflow's dead-letter queue, with the reason.
    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure>;
}

/// What could not be worked on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message as it came, or the run's address.
    pub body: String,
    /// Why, in a sentence.
    pub reason: String,
    /// What kind of error.
    pub kind: Kind,
    /// The run, where there is one.
    pub run: Option<RunId>,
}

/// The most letters that can be looked at, sent back or taken out at once.
pub const MOST_LETTERS: usize = 100;

/// The dead-letter queues, for who looks after them.
///
/// Every call takes 15 seconds at most, and refuses more than [`MOST_LETTERS`] with a failure of kind `Validation`. In
/// a queue of thousands, a letter may not be found in that time.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Some letters of a workflow, oldest first; at most `limit`, 1 to 100. A queue is no index: with many letters,
    /// or while another looks at them, some may be missing, and each look may show others.
    async fn look(&self, workflow: WorkflowType, limit: usize) -> Result<Vec<Letter>, Failure>;

    /// Sends letters back to the workflow's queue, each marked with the id it had as a letter
    /// (the message attribute [`REDRIVE_OF`]), and takes them out of the dead-letter queue. Gives the letters that
    /// were found and sent; a letter may be sent twice, never lost.
    async fn redrive(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure>;

    /// Takes letters out for good. Gives those that were found.
    async fn discard(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure>;
}

/// The attribute of a message that was sent back from a dead-letter queue: the id it had there.
pub const REDRIVE_OF: &str = "redrive_of";

/// The attribute beside it: when that letter was sent, in milliseconds since 1970. A message that the queue itself put
/// there keeps both, so it leads to the run that it led to before.
pub const REDRIVE_SENT_AT: &str = "redrive_sent_at";

/// A letter in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its id in that queue.
    pub id: String,
    /// The message as it came, or the run's address.
    pub body: String,
    /// Why it is there; `None` when the queue itself put it there, after too many receives.
    pub reason: Option<String>,
    /// What kind of error.
    pub kind: Option<String>,
    /// The run, where there is one.
    pub run: Option<RunId>,
    /// When it was put there.
    pub at: Timestamp,
}
