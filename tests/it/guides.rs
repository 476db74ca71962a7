//! The examples of the guides in `docs/` do what is said beside them.

use axum::body::Body;
use event_handler::Handled;
use http::Request;
use ihelper_runtime::message::Wire;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::domain::WorkflowType;
use serde_json::{Value, json};

use crate::{
    api::{Front, email, with_token},
    events::{event, handler},
};

const GUIDES: [(&str, &str); 3] = [
    ("api-reference.md", include_str!("../../docs/api-reference.md")),
    ("integration-patterns.md", include_str!("../../docs/integration-patterns.md")),
    ("best-practices.md", include_str!("../../docs/best-practices.md")),
];

/// The fenced blocks of all guides that are called so, each with its guide's name.
fn blocks(kind: &str) -> Vec<(&'static str, &'static str)> {
    let fence = format!("```{kind}\n");
    let of_guide = |(name, text): (&'static str, &'static str)| {
        let blocks = text.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap());
        blocks.map(move |block| (name, block)).collect::<Vec<_>>()
    };
    GUIDES.into_iter().flat_map(of_guide).collect()
}

#[tokio::test]
async fn every_call_is_answered_as_its_guide_says() {
    let calls = blocks("http");
    assert!(calls.len() >= 8, "only {} calls were found", calls.len());
    for (guide, block) in calls {
        let front = Front::new();
        let run = front.post(&email()).await.run_id();
        let (call, answer) = block.split_once("\n\n→ ").unwrap_or_else(|| panic!("{guide}: no answer in {block}"));
        let (head, body) = call.split_once("\n\n").unwrap_or((call, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path.replace("{run}", &run.to_string()));
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            request = request.header(name, value);
        }
        let served = front.send(with_token(request.body(Body::from(body)).unwrap(), "alice", "staff")).await;
        let answered = format!("{} {}", served.status.as_u16(), served.body["type"].as_str().unwrap_or_default());
        let answered = if served.status.is_success() { served.status.as_u16().to_string() } else { answered };
        assert_eq!(answered, answer, "{guide}: {block}\n{}", served.text);
    }
}

#[tokio::test]
async fn every_event_starts_a_run() {
    let events = blocks("json event");
    assert!(events.len() >= 2, "only {} events were found", events.len());
    for (guide, block) in events {
        let told: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{guide}: {error} in {block}"));
        let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{guide}: no {name} in {block}"));
        let event = event(text("source"), text("detail-type"), told["detail"].clone());
        let handled = handler(&WorkflowTester::new()).handle(event).await.unwrap();
        assert!(matches!(handled, Handled::Started { .. }), "{guide}: {handled:?} of {block}");
    }
}

#[test]
fn every_message_is_understood() {
    let messages = blocks("json message");
    assert!(!messages.is_empty());
    for (guide, block) in messages {
        let told: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{guide}: {error} in {block}"));
        let workflow: WorkflowType = told["type"].as_str().unwrap().parse().unwrap();
        let message = Wire::parse(workflow, block).and_then(Wire::into_message);
        assert!(message.is_ok(), "{guide}: {message:?} of {block}");
        assert!(Wire::parse(workflow, &json!({"type": "mail"}).to_string()).is_err(), "not everything is understood");
    }
}
