//! The queues: what is sent, and what is made of the answers.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use ihelper_adapters::{
    scheduler::{Scheduler, Schedules},
    sqs::{LONGEST_START, QueueUrls, SqsQueue},
};
use ihelper_testkit::{memory::VirtualClock, queue_contract};
use ihelper_workflow::{
    domain::{Kind, RunId, WorkflowType, input},
    ports::{DeadLetter, Queue as _},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::wire::{Answer, Wire};

/// Alone, the queues cut what they cannot hold back; with a scheduler, they pass it on.
mod alone {
    use super::*;

    queue_contract!(async {
        let wire = taking().await;
        queue(&wire).with_starts_in(&wire.aws(), "payloads")
    });
}

mod with_scheduler {
    use super::*;

    queue_contract!(async {
        let wire = taking().await;
        queue(&wire).with_starts_in(&wire.aws(), "payloads").with_scheduler(scheduler(&wire))
    });
}

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;

/// An endpoint that takes every message and every schedule once, and keeps objects.
async fn taking() -> Wire {
    let objects = Mutex::new(BTreeMap::new());
    let schedules = Mutex::new(Vec::new());
    Wire::start(move |_, request| {
        let target = request.target();
        let path = |method: &str| target.strip_prefix(method).map(|path| path.split('?').next().unwrap().to_owned());
        if let Some(path) = path("PUT ") {
            objects.lock().unwrap().insert(path, request.body.clone());
            return Answer::Reply(200, Vec::new(), Vec::new());
        }
        if let Some(path) = path("GET ") {
            return match objects.lock().unwrap().get(&path) {
                Some(object) => Answer::Reply(200, Vec::new(), object.clone()),
                None => Answer::Reply(404, Vec::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            };
        }
        let Some(schedule) = path("POST /schedules/") else {
            return Answer::json(200, &json!({"MessageId": "m-1"}));
        };
        let mut schedules = schedules.lock().unwrap();
        if schedules.contains(&schedule) {
            return Answer::error(409, "ConflictException");
        }
        schedules.push(schedule);
        Answer::json(200, &json!({"ScheduleArn": "arn:aws:scheduler:us-east-1:000000000000:schedule/g/s"}))
    })
    .await
}

fn scheduler(wire: &Wire) -> Scheduler {
    let queue_arns = WorkflowType::ALL.map(|workflow| (workflow, format!("arn:aws:sqs:us-east-1:0:{workflow}")));
    let schedules =
        Schedules { group: "group".to_owned(), role_arn: "role".to_owned(), queue_arns: BTreeMap::from(queue_arns) };
    Scheduler::new(&wire.aws(), std::sync::Arc::new(VirtualClock::default()), schedules)
}

pub(crate) fn queue(wire: &Wire) -> SqsQueue {
    let urls = WorkflowType::ALL.map(|workflow| {
        let queue = format!("http://{}/000000000000/{workflow}", wire.address);
        (workflow, QueueUrls { dead_letters: format!("{queue}-dlq"), queue })
    });
    SqsQueue::new(&wire.aws(), BTreeMap::from(urls))
}

fn run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, 7)
}

