use std::time::Duration;

use super::ModelFault;
use crate::domain::{
    Kind, Run, WorkflowType,
    run::{StepKind, Usage},
};

/// Watches runs from their start to their end, and what they use: the seed's monitor.
///
/// It is told of what has happened, cannot fail and lets nobody wait. What it makes of it, metrics say.
pub trait Monitor: Send + Sync {
    /// Takes note of something.
    fn note(&self, seen: &Seen<'_>);

    /// What the message or call that is being worked on has taken so far.
    fn taken(&self) -> Taken;
}

/// What the work at hand has taken of its function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Round trips to the table and the buckets.
    pub store_calls: u64,
    /// The most memory that the process has held, in bytes.
    pub peak_memory_bytes: u64,
}

/// Something that a monitor is told of.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A step or an effect was done, or failed, in this attempt. What came from the journal is none.
    Step {
        /// The run's workflow.
        workflow: WorkflowType,
        /// Its name.
        name: &'a str,
        /// What kind of thing it is.
        kind: StepKind,
        /// How long it took.
        took: Duration,
        /// Whether it failed.
        failed: bool,
    },
    /// An attempt is over.
    Attempt {
        /// The run's workflow.
        workflow: WorkflowType,
        /// How long it took.
        took: Duration,
        /// Whether it failed.
        failed: bool,
    },
    /// A run has ended, or is put up for attention: as it now is.
    Ended(&'a Run),
    /// A node answered, or did not.
    ModelCall {
        /// Its name in the configuration.
        node: &'a str,
        /// How long that took.
        took: Duration,
        /// Why it did not answer.
        fault: Option<ModelFault>,
        /// What the call took of it.
        usage: Usage,
    },
    /// A model's answer to an equal question stood already.
    AnswerReused {
        /// The workflow that asked.
        workflow: WorkflowType,
    },
    /// A call asked for a result that may stand already.
    ResultWanted {
        /// The workflow.
        workflow: WorkflowType,
        /// Whether it did.
        stood: bool,
    },
    /// A message came out of its queue.
    Received {
        /// The queue's workflow.
        workflow: WorkflowType,
        /// How long after it was sent.
        age: Duration,
    },
    /// A message was given up.
    DeadLetter {
        /// The queue's workflow.
        workflow: WorkflowType,
        /// Why.
        kind: Kind,
    },
    /// An event came.
    Event {
        /// What became of it: `started`, `settled`, `ignored`, `failed`.
        outcome: &'static str,
    },
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Monitor for Unwatched {
    fn note(&self, _seen: &Seen<'_>) {}

    fn taken(&self) -> Taken {
        Taken::default()
    }
}
