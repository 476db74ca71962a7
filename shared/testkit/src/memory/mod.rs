//! The ports in memory: real implementations, with every condition that the ports promise.
//!
//! Each is cheap to make and a handle: a clone shows the same content, so a test keeps one and gives the other
//! away. What the workflow did is read back with the inherent methods ([`MemoryMailer::sent`],
//! [`MemoryQueue::take`] …).
//!
//! Deliberately absent: faults at the n-th call (they wrap any port, so they are not written into each) and an
//! assistant (the embedded one needs no fake).

mod answers;
mod budgets;
mod bus;
mod clock;
mod definitions;
mod http;
mod issuer;
mod journal;
mod mailer;
mod model;
mod objects;
mod queue;
mod rates;
mod requests;
mod servers;
mod tracking;
mod uploads;
mod usage;

pub use answers::MemoryAnswerLedger;
pub use budgets::{MemoryBudgets, MemoryStepCache};
pub use bus::{MemoryEventBus, Published};
pub use clock::{SeededEntropy, VirtualClock};
pub use definitions::MemoryDefinitionStore;
pub use http::{MemoryHttpClient, ReceivedRequest};
pub use issuer::{MemoryIssuer, SigningKey};
pub use journal::MemoryJournal;
pub use mailer::{MemoryMailer, SentMail};
pub use model::ScriptedModel;
pub use objects::MemoryObjects;
pub use queue::{Body, MemoryQueue, Message};
pub use rates::MemoryRequestCounts;
pub use requests::MemoryRequests;
pub use servers::MemoryToolServers;
pub use tracking::MemoryTracking;
pub use uploads::MemoryUploads;
pub use usage::MemoryUsageLedger;

use std::sync::{Mutex, MutexGuard, PoisonError};

// A test that panicked while it held a lock has failed already; its neighbours still see whole values, because
// every change here is made in one go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