fn body(request: &Value) -> Value {
    serde_json::from_str(request["MessageBody"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn messages_say_what_consumers_read() {
    let wire = taking().await;
    let queue = queue(&wire);
    queue.resume(EMAIL, run(), Duration::from_millis(1500)).await.unwrap();
    let data = json!({"id": "e1", "from": "ann@example.com", "content": "\u{fffe} ü"});
    let input = input::parse(EMAIL, data.clone()).unwrap();
    queue.start(&input, run(), "api").await.unwrap();

    let requests = wire.requests();
    assert_eq!(requests[0].header("x-amz-target").unwrap(), "AmazonSQS.SendMessage");
    let resume = requests[0].json();
    assert!(resume["QueueUrl"].as_str().unwrap().ends_with("/email_processing"));
    assert_eq!(resume["DelaySeconds"], 2);
    assert_eq!(body(&resume), json!({"run_id": run()}));
    let start = requests[1].json();
    assert_eq!(body(&start), json!({"type": "email_processing", "data": data, "run_id": run(), "source": "api"}));
}

#[tokio::test]
async fn a_delay_beyond_the_queues_own_is_cut_where_nobody_else_can_hold_it_back() {
    let wire = taking().await;
    for delay in [Duration::from_mins(15), Duration::from_mins(16), Duration::from_hours(24 * 365)] {
        queue(&wire).resume(EMAIL, run(), delay).await.unwrap();
        assert_eq!(wire.requests().last().unwrap().json()["DelaySeconds"], 900);
    }
}

#[tokio::test]
async fn a_start_that_is_too_long_is_refused_where_nothing_can_be_laid_aside() {
    let wire = taking().await;
    queue(&wire).start(&long(LONGEST_START - 300), run(), "api").await.unwrap();
    let failure = queue(&wire).start(&long(LONGEST_START), run(), "api").await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    assert!(failure.message.contains("bytes, more than 261120"), "{failure}");
    assert_eq!(queue(&wire).fetch(&format!("starts/{}", run())).await.unwrap_err().kind, Kind::Validation);
    assert_eq!(wire.requests().len(), 1);
}

fn long(bytes: usize) -> input::Input {
    let data = json!({"id": "t1", "description": "\u{fffe}", "filler": "y".repeat(bytes)});
    input::parse(WorkflowType::TaskAutomation, data).unwrap()
}

#[tokio::test]
async fn a_start_that_is_too_long_is_sent_once_its_data_is_laid_aside() {
    let wire = taking().await;
    let queue = queue(&wire).with_starts_in(&wire.aws(), "payloads");
    let input = long(LONGEST_START);
    queue.start(&input, run(), "event:x/\u{fffe}").await.unwrap();
    let requests = wire.requests();
    assert!(requests[0].target().starts_with(&format!("PUT /payloads/starts/{}", run())));
    assert_eq!(requests[0].header("content-type").unwrap(), "application/json");
    assert_eq!(requests[0].json(), input.to_value());
    let data_at = format!("starts/{}", run());
    assert_eq!(
        body(&requests[1].json()),
        json!({"type": "task_automation", "data_at": data_at, "run_id": run(), "source": "event:x/\u{fffe}"})
    );
}

#[tokio::test]
async fn a_start_is_not_sent_unless_its_data_is_laid_aside() {
    let wire = Wire::start(|_, _| Answer::Reply(403, Vec::new(), b"<Error><Code>AccessDenied</Code></Error>".to_vec()));
    let wire = wire.await;
    let queue = queue(&wire).with_starts_in(&wire.aws(), "payloads");
    let failure = queue.start(&long(LONGEST_START), run(), "api").await.unwrap_err();
    assert_eq!(failure.kind, Kind::Authorization);
    assert!(wire.requests().iter().all(|request| request.target().starts_with("PUT ")));
}

#[tokio::test]
async fn a_dead_letter_carries_its_body_and_its_reason() {
    let wire = taking().await;
    let letter = DeadLetter {
        body: "{\"type\": broken\u{0}".to_owned(),
        reason: format!("line\r\nbreak {}", "é".repeat(2000)),
        kind: Kind::Validation,
        run: Some(run()),
    };
    queue(&wire).dead_letter(EMAIL, &letter).await.unwrap();
    let sent = wire.requests()[0].json();
    assert!(sent["QueueUrl"].as_str().unwrap().ends_with("/email_processing-dlq"));
    assert_eq!(sent["MessageBody"], "{\"type\": broken\u{fffd}");
    let attribute = |name: &str| sent["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_owned();
    assert_eq!((attribute("kind"), attribute("run_id")), ("validation".to_owned(), run().to_string()));
    let reason = attribute("reason");
    assert!(reason.starts_with("line  break é") && reason.len() <= 1024);
}

#[tokio::test]
async fn a_dead_letter_that_no_queue_takes_is_cut() {
    let wire = taking().await;
    let letter = DeadLetter { body: "é".repeat(1 << 20), reason: String::new(), kind: Kind::Unknown, run: None };
    queue(&wire).dead_letter(EMAIL, &letter).await.unwrap();
    let sent = wire.requests()[0].json();
    assert!(sent["MessageBody"].as_str().unwrap().len() <= 1 << 20);
    assert_eq!(sent["MessageAttributes"]["reason"]["StringValue"], "-");
    assert!(sent["MessageAttributes"].get("run_id").is_none());
}

#[tokio::test]
async fn a_workflow_without_a_queue_is_a_terminal_failure() {
    let wire = taking().await;
    let queue = SqsQueue::new(&wire.aws(), BTreeMap::new());
    assert_eq!(queue.resume(EMAIL, run(), Duration::ZERO).await.unwrap_err().kind, Kind::Validation);
    assert!(wire.requests().is_empty());
}

#[tokio::test]
async fn the_visibility_of_a_message_is_changed_within_bounds() {
    let wire = Wire::start(|_, _| Answer::json(200, &json!({}))).await;
    let queue = queue(&wire);
    for (hidden, expected) in [(Duration::ZERO, 0), (Duration::from_millis(1), 1), (Duration::MAX, 43_200)] {
        queue.change_visibility("http://queue", "receipt", hidden).await.unwrap();
        let sent = wire.requests().last().unwrap().json();
        assert_eq!(sent["VisibilityTimeout"], expected);
        assert_eq!(sent["ReceiptHandle"], "receipt");
    }
}

#[tokio::test]
async fn of_many_messages_each_has_its_own_outcome() {
    let wire = Wire::start(|number, request| {
        if number > 1 {
            return Answer::error(400, "AccessDeniedException");
        }
        assert!(request.json()["Entries"].as_array().unwrap().len() <= 10);
        let failed = json!([{"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "no"}]);
        Answer::json(200, &json!({"Successful": [{"Id": "0"}], "Failed": failed}))
    })
    .await;
    let messages: Vec<(String, Duration)> =
        (0..22).map(|number| (format!("receipt-{number}"), Duration::from_secs(number))).collect();
    let outcomes = queue(&wire).change_visibilities("http://queue", &messages).await;
    assert_eq!(outcomes.len(), 22);
    let failed: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).map(|(index, _)| index).collect();
    assert_eq!(failed, [1, 11, 20, 21], "the second of each batch that went well, and the whole batch that did not");
    assert_eq!(queue(&wire).change_visibilities("http://queue", &[]).await, []);
}

#[tokio::test]
async fn throttling_is_told_with_the_wait_that_was_asked_for() {
    let wire = Wire::start(|_, _| match Answer::error(400, "com.amazonaws.sqs#RequestThrottled") {
        Answer::Reply(status, mut headers, body) => {
            headers.push(("retry-after".to_owned(), "2".to_owned()));
            Answer::Reply(status, headers, body)
        }
        other => other,
    })
    .await;
    let failure = queue(&wire).resume(EMAIL, run(), Duration::ZERO).await.unwrap_err();
    assert_eq!((failure.kind, failure.retry_after_ms), (Kind::Throttled, Some(2000)));
}
