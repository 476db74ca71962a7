//! What must be true of every [`EventBus`].

use ihelper_workflow::ports::{EventBus, OutgoingEvent};
use serde_json::json;

use super::delicate_values;

/// Makes a test of every case of the bus's contract, each on a bus that the expression makes anew.
#[macro_export]
macro_rules! bus_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, bus:
            an_event_is_taken,
            an_event_published_twice_is_taken_twice,
            any_detail_is_taken,
        }
    };
}

/// A plain event is taken.
pub async fn an_event_is_taken(bus: &dyn EventBus) {
    let event = OutgoingEvent { detail_type: "report_ready".to_owned(), detail: json!({"id": 1}) };
    bus.publish("run/step", &event).await.unwrap();
}

/// Publishing again under the same key is no error: subscribers deduplicate.
pub async fn an_event_published_twice_is_taken_twice(bus: &dyn EventBus) {
    let event = OutgoingEvent { detail_type: "report_ready".to_owned(), detail: json!({"id": 1}) };
    for _ in 0..2 {
        bus.publish("run/step", &event).await.unwrap();
    }
}

/// A detail of any shape is taken, also one that is no object.
pub async fn any_detail_is_taken(bus: &dyn EventBus) {
    for detail in delicate_values() {
        bus.publish("run/step", &OutgoingEvent { detail_type: "report_ready".to_owned(), detail }).await.unwrap();
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryEventBus;

    bus_contract!(async { MemoryEventBus::new() });
}
