use async_trait::async_trait;
use serde_json::Value;

use crate::domain::Failure;

/// Publishes events.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Publishes one event. Delivered twice, `key` is the same: subscribers deduplicate by it.
    async fn publish(&self, key: &str, event: &OutgoingEvent) -> Result<(), Failure>;
}

/// An event on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingEvent {
    /// Its type.
    pub detail_type: String,
    /// What it says.
    pub detail: Value,
}
