use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Failure, Kind, RunId, WorkflowType, input::Input};

/// The workflows' queues.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Asks the workflow's consumer to go on with a run, after a delay of at most 15 minutes (a longer one is
    /// cut to that: the message comes early and finds the run not yet due).
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure>;

    /// Asks the workflow's consumer to start a run under this id, unless it exists. `source` names who asks.
    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure>;

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
