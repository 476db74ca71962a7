//! A workflow's consumer on ports in memory.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use ihelper_runtime::consumer::{Consumer, Visibility};
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, Status, WorkflowType,
        run::{Origin, Trigger},
    },
    engine::{Context, Deadline, Stop, Workflow},
    ports::Clock as _,
};
use serde_json::{Value, json};

#[derive(Default)]
struct Changes(Mutex<Vec<(String, Duration)>>);

impl Changes {
    fn last_of(&self, receipt: &str) -> Option<Duration> {
        let changes = self.0.lock().unwrap();
        changes.iter().rev().find(|(changed, _)| changed == receipt).map(|(_, wait)| *wait)
    }
}

#[async_trait]
impl Visibility for Changes {
    async fn change(&self, receipts: &[String], invisible_for: Duration) -> Result<(), Failure> {
        self.0.lock().unwrap().extend(receipts.iter().map(|receipt| (receipt.clone(), invisible_for)));
        Ok(())
    }
}

struct Bench {
    tester: WorkflowTester,
    changes: Arc<Changes>,
    consumer: Consumer,
}

fn bench(workflow: WorkflowType) -> Bench {
    let tester = WorkflowTester::new();
    let changes = Arc::new(Changes::default());
    let consumer = Consumer {
        workflow,
        worker: tester.worker_on(),
        queue: Arc::new(tester.queue.clone()),
        visibility: changes.clone(),
        clock: Arc::new(tester.clock.clone()),
        concurrency: 5,
    };
    Bench { tester, changes, consumer }
}

fn batch(bodies: &[&str]) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| {
            let mut message = SqsMessage::default();
            message.message_id = Some(format!("m{index}"));
            message.receipt_handle = Some(format!("r{index}"));
            message.body = Some((*body).to_owned());
            message.attributes.insert("SentTimestamp".to_owned(), "1767225600000".to_owned());
            message
        })
        .collect();
    event
}

impl Bench {
    async fn handle(&self, bodies: &[&str]) -> Vec<String> {
        let deadline = self.tester.clock.now().checked_add(Duration::from_secs(290)).unwrap();
        self.handle_until(bodies, Deadline::at(deadline)).await
    }

    async fn handle_until(&self, bodies: &[&str], deadline: Deadline) -> Vec<String> {
        let response = self.consumer.handle(batch(bodies), deadline).await;
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }
}

fn email(id: &str) -> String {
    json!({"type": "email_processing", "data": {"id": id, "from": format!("{id}@example.com"), "content": "When?"}})
        .to_string()
}

#[tokio::test]
async fn a_malformed_message_goes_to_the_dead_letters_with_its_reason_and_its_batch_goes_on() {
    let bench = bench(WorkflowType::EmailProcessing);
    let (first, last) = (email("a"), email("b"));
    let failed =
        bench.handle(&[&first, "{\"type\":", "{\"type\":\"email_processing\",\"data\":{\"id\":1}}", &last]).await;
    assert!(failed.is_empty(), "{failed:?}");
    let letters = bench.tester.queue.dead_letters(WorkflowType::EmailProcessing);
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().any(|letter| letter.reason.contains("not JSON") && letter.body == "{\"type\":"));
    assert!(letters.iter().any(|letter| letter.reason.contains("`data.id`")));
    assert_eq!(bench.tester.mailer.sent().len(), 2);
}

/// The most calls that were ever under way at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A workflow that begins only after others had the chance to.
struct Unhurried {
    inner: Arc<dyn Workflow>,
    crowd: Arc<Crowd>,
}

#[async_trait]
impl Workflow for Unhurried {
    fn workflow(&self) -> WorkflowType {
        self.inner.workflow()
    }

