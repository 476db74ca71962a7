use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::Failure,
    ports::{EventBus, OutgoingEvent},
};

use super::lock;

/// An event bus that keeps what is published. Like the real one, it delivers an event published twice twice.
#[derive(Clone, Debug, Default)]
pub struct MemoryEventBus {
    published: Arc<Mutex<Vec<Published>>>,
}

/// An event that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The key by which subscribers deduplicate.
    pub key: String,
    /// The event.
    pub event: OutgoingEvent,
}

impl MemoryEventBus {
    /// A bus that nothing was published on.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was published, in order.
    pub fn published(&self) -> Vec<Published> {
        lock(&self.published).clone()
    }
}

#[async_trait]
impl EventBus for MemoryEventBus {
    async fn publish(&self, key: &str, event: &OutgoingEvent) -> Result<(), Failure> {
        lock(&self.published).push(Published { key: key.to_owned(), event: event.clone() });
        Ok(())
    }
}
