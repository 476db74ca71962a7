//! One trace from the caller's own to the store, through the queue: what an OTLP endpoint gets of the other bundle, which
//! sends its spans to a port that this test listens on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Given, trace::v1::Span,
};
use prost::Message as _;
use serde_json::json;

use crate::bundle::{Bundle, unique};

/// Spans by their id, each with the name of its function.
type Received = Arc<Mutex<BTreeMap<Vec<u8>, (String, Span)>>>;

async fn take(State(received): State<Received>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("spans come as OTLP says");
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let Some(Given::StringValue(function)) = name.and_then(|name| name.value?.value) else {
            panic!("whose are they?")
        };
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            received.lock().unwrap().insert(span.span_id.clone(), (function.clone(), span));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_call_its_message_and_the_consumers_work_are_one_trace_that_goes_on_with_the_callers() {
    let bundle = Bundle::connect_to_other();
    let received = Received::default();
    let listener = tokio::net::TcpListener::bind(bundle.traces_address()).await.unwrap();
    let endpoint = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
    let endpoint = tokio::spawn(async move { axum::serve(listener, endpoint).await });

    let trace = format!("{:032x}", u128::from(std::process::id()) + (1 << 96));
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let sender = format!("{}@customer.example", unique("traced"));
    let body = json!({
        "type": "email_processing",
        "data": {"id": unique("traced"), "from": sender, "subject": "Hours", "content": "When are you open on Sunday?"},
    });
    let headers = [("traceparent", traceparent.as_str()), ("prefer", "respond-async")];
    let answer = bundle.post("/workflow/process", &headers, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let run = bundle.ended(&answer.location.unwrap()).await;
    assert_eq!(run["status"], "succeeded", "{run}");

    let spans = bundle
        .wait("the spans of the call and of the consumer", async || {
            let spans: Vec<(String, Span)> =
                received.lock().unwrap().values().filter(|(_, span)| hex(&span.trace_id) == trace).cloned().collect();
            let has = |name: &str| spans.iter().any(|(_, span)| span.name == name);
            (has("POST /workflow/process") && has("process email_processing")).then_some(spans)
        })
        .await;
    endpoint.abort();

    let parents: BTreeMap<String, (String, String)> =
        spans.iter().map(|(_, span)| (hex(&span.span_id), (hex(&span.parent_span_id), span.name.clone()))).collect();
    let way = |span: &Span| {
        let (mut way, mut at) = (Vec::new(), hex(&span.span_id));
        while let Some((parent, name)) = parents.get(&at) {
            way.push(name.clone());
            at.clone_from(parent);
        }
        assert_eq!(at, "00f067aa0ba902b7", "it hangs together with the caller's: {way:?}");
        way.reverse();
        way.join(" > ")
    };
    let ways: Vec<String> = spans.iter().map(|(_, span)| way(span)).collect();
    for expected in [
        "POST /workflow/process",
        "POST /workflow/process > SQS.SendMessage",
        "POST /workflow/process > DynamoDB.PutItem",
        "POST /workflow/process > process email_processing > attempt > analyze_email",
        "POST /workflow/process > process email_processing > attempt > send_response > SESv2.SendEmail",
    ] {
        assert!(ways.iter().any(|way| way == expected), "{expected}\n{}", ways.join("\n"));
    }
    let functions: Vec<&String> = spans.iter().map(|(function, _)| function).collect();
    assert!(functions.iter().any(|function| function.ends_with("api-process")), "{functions:?}");
    assert!(functions.iter().any(|function| function.ends_with("email-consumer")), "{functions:?}");
    let said = format!("{spans:?}");
    for word in [sender.as_str(), "Hours", "Sunday", "eyJ"] {
        assert!(!said.contains(word), "a trace tells nothing of `{word}`");
    }
}
