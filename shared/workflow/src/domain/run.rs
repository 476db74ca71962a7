//! A run: one execution of one workflow on one input.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

use super::failure::Failure;

/// The workflows that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkflowType {
    /// Reads an email and answers it when an answer is due.
    EmailProcessing,
    /// Reviews a document against criteria.
    DocumentReview,
    /// Plans a task and carries out its steps.
    TaskAutomation,
}

impl WorkflowType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::EmailProcessing, Self::DocumentReview, Self::TaskAutomation];

    /// The name in configuration, requests and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmailProcessing => "email_processing",
            Self::DocumentReview => "document_review",
            Self::TaskAutomation => "task_automation",
        }
    }

    /// The workflow that an event type of the seed starts: `email_received`, `document_created`,
    /// `task_assigned`. Another type starts none.
    pub fn of_event(event_type: &str) -> Option<Self> {
        match event_type {
            "email_received" => Some(Self::EmailProcessing),
            "document_created" => Some(Self::DocumentReview),
            "task_assigned" => Some(Self::TaskAutomation),
            _ => None,
        }
    }
}

impl fmt::Display for WorkflowType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for WorkflowType {
    type Err = Failure;

    /// # Errors
    /// This returns an error when no workflow has this name; it lists those that exist.
    fn from_str(name: &str) -> Result<Self, Failure> {
        Self::ALL.into_iter().find(|workflow| workflow.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join("`, `");
            let shown: String = name.chars().take(64).collect();
            Failure::validation(format!("unknown workflow type `{shown}`, expected one of `{known}`"))
        })
    }
}

/// A run's id: a ULID, so ids sort by the time of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"))]
#[serde(transparent)]
pub struct RunId(Ulid);

impl RunId {
    /// An id of this moment.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(Ulid::from_parts(milliseconds(now), random))
    }

    /// The id that the same trigger always leads to, so that a message or an event delivered twice is one
    /// run and needs no record of its own to be recognized.
    ///
    /// `at` and `parts` must be what the trigger carries (when it was sent, its source, its id), not when it
    /// was received.
    pub fn derived(at: Timestamp, parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut random = [0; 16];
        random.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(Ulid::from_parts(milliseconds(at), u128::from_le_bytes(random)))
    }

    /// A number below `count` that spreads runs evenly.
    pub fn shard(self, count: u32) -> u32 {
        (self.0.random() % u128::from(count.max(1))) as u32
    }

    /// When the run was made, to the millisecond.
    pub fn made_at(self) -> Timestamp {
        i64::try_from(self.0.timestamp_ms())
            .ok()
            .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// The lowest id of a moment: every run made then or later sorts at or after it.
    pub fn first_of(at: Timestamp) -> Self {
        Self(Ulid::from_parts(milliseconds(at), 0))
    }
}

// ULIDs hold 48 bits of milliseconds; a time before 1970 is taken as 1970.
fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0) & 0xffff_ffff_ffff
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for RunId {
    type Err = Failure;

    /// # Errors
    /// This returns an error when the text is not a ULID (26 characters of Crockford's base 32).
    fn from_str(text: &str) -> Result<Self, Failure> {
        Ulid::from_string(text).map(Self).map_err(|_| Failure::validation("a run id is a ULID of 26 characters"))
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a worker: new, handed over, or before a retry.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Waits for a person, a callback or a time; holds no compute.
    Waiting,
    /// An effect's outcome is unknown; a delivery event or an operator settles it.
    Attention,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Was stopped.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Attention, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in requests and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the run has ended for good.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Whether an operator looks for runs in this state: few at any time, so they have an index of their own.
    pub const fn is_noteworthy(self) -> bool {
        matches!(self, Self::Waiting | Self::Attention | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = Failure;

    /// # Errors
    /// This returns an error when no status has this name; it lists those that exist.
    fn from_str(name: &str) -> Result<Self, Failure> {
        Self::ALL.into_iter().find(|status| status.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join("`, `");
            let shown: String = name.chars().take(64).collect();
            Failure::validation(format!("unknown status `{shown}`, expected one of `{known}`"))
        })
    }
}

/// Through which door a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// `POST /workflow/process`.
    Api,
    /// An event of a bus, of S3 or of SES.
    Event,
    /// A message on the workflow's queue.
    Queue,
    /// Another run.
    Run,
}

impl Trigger {
    /// The name in records and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Event => "event",
            Self::Queue => "queue",
            Self::Run => "run",
        }
    }
}

