//! What a run can wait for.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest sleep, and the latest deadline of a callback: a month less than runs are kept.
pub const LONGEST_WAIT: Duration = Duration::from_hours(60 * 24);

/// A callback that was opened: a question that somebody outside answers, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Callback {
    pub(super) name: String,
    pub(super) position: String,
    pub(super) wait: Wait,
}

impl Callback {
    /// Its name, a part of the address where it is answered.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The right to answer it: 32 hexadecimal digits. Tell it to nobody else than who is to answer.
    pub fn token(&self) -> &str {
        self.wait.token.as_deref().unwrap_or_default()
    }

    /// Until when it can be answered.
    pub const fn deadline(&self) -> Timestamp {
        self.wait.until
    }
}

/// What is answered to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// Neither: the data is the answer.
    Data,
    /// Nobody answered in time.
    Expired,
}

/// An answer to a callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What was decided.
    pub decision: Decision,
    /// What came with it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// Who answered, in their own words: a name, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Reply {
    /// The answer, unless it stands for none.
    pub(super) fn in_time(self) -> Option<Self> {
        (self.decision != Decision::Expired).then_some(self)
    }

    /// Whether it says the same, whoever says it and whenever.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.decision == other.decision && self.data == other.data
    }
}

/// How a wait stands in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Wait {
    pub(super) until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) asks: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply>,
}
