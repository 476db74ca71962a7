//! Events on an EventBridge bus.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use ihelper_workflow::{
    domain::Failure,
    ports::{EventBus, OutgoingEvent},
};
use serde_json::{Map, Value};

use crate::{
    aws::{Aws, Lazy},
    failures::{failure, failure_of_code},
};

/// The source of every event of ours. Rules that start runs must leave it out, or events go round in circles.
pub const SOURCE: &str = "ihelper";

/// The longest detail: EventBridge takes 256 KiB for an event with all its fields.
const LONGEST_DETAIL: usize = 255 * 1024;

const CALL: &str = "eventbridge publish";

/// Publishes events on one bus. A clone is cheap.
#[derive(Clone)]
pub struct EventBridgeBus {
    client: Arc<Lazy<Client>>,
    bus: Arc<str>,
}

impl EventBridgeBus {
    /// The bus of this name, or ARN.
    pub fn new(aws: &Aws, bus: &str) -> Self {
        Self { client: Arc::new(aws.eventbridge()), bus: Arc::from(bus) }
    }
}

impl fmt::Debug for EventBridgeBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventBridgeBus").field("bus", &self.bus).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventBus for EventBridgeBus {
    /// Publishes the detail with the key as its `idempotency_key`; a detail that is no object stands under `value`.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the detail is longer than 255 KiB.
    async fn publish(&self, key: &str, event: &OutgoingEvent) -> Result<(), Failure> {
        let detail = detail(key, &event.detail).to_string();
        if detail.len() > LONGEST_DETAIL {
            let bytes = detail.len();
            return Err(Failure::validation(format!("the event has {bytes} bytes, more than {LONGEST_DETAIL}")));
        }
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&*self.bus)
            .source(SOURCE)
            .detail_type(&event.detail_type)
            .detail(detail)
            .build();
        let answer = self.client.put_events().entries(entry).send().await.map_err(|error| failure(CALL, &error))?;
        if answer.failed_entry_count == 0 {
            return Ok(());
        }
        // The call went well, its one entry did not.
        let code = answer.entries().iter().find_map(|entry| entry.error_code());
        Err(failure_of_code(CALL, code))
    }
}

fn detail(key: &str, given: &Value) -> Value {
    let mut fields = match given {
        Value::Object(fields) => fields.clone(),
        other => Map::from_iter([("value".to_owned(), other.clone())]),
    };
    fields.insert("idempotency_key".to_owned(), Value::from(key));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_detail_carries_the_key() {
        assert_eq!(detail("r/s", &json!({"a": 1})), json!({"a": 1, "idempotency_key": "r/s"}));
        assert_eq!(detail("r/s", &json!([1])), json!({"value": [1], "idempotency_key": "r/s"}));
        assert_eq!(detail("r/s", &json!({"idempotency_key": "forged"})), json!({"idempotency_key": "r/s"}));
    }
}