/// Where a run came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Origin {
    /// The door.
    pub trigger: Trigger,
    /// The id that the trigger gave it: a request id, an event id, a message id, a run id.
    pub id: String,
    /// On whose behalf: a token's subject, an event's source, `queue`.
    pub caller: String,
}

/// What the assistant was asked and what that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Calls to the assistant.
    pub api_calls: u64,
    /// Tokens sent to models, those that they had cached included.
    pub input_tokens: u64,
    /// Tokens received from models.
    pub output_tokens: u64,
    /// Of the tokens sent, those that models had cached.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// What that cost by the configured prices, in millionths of a dollar.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_microdollars: u64,
    /// Of the calls, those that `rules` answered because no model could.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub degraded_calls: u64,
}

// The form that serde asks for.
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Whether nothing was asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.api_calls = self.api_calls.saturating_add(other.api_calls);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.cost_microdollars = self.cost_microdollars.saturating_add(other.cost_microdollars);
        self.degraded_calls = self.degraded_calls.saturating_add(other.degraded_calls);
    }
}

/// What the attempts at a run took of the functions that made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Footprint {
    /// Round trips to the table and the buckets while its messages and calls were worked on, those that closed the run
    /// included. None are counted where nobody measures.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub store_calls: u64,
    /// How long the attempts lasted, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub working_ms: u64,
    /// The most memory that a function's process had held when an attempt ended, in bytes, other runs' included. A
    /// document is read in a process of its own, which is not in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub peak_memory_bytes: u64,
}

impl Footprint {
    /// Whether nothing was measured.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// That of these attempts and of another one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            store_calls: self.store_calls.saturating_add(other.store_calls),
            working_ms: self.working_ms.saturating_add(other.working_ms),
            peak_memory_bytes: self.peak_memory_bytes.max(other.peak_memory_bytes),
        }
    }
}

/// The right to work on a run, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker: unique to one attempt.
    pub owner: String,
    /// When it ends unless renewed.
    pub until: Timestamp,
}

/// Where a run that repeats another one came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The run that it repeats.
    pub retry_of: RunId,
    /// The step from which it does so; without one, everything that the other had done stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<String>,
    /// The run by whose id the keys of its effects are made: that of the first in the line, as long as nothing was
    /// edited, so that the other side recognizes an effect that a former run began.
    pub keys_of: RunId,
    /// The first run of the line: what was claimed for one of them is claimed for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_run: Option<RunId>,
}

/// One execution of one workflow on one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    #[serde(rename = "run_id")]
    pub id: RunId,
    /// Its workflow.
    #[serde(rename = "type")]
    pub workflow: WorkflowType,
    /// The id inside its data: the email's, the document's or the task's.
    pub data_id: String,
    /// The definition version it is pinned to.
    pub definition_version: u32,
    /// Where it stands.
    pub status: Status,
    /// Where it came from.
    pub origin: Origin,
    /// The run that it repeats, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// What it works on.
    pub input: Value,
    /// What came of it, once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The last error, kept through retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Attempts that failed. A hand-over is none.
    pub failed_attempts: u32,
    /// What the assistant was asked so far.
    #[serde(default)]
    pub usage: Usage,
    /// What its attempts took so far.
    #[serde(default, skip_serializing_if = "Footprint::is_none")]
    pub footprint: Footprint,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When a queued or waiting run may be worked on again: the wait before a retry, the end of a sleep, the deadline
    /// of a callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Whether a dead letter about its failure has still to be sent.
    #[serde(default)]
    pub owes_letter: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its record last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

impl Run {
    /// The first of the runs that repeat each other: this one, unless it is a retry.
    pub fn first_of_line(&self) -> RunId {
        self.lineage.as_ref().map_or(self.id, |lineage| lineage.first_run.unwrap_or(lineage.keys_of))
    }
}

/// The part of a [`Run`] that lists show: everything but its data, result and lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// Its id.
    #[serde(rename = "run_id")]
    pub id: RunId,
    /// Its workflow.
    #[serde(rename = "type")]
    pub workflow: WorkflowType,
    /// The id inside its data.
    pub data_id: String,
    /// Where it stands.
    pub status: Status,
    /// Through which door it came.
    pub trigger: Trigger,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// What kind of error it last met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<super::Kind>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

