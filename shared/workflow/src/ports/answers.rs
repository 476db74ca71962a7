use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{Failure, RunId};

/// Who was answered lately: one answer per sender and window, so that two machines never write to each
/// other for long.
#[async_trait]
pub trait AnswerLedger: Send + Sync {
    /// Claims the one answer to this address in the window that begins now. The same run may claim again.
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure>;

    /// Grants no claim to this address any more: mail to it bounced for good, or its owner complained.
    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure>;
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// This run may answer.
    Granted,
    /// Another run answered within the window.
    AnsweredAlready,
    /// The address must not be written to.
    Suppressed,
}
