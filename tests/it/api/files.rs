//! Documents in files, at an API that reads none: the consumer does, and the call waits for it.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{Status, WorkflowType},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::{Front, path_of, process, with_header};

const DOCUMENTS: WorkflowType = WorkflowType::DocumentReview;
const SECOND: Duration = Duration::from_secs(1);

fn front() -> Front {
    Front::changed(Arc::new(WorkflowTester::new()), |api| api.reads_files = false)
}

/// "Lease. The rent is EUR 900.", in base64.
fn document() -> Value {
    json!({"type": "document_review", "data": {"id": "d",
        "file": {"name": "lease.txt", "content": "TGVhc2UuIFRoZSByZW50IGlzIEVVUiA5MDAu"},
        "review_criteria": ["The amount of the rent is stated"]}})
}

#[tokio::test]
async fn a_call_gets_what_the_consumer_made_of_the_file() {
    let front = front();
    let document = document();
    let (served, run) = tokio::join!(front.post(&document), async { front.deliver(DOCUMENTS).await });
    assert_eq!((served.status, served.run_id()), (StatusCode::OK, run.id), "{}", served.text);
    assert_eq!(served.body["result"]["format"], "text");
    assert_eq!(served.header("cache-status"), "ihelper; fwd=miss");
    assert_eq!(front.post(&document).await.header("cache-status").split(';').nth(1), Some(" hit"));
    assert_eq!(front.runs().len(), 1);
}

#[tokio::test]
async fn a_call_waits_for_a_file_no_longer_than_it_prefers() {
    let front = front();
    let began = front.tester.clock.now();
    let served = front.send(with_header(process("alice", document().to_string()), "prefer", "wait=3")).await;
    assert_eq!(front.tester.clock.now(), began + 3 * SECOND);
    assert_eq!((served.status, &served.body["status"]), (StatusCode::ACCEPTED, &json!("queued")));
    assert_eq!(served.header("location"), path_of(served.run_id(), ""));

    let run = front.deliver(DOCUMENTS).await;
    assert_eq!((run.id, run.status), (served.run_id(), Status::Succeeded));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_the_call_as_it_fails_the_run() {
    let front = front();
    let mut document = document();
    document["data"]["file"]["content"] = json!("//8=");
    let (served, run) = tokio::join!(front.post(&document), async { front.deliver(DOCUMENTS).await });
    assert_eq!(run.status, Status::Failed);
    assert_eq!(served.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", served.text);
    assert_eq!(served.body["run_id"], json!(run.id));
}

#[tokio::test]
async fn a_key_stands_for_a_run_that_the_consumer_has() {
    let front = front();
    let keyed = || with_header(process("alice", document().to_string()), "idempotency-key", "k");
    let (first, run) = tokio::join!(front.send(keyed()), async { front.deliver(DOCUMENTS).await });
    assert_eq!((first.status, first.run_id()), (StatusCode::OK, run.id), "{}", first.text);
    let again = front.send(keyed()).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(front.runs().len(), 1);
}

#[tokio::test]
async fn a_text_is_reviewed_within_the_call() {
    let front = front();
    let mut document = document();
    document["data"]["file"] = json!({"text": "Lease. The rent is EUR 900."});
    let served = front.post(&document).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.text);
    assert!(front.tester.queue.take(DOCUMENTS).is_none(), "only the insurance, which is not due");
}
