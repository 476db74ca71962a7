use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::{Failure, RunId, WorkflowType};

/// What may be spent on models, and what was.
///
/// Money is taken from an account before a call, as much as the call can cost at the most, and what it did not cost is
/// given back after it. So an account is never overdrawn, however many spend from it at once. What a call had taken that
/// was broken off stays taken: it may have been billed.
#[async_trait]
pub trait Budgets: Send + Sync {
    /// Takes an amount, in millionths of a dollar, from an account that holds `limit` of them, if so much is left.
    ///
    /// # Errors
    /// This returns an error when the account cannot be written; then the amount may have been taken.
    async fn reserve(&self, account: &Account, amount: u64, limit: u64) -> Result<Reserved, Failure>;

    /// Says what a call really cost for which this amount was taken. It may be more.
    ///
    /// # Errors
    /// This returns an error when the account cannot be written; then the whole amount may stay taken.
    async fn settle(&self, account: &Account, reserved: u64, spent: u64) -> Result<(), Failure>;
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Of a run, for as long as it lives.
    Run(RunId),
    /// Of a caller, for a day of UTC.
    CallerDay {
        /// Who.
        caller: String,
        /// The day's first moment.
        day: Timestamp,
    },
    /// Of a workflow, for a day of UTC.
    WorkflowDay {
        /// Which.
        workflow: WorkflowType,
        /// The day's first moment.
        day: Timestamp,
    },
}

impl Account {
    /// The day of UTC that a moment is in, by its first moment.
    pub fn day_of(at: Timestamp) -> Timestamp {
        let second = at.as_second();
        Timestamp::from_second(second - second.rem_euclid(86_400)).unwrap_or(Timestamp::MIN)
    }

    /// When the account is full again; that of a run never is.
    pub fn resets_at(&self) -> Option<Timestamp> {
        match self {
            Self::Run(_) => None,
            Self::CallerDay { day, .. } | Self::WorkflowDay { day, .. } => {
                day.checked_add(SignedDuration::from_hours(24)).ok()
            }
        }
    }
}

/// What came of taking money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is taken.
    Granted,
    /// There is enough, if the calls under way cost less than was taken for them.
    Occupied,
    /// There is not enough, whatever those under way cost.
    Spent,
}

/// Answers of the assistant that count for equal questions.
///
/// A key is a hash of everything that the answer depends on, the caller included, so no caller ever sees what another
/// one's question led to.
#[async_trait]
pub trait StepCache: Send + Sync {
    /// The value of a key, if there is one that still counts.
    async fn get(&self, key: &str, now: Timestamp) -> Result<Option<Value>, Failure>;

    /// Keeps a value until then. The run is where it came from.
    async fn put(&self, key: &str, run: RunId, value: &Value, until: Timestamp) -> Result<(), Failure>;
}
