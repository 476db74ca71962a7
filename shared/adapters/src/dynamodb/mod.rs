//! The journal and all else that is remembered, on the one table.
//!
//! | what | `pk` | `sk` | attributes |
//! |---|---|---|---|
//! | run | `RUN#<id>` | `RUN` | where it stands, its input and result, its lease |
//! | segment of its journal | `RUN#<id>` | `LOG#<number, 6 digits>` | `entries`, all in one value |
//! | tracking | `EMAIL#<id>`, `DOCUMENT#<id>`, `TASK#<id>` | `STATUS` | what was last done |
//! | answer | `ANSWER#<hash of the address>` | `ANSWER` | `run_id`, `window_until` or `suppressed_at` |
//! | idempotency | `IDEM#<hash of caller and key>` | `IDEM` | `run_id`, `fingerprint`, `until` |
//! | counted requests | `RATE#<hash of the caller>` | `<end of the window>` | `counted` |
//! | cached result | `CACHE#workflow:<workflow id>` | `CACHE` | `run_id`, `fingerprint`, `until` |
//! | cached answer of a model | `STEPCACHE#<hash of the question>` | `STEPCACHE` | `value`, `valid_until` |
//! | budget | `BUDGET#run#<id>`, `BUDGET#caller#<hash>#<day>`, `BUDGET#workflow#<type>#<day>` | `BUDGET` | `taken`, `held` |
//! | what models took | `USAGE#<type>` | `DAY#<day>` | calls, tokens, cost |
//! | version of a definition | `DEF#<type>` | `V#<number, 6 digits>` | `definition`, `state`, who, when and why |
//! | which is current | `DEF#<type>` | `CURRENT`, and each move as `M#<revision, 6 digits>` | `revision`, `current_version`, `canary` |
//! | runs of a trial | `DEF#<type>` | `TRIAL#<revision, 6 digits>` | how many succeeded and failed |
//!
//! | index | keys | shows | holds |
//! |---|---|---|---|
//! | `by_type` | `list_pk` = `<type>#<shard>`, `pk` | `caller` | every run |
//! | `by_state` | `state_pk` = `<status>#<type>`, `pk` | what lists show | the few runs that somebody has to look at |
//!
//! Invariants:
//! - Every write is one request, conditional wherever another may have been first, and a refused one learns what
//!   stands from the refusal itself (`ALL_OLD`). No read before a write; the one transaction is the move of a definition's
//!   pointer, which happens a few times a week.
//! - The SDK repeats a request whose answer was lost. A write that must not count twice therefore carries a `write_id`,
//!   by which a refused repetition recognizes the item as what it wrote itself. That of a segment comes from its
//!   content, so that it is also recognized by who asks again much later.
//! - What follows from a key is read with strong consistency. Lists come from the indexes, which lag by moments.
//! - A change is billed by the item's size in KiB and by each index that shows something of it. So the run of a usual
//!   email stays below 1 KiB until it has a result: attributes that say nothing are not stored, nor what a key says
//!   already; moments are numbers; `by_type` shows only what never changes.
//! - Values are kept as JSON text, not as the table's own numbers and maps, so they come back to the last digit.
//!   See [`ValueStore`] for where the large ones lie.
//! - Everything but definitions has an end (`expires_at`): runs after the retention, their journals a little later, so
//!   that no run is ever worked on from half a journal; requests a day after they are over.
//!
//! Deliberately absent: changes of what a journal has once told.

mod answers;
mod budgets;
mod definitions;
mod item;
mod journal;
mod list;
mod meter;
mod rates;
mod requests;
mod step_cache;
mod tracking;
mod usage;
mod values;

pub use answers::TableAnswerLedger;
pub use budgets::TableBudgets;
pub use definitions::TableDefinitionStore;
pub use journal::TableJournal;
pub use meter::{Meter, Metered};
pub use rates::TableRequestCounts;
pub use requests::TableRequests;
pub use step_cache::TableStepCache;
pub use tracking::TableTracking;
pub use usage::TableUsageLedger;
pub use values::ValueStore;

