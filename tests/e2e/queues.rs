//! The queues: what the SQS adapter promises, and what becomes of messages that cannot be worked on.

use std::{collections::BTreeMap, time::Duration};

use ihelper_adapters::sqs::{QueueUrls, SqsQueue};
use ihelper_workflow::{
    domain::{Kind, RunId, WorkflowType},
    ports::{DeadLetter, Queue as _},
};
use serde_json::{Value, json};

use crate::bundle::{Bundle, email, unique};

#[tokio::test]
async fn a_malformed_message_becomes_a_dead_letter_with_its_reason_and_its_batch_goes_on() {
    let bundle = Bundle::connect();
    let (bad, good) = (unique("bad"), unique("good"));
    let broken = json!({"type": "email_processing", "data": {"id": bad, "from": "nobody", "content": "x"}}).to_string();
    let entries = [broken.clone(), json!({"type": "email_processing", "data": email(&good)}).to_string()];
    let mut batch = bundle.sqs.send_message_batch().queue_url(bundle.queue_url("email_processing"));
    for (index, body) in entries.into_iter().enumerate() {
        let entry =
            aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
        batch = batch.entries(entry.build().unwrap());
    }
    batch.send().await.unwrap();

    let letter = bundle.dead_letter("email_processing", |body| body == broken).await;
    let attributes = letter.message_attributes.unwrap();
    assert!(attributes["reason"].string_value().unwrap().contains("`data.from`"));
    assert_eq!(attributes["kind"].string_value(), Some("validation"));
    assert_eq!(bundle.run_on("email_processing", &good).await["status"], "succeeded");
}

#[tokio::test]
async fn a_run_that_fails_for_good_becomes_a_dead_letter_that_names_it() {
    let bundle = Bundle::connect();
    let id = unique("d");
    let data =
        json!({"id": id, "review_criteria": ["x"], "file": {"name": "x.pdf", "content": "JVBERi0xLjcKYnJva2Vu"}});
    bundle.send_message("document_review", &json!({"type": "document_review", "data": data}).to_string()).await;
    let run = bundle.run_on("document_review", &id).await;
    assert_eq!((&run["status"], &run["error"]["step"]), (&json!("failed"), &json!("extract_content")), "{run}");
    let run_id = run["run_id"].as_str().unwrap().to_owned();
    let letter = bundle.dead_letter("document_review", |body| body.contains(&run_id)).await;
    assert_eq!(letter.message_attributes.unwrap()["run_id"].string_value(), Some(run_id.as_str()));
}

#[tokio::test]
async fn the_adapter_sends_what_the_consumers_read() {
    let bundle = Bundle::connect();
    // A queue of its own, which no consumer empties.
    let name = unique("contract");
    let url = bundle.sqs.create_queue().queue_name(&name).send().await.unwrap().queue_url.unwrap();
    let urls = QueueUrls { queue: url.clone(), dead_letters: url.clone() };
    let queue = SqsQueue::new(&bundle.aws(), BTreeMap::from([(WorkflowType::TaskAutomation, urls)]));
    let run: RunId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();

    queue.resume(WorkflowType::TaskAutomation, run, Duration::ZERO).await.unwrap();
    assert_eq!(receive(&bundle, &url).await.0, json!({"run_id": run}));

    let reason = "line one\r\nline two \u{0} ".to_owned() + &"x".repeat(5000);
    let letter = DeadLetter { body: "{\"a\":1}".to_owned(), reason, kind: Kind::Timeout, run: Some(run) };
    queue.dead_letter(WorkflowType::TaskAutomation, &letter).await.unwrap();
    let (body, message) = receive(&bundle, &url).await;
    assert_eq!(body, json!({"a": 1}));
    let attributes = message.message_attributes.unwrap();
    assert_eq!(attributes["kind"].string_value(), Some("timeout"));
    assert_eq!(attributes["run_id"].string_value(), Some("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    assert!(attributes["reason"].string_value().unwrap().starts_with("line one"));

    // Given back at once, it is there again at once.
    queue.resume(WorkflowType::TaskAutomation, run, Duration::ZERO).await.unwrap();
    let (_, first) = receive(&bundle, &url).await;
    queue.change_visibility(&url, first.receipt_handle().unwrap(), Duration::ZERO).await.unwrap();
    assert_eq!(receive(&bundle, &url).await.0, json!({"run_id": run}));
}

async fn receive(bundle: &Bundle, url: &str) -> (Value, aws_sdk_sqs::types::Message) {
    let message = bundle
        .wait("a message", async || {
            let received = bundle.sqs.receive_message().queue_url(url).message_attribute_names("All");
            let received = received.visibility_timeout(60).wait_time_seconds(1).send().await.unwrap();
            received.messages.unwrap_or_default().pop()
        })
        .await;
    (serde_json::from_str(message.body().unwrap()).unwrap(), message)
}
