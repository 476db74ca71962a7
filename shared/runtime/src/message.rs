//! What stands on a workflow's queue.

use ihelper_workflow::domain::{
    Failure, Kind, RunId, WorkflowType,
    input::{self, Input, Invalid},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tokens::{self, Tokens};

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

/// What a message brings of the user on whose behalf its producer sends it.
///
/// Whether a producer may send at all is decided by who may write to the queue or the bus. A token is checked besides,
/// and makes a message worse, never better: one that is not valid ends it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    token: String,
    /// Whom the message itself names, by the seed's `user_id`.
    user_id: Option<Value>,
}

/// Why a message is refused for its token, or cannot be judged now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAuthorised(pub Failure);

const TOKEN: &str = "token";
const AUTHORIZATION: &str = "authorization";
const USER_ID: &str = "user_id";

impl Credentials {
    /// The credentials among the members of a message, beside its `type` and `data`: a `token`, or an `authorization`
    /// with `Bearer` before it.
    ///
    /// # Errors
    /// This returns an error that names the member when it is no token, or when there are both.
    pub fn of(members: &Map<String, Value>) -> Result<Option<Self>, Invalid> {
        let given = |name| members.get(name).filter(|value| !value.is_null());
        let token = match (given(TOKEN), given(AUTHORIZATION)) {
            (None, None) => return Ok(None),
            (Some(Value::String(token)), None) => Some((TOKEN, Some(token.as_str()))),
            (None, Some(Value::String(value))) => Some((AUTHORIZATION, tokens::of_authorization(value))),
            (Some(_), Some(_)) => {
                return Err(Invalid::one(AUTHORIZATION, "takes the place of `token`: one of them only"));
            }
            (Some(_), None) => Some((TOKEN, None)),
            (None, Some(_)) => Some((AUTHORIZATION, None)),
        };
        match token {
            Some((_, Some(token))) => Ok(Some(Self { token: token.to_owned(), user_id: given(USER_ID).cloned() })),
            Some((TOKEN, None)) => Err(Invalid::one(TOKEN, "is not a text")),
            _ => Err(Invalid::one(AUTHORIZATION, "is not `Bearer` and a token")),
        }
    }

    /// Checks the token as of when the message was sent: one that expired while it waited was good.
    ///
    /// # Errors
    /// This returns an error of kind `authorization` when the token is not valid, or is another's than `user_id` says;
    /// and another one when nobody can tell now.
    pub async fn check(&self, tokens: &Tokens, sent_at: Timestamp) -> Result<(), NotAuthorised> {
        let bearer = match tokens.verify_as_of(&self.token, sent_at).await {
            Ok(bearer) => bearer,
            Err(tokens::Error::Unavailable(failure)) => return Err(NotAuthorised(failure)),
            Err(refused) => return Err(NotAuthorised(Failure::new(Kind::Authorization, refused.to_string()))),
        };
        if self.user_id.as_ref().is_some_and(|user| *user != bearer.subject) {
            let problem = "the token is not that of `user_id`";
            return Err(NotAuthorised(Failure::new(Kind::Authorization, problem)));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// A message's body without its token, for a dead letter, which people read. In the token's place stands what is none,
/// so that a letter that was refused for it is refused again when it is sent back.
pub fn without_token(body: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(body) else { return without_anything_like_a_token(body) };
    let mut found = false;
    for name in [TOKEN, AUTHORIZATION] {
        if let Some(value) = members.get_mut(name).filter(|value| !value.is_null()) {
            *value = Value::from("[removed]");
            found = true;
        }
    }
    // As it was, to the letter, where there is nothing to hide.
    if found { Value::Object(members).to_string() } else { body.to_owned() }
}

/// The same of what is no JSON: every JSON Web Token begins with `{"`, which is `eyJ` there.
fn without_anything_like_a_token(body: &str) -> String {
    let is_of_token = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut rest = body;
    let mut kept = String::new();
    while let Some(begin) = rest.find("eyJ") {
        let (before, token) = rest.split_at(begin);
        let end = token.find(|letter| !is_of_token(letter)).unwrap_or(token.len());
        kept.push_str(before);
        kept.push_str("[removed]");
        rest = &token[end..];
    }
    kept + rest
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
    credentials: Option<Credentials>,
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
        let Some(members) = value.as_object() else {
            return Err(Invalid::one("message", "is not a JSON object"));
        };
        let credentials = Credentials::of(members)?;
        let mut wire: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| Invalid::one(error.path().to_string(), input::problem(error.inner())))?;
        wire.credentials = credentials;
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

    /// What it brings of a user.
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
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
    fn a_token_stands_in_one_place_and_is_named_there() {
        let of = |members: Value| Credentials::of(members.as_object().unwrap());
        let token = |members| of(members).unwrap().map(|credentials| credentials.token);
        assert_eq!(token(serde_json::json!({"token": "a.b.c"})).as_deref(), Some("a.b.c"));
        assert_eq!(
            token(serde_json::json!({"authorization": "bearer a.b.c", "token": null})).as_deref(),
            Some("a.b.c")
        );
        assert_eq!(token(serde_json::json!({"user_id": "alice"})), None);
        for (members, field) in [
            (serde_json::json!({"token": 7}), "`token`: is not a text"),
            (serde_json::json!({"authorization": "a.b.c"}), "`authorization`: is not `Bearer` and a token"),
            (serde_json::json!({"authorization": ["Bearer a.b.c"]}), "`authorization`"),
            (serde_json::json!({"token": "a.b.c", "authorization": "Bearer a.b.c"}), "one of them only"),
        ] {
            let problem = of(members).unwrap_err().to_string();
            assert!(problem.contains(field), "{problem}");
        }
    }

    #[test]
    fn a_letter_shows_no_token_and_is_otherwise_as_it_was() {
        let body = r#"{"type": "task_automation",  "data": {"note": "token"}}"#;
        assert_eq!(without_token(body), body);
        for body in [
            r#"{"token": "eyJhbGciOi.eyJzdWIi.c2ln", "type": "x"}"#,
            r#"{"authorization": "Bearer eyJhbGciOi.eyJzdWIi.c2ln"}"#,
            r#"{"token": "eyJhbGciOi.eyJzdWIi.c2ln", "data": {"#,
            "eyJhbGciOi.eyJzdWIi.c2ln",
            "é eyJhbGciOi.eyJzdWIi.c2ln é eyJhbGciOi.eyJzdWIi.c2ln",
        ] {
            let shown = without_token(body);
            assert!(!shown.contains("eyJ") && !shown.contains("c2ln"), "{shown}");
            assert!(shown.contains("[removed]"), "{shown}");
        }
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
