//! The bus: what is published, and what is made of an answer that is good and bad at once.

use ihelper_adapters::eventbridge::EventBridgeBus;
use ihelper_testkit::bus_contract;
use ihelper_workflow::{
    domain::Kind,
    ports::{EventBus as _, OutgoingEvent},
};
use serde_json::{Value, json};

use crate::wire::{Answer, Wire};

bus_contract!(async { EventBridgeBus::new(&taking().await.aws(), "bus") });

async fn taking() -> Wire {
    Wire::start(|_, _| Answer::json(200, &json!({"FailedEntryCount": 0, "Entries": [{"EventId": "e-1"}]}))).await
}

fn event(detail: Value) -> OutgoingEvent {
    OutgoingEvent { detail_type: "report_ready".to_owned(), detail }
}

#[tokio::test]
async fn an_event_names_its_source_and_its_key() {
    let wire = taking().await;
    EventBridgeBus::new(&wire.aws(), "bus").publish("run/step", &event(json!({"id": 7}))).await.unwrap();
    let entry = wire.requests()[0].json()["Entries"][0].clone();
    assert_eq!((&entry["Source"], &entry["DetailType"]), (&json!("ihelper"), &json!("report_ready")));
    assert_eq!(entry["EventBusName"], "bus");
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail, json!({"id": 7, "idempotency_key": "run/step"}));
}

#[tokio::test]
async fn an_entry_that_failed_in_a_call_that_went_well_is_a_failure() {
    for (code, kind) in [
        ("ThrottlingException", Kind::Throttled),
        ("InternalFailure", Kind::Unknown),
        ("MalformedDetail", Kind::Validation),
        ("NotAuthorized", Kind::Authorization),
    ] {
        let entries = json!([{"ErrorCode": code, "ErrorMessage": "for ann@example.com"}]);
        let wire =
            Wire::start(move |_, _| Answer::json(200, &json!({"FailedEntryCount": 1, "Entries": entries}))).await;
        let failure = EventBridgeBus::new(&wire.aws(), "bus").publish("k", &event(json!({}))).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{code}");
        assert!(failure.message.contains(code) && !failure.message.contains("ann@example.com"), "{failure}");
    }
}

#[tokio::test]
async fn an_event_that_is_too_long_is_refused_before_it_is_sent() {
    let wire = taking().await;
    let bus = EventBridgeBus::new(&wire.aws(), "bus");
    let failure = bus.publish("k", &event(json!({"text": "x".repeat(256 * 1024)}))).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    assert!(wire.requests().is_empty());
}
