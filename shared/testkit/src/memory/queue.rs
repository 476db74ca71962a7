use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, WorkflowType, input::Input},
    ports::{
        Clock, DeadLetter, DeadLetters, LARGEST_DATA, LONGEST_DELAY, Letter, MOST_LETTERS, Queue, REDRIVE_OF,
        REDRIVE_SENT_AT,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lock;

/// The longest start that is one message, in bytes, as on the real queue.
const LONGEST_START: usize = 255 * 1024;

/// The workflows' queues in memory. Messages wait until a test takes them; a taken message is gone.
#[derive(Clone)]
pub struct MemoryQueue {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    messages: BTreeMap<WorkflowType, Vec<Message>>,
    dead_letters: BTreeMap<WorkflowType, Vec<Kept>>,
    letters_ever: u64,
    laid_aside: BTreeMap<String, Vec<u8>>,
}

/// A dead letter where it is kept.
#[derive(Clone)]
struct Kept {
    id: String,
    letter: DeadLetter,
    at: Timestamp,
}

/// A message on a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whose queue it is on.
    pub workflow: WorkflowType,
    /// What it says.
    pub body: Body,
    /// Its attributes, as on the wire: none, but for what was sent back from the dead letters.
    pub attributes: BTreeMap<String, String>,
    /// The delay it was sent with.
    pub delay: Duration,
    /// When it may be taken.
    pub due_at: Timestamp,
}

/// What a message says, with the fields of the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The same, with more data than a message holds.
    StartAside {
        /// The workflow.
        #[serde(rename = "type")]
        workflow: WorkflowType,
        /// Where its data is.
        data_at: String,
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
    /// A letter that was sent back, and that was never a message of ours.
    #[serde(skip_deserializing)]
    Other(String),
}

impl Body {
    /// The run it is about.
    ///
    /// # Panics
    /// When it is not a message of ours.
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Start { run_id, .. } | Self::StartAside { run_id, .. } | Self::Resume { run_id } => *run_id,
            Self::Other(text) => panic!("no message of ours: `{text}`"),
        }
    }

    /// The message's text, as on the wire.
    pub fn to_json(&self) -> String {
        match self {
            Self::Other(text) => text.clone(),
            ours => serde_json::json!(ours).to_string(),
        }
    }

    fn of_letter(text: &str) -> Self {
        // Whatever is not to the letter what we would write stays the text it is.
        serde_json::from_str(text)
            .ok()
            .filter(|body: &Self| {
                serde_json::from_str::<Value>(text).is_ok_and(|value| serde_json::json!(body) == value)
            })
            .unwrap_or_else(|| Self::Other(text.to_owned()))
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
        let state = lock(&self.state);
        state.dead_letters.get(&workflow).into_iter().flatten().map(|kept| kept.letter.clone()).collect()
    }

    fn push(&self, workflow: WorkflowType, body: Body, attributes: BTreeMap<String, String>, delay: Duration) {
        let due_at = SignedDuration::try_from(delay)
            .ok()
            .and_then(|delay| self.clock.now().checked_add(delay).ok())
            .unwrap_or(Timestamp::MAX);
        let message = Message { workflow, body, attributes, delay, due_at };
        lock(&self.state).messages.entry(workflow).or_default().push(message);
    }

    /// Takes the letters with these ids out.
    fn take_letters(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Kept>, Failure> {
        if ids.len() > MOST_LETTERS {
            return Err(Failure::validation(format!("there are more than {MOST_LETTERS} letters")));
        }
        let mut state = lock(&self.state);
        let kept = state.dead_letters.entry(workflow).or_default();
        let (taken, left) = std::mem::take(kept).into_iter().partition(|letter| ids.contains(&letter.id));
        *kept = left;
        Ok(taken)
    }
}

