//! What stands on a workflow's queue.

use ihelper_workflow::domain::{
    RunId, WorkflowType,
    input::{self, Input, Invalid},
};
use serde::Deserialize;
use serde_json::Value;

/// A message: from any producer, or from ourselves.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Start a run: `{"type", "data"}`, and from ourselves also `run_id` and `source`.
    Start {
        /// The data.
        input: Box<Input>,
        /// The run's id, where the sender fixed it.
        run_id: Option<RunId>,
        /// Who asks, where it is not just a producer.
        source: Option<Source>,
    },
    /// Go on with a run: `{"run_id"}`.
    Resume(RunId),
}

/// Who asks for a run, other than a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A run: `run:<run id>`.
    Run(RunId),
    /// An event: `event:<source>/<id>`.
    Event(String),
}

// Longer than any source and id that EventBridge takes; a run keeps it twice.
const LONGEST_SOURCE: usize = 512;

impl Source {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let known = match text.split_once(':') {
            Some(("run", run)) => run.parse().ok().map(Self::Run),
            Some(("event", event)) if !event.is_empty() && text.len() <= LONGEST_SOURCE => {
                Some(Self::Event(event.to_owned()))
            }
            _ => None,
        };
        known.ok_or_else(|| Invalid::one("source", "is neither `run:<run id>` nor `event:<source>/<id>` of 512 bytes"))
    }
}

/// A message as it stands on the queue: read as JSON, its data not yet checked.
#[derive(Debug, Deserialize)]
pub struct Wire {
    #[serde(rename = "type")]
    named: Option<String>,
    data: Option<Value>,
    data_at: Option<String>,
    run_id: Option<String>,
    source: Option<String>,
    #[serde(skip)]
    workflow: Option<WorkflowType>,
}

impl Wire {
    /// Reads a message of this workflow's queue.
    ///
    /// # Errors
    /// This returns an error that names the byte where the JSON breaks, or the field that is not of its type or of
    /// another workflow.
    pub fn parse(workflow: WorkflowType, body: &str) -> Result<Self, Invalid> {
        let value: Value =
            serde_json::from_str(body).map_err(|error| Invalid::one("message", format!("is not JSON: {error}")))?;
        if !value.is_object() {
            return Err(Invalid::one("message", "is not a JSON object"));
        }
        let mut wire: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| Invalid::one(error.path().to_string(), input::problem(error.inner())))?;
        if let Some(named) = &wire.named {
            let named: WorkflowType = named.parse().map_err(|failure| Invalid::one("type", format!("{failure}")))?;
            if named != workflow {
                let problem = format!("`{named}` does not belong on the queue of `{workflow}`");
                return Err(Invalid::one("type", problem));
            }
            wire.workflow = Some(named);
        }
        Ok(wire)
    }

    /// Where its data lies, when it is not in the message itself.
    pub fn data_at(&self) -> Option<&str> {
        self.data_at.as_deref().filter(|_| self.data.is_none())
    }

    /// The message, with data that was fetched from where it lies.
    ///
    /// # Errors
    /// As [`into_message`](Self::into_message).
    pub fn with_data(mut self, data: &[u8]) -> Result<Message, Invalid> {
        let data = serde_json::from_slice(data);
        self.data = Some(data.map_err(|error| Invalid::one("data_at", format!("what is there is not JSON: {error}")))?);
        self.into_message()
    }

    /// The message.
    ///
    /// # Errors
    /// This returns an error that names each field that is missing or not what the workflow accepts.
    pub fn into_message(self) -> Result<Message, Invalid> {
        let run_id = self.run_id.map(|text| text.parse::<RunId>()).transpose();
        let run_id = run_id.map_err(|failure| Invalid::one("run_id", failure.to_string()))?;
        match (self.workflow, self.data, run_id) {
            (None, None, Some(run_id)) => Ok(Message::Resume(run_id)),
            (None, None, None) => Err(Invalid::one("message", "has neither `type` and `data` nor `run_id`")),
            (None, Some(_), _) => Err(Invalid::one("type", "is missing")),
            (Some(_), None, _) => Err(Invalid::one("data", "is missing")),
            (Some(workflow), Some(data), run_id) => {
                let input = Box::new(input::parse(workflow, data)?);
                let source = self.source.as_deref().map(Source::parse).transpose()?;
                Ok(Message::Start { input, run_id, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &str) -> String {
        read(body).unwrap_err().to_string()
    }

    fn read(body: &str) -> Result<Message, Invalid> {
        Wire::parse(WorkflowType::TaskAutomation, body)?.into_message()
    }

    #[test]
    fn a_malformed_message_is_refused_with_its_place() {
        for (body, expected) in [
            ("", "is not JSON"),
            ("{\"type\": \"task_automation\", \"data\": {", "line 1 column"),
            ("[]", "is not a JSON object"),
            ("{}", "neither `type` and `data` nor `run_id`"),
            ("{\"data\":{}}", "`type`: is missing"),
            ("{\"type\":\"task_automation\"}", "`data`: is missing"),
            ("{\"type\":7,\"data\":{}}", "`type`"),
            ("{\"type\":\"nothing\",\"data\":{}}", "unknown workflow type `nothing`"),
            ("{\"type\":\"email_processing\",\"data\":{}}", "does not belong on the queue"),
            ("{\"type\":\"task_automation\",\"data\":{\"id\":\"t\"}}", "description"),
            ("{\"run_id\":\"short\"}", "`run_id`: a run id is a ULID"),
        ] {
            assert!(problem(body).contains(expected), "`{body}` gave `{}`", problem(body));
        }
        assert!(problem(&"[".repeat(100_000)).contains("recursion limit"), "{}", problem(&"[".repeat(100_000)));
    }

    #[test]
    fn a_message_of_ours_goes_on_with_a_run() {
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let message = read(&format!("{{\"run_id\":\"{id}\"}}")).unwrap();
        assert_eq!(message, Message::Resume(id.parse().unwrap()));
    }

    #[test]
    fn data_that_lies_elsewhere_is_read_like_data_in_the_message() {
        let body = r#"{"type": "task_automation", "data_at": "starts/x"}"#;
        let wire = || Wire::parse(WorkflowType::TaskAutomation, body).unwrap();
        assert_eq!(wire().data_at(), Some("starts/x"));
        let there = wire().with_data(br#"{"id": "t", "description": "x"}"#).unwrap();
        assert_eq!(there, read(r#"{"type": "task_automation", "data": {"id": "t", "description": "x"}}"#).unwrap());
        assert!(wire().with_data(b"{").unwrap_err().to_string().contains("`data_at`: what is there is not JSON"));
        let problem = wire().with_data(br#"{"id": 7}"#).unwrap_err().to_string();
        assert!(problem.contains("`data.id`"), "{problem}");
    }
}
