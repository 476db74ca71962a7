use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{Failure, Kind, run::Usage};

/// A language model behind one endpoint: a conversation goes in, JSON that should fit a schema comes out.
///
/// An implementation makes one attempt and says honestly what came of it. Repeating, spreading over nodes, time limits
/// and accounts are the router's.
#[async_trait]
pub trait Model: Send + Sync {
    /// Completes a conversation.
    ///
    /// # Errors
    /// This returns an error that says what kind of fault it was, what the service asked to wait, and what tokens were
    /// spent all the same.
    async fn complete(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelFailure>;
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    /// What the model is to do: the definition's own words.
    pub system: String,
    /// The conversation, oldest first; the first turn is the user's.
    pub turns: Vec<Turn>,
    /// What the answer must look like.
    pub schema: Arc<AnswerSchema>,
    /// How freely the model chooses its words: 0 to 2. Without it, the service's own default counts.
    pub temperature: Option<f32>,
    /// The most tokens that the answer may take.
    pub max_output_tokens: u32,
    /// How long an answer may take, of each node that is tried.
    pub timeout: Duration,
}

impl ModelRequest {
    /// The bytes of everything that is sent as text: a model makes no more tokens of it than this.
    pub fn bytes(&self) -> u64 {
        let turns: usize = self.turns.iter().map(|turn| turn.stable.len() + turn.text.len()).sum();
        (self.system.len() + turns + self.schema.bytes) as u64
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub speaker: Speaker,
    /// What comes first and is the same for many requests, so that a service may cache it; mostly empty.
    pub stable: String,
    /// The rest.
    pub text: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Who asks.
    User,
    /// The model.
    Model,
}

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSchema {
    /// What the answer is called: letters, digits and `_`.
    pub name: String,
    /// The JSON schema: every object closed, every property required, nothing referred to.
    pub schema: Value,
    bytes: usize,
}

impl AnswerSchema {
    /// A schema by this name.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        let bytes = schema.to_string().len();
        Self { name: name.into(), schema, bytes }
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAnswer {
    /// Its text: JSON, if it kept to the schema.
    pub text: String,
    /// What it took.
    pub tokens: Tokens,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Sent, those that the service had cached included.
    pub input: u64,
    /// Of those, what the service had cached.
    pub cached: u64,
    /// Received.
    pub output: u64,
}

/// What kept a model from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelFault {
    /// The service asks to slow down.
    Throttled,
    /// What the account may use is used up.
    Quota,
    /// The service itself cannot keep up, or is not there for a while.
    Overloaded,
    /// No answer in time.
    Timeout,
    /// The service could not be reached, or the connection broke.
    Connection,
    /// The node is set up wrongly: its key, its rights, its model's name.
    Misconfigured,
    /// The model declined to answer.
    Refused,
    /// A filter of the service held back the question or the answer.
    ContentFiltered,
    /// The answer is longer than what it may take, or the question than what the model reads.
    Truncated,
    /// The service does not accept the request, or its answer is none.
    Invalid,
}

impl ModelFault {
    /// Whether the fault is the node's, so that another may do better with the same request.
    pub const fn is_of_the_node(self) -> bool {
        match self {
            Self::Throttled
            | Self::Quota
            | Self::Overloaded
            | Self::Timeout
            | Self::Connection
            | Self::Misconfigured => true,
            Self::Refused | Self::ContentFiltered | Self::Truncated | Self::Invalid => false,
        }
    }

    /// The name used in records and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::ContentFiltered => "content_filtered",
            Self::Truncated => "truncated",
            Self::Invalid => "invalid",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Throttled | Self::Quota | Self::Overloaded => Kind::Throttled,
            Self::Timeout => Kind::Timeout,
            Self::Connection => Kind::Connection,
            Self::Misconfigured => Kind::Authorization,
            Self::Refused | Self::ContentFiltered => Kind::Refused,
            Self::Truncated | Self::Invalid => Kind::Validation,
        }
    }
}

/// Why a model did not answer.
///
/// The message is for the operator: it names the place and quotes neither the prompt nor the model.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelFailure {
    /// What kind of fault.
    pub fault: ModelFault,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// What the service asked to wait.
    pub retry_after: Option<Duration>,
    /// What was spent all the same.
    pub tokens: Tokens,
    /// What the model said until then.
    pub text: Option<String>,
}

impl fmt::Debug for ModelFailure {
    /// Without the text, which may repeat what a person wrote.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ModelFailure")
            .field("fault", &self.fault)
            .field("message", &self.message)
            .field("retry_after", &self.retry_after)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl ModelFailure {
    /// A failure of this kind, after which nothing was spent.
    pub fn new(fault: ModelFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), retry_after: None, tokens: Tokens::default(), text: None }
    }

    /// The same failure, with the wait that the service asked for.
    #[must_use]
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..self }
    }

    /// The same failure, after this was spent and said.
    #[must_use]
    pub fn after(self, tokens: Tokens, text: Option<String>) -> Self {
        Self { tokens, text, ..self }
    }

    /// The failure as a step tells it, after all that was asked for it.
    pub fn into_failure(self, usage: Usage) -> Failure {
        let failure = Failure::new(self.fault.kind(), self.message).after_asking(usage, self.text.as_deref());
        match self.retry_after {
            Some(wait) => failure.retry_after(wait),
            None => failure,
        }
    }
}
