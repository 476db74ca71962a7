use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::domain::{
    Failure, Run, RunId, Status, WorkflowType,
    run::{Lease, StepRecord, Summary, Usage},
};

/// Runs and their steps: the one place that tells what has happened.
///
/// Every write is conditional; two workers that do the same thing at once see the same outcome.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Creates a run that does not exist yet, as it is given (its lease included).
    async fn create(&self, run: &Run) -> Result<Created, Failure>;

    /// Takes the lease of a run that is queued and due, or running under an expired lease or one of the same
    /// owner; sets it running.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when there is no such run.
    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure>;

    /// Prolongs a lease. `false` when the owner no longer holds it.
    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<bool, Failure>;

    /// A run's journal, in order of position; what was recorded before this call is in it.
    async fn steps(&self, id: RunId) -> Result<Vec<StepRecord>, Failure>;

    /// Writes a step's result; the first writer wins.
    async fn record(&self, id: RunId, step: &StepRecord) -> Result<Recorded, Failure>;

    /// Writes an effect's intent, unless it is intended or done already.
    async fn intend(&self, id: RunId, step: &StepRecord) -> Result<Intended, Failure>;

    /// Turns an intent into its outcome (`Done` or `Released`). An outcome that stands already stays.
    async fn settle(&self, id: RunId, step: &StepRecord) -> Result<(), Failure>;

    /// Ends an attempt, or settles a run from outside: conditional on the run's being in a status that
    /// `closing` says. `false` when it is not; then nothing changed.
    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure>;

    /// A run with its journal.
    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure>;

    /// Runs, newest first.
    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure>;
}

/// What came of [`Journal::create`].
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    /// The run is new.
    New,
    /// It existed; nothing was written.
    Existing(Box<Run>),
}

/// What came of [`Journal::open`].
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// The lease is taken; the run as it is now.
    Leased(Box<Run>),
    /// Another worker holds it, or it waits before its next attempt.
    Busy {
        /// When the other's lease ends unless renewed, or the run is due.
        until: Timestamp,
    },
    /// It is not to be worked on: final, waiting, or in need of attention.
    Resting(Box<Run>),
}

/// What came of [`Journal::record`].
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// Ours stands.
    Written,
    /// Another was first; theirs stands.
    Existing(Box<StepRecord>),
}

/// What came of [`Journal::intend`].
#[derive(Clone, Debug, PartialEq)]
pub enum Intended {
    /// Ours: perform the effect.
    Ours,
    /// Another's intent or outcome stands.
    Existing(Box<StepRecord>),
}

/// How an attempt ends, or how a run is settled from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// The statuses from which this may happen.
    pub from: Vec<Status>,
    /// The new status.
    pub status: Status,
    /// The result of a run that succeeded.
    pub result: Option<Value>,
    /// The last error; `None` keeps the one that stands.
    pub error: Option<Failure>,
    /// Whether this attempt counts as failed.
    pub counts_as_failed: bool,
    /// What the assistant was asked over the run's whole life; `None` keeps what stands.
    pub usage: Option<Usage>,
    /// Only while this owner holds the lease: an attempt that lost it may not take the run from its successor.
    pub owner: Option<String>,
    /// When a queued run may be opened again; `None` for at once.
    pub due_at: Option<Timestamp>,
}

impl Closing {
    /// A closing that changes the status and nothing else.
    pub fn new(from: impl Into<Vec<Status>>, status: Status) -> Self {
        Self {
            from: from.into(),
            status,
            result: None,
            error: None,
            counts_as_failed: false,
            usage: None,
            owner: None,
            due_at: None,
        }
    }
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this workflow.
    pub workflow: Option<WorkflowType>,
    /// Only in this status.
    pub status: Option<Status>,
    /// Only made at this moment or later.
    pub since: Option<Timestamp>,
    /// Only older than this run: the cursor of the former page.
    pub before: Option<RunId>,
    /// Only on behalf of this caller.
    pub caller: Option<String>,
    /// How many at most, 1 to 100.
    pub limit: usize,
}

/// Some runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The runs.
    pub runs: Vec<Summary>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<RunId>,
}
