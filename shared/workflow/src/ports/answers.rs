use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    domain::{Failure, RunId},
    mail,
};

/// Who was answered lately: one answer per sender and window, so that two machines never write to each
/// other for long.
#[async_trait]
pub trait AnswerLedger: Send + Sync {
    /// Claims the one answer to this address in the window that begins now. The same run may claim again; runs that
    /// repeat each other claim as the first of them.
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure>;

    /// Gives a claim back, for an answer that certainly did not go out: the window is over. A claim of another run
    /// stands, and so does a suppression.
    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure>;

    /// Grants no claim to this address any more: mail to it bounced for good, or its owner complained.
    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure>;
}

/// What an address is kept under: one sender has one key, however they write their address. Letters of either case are
/// the same, and what follows a `+` does not count: `a+1@b.example` and `a+2@b.example` are `a@b.example`.
pub fn sender_key(address: &str) -> String {
    match mail::address::mailbox(address) {
        Some((local, domain)) => format!("{local}@{domain}"),
        None => address.to_lowercase(),
    }
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
