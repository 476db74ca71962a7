//! The event handler on ports in memory.

use std::sync::Arc;

use event_handler::{Error, EventHandler, Handled};
use ihelper_testkit::{WorkflowTester, memory::MemoryIssuer};
use ihelper_workflow::{
    domain::{Failure, Kind, Status, WorkflowType, document::ObjectRef, input},
    embedded,
    engine::{Begun, Deadline, Outcome},
    ports::{Clock as _, Closing, Journal as _, Unwatched},
};
use serde_json::{Value, json};

pub(crate) fn handler(tester: &WorkflowTester) -> EventHandler {
    EventHandler {
        queue: Arc::new(tester.queue.clone()),
        control: tester.control(),
        objects: Arc::new(tester.objects.clone()),
        answers: Arc::new(tester.answers.clone()),
        tokens: crate::doors::tokens(&MemoryIssuer::new(), &tester.clock),
        clock: Arc::new(tester.clock.clone()),
        monitor: Arc::new(Unwatched),
        mail_bucket: "mail".to_owned(),
        document_bucket: "documents".to_owned(),
        definitions: embedded::known_definitions(),
    }
}

pub(crate) fn event(source: &str, detail_type: &str, detail: Value) -> Value {
    json!({"version": "0", "id": "e1", "source": source, "detail-type": detail_type, "account": "1",
        "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [], "detail": detail})
}

#[tokio::test]
async fn an_event_delivered_twice_asks_for_the_same_run() {
    let tester = WorkflowTester::new();
    let task = event("crm", "task_assigned", json!({"id": "t", "description": "Call the customer."}));
    let first = handler(&tester).handle(task.clone()).await.unwrap();
    assert_eq!(handler(&tester).handle(task).await.unwrap(), first);
    let messages = tester.queue.messages(WorkflowType::TaskAutomation);
    assert_eq!(messages[0].body.run_id(), messages[1].body.run_id());
}

#[tokio::test]
async fn stored_mail_and_documents_become_runs() {
    let tester = WorkflowTester::new();
    let created = |bucket: &str, key: &str| {
        event("aws.s3", "Object Created", json!({"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "1"}}))
    };
    let started = |handled| matches!(handled, Handled::Started { .. });
    assert!(started(handler(&tester).handle(created("mail", "mail/abc")).await.unwrap()));

    let document = ObjectRef { bucket: "documents".to_owned(), key: "documents/offer.pdf".to_owned() };
    tester.objects.put(&document, "x", &[("review-criteria", "[\"names a price\"]")]);
    assert!(started(handler(&tester).handle(created("documents", "documents/offer.pdf")).await.unwrap()));
    let plain = ObjectRef { key: "documents/plain.pdf".to_owned(), ..document };
    tester.objects.put(&plain, "x", &[]);
    assert!(started(handler(&tester).handle(created("documents", "documents/plain.pdf")).await.unwrap()));
    assert_eq!(handler(&tester).handle(created("documents", "other/offer.pdf")).await.unwrap(), Handled::Ignored);

    let messages = tester.queue.messages(WorkflowType::DocumentReview);
    let data: Vec<Value> = messages
        .iter()
        .map(|message| serde_json::from_str::<Value>(&message.body.to_json()).unwrap()["data"].clone())
        .collect();
    assert_eq!((&data[0]["id"], &data[0]["review_criteria"]), (&json!("offer.pdf"), &json!(["names a price"])));
    assert!(!data[1]["review_criteria"].as_array().unwrap().is_empty(), "the definition's criteria apply");
}

#[tokio::test]
async fn a_malformed_event_is_refused_with_the_field_and_an_unknown_one_left_alone() {
    let tester = WorkflowTester::new();
    let problem = |event: Value| async { handler(&tester).handle(event).await.unwrap_err().to_string() };
    assert!(problem(json!({"id": "e"})).await.contains("source"));
    assert!(problem(event("crm", "task_assigned", json!({"id": "t"}))).await.contains("description"));
    let email = event("crm", "email_received", json!({"id": "e", "from": "nobody", "content": "x"}));
    assert!(problem(email).await.contains("`detail.from`"));
    let unknown = event("crm", "contact_created", json!({}));
    assert_eq!(handler(&tester).handle(unknown).await.unwrap(), Handled::Ignored);
    let gone = event(
        "aws.s3",
        "Object Created",
        json!({"bucket": {"name": "documents"}, "object": {"key": "documents/gone"}}),
    );
    assert!(
        matches!(handler(&tester).handle(gone).await, Err(Error::Failed(failure)) if failure.kind == Kind::NotFound)
    );
}

#[tokio::test]
async fn a_delivery_event_settles_a_mail_of_unknown_outcome_and_the_run_goes_on() {
    let tester = WorkflowTester::new();
    tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer").with_unknown_outcome());
    let email = json!({"id": "a", "from": "a@example.com", "content": "When do you open?"});
    let run = tester.execute("email_processing", email).await.unwrap();
    assert_eq!(run.status, Status::Attention);

    let delivered = event(
        "aws.ses",
        "Email Delivered",
        json!({"eventType": "Delivery",
        "mail": {"messageId": "m", "tags": {"run_id": [run.id.to_string()], "step": ["00002"]}}}),
    );
    assert_eq!(handler(&tester).handle(delivered).await.unwrap(), Handled::Settled);

    assert_eq!(tester.queue.take(WorkflowType::EmailProcessing).unwrap().body.run_id(), run.id);
    let deadline = Deadline::at("2026-12-01T00:00:00Z".parse().unwrap());
    match tester.worker().resume(run.id, deadline).await.unwrap() {
        Outcome::Ended { run, .. } => assert_eq!(run.status, Status::Succeeded),
        other => panic!("{other:?}"),
    }
    assert_eq!(tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_delivery_event_that_comes_before_the_run_needs_attention_is_not_lost() {
    let tester = WorkflowTester::new();
    let email = json!({"id": "a", "from": "a@example.com", "content": "When do you open?"});
    let run = tester.execute("email_processing", email.clone()).await.unwrap();
    // The same journal as a worker leaves it that died right after it had sent the mail.
    tester.journal.forget(run.id);
    let input = input::parse(WorkflowType::EmailProcessing, email).unwrap();
    let begun = tester.worker().begin_leased(&input, run.id, run.origin.clone()).await.unwrap();
    assert!(matches!(begun, Begun::New(_)));
    tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer").with_unknown_outcome());
    let deadline = Deadline::at("2026-12-01T00:00:00Z".parse().unwrap());
    let sent_before = tester.mailer.sent().len();
    let died = tester.worker().work_on(begun, deadline).await.unwrap();
    assert!(matches!(died, Outcome::Resting(_)));
    // Back to where the worker died: running, with the intent open.
    let running = Closing::new(run.workflow, [Status::Attention], Status::Running);
    tester.journal.close(run.id, &running, tester.clock.now()).await.unwrap();

    let delivered = event(
        "aws.ses",
        "Email Delivered",
        json!({"eventType": "Delivery",
        "mail": {"messageId": "m", "tags": {"run_id": [run.id.to_string()], "step": ["00002"]}}}),
    );
    handler(&tester).handle(delivered).await.unwrap();

    match tester.worker().resume(run.id, deadline).await.unwrap() {
        Outcome::Ended { run, .. } => assert_eq!(run.status, Status::Succeeded),
        other => panic!("{other:?}"),
    }
    assert_eq!(tester.mailer.sent().len(), sent_before + 1);
}

/// A delivery event of this kind about the mail that a run sent at this position.
fn of_mail(kind: &str, run: &str, position: &str) -> Value {
    let recipients = json!([{"emailAddress": "\"Ann\" <Ann@Example.com>"}]);
    let detail = json!({"eventType": kind, "mail": {"messageId": "m", "tags": {"run_id": [run], "step": [position]}},
        "bounce": {"bounceType": "Transient", "bouncedRecipients": recipients},
        "complaint": {"complainedRecipients": recipients, "complaintFeedbackType": "not-spam"},
        "reject": {"reason": "Bad content"}, "failure": {"errorMessage": "x"}, "deliveryDelay": {"delayType": "General"}});
    event("aws.ses", "Email Event", detail)
}

/// A run whose mail nobody knows about.
async fn in_doubt(tester: &WorkflowTester) -> ihelper_workflow::domain::Run {
    tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer").with_unknown_outcome());
    let email = json!({"id": "a", "from": "ann@example.com", "content": "When do you open?"});
    let run = tester.execute("email_processing", email).await.unwrap();
    assert_eq!(run.status, Status::Attention);
    run
}

#[tokio::test]
async fn every_event_of_a_mail_that_went_out_settles_its_run_once_in_any_order() {
    let kinds = ["Send", "Delivery", "DeliveryDelay", "Bounce", "Complaint"];
    for first in 0..kinds.len() {
        let tester = WorkflowTester::new();
        let run = in_doubt(&tester).await;
        let id = run.id.to_string();
        // The others come later, some of them twice, and a rejection that contradicts them at last.
        let others = kinds.iter().cycle().skip(first).take(kinds.len() + 2).chain(&["Reject", "Rendering Failure"]);
        for (number, kind) in others.enumerate() {
            assert_eq!(handler(&tester).handle(of_mail(kind, &id, "00002")).await.unwrap(), Handled::Settled);
            if number == 0 {
                let run = tester.go_on(run.id).await.unwrap();
                assert_eq!(
                    (run.status, run.result.unwrap()["response_generated"].clone()),
                    (Status::Succeeded, json!(true))
                );
            }
        }
        assert_eq!(tester.mailer.sent().len(), 1);
    }
}

#[tokio::test]
async fn a_mail_that_was_rejected_is_sent_again_by_its_run() {
    for kind in ["Reject", "Rendering Failure"] {
        let tester = WorkflowTester::new();
        let run = in_doubt(&tester).await;
        let rejected = of_mail(kind, &run.id.to_string(), "00002");
        for _ in 0..2 {
            assert_eq!(handler(&tester).handle(rejected.clone()).await.unwrap(), Handled::Settled);
        }
        let run = tester.go_on(run.id).await.unwrap();
        assert_eq!(run.status, Status::Succeeded);
        assert_eq!(tester.mailer.sent().len(), 2, "the one whose answer was lost, and the one that counts");
        // A late event about the first changes nothing any more.
        handler(&tester).handle(of_mail("Send", &run.id.to_string(), "00002")).await.unwrap();
        assert_eq!(tester.run(run.id).await.unwrap(), run);
    }
}

#[tokio::test]
async fn events_about_what_is_not_there_change_nothing() {
    let tester = WorkflowTester::new();
    let run = in_doubt(&tester).await;
    let id = run.id.to_string();
    for (run, position) in
        [("01ARZ3NDEKTSV4RRFFQ69G5FAV", "00002"), ("x", "00002"), (&id, "00009"), (&id, ""), ("", "")]
    {
        for kind in ["Delivery", "Reject", "Bounce"] {
            assert_eq!(handler(&tester).handle(of_mail(kind, run, position)).await.unwrap(), Handled::Settled);
        }
    }
    assert_eq!(handler(&tester).handle(of_mail("Open", &id, "00002")).await.unwrap(), Handled::Ignored);
    assert_eq!(tester.run(run.id).await.unwrap().status, Status::Attention);
}

#[tokio::test]
async fn a_full_mailbox_and_praise_suppress_nobody_and_a_complaint_does() {
    let tester = WorkflowTester::new();
    let question = json!({"id": "a", "from": "ann+1@example.com", "content": "When do you open?"});
    for kind in ["Bounce", "Complaint"] {
        handler(&tester).handle(of_mail(kind, "x", "y")).await.unwrap();
    }
    let result = tester.execute_workflow("email_processing", question.clone()).await.unwrap();
    assert_eq!(result["response_generated"], true);
    let mut complaint = of_mail("Complaint", "x", "y");
    complaint["detail"]["complaint"]["complaintFeedbackType"] = json!("abuse");
    handler(&tester).handle(complaint).await.unwrap();
    tester.clock.advance(std::time::Duration::from_secs(1_000_000));
    let result = tester.execute_workflow("email_processing", question).await.unwrap();
    assert_eq!(result["withheld"], "the sender's address bounced or complained");
}

#[tokio::test]
async fn an_address_that_bounced_for_good_is_not_written_to_again() {
    let tester = WorkflowTester::new();
    let bounced = event(
        "aws.ses",
        "Email Bounced",
        json!({"eventType": "Bounce", "mail": {"messageId": "m"},
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "Gone@Example.com"}]}}),
    );
    handler(&tester).handle(bounced).await.unwrap();
    let email = json!({"id": "a", "from": "gone@example.com", "content": "When do you open?"});
    let result = tester.execute_workflow("email_processing", email).await.unwrap();
    assert_eq!(result["withheld"], "the sender's address bounced or complained");
    assert!(tester.mailer.sent().is_empty());
}

#[test]
fn the_captured_events_parse_as_data_of_their_workflows() {
    let folder = format!("{}/../events", env!("CARGO_MANIFEST_DIR"));
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if let Some(workflow) = event["detail-type"].as_str().and_then(WorkflowType::of_event) {
            input::parse(workflow, event["detail"].clone())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        read += 1;
    }
    assert!(read >= 10, "only {read} events were found");
}
