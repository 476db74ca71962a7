//! Tokens in messages and events. Who may send is decided elsewhere; a token that is not valid ends a message all the
//! same.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use event_handler::{Error, EventHandler, Handled};
use ihelper_runtime::consumer::{Consumer, Visibility};
use ihelper_testkit::{
    WorkflowTester,
    memory::{MemoryIssuer, SigningKey},
};
use ihelper_workflow::{
    domain::{Failure, Kind, WorkflowType},
    embedded,
    engine::Deadline,
    ports::{Clock as _, Journal as _, REDRIVE_OF, RunFilter, Unwatched},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const TASK: WorkflowType = WorkflowType::TaskAutomation;

struct Unchanged;

#[async_trait]
impl Visibility for Unchanged {
    async fn change(&self, _: &[String], _: Duration) -> Result<(), Failure> {
        Ok(())
    }
}

struct Bench {
    tester: WorkflowTester,
    issuer: MemoryIssuer,
}

impl Bench {
    fn new() -> Self {
        Self { tester: WorkflowTester::new(), issuer: MemoryIssuer::new() }
    }

    /// Hands the consumer a message that was sent then; gives whether it comes back.
    async fn consume(&self, body: &Value, sent_at: Timestamp, attributes: &[&str]) -> bool {
        let tester = &self.tester;
        let consumer = Consumer {
            workflow: TASK,
            worker: tester.worker_on().that_sends_letters(),
            control: tester.control(),
            queue: Arc::new(tester.queue.clone()),
            tokens: super::tokens(&self.issuer, &tester.clock),
            visibility: Arc::new(Unchanged),
            clock: Arc::new(tester.clock.clone()),
            concurrency: 1,
        };
        let mut message = SqsMessage::default();
        message.message_id = Some(format!("m-{}", sent_at.as_nanosecond()));
        message.receipt_handle = Some("r".to_owned());
        message.body = Some(body.to_string());
        message.attributes.insert("SentTimestamp".to_owned(), sent_at.as_millisecond().to_string());
        for name in attributes {
            let mut attribute = SqsMessageAttribute::default();
            attribute.string_value = Some("x".to_owned());
            message.message_attributes.insert((*name).to_owned(), attribute);
        }
        let mut batch = SqsEvent::default();
        batch.records = vec![message];
        let deadline = Deadline::at(tester.clock.now() + Duration::from_secs(290));
        !consumer.handle(batch, deadline).await.batch_item_failures.is_empty()
    }

    async fn runs(&self) -> usize {
        let filter = RunFilter { limit: 100, ..RunFilter::default() };
        self.tester.journal.list(&filter).await.unwrap().runs.len()
    }

    fn handler(&self) -> EventHandler {
        EventHandler {
            queue: Arc::new(self.tester.queue.clone()),
            control: self.tester.control(),
            objects: Arc::new(self.tester.objects.clone()),
            answers: Arc::new(self.tester.answers.clone()),
            tokens: super::tokens(&self.issuer, &self.tester.clock),
            clock: Arc::new(self.tester.clock.clone()),
            monitor: Arc::new(Unwatched),
            mail_bucket: "mail".to_owned(),
            document_bucket: "documents".to_owned(),
            definitions: embedded::known_definitions(),
        }
    }
}

fn message(credentials: &Value) -> Value {
    let mut message = json!({"type": "task_automation", "data": {"id": "t", "description": "Tidy up the archive."}});
    message.as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
    message
}

fn event(detail: &Value) -> Value {
    json!({"id": "e1", "source": "crm", "detail-type": "anything", "time": "2026-01-01T00:00:00Z", "detail": detail})
}

fn good() -> String {
    MemoryIssuer::token("alice", &["staff"])
}

fn until(expires: Timestamp) -> String {
    SigningKey::first().token(&json!({
        "iss": MemoryIssuer::NAME, "aud": MemoryIssuer::AUDIENCE, "sub": "alice", "exp": expires.as_second(),
    }))
}

/// What is refused, with a part of the reason.
fn refused() -> Vec<(Value, &'static str)> {
    let forged = SigningKey::new("key-1", 66).token(&json!({"iss": MemoryIssuer::NAME, "sub": "alice"}));
    let expired = until("2024-01-01T00:00:00Z".parse().unwrap());
    vec![
        (json!({"token": forged}), "its signature is not that of its key"),
        (json!({"authorization": format!("Bearer {forged}")}), "its signature is not that of its key"),
        (json!({"token": expired, "user_id": "alice"}), "it has expired"),
        (json!({"token": ""}), "it is not a signed token"),
        (json!({"token": "[removed]"}), "it is not a signed token"),
        (json!({"token": good(), "user_id": "olga"}), "the token is not that of `user_id`"),
        (json!({"token": good(), "user_id": ["alice"]}), "the token is not that of `user_id`"),
    ]
}

#[tokio::test]
async fn a_message_with_a_valid_token_is_worked_on_like_one_without() {
    for credentials in [
        json!({}),
        json!({"user_id": "whoever"}),
        json!({"token": good()}),
        json!({"token": good(), "user_id": "alice"}),
        json!({"authorization": format!("Bearer {}", good())}),
    ] {
        let bench = Bench::new();
        assert!(!bench.consume(&message(&credentials), bench.tester.clock.now(), &[]).await);
        assert!(bench.tester.queue.dead_letters(TASK).is_empty(), "{credentials}");
        assert_eq!(bench.runs().await, 1);
    }
}

#[tokio::test]
async fn a_message_whose_token_is_not_valid_is_a_dead_letter_with_its_reason_and_without_its_token() {
    for (credentials, reason) in refused() {
        let bench = Bench::new();
        assert!(!bench.consume(&message(&credentials), bench.tester.clock.now(), &[]).await, "it would come back");
        assert_eq!(bench.runs().await, 0);
        let letters = bench.tester.queue.dead_letters(TASK);
        assert_eq!((letters.len(), letters[0].kind), (1, Kind::Authorization), "{credentials}");
        assert!(letters[0].reason.contains(reason), "{}", letters[0].reason);
        assert!(!letters[0].body.contains("eyJ") && letters[0].body.contains("Tidy up"), "{}", letters[0].body);

        // Sent back, it is refused again.
        let again: Value = serde_json::from_str(&letters[0].body).unwrap();
        bench.consume(&again, bench.tester.clock.now(), &[REDRIVE_OF, "reason", "kind"]).await;
        assert_eq!((bench.runs().await, bench.tester.queue.dead_letters(TASK).len()), (0, 2));
    }
}

#[tokio::test]
async fn a_token_that_is_no_text_is_named() {
    let bench = Bench::new();
    bench.consume(&message(&json!({"token": 7})), bench.tester.clock.now(), &[]).await;
    let letters = bench.tester.queue.dead_letters(TASK);
    assert_eq!((letters[0].kind, bench.runs().await), (Kind::Validation, 0));
    assert!(letters[0].reason.contains("`token`: is not a text"), "{}", letters[0].reason);
}

#[tokio::test]
async fn what_waited_on_the_queue_is_judged_by_when_it_was_sent() {
    let bench = Bench::new();
    let sent_at = bench.tester.clock.now();
    let body = message(&json!({"token": until(sent_at + Duration::from_secs(300))}));
    bench.tester.clock.advance(Duration::from_secs(3000));
    assert!(!bench.consume(&body, sent_at, &[]).await);
    assert_eq!(bench.runs().await, 1, "it was valid when it was sent");
    bench.consume(&body, sent_at + Duration::from_secs(400), &[]).await;
    assert_eq!((bench.runs().await, bench.tester.queue.dead_letters(TASK).len()), (1, 1));
}

#[tokio::test]
async fn a_message_whose_token_nobody_can_check_comes_back() {
    let bench = Bench::new();
    bench.issuer.fail(Failure::new(Kind::Timeout, "no answer"));
    assert!(bench.consume(&message(&json!({"token": good()})), bench.tester.clock.now(), &[]).await);
    assert!(bench.tester.queue.dead_letters(TASK).is_empty());
    assert_eq!(bench.runs().await, 0);
    // One without is none of the issuer's business.
    assert!(!bench.consume(&message(&json!({})), bench.tester.clock.now(), &[]).await);
}

#[tokio::test]
async fn an_event_whose_token_is_not_valid_is_refused_and_starts_nothing() {
    let bench = Bench::new();
    for (credentials, reason) in refused() {
        let cloud_event = json!({"specversion": "1.0", "id": "1", "source": "/crm", "type": "task_assigned"});
        let mut detail = message(&credentials);
        for form in [json!({}), cloud_event] {
            detail.as_object_mut().unwrap().extend(form.as_object().unwrap().clone());
            detail["type"] = json!("task_assigned");
            match bench.handler().handle(event(&detail)).await {
                Err(error @ Error::Refused(_)) => assert!(error.to_string().contains(reason), "{error}"),
                other => panic!("{credentials}: {other:?}"),
            }
        }
    }
    assert!(bench.tester.queue.messages(TASK).is_empty());

    let mut detail = message(&json!({"token": good(), "user_id": "alice"}));
    detail["type"] = json!("task_assigned");
    assert!(matches!(bench.handler().handle(event(&detail)).await, Ok(Handled::Started { .. })));
    let sent = bench.tester.queue.messages(TASK)[0].body.to_json();
    assert!(!sent.contains("eyJ"), "the token goes no further: {sent}");

    bench.issuer.fail(Failure::new(Kind::Timeout, "no answer"));
    assert!(matches!(bench.handler().handle(event(&detail)).await, Err(Error::Failed(_))), "Lambda delivers it again");
}