impl From<&Run> for Summary {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            workflow: run.workflow,
            data_id: run.data_id.clone(),
            status: run.status,
            trigger: run.origin.trigger,
            failed_attempts: run.failed_attempts,
            error_kind: run.error.as_ref().map(|error| error.kind),
            created_at: run.created_at,
            finished_at: run.finished_at,
        }
    }
}

/// Where a step stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// An effect's intent: its writer, and nobody else, performs it.
    Intended,
    /// An effect that certainly did not happen; another attempt may intend it again.
    Released,
    /// Waits for a time or an answer; its output says for which.
    Waiting,
    /// Has its result.
    Done,
}

/// What kind of thing an entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A step: no effect outside.
    #[default]
    Step,
    /// An effect outside.
    Effect,
    /// A sleep or a callback.
    Wait,
}

impl StepKind {
    /// Whether it is a plain step.
    pub const fn is_step(&self) -> bool {
        matches!(self, Self::Step)
    }
}

/// One step, effect or wait in a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its place in the order of the code: `00003`, or `00003.00001.00000` inside a parallel branch.
    pub position: String,
    /// Its name.
    pub name: String,
    /// What kind of thing it is.
    #[serde(default, skip_serializing_if = "StepKind::is_step")]
    pub kind: StepKind,
    /// Where it stands.
    pub state: StepState,
    /// Its result, once done.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Who wrote this entry.
    pub owner: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What the assistant was asked in it.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    pub usage: Usage,
}

/// What a segment of a journal tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A step, an effect or a wait came this far.
    Step(StepRecord),
    /// The run was cancelled: from here on nothing is begun; what was begun may still get its outcome.
    Cancelled {
        /// On whose behalf.
        by: String,
        /// When.
        at: Timestamp,
    },
}

/// Entries that were appended to a journal at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number, from 0 and without gaps.
    pub number: u32,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

/// What a journal comes to: for each position the entry that stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    steps: BTreeMap<String, StepRecord>,
    cancelled: bool,
    next_segment: u32,
}

impl History {
    /// The history that these segments, in order, come to.
    pub fn of(segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut history = Self::default();
        for segment in segments {
            history.apply(segment);
        }
        history
    }

    /// Takes in the next segment.
    pub fn apply(&mut self, segment: Segment) {
        self.next_segment = segment.number + 1;
        for entry in segment.entries {
            match entry {
                Entry::Step(step) => self.take_in(step),
                Entry::Cancelled { .. } => self.cancelled = true,
            }
        }
    }

    /// Takes in one entry, if it may follow what stands at its position: a result stays for ever, an intent and a
    /// wait until their outcome, and what was released can be intended again.
    pub fn take_in(&mut self, step: StepRecord) {
        let follows = match self.steps.get(&step.position).map(|standing| standing.state) {
            None | Some(StepState::Released) => true,
            Some(StepState::Intended) => matches!(step.state, StepState::Done | StepState::Released),
            Some(StepState::Waiting) => step.state == StepState::Done,
            Some(StepState::Done) => false,
        };
        if follows {
            self.steps.insert(step.position.clone(), step);
        }
    }

    /// The entry that stands at a position.
    pub fn at(&self, position: &str) -> Option<&StepRecord> {
        self.steps.get(position)
    }

    /// The entries that stand, in order of position.
    pub fn steps(&self) -> impl Iterator<Item = &StepRecord> {
        self.steps.values()
    }

    /// The entries that stand, in order of position.
    pub fn into_steps(self) -> Vec<StepRecord> {
        self.steps.into_values().collect()
    }

    /// Whether the run was cancelled.
    pub const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The number of the segment that comes next.
    pub const fn next_segment(&self) -> u32 {
        self.next_segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trigger_leads_to_the_same_run() {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(RunId::derived(at, &["queue", "m1"]), RunId::derived(at, &["queue", "m1"]));
        assert_ne!(RunId::derived(at, &["queue", "m1"]), RunId::derived(at, &["queu", "em1"]));
        assert_eq!(RunId::derived(at, &["x"]).made_at(), at);
    }

    #[test]
    fn ids_sort_by_time() {
        let early = RunId::new(Timestamp::from_second(1).unwrap(), u128::MAX);
        let late = RunId::first_of(Timestamp::from_second(2).unwrap());
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn an_unknown_type_names_those_that_exist() {
        let error = "mail".parse::<WorkflowType>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown workflow type `mail`, expected one of `email_processing`, `document_review`, `task_automation`"
        );
    }
}
