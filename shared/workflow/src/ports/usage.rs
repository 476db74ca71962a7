use async_trait::async_trait;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::domain::{Failure, WorkflowType, run::Usage};

/// What models took, added up by workflow and day: whatever came of the calls, and of the runs that made them.
///
/// A run says what it took itself. Nobody has to read a day's runs to know what the day cost.
#[async_trait]
pub trait UsageLedger: Send + Sync {
    /// Adds what a call took.
    ///
    /// # Errors
    /// This returns an error when the ledger cannot be written; then the call may have been added.
    async fn add(&self, workflow: WorkflowType, day: Date, usage: Usage) -> Result<(), Failure>;

    /// What the calls of a workflow took on each day from `first` to `last`, the oldest first. Days without a call are
    /// left out.
    ///
    /// # Errors
    /// This returns an error when the ledger cannot be read.
    async fn days(&self, workflow: WorkflowType, first: Date, last: Date) -> Result<Vec<(Date, Usage)>, Failure>;
}

/// The day of UTC that a moment is in.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}
