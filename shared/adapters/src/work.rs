//! The work at hand: one call, one message or one event, what it takes of the store, and the trace that it belongs to.
//!
//! It travels beside the calls, as a value of the task, so that no port has to know of it. Outside of any work nothing
//! is counted, and messages carry no trace.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

tokio::task_local! {
    static AT_HAND: Arc<Work>;
}

/// The message attribute, and the header of HTTP, that a trace travels in (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// One call, one message or one event.
#[derive(Debug, Default)]
pub struct Work {
    traceparent: Option<String>,
    store_calls: AtomicU64,
}

impl Work {
    /// Work that belongs to a trace, if it does: messages that it sends carry this.
    pub fn of(traceparent: Option<String>) -> Self {
        Self { traceparent, store_calls: AtomicU64::new(0) }
    }

    /// Does this as the work at hand.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        AT_HAND.scope(Arc::new(self), work).await
    }

    /// How often the work at hand went to the table and the buckets so far, repeated requests included.
    pub fn store_calls() -> u64 {
        AT_HAND.try_with(|work| work.store_calls.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Where the work at hand stands in its trace.
    pub fn traceparent() -> Option<String> {
        AT_HAND.try_with(|work| work.traceparent.clone()).ok().flatten()
    }
}

/// Counts the requests of a client.
#[derive(Debug)]
pub(crate) struct CountsRequests;

#[dyn_dispatch_hint]
impl Intercept for CountsRequests {
    fn name(&self) -> &'static str {
        "CountsRequests"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Outside of any work there is nobody to count for.
        let _ = AT_HAND.try_with(|work| work.store_calls.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_knows_its_trace_and_nothing_outside_of_it_does() {
        assert_eq!((Work::traceparent(), Work::store_calls()), (None, 0));
        let inside = Work::of(Some("00-a-b-01".to_owned())).scope(async { Work::traceparent() }).await;
        assert_eq!(inside.as_deref(), Some("00-a-b-01"));
        assert_eq!(Work::traceparent(), None);
    }
}
