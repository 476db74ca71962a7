//! A workflow's consumer on ports in memory.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use ihelper_runtime::consumer::{Consumer, Visibility};
use ihelper_testkit::{WorkflowTester, memory::MemoryIssuer};
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, Status, WorkflowType,
        definition::Definition,
        run::{Origin, Trigger},
    },
    embedded,
    engine::{Context, Deadline, Stop, Workflow},
    ports::{Clock as _, Closing, Journal as _, Monitor, Queue as _, Unwatched},
};
use jiff::Timestamp;
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

pub(crate) struct Bench {
    pub(crate) tester: Arc<WorkflowTester>,
    changes: Arc<Changes>,
    consumer: Consumer,
}

fn bench(workflow: WorkflowType) -> Bench {
    bench_on(workflow, WorkflowTester::new())
}

pub(crate) fn bench_on(workflow: WorkflowType, tester: impl Into<Arc<WorkflowTester>>) -> Bench {
    bench_watched_by(workflow, tester, Arc::new(Unwatched))
}

/// A consumer whose runs are watched.
pub(crate) fn bench_watched_by(
    workflow: WorkflowType,
    tester: impl Into<Arc<WorkflowTester>>,
    monitor: Arc<dyn Monitor>,
) -> Bench {
    let tester = tester.into();
    let changes = Arc::new(Changes::default());
    let consumer = Consumer {
        workflow,
        worker: tester.worker_on().that_sends_letters().watched_by(monitor),
        control: tester.control(),
        queue: Arc::new(tester.queue.clone()),
        tokens: crate::doors::tokens(&MemoryIssuer::new(), &tester.clock),
        visibility: changes.clone(),
        clock: Arc::new(tester.clock.clone()),
        concurrency: 5,
    };
    Bench { tester, changes, consumer }
}