impl Kept {
    fn to_letter(&self) -> Letter {
        Letter {
            id: self.id.clone(),
            body: self.letter.body.clone(),
            reason: Some(self.letter.reason.clone()),
            kind: Some(self.letter.kind.name().to_owned()),
            run: self.letter.run,
            at: self.at,
        }
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
        if delay > LONGEST_DELAY {
            return Err(Failure::validation("a delay of more than five years is taken for a mistake"));
        }
        self.push(workflow, Body::Resume { run_id: run }, BTreeMap::new(), delay);
        Ok(())
    }

    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure> {
        let workflow = input.workflow();
        let (data, source) = (input.to_value(), source.to_owned());
        let text = data.to_string();
        if text.len() as u64 > LARGEST_DATA {
            let bytes = text.len();
            return Err(Failure::validation(format!("the data has {bytes} bytes, more than {LARGEST_DATA}")));
        }
        let mut body = Body::Start { workflow, data, run_id: run, source: source.clone() };
        if body.to_json().len() > LONGEST_START {
            let data_at = format!("starts/{run}");
            lock(&self.state).laid_aside.insert(data_at.clone(), text.into_bytes());
            body = Body::StartAside { workflow, data_at, run_id: run, source };
        }
        self.push(workflow, body, BTreeMap::new(), Duration::ZERO);
        Ok(())
    }

    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure> {
        let run = place.strip_prefix("starts/").and_then(|run| run.parse::<RunId>().ok());
        if run.is_none_or(|run| format!("starts/{run}") != place) {
            return Err(Failure::validation("`data_at` is not `starts/<run id>`"));
        }
        let found = lock(&self.state).laid_aside.get(place).cloned();
        found.ok_or_else(|| Failure::new(Kind::NotFound, "there is no such object"))
    }

    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut state = lock(&self.state);
        state.letters_ever += 1;
        let id = format!("letter-{}", state.letters_ever);
        state.dead_letters.entry(workflow).or_default().push(Kept { id, letter: letter.clone(), at });
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for MemoryQueue {
    async fn look(&self, workflow: WorkflowType, limit: usize) -> Result<Vec<Letter>, Failure> {
        if !(1..=MOST_LETTERS).contains(&limit) {
            return Err(Failure::validation(format!("the number of letters is not 1 to {MOST_LETTERS}")));
        }
        let state = lock(&self.state);
        Ok(state.dead_letters.get(&workflow).into_iter().flatten().take(limit).map(Kept::to_letter).collect())
    }

    async fn redrive(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure> {
        let taken = self.take_letters(workflow, ids)?;
        for Kept { id, letter, at } in &taken {
            let run = letter.run.map(|run| ("run_id", run.to_string()));
            let attributes = [("reason", letter.reason.clone()), ("kind", letter.kind.name().to_owned())]
                .into_iter()
                .chain(run)
                .chain([(REDRIVE_OF, id.clone()), (REDRIVE_SENT_AT, at.as_millisecond().to_string())])
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            self.push(workflow, Body::of_letter(&letter.body), attributes, Duration::ZERO);
        }
        Ok(taken.iter().map(Kept::to_letter).collect())
    }

    async fn discard(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure> {
        Ok(self.take_letters(workflow, ids)?.iter().map(Kept::to_letter).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::VirtualClock;

    const TASK: WorkflowType = WorkflowType::TaskAutomation;

    #[tokio::test]
    async fn a_letter_that_was_sent_back_is_the_message_it_was() {
        let queue = MemoryQueue::new(VirtualClock::default());
        let run: RunId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        for body in [format!("{{\"run_id\":\"{run}\"}}"), "{\"type\": broken".to_owned(), "{\"x\": 1}".to_owned()] {
            let letter =
                DeadLetter { body: body.clone(), reason: "why".to_owned(), kind: Kind::Unknown, run: Some(run) };
            queue.dead_letter(TASK, &letter).await.unwrap();
            let id = queue.look(TASK, 1).await.unwrap()[0].id.clone();
            assert_eq!(queue.redrive(TASK, std::slice::from_ref(&id)).await.unwrap().len(), 1);
            let message = queue.take(TASK).unwrap();
            assert_eq!(message.body.to_json(), body);
            assert_eq!(message.attributes[REDRIVE_OF], id);
            assert_eq!(message.attributes[REDRIVE_SENT_AT], "1740830400000");
            assert_eq!(message.attributes["run_id"], run.to_string());
            assert_eq!(matches!(message.body, Body::Resume { .. }), body.contains("run_id"));
        }
    }
}
