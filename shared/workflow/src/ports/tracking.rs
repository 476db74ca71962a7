use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Failure, RunId, WorkflowType};

/// What the workflow last did with an email, a document or a task.
#[async_trait]
pub trait Tracking: Send + Sync {
    /// Writes the entry, unless one of a later run stands. Writing the same entry again changes nothing.
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure>;

    /// The entry of an email, a document or a task.
    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure>;
}

/// What the workflow last did with one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackingEntry {
    /// The workflow, which tells what kind of thing.
    #[serde(rename = "type")]
    pub workflow: WorkflowType,
    /// The thing's own id.
    pub data_id: String,
    /// The run.
    pub run_id: RunId,
    /// `answered`, `no_response`, `reviewed`, `completed` …
    pub status: String,
    /// What there is to say about it.
    #[serde(default)]
    pub details: Value,
    /// When.
    pub at: Timestamp,
}
