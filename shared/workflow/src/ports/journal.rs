use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::domain::{
    Failure, Run, RunId, Status, WorkflowType,
    run::{Footprint, Lease, Segment, StepRecord, Summary, Usage},
};

/// Runs and their journals: the one place that tells what has happened.
///
/// A run has a record, which says where it stands, and a journal: a sequence of segments without gaps. A segment is
/// appended only by who knows all segments before it, so of two workers on one run each learns of the other before
/// anything of its own is written. Every write is conditional; two workers that do the same thing at once see the
/// same outcome.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Creates a run that does not exist yet, as it is given (its lease included). Its journal may have been begun
    /// before.
    async fn create(&self, run: &Run) -> Result<Created, Failure>;

    /// Takes the lease of a run that is queued and due, waits and is due, or is running under an expired lease or
    /// one of the same owner; sets it running.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when there is no such run.
    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure>;

    /// Prolongs a lease.
    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure>;

    /// The segments of a run's journal from this number on, in order; what was appended before this call is in it.
    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure>;

    /// Appends a segment of at least one entry, unless one of its number is there.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when an entry cannot be stored (it nests too deep, say). After
    /// another error the segment may be there all the same; asked again with the same segment, this tells.
    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure>;

    /// Ends an attempt, or settles a run from outside: conditional on the run's being in a status that
    /// `closing` says. `false` when it is not; then nothing changed.
    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure>;

    /// Notes that the dead letter about a run was sent.
    async fn letter_sent(&self, id: RunId) -> Result<(), Failure>;

    /// A run with what its journal comes to, in order of position. The last entries of a run that was closed with
    /// some ([`Closing::last_entries`]) are among them.
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
        /// When the other's lease ends unless renewed, or the queued run is due.
        until: Timestamp,
    },
    /// It is not to be worked on: final, waiting (until its `due_at`, if it has one), or in need of attention.
    Resting(Box<Run>),
}

/// What came of [`Journal::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The lease lasts longer now.
    Held,
    /// The run is no longer running, or another worker holds it.
    Lost {
        /// Where the run stands; `None` when there is no such run.
        status: Option<Status>,
    },
}

/// What came of [`Journal::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The segment stands.
    Written,
    /// Another segment of this number stands.
    Taken,
}

/// How an attempt ends, or how a run is settled from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// The run's workflow.
    pub workflow: WorkflowType,
    /// The statuses from which this may happen.
    pub from: Vec<Status>,
    /// The new status.
    pub status: Status,
    /// The result of a run that succeeded.
    pub result: Option<Value>,
    /// What came of effects at the very end, for who looks at this run: of at-least-once ones without a value, which no
    /// journal has, and of at-most-once ones, which may still be on their way there.
    pub last_entries: Vec<StepRecord>,
    /// The last error; `None` keeps the one that stands.
    pub error: Option<Failure>,
    /// Whether this attempt counts as failed.
    pub counts_as_failed: bool,
    /// Whether a dead letter about this has to be sent.
    pub owes_letter: bool,
    /// What the assistant was asked over the run's whole life; `None` keeps what stands.
    pub usage: Option<Usage>,
    /// What attempts took over the run's whole life; `None` keeps what stands.
    pub footprint: Option<Footprint>,
    /// Only while this owner holds the lease: an attempt that lost it may not take the run from its successor.
    pub owner: Option<String>,
    /// When a queued or waiting run may be opened again; `None` for at once, or never of itself.
    pub due_at: Option<Timestamp>,
}

impl Closing {
    /// A closing that changes the status and nothing else.
    pub fn new(workflow: WorkflowType, from: impl Into<Vec<Status>>, status: Status) -> Self {
        Self {
            workflow,
            from: from.into(),
            status,
            result: None,
            last_entries: Vec::new(),
            error: None,
            counts_as_failed: false,
            owes_letter: false,
            usage: None,
            footprint: None,
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
