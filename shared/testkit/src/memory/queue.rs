use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, RunId, WorkflowType, input::Input},
    ports::{Clock, DeadLetter, Queue},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::lock;

/// The longest delay of a message, as on the real queue.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// The workflows' queues in memory. Messages wait until a test takes them; a taken message is gone.
#[derive(Clone)]
pub struct MemoryQueue {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    messages: BTreeMap<WorkflowType, Vec<Message>>,
    dead_letters: BTreeMap<WorkflowType, Vec<DeadLetter>>,
}

/// A message on a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whose queue it is on.
    pub workflow: WorkflowType,
    /// What it says.
    pub body: Body,
    /// The delay it was sent with, at most 15 minutes.
    pub delay: Duration,
    /// When it may be taken.
    pub due_at: Timestamp,
}

/// What a message says, with the fields of the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// Start this run, unless it exists.
    Start {
        /// The workflow.
        #[serde(rename = "type")]
        workflow: WorkflowType,
        /// Its data.
        data: Value,
        /// The run's id.
        run_id: RunId,
        /// Who asks.
        source: String,
    },
    /// Go on with this run.
    Resume {
        /// The run's id.
        run_id: RunId,
    },
}

impl Body {
    /// The run it is about.
    pub const fn run_id(&self) -> RunId {
        match self {
            Self::Start { run_id, .. } | Self::Resume { run_id } => *run_id,
        }
    }

    /// The message's text, as on the wire.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl MemoryQueue {
    /// Empty queues, whose delays run on this clock.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), state: Arc::default() }
    }

    /// Takes the message that became due first, if one is due by now. Among messages due at the same moment, the
    /// one sent first comes first.
    pub fn take(&self, workflow: WorkflowType) -> Option<Message> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let messages = state.messages.get_mut(&workflow)?;
        let (index, _) =
            messages.iter().enumerate().filter(|(_, message)| message.due_at <= now).min_by_key(|(_, m)| m.due_at)?;
        Some(messages.remove(index))
    }

    /// Takes every message, due or not, in the order in which they were sent.
    pub fn drain(&self, workflow: WorkflowType) -> Vec<Message> {
        lock(&self.state).messages.remove(&workflow).unwrap_or_default()
    }

    /// The messages that wait, due or not, in the order in which they were sent.
    pub fn messages(&self, workflow: WorkflowType) -> Vec<Message> {
        lock(&self.state).messages.get(&workflow).cloned().unwrap_or_default()
    }

    /// When the next message of any workflow becomes due, or became so.
    pub fn next_due(&self) -> Option<Timestamp> {
        lock(&self.state).messages.values().flatten().map(|message| message.due_at).min()
    }

    /// The dead letters of a workflow, oldest first.
    pub fn dead_letters(&self, workflow: WorkflowType) -> Vec<DeadLetter> {
        lock(&self.state).dead_letters.get(&workflow).cloned().unwrap_or_default()
    }

    fn push(&self, workflow: WorkflowType, body: Body, delay: Duration) {
        let delay = delay.min(LONGEST_DELAY);
        let due_at = SignedDuration::try_from(delay)
            .ok()
            .and_then(|delay| self.clock.now().checked_add(delay).ok())
            .unwrap_or(Timestamp::MAX);
        let message = Message { workflow, body, delay, due_at };
        lock(&self.state).messages.entry(workflow).or_default().push(message);
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        formatter
            .debug_struct("MemoryQueue")
            .field("messages", &state.messages.values().map(Vec::len).sum::<usize>())
            .field("dead_letters", &state.dead_letters.values().map(Vec::len).sum::<usize>())
            .finish()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        self.push(workflow, Body::Resume { run_id: run }, delay);
        Ok(())
    }

    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure> {
        let workflow = input.workflow();
        let body = Body::Start { workflow, data: input.to_value(), run_id: run, source: source.to_owned() };
        self.push(workflow, body, Duration::ZERO);
        Ok(())
    }

    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        lock(&self.state).dead_letters.entry(workflow).or_default().push(letter.clone());
        Ok(())
    }
}
