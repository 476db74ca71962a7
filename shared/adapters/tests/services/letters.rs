//! Dead letters, against queues in memory and against ones that fail.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use ihelper_testkit::letters_contract;
use ihelper_workflow::{
    domain::{Kind, WorkflowType},
    ports::{DeadLetter, DeadLetters as _, Queue as _, REDRIVE_OF, REDRIVE_SENT_AT},
};
use serde_json::{Value, json};

use crate::{
    sqs::queue,
    wire::{Answer, Request, Wire},
};

letters_contract!(async { queue(&Queues::default().serve().await) });

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;

/// Queues in memory, with what SQS does to a message that is received: it is hidden, here until somebody shows it again.
#[derive(Clone, Default)]
struct Queues {
    messages: Arc<Mutex<BTreeMap<String, Vec<Message>>>>,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    body: Value,
    attributes: Value,
    hidden: bool,
}

impl Queues {
    async fn serve(&self) -> Wire {
        let queues = self.clone();
        Wire::start(move |number, request| Answer::json(200, &queues.answer(number, request))).await
    }

    fn answer(&self, number: usize, request: &Request) -> Value {
        let asked = request.json();
        let mut queues = self.messages.lock().unwrap();
        let queue = queues.entry(name(&asked)).or_default();
        match operation(request).as_str() {
            "SendMessage" => {
                let id = format!("m-{number}");
                let (body, attributes) = (asked["MessageBody"].clone(), asked["MessageAttributes"].clone());
                queue.push(Message { id: id.clone(), body, attributes, hidden: false });
                json!({ "MessageId": id })
            }
            "ReceiveMessage" => {
                assert!(asked["VisibilityTimeout"].as_u64().unwrap() > 15);
                assert!(asked["WaitTimeSeconds"].as_u64().unwrap() > 0);
                let most = usize::try_from(asked["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
                let shown = queue.iter_mut().filter(|message| !message.hidden).take(most);
                let received: Vec<Value> = shown
                    .map(|message| {
                        message.hidden = true;
                        json!({
                            "MessageId": message.id, "ReceiptHandle": format!("receipt of {}", message.id),
                            "Body": message.body, "MessageAttributes": message.attributes,
                            "Attributes": { "SentTimestamp": "1740830400123" },
                        })
                    })
                    .collect();
                json!({ "Messages": received })
            }
            "DeleteMessage" => {
                queue.retain(|message| asked["ReceiptHandle"] != format!("receipt of {}", message.id));
                json!({})
            }
            "ChangeMessageVisibilityBatch" => {
                let entries = asked["Entries"].as_array().unwrap();
                assert!(entries.len() <= 10 && entries.iter().all(|entry| entry["VisibilityTimeout"] == 0));
                for message in queue {
                    let receipt = format!("receipt of {}", message.id);
                    message.hidden &= !entries.iter().any(|entry| entry["ReceiptHandle"] == receipt);
                }
                json!({ "Successful": entries, "Failed": [] })
            }
            other => panic!("{other}"),
        }
    }

    fn of(&self, name: &str) -> Vec<Message> {
        self.messages.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

fn name(asked: &Value) -> String {
    asked["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

fn operation(request: &Request) -> String {
    request.header("x-amz-target").unwrap().strip_prefix("AmazonSQS.").unwrap().to_owned()
}

async fn put(queues: &Queues, letters: usize) {
    let wire = queues.serve().await;
    for number in 0..letters {
        let body = format!("letter {number}");
        let letter = DeadLetter { body, reason: "why".to_owned(), kind: Kind::Refused, run: None };
        queue(&wire).dead_letter(EMAIL, &letter).await.unwrap();
    }
}

#[tokio::test]
async fn a_letter_that_is_sent_back_is_the_message_it_was_with_the_letters_id() {
    let queues = Queues::default();
    put(&queues, 1).await;
    let letter = queues.of("email_processing-dlq").remove(0);
    let sent = queue(&queues.serve().await).redrive(EMAIL, std::slice::from_ref(&letter.id)).await.unwrap();
    assert_eq!(sent.len(), 1);
    assert!(queues.of("email_processing-dlq").is_empty());
    let message = queues.of("email_processing").remove(0);
    assert_eq!(message.body, "letter 0");
    let attribute = |name: &str| message.attributes[name]["StringValue"].clone();
    assert_eq!((attribute("reason"), attribute("kind")), ("why".into(), "refused".into()));
    assert_eq!((attribute(REDRIVE_OF), attribute(REDRIVE_SENT_AT)), (letter.id.into(), "1740830400123".into()));
}

#[tokio::test]
async fn a_letter_that_could_not_be_sent_back_is_still_there_to_be_found() {
    let queues = Queues::default();
    put(&queues, 3).await;
    let id = queues.of("email_processing-dlq")[1].id.clone();
    let behind = queues.clone();
    let wire = Wire::start(move |number, request| match operation(request).as_str() {
        "SendMessage" => Answer::error(400, "AccessDeniedException"),
        _ => Answer::json(200, &behind.answer(number, request)),
    })
    .await;
    let failure = queue(&wire).redrive(EMAIL, &[id]).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Authorization);
    let left = queues.of("email_processing-dlq");
    assert!(left.len() == 3 && left.iter().all(|letter| !letter.hidden), "{left:?}");
}

#[tokio::test]
async fn a_letter_that_could_not_be_taken_out_was_sent_all_the_same() {
    let queues = Queues::default();
    put(&queues, 1).await;
    let id = queues.of("email_processing-dlq")[0].id.clone();
    let behind = queues.clone();
    let wire = Wire::start(move |number, request| match operation(request).as_str() {
        "DeleteMessage" => Answer::error(400, "AccessDeniedException"),
        _ => Answer::json(200, &behind.answer(number, request)),
    })
    .await;
    assert_eq!(queue(&wire).redrive(EMAIL, std::slice::from_ref(&id)).await.unwrap().len(), 1);
    assert_eq!((queues.of("email_processing").len(), queues.of("email_processing-dlq").len()), (1, 1));
    // It is told of one that was to be discarded.
    queues.messages.lock().unwrap().get_mut("email_processing-dlq").unwrap()[0].hidden = false;
    assert_eq!(queue(&wire).discard(EMAIL, &[id]).await.unwrap_err().kind, Kind::Authorization);
}

#[tokio::test]
async fn what_went_well_is_told_although_something_else_did_not() {
    let queues = Queues::default();
    put(&queues, 3).await;
    let ids: Vec<String> = queues.of("email_processing-dlq").into_iter().map(|letter| letter.id).collect();
    let behind = queues.clone();
    let wire = Wire::start(move |number, request| {
        let is_first = operation(request) == "SendMessage" && request.json()["MessageBody"] == "letter 0";
        if is_first {
            Answer::error(400, "InvalidMessageContents")
        } else {
            Answer::json(200, &behind.answer(number, request))
        }
    })
    .await;
    let sent: Vec<String> =
        queue(&wire).redrive(EMAIL, &ids).await.unwrap().into_iter().map(|letter| letter.id).collect();
    assert_eq!(sent, ids[1..]);
    let left = queues.of("email_processing-dlq");
    assert!(left.len() == 1 && left[0].id == ids[0] && !left[0].hidden, "{left:?}");
}

#[tokio::test]
async fn letters_are_given_back_although_the_rest_cannot_be_received() {
    let queues = Queues::default();
    put(&queues, 15).await;
    let behind = queues.clone();
    let received = Mutex::new(0);
    let wire = Wire::start(move |number, request| {
        let mut received = received.lock().unwrap();
        *received += usize::from(operation(request) == "ReceiveMessage");
        if *received == 2 && operation(request) == "ReceiveMessage" {
            return Answer::error(400, "AccessDeniedException");
        }
        Answer::json(200, &behind.answer(number, request))
    })
    .await;
    assert_eq!(queue(&wire).look(EMAIL, 100).await.unwrap_err().kind, Kind::Authorization);
    assert!(queues.of("email_processing-dlq").iter().all(|letter| !letter.hidden));
}

#[tokio::test]
async fn a_search_ends_with_what_was_asked_for() {
    let queues = Queues::default();
    put(&queues, 40).await;
    let wire = queues.serve().await;
    let id = queues.of("email_processing-dlq")[12].id.clone();
    assert_eq!(queue(&wire).discard(EMAIL, &[id]).await.unwrap().len(), 1);
    let operations: Vec<String> = wire.requests().iter().map(operation).collect();
    assert_eq!(operations.iter().filter(|operation| *operation == "ReceiveMessage").count(), 2);
    // Nineteen in hand that nobody asked for: two batches.
    assert_eq!(operations.iter().filter(|operation| *operation == "ChangeMessageVisibilityBatch").count(), 2);
    assert!(queues.of("email_processing-dlq").iter().all(|letter| !letter.hidden));
}