pub(crate) fn batch(bodies: &[&str]) -> SqsEvent {
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
    pub(crate) async fn handle(&self, bodies: &[&str]) -> Vec<String> {
        let deadline = self.tester.clock.now().checked_add(Duration::from_secs(290)).unwrap();
        self.handle_until(bodies, Deadline::at(deadline)).await
    }

    async fn handle_until(&self, bodies: &[&str], deadline: Deadline) -> Vec<String> {
        self.handle_batch(batch(bodies), deadline).await
    }

    /// Handles one message with attributes.
    async fn handle_marked(&self, body: &str, attributes: &[(&str, &str)]) -> Vec<String> {
        let mut event = batch(&[body]);
        for (name, value) in attributes {
            let mut attribute = SqsMessageAttribute::default();
            attribute.string_value = Some((*value).to_owned());
            event.records[0].message_attributes.insert((*name).to_owned(), attribute);
        }
        let deadline = self.tester.clock.now().checked_add(Duration::from_secs(290)).unwrap();
        self.handle_batch(event, Deadline::at(deadline)).await
    }

    pub(crate) async fn handle_batch(&self, batch: SqsEvent, deadline: Deadline) -> Vec<String> {
        let response = self.consumer.handle(batch, deadline).await;
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

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
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

/// A run that has failed for good, with its dead letter.
async fn failed(bench: &Bench) -> RunId {
    for _ in 0..3 {
        bench.tester.mailer.fail_next(Failure::new(Kind::Connection, "no route to the mail service"));
        bench.handle(&[&email("a")]).await;
        bench.tester.clock.advance(Duration::from_secs(43_200));
    }
    let run = &bench.tester.journal.runs()[0];
    assert_eq!(run.status, Status::Failed);
    run.id
}

#[tokio::test]
async fn a_message_that_comes_again_after_its_run_failed_sends_no_second_letter() {
    let bench = bench(WorkflowType::EmailProcessing);
    failed(&bench).await;
    bench.handle(&[&email("a")]).await;
    assert_eq!(bench.tester.queue.dead_letters(WorkflowType::EmailProcessing).len(), 1);
}

#[tokio::test]
async fn a_letter_that_was_owed_when_the_consumer_died_is_sent_by_the_next() {
    let bench = bench(WorkflowType::EmailProcessing);
    let id = failed(&bench).await;
    // The record as it stands when a consumer dies between closing the run and sending the letter.
    let run = bench.tester.run(id).await.unwrap();
    let owing = Closing { owes_letter: true, ..Closing::new(run.workflow, [Status::Failed], Status::Failed) };
    bench.tester.journal.close(id, &owing, bench.tester.clock.now()).await.unwrap();
    for _ in 0..2 {
        bench.handle(&[&email("a")]).await;
    }
    assert_eq!(bench.tester.queue.dead_letters(WorkflowType::EmailProcessing).len(), 2);
}

#[tokio::test]
async fn a_letter_that_is_sent_back_retries_its_run_once_and_does_no_step_again() {
    let bench = bench(WorkflowType::EmailProcessing);
    let id = failed(&bench).await;
    let body = json!({"run_id": id}).to_string();
    // By the API, twice; and by SQS's own redrive, which keeps the letter's attributes.
    bench.handle_marked(&body, &[("redrive_of", "l1"), ("redrive_sent_at", "1767225600000")]).await;
    bench.handle_marked(&body, &[("redrive_of", "l1"), ("redrive_sent_at", "1767225600000")]).await;
    bench.handle_marked(&body, &[("reason", "no route"), ("kind", "connection")]).await;
    while let Some(message) = bench.tester.queue.take(WorkflowType::EmailProcessing) {
        bench.handle(&[&message.body.to_json()]).await;
    }
    let runs = bench.tester.journal.runs();
    assert_eq!(runs.len(), 2);
    let again = runs.iter().find(|run| run.id != id).unwrap();
    assert_eq!((again.status, again.lineage.as_ref().unwrap().retry_of), (Status::Succeeded, id));
    assert_eq!(bench.tester.mailer.sent().len(), 1);
    assert_eq!(bench.tester.assistant.calls(), ["analyze_email", "generate_response"], "what stood is not done again");
}

#[tokio::test]
async fn a_message_that_the_queue_gave_up_leads_to_the_same_run_when_it_is_sent_back() {
    let bench = bench(WorkflowType::EmailProcessing);
    bench.handle(&[&email("a")]).await;
    // SQS keeps a message's id and time when it moves it to the dead letters.
    bench.handle_marked(&email("a"), &[("redrive_of", "m0"), ("redrive_sent_at", "1767225600000")]).await;
    assert_eq!(bench.tester.journal.runs().len(), 1);
    assert_eq!(bench.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_run_that_waits_gets_a_message_for_its_time_and_gets_it_again_should_that_be_lost() {
    let mut definitions = embedded::definitions().unwrap();
    definitions.retain(|definition| definition.workflow != WorkflowType::TaskAutomation);
    let pinned =
        "{workflow: task_automation, version: 1, plan: {steps: [{id: pause, tool: wait, arguments: {seconds: 7200}}]}}";
    definitions.push(Definition::parse(pinned).unwrap());
    let bench = bench_on(WorkflowType::TaskAutomation, WorkflowTester::with_definitions(definitions));
    let body = json!({"type": "task_automation", "data": {"id": "t", "description": "Wait."}}).to_string();
    // The consumer dies after it has put the run aside: its message comes again.
    for _ in 0..2 {
        assert!(bench.handle(&[&body]).await.is_empty());
        let wake_up = &bench.tester.queue.drain(WorkflowType::TaskAutomation)[0];
        assert_eq!(wake_up.delay, Duration::from_secs(7200));
    }
    let run = bench.tester.journal.runs()[0].clone();
    assert_eq!(run.status, Status::Waiting);

    bench.tester.clock.advance(Duration::from_secs(7200));
    bench.handle(&[&json!({"run_id": run.id}).to_string()]).await;
    assert_eq!(bench.tester.run(run.id).await.unwrap().status, Status::Succeeded);
}

#[tokio::test]
async fn data_that_a_message_only_refers_to_is_fetched_and_a_place_where_nothing_is_makes_a_letter() {
    let bench = bench(WorkflowType::TaskAutomation);
    let data = json!({"id": "t", "description": "x ".repeat(50_000), "blob": "y".repeat(400_000)});
    let input = ihelper_workflow::domain::input::parse(WorkflowType::TaskAutomation, data).unwrap();
    let id: RunId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    bench.tester.queue.start(&input, id, "event:crm/1").await.unwrap();
    let message = bench.tester.queue.take(WorkflowType::TaskAutomation).unwrap().body.to_json();
    assert!(message.len() < 256 * 1024, "the message has {} bytes", message.len());
    bench.handle(&[&message]).await;
    assert_eq!(bench.tester.run(id).await.unwrap().input["blob"].as_str().unwrap().len(), 400_000);

    let lost = json!({"type": "task_automation", "data_at": "starts/01ARZ3NDEKTSV4RRFFQ69G5FAW"}).to_string();
    bench.handle(&[&lost]).await;
    let letters = bench.tester.queue.dead_letters(WorkflowType::TaskAutomation);
    assert!(letters[0].reason.contains("`data_at`"), "{}", letters[0].reason);
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

/// A message that goes on with a run, as the queue delivers it for the `receives`th time.
fn delivered(run: RunId, sent_at: Timestamp, receives: usize) -> SqsEvent {
    let mut event = batch(&[&json!({"run_id": run}).to_string()]);
    let attributes = &mut event.records[0].attributes;
    attributes.insert("SentTimestamp".to_owned(), sent_at.as_millisecond().to_string());
    attributes.insert("ApproximateReceiveCount".to_owned(), receives.to_string());
    event
}

impl Bench {
    async fn begin_late(&self, id: RunId, after: Duration) {
        self.tester.clock.sleep(after).await;
        let data = json!({"id": "a", "from": "a@example.com", "content": "When?"});
        let input = ihelper_workflow::domain::input::parse(WorkflowType::EmailProcessing, data).unwrap();
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "user:alice".to_owned() };
        self.tester.worker().begin(&input, id, origin).await.unwrap();
    }

    /// Delivers a message as the queue does, until it is deleted. Gives how often it came.
    pub(crate) async fn deliver_until_deleted(&self, run: RunId, sent_at: Timestamp) -> usize {
        for receives in 1..=10 {
            let deadline = self.tester.clock.now() + Duration::from_secs(290);
            if self.handle_batch(delivered(run, sent_at, receives), Deadline::at(deadline)).await.is_empty() {
                return receives;
            }
            let invisible_for = self.changes.last_of("r0").expect("it says when it comes back");
            self.tester.clock.sleep(invisible_for).await;
        }
        panic!("the message keeps coming back");
    }
}

#[tokio::test]
async fn a_message_that_comes_before_the_write_of_its_run_waits_for_it_however_late_the_write_is() {
    for (written_after_ms, most_receives) in [(1, 1), (99, 1), (101, 2), (1_000, 2), (5_000, 3), (29_000, 3)] {
        let bench = bench(WorkflowType::EmailProcessing);
        let (run, sent_at) = (RunId::new(bench.tester.clock.now(), 7), bench.tester.clock.now());
        let written_after = Duration::from_millis(written_after_ms);
        let (receives, ()) =
            tokio::join!(bench.deliver_until_deleted(run, sent_at), bench.begin_late(run, written_after));
        assert!(receives <= most_receives, "{receives} receives for a write after {written_after_ms} ms");
        let runs = bench.tester.journal.runs();
        assert_eq!((runs.len(), runs[0].status), (1, Status::Succeeded), "after {written_after_ms} ms");
        assert_eq!(bench.tester.mailer.sent().len(), 1);
    }
}

#[tokio::test]
async fn a_message_of_a_run_that_was_never_written_is_deleted_once_that_is_certain() {
    let bench = bench(WorkflowType::EmailProcessing);
    let (run, sent_at) = (RunId::new(bench.tester.clock.now(), 7), bench.tester.clock.now());
    assert_eq!(bench.deliver_until_deleted(run, sent_at).await, 3);
    assert!(bench.tester.clock.now() >= sent_at + Duration::from_secs(30));
    assert!(bench.tester.queue.dead_letters(WorkflowType::EmailProcessing).is_empty());

    let began = bench.tester.clock.now();
    assert_eq!(bench.deliver_until_deleted(run, sent_at).await, 1, "an old one is certain at once");
    assert_eq!(bench.tester.clock.now(), began);
}

#[tokio::test]
async fn a_message_from_the_future_or_of_no_time_does_not_wait_for_ever() {
    let bench = bench(WorkflowType::EmailProcessing);
    let run = RunId::new(bench.tester.clock.now(), 7);
    let deadline = Deadline::at(bench.tester.clock.now() + Duration::from_secs(290));
    let next_year = bench.tester.clock.now() + Duration::from_secs(365 * 86_400);
    assert_eq!(bench.handle_batch(delivered(run, next_year, 2), deadline).await, ["m0"]);
    assert!(bench.changes.last_of("r0").unwrap() <= Duration::from_secs(31));

    let mut of_no_time = delivered(run, next_year, 1);
    of_no_time.records[0].attributes.remove("SentTimestamp");
    assert!(bench.handle_batch(of_no_time, deadline).await.is_empty());
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
