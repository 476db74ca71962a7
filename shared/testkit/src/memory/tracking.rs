use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, WorkflowType},
    ports::{Tracking, TrackingEntry},
};

use super::lock;

/// Tracking entries in memory.
#[derive(Clone, Default)]
pub struct MemoryTracking {
    entries: Arc<Mutex<BTreeMap<(WorkflowType, String), TrackingEntry>>>,
}

impl MemoryTracking {
    /// Nothing tracked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every entry, by workflow and id.
    pub fn entries(&self) -> Vec<TrackingEntry> {
        lock(&self.entries).values().cloned().collect()
    }
}

impl fmt::Debug for MemoryTracking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryTracking").field("entries", &lock(&self.entries).len()).finish()
    }
}

#[async_trait]
impl Tracking for MemoryTracking {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        let mut entries = lock(&self.entries);
        let key = (entry.workflow, entry.data_id.clone());
        if entries.get(&key).is_none_or(|standing| standing.run_id <= entry.run_id) {
            entries.insert(key, entry.clone());
        }
        Ok(())
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        Ok(lock(&self.entries).get(&(workflow, data_id.to_owned())).cloned())
    }
}