    async fn execute(&self, run: &Context) -> Result<Value, Stop> {
        let now = self.crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.crowd.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let result = self.inner.execute(run).await;
        self.crowd.now.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

#[tokio::test]
async fn messages_of_a_batch_are_worked_on_side_by_side_within_the_limit() {
    let crowd = Arc::new(Crowd::default());
    let mut bench = bench(WorkflowType::EmailProcessing);
    let inner = bench.tester.workflow(WorkflowType::EmailProcessing);
    bench.consumer.worker = bench.tester.worker_with([Arc::new(Unhurried { inner, crowd: crowd.clone() }) as _]);
    bench.consumer.concurrency = 3;
    let bodies: Vec<String> = (0..10).map(|number| email(&format!("sender{number}"))).collect();
    let failed = bench.handle(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(failed.is_empty());
    assert_eq!(bench.tester.mailer.sent().len(), 10);
    assert_eq!(crowd.most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_message_delivered_twice_is_one_run_and_one_answer() {
    let bench = bench(WorkflowType::EmailProcessing);
    let body = email("a");
    bench.handle(&[&body]).await;
    bench.handle(&[&body]).await;
    assert_eq!(bench.tester.journal.runs().len(), 1);
    assert_eq!(bench.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_failed_attempt_comes_back_after_the_workflows_delay_and_then_succeeds() {
    let bench = bench(WorkflowType::EmailProcessing);
    bench.tester.mailer.fail_next(Failure::new(Kind::Throttled, "slow down").retry_after(Duration::from_secs(45)));
    let body = email("a");
    assert_eq!(bench.handle(&[&body]).await, ["m0"]);
    assert!(bench.changes.last_of("r0").unwrap() >= Duration::from_secs(45));
    let run = &bench.tester.journal.runs()[0];
    assert_eq!((run.status, run.failed_attempts), (Status::Queued, 1));

    // A message that comes before the run is due is put off, not worked on.
    assert!(bench.handle(&[&body]).await.is_empty());
    assert_eq!(bench.tester.mailer.sent().len(), 0);
    let put_off = &bench.tester.queue.messages(WorkflowType::EmailProcessing)[0];
    assert!(put_off.delay >= Duration::from_secs(45));

    bench.tester.clock.advance(bench.changes.last_of("r0").unwrap());
    assert!(bench.handle(&[&body]).await.is_empty());
    assert_eq!(bench.tester.journal.runs()[0].status, Status::Succeeded);
    assert_eq!(bench.tester.mailer.sent().len(), 1);
    assert_eq!(bench.tester.assistant.calls(), ["analyze_email", "generate_response"], "no step is done again");
}

#[tokio::test]
async fn a_run_that_keeps_failing_becomes_one_dead_letter_with_its_reason() {
    let bench = bench(WorkflowType::EmailProcessing);
    let body = email("a");
    for _ in 0..3 {
        bench.tester.mailer.fail_next(Failure::new(Kind::Connection, "no route to the mail service"));
        bench.handle(&[&body]).await;
        bench.tester.clock.advance(Duration::from_secs(43_200));
    }
    let letters = bench.tester.queue.dead_letters(WorkflowType::EmailProcessing);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "send_response: no route to the mail service");
    assert_eq!(letters[0].kind, Kind::Connection);
    assert_eq!(letters[0].run, Some(bench.tester.journal.runs()[0].id));
    assert_eq!(bench.tester.journal.runs()[0].failed_attempts, 3);
}

#[tokio::test]
async fn a_run_out_of_time_is_passed_on_and_its_message_is_not_counted_as_failed() {
    let bench = bench(WorkflowType::EmailProcessing);
    let failed = bench.handle_until(&[&email("a")], Deadline::at(bench.tester.clock.now())).await;
    assert!(failed.is_empty());
    let passed_on = bench.tester.queue.take(WorkflowType::EmailProcessing).unwrap();
    assert!(bench.handle(&[&passed_on.body.to_json()]).await.is_empty());
    assert_eq!(bench.tester.journal.runs()[0].status, Status::Succeeded);
}

#[tokio::test]
async fn a_message_for_a_run_in_other_hands_waits_until_the_lease_is_over() {
    let bench = bench(WorkflowType::EmailProcessing);
    let input = ihelper_workflow::domain::input::parse(
        WorkflowType::EmailProcessing,
        json!({"id": "a", "from": "a@example.com", "content": "When?"}),
    )
    .unwrap();
    let id: RunId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "user:alice".to_owned() };
    bench.tester.worker().begin_leased(&input, id, origin).await.unwrap();
    let message = json!({"run_id": id}).to_string();

    assert!(bench.handle(&[&message]).await.is_empty());
    assert_eq!(bench.tester.mailer.sent().len(), 0);
    let waiting = bench.tester.queue.messages(WorkflowType::EmailProcessing);
    assert!(waiting[0].delay > Duration::from_secs(59));

    bench.tester.clock.advance(waiting[0].delay);
    bench.handle(&[&message]).await;
    assert_eq!(bench.tester.journal.runs()[0].status, Status::Succeeded);
}

#[tokio::test]
async fn a_message_on_the_wrong_queue_leaves_its_run_alone() {
    let bench = bench(WorkflowType::EmailProcessing);
    let data = json!({"id": "t", "description": "Tidy up."});
    let input = ihelper_workflow::domain::input::parse(WorkflowType::TaskAutomation, data).unwrap();
    let id: RunId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "user:alice".to_owned() };
    bench.tester.worker().begin(&input, id, origin).await.unwrap();
    let mut email_only = bench;
    email_only.consumer.worker =
        email_only.tester.worker_with([email_only.tester.workflow(WorkflowType::EmailProcessing)]);

    email_only.handle(&[&json!({"run_id": id}).to_string()]).await;
    let letters = email_only.tester.queue.dead_letters(WorkflowType::EmailProcessing);
    assert!(letters[0].reason.contains("`task_automation`"), "{}", letters[0].reason);
    assert_eq!(email_only.tester.journal.runs()[0].status, Status::Queued);
}

#[tokio::test]
async fn a_run_id_from_the_future_is_refused() {
    let bench = bench(WorkflowType::EmailProcessing);
    let mut message: Value = serde_json::from_str(&email("a")).unwrap();
    message["run_id"] = json!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    bench.handle(&[&message.to_string()]).await;
    assert!(bench.tester.queue.dead_letters(WorkflowType::EmailProcessing)[0].reason.contains("`run_id`"));
    assert!(bench.tester.journal.runs().is_empty());
}

#[tokio::test]
async fn a_source_that_no_function_of_ours_writes_is_refused() {
    let bench = bench(WorkflowType::EmailProcessing);
    for source in ["alice", "user:alice", "run:x", "event:", &format!("event:{}", "x".repeat(600))] {
        let mut message: Value = serde_json::from_str(&email("a")).unwrap();
        message["source"] = json!(source);
        bench.handle(&[&message.to_string()]).await;
    }
    assert_eq!(bench.tester.queue.dead_letters(WorkflowType::EmailProcessing).len(), 5);
    assert!(bench.tester.journal.runs().is_empty());
}

#[tokio::test]
async fn a_mail_that_may_have_gone_out_is_not_sent_again() {
    let bench = bench(WorkflowType::EmailProcessing);
    bench.tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer").with_unknown_outcome());
    let body = email("a");
    bench.handle(&[&body]).await;
    bench.handle(&[&body]).await;
    assert_eq!(bench.tester.mailer.sent().len(), 1);
    assert_eq!(bench.tester.journal.runs()[0].status, Status::Attention);
}

#[tokio::test]
async fn while_messages_are_worked_on_they_stay_invisible_for_little_more_than_a_lease() {
    let bench = bench(WorkflowType::TaskAutomation);
    bench
        .handle(&[&json!({"type": "task_automation", "data": {"id": "t", "description": "Tidy up."}}).to_string()])
        .await;
    assert_eq!(bench.changes.last_of("r0"), Some(Duration::from_secs(61)));
}
