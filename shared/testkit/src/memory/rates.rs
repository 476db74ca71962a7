use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::Failure,
    ports::{Counted, Quota, RequestCounts},
};
use jiff::Timestamp;

use super::lock;

/// Counted requests in memory.
#[derive(Clone, Default)]
pub struct MemoryRequestCounts {
    /// By caller and the end of the window.
    counts: Arc<Mutex<HashMap<(String, Timestamp), u32>>>,
}

impl MemoryRequestCounts {
    /// Nothing counted.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryRequestCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryRequestCounts").field("counts", &lock(&self.counts).len()).finish()
    }
}

#[async_trait]
impl RequestCounts for MemoryRequestCounts {
    async fn count(&self, caller: &str, quota: Quota, now: Timestamp) -> Result<Counted, Failure> {
        let mut counts = lock(&self.counts);
        let count = counts.entry((caller.to_owned(), quota.window_end(now))).or_default();
        match quota.requests.get().checked_sub(*count + 1) {
            Some(remaining) => {
                *count += 1;
                Ok(Counted::Within { remaining })
            }
            None => Ok(Counted::UsedUp),
        }
    }
}
