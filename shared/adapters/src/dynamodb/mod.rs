//! The journal, the tracking and the answer ledger on the one table.
//!
//! | what | `pk` | `sk` |
//! |---|---|---|
//! | run | `RUN#<id>` | `RUN` |
//! | step | `RUN#<id>` | `STEP#<position>` |
//! | tracking | `EMAIL#<id>`, `DOCUMENT#<id>`, `TASK#<id>` | `STATUS` |
//! | answer | `ANSWER#<hash of the address>` | `ANSWER` |
//!
//! Invariants:
//! - Every write is one conditional request, and a refused one learns what stands from the refusal itself
//!   (`ALL_OLD`). No transactions, no read before a write.
//! - The SDK repeats a request whose answer was lost. A write therefore carries a `write_id` of its own, by which a
//!   refused repetition recognizes the item as what it wrote itself.
//! - What follows from a key is read with strong consistency. Lists come from the indexes, which lag by moments.
//! - Values are kept as JSON text, not as the table's own numbers and maps, so they come back to the last digit.
//!   See [`ValueStore`] for where the large ones lie.
//! - Everything has an end (`expires_at`): runs after the retention, steps a little later, so that no run is ever
//!   worked on from half a journal.
//!
//! Deliberately absent: idempotency records (ids are derived, see
//! [`RunId::derived`](ihelper_workflow::domain::RunId::derived)) and updates of a step's parts.

mod answers;
mod item;
mod journal;
mod list;
mod tracking;
mod values;

pub use answers::TableAnswerLedger;
pub use journal::TableJournal;
pub use tracking::TableTracking;
pub use values::ValueStore;

use std::{fmt, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{put_item::PutItemError, update_item::UpdateItemError},
};
use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::Entropy as _,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    aws::{Aws, Lazy},
    failures::failure,
    system::SystemEntropy,
};
use item::Item;
use values::Values;

/// How long a run and all that belongs to it are kept, unless said otherwise: as long as the payload bucket keeps
/// what runs refer to.
pub const RETENTION: Duration = Duration::from_hours(90 * 24);

/// How much longer steps are kept than runs. The service deletes expired items within some days and in no order;
/// a run must be gone before its steps are.
const STEP_MARGIN: Duration = Duration::from_hours(7 * 24);

/// The table, as the ports of this module share it. A clone is cheap.
#[derive(Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

struct Inner {
    client: Lazy<Client>,
    name: String,
    values: Values,
    retention: Duration,
}

impl Table {
    /// The table of this name. Values too large for an item go to `values`; runs are kept for `retention` from
    /// their making, which must be longer than any run waits ([`RETENTION`] unless there is a reason).
    pub fn new(aws: &Aws, name: impl Into<String>, values: Arc<dyn ValueStore>, retention: Duration) -> Self {
        let inner = Inner { client: aws.dynamodb(), name: name.into(), values: Values::new(values), retention };
        Self { inner: Arc::new(inner) }
    }

    fn client(&self) -> &Client {
        &self.inner.client
    }

    fn name(&self) -> &str {
        &self.inner.name
    }

    fn values(&self) -> &Values {
        &self.inner.values
    }

    /// When what was made at this moment may be deleted.
    fn run_expires_at(&self, made_at: Timestamp) -> Timestamp {
        later(made_at, self.inner.retention)
    }

    fn step_expires_at(&self, made_at: Timestamp) -> Timestamp {
        later(self.run_expires_at(made_at), STEP_MARGIN)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Table").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// A moment later by this much, or the last moment that there is.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn run_key(id: RunId) -> String {
    format!("RUN#{id}")
}

/// A number that no other write has.
fn write_id() -> String {
    format!("{:032x}", SystemEntropy.random())
}

/// What a conditional write came to.
enum Written<T> {
    /// The condition held.
    Done(T),
    /// It did not; this is what stands, if anything does.
    Denied(Option<Item>),
}

/// The errors in which a condition that did not hold is told.
trait Denial {
    /// The item that stands, when this is such an error.
    fn denied(self) -> Option<Option<Item>>;
}

impl Denial for PutItemError {
    fn denied(self) -> Option<Option<Item>> {
        match self {
            Self::ConditionalCheckFailedException(denial) => Some(denial.item),
            _ => None,
        }
    }
}

impl Denial for UpdateItemError {
    fn denied(self) -> Option<Option<Item>> {
        match self {
            Self::ConditionalCheckFailedException(denial) => Some(denial.item),
            _ => None,
        }
    }
}

/// Sorts the outcome of a conditional write from its faults.
fn written<T, E>(
    call: &str,
    outcome: Result<T, SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>>,
) -> Result<Written<T>, Failure>
where
    E: Denial + aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match outcome {
        Ok(done) => Ok(Written::Done(done)),
        Err(error) => {
            let failure = failure(call, &error);
            match error {
                SdkError::ServiceError(service) => match service.into_err().denied() {
                    Some(standing) => Ok(Written::Denied(standing)),
                    None => Err(failure),
                },
                _ => Err(failure),
            }
        }
    }
}