use std::{fmt, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    config::retry::RetryConfig,
    error::SdkError,
    operation::{
        put_item::{PutItemError, PutItemOutput},
        update_item::{UpdateItemError, UpdateItemOutput},
    },
    types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity},
};
use ihelper_workflow::{
    domain::{Failure, Kind, RunId},
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

/// How much longer journals are kept than runs. The service deletes expired items within some days and in no order;
/// a run must be gone before its journal is.
const JOURNAL_MARGIN: Duration = Duration::from_hours(7 * 24);

/// The longest id that stands in a key as it is; keys end at 2,048 bytes. A longer one is hashed.
const LONGEST_PLAIN_ID: usize = 1024;

/// The table, as the ports of this module share it. A clone is cheap.
#[derive(Clone)]
pub struct Table {
    inner: Arc<Inner>,
    meter: Option<Arc<Meter>>,
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
        Self { inner: Arc::new(inner), meter: None }
    }

    /// The same table, every request of which is counted. Each then asks the service what it took.
    #[must_use]
    pub fn metered(self, meter: Arc<Meter>) -> Self {
        Self { meter: Some(meter), ..self }
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

    fn segment_expires_at(&self, made_at: Timestamp) -> Timestamp {
        later(self.run_expires_at(made_at), JOURNAL_MARGIN)
    }

    /// Whether requests ask what they take.
    fn capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    /// Counts a read that was answered.
    fn was_read(&self, consumed: &[ConsumedCapacity]) {
        if let Some(meter) = &self.meter {
            meter.read(consumed);
        }
    }

    /// Sorts the outcome of a conditional write from its faults.
    fn written<T, E>(
        &self,
        call: &str,
        outcome: Result<T, SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>>,
    ) -> Result<Written<T>, Failure>
    where
        T: Consumption,
        E: Denial + aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match outcome {
            Ok(done) => {
                if let Some(meter) = &self.meter {
                    meter.wrote(done.consumed());
                }
                Ok(Written::Done(done))
            }
            Err(error) => {
                let failure = failure(call, &error);
                let SdkError::ServiceError(service) = error else { return Err(failure) };
                let Some(standing) = service.into_err().denied() else { return Err(failure) };
                if let Some(meter) = &self.meter {
                    meter.refused(standing.as_ref());
                }
                Ok(Written::Denied(standing))
            }
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Table").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// Has the SDK send a write once: a sum that is added twice is wrong.
fn once() -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// A moment later by this much, or the last moment that there is.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn run_key(id: RunId) -> String {
    format!("RUN#{id}")
}

/// The key of something that is found by an id from outside.
fn key_of(kind: &str, id: &str) -> String {
    if id.len() <= LONGEST_PLAIN_ID {
        format!("{kind}#{id}")
    } else {
        // Another separator: no id can be chosen so that its key is that of a hash.
        format!("{kind}~{}", blake3::hash(id.as_bytes()))
    }
}

/// A number that no other write of the same item has.
fn write_id() -> AttributeValue {
    item::bytes(&SystemEntropy.random().to_le_bytes()[..8])
}

/// Whether the write of this id made the item what it is.
fn is_of(item: &Item, write_id: &AttributeValue) -> bool {
    item.get("write_id") == Some(write_id)
}

fn vanished(call: &str) -> Failure {
    Failure::new(Kind::Unknown, format!("{call}: the answer names no item"))
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

/// The answers that tell what a write took.
trait Consumption {
    fn consumed(&self) -> Option<&ConsumedCapacity>;
}

impl Consumption for PutItemOutput {
    fn consumed(&self) -> Option<&ConsumedCapacity> {
        self.consumed_capacity()
    }
}

impl Consumption for UpdateItemOutput {
    fn consumed(&self) -> Option<&ConsumedCapacity> {
        self.consumed_capacity()
    }
}
