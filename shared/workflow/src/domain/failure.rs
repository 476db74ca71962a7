//! Why something did not work, and what that means for a retry.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::run::Usage;

/// The kinds that callers treat differently.
///
/// Retryable unless terminal: [`Kind::retryable`] tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FailureKind))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The other side could not be reached, or the connection broke.
    Connection,
    /// The other side, or a step, took too long.
    Timeout,
    /// The other side asked to slow down.
    Throttled,
    /// The input or an answer is not valid; the same input will not do better.
    Validation,
    /// The caller, or this function's role, may not do this.
    Authorization,
    /// The other side understood and declined: a rejected message, a content filter.
    Refused,
    /// What is asked for does not exist.
    NotFound,
    /// The journal's step names do not match the order of the code.
    JournalMismatch,
    /// The run was cancelled.
    Cancelled,
    /// Nobody answered in time, and nothing was said to do then.
    Expired,
    /// The budget is spent; the failure's wait says until when.
    OverBudget,
    /// Anything else. Retried, because most unknown faults pass.
    Unknown,
}

impl Kind {
    /// Whether another attempt with the same input may succeed.
    pub const fn retryable(self) -> bool {
        match self {
            Self::Connection | Self::Timeout | Self::Throttled | Self::Unknown => true,
            Self::Validation
            | Self::Authorization
            | Self::Refused
            | Self::NotFound
            | Self::JournalMismatch
            | Self::Cancelled
            | Self::Expired
            | Self::OverBudget => false,
        }
    }

    /// The name used in records, logs and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Validation => "validation",
            Self::Authorization => "authorization",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::JournalMismatch => "journal_mismatch",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::OverBudget => "over_budget",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A fault with its kind, where it happened and how long to wait.
///
/// The message is for the operator: it names the place and quotes nothing that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of fault.
    pub kind: Kind,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// The step in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What a server asked to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whether an outside effect may have happened all the same (a timeout after the request went out).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maybe_applied: bool,
    /// What the assistant was asked without a result: in this attempt and in those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_vain: Option<Box<InVain>>,
}

/// What a model was asked, and said, without a result.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InVain {
    /// What that took.
    #[serde(default)]
    pub usage: Usage,
    /// The beginning of what the model said instead of what it was asked for. It is kept with the run, for whoever may
    /// see that, and shown nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Debug for InVain {
    /// Without the text: it may repeat what a person wrote, and what is printed like this ends in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InVain").field("usage", &self.usage).finish_non_exhaustive()
    }
}

// Enough to see what went wrong; a failure is stored with its run and read with it each time.
const LONGEST_TEXT: usize = 4096;

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), step: None, retry_after_ms: None, maybe_applied: false, in_vain: None }
    }

    /// Invalid input or an invalid answer.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(Kind::Validation, message)
    }

    /// The same failure, with the step in which it happened; an inner step's name is kept.
    #[must_use]
    pub fn in_step(mut self, step: &str) -> Self {
        self.step.get_or_insert_with(|| step.to_owned());
        self
    }

    /// The same failure, with the wait that a server asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The same failure, after the assistant was asked this in vain, and said this.
    #[must_use]
    pub fn after_asking(mut self, usage: Usage, text: Option<&str>) -> Self {
        if !usage.is_none() || text.is_some() {
            let in_vain = self.in_vain.get_or_insert_default();
            in_vain.usage += usage;
            in_vain.text = text.map(|text| text.chars().take(LONGEST_TEXT).collect()).or(in_vain.text.take());
        }
        self
    }

    /// The same failure, when this is all that was asked in vain.
    #[must_use]
    pub fn having_asked(mut self, usage: Usage) -> Self {
        if let Some(in_vain) = &mut self.in_vain {
            in_vain.usage = usage;
            return self;
        }
        self.after_asking(usage, None)
    }

    /// What the assistant was asked in vain.
    pub fn usage(&self) -> Usage {
        self.in_vain.as_ref().map(|in_vain| in_vain.usage).unwrap_or_default()
    }

    /// The same failure, of a request that may have been carried out.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.maybe_applied = true;
        self
    }
}
