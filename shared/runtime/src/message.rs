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

impl Message {
    /// Reads a message of this workflow's queue.
    ///
    /// # Errors
    /// This returns an error that names each place where the message is not what the queue carries: the byte
    /// where the JSON breaks, or the field.
    pub fn parse(workflow: WorkflowType, body: &str) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(rename = "type")]
            workflow: Option<String>,
            data: Option<Value>,
            run_id: Option<String>,
            source: Option<String>,
        }
        let value: Value =
            serde_json::from_str(body).map_err(|error| Invalid::one("message", format!("is not JSON: {error}")))?;
        if !value.is_object() {
            return Err(Invalid::one("message", "is not a JSON object"));
        }
        let wire: Wire = serde_path_to_error::deserialize(value)
            .map_err(|error| Invalid::one(error.path().to_string(), input::problem(error.inner())))?;
        let run_id = wire
            .run_id
            .map(|text| text.parse::<RunId>().map_err(|failure| Invalid::one("run_id", failure.to_string())))
            .transpose()?;
        match (wire.workflow, wire.data, run_id) {
            (None, None, Some(run_id)) => Ok(Self::Resume(run_id)),
            (None, None, None) => Err(Invalid::one("message", "has neither `type` and `data` nor `run_id`")),
            (None, Some(_), _) => Err(Invalid::one("type", "is missing")),
            (Some(_), None, _) => Err(Invalid::one("data", "is missing")),
            (Some(named), Some(data), run_id) => {
                let named: WorkflowType =
                    named.parse().map_err(|failure| Invalid::one("type", format!("{failure}")))?;
                if named != workflow {
                    return Err(Invalid::one(
                        "type",
                        format!("`{named}` does not belong on the queue of `{workflow}`"),
                    ));
                }
                let input = Box::new(input::parse(workflow, data)?);
                let source = wire.source.as_deref().map(Source::parse).transpose()?;
                Ok(Self::Start { input, run_id, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &str) -> String {
        Message::parse(WorkflowType::TaskAutomation, body).unwrap_err().to_string()
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
        let message = Message::parse(WorkflowType::TaskAutomation, &format!("{{\"run_id\":\"{id}\"}}")).unwrap();
        assert_eq!(message, Message::Resume(id.parse().unwrap()));
    }
}
